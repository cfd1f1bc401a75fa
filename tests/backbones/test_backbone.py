"""Running a backbone: what it reads, where it stops, and what it leaves behind."""

from collections import Counter
from copy import deepcopy

import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge

from mentionprobe import Document, load_backbone
from mentionprobe.errors import BackboneError, SiteError

TEXTS = (
    "Marie Curie was born in Warsaw, and later moved to Paris.",
    "Nothing is known of the glacier.",
    "Ice.",
)
LAST = "blocks.2.hook_resid_post"


def n_hooks(model):
    return sum(len(point.fwd_hooks) for point in model.hook_dict.values())


def calls(backbone):
    """Counts the calls of each block and of the unembedding from now on."""
    counts = Counter()
    model = backbone.model
    watched = {f"block {i}": block for i, block in enumerate(model.blocks)}
    watched["unembedding"] = model.original_model.get_output_embeddings()
    for name, module in watched.items():
        module.register_forward_pre_hook(lambda *_, name=name: counts.update([name]))
    return counts


@pytest.fixture
def own_llama(tiny_folder):
    """A tiny backbone that a test may tamper with."""
    return load_backbone(tiny_folder("llama"))


@pytest.fixture
def own_bert(tiny_folder):
    """A tiny encoder that a test may tamper with."""
    return load_backbone(tiny_folder("bert"))


def test_a_special_token_stands_first(each_tiny, encode):
    ids, _ = encode(each_tiny, TEXTS[0])
    special = each_tiny.tokenizer.all_special_ids
    assert ids[0, 0] in special
    assert not set(ids[0, 1 : -1 if each_tiny.suffix else None].tolist()) & set(special)


def test_special_tokens_of_decoder_and_encoder(smollm2, minilm):
    assert smollm2.prefix == (smollm2.tokenizer.bos_token_id,)
    assert smollm2.suffix == ()
    assert minilm.prefix == (minilm.tokenizer.cls_token_id,)
    assert minilm.suffix == (minilm.tokenizer.sep_token_id,)


def test_a_text_as_long_as_the_window_can_be_run(each_tiny):
    """RoBERTa's position table has rows that no token may use."""
    text = "Marie Curie was born in Warsaw. " * 20
    (tokens,) = each_tiny.tokenize([Document("d", text)], truncate=True)
    assert tokens.truncated
    assert len(tokens) == each_tiny.window
    ids = torch.tensor([[*each_tiny.prefix, *tokens.ids, *each_tiny.suffix]])
    kept = each_tiny.run(ids, torch.ones_like(ids), {LAST: torch.clone})
    assert kept[LAST].shape == (1, ids.shape[1], 32)


def test_a_text_is_read_the_same_alone_and_beside_longer_ones(each_tiny, encode):
    together = each_tiny.run(*encode(each_tiny, *TEXTS), {LAST: torch.clone})[LAST]
    for row, text in enumerate(TEXTS):
        alone = each_tiny.run(*encode(each_tiny, text), {LAST: torch.clone})[LAST][0]
        torch.testing.assert_close(together[row, : len(alone)], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "bert"])
def test_a_tokenizer_that_pads_on_the_left_changes_nothing(architecture, tiny_folder, tiny, encode):
    bridge = TransformerBridge.boot_transformers(str(tiny_folder(architecture)))
    bridge.tokenizer.padding_side = "left"
    left = load_backbone(bridge)
    batch = encode(left, *TEXTS)
    found = left.run(*batch, {LAST: torch.clone})[LAST]
    expected = tiny(architecture).run(*batch, {LAST: torch.clone})[LAST]
    real = batch[1] == 1
    torch.testing.assert_close(found[real], expected[real], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("fixture", ["own_llama", "own_bert"])
def test_the_pass_stops_at_the_last_hook_asked_for(fixture, request, encode):
    backbone = request.getfixturevalue(fixture)
    batch = encode(backbone, *TEXTS)
    counts = calls(backbone)
    backbone.run(*batch, {"blocks.0.hook_resid_post": torch.clone})
    assert counts == {"block 0": 1}
    backbone.run(*batch, {LAST: torch.clone, "blocks.1.attn.hook_q": torch.clone})
    assert counts == {"block 0": 2, "block 1": 1, "block 2": 1}


@pytest.mark.parametrize("fixture", ["own_llama", "own_bert"])
def test_the_counting_of_calls_counts(fixture, request, encode):
    """The test above would pass on modules that are never called at all."""
    backbone = request.getfixturevalue(fixture)
    ids, mask = encode(backbone, TEXTS[0])
    counts = calls(backbone)
    backbone.model.forward(ids, attention_mask=mask, return_type=None)
    assert counts == {"block 0": 1, "block 1": 1, "block 2": 1, "unembedding": 1}


def test_what_a_function_returns_is_kept_in_place_of_the_tensor(tiny, encode):
    kept = tiny("llama").run(*encode(tiny("llama"), TEXTS[0]), {LAST: lambda raw: raw.shape[-1]})
    assert kept == {LAST: 32}


def test_hooks_are_gone_after_a_run(own_llama, encode):
    own_llama.run(*encode(own_llama, *TEXTS), {"blocks.0.hook_resid_post": torch.clone})
    assert n_hooks(own_llama.model) == 0
    assert own_llama.model.context_level == 0


def test_hooks_are_gone_after_a_run_that_failed(own_llama, encode):
    def fail(raw):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        own_llama.run(*encode(own_llama, *TEXTS), {LAST: torch.clone, "blocks.0.hook_in": fail})
    assert n_hooks(own_llama.model) == 0


def test_a_permanent_hook_of_the_users_stays_and_works(own_llama, encode):
    batch = encode(own_llama, TEXTS[0])
    before = own_llama.run(*batch, {LAST: torch.clone})[LAST]
    own_llama.model.hook_dict["blocks.1.hook_resid_post"].add_perma_hook(
        lambda value, hook: torch.zeros_like(value)
    )
    for _ in range(2):
        assert not torch.equal(own_llama.run(*batch, {LAST: torch.clone})[LAST], before)


def test_a_mistyped_hook_is_named(tiny, encode):
    message = r"no hook 'blocks.2.hook_resid_pots'. Did you mean 'blocks.2.hook_resid_post'\?"
    with pytest.raises(SiteError, match=message):
        tiny("llama").run(*encode(tiny("llama"), TEXTS[0]), {"blocks.2.hook_resid_pots": len})


def test_a_hook_that_never_fires_is_absent(tiny, encode):
    hooks = {LAST: len, "blocks.0.attn.hook_rot_q": len}
    assert list(tiny("gpt-neox").run(*encode(tiny("gpt-neox"), TEXTS[0]), hooks)) == [LAST]


def test_a_decoder_without_bos_gets_its_separator(tiny_folder, tokenizer_of):
    tokenizer = deepcopy(tokenizer_of("byte-bpe"))
    tokenizer.bos_token = tokenizer.cls_token = None
    bridge = TransformerBridge.boot_transformers(str(tiny_folder("llama")))
    assert load_backbone(bridge, tokenizer=tokenizer).prefix == (tokenizer.eos_token_id,)


def test_a_tokenizer_without_special_tokens_is_refused(tiny_folder, tokenizer_of):
    tokenizer = deepcopy(tokenizer_of("byte-bpe"))
    for role in ("bos", "eos", "sep", "cls"):
        setattr(tokenizer, f"{role}_token", None)
    bridge = TransformerBridge.boot_transformers(str(tiny_folder("llama")))
    with pytest.raises(BackboneError, match="neither a BOS nor an EOS nor a separator"):
        load_backbone(bridge, tokenizer=tokenizer)


def test_a_special_token_without_an_embedding_does_not_count(tiny_folder, tokenizer_of):
    """TransformerLens adds such tokens to tokenizers that have none."""
    tokenizer = deepcopy(tokenizer_of("byte-bpe"))
    tokenizer.add_special_tokens({"bos_token": "<|begin|>"})
    assert tokenizer.bos_token_id == 600
    bridge = TransformerBridge.boot_transformers(str(tiny_folder("llama")))
    assert load_backbone(bridge, tokenizer=tokenizer).prefix == (tokenizer.eos_token_id,)


def test_a_backbone_prints_what_it_is(tiny):
    assert repr(tiny("llama")).startswith(
        "Backbone('tiny-llama', TransformerBridge, 3 layers, d_model 32, 4 heads, torch.float32, "
        "causal, residual vs HF: "
    )
