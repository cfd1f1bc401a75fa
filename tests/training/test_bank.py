"""A bank trains each member as if it were alone."""

from dataclasses import replace

import pytest
import torch

from mentionprobe.errors import TrainingError
from mentionprobe.probes import ToM
from mentionprobe.training import RECIPES, Bank, fit_bank

FIFTY_STEPS = {"batch_documents": 4, "epochs": 6, "early_stopping": None}


def weights(probe: ToM) -> dict[str, torch.Tensor]:
    return {name: p.detach() for name, p in probe.named_parameters()}


@pytest.mark.parametrize("recipe", ["paper", "default"])
def test_each_member_equals_the_probe_trained_alone(made, recipe):
    activations, corpus = made(40, layers=(-1, 3, 7))
    dev = made(12, layers=(-1, 3, 7), seed=1)
    recipe = replace(RECIPES[recipe], **FIFTY_STEPS)
    members = [(-1, 0), (3, 0), (7, 1), (3, 2)]

    def probes() -> list[ToM]:
        return [ToM(rank=5, layer=layer, seed=seed, recipe=recipe) for layer, seed in members]

    together, alone = probes(), probes()
    fit_bank(together, activations, corpus, dev=dev, dtype=torch.float64, max_steps=50)
    for probe in alone:
        fit_bank([probe], activations, corpus, dev=dev, dtype=torch.float64, max_steps=50)
    for one, other in zip(together, alone, strict=True):
        assert one.threshold_logit_ == pytest.approx(other.threshold_logit_, abs=1e-6)
        for name, weight in weights(one).items():
            torch.testing.assert_close(weight, weights(other)[name], atol=1e-8, rtol=0)


def test_selection_and_early_stopping_are_each_members_own(made):
    activations, corpus = made(30, layers=(0, 1))
    dev = made(12, layers=(0, 1), seed=1)
    recipe = replace(RECIPES["default"], batch_documents=4, epochs=12, early_stopping=1)
    together = [ToM(rank=3, layer=layer, seed=layer, recipe=recipe) for layer in (0, 1)]
    fit_bank(together, activations, corpus, dev=dev, dtype=torch.float64)
    for probe in together:
        alone = ToM(rank=3, layer=probe.layer, seed=probe.seed, recipe=recipe)
        fit_bank([alone], activations, corpus, dev=dev, dtype=torch.float64)
        for name, weight in weights(probe).items():
            torch.testing.assert_close(weight, weights(alone)[name], atol=1e-8, rtol=0)


def test_a_plateau_slows_down_only_the_member_that_stands_on_it(made):
    activations, corpus = made(30, layers=(0, 1))
    recipe = replace(RECIPES["paper"], batch_documents=4, epochs=5, plateau_batches=2)
    together = [ToM(rank=3, layer=layer, seed=0, recipe=recipe) for layer in (0, 1)]
    fit_bank(together, activations, corpus, dtype=torch.float64)
    for probe in together:
        alone = ToM(rank=3, layer=probe.layer, seed=0, recipe=recipe)
        fit_bank([alone], activations, corpus, dtype=torch.float64)
        for name, weight in weights(probe).items():
            torch.testing.assert_close(weight, weights(alone)[name], atol=1e-8, rtol=0)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(made):
    activations, corpus = made()
    first, again, other = (
        ToM(rank=4, layer=0, seed=seed).fit(activations, corpus) for seed in (0, 0, 1)
    )
    assert all(torch.equal(weights(first)[n], weights(again)[n]) for n in weights(first))
    assert not torch.equal(first.query_projection, other.query_projection)


def test_probes_of_different_shape_do_not_make_a_bank(made):
    activations, corpus = made()
    with pytest.raises(TrainingError, match="one shape"):
        fit_bank([ToM(rank=4, layer=0), ToM(rank=5, layer=0)], activations, corpus)
    with pytest.raises(TrainingError, match="share one recipe"):
        fit_bank(
            [ToM(layer=0, recipe="paper"), ToM(layer=0, recipe="default")], activations, corpus
        )
    with pytest.raises(TrainingError, match="with parameters"):
        Bank([ToM(layer=0)])


def test_gradients_are_clipped_for_each_member_alone(made):
    """One adamw step is blind to the gradient's scale, so look at the gradient itself."""
    from mentionprobe.training.fit import _Optimiser

    activations, corpus = made()
    probes = [ToM(rank=3, layer=0, seed=s) for s in (0, 1)]
    fit_bank(probes, activations, corpus, dtype=torch.float64, max_steps=1)
    bank = Bank(probes)
    optimiser = _Optimiser(bank, RECIPES["paper"], total_steps=2)
    factors = torch.tensor([100.0, 1e-3], dtype=torch.float64)
    for parameter in bank.parameters.values():
        parameter.grad = torch.ones_like(parameter) * factors.view(-1, *[1] * (parameter.ndim - 1))
    optimiser._clip_each()
    norms = sum(p.grad.reshape(2, -1).square().sum(1) for p in bank.parameters.values()).sqrt()
    n = sum(p[0].numel() for p in bank.parameters.values())
    assert norms[0] == pytest.approx(2.0)
    assert norms[1] == pytest.approx(1e-3 * n**0.5)
