"""How far F1 would move on another sample of texts: the percentile bootstrap over groups."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int

from mentionprobe.evaluation.scoring import ratio

# Resample weights are drawn and used in pieces of about this many float64 (32 MiB).
WEIGHTS_AT_ONCE = 1 << 22


def sum_by_group(
    counts: Int[np.ndarray, "system document"], groups: Sequence[str]
) -> Int[np.ndarray, "system group"]:
    """Counts of documents summed over the documents of each group, groups in sorted order.

    `groups` names the group of each document: the source that sentences were taken from. Sentences
    of one source resemble each other, so intervals resample sources.
    """
    labels = np.asarray(groups)
    by_group = np.argsort(labels, kind="stable")
    _, first_of_group = np.unique(labels[by_group], return_index=True)
    return np.add.reduceat(counts[:, by_group], first_of_group, axis=1)


def bootstrap_f1(
    tp: Int[np.ndarray, "system group"],
    fp: Int[np.ndarray, "system group"],
    fn: Int[np.ndarray, "system group"],
    *,
    n_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[Float[np.ndarray, "system"], Float[np.ndarray, "system"]]:
    """Lower and upper end of the interval of each system's micro F1.

    Groups are drawn with replacement, as many as there are, `n_resamples` times; the interval holds
    the middle share `confidence` of the F1s of the resamples. All systems see the same resamples.
    Both ends are NaN where there are fewer than two groups: one group shows no spread.
    """
    n_systems, n_groups = tp.shape
    if n_groups < 2:
        return np.full(n_systems, np.nan), np.full(n_systems, np.nan)
    # F1 needs two sums a resample: 2tp, and 2tp + fp + fn.
    parts, wholes = 2.0 * tp.T, (2.0 * tp + fp + fn).T
    weights = _resample_weights(n_resamples, n_groups, np.random.default_rng(seed))
    f1 = np.concatenate([ratio(chunk @ parts, chunk @ wholes) for chunk in weights])
    tail = (1 - confidence) / 2
    low, high = np.quantile(f1, [tail, 1 - tail], axis=0)
    return low, high


def _resample_weights(
    n_resamples: int, n_groups: int, rng: np.random.Generator
) -> Iterator[Float[np.ndarray, "resample group"]]:
    """How often each group is drawn in each resample, in chunks of bounded size."""
    n_rows = max(1, WEIGHTS_AT_ONCE // n_groups)
    for done in range(0, n_resamples, n_rows):
        shape = (min(n_rows, n_resamples - done), n_groups)
        draws = rng.integers(n_groups, size=shape)
        cells = draws + n_groups * np.arange(shape[0])[:, None]
        yield np.bincount(cells.ravel(), minlength=cells.size).reshape(shape).astype(np.float64)
