"""The balanced loss of section 2.3."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def balanced_bce(
    logits: Float[Tensor, "*probe pos offset"],
    gold: Bool[Tensor, "pos offset"],
    valid: Bool[Tensor, "pos offset"],
    *,
    positive_weight: Literal["balanced", "root"] = "balanced",
) -> Float[Tensor, "*probe"]:
    """Balanced binary cross-entropy (Eq. 3), one value a probe.

    The mean over all candidate spans (`valid`) of the batch, mentions weighted by
    alpha = #neg / #pos (1 in a batch without a mention), or by its square root.
    """
    n_positive = (gold & valid).sum()
    n_total = valid.sum()
    alpha = (n_total - n_positive) / n_positive.clamp(min=1) if n_positive else torch.tensor(1.0)
    if positive_weight == "root":
        alpha = alpha.sqrt()
    weight = torch.where(gold, alpha.to(logits), 1.0) * valid / n_total.clamp(min=1)
    terms = F.binary_cross_entropy_with_logits(
        logits, gold.to(logits).expand_as(logits), weight=weight.to(logits), reduction="none"
    )
    return terms.sum((-2, -1))
