"""What a backbone says its hooks give, held against Hugging Face alone."""

from dataclasses import replace

import pytest
import torch
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.model_bridge import TransformerBridge

from mentionprobe import attention, load_backbone, query_key, residual
from mentionprobe.activations.extract import run_sites
from mentionprobe.backbones import Backbone
from mentionprobe.backbones.contract import check_ids
from mentionprobe.errors import BackboneError, SiteError

TEXTS = (
    "Marie Curie was born in Warsaw, and later moved to Paris.",
    "Nothing is known of the glacier.",
)


def read(backbone, site, ids, mask):
    """A site's tensor, after the checks an extraction makes."""
    site.check(backbone)
    return run_sites(backbone, [site], ids, mask)[site]


def relative(found, expected):
    return float((found - expected).norm() / expected.norm())


def native_bridge(**settings):
    """A Bridge that TransformerLens makes from a config alone, with random weights."""
    sizes = {"d_model": 32, "d_head": 8, "n_heads": 4, "n_layers": 3, "d_mlp": 48}
    config = TransformerBridgeConfig(
        **sizes, n_ctx=64, d_vocab=600, act_fn="gelu", seed=0, initializer_range=0.3, **settings
    )
    return TransformerBridge.boot_native(config)


def boot(folder):
    return TransformerBridge.boot_transformers(str(folder))


def noise(bridge, n_states):
    """Random states in the shape of the hidden states the check compares with."""
    shape = (*check_ids(bridge.tokenizer).shape, bridge.cfg.d_model)
    return tuple(torch.randn(shape) for _ in range(n_states))


def assert_residuals_are_hugging_faces(backbone, hugging_face, ids, mask):
    states = hugging_face(backbone)(ids, mask).states
    sites = [residual(layer) for layer in range(-1, backbone.n_layers)]
    found = run_sites(backbone, sites, ids, mask)
    for site, state in zip(sites, states, strict=True):
        assert relative(found[site][mask == 1], state[mask == 1]) < 1e-5, site


def test_residuals_are_hugging_faces(each_tiny, hugging_face, encode):
    assert_residuals_are_hugging_faces(each_tiny, hugging_face, *encode(each_tiny, *TEXTS))
    assert each_tiny.contract.residual_error < 1e-5


@pytest.mark.parametrize("name", ["smollm2", "minilm"])
def test_residuals_of_real_models_are_hugging_faces(name, request, hugging_face, encode):
    backbone = request.getfixturevalue(name)
    assert_residuals_are_hugging_faces(backbone, hugging_face, *encode(backbone, *TEXTS))


def test_scores_differ_from_the_log_of_the_pattern_by_a_constant_a_row(tiny, hugging_face, encode):
    """Softmax takes that constant away, whether scores are read from their hook or rebuilt."""
    for architecture in ("llama", "phi3", "gpt-neox", "gpt2", "bert"):
        backbone = tiny(architecture)
        ids, mask = encode(backbone, TEXTS[0])
        patterns = torch.cat(hugging_face(backbone)(ids, mask).patterns, dim=1)[0].log()
        band = read(backbone, attention((0, 1, 2), max_span=6), ids, mask)[0]
        for end in range(ids.shape[1]):
            starts = range(end, max(-1, end - 6), -1)
            constant = band[end, : len(starts)] - patterns[:, end, list(starts)].T
            assert (constant - constant[0]).abs().max() < 1e-3, architecture


def test_the_pattern_is_hugging_faces(tiny, hugging_face, encode):
    for architecture in ("llama", "phi3", "gpt-neox", "gpt2", "bert"):
        backbone = tiny(architecture)
        ids, mask = encode(backbone, TEXTS[0])
        pattern = hugging_face(backbone)(ids, mask).patterns[1][0]
        band = read(backbone, attention(1, kind="pattern", max_span=6), ids, mask)[0]
        for end in range(ids.shape[1]):
            for offset in range(min(6, end + 1)):
                expected = pattern[:, end, end - offset]
                torch.testing.assert_close(band[end, offset], expected, atol=1e-5, rtol=0)


def test_scores_of_real_tokens_are_finite_in_a_padded_batch(each_tiny, encode):
    ids, mask = encode(each_tiny, *TEXTS)
    band = read(each_tiny, attention((0, 2)), ids, mask)
    assert band[mask == 1].isfinite().all()
    assert band[mask == 1].abs().max() < 1e4  # -3.4e38 marks what is masked


def test_an_encoder_gives_the_pattern_for_scores_so_they_are_rebuilt(tiny):
    contract = tiny("bert").contract
    assert [contract.score_source(layer) for layer in range(3)] == ["rebuilt"] * 3


def test_an_encoder_is_found_by_what_it_does(tiny, minilm):
    assert tiny("llama").contract.causal
    assert not tiny("bert").contract.causal
    assert not minilm.contract.causal


def test_an_encoder_is_found_in_low_precision():
    assert not load_backbone("minilm-l6", dtype="bfloat16").contract.causal


def test_a_config_that_calls_an_encoder_causal_is_not_believed(tiny_folder):
    bridge = boot(tiny_folder("bert"))
    bridge.cfg.attention_dir = "causal"  # what 3.9 says of BERT by itself
    assert not load_backbone(bridge).contract.causal


@pytest.mark.parametrize("architecture", ["gpt-neox", "phi3"])
def test_queries_after_rotary_are_refused_where_rotary_hooks_never_fire(architecture, tiny):
    backbone = tiny(architecture)
    assert "blocks.1.attn.hook_rot_q" in backbone.model.hook_dict
    with pytest.raises(SiteError, match=r"layer 1 .* after rotary: hook_rot_q .* never fire"):
        query_key(1).check(backbone)


@pytest.mark.parametrize("architecture", ["gpt-neox", "phi3"])
def test_without_rotary_hooks_queries_before_rotary_and_scores_remain(architecture, tiny, encode):
    backbone = tiny(architecture)
    ids, mask = encode(backbone, TEXTS[0])
    heads = backbone.n_heads + backbone.n_key_heads
    assert read(backbone, query_key(1, rotary=False), ids, mask).shape[2:] == (heads, 8)
    assert backbone.contract.score_source(1) == "hook"


def test_query_heads_share_key_heads_in_order(tiny, hugging_face, encode):
    backbone = tiny("llama")
    ids, mask = encode(backbone, TEXTS[0])
    both = read(backbone, query_key(2), ids, mask)[0].transpose(0, 1)
    queries, keys = both[:4], both[4:]
    assert len(keys) == backbone.n_key_heads == 2
    pattern = hugging_face(backbone)(ids, mask).patterns[2][0]

    def rebuilt(key_head_of):
        scores = queries @ keys[key_head_of].transpose(1, 2) / 8**0.5
        return scores.masked_fill(pattern == 0, -torch.inf).softmax(-1)

    torch.testing.assert_close(rebuilt([0, 0, 1, 1]), pattern, atol=1e-5, rtol=0)
    assert (rebuilt([0, 1, 0, 1]) - pattern).abs().max() > 0.1


def test_rebuilt_scores_of_grouped_keys_are_those_of_the_hook(tiny_folder, encode):
    backbone = load_backbone(tiny_folder("llama"))
    ids, mask = encode(backbone, *TEXTS)
    read_from_hook = read(backbone, attention((0, 2)), ids, mask)
    layers = tuple(replace(layer, scores="rebuilt") for layer in backbone.contract.layers)
    backbone.contract = replace(backbone.contract, layers=layers)
    rebuilt = read(backbone, attention((0, 2)), ids, mask)
    torch.testing.assert_close(rebuilt[mask == 1], read_from_hook[mask == 1], atol=1e-4, rtol=1e-4)


def test_a_bridge_made_from_a_config_serves_as_a_backbone(tokenizer_of, encode):
    backbone = load_backbone(native_bridge(), tokenizer=tokenizer_of("byte-bpe"))
    assert backbone.contract.causal
    assert backbone.contract.residual_error is None
    ids, mask = encode(backbone, *TEXTS)
    assert read(backbone, residual(1), ids, mask)[mask == 1].isfinite().all()


def test_rebuilt_scores_are_capped_like_the_models(tokenizer_of, encode):
    bridge = native_bridge(attn_scores_soft_cap=3.0)
    backbone = load_backbone(bridge, tokenizer=tokenizer_of("byte-bpe"))
    assert backbone.contract.score_source(0) == "rebuilt"
    ids, mask = encode(backbone, TEXTS[0])
    scores = read(backbone, attention(0, max_span=64), ids, mask)[0]
    pattern = read(backbone, attention(0, kind="pattern", max_span=64), ids, mask)[0]
    assert 2.5 < scores.abs().max() <= 3.0
    n_starts = torch.arange(ids.shape[1])[:, None, None]
    outside = torch.arange(64)[None, :, None] > n_starts
    torch.testing.assert_close(scores.masked_fill(outside, -torch.inf).softmax(1), pattern)


def test_what_cannot_be_given_honestly_is_refused_with_its_reason(tokenizer_of):
    """This Bridge returns the pattern for scores and fires no rotary hook."""
    bridge = native_bridge(positional_embedding_type="rotary")
    backbone = load_backbone(bridge, tokenizer=tokenizer_of("byte-bpe"))
    reason = r"softmax of hook_attn_scores is not hook_pattern, and they cannot be rebuilt"
    with pytest.raises(SiteError, match=reason):
        attention(0).check(backbone)
    attention(0, kind="pattern").check(backbone)


@pytest.mark.parametrize("site", [residual(3), residual(-2), query_key(-1), attention((0, 7))])
def test_a_layer_that_does_not_exist_is_named(site, tiny):
    with pytest.raises(SiteError, match=r"layer (3|-2|-1|7) does not exist; tiny-llama has layers"):
        site.check(tiny("llama"))


def test_a_residual_stream_that_is_not_hugging_faces_is_refused(tiny_folder):
    bridge = boot(tiny_folder("llama"))
    with pytest.raises(BackboneError, match="differs from Hugging Face's hidden states by"):
        Backbone(bridge, bridge.tokenizer, name="other", hf_hidden_states=noise(bridge, 4))


def test_a_model_of_another_depth_than_hugging_faces_is_refused(tiny_folder):
    bridge = boot(tiny_folder("llama"))
    with pytest.raises(BackboneError, match="3 hooked blocks, Hugging Face's 6"):
        Backbone(bridge, bridge.tokenizer, name="deeper", hf_hidden_states=noise(bridge, 7))


def test_a_residual_stream_that_breaks_off_between_blocks_is_refused(tiny_folder):
    bridge = boot(tiny_folder("llama"))
    bridge.hook_dict["blocks.1.hook_resid_pre"].add_perma_hook(lambda value, hook: value + 1)
    with pytest.raises(BackboneError, match="is not what the next block reads"):
        load_backbone(bridge)


def test_a_residual_stream_that_overflows_is_refused(tiny_folder):
    bridge = boot(tiny_folder("llama"))
    bridge.hook_dict["blocks.1.hook_resid_post"].add_perma_hook(lambda value, hook: value * 1e39)
    with pytest.raises(BackboneError, match=r"overflows in torch.float32; .*dtype='bfloat16'"):
        load_backbone(bridge)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_contract_is_the_same_in_low_precision(dtype, tiny, tiny_folder):
    for architecture in ("llama", "gpt-neox", "bert"):
        low = load_backbone(tiny_folder(architecture), dtype=dtype).contract
        full = tiny(architecture).contract
        for of_low, of_full in zip(low.layers, full.layers, strict=True):
            assert (of_low.scores, of_low.query_key) == (of_full.scores, of_full.query_key)


def test_the_summary_says_what_was_found(tiny):
    assert tiny("bert").contract.summary().startswith("bidirectional, residual vs HF: ")
    assert tiny("bert").contract.summary().endswith("attention scores: rebuilt")
