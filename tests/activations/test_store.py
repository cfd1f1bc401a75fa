"""What is on disk is read and not computed again, and never trusted when it is damaged."""

import json
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mentionprobe import Activations, attention, extract, load_backbone, residual
from mentionprobe.activations.extract import run_sites
from mentionprobe.activations.store import Store
from mentionprobe.errors import FingerprintError

SITE = residual(1)
OWNER = {"weights": "a", "texts": "b"}


def shard_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def everything(activations: Activations) -> torch.Tensor:
    return activations.read(activations.sites, range(len(activations)))


def test_what_a_store_holds_is_read_without_the_model(decoder, texts, tmp_path, passes, log):
    first = extract(decoder, texts, [SITE], store=tmp_path)
    assert passes
    passes.clear()
    second = extract(decoder, texts, [SITE], store=tmp_path)
    assert passes == []
    assert torch.equal(everything(first), everything(second))
    assert "tiny-decoder on sentences: read from the store" in log.messages


def test_the_cache_folder_is_a_store(decoder, texts, tmp_path, monkeypatch):
    monkeypatch.setenv("MENTIONPROBE_CACHE", str(tmp_path))
    extract(decoder, texts, [SITE], store="cache")
    assert len(shard_files(tmp_path / "activations")) == 1


def test_a_new_site_is_computed_alone(decoder, texts, tmp_path, passes):
    extract(decoder, texts, [SITE], store=tmp_path)
    [old] = shard_files(tmp_path)
    written = old.stat().st_mtime_ns
    passes.clear()
    both = extract(decoder, texts, [SITE, residual(0)], store=tmp_path)
    assert {p.hooks for p in passes} == {("blocks.0.hook_resid_post",)}
    assert old.stat().st_mtime_ns == written
    in_memory = extract(decoder, texts, [SITE, residual(0)])
    assert torch.equal(everything(both), everything(in_memory))


def test_backbones_and_texts_have_stores_of_their_own(decoder, encoder, texts, tmp_path):
    some = type(texts)("some", None, texts.documents[:3])
    asked = [(decoder, texts), (encoder, texts), (decoder, some)]
    for backbone, corpus in asked:
        found = extract(backbone, corpus, [SITE], store=tmp_path)
        assert torch.equal(everything(found), everything(extract(backbone, corpus, [SITE])))
    assert len(shard_files(tmp_path)) == 3


def flip_last_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_in_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def zeros(path: Path) -> None:
    """What some file systems leave behind after a power cut."""
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize(
    "damage", [flip_last_byte, cut_in_half, cut_in_header, empty, zeros], ids=lambda d: d.__name__
)
def test_a_damaged_shard_is_noticed_and_made_again(
    damage: Callable[[Path], None], decoder, texts, small_shards, tmp_path, passes, log
):
    expected = everything(extract(decoder, texts, [SITE], store=tmp_path))
    n_windows = sum(p.n_windows for p in passes)
    victim = shard_files(tmp_path)[2]
    before = victim.read_bytes()
    damage(victim)
    passes.clear()
    mended = extract(decoder, texts, [SITE], store=tmp_path)
    assert f"{victim} is damaged and will be made again" in log.messages
    assert sum(p.n_windows for p in passes) == len(mended.documents_of(2)) < n_windows
    assert victim.read_bytes() == before
    assert torch.equal(everything(mended), expected)


def test_no_byte_of_a_shard_can_change_unnoticed(tmp_path):
    tensor = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).half()
    store = Store(tmp_path, OWNER)
    store.write(SITE, 0, tensor)
    [path] = shard_files(tmp_path)
    intact = path.read_bytes()
    for i in range(8 * len(intact)):
        changed = bytearray(intact)
        changed[i // 8] ^= 1 << i % 8
        path.write_bytes(changed)
        store.release()
        if store.has(SITE, 0):  # a place in the header that says nothing
            assert torch.equal(store.read(SITE, 0), tensor)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_shard_comes_back_as_it_was_written(tmp_path, dtype):
    tensor = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    Store(tmp_path, OWNER).write(SITE, 7, tensor.transpose(1, 2))
    store = Store(tmp_path, OWNER)
    assert store.has(SITE, 7)
    assert not store.has(SITE, 6)
    assert store.read(SITE, 7).dtype == dtype
    assert torch.equal(store.read(SITE, 7), tensor.transpose(1, 2))


@pytest.mark.parametrize("on_disk", [True, False])
def test_values_too_large_for_float16_are_kept_as_bfloat16(
    tiny_folder, texts, tmp_path, log, on_disk
):
    backbone = load_backbone(tiny_folder("decoder", scale=1e6))
    large = extract(backbone, texts, [residual(-1)], store=tmp_path if on_disk else None)
    found = everything(large)
    assert found.abs().max() > torch.finfo(torch.float16).max
    ids = torch.tensor([[*backbone.prefix, *large.documents[0].ids]])
    exact = run_sites(backbone, [residual(-1)], ids, torch.ones_like(ids))[residual(-1)][0, 1:]
    torch.testing.assert_close(found[0, : len(exact)], exact, rtol=2**-8, atol=0)
    assert "residual.-1: values overflow float16, stored as bfloat16" in log.messages


def test_a_store_of_another_owner_is_refused_by_name_of_the_difference(tmp_path):
    Store(tmp_path, OWNER)
    with pytest.raises(FingerprintError) as error:
        Store(tmp_path, {**OWNER, "weights": "c"})
    assert str(tmp_path) in str(error.value)
    assert "weights is 'a', expected 'c'" in str(error.value)
    assert "texts" not in str(error.value)


def test_a_store_renamed_into_the_place_of_another_is_refused(decoder, encoder, texts, tmp_path):
    extract(decoder, texts, [SITE], store=tmp_path / "one")
    extract(encoder, texts, [SITE], store=tmp_path / "other")
    [one], [other] = (tmp_path / "one").glob("*/"), (tmp_path / "other").glob("*/")
    (tmp_path / "mixed").mkdir()
    one.rename(tmp_path / "mixed" / other.name)
    with pytest.raises(FingerprintError, match=r"weights is .*, expected"):
        extract(encoder, texts, [SITE], store=tmp_path / "mixed")


def test_a_store_says_whose_it_is(decoder, texts, tmp_path):
    activations = extract(decoder, texts, [SITE], store=tmp_path)
    [path] = tmp_path.glob("*/fingerprint.json")
    said = json.loads(path.read_text())
    assert said.items() >= {**decoder.fingerprint, "texts": texts.text_fingerprint}.items()
    assert activations.fingerprint == {**decoder.fingerprint, "texts": texts.text_fingerprint}


def test_a_released_store_gives_its_memory_back(tmp_path):
    store = Store(tmp_path, OWNER)
    tensor = torch.ones(4, 4).half()
    store.write(SITE, 0, tensor)
    assert torch.equal(store.read(SITE, 0), tensor)
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert str(tmp_path) in maps.read_text()
        store.release()
        assert str(tmp_path) not in maps.read_text()
    store.release()
    assert torch.equal(store.read(SITE, 0), tensor)


def test_a_store_of_many_shards_needs_no_file_descriptor_for_each(tmp_path):
    """Systems allow 1,024 by default; 31 sites of 40 shards are more files."""
    store = Store(tmp_path, OWNER)
    for shard in range(40):
        store.write(attention(0), shard, torch.full((1, 2), float(shard)).half())
    in_use = len(list(Path("/dev/fd").iterdir()))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 20, hard))
    try:
        found = [store.read(attention(0), shard)[0, 0].item() for shard in range(40)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found == list(range(40))
