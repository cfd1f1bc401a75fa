"""One pass of the backbone over a corpus, for all sites at once."""

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from mentionprobe.activations.activations import Activations, MemoryShards
from mentionprobe.activations.sites import Site
from mentionprobe.activations.store import Store, compact
from mentionprobe.activations.windows import Window, cut_windows, pack, pad
from mentionprobe.backbones import Backbone, TokenizedDocument
from mentionprobe.cache import cache_folder, locked
from mentionprobe.corpora import Corpus
from mentionprobe.errors import SiteError
from mentionprobe.progress import Advance, progress

logger = logging.getLogger(__name__)

SHARD_TOKENS = 8192
"""Tokens of a shard: what an interrupted extraction loses at most, and holds in memory at once."""


def extract(
    backbone: Backbone,
    corpus: Corpus,
    sites: Sequence[Site],
    *,
    store: Path | str | None = None,
    batch_tokens: int = 2048,
    truncate: bool = False,
) -> Activations:
    """Run each text of `corpus` once and keep the activations of `sites`.

    The pass stops after the highest block a site reads. Texts longer than the context are read in
    overlapping windows (`truncate=True` drops what does not fit instead). `store=None` keeps
    activations in memory; `store="cache"` in the cache folder; a path in a folder below it. What a
    store already holds for the same backbone, texts and dtype is read and not computed again, so an
    interrupted extraction goes on where it stopped. `batch_tokens` bounds the padded size of a
    batch.

    Raises `SiteError` for a site the backbone does not give, `CorpusError` for a text of no tokens,
    `BackboneError` for a context too short for windows, `StoreError` for a disk that is full or
    read-only, `FingerprintError` for a store that holds the activations of others.
    """
    if not sites:
        raise SiteError("no site was asked for; pass for example sites=[residual(10)].")
    sites = tuple(dict.fromkeys(sites))
    for site in sites:
        site.check(backbone)
    documents = backbone.tokenize(corpus.documents, truncate=truncate)
    left_context = max(site.left_context for site in sites)
    windows = [
        cut_windows(i, len(document), backbone.window, left_context=left_context)
        for i, document in enumerate(documents)
    ]
    fingerprint = {**backbone.fingerprint, "texts": corpus.text_fingerprint}
    layout = {"context": _context(documents, backbone.window), "shard_tokens": str(SHARD_TOKENS)}
    shards = MemoryShards() if store is None else _open_store(store, {**fingerprint, **layout})
    activations = Activations(
        backbone=backbone.name,
        corpus=str(corpus),
        sites=sites,
        documents=documents,
        fingerprint=fingerprint,
        shards=shards,
        first_documents=_shard_edges(documents),
    )
    with locked(shards.folder) if isinstance(shards, Store) else nullcontext():
        _fill(backbone, activations, shards, windows, batch_tokens)
    return activations


def _context(documents: Sequence[TokenizedDocument], window: int) -> str:
    """How texts longer than the context were read, where there are any."""
    if any(document.truncated for document in documents):
        return f"first {window} tokens"
    if any(len(document) > window for document in documents):
        return f"windows of {window} tokens"
    return "whole texts"


def _open_store(store: Path | str, fingerprint: dict[str, str]) -> Store:
    parent = cache_folder() / "activations" if store == "cache" else Path(store)
    key = hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()[:16]
    return Store(parent / key, fingerprint)


def _shard_edges(documents: Sequence[TokenizedDocument]) -> Int[np.ndarray, " shard"]:
    """First document of each shard: a shard is full once it holds `SHARD_TOKENS` tokens."""
    edges, held = [0], 0
    for i, document in enumerate(documents):
        if held >= SHARD_TOKENS:
            edges.append(i)
            held = 0
        held += len(document)
    return np.asarray(edges)


def _fill(
    backbone: Backbone,
    activations: Activations,
    shards: Store | MemoryShards,
    windows: Sequence[Sequence[Window]],
    batch_tokens: int,
) -> None:
    """Compute every shard that is missing for some site, only for the sites it is missing for."""
    missing = {
        shard: [site for site in activations.sites if not shards.has(site, shard)]
        for shard in range(len(activations.first_documents))
    }
    missing = {shard: sites for shard, sites in missing.items() if sites}
    if not missing:
        logger.info("%s on %s: read from the store", activations.backbone, activations.corpus)
        return
    windows_of = {s: [w for d in activations.documents_of(s) for w in windows[d]] for s in missing}
    n_tokens = {shard: sum(w.n_kept for w in windows_of[shard]) for shard in missing}
    if isinstance(shards, Store):
        shards.remove_leftovers()
        shards.require_space(
            sum(n_tokens[s] * _bytes_per_token(backbone, sites) for s, sites in missing.items())
        )
    label = f"{activations.backbone} reads {activations.corpus}"
    with (
        progress(label, total=sum(n_tokens.values()), unit="tokens") as advance,
        ThreadPoolExecutor(max_workers=1) as writer,
    ):
        # Writing a shard (checksum, disk) overlaps with computing the next one.
        pending: Future[None] | None = None
        for shard, sites in missing.items():
            batches = pack(windows_of[shard], batch_tokens=batch_tokens)
            tensors = _compute(backbone, activations.documents, batches, sites, advance)
            if pending is not None:
                pending.result()
            pending = writer.submit(_write, shards, shard, tensors)
        if pending is not None:
            pending.result()


def _bytes_per_token(backbone: Backbone, sites: Sequence[Site]) -> int:
    return sum(2 * prod(site.feature_shape(backbone)) for site in sites)


def _write(shards: Store | MemoryShards, shard: int, tensors: dict[Site, Tensor]) -> None:
    for site, tensor in tensors.items():
        shards.write(site, shard, tensor)


def _compute(
    backbone: Backbone,
    documents: Sequence[TokenizedDocument],
    batches: Sequence[Sequence[Window]],
    sites: Sequence[Site],
    advance: Advance,
) -> dict[Site, Tensor]:
    """The sites' activations on the tokens the windows keep, laid end to end, in storage dtype."""
    windows = sorted((w for batch in batches for w in batch), key=lambda w: (w.document, w.start))
    edges = np.cumsum([0, *(w.n_kept for w in windows)]).tolist()
    first_row = dict(zip(windows, edges[:-1], strict=True))
    out: dict[Site, Tensor] = {}
    for batch in batches:
        tensors = run_sites(backbone, sites, *pad(backbone, batch, documents))
        for site, tensor in tensors.items():
            if site not in out:
                out[site] = tensor.new_empty(edges[-1], *tensor.shape[2:], device="cpu")
            for i, window in enumerate(batch):
                skip = len(backbone.prefix) - window.start
                kept = tensor[i, window.keep_from + skip : window.keep_to + skip]
                row = first_row[window]
                out[site][row : row + window.n_kept] = kept
        advance(sum(w.n_kept for w in batch))
    return {site: compact(site, tensor) for site, tensor in out.items()}


def run_sites(
    backbone: Backbone,
    sites: Sequence[Site],
    ids: Int[Tensor, "batch pos"],
    mask: Int[Tensor, "batch pos"],
) -> dict[Site, Float[Tensor, "batch pos *feature"]]:
    """One forward pass; each site's tensor, special and padding positions included."""
    readers: dict[str, list[Site]] = defaultdict(list)
    for site in sites:
        for hook in site.hooks(backbone):
            readers[hook].append(site)

    def reduce_all(hook: str, raw: Tensor) -> dict[Site, Tensor]:
        return {site: site.reduce(hook, raw) for site in readers[hook]}

    kept = backbone.run(ids, mask, {hook: partial(reduce_all, hook) for hook in readers})
    return {
        site: site.assemble(backbone, [kept[hook][site] for hook in site.hooks(backbone)])
        for site in sites
    }
