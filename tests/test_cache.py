"""Files and folders get to the cache whole or not at all."""

import errno
import hashlib
import os
import threading
from pathlib import Path

import platformdirs
import pytest

from mentionprobe.cache import (
    atomic_file,
    atomic_folder,
    cache_folder,
    disk_errors_explained,
    locked,
    sha256_of_file,
)
from mentionprobe.errors import StoreError


def test_the_cache_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("MENTIONPROBE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("MENTIONPROBE_CACHE")
    assert cache_folder() == Path(platformdirs.user_cache_dir("mentionprobe"))


def test_sha256_is_that_of_the_bytes(tmp_path):
    content = bytes(range(256)) * 1000
    (tmp_path / "file").write_bytes(content)
    assert sha256_of_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "file"
    with atomic_file(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "whole"


def test_a_folder_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "folder"
    with atomic_folder(path) as temporary:
        (temporary / "file").write_text("whole")
        assert not path.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]
    assert (path / "file").read_text() == "whole"


def write_half(make, path, error):
    with make(path) as temporary:
        file = temporary / "file" if temporary.is_dir() else temporary
        file.write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_is_interrupted_leaves_nothing_and_keeps_what_was_there(tmp_path, error):
    (tmp_path / "file").write_text("before")
    with pytest.raises(error):
        write_half(atomic_file, tmp_path / "file", error)
    with pytest.raises(error):
        write_half(atomic_folder, tmp_path / "folder", error)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "before"


def test_a_lock_is_held_by_one_at_a_time_and_given_back(tmp_path):
    path, order = tmp_path / "not yet there" / "folder", []

    def second():
        with locked(path):
            order.append("second")

    with locked(path):
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(timeout=0.2)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_disk_that_takes_nothing_is_named_with_what_to_do(tmp_path, code):
    advice = rf"cannot write to {tmp_path}: .* MENTIONPROBE_CACHE"
    with pytest.raises(StoreError, match=advice), disk_errors_explained(tmp_path):
        raise OSError(code, "any text")


def test_other_errors_of_the_system_pass_through(tmp_path):
    with pytest.raises(FileNotFoundError), disk_errors_explained(tmp_path):
        (tmp_path / "absent").read_text()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_that_may_not_be_written_to_says_so(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="cannot write to"), locked(tmp_path / "backbones" / "x"):
        pass
