"""A fingerprint is the same for the same backbone, and another for any other."""

import json
import shutil
from copy import deepcopy

import pytest
import torch
from tokenizers.normalizers import Lowercase
from transformer_lens.model_bridge import TransformerBridge

from mentionprobe import load_backbone


def changed(one, other):
    return {part for part in one.fingerprint if one.fingerprint[part] != other.fingerprint[part]}


def boot(folder):
    return TransformerBridge.boot_transformers(str(folder))


def test_two_loads_agree(minilm):
    """MiniLM comes without its masked-LM head, which is drawn at random at every load."""
    assert load_backbone("minilm-l6").fingerprint == minilm.fingerprint


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "bert"])
def test_one_changed_weight_is_seen(architecture, tiny_folder, tiny):
    bridge = boot(tiny_folder(architecture))
    with torch.no_grad():
        next(bridge.parameters()).view(-1)[7] += 1e-3
    assert changed(load_backbone(bridge), tiny(architecture)) == {"weights"}


def test_another_dtype_is_seen(tiny_folder, tiny):
    other = load_backbone(tiny_folder("llama"), dtype="bfloat16")
    assert {"dtype"} <= changed(other, tiny("llama")) <= {"dtype", "weights"}


def test_another_tokenizer_is_seen(tiny_folder, tiny, tokenizer_of):
    tokenizer = deepcopy(tokenizer_of("byte-bpe"))
    tokenizer.backend_tokenizer.normalizer = Lowercase()
    other = load_backbone(boot(tiny_folder("llama")), tokenizer=tokenizer)
    assert changed(other, tiny("llama")) == {"tokenizer"}


def test_another_special_token_is_seen(tiny_folder, tiny, tokenizer_of):
    tokenizer = deepcopy(tokenizer_of("byte-bpe"))
    tokenizer.bos_token = "</s>"
    other = load_backbone(boot(tiny_folder("llama")), tokenizer=tokenizer)
    assert changed(other, tiny("llama")) == {"tokenizer"}


def test_settings_of_a_tokenizer_that_change_no_ids_are_not_seen(tiny_folder, tiny, tokenizer_of):
    tokenizer = deepcopy(tokenizer_of("byte-bpe"))
    tokenizer(["a", "b c"], padding=True, truncation=True, max_length=9)
    tokenizer.padding_side = "left"
    other = load_backbone(boot(tiny_folder("llama")), tokenizer=tokenizer)
    assert changed(other, tiny("llama")) == set()


def test_a_config_under_which_the_same_weights_compute_something_else_is_seen(
    tiny_folder, tiny, tmp_path
):
    folder = shutil.copytree(tiny_folder("llama"), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["rope_parameters"]["rope_theta"] = 500.0
    (folder / "config.json").write_text(json.dumps(config))
    assert changed(load_backbone(folder), tiny("llama")) == {"config"}
