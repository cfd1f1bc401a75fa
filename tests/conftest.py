"""Shapes and types are checked at run time in every test; real models are loaded once."""

import os

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may need a hub

from jaxtyping import install_import_hook

install_import_hook(["mentionprobe", "analyses"], "beartype.beartype")

import pytest

from mentionprobe import Backbone, Corpus, load_backbone, load_corpus


@pytest.fixture(scope="session")
def smollm2() -> Backbone:
    """SmolLM2-135M: a real Llama-type decoder with grouped keys and byte-level BPE."""
    return load_backbone("smollm2-135m")


@pytest.fixture(scope="session")
def minilm() -> Backbone:
    """MiniLM-L6: a real BERT-type encoder with WordPiece."""
    return load_backbone("minilm-l6")


@pytest.fixture(scope="session")
def demo_dev() -> Corpus:
    """The dev split of the bundled corpus."""
    return load_corpus("demo", split="dev")
