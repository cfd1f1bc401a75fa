"""Long texts are read in overlapping windows; each token's activations come from one of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from mentionprobe.backbones import Backbone, TokenizedDocument
from mentionprobe.backbones.tokenization import DEFAULT_MAX_SPAN
from mentionprobe.errors import BackboneError


@dataclass(frozen=True)
class Window:
    """Tokens `start` to `stop` of a document; those from `keep_from` to `keep_to` are kept."""

    document: int
    start: int
    stop: int
    keep_from: int
    keep_to: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def n_kept(self) -> int:
        """Tokens whose activations are taken from this window."""
        return self.keep_to - self.keep_from


def cut_windows(
    document: int, n_tokens: int, window: int, *, left_context: int = DEFAULT_MAX_SPAN
) -> list[Window]:
    """Windows of at most `window` tokens that keep each token of the document exactly once.

    Neighbours overlap by half a window, and the seam lies in the middle of the overlap, so that
    every kept token has at least a quarter of a window of context on the side of the seam.
    `left_context` is how many tokens a site must see before each: the longest span of an attention
    band. Raises `BackboneError` if the context is too short for that.
    """
    if n_tokens <= window:
        return [Window(document, 0, n_tokens, 0, n_tokens)]
    overlap = window // 2
    if overlap // 2 < left_context:
        raise BackboneError(
            f"a context of {window} tokens is too short to read a text of {n_tokens} in "
            f"overlapping windows; at least {4 * left_context} are needed. Cut the text into "
            "shorter documents, or pass truncate=True to drop what does not fit."
        )
    starts = list(range(0, n_tokens - overlap, window - overlap))
    stops = [min(start + window, n_tokens) for start in starts]
    seams = [(stop + start) // 2 for stop, start in zip(stops[:-1], starts[1:], strict=True)]
    return [
        Window(document, *edges)
        for edges in zip(starts, stops, [0, *seams], [*seams, n_tokens], strict=True)
    ]


def pack(windows: Sequence[Window], *, batch_tokens: int) -> list[list[Window]]:
    """Batches of windows of similar length whose padded size stays within `batch_tokens`."""
    batches: list[list[Window]] = []
    for window in sorted(windows, key=len, reverse=True):
        if batches and (len(batches[-1]) + 1) * len(batches[-1][0]) <= batch_tokens:
            batches[-1].append(window)
        else:
            batches.append([window])
    return batches


def pad(
    backbone: Backbone, batch: Sequence[Window], documents: Sequence[TokenizedDocument]
) -> tuple[Int[Tensor, "batch pos"], Int[Tensor, "batch pos"]]:
    """Token ids with special tokens around them, padded on the right, and the mask of real ones."""
    rows = [
        np.concatenate(
            [backbone.prefix, documents[w.document].ids[w.start : w.stop], backbone.suffix]
        )
        for w in batch
    ]
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), backbone.prefix[0], dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.from_numpy(row)
        mask[i, : len(row)] = 1
    return ids, mask
