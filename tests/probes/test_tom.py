"""ToM's span logits, recomputed span by span from the equations of the paper."""

import pytest
import torch

from mentionprobe.errors import TrainingError
from mentionprobe.probes import ToM
from mentionprobe.probes.span_probe import running_pools
from mentionprobe.training import RECIPES


def drawn(d_model: int = 7, rank: int = 3, max_span: int = 4, recipe: str = "default") -> ToM:
    probe = ToM(rank=rank, layer=0, max_span=max_span)
    shape = {"residual": torch.zeros(1, d_model, dtype=torch.float64)}
    probe.initialise(shape, RECIPES[recipe], torch.Generator().manual_seed(0))
    return probe


def cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a @ b / (a.norm() * b.norm())


def test_logits_are_eq_1_and_eq_2_span_by_span():
    probe = drawn()
    z = torch.randn(11, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    documents = [(0, 6), (6, 11)]
    is_last = torch.zeros(11, dtype=torch.bool)
    is_last[[5, 10]] = True
    logits = probe({"residual": z}, is_last)
    query, key = z @ probe.query_projection, z @ probe.key_projection
    value = z @ probe.value_weight + probe.value_bias
    for first, stop in documents:
        for j in range(first, stop):
            for i in range(max(first, j - 3), j + 1):
                inner = [cosine(query[j], key[k]) for k in range(i + 1, j + 1)]
                zero = torch.zeros((), dtype=torch.float64)
                features = torch.stack(
                    [
                        cosine(query[j], key[i]),
                        max(inner, default=zero),
                        min(inner, default=zero),
                        value[j],
                        value[j + 1] if j + 1 < stop else zero,
                    ]
                )
                expected = (probe.theta * features).sum()
                torch.testing.assert_close(logits[j, j - i], expected)


def test_pools_are_the_true_extremes_also_where_they_have_the_other_sign():
    match = torch.tensor([[0.5, -0.2, 0.1], [-0.9, -0.3, -0.4]])
    largest, smallest = running_pools(match)
    assert largest.tolist() == [[0.0, 0.5, 0.5], [0.0, pytest.approx(-0.9), pytest.approx(-0.3)]]
    assert smallest.tolist() == [[0.0, 0.5, pytest.approx(-0.2)], [0.0, *[pytest.approx(-0.9)] * 2]]


def test_size_for_llama_3_2_1b_is_the_papers():
    probe = drawn(d_model=2048, rank=64)
    assert probe.n_parameters == 264_198  # Table 8


def test_recipes_draw_what_they_say():
    paper, ours = drawn(400, 50, recipe="paper"), drawn(400, 50, recipe="default")
    assert paper.theta.tolist() == [1, 1, 1, 1, 1]
    assert paper.query_projection.std().item() == pytest.approx(1, rel=0.05)
    assert ours.query_projection.std().item() == pytest.approx(400**-0.5, rel=0.05)


def test_constructor_keeps_what_it_is_given_and_shows_it():
    probe = ToM(rank=8, max_span=10, seed=3, recipe="paper")
    assert (probe.rank, probe.max_span, probe.seed, probe.recipe) == (8, 10, 3, "paper")
    assert repr(probe) == "ToM(rank=8, layer=None, max_span=10, seed=3, recipe='paper')"


def test_a_probe_without_a_layer_says_so():
    with pytest.raises(TrainingError, match="no layer yet"):
        ToM().sites()
