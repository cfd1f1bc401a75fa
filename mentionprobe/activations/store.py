"""Shards of activations: in memory, or on disk as memory-mapped safetensors.

On disk a shard is one file a site, `STORE/<site>/<shard>.safetensors`, written under a temporary
name and renamed. Its header carries the CRC-32 of the data. A file that is there is complete; one
whose checksum does not match is treated as absent.
"""

import json
import logging
import mmap
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor

from mentionprobe.activations.sites import Site
from mentionprobe.cache import atomic_file, disk_errors_explained
from mentionprobe.errors import FingerprintError, StoreError

logger = logging.getLogger(__name__)

DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}


def compact(tensor: Float[Tensor, "tokens *feature"]) -> Tensor:
    """float16, or bfloat16 where float16 would overflow."""
    half = tensor.to(torch.float16)
    return half if bool(torch.isfinite(half).all()) else tensor.to(torch.bfloat16)


class Store:
    """A folder of shards of one backbone, one corpus and one tokenization.

    `fingerprint` says whose activations these are; a folder that belongs to others raises
    `FingerprintError` naming the difference.
    """

    def __init__(self, folder: Path, fingerprint: Mapping[str, str]) -> None:
        self.folder = folder
        self._mapped: dict[Path, tuple[mmap.mmap, Tensor]] = {}
        with disk_errors_explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._check_owner(fingerprint)

    def _check_owner(self, fingerprint: Mapping[str, str]) -> None:
        path = self.folder / "fingerprint.json"
        if path.exists():
            require_same(json.loads(path.read_text()), fingerprint, f"the store {self.folder}")
            return
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(dict(fingerprint), indent=1))

    def path(self, site: Site, shard: int) -> Path:
        """Where a site's shard lies."""
        return self.folder / site.key / f"{shard:05d}.safetensors"

    def has(self, site: Site, shard: int) -> bool:
        """Whether the shard is there and its checksum matches; a damaged one is logged."""
        path = self.path(site, shard)
        if not path.exists():
            return False
        try:
            header, mapped = _open(path)
            with memoryview(mapped) as view, view[header["begin"] :] as data:
                intact = zlib.crc32(data) == header["crc32"]
        except (ValueError, KeyError, OSError):
            intact = False
        if not intact:
            logger.warning("%s is damaged and will be made again", path)
        return intact

    def write(self, site: Site, shard: int, tensor: Tensor) -> None:
        """Write a site's shard whole or not at all; raises `StoreError` on a full disk."""
        path = self.path(site, shard)
        if tensor.dtype == torch.bfloat16:
            logger.info("%s: values overflow float16, stored as bfloat16", path.name)
        tensor = tensor.contiguous()
        checksum = zlib.crc32(tensor.view(torch.uint8).numpy())
        with disk_errors_explained(self.folder):
            path.parent.mkdir(exist_ok=True)
            with atomic_file(path) as temporary:
                temporary.write_bytes(save({"data": tensor}, {"crc32": str(checksum)}))

    def read(self, site: Site, shard: int) -> Tensor:
        """The shard's tensor, memory-mapped."""
        path = self.path(site, shard)
        if path not in self._mapped:
            header, mapped = _open(path)
            flat = torch.frombuffer(mapped, dtype=header["dtype"], offset=header["begin"])
            self._mapped[path] = (mapped, flat.view(header["shape"]))
        return self._mapped[path][1]

    def release(self) -> None:
        """Give the pages read so far back to the system; they are mapped again when needed."""
        for mapped, _ in self._mapped.values():
            mapped.madvise(mmap.MADV_DONTNEED)

    def require_space(self, n_bytes: int) -> None:
        """Raises `StoreError` before any work if the disk cannot hold `n_bytes` more."""
        free = shutil.disk_usage(self.folder).free
        if n_bytes > free:
            raise StoreError(
                f"the activations need {n_bytes / 1e9:.1f} GB in {self.folder}, but only "
                f"{free / 1e9:.1f} GB are free. Use fewer layers or documents, or point "
                "MENTIONPROBE_CACHE to a larger disk."
            )


def require_same(found: Mapping[str, str], expected: Mapping[str, str], what: str) -> None:
    """Raises `FingerprintError` naming every part in which two fingerprints differ."""
    differing = [
        f"{part} is {found.get(part)!r}, expected {expected.get(part)!r}"
        for part in sorted({*found, *expected})
        if found.get(part) != expected.get(part)
    ]
    if differing:
        raise FingerprintError(f"{what} belongs to something else: {'; '.join(differing)}.")


def _open(path: Path) -> tuple[dict[str, Any], mmap.mmap]:
    """Map a shard; where its data begins, and its dtype, shape and checksum.

    We map the file ourselves because the library's reader keeps every page it has read resident.
    The mapping is private (copy on write) only because torch wants a writable buffer.
    """
    with path.open("rb") as stream:
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
    length = int.from_bytes(mapped[:8], "little")
    header = json.loads(mapped[8 : 8 + length])
    described = {
        "begin": 8 + length,
        "dtype": DTYPES[header["data"]["dtype"]],
        "shape": header["data"]["shape"],
        "crc32": int(header["__metadata__"]["crc32"]),
    }
    return described, mapped
