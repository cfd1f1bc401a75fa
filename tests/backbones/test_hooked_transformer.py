"""HookedTransformer and HookedEncoder, which TransformerLens 3.9 has and 4 has not."""

from importlib.metadata import version

import pytest
import torch
from transformers import AutoModelForCausalLM, BertForPreTraining

from mentionprobe import attention, load_backbone, query_key, residual
from mentionprobe.activations.extract import run_sites
from mentionprobe.errors import BackboneError

if not version("transformer-lens").startswith("3."):
    pytest.skip("TransformerLens 4 has no HookedTransformer", allow_module_level=True)

from transformer_lens import HookedEncoder, HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import (
    convert_bert_weights,
    convert_llama_weights,
)

TEXTS = ("Marie Curie was born in Warsaw.", "Nothing is known of the glacier.", "Ice.")
LLAMA = {
    "act_fn": "silu",
    "normalization_type": "RMS",
    "gated_mlp": True,
    "final_rms": True,
    "positional_embedding_type": "rotary",
    "rotary_dim": 8,
    "n_key_value_heads": 2,
    "eps": 1e-6,
    "original_architecture": "LlamaForCausalLM",
}
BERT = {
    "act_fn": "gelu",
    "normalization_type": "LN",
    "attention_dir": "bidirectional",
    "eps": 1e-12,
}


def config(**settings):
    sizes = {"n_layers": 3, "d_model": 32, "n_heads": 4, "d_head": 8, "d_mlp": 48}
    return HookedTransformerConfig(**sizes, n_ctx=64, d_vocab=600, seed=0, **settings)


def random_transformer(**settings):
    settings = {"act_fn": "gelu", "initializer_range": 0.3, **settings}
    return HookedTransformer(config(**settings))


@pytest.fixture(scope="module")
def llama(tiny_folder):
    """The tiny Llama's weights in a HookedTransformer, unprocessed."""
    cfg = config(**LLAMA)
    hf_model = AutoModelForCausalLM.from_pretrained(tiny_folder("llama"))
    model = HookedTransformer(cfg)
    model.load_state_dict(convert_llama_weights(hf_model, cfg), strict=False)
    return model


@pytest.fixture(scope="module")
def bert(tiny_folder):
    """The tiny BERT's weights in a HookedEncoder."""
    cfg = config(**BERT)
    hf_model = BertForPreTraining.from_pretrained(tiny_folder("bert"))  # the converter's class
    model = HookedEncoder(cfg)
    model.load_state_dict(convert_bert_weights(hf_model, cfg), strict=False)
    return model


@pytest.mark.parametrize("architecture", ["llama", "bert"])
def test_residuals_and_pattern_are_hugging_faces(architecture, request, tiny, hugging_face, encode):
    """HookedEncoder's `hook_resid_post` lies before a block's last norm, HF's states after it."""
    of_folder = tiny(architecture)
    hooked = request.getfixturevalue(architecture)
    backbone = load_backbone(hooked, tokenizer=of_folder.tokenizer)
    assert backbone.contract.causal == of_folder.contract.causal
    ids, mask = encode(backbone, *TEXTS)
    plain = hugging_face(of_folder)(ids, mask)
    sites = [residual(layer) for layer in range(-1, 3)]
    found = run_sites(backbone, sites, ids, mask)
    real = mask == 1
    for site, state in zip(sites, plain.states, strict=True):
        torch.testing.assert_close(found[site][real], state[real], atol=1e-4, rtol=1e-4)
    site = attention(1, kind="pattern", max_span=1)
    expected = plain.patterns[1].diagonal(dim1=2, dim2=3).mT[:, :, None]
    found = run_sites(backbone, [site], ids, mask)[site]
    torch.testing.assert_close(found[real], expected[real], atol=1e-5, rtol=0)


@pytest.mark.parametrize("architecture", ["llama", "bert"])
def test_scores_come_from_the_hook_and_are_finite(architecture, request, tiny, encode):
    tokenizer = tiny(architecture).tokenizer
    backbone = load_backbone(request.getfixturevalue(architecture), tokenizer=tokenizer)
    assert backbone.contract.score_source(0) == "hook"
    ids, mask = encode(backbone, *TEXTS)
    band = run_sites(backbone, [attention((0, 2))], ids, mask)[attention((0, 2))]
    assert band[mask == 1].isfinite().all()  # masked scores are -inf here
    assert band[mask == 1].abs().max() < 1e4


def test_keys_are_as_many_as_the_model_has(llama, tiny, encode):
    backbone = load_backbone(llama, tokenizer=tiny("llama").tokenizer)
    ids, mask = encode(backbone, TEXTS[0])
    found = run_sites(backbone, [query_key(1)], ids, mask)[query_key(1)]
    expected = run_sites(tiny("llama"), [query_key(1)], ids, mask)[query_key(1)]
    assert found.shape[2] == 4 + 2
    # Rotary pairs dimensions in another order here than in HF: compare what they multiply to.
    products = [q[..., :4, :] @ q[..., 4:, :].mT for q in (found[0, :1], expected[0, :1])]
    torch.testing.assert_close(*products, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(side, llama, tiny, encode):
    tokenizer = tiny("llama").tokenizer
    llama.set_tokenizer(tokenizer, default_padding_side=side)
    assert llama.tokenizer.padding_side == side
    backbone = load_backbone(llama)
    last = "blocks.2.hook_resid_post"
    together = backbone.run(*encode(backbone, *TEXTS), {last: torch.clone})[last]
    for row, text in enumerate(TEXTS):
        alone = backbone.run(*encode(backbone, text), {last: torch.clone})[last][0]
        torch.testing.assert_close(together[row, : len(alone)], alone, atol=1e-4, rtol=1e-4)


def test_a_model_of_our_own_serves_as_a_backbone(tokenizer_of, encode, caplog):
    model = random_transformer(normalization_type="LN")
    backbone = load_backbone(model, tokenizer=tokenizer_of("byte-bpe"))
    assert backbone.contract.residual_error is None
    assert "processed" not in caplog.text
    ids, mask = encode(backbone, *TEXTS)
    found = run_sites(backbone, [residual(1)], ids, mask)[residual(1)]
    _, cache = model.run_with_cache(ids, attention_mask=mask)
    torch.testing.assert_close(found, cache["resid_post", 1])


def test_folded_weights_are_used_but_warned_about(tokenizer_of, caplog):
    model = random_transformer(normalization_type="LNPre")
    load_backbone(model, tokenizer=tokenizer_of("byte-bpe"))
    assert "this model's weights were processed" in caplog.text


def test_rebuilt_scores_are_capped_like_the_models(tokenizer_of):
    model = random_transformer(normalization_type="LN", attn_scores_soft_cap=3.0)
    backbone = load_backbone(model, tokenizer=tokenizer_of("byte-bpe"))
    assert backbone.contract.layers[0].query_key[True] == ("hook_q", "hook_k")
    assert backbone.contract.layers[0].soft_cap == 3.0


def test_a_model_without_a_tokenizer_is_refused():
    with pytest.raises(BackboneError, match="the hooked model has no tokenizer; pass one"):
        load_backbone(random_transformer())


def test_the_pass_stops_in_an_encoder_too(bert, tiny, encode):
    """HookedEncoder has no `stop_at_layer`."""
    backbone = load_backbone(bert, tokenizer=tiny("bert").tokenizer)
    begun = []
    handle = bert.blocks[1].register_forward_pre_hook(lambda *_: begun.append(1))
    backbone.run(*encode(backbone, *TEXTS), {"blocks.0.hook_resid_post": torch.clone})
    handle.remove()
    assert begun == []
    assert not any(point.fwd_hooks for point in bert.hook_dict.values())
