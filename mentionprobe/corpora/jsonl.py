"""The project's own JSONL: a text and the character positions of its mentions on each line.

    {"id": "a-1", "text": "Ana Ruiz left.", "mentions": [{"start": 0, "end": 8, "label": "person"}]}

`id`, `group`, and the `label`, `score` and `text` of a mention may be left out.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from mentionprobe.corpora.document import Document, Mention
from mentionprobe.corpora.json_rows import JsonRow, check_text, documents_of_rows
from mentionprobe.errors import CorpusError


class _Mention(JsonRow):
    start: int
    end: int
    label: str | None = None
    score: float | None = None
    text: str | None = None


class _Row(JsonRow):
    text: str
    mentions: list[_Mention]
    id: str | None = None
    group: str | None = None


def read_jsonl(path: Path) -> Iterator[Document]:
    """One document a line.

    Raises `CorpusError` for a line of another form, an empty text, a mention that is empty,
    outside the text or there twice, and a mention whose `text` is not what stands at its place.
    """
    return documents_of_rows(path, _Row, _document)


def save_jsonl(documents: Iterable[Document], path: str | Path) -> None:
    """Writes a corpus, or any documents, so that `load_corpus` reads the same documents again."""
    with Path(path).open("w", encoding="utf-8", newline="\n") as file:
        for document in documents:
            file.write(json.dumps(_json(document), ensure_ascii=False) + "\n")


def _document(row: _Row, name: str) -> Document:
    check_text(row.text)
    mentions = tuple(_mention(mention, row.text) for mention in row.mentions)
    return Document(row.id or name, row.text, mentions, group=row.group or "")


def _mention(mention: _Mention, text: str) -> Mention:
    surface = text[mention.start : mention.end]
    if mention.text not in (None, surface):
        raise CorpusError(
            f"mention [{mention.start}, {mention.end}) covers {surface!r}, not {mention.text!r}."
        )
    return Mention(**mention.model_dump())


def _json(document: Document) -> dict[str, object]:
    mentions = [
        {key: value for key, value in asdict(mention).items() if value is not None}
        for mention in document.mentions
    ]
    return {
        "id": document.id,
        "group": document.group,
        "text": document.text,
        "mentions": mentions,
    }
