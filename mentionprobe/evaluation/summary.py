"""One line of results a system: counts, ratios and how sure they are."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from mentionprobe.evaluation.intervals import bootstrap_f1
from mentionprobe.evaluation.scoring import precision_recall_f1


@dataclass(frozen=True)
class Score:
    """Micro-averaged exact-match scores of one system on one corpus."""

    tp: int
    """Predicted spans that are gold mentions."""
    fp: int
    """Predicted spans that are not."""
    fn: int
    """Gold mentions not predicted, those that no token span can express included."""
    precision: float
    recall: float
    f1: float
    f1_low: float
    """Lower end of the bootstrap interval of F1; NaN with fewer than two groups."""
    f1_high: float
    """Upper end of the same interval."""


def score_systems(
    tp: Int[np.ndarray, "system group"],
    fp: Int[np.ndarray, "system group"],
    fn: Int[np.ndarray, "system group"],
    *,
    n_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Score]:
    """The score of each system from its counts per group (the unit of resampling).

    `n_resamples`, `confidence` and `seed` are those of `bootstrap_f1`; undefined ratios are 0, as
    in `precision_recall_f1`.
    """
    low, high = bootstrap_f1(tp, fp, fn, n_resamples=n_resamples, confidence=confidence, seed=seed)
    totals = [counts.sum(axis=1) for counts in (tp, fp, fn)]
    columns = [*totals, *precision_recall_f1(*totals), low, high]
    return [Score(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]
