"""Shards of activations on disk, as memory-mapped safetensors.

A shard is one file a site, `STORE/<site>/<shard>.safetensors`, written under a temporary name and
renamed. Its header carries the CRC-32 of the data. A file that is there is complete; one whose
checksum does not match is treated as absent.
"""

import json
import logging
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor

from mentionprobe.activations.sites import Site
from mentionprobe.cache import atomic_file, disk_errors_explained
from mentionprobe.errors import FingerprintError, StoreError

logger = logging.getLogger(__name__)

DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16}


def compact(site: Site, tensor: Float[Tensor, "tokens *feature"]) -> Tensor:
    """A site's shard in float16, or in bfloat16 where float16 would overflow, which is logged."""
    half = tensor.to(torch.float16)
    if bool(torch.isfinite(half).all()):
        return half
    logger.info("%s: values overflow float16, stored as bfloat16", site.key)
    return tensor.to(torch.bfloat16)


class Store:
    """A folder of shards of one backbone, one corpus and one tokenization.

    `fingerprint` says whose activations these are; a folder that belongs to others raises
    `FingerprintError` naming the difference.
    """

    def __init__(self, folder: Path, fingerprint: Mapping[str, str]) -> None:
        self.folder = folder
        self._mapped: dict[tuple[Site, int], Tensor] = {}
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
            tensor, checksum = _map(path)
            intact = _checksum(tensor) == checksum
        except (ValueError, KeyError, TypeError, RuntimeError):
            intact = False
        if not intact:
            logger.warning("%s is damaged and will be made again", path)
        return intact

    def write(self, site: Site, shard: int, tensor: Tensor) -> None:
        """Write a site's shard whole or not at all; raises `StoreError` on a full disk."""
        path = self.path(site, shard)
        tensor = tensor.contiguous()
        with disk_errors_explained(self.folder):
            path.parent.mkdir(exist_ok=True)
            with atomic_file(path) as temporary:
                temporary.write_bytes(save({"data": tensor}, {"crc32": str(_checksum(tensor))}))

    def read(self, site: Site, shard: int) -> Tensor:
        """The shard's tensor, memory-mapped."""
        if (site, shard) not in self._mapped:
            self._mapped[site, shard], _ = _map(self.path(site, shard))
        return self._mapped[site, shard]

    def release(self) -> None:
        """Give the pages read so far back to the system; they are mapped again when needed."""
        self._mapped.clear()

    def remove_leftovers(self) -> None:
        """Remove what a killed process was writing; only its owner's lock makes this safe."""
        for path in self.folder.glob("*/.*.tmp"):
            path.unlink()

    def require_space(self, n_bytes: int) -> None:
        """Raises `StoreError` before any work if the disk cannot hold `n_bytes` more."""
        free = shutil.disk_usage(self.folder).free
        if n_bytes > free:
            raise StoreError(
                f"the activations need {n_bytes / 1e9:.1f} GB in {self.folder}, but only "
                f"{free / 1e9:.1f} GB are free. Use fewer layers or documents, or keep them on a "
                "larger disk (a folder of your own, or MENTIONPROBE_CACHE)."
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


def _map(path: Path) -> tuple[Tensor, int]:
    """A shard's tensor, memory-mapped, and the checksum it was written with.

    We map the file ourselves because the library's reader keeps every page it has read resident,
    and with torch because each of Python's own mappings holds a file descriptor: a store of 31
    sites and 40 shards would need more than a process is usually allowed.
    """
    mapped = torch.from_file(str(path), size=path.stat().st_size, dtype=torch.uint8)
    content = mapped.numpy()
    begin = 8 + int.from_bytes(content[:8].tobytes(), "little")
    header = json.loads(content[8:begin].tobytes())
    data = mapped[begin:].view(DTYPES[header["data"]["dtype"]])
    return data.view(header["data"]["shape"]), int(header["__metadata__"]["crc32"])


def _checksum(tensor: Tensor) -> int:
    return zlib.crc32(tensor.view(torch.uint8).numpy().data)
