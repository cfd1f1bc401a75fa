"""The project's own JSONL: a text and the character positions of its mentions on each line.

    {"id": "a-1", "text": "Ana Ruiz left.", "mentions": [{"start": 0, "end": 8, "label": "person"}]}

`id`, `group` and the `label`, `score` and `text` of a mention may be left out.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from mentionprobe.corpora.document import Document, Mention
from mentionprobe.corpora.json_rows import check_text, documents_of_rows
from mentionprobe.errors import CorpusError


class _Mention(BaseModel):
    model_config = ConfigDict(extra="forbid")

    start: int
    end: int
    label: str | None = None
    score: float | None = None
    text: str | None = None


class _Row(BaseModel):
    text: str
    mentions: list[_Mention]
    id: str | None = None
    group: str = ""


def read_jsonl(path: Path) -> Iterator[Document]:
    """One document a line.

    Raises `CorpusError` for a line of another form, an empty text, a mention that is empty,
    outside the text or there twice, and a mention whose `text` is not what stands at its place.
    """
    return documents_of_rows(path, _Row, _document)


def save_jsonl(documents: Iterable[Document], path: str | Path) -> None:
    """Writes a corpus, or any documents, such that `load_corpus` reads the same again."""
    with Path(path).open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(_line(document) + "\n" for document in documents)


def _document(row: _Row, name: str) -> Document:
    check_text(row.text)
    mentions = tuple(Mention(**mention.model_dump()) for mention in row.mentions)
    for mention in mentions:
        found = row.text[mention.start : mention.end]
        if mention.text not in (None, found):
            raise CorpusError(
                f"mention [{mention.start}, {mention.end}) covers {found!r}, not {mention.text!r}."
            )
    return Document(row.id or name, row.text, mentions, group=row.group)


def _line(document: Document) -> str:
    row = _Row(
        id=document.id,
        group=document.group,
        text=document.text,
        mentions=[_Mention.model_validate(mention, from_attributes=True) for mention in document.mentions],
    )
    return json.dumps(row.model_dump(exclude_none=True), ensure_ascii=False)
