"""Killed, crashed, out of space, two at once: what was complete is kept, nothing half-written."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from mentionprobe import Activations, Backbone, Corpus, extract, residual
from mentionprobe.errors import StoreError

SITES = [residual(0), residual(1)]
N_FILES = 10  # five shards of `texts`, a file a site

CHILD = """
import importlib, os, signal, sys, time
from pathlib import Path
from mentionprobe import Backbone, Corpus, extract, load_backbone, load_corpus, residual

importlib.import_module("mentionprobe.activations.extract").SHARD_TOKENS = 50
backbone = load_backbone(sys.argv[1])
texts = Corpus("sentences", None, load_corpus("demo", split="dev").documents[:14])
{fault}
extract(backbone, texts, [residual(0), residual(1)], store=sys.argv[2])
"""

DIE_AT_THE_SIXTH_FILE = """
rename, renamed = os.replace, []
def replace(source, target):
    renamed.append(target)
    if len(renamed) == 7:  # the first was the fingerprint
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)
os.replace = replace
"""

WAIT_IN_THE_FIRST_PASS = """
run = Backbone.run
def waiting(self, *args):
    Path(sys.argv[2], "running").touch()
    while not Path(sys.argv[2], "go on").exists():
        time.sleep(0.02)
    return run(self, *args)
Backbone.run = waiting
"""


@pytest.fixture
def start(decoder: Backbone, tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen]]:
    """start(FAULT): another process that fills a store in `tmp_path`, with a fault built in."""
    children = []

    def run(fault: str) -> subprocess.Popen:
        program = CHILD.format(fault=fault)
        arguments = [sys.executable, "-c", program, decoder.tokenizer.name_or_path, str(tmp_path)]
        children.append(subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True))
        return children[-1]

    yield run
    for child in children:
        child.kill()
        child.wait()


def shard_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def temporary_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".tmp")]


def everything(activations: Activations) -> torch.Tensor:
    return activations.read(activations.sites, range(len(activations)))


@pytest.fixture
def expected(decoder: Backbone, texts: Corpus, small_shards: None) -> torch.Tensor:
    """What an undisturbed extraction gives."""
    return everything(extract(decoder, texts, SITES))


def test_an_extraction_that_failed_goes_on_where_it_stopped(
    decoder, texts, expected, tmp_path, monkeypatch, passes
):
    run = Backbone.run

    def fails_late(self, *args):
        if len(passes) == 3:
            raise MemoryError
        return run(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Backbone, "run", fails_late)
        with pytest.raises(MemoryError):
            extract(decoder, texts, SITES, store=tmp_path)
    assert len(shard_files(tmp_path)) == 3 * len(SITES)
    passes.clear()
    resumed = extract(decoder, texts, SITES, store=tmp_path)
    left = [*resumed.documents_of(3), *resumed.documents_of(4)]
    assert sum(p.n_windows for p in passes) == len(left)
    assert torch.equal(everything(resumed), expected)


def test_a_killed_extraction_goes_on_where_it_stopped(
    start, decoder, texts, expected, tmp_path, passes
):
    child = start(DIE_AT_THE_SIXTH_FILE)
    _, complaint = child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL, complaint
    complete = {path: path.stat().st_mtime_ns for path in shard_files(tmp_path)}
    assert len(complete) == 5
    assert len(temporary_files(tmp_path)) == 1
    passes.clear()
    resumed = extract(decoder, texts, SITES, store=tmp_path)
    # Two shards were whole; the third lacked one site.
    left = [d for shard in (2, 3, 4) for d in resumed.documents_of(shard)]
    assert sum(p.n_windows for p in passes) == len(left)
    assert {path: path.stat().st_mtime_ns for path in complete} == complete
    assert torch.equal(everything(resumed), expected)
    assert temporary_files(tmp_path) == []


def test_the_second_of_two_processes_waits_for_the_first(
    start, decoder, texts, expected, tmp_path, passes, log
):
    child = start(WAIT_IN_THE_FIRST_PASS)
    while not (tmp_path / "running").exists():
        assert child.poll() is None, child.stderr.read()
        time.sleep(0.02)
    passes.clear()
    timer = threading.Timer(0.3, (tmp_path / "go on").touch)
    timer.start()
    second = extract(decoder, texts, SITES, store=tmp_path)
    _, complaint = child.communicate(timeout=120)
    assert child.returncode == 0, complaint
    assert passes == []
    assert len(shard_files(tmp_path)) == N_FILES
    assert torch.equal(everything(second), expected)
    [folder] = tmp_path.glob("*/")
    assert f"waiting for another process, which is filling {folder}" in log.messages


def test_a_full_disk_is_explained_and_what_was_complete_is_kept(
    decoder, texts, expected, tmp_path, monkeypatch, passes
):
    write, written = Path.write_bytes, []

    def full_at_the_fifth(path: Path, content: bytes) -> int:
        written.append(path)
        if len(written) < 5:
            return write(path, content)
        write(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full_at_the_fifth)
        with pytest.raises(StoreError, match="No space left on device") as error:
            extract(decoder, texts, SITES, store=tmp_path)
    check_full_disk(error.value, tmp_path, n_complete=4)
    passes.clear()
    resumed = extract(decoder, texts, SITES, store=tmp_path)
    left = [d for shard in (2, 3, 4) for d in resumed.documents_of(shard)]
    assert sum(p.n_windows for p in passes) == len(left)
    assert torch.equal(everything(resumed), expected)


def check_full_disk(error: StoreError, folder: Path, *, n_complete: int) -> None:
    """Says where and what to do; complete shards are there, and nothing else."""
    assert str(folder) in str(error)
    assert "MENTIONPROBE_CACHE" in str(error)
    assert len(shard_files(folder)) == n_complete
    assert temporary_files(folder) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 kB, where we may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a file system is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_by_other_hands_is_explained(
    decoder, texts, expected, small_disk, monkeypatch
):
    free = shutil.disk_usage(small_disk)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free._replace(free=10**9))
    with pytest.raises(StoreError, match="No space left on device") as error:
        extract(decoder, texts, SITES, store=small_disk)
    n_complete = len(shard_files(small_disk))
    assert 0 < n_complete < N_FILES
    check_full_disk(error.value, small_disk, n_complete=n_complete)


def test_too_little_space_is_found_before_any_work(decoder, texts, tmp_path, monkeypatch, passes):
    usage = namedtuple("usage", "total used free")
    needed = 2 * 16 * len(SITES) * sum(len(d) for d in decoder.tokenize(texts.documents))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, needed - 1))
    with pytest.raises(StoreError, match=r"need 0\.0 GB in .* 0\.0 GB are free") as error:
        extract(decoder, texts, SITES, store=tmp_path)
    assert str(tmp_path) in str(error.value)
    assert passes == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, needed))
    extract(decoder, texts, SITES, store=tmp_path)


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder we may read and not write to; root steps down to a user for it."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    yield folder
    if is_root:
        os.seteuid(0)
    folder.rmdir()


def test_a_folder_that_may_not_be_written_to_is_explained(decoder, texts, read_only, passes):
    with pytest.raises(StoreError, match="Permission denied") as error:
        extract(decoder, texts, SITES, store=read_only)
    assert str(read_only) in str(error.value)
    assert passes == []
