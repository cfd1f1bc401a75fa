"""Activations that need no model: random residual streams on the tokens of real sentences."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from mentionprobe import Activations, Corpus, Document, Mention, residual
from mentionprobe.activations.activations import MemoryShards
from mentionprobe.backbones import TokenizedDocument

D_MODEL = 12


def words_of(document: Document) -> TokenizedDocument:
    """One token a word."""
    starts, at = [], 0
    for word in document.text.split(" "):
        starts.append(at)
        at += len(word) + 1
    ends = [s + len(w) for s, w in zip(starts, document.text.split(" "), strict=True)]
    always = np.ones(len(starts), dtype=bool)
    return TokenizedDocument(
        id=document.id,
        group=document.group,
        ids=np.arange(len(starts)),
        starts=np.asarray(starts),
        ends=np.asarray(ends),
        can_start=always,
        can_end=always,
    )


def make_corpus(n_documents: int, *, seed: int = 0) -> Corpus:
    """Documents of 3 to 29 words in which every `X` is a mention; two documents make a group."""
    generator = np.random.default_rng(seed)
    documents = []
    for n in range(n_documents):
        words = generator.choice(
            ["a", "bb", "X"], size=generator.integers(3, 30), p=[0.5, 0.3, 0.2]
        )
        starts = np.concatenate([[0], np.cumsum([len(w) + 1 for w in words])])
        mentions = [
            Mention(int(starts[i]), int(starts[i]) + 1) for i in np.flatnonzero(words == "X")
        ]
        documents.append(Document(f"d{n}", " ".join(words), tuple(mentions), group=f"g{n // 2}"))
    return Corpus("made", None, tuple(documents))


def make_activations(corpus: Corpus, layers: tuple[int, ...], *, seed: int = 0) -> Activations:
    """Noise that also says, in one dimension, whether a word is an X."""
    tokens = [words_of(document) for document in corpus]
    shards = MemoryShards()
    is_x = [float(w == "X") for document in corpus for w in document.text.split(" ")]
    for layer in layers:
        generator = torch.Generator().manual_seed(seed + 100 * layer)
        z = torch.randn(len(is_x), D_MODEL, generator=generator, dtype=torch.float64)
        z[:, 0] += 2 * torch.tensor(is_x)
        shards.write(residual(layer), 0, z)
    return Activations(
        backbone="noise",
        corpus=str(corpus),
        sites=tuple(residual(layer) for layer in layers),
        documents=tokens,
        fingerprint={"weights": "noise", "texts": corpus.text_fingerprint},
        shards=shards,
        first_documents=np.array([0]),
    )


@pytest.fixture
def made() -> Callable[..., tuple[Activations, Corpus]]:
    """Make activations with their corpus: `made(n_documents, layers, seed=...)`."""

    def make(
        n_documents: int = 40, layers: tuple[int, ...] = (0,), seed: int = 0
    ) -> tuple[Activations, Corpus]:
        corpus = make_corpus(n_documents, seed=seed)
        return make_activations(corpus, layers, seed=seed), corpus

    return make
