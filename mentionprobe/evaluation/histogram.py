"""Threshold-free scores over any number of candidate spans, in constant memory.

Logits are rounded to float16, which keeps their order, and candidates and hits are counted per
distinct value. There are 65,536 float16 bit patterns, so a system takes 1 MiB however long the
corpus is, and nothing is ever sorted.

A value's code is its place in the order of all float16 values, 32,768 for zero: +0 and -0 are one
value and share a code, and -inf (1,024) and +inf (64,512) bracket the finite ones.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor

from mentionprobe.errors import MentionprobeError
from mentionprobe.evaluation.checks import check_band, check_gold
from mentionprobe.evaluation.scoring import ratio

N_CODES = 1 << 16
ZERO_CODE = 1 << 15
LARGEST_FLOAT16 = 65504.0


class ScoreHistogram:
    """Counts of candidate spans and of gold mentions among them, per system and rounded logit.

    Feed it the bands of a corpus piece by piece with `add`, in any order, then ask. Wherever
    `n_gold` is asked for, it is the number of gold mentions in all that was added: mentions that
    no token span can express count as never found, whatever the threshold.

    Logits beyond ±65504, infinities included, all count as ±65504. `n_candidates` and `n_hits` hold
    the counts, [system, code].
    """

    def __init__(self, n_systems: int) -> None:
        """Start with nothing counted, for `n_systems` systems that score the same candidates."""
        self.n_candidates = torch.zeros(n_systems, N_CODES, dtype=torch.int64)
        self.n_hits = torch.zeros(n_systems, N_CODES, dtype=torch.int64)

    def add(
        self,
        logits: Float[Tensor, "system pos offset"],
        gold: Bool[Tensor, "pos offset"],
        valid: Bool[Tensor, "pos offset"],
    ) -> None:
        """Count the candidate spans of a stretch of tokens.

        Raises `MentionprobeError` where a candidate span is scored NaN or starts before the first
        token, and where a gold entry is not a candidate span.
        """
        check_band(logits, valid)
        check_gold(gold, valid)
        entries = valid.flatten().nonzero().squeeze(1)
        scores = logits.flatten(1).index_select(1, entries)
        codes = _codes_of(scores.clamp(-LARGEST_FLOAT16, LARGEST_FLOAT16)).cpu()
        _count(self.n_candidates, codes)
        _count(self.n_hits, codes[:, gold.flatten()[entries].cpu()])

    def counts_at(
        self, threshold: float | Float[np.ndarray, "system"]
    ) -> tuple[Int[np.ndarray, "system"], Int[np.ndarray, "system"]]:
        """True and false positives among the candidates at or above a threshold (a logit).

        The threshold is rounded to float16 as the scores were, so counts are those of comparing
        the unrounded scores where it came from `best_threshold` or `curve`.
        """
        lowest = _codes_of(torch.as_tensor(threshold, dtype=torch.float32)).view(-1, 1)
        accepted = torch.arange(N_CODES) >= lowest
        tp = (self.n_hits * accepted).sum(1)
        return tp.numpy(), ((self.n_candidates * accepted).sum(1) - tp).numpy()

    def curve(
        self, system: int, n_gold: int
    ) -> tuple[
        Float[np.ndarray, "value"], Float[np.ndarray, "value"], Float32[np.ndarray, "value"]
    ]:
        """Precision, recall and threshold at each distinct score of a system, highest first.

        Raises `MentionprobeError` where n_gold is less than the gold mentions that were added.
        """
        self._check_n_gold(n_gold)
        codes, tp, accepted = self._accepted(system)
        return ratio(tp, accepted), ratio(tp, np.full_like(tp, n_gold)), _lower_edges(codes)

    def average_precision(self, n_gold: int) -> Float[np.ndarray, "system"]:
        """Area under the precision-recall steps: the sum over k of (R_k - R_{k-1}) P_k.

        Candidates of one rounded score make one step. 0 where there are no gold mentions. Raises
        `MentionprobeError` where n_gold is less than the gold mentions that were added.
        """
        self._check_n_gold(n_gold)
        return np.array([self._area(system, n_gold) for system in range(len(self.n_hits))])

    def best_threshold(
        self, n_gold: int
    ) -> tuple[Float32[np.ndarray, "system"], Float[np.ndarray, "system"]]:
        """The threshold (a logit) of the highest F1 of each system, and that F1.

        The higher threshold among equals: +inf, which no finite logit reaches, where no threshold
        finds a gold mention. Otherwise it is the least float32 that rounds to the chosen float16
        score, so `logits >= threshold` on float32 logits accepts exactly what was counted here.

        Raises `MentionprobeError` where n_gold is less than the gold mentions that were added.
        """
        self._check_n_gold(n_gold)
        best = [self._best_of(system, n_gold) for system in range(len(self.n_hits))]
        threshold, f1 = zip(*best, strict=True)
        return np.array(threshold, dtype=np.float32), np.array(f1)

    def _best_of(self, system: int, n_gold: int) -> tuple[float, float]:
        codes, tp, accepted = self._accepted(system)
        f1 = ratio(2 * tp, accepted + n_gold)
        if not f1.any():
            return np.inf, 0.0
        best = f1.argmax()
        return float(_lower_edges(codes)[best]), float(f1[best])

    def _area(self, system: int, n_gold: int) -> float:
        _, tp, accepted = self._accepted(system)
        return float(np.diff(tp, prepend=0) @ ratio(tp, accepted)) / max(n_gold, 1)

    def _accepted(
        self, system: int
    ) -> tuple[Int[np.ndarray, "value"], Int[np.ndarray, "value"], Int[np.ndarray, "value"]]:
        """The codes a system gave, highest first, and the hits and candidates down to each."""
        n_candidates, n_hits = self.n_candidates[system].numpy(), self.n_hits[system].numpy()
        codes = np.flatnonzero(n_candidates)[::-1]
        return codes, n_hits[codes].cumsum(), n_candidates[codes].cumsum()

    def _check_n_gold(self, n_gold: int) -> None:
        n_reachable = int(self.n_hits.sum(1).max())
        if n_gold < n_reachable:
            raise MentionprobeError(
                f"n_gold is {n_gold}, but {n_reachable} gold mentions were added. Give the number "
                "of all gold mentions, those that no token span can express included."
            )


def _count(counts: Int[Tensor, "system code"], codes: Int[Tensor, "system span"]) -> None:
    """Add one to `counts`, in place, for every code."""
    counts.scatter_add_(1, codes, counts.new_ones(()).expand(codes.shape))


def _codes_of(scores: Float[Tensor, "*cells"]) -> Int[Tensor, "*cells"]:
    """Codes of the scores once rounded to float16, to even where two values are as near."""
    # Read as an integer, a negative float16 is its magnitude less 32768.
    bits = scores.half().view(torch.int16).long()
    return torch.where(bits < 0, -bits, bits + ZERO_CODE)


def _values_of(codes: Int[np.ndarray, "value"]) -> Float32[np.ndarray, "value"]:
    """The float16 values that have these codes."""
    bits = np.where(codes < ZERO_CODE, -codes, codes - ZERO_CODE)
    return bits.astype(np.int16).view(np.float16).astype(np.float32)


def _lower_edges(codes: Int[np.ndarray, "value"]) -> Float32[np.ndarray, "value"]:
    """For each code the least float32 that rounds to its value; -inf for the lowest finite one.

    That is half way to the next lower float16 value if rounding to even goes up from there, which
    it does for even codes, and the next float32 above half way if it goes down.
    """
    half_way = (_values_of(codes - 1) + _values_of(codes)) / 2
    goes_down = (codes % 2 == 1) & np.isfinite(half_way)
    return np.where(goes_down, np.nextafter(half_way, np.float32(np.inf)), half_way)
