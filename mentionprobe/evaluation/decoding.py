"""From span scores to predicted spans: all above a threshold, or the best that do not overlap.

Spans live on a band: entry [j, o] is the span that ends at token j and starts at token j - o, both
inclusive, on a token axis that holds many documents one after the other. Every function takes one
system (a trained probe) or many at once on leading axes.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mentionprobe.evaluation.checks import check_band


def threshold_decode(
    logits: Float[Tensor, "*systems pos offset"],
    valid: Bool[Tensor, "pos offset"],
    threshold: float | Float[Tensor, "*systems"],
) -> Bool[Tensor, "*systems pos offset"]:
    """The candidate spans that score at or above the threshold; they may overlap and nest.

    `threshold` is a logit, one for all systems or one for each. Raises `MentionprobeError` where
    a candidate span is scored NaN or starts before the first token.
    """
    check_band(logits, valid)
    level = torch.as_tensor(threshold, dtype=torch.float32, device=logits.device)
    return (logits >= level[..., None, None]) & valid


def greedy_decode(
    logits: Float[Tensor, "*systems pos offset"],
    valid: Bool[Tensor, "pos offset"],
    threshold: float | Float[Tensor, "*systems"],
) -> Bool[Tensor, "*systems pos offset"]:
    """The best-scored candidate spans that do not overlap each other (flat mentions).

    Equal to walking through the candidates at or above `threshold` (a logit, one for all systems
    or one for each) from the best to the worst and keeping each that shares no token with one
    kept before. Higher scores are better; among equal scores the longer span is, then the earlier.

    Takes memory for the candidates above the threshold, not for their pairs. Raises
    `MentionprobeError` where a candidate span is scored NaN or starts before the first token.
    """
    above = threshold_decode(logits, valid, threshold)
    # Rows of the flattened band are positions shifted per system: spans of two systems never meet.
    band = above.flatten(end_dim=-2)
    row, offset = _ranked_candidates(logits.flatten(end_dim=-2), band)
    kept = _keep_disjoint(row - offset, row, n_tokens=len(band))
    chosen = torch.zeros_like(band)
    chosen[row[kept], offset[kept]] = True
    return chosen.view_as(above)


def _ranked_candidates(
    logits: Float[Tensor, "row offset"], above: Bool[Tensor, "row offset"]
) -> tuple[Int[Tensor, "span"], Int[Tensor, "span"]]:
    """Rows (last tokens) and offsets of the candidates, best first."""
    # Listed longest first and, within a length, earliest first; a stable sort keeps that for ties.
    shortness, row = above.flip(-1).T.nonzero(as_tuple=True)
    offset = above.shape[-1] - 1 - shortness
    order = logits[row, offset].sort(descending=True, stable=True).indices
    return row[order], offset[order]


def _keep_disjoint(
    first: Int[Tensor, "span"], last: Int[Tensor, "span"], *, n_tokens: int
) -> Bool[Tensor, "span"]:
    """Which of the spans, given best first, greedy decoding keeps.

    Works in rounds. A span that is better than every other it overlaps is kept whatever happens
    elsewhere, so all of these are kept together; then all that overlap one of them are dropped.
    The order is total, so each round keeps at least the best span left, and the outcome is that
    of the sequential walk. Rounds are few on real scores; no text needs more than it has tokens.
    """
    kept = torch.zeros(len(first), dtype=torch.bool, device=first.device)
    left = torch.arange(len(first), device=first.device)
    while len(left):
        first_left, last_left = first[left], last[left]
        best = _best_per_token(first_left, last_left, n_tokens)
        n_owned = best.bincount(minlength=len(left) + 1)[:-1]
        wins = n_owned == last_left - first_left + 1
        kept[left[wins]] = True
        taken = torch.cat([wins, wins.new_zeros(1)])[best]
        left = left[~_touches(taken, first_left, last_left)]
    return kept


def _best_per_token(
    first: Int[Tensor, "span"], last: Int[Tensor, "span"], n_tokens: int
) -> Int[Tensor, "token"]:
    """For each token the index of the first listed span that covers it; n_spans where none does.

    A span is the union of two blocks as long as the largest power of two in its length. Blocks are
    written at their first token and then halved down to single tokens: two writes a span instead
    of one for each token it covers.
    """
    n_spans = len(first)
    level = torch.frexp((last - first + 1).float()).exponent.long() - 1
    n_levels = int(level.max()) + 1
    best = first.new_full((n_levels, n_tokens), n_spans)
    index = torch.arange(n_spans, device=first.device)
    for block in (first, last + 1 - (1 << level)):
        best.view(-1).scatter_reduce_(0, level * n_tokens + block, index, "amin")
    for lower in reversed(range(n_levels - 1)):
        half, upper = 1 << lower, best[lower + 1]
        best[lower] = best[lower].minimum(upper)
        best[lower, half:] = best[lower, half:].minimum(upper[:-half])
    return best[0]


def _touches(
    taken: Bool[Tensor, "token"], first: Int[Tensor, "span"], last: Int[Tensor, "span"]
) -> Bool[Tensor, "span"]:
    """Which spans cover at least one taken token."""
    n_taken_before = torch.nn.functional.pad(taken.cumsum(0), (1, 0))
    return n_taken_before[last + 1] > n_taken_before[first]
