"""Corpora: texts and the mentions that people annotated in them, in characters."""

from mentionprobe.corpora.document import Corpus, Document, Mention
from mentionprobe.corpora.jsonl import save_jsonl
from mentionprobe.corpora.load import load_corpus

__all__ = ["Corpus", "Document", "Mention", "load_corpus", "save_jsonl"]
