"""Balanced binary cross-entropy, summed by hand (Eq. 3)."""

import math

import pytest
import torch

from mentionprobe.training import balanced_bce


def by_hand(logits, gold, valid, root: bool) -> float:
    entries = [(e, o) for e, o in valid.nonzero().tolist()]
    positive = sum(bool(gold[e, o]) for e, o in entries)
    alpha = (len(entries) - positive) / positive if positive else 1.0
    alpha = math.sqrt(alpha) if root else alpha
    total = 0.0
    for e, o in entries:
        p = 1 / (1 + math.exp(-logits[e, o].item()))
        total -= alpha * math.log(p) if gold[e, o] else math.log(1 - p)
    return total / len(entries)


@pytest.mark.parametrize("weighting", ["balanced", "root"])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_loss_is_eq_3_over_candidate_spans_only(weighting, share):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 9, 4, generator=generator, dtype=torch.float64)
    valid = torch.rand(9, 4, generator=generator) < 0.7
    gold = valid & (torch.rand(9, 4, generator=generator) < share)
    losses = balanced_bce(logits, gold, valid, positive_weight=weighting)
    for one, found in zip(logits, losses, strict=True):
        assert found.item() == pytest.approx(by_hand(one, gold, valid, weighting == "root"))


def test_both_classes_weigh_the_same_at_logit_zero():
    valid = torch.ones(6, 2, dtype=torch.bool)
    gold = torch.zeros_like(valid)
    gold[0, 0] = True
    logits = torch.zeros(6, 2, requires_grad=True)
    balanced_bce(logits, gold, valid).backward()
    assert logits.grad is not None
    assert logits.grad[gold].sum().item() == pytest.approx(-logits.grad[~gold].sum().item())
