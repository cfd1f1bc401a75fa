"""What a site gives, entry by entry, and what it refuses."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from mentionprobe import Backbone, Corpus, Document, attention, extract, query_key, residual
from mentionprobe.activations.extract import run_sites
from mentionprobe.backbones import TokenizedDocument
from mentionprobe.errors import SiteError

SITES = [
    residual(-1),
    residual(2),
    query_key(1),
    query_key(1, rotary=False),
    attention(0),
    attention(range(3), max_span=7),
    attention((2, 0), kind="pattern"),
]


def raw_hooks(backbone: Backbone, document: TokenizedDocument, *names: str) -> list[Tensor]:
    """Raw tensors of one text alone, special tokens left in, without our `Backbone.run`."""
    seen: dict[str, Tensor] = {}

    def keep(raw: Tensor, hook: object, *, name: str) -> None:
        seen[name] = raw[0].clone()

    ids = torch.tensor([[*backbone.prefix, *document.ids, *backbone.suffix]])
    with torch.inference_mode():
        hooks = [(name, partial(keep, name=name)) for name in names]
        backbone.model.run_with_hooks(ids, fwd_hooks=hooks)
    return [seen[name] for name in names]


def spans(n_tokens: int, max_span: int) -> list[tuple[int, int]]:
    """(last token, offset) of every candidate span."""
    return [(j, o) for j in range(n_tokens) for o in range(min(j + 1, max_span))]


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.key)
def test_a_site_has_the_shape_it_announces(backbone, texts, site):
    activations = extract(backbone, texts, [site])
    found = activations.read([site], range(len(texts)))
    assert found.shape == (1, activations.n_tokens, *site.feature_shape(backbone))
    assert found.isfinite().all()


def test_keys_of_different_sites_differ():
    sites = [*SITES, attention((0, 2), kind="pattern"), attention(0, max_span=7)]
    keys = [site.key for site in sites]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("layers", [1, (0, 2), (2, 0)], ids=str)
def test_pattern_band_is_the_models_own_pattern(backbone, texts, hugging_face, layers):
    site = attention(layers, kind="pattern", max_span=9)
    activations = extract(backbone, texts, [site])
    skip, heads = len(backbone.prefix), backbone.n_heads
    for i in (0, 5):
        n_tokens = len(activations.documents[i])
        patterns = hugging_face(backbone, activations.documents[i].ids).patterns
        band = activations.read([site], [i])[0]
        for j, o in spans(n_tokens, 9):
            expected = patterns[list(site.layers), :, skip + j, skip + j - o]  # [layer, head]
            torch.testing.assert_close(
                band[j, o], expected.flatten(), rtol=1e-3, atol=1e-6, msg=f"span {j - o}..{j}"
            )
        assert band.shape[2] == len(site.layers) * heads


@pytest.mark.parametrize("layers", [1, (0, 2), (2, 0)], ids=str)
def test_scores_band_is_what_the_softmax_of_the_pattern_was_taken_of(
    backbone, texts, hugging_face, layers
):
    """Within a row, differences of scores are differences of log patterns."""
    site = attention(layers, max_span=9)
    activations = extract(backbone, texts, [site])
    skip = len(backbone.prefix)
    for i in (0, 5):
        patterns = hugging_face(backbone, activations.documents[i].ids).patterns
        logs = patterns[list(site.layers)].log()
        band = activations.read([site], [i])[0]
        for j, o in spans(len(activations.documents[i]), 9):
            expected = (logs[..., skip + j, skip + j - o] - logs[..., skip + j, skip + j]).flatten()
            torch.testing.assert_close(band[j, o] - band[j, 0], expected, rtol=2e-3, atol=2e-2)


def test_scores_of_a_model_that_gives_them_are_those_of_its_hook(decoder, texts):
    site = attention((0, 2), max_span=9)
    assert decoder.contract.score_source(0) == "hook"
    activations = extract(decoder, texts, [site])
    names = [f"blocks.{layer}.attn.hook_attn_scores" for layer in (0, 2)]
    scores = torch.cat(raw_hooks(decoder, activations.documents[0], *names))  # [layer * head, ...]
    band = activations.read([site], [0])[0]
    for j, o in spans(len(activations.documents[0]), 9):
        torch.testing.assert_close(band[j, o], scores[:, 1 + j, 1 + j - o], rtol=1e-3, atol=1e-4)


def test_scores_of_a_model_that_hides_them_are_scaled_products(encoder, texts):
    site = attention(1, max_span=9)
    assert encoder.contract.score_source(1) == "rebuilt"
    activations = extract(encoder, texts, [site])
    names = [f"blocks.1.attn.hook_{kind}" for kind in "qk"]
    query, key = raw_hooks(encoder, activations.documents[0], *names)
    band = activations.read([site], [0])[0]
    for j, o in spans(len(activations.documents[0]), 9):
        expected = (query[1 + j] * key[1 + j - o]).sum(-1) / math.sqrt(encoder.d_head)
        torch.testing.assert_close(band[j, o], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("soft_cap", [0.0, 3.0])
def test_scores_are_rebuilt_with_grouped_key_heads_and_soft_cap(
    decoder, texts, monkeypatch, soft_cap
):
    """As on a model that has rotary queries and grouped keys, but no honest scores."""
    site = attention((0, 2), max_span=9)
    own = extract(decoder, texts, [site]).read([site], range(len(texts)))[0]
    layers = [replace(c, scores="rebuilt", soft_cap=soft_cap) for c in decoder.contract.layers]
    monkeypatch.setattr(decoder, "contract", replace(decoder.contract, layers=tuple(layers)))
    activations = extract(decoder, texts, [site])
    rebuilt = activations.read([site], range(len(texts)))[0]
    expected = soft_cap * torch.tanh(own / soft_cap) if soft_cap else own
    row = 0
    for document in activations.documents:
        for j, o in spans(len(document), 9):
            torch.testing.assert_close(
                rebuilt[row + j, o], expected[row + j, o], rtol=2e-3, atol=2e-3
            )
        row += len(document)


@pytest.mark.parametrize("kind", ["pattern", "scores"])
def test_a_text_of_as_many_positions_as_heads_is_no_special_case(backbone, kind, assert_close):
    """[batch, head, pos, pos] and [batch, pos, head, d_head] then have the same shape."""
    n_words = backbone.n_heads - len(backbone.prefix) - len(backbone.suffix)
    words = ["the", "water", "was", "cold", "and", "the"]
    short = Document("short", " ".join(words[:n_words]))
    long = Document("long", " ".join(words))
    site = attention(0, kind=kind, max_span=4)
    band = extract(backbone, Corpus("c", None, (short,)), [site], batch_tokens=1).read([site], [0])
    padded = extract(backbone, Corpus("c", None, (short, long)), [site]).read([site], [0])
    assert band.shape == (1, n_words, 4, backbone.n_heads)
    assert_close(band, padded)


@pytest.mark.parametrize("rotary", [True, False])
def test_queries_come_before_keys_and_grouped_key_heads_stay_grouped(decoder, texts, rotary):
    site = query_key(2, rotary=rotary)
    activations = extract(decoder, texts, [site])
    infix = "rot_" if rotary else ""
    names = [f"blocks.2.attn.hook_{infix}{kind}" for kind in "qk"]
    query, key = raw_hooks(decoder, activations.documents[0], *names)
    found = activations.read([site], [0])[0]
    assert found.shape[1:] == (4 + 2, 4)
    expected = torch.cat([query, key], dim=1)[1:]  # position 0 is the special token
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_rotary_queries_and_keys_multiply_to_the_scores(decoder, texts):
    """Query head h reads key head h // (heads / key heads)."""
    activations = extract(decoder, texts, [query_key(1), attention(1)])
    both = activations.read([query_key(1)], [0])[0]
    query, key = both[:, :4], both[:, 4:].repeat_interleave(2, dim=1)
    band = activations.read([attention(1)], [0])[0]
    for j, o in spans(len(activations.documents[0]), 25):
        expected = (query[j] * key[j - o]).sum(-1) / math.sqrt(decoder.d_head)
        torch.testing.assert_close(band[j, o], expected, rtol=1e-2, atol=2e-2)


def test_special_and_padding_positions_are_there_for_whoever_runs_sites_directly(decoder):
    ids = torch.tensor([[0, 7, 8, 9], [0, 7, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    found = run_sites(decoder, [residual(0), query_key(0)], ids, mask)
    assert found[residual(0)].shape == (2, 4, 16)
    torch.testing.assert_close(found[residual(0)][0, :2], found[residual(0)][1, :2])


@pytest.mark.parametrize(
    "site",
    [residual(3), residual(-2), query_key(3), query_key(-1), attention((0, 3)), attention(-1)],
    ids=lambda site: site.key,
)
def test_a_layer_that_does_not_exist_is_refused(decoder, texts, site):
    lowest = -1 if site.key.startswith("residual") else 0
    with pytest.raises(SiteError, match=f"does not exist; tiny-decoder has layers {lowest} to 2"):
        extract(decoder, texts, [residual(0), site])


def test_attention_of_nothing_is_refused():
    with pytest.raises(SiteError, match="at least one layer"):
        attention(())
    with pytest.raises(SiteError, match="spans of up to 0 tokens"):
        attention(1, max_span=0)
