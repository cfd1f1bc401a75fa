"""`load_backbone`: what it takes, and what it says of what it cannot take."""

import json
import shutil
import time

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformer_lens.model_bridge import TransformerBridge
from transformers import BertConfig, BertModel, ModernBertConfig, ModernBertForMaskedLM

from mentionprobe import Backbone, load_backbone
from mentionprobe.errors import BackboneError, UnknownNameError


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy of the tiny Llama's folder, to be spoiled."""
    return shutil.copytree(tiny_folder("llama"), tmp_path / "model")


def boot(folder):
    return TransformerBridge.boot_transformers(str(folder))


def test_a_folder_is_named_by_its_last_part(tiny):
    assert tiny("gpt2").name == "tiny-gpt2"


def test_dtype_is_what_was_asked_for(tiny_folder):
    assert load_backbone(tiny_folder("llama"), dtype="float16").dtype == torch.float16


def test_an_unknown_dtype_is_named_with_the_choice(tiny_folder):
    with pytest.raises(BackboneError, match=r"'int8' is not one of float32, float16, bfloat16"):
        load_backbone(tiny_folder("llama"), dtype="int8")


def test_an_unknown_name_is_told_the_nearest_and_all_others():
    with pytest.raises(UnknownNameError, match="no backbone 'smolm2-135'") as caught:
        load_backbone("smolm2-135")
    assert "llama-3.2-1b" in str(caught.value)
    assert str(caught.value).endswith("Did you mean 'smollm2-135m'?")


@pytest.mark.parametrize("path", ["./missing", "../missing", "~/missing", "/no/such/folder"])
def test_a_path_that_does_not_exist_is_not_looked_up_on_the_hub(path):
    with pytest.raises(UnknownNameError, match="no existing path"):
        load_backbone(path)


@pytest.mark.parametrize("name", ["pythia-14m", "EleutherAI/pythia-14m"])
def test_without_a_network_a_hub_id_fails_soon_and_says_what_to_do(name):
    began = time.monotonic()
    with pytest.raises(BackboneError, match=r"cannot load EleutherAI/pythia-14m: .*its folder"):
        load_backbone(name)
    assert time.monotonic() - began < 60


def test_a_folder_without_a_config_is_no_model(tmp_path):
    with pytest.raises(BackboneError, match=r"is not a model folder: it holds no config\.json"):
        load_backbone(tmp_path)


def test_a_folder_without_weights_is_refused(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(BackboneError, match=r"cannot load .*Check that the folder holds"):
        load_backbone(folder)


def test_a_folder_without_a_tokenizer_is_refused(folder):
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(BackboneError, match=r"cannot load .*tokenizer\.json"):
        load_backbone(folder)


def test_weights_cut_off_in_the_middle_are_refused(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(BackboneError, match=r"cannot load .*model"):
        load_backbone(folder)


def test_a_checkpoint_that_lacks_a_weight_is_not_filled_with_noise(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.self_attn.q_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BackboneError, match=r"lacks 1 weights, the first model\.layers\.1\.self"):
        load_backbone(folder)


def test_an_encoder_without_its_language_model_head_is_loaded(tmp_path, tokenizer_of):
    """As sentence encoders are published; nothing reads the head."""
    config = BertConfig(
        vocab_size=600,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
    )
    BertModel(config).save_pretrained(tmp_path)
    tokenizer_of("wordpiece").save_pretrained(tmp_path)
    first = load_backbone(tmp_path)
    torch.manual_seed(1)  # the head is drawn at random, but the same at every load
    second = load_backbone(tmp_path)
    assert not first.contract.causal
    assert first.fingerprint == second.fingerprint


def test_a_model_type_transformers_does_not_know_is_named(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "llama99"}))
    with pytest.raises(BackboneError, match="llama99"):
        load_backbone(folder)


def test_an_architecture_transformer_lens_cannot_hook_is_named(tmp_path, tokenizer_of):
    config = ModernBertConfig(
        vocab_size=600,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        pad_token_id=0,
    )
    ModernBertForMaskedLM(config).save_pretrained(tmp_path)
    tokenizer_of("wordpiece").save_pretrained(tmp_path)
    with pytest.raises(BackboneError, match=r"TransformerLens [34]\..* cannot hook .*modernbert"):
        load_backbone(tmp_path)


def test_loading_draws_nothing_from_the_global_generator(tiny_folder):
    state = torch.manual_seed(1).get_state()
    load_backbone(tiny_folder("llama"))
    assert torch.equal(torch.get_rng_state(), state)


def test_loading_leaves_the_tokenizer_as_it_was_saved(tiny):
    """TransformerLens sets special tokens of its own on the tokenizer it is given."""
    assert tiny("bert").tokenizer.bos_token is None
    assert tiny("bert").tokenizer.eos_token is None


@pytest.mark.parametrize("architecture", ["llama", "bert"])
def test_a_hooked_model_reads_what_the_same_folder_reads(architecture, tiny_folder, tiny, encode):
    of_object, of_folder = load_backbone(boot(tiny_folder(architecture))), tiny(architecture)
    assert of_object.fingerprint == of_folder.fingerprint
    assert (of_object.prefix, of_object.suffix) == (of_folder.prefix, of_folder.suffix)
    hooks = {"blocks.1.hook_resid_post": torch.clone}
    found, expected = (b.run(*encode(b, "Marie Curie"), hooks) for b in (of_object, of_folder))
    torch.testing.assert_close(found, expected)


def test_a_bridge_as_it_comes_is_not_warned_about(tiny_folder, caplog):
    load_backbone(boot(tiny_folder("gpt2")))
    assert "processed" not in caplog.text


def test_a_bridge_in_compatibility_mode_is_warned_about(tiny_folder, caplog):
    bridge = boot(tiny_folder("gpt2"))
    bridge.enable_compatibility_mode()
    assert isinstance(load_backbone(bridge), Backbone)
    assert "this model's weights were processed" in caplog.text


def test_an_object_that_is_no_hooked_model_is_refused():
    with pytest.raises(BackboneError, match=r"a Linear is no hooked model \(it has no cfg\)"):
        load_backbone(torch.nn.Linear(2, 2))


def test_a_tokenizer_of_another_model_is_refused(tiny_folder, minilm):
    with pytest.raises(BackboneError, match=r"token id \d+, the model knows 600"):
        load_backbone(boot(tiny_folder("llama")), tokenizer=minilm.tokenizer)


def test_a_hooked_model_without_a_tokenizer_needs_one(tiny_folder, tokenizer_of):
    bridge = boot(tiny_folder("llama"))
    bridge.tokenizer = None
    with pytest.raises(BackboneError, match="the hooked model has no tokenizer; pass one"):
        load_backbone(bridge)
    assert load_backbone(bridge, tokenizer=tokenizer_of("byte-bpe")).prefix == (0,)
