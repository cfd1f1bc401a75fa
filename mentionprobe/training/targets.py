"""The spans of a corpus on the band: which are candidates, which are gold."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from mentionprobe.activations import Activations
from mentionprobe.backbones import Alignment, align
from mentionprobe.band import candidate_mask
from mentionprobe.corpora import Corpus


@dataclass(frozen=True)
class Spans:
    """Candidate and gold spans of some documents laid end to end.

    `document`: for each token, the place of its document among those asked for.
    `is_last`: whether a token ends its document.
    """

    valid: Bool[Tensor, "pos offset"]
    gold: Bool[Tensor, "pos offset"]
    document: Int[Tensor, " pos"]
    is_last: Bool[Tensor, " pos"]


class Targets:
    """The gold mentions of a corpus, aligned with the tokens of its activations.

    Raises `FingerprintError` if the activations are those of other texts.
    """

    def __init__(self, activations: Activations, corpus: Corpus, *, max_span: int) -> None:
        activations.require_texts_of(corpus)
        self.max_span = max_span
        self.tokens = activations.documents
        self.alignments: list[Alignment] = [
            align(tokens, document.gold_spans, max_span=max_span)
            for tokens, document in zip(self.tokens, corpus, strict=True)
        ]
        self.n_gold = np.asarray([a.n_gold for a in self.alignments])
        self.n_unreachable = sum(a.n_unreachable for a in self.alignments)
        self.groups = [document.group for document in corpus]

    def spans(self, documents: Sequence[int]) -> Spans:
        """Candidates and gold of `documents`, in the order asked for."""
        tokens = [self.tokens[d] for d in documents]
        lengths = [len(t) for t in tokens]
        position = np.concatenate([np.arange(n) for n in lengths])
        valid = candidate_mask(
            torch.from_numpy(position),
            torch.from_numpy(np.concatenate([t.can_start for t in tokens])),
            torch.from_numpy(np.concatenate([t.can_end for t in tokens])),
            max_span=self.max_span,
        )
        first_token = np.concatenate([[0], np.cumsum(lengths)])
        is_last = torch.zeros(len(position), dtype=torch.bool)
        is_last[first_token[1:] - 1] = True
        return Spans(
            valid=valid,
            gold=self._gold(documents, first_token, valid),
            document=torch.from_numpy(np.repeat(np.arange(len(tokens)), lengths)),
            is_last=is_last,
        )

    def _gold(
        self,
        documents: Sequence[int],
        first_token: Int[np.ndarray, " edge"],
        valid: Bool[Tensor, "pos offset"],
    ) -> Bool[Tensor, "pos offset"]:
        gold = torch.zeros_like(valid)
        for document, start in zip(documents, first_token[:-1], strict=True):
            aligned = self.alignments[document]
            gold[start + aligned.last, aligned.last - aligned.first] = True
        return gold


@dataclass(frozen=True)
class Data:
    """Some documents of a corpus, with their activations and gold spans."""

    activations: Activations
    targets: Targets
    documents: Sequence[int]

    @property
    def n_gold(self) -> int:
        """Gold mentions of the documents, unreachable ones included."""
        return int(self.targets.n_gold[list(self.documents)].sum())

    def sample(self, tokens: int) -> "Data":
        """About `tokens` tokens of evenly spaced documents; all of them if there are no more."""
        lengths = [len(self.targets.tokens[d]) for d in self.documents]
        step = max(1, round(sum(lengths) / tokens))
        return Data(self.activations, self.targets, list(self.documents)[::step])

    def batches(self, *, tokens: int) -> Iterator[list[int]]:
        """The documents in order, in batches of about `tokens` tokens."""
        batch: list[int] = []
        held = 0
        for document in self.documents:
            batch.append(document)
            held += len(self.targets.tokens[document])
            if held >= tokens:
                yield batch
                batch, held = [], 0
        if batch:
            yield batch
