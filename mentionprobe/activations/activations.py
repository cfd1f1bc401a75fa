"""What hooks gave for a corpus, ready to be read document by document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mentionprobe.activations.sites import Site
from mentionprobe.backbones import TokenizedDocument
from mentionprobe.corpora import Corpus
from mentionprobe.errors import FingerprintError, SiteError

_RELEASE_AFTER = 512_000_000  # bytes read from a mapped store before its pages are given back


@runtime_checkable
class ShardReader(Protocol):
    """Where shards come from: a `Store` on disk, or `MemoryShards`."""

    def read(self, site: Site, shard: int) -> Tensor: ...
    def release(self) -> None: ...


class MemoryShards:
    """Shards kept in memory, in the dtype a store would use."""

    def __init__(self) -> None:
        self._shards: dict[tuple[Site, int], Tensor] = {}

    def has(self, site: Site, shard: int) -> bool:
        """Whether the shard was written."""
        return (site, shard) in self._shards

    def write(self, site: Site, shard: int, tensor: Tensor) -> None:
        """Keep a site's shard."""
        self._shards[site, shard] = tensor

    def read(self, site: Site, shard: int) -> Tensor:
        """The shard's tensor, [tokens, ...]."""
        return self._shards[site, shard]

    def release(self) -> None:
        """Nothing to give back."""


@dataclass
class Activations:
    """The activations of some sites on the tokens of a corpus, special tokens left out.

    `fingerprint` names the backbone's weights, its tokenizer, the dtype it ran in and the texts.
    `backbone` and `corpus` are names for tables. `first_documents[k]` is the first document of
    shard k. Made by `extract`.
    """

    backbone: str
    corpus: str
    sites: tuple[Site, ...]
    documents: list[TokenizedDocument]
    fingerprint: Mapping[str, str]
    shards: ShardReader
    first_documents: Int[np.ndarray, " shard"]
    _read_bytes: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        lengths = [len(document) for document in self.documents]
        self._first_tokens = np.concatenate([[0], np.cumsum(lengths)])

    def __len__(self) -> int:
        return len(self.documents)

    @property
    def n_tokens(self) -> int:
        """Tokens of all documents, special tokens left out."""
        return int(self._first_tokens[-1])

    def read(
        self,
        sites: Sequence[Site],
        documents: Sequence[int],
        *,
        dtype: torch.dtype = torch.float32,
    ) -> Float[Tensor, "site tokens *feature"]:
        """The activations of sites of one shape on `documents`, laid end to end as asked for.

        Raises `SiteError` for a site that was not extracted, and for sites of different shapes.
        """
        for site in sites:
            if site not in self.sites:
                has = ", ".join(s.key for s in self.sites)
                raise SiteError(f"{site.key} was not extracted; these activations hold {has}.")
        places = [self._place(document) for document in documents]
        n_tokens = sum(stop - start for _, start, stop in places)
        shapes = {tuple(self.shards.read(site, 0).shape[1:]) for site in sites}
        if len(shapes) != 1:
            keys = ", ".join(site.key for site in sites) or "no site"
            raise SiteError(f"{keys}: only sites of one shape can be read together.")
        out = torch.empty(len(sites), n_tokens, *shapes.pop(), dtype=dtype)
        for row, site in zip(out, sites, strict=True):
            at = 0
            for shard, start, stop in places:
                # One conversion straight into its place: reading is bound by memory traffic.
                row[at : at + stop - start] = self.shards.read(site, shard)[start:stop]
                at += stop - start
        self._read_bytes += out.nbytes
        if self._read_bytes > _RELEASE_AFTER:
            self.shards.release()
            self._read_bytes = 0
        return out

    def documents_of(self, shard: int) -> range:
        """The documents whose tokens make up a shard."""
        edges = [*self.first_documents.tolist(), len(self)]
        return range(edges[shard], edges[shard + 1])

    def _place(self, document: int) -> tuple[int, int, int]:
        """Shard of a document, and the rows of the shard it takes."""
        shard = int(np.searchsorted(self.first_documents, document, side="right")) - 1
        offset = self._first_tokens[self.first_documents[shard]]
        start, stop = self._first_tokens[document : document + 2] - offset
        return shard, int(start), int(stop)

    def require_texts_of(self, corpus: Corpus) -> None:
        """Raises `FingerprintError` if the activations are not those of the corpus' texts."""
        if self.fingerprint["texts"] != corpus.text_fingerprint:
            raise FingerprintError(
                f"the activations are those of {self.corpus} ({len(self)} documents), not of the "
                f"texts of {corpus} ({len(corpus)} documents); extract that corpus first."
            )
