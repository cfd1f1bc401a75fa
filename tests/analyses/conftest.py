"""A results table such as a layer sweep writes, made up so that every curve is known."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

MakeTable = Callable[..., pd.DataFrame]

_DECODED = [("threshold", "dev"), ("threshold", "fixed"), ("greedy", "dev")]


def make_cell(
    backbone: str, depth: int, layer: int, seed: int, corpus: str, decoding: str, source: str
) -> dict[str, Any]:
    """A row whose F1 rises to a peak in two thirds of the depth, and falls after it."""
    relative = (layer + 1) / depth
    wobble = 0.02 * np.sin(17 * seed + 3 * layer + len(corpus) + len(backbone))
    penalty = {"dev": 0.0, "fixed": 0.06}[source] + (0.03 if decoding == "greedy" else 0.0)
    f1 = 0.35 + 0.9 * relative * (1.3 - relative) + wobble - penalty - 0.02 * len(corpus)
    return {
        "backbone": backbone,
        "probe": "tom",
        "layer": layer,
        "rank": 64,
        "seed": seed,
        "recipe": "default",
        "train_corpus": "fewnerd",
        "eval_corpus": corpus,
        "split": "test",
        "decoding": decoding,
        "threshold": 0.5 if source == "fixed" else 0.31 + wobble,
        "threshold_source": source,
        "n_documents": 120,
        "tp": 310,
        "fp": 120,
        "fn": 145,
        "unreachable": 4,
        "precision": f1 + 0.03,
        "recall": f1 - 0.03,
        "f1": f1,
        "f1_low": f1 - 0.035,
        "f1_high": f1 + 0.03,
        "average_precision": f1 + 0.02,
    }


@pytest.fixture(scope="session")
def make_table() -> MakeTable:
    """Builds a table from depths of backbones, layers (all when None), seeds and corpora."""

    def make(
        depths: dict[str, int] | None = None,
        layers: Sequence[int] | None = None,
        seeds: Sequence[int] = (0,),
        corpora: Sequence[str] = ("demo",),
    ) -> pd.DataFrame:
        return pd.DataFrame(
            [
                make_cell(backbone, depth, layer, seed, corpus, decoding, source)
                for backbone, depth in (depths or {"smollm2-135m": 30}).items()
                for layer in (range(-1, depth) if layers is None else layers)
                for seed in seeds
                for corpus in corpora
                for decoding, source in _DECODED
            ]
        )

    return make
