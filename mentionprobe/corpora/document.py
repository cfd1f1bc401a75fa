"""What people annotated: texts with mentions, in characters."""

import hashlib
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import overload

from mentionprobe.errors import CorpusError


@dataclass(frozen=True, slots=True)
class Mention:
    """A stretch of text that names or describes an entity.

    `start` and `end` are character positions in the document's text, half-open; `label` is the
    annotated type where there is one; `score` is a probability where the mention was predicted;
    `text` is the surface form, where the maker of the mention filled it in.
    """

    start: int
    end: int
    label: str | None = None
    score: float | None = None
    text: str | None = None


@dataclass(frozen=True)
class Document:
    """A text and its mentions.

    `id` is unique in its corpus. `group` is the unit of resampling: the source document where
    several documents (sentences) come from one, else the document itself.

    Raises `CorpusError` for a mention that is empty, lies outside the text, or stands twice with
    the same label. The same span under two labels is allowed; scoring counts it once.
    """

    id: str
    text: str
    mentions: tuple[Mention, ...] = ()
    group: str = ""

    def __post_init__(self) -> None:
        if not self.group:
            object.__setattr__(self, "group", self.id)
        seen: set[tuple[int, int, str | None]] = set()
        for mention in self.mentions:
            self._check(mention, seen)

    def _check(self, mention: Mention, seen: set[tuple[int, int, str | None]]) -> None:
        where = f"document {self.id!r}: mention [{mention.start}, {mention.end})"
        if mention.end <= mention.start:
            raise CorpusError(f"{where} is empty; `end` must be greater than `start`.")
        if mention.start < 0 or mention.end > len(self.text):
            raise CorpusError(f"{where} lies outside the text of {len(self.text)} characters.")
        if not self.text[mention.start : mention.end].strip():
            raise CorpusError(f"{where} covers nothing but white space.")
        key = (mention.start, mention.end, mention.label)
        if key in seen:
            raise CorpusError(f"{where} with label {mention.label!r} stands twice; remove one.")
        seen.add(key)

    @cached_property
    def gold_spans(self) -> frozenset[tuple[int, int]]:
        """The distinct mention spans (start, end), characters, outer white space stripped."""
        return frozenset(self._strip(m) for m in self.mentions)

    def _strip(self, mention: Mention) -> tuple[int, int]:
        surface = self.text[mention.start : mention.end]
        left = len(surface) - len(surface.lstrip())
        right = len(surface) - len(surface.rstrip())
        return mention.start + left, mention.end - right


@dataclass(frozen=True)
class Corpus(Sequence[Document]):
    """A named sequence of documents, in their published order."""

    name: str
    split: str | None
    documents: tuple[Document, ...]

    def __post_init__(self) -> None:
        if not self.documents:
            raise CorpusError(f"{self} holds no document.")
        ids: set[str] = set()
        for document in self.documents:
            if document.id in ids:
                raise CorpusError(f"{self}: two documents have the id {document.id!r}.")
            ids.add(document.id)

    def __str__(self) -> str:
        return self.name if self.split is None else f"{self.name}/{self.split}"

    def __repr__(self) -> str:
        return f"Corpus({str(self)!r}, {len(self)} documents, {self.n_mentions} mentions)"

    def __len__(self) -> int:
        return len(self.documents)

    @overload
    def __getitem__(self, index: int) -> Document: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Document]: ...
    def __getitem__(self, index: int | slice) -> Document | Sequence[Document]:
        return self.documents[index]

    def __iter__(self) -> Iterator[Document]:
        return iter(self.documents)

    @cached_property
    def n_mentions(self) -> int:
        """Distinct mention spans over all documents."""
        return sum(len(document.gold_spans) for document in self.documents)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over ids, groups, texts and mentions, in order."""
        digest = hashlib.sha256()
        for d in self.documents:
            marks = [(m.start, m.end, m.label) for m in d.mentions]
            digest.update(repr((d.id, d.group, d.text, marks)).encode())
        return digest.hexdigest()

    @cached_property
    def text_fingerprint(self) -> str:
        """SHA-256 over ids and texts, in order: what activations depend on."""
        digest = hashlib.sha256()
        for d in self.documents:
            digest.update(repr((d.id, d.text)).encode())
        return digest.hexdigest()

    def sample(self, n_documents: int, *, seed: int = 0) -> "Corpus":
        """At most `n_documents` documents drawn without replacement, in their original order."""
        if n_documents >= len(self):
            return self
        chosen = sorted(random.Random(seed).sample(range(len(self)), n_documents))
        return replace(self, documents=tuple(self.documents[i] for i in chosen))

    @staticmethod
    def concatenate(name: str, corpora: Iterable["Corpus"]) -> "Corpus":
        """One corpus out of several; ids and groups are prefixed with the corpus they come from."""
        documents = [
            replace(document, id=f"{corpus}:{document.id}", group=f"{corpus}:{document.group}")
            for corpus in corpora
            for document in corpus
        ]
        return Corpus(name=name, split=None, documents=tuple(documents))
