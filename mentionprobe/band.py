"""The span band: scores of all spans of at most `max_span` tokens, stored as [end, offset].

Entry [..., j, o] belongs to the span whose last token is j and whose first token is j - o. Entries
that would begin before the first token are 0. Cost and memory are linear in the number of tokens.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

_BLOCK = 32  # end tokens a block; 32 keeps both the waste (24 of 56 columns) and the calls low


def band_products(
    query: Float[Tensor, "*batch pos rank"],
    key: Float[Tensor, "*batch pos rank"],
    *,
    max_span: int,
) -> Float[Tensor, "*batch pos {max_span}"]:
    """Dot product of the query of each end token with the keys of the tokens before it.

    Returns [..., j, o] = query[..., j, :] · key[..., j - o, :], 0 where j - o < 0.
    """
    n_tokens = query.shape[-2]
    n_blocks = -(-n_tokens // _BLOCK)
    width = _BLOCK + max_span - 1
    fill = n_blocks * _BLOCK - n_tokens
    queries = F.pad(query, (0, 0, 0, fill)).unflatten(-2, (n_blocks, _BLOCK))
    keys = F.pad(key, (0, 0, max_span - 1, fill)).unfold(-2, width, _BLOCK)
    return _diagonals(queries @ keys, max_span).flatten(-3, -2)[..., :n_tokens, :]


def _diagonals(
    blocks: Float[Tensor, "*batch block end start"], max_span: int
) -> Float[Tensor, "*batch block end offset"]:
    """Cut out of each block, for end x and offset o, the entry (x, x + max_span - 1 - o).

    Appending `end` zeros and reading rows one element longer shifts row x left by x.
    """
    n_ends, width = blocks.shape[-2:]
    shifted = F.pad(blocks.flatten(-2), (0, n_ends)).unflatten(-1, (n_ends, width + 1))
    return shifted[..., :max_span].flip(-1)


def cut_band(
    square: Float[Tensor, "*batch query key"], *, max_span: int
) -> Float[Tensor, "*batch query {max_span}"]:
    """Cut the band out of a full matrix: [..., j, o] = square[..., j, j - o], 0 where j - o < 0."""
    n_tokens = square.shape[-1]
    starts = torch.arange(n_tokens)[:, None] - torch.arange(max_span)
    index = starts.clamp(min=0).to(square.device).expand(*square.shape[:-1], max_span)
    return square.gather(-1, index).masked_fill(starts.to(square.device) < 0, 0.0)


def candidate_mask(
    position: Int[Tensor, " pos"],
    can_start: Bool[Tensor, " pos"],
    can_end: Bool[Tensor, " pos"],
    *,
    max_span: int,
) -> Bool[Tensor, "pos {max_span}"]:
    """Which band entries are candidate spans, for documents laid end to end.

    `position` counts from 0 in each document, so a span stays inside its document if its offset
    is at most the position of its last token.
    """
    offset = torch.arange(max_span)
    starts = torch.arange(len(position))[:, None] - offset
    inside = offset <= position[:, None]
    return inside & can_end[:, None] & can_start[starts.clamp(min=0)]
