"""What the scores and labels of a band must hold before anything is counted on them."""

from jaxtyping import Bool, Float
from torch import Tensor

from mentionprobe.errors import MentionprobeError


def check_band(
    logits: Float[Tensor, "*systems pos offset"], valid: Bool[Tensor, "pos offset"]
) -> None:
    """Refuse scores that cannot be ordered and candidates that are no spans.

    Entries that are no candidate spans may hold anything; infinities are ordered, so they pass.

    Raises `MentionprobeError` where a candidate span is scored NaN (the message names the systems)
    or starts before the first token.
    """
    broken = (logits.isnan() & valid).flatten(-2).any(-1).reshape(-1)
    if broken.any():
        systems = ", ".join(str(i) for i in broken.nonzero().flatten().tolist())
        raise MentionprobeError(
            f"The logits of system(s) {systems} are NaN on candidate spans. A probe that scores "
            "NaN diverged in training, or read activations that overflowed: leave it out, or "
            "train it again."
        )
    if valid.triu(1).any():
        raise MentionprobeError(
            "`valid` marks spans that start before the first token. Entry [j, o] is the span from "
            "token j - o to token j, both inclusive: clear the entries with o > j."
        )


def check_gold(gold: Bool[Tensor, "pos offset"], valid: Bool[Tensor, "pos offset"]) -> None:
    """Refuse gold mentions that no prediction could ever match.

    Raises `MentionprobeError` where a gold entry is not a candidate span: such a mention is
    unreachable, and belongs in the recall denominator instead of the band.
    """
    n_outside = int((gold & ~valid).sum())
    if n_outside:
        raise MentionprobeError(
            f"{n_outside} gold entries are not candidate spans. Clear them (gold & valid) and add "
            "their number to n_gold, where unreachable mentions are counted."
        )
