"""Scoring a bank of probes on a corpus: one pass over its activations for all members."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mentionprobe.activations import Activations
from mentionprobe.corpora import Corpus
from mentionprobe.evaluation import (
    Score,
    ScoreHistogram,
    document_counts,
    greedy_decode,
    score_systems,
    sum_by_group,
    threshold_decode,
)
from mentionprobe.progress import progress
from mentionprobe.training.bank import Bank, Trainable
from mentionprobe.training.targets import Data, Spans, Targets

BATCH_TOKENS = 2048

Decoding = Literal["threshold", "greedy"]
DECODERS = {"threshold": threshold_decode, "greedy": greedy_decode}


def score_spans(
    bank: Bank, data: Data
) -> Iterator[tuple[list[int], Spans, Float[Tensor, "probe pos offset"]]]:
    """Documents, their spans and every member's logits, batch by batch, in corpus order."""
    dtype = next(iter(bank.parameters.values())).dtype
    for documents in data.batches(tokens=BATCH_TOKENS):
        spans = data.targets.spans(documents)
        with torch.inference_mode():
            inputs = bank.read(data.activations, documents, dtype)
            yield documents, spans, bank.logits(inputs, spans.is_last)


def score_histogram(bank: Bank, data: Data) -> ScoreHistogram:
    """The counts from which thresholds and average precisions are read."""
    histogram = ScoreHistogram(len(bank))
    for _, spans, logits in score_spans(bank, data):
        histogram.add(logits, spans.gold, spans.valid)
    return histogram


@dataclass(frozen=True)
class Evaluation:
    """One probe on one corpus, with one decoding at one threshold."""

    probe: int
    """Index of the probe among those evaluated."""
    decoding: Decoding
    threshold: float
    """As a probability."""
    threshold_source: str
    """"dev" or "fixed"."""
    score: Score
    average_precision: float
    n_documents: int
    unreachable: int


def evaluate(
    probes: Sequence[Trainable],
    activations: Activations,
    corpus: Corpus,
    *,
    decodings: Sequence[Decoding] = ("threshold", "greedy"),
    n_resamples: int = 1000,
) -> list[Evaluation]:
    """Exact-match scores of trained probes, at their dev-chosen threshold and at 0.5.

    Spans are matched exactly, in characters, against the distinct gold spans; gold mentions that
    no token span can express stay in the denominator of recall. Intervals are 95 % bootstrap
    intervals over the groups of `corpus`. Average precision is over all candidate spans.

    Raises `FingerprintError` if the activations come from other texts than those of `corpus` or
    from another backbone than the probes'.
    """
    for probe in probes:
        probe.require_backbone_of(activations)
    targets = Targets(activations, corpus, max_span=probes[0].max_span)
    data = Data(activations, targets, range(len(activations)))
    bank = Bank(probes)
    dev = torch.tensor([probe.threshold_logit_ for probe in probes], dtype=torch.float32)
    thresholds = {"dev": dev, "fixed": torch.zeros(len(probes))}
    settings = list(product(decodings, thresholds))
    counts = {s: np.zeros((2, len(probes), len(corpus)), dtype=np.int32) for s in settings}
    histogram = ScoreHistogram(len(probes))
    label = f"scoring {len(probes)} probes on {corpus}"
    with progress(label, total=activations.n_tokens, unit="tokens") as advance:
        for documents, spans, logits in score_spans(bank, data):
            histogram.add(logits, spans.gold, spans.valid)
            for decoding, source in settings:
                predicted = DECODERS[decoding](logits, spans.valid, thresholds[source])
                counts[decoding, source][:, :, documents] = document_counts(
                    predicted, spans.gold, spans.document, len(documents)
                )
            advance(len(spans.is_last))
    average_precision = histogram.average_precision(data.n_gold)
    return [
        Evaluation(
            probe=i,
            decoding=decoding,
            threshold=float(thresholds[source][i].double().sigmoid()),
            threshold_source=source,
            score=score,
            average_precision=float(average_precision[i]),
            n_documents=len(activations),
            unreachable=targets.n_unreachable,
        )
        for (decoding, source), found in counts.items()
        for i, score in enumerate(_scores(found, targets, n_resamples))
    ]


def _scores(
    counts: Int[np.ndarray, "2 probe document"], targets: Targets, n_resamples: int
) -> list[Score]:
    """Scores from true and false positives per document, resampling groups."""
    tp, fp = counts
    grouped = [sum_by_group(c, targets.groups) for c in (tp, fp, targets.n_gold - tp)]
    return score_systems(*grouped, n_resamples=n_resamples)
