"""The JSON of InstructUIE: sentences with named entities at character positions.

    [{"sentence": "Ana left.", "entities": [{"name": "Ana", "type": "person", "pos": [0, 3]}]}]

The items of the array may also stand on lines of their own.
"""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from mentionprobe.corpora.document import Document, Mention
from mentionprobe.corpora.files import distinct, log_left_out
from mentionprobe.corpora.json_rows import JsonRow, check_text, documents_of_rows
from mentionprobe.errors import CorpusError


class _Entity(JsonRow):
    name: str
    type: str
    pos: tuple[int, int]


class _Row(JsonRow):
    sentence: str
    entities: list[_Entity]


def read_entities_json(path: Path) -> Iterator[Document]:
    """One document an item; the end of `pos` is exclusive.

    An entity that stands twice with the same type is taken once; a warning gives the count.

    Raises `CorpusError` for an item of another form, an empty sentence, and a `pos` at which the
    `name` does not stand: some published files have inclusive ends, or [0, 0] everywhere.
    """
    left_out: Counter[str] = Counter()
    yield from documents_of_rows(path, _Row, partial(_document, left_out=left_out))
    log_left_out(path, left_out)


def _document(row: _Row, name: str, left_out: Counter[str]) -> Document:
    check_text(row.sentence)
    mentions = [_mention(entity, row.sentence) for entity in row.entities]
    return Document(name, row.sentence, tuple(distinct(mentions, left_out)))


def _mention(entity: _Entity, sentence: str) -> Mention:
    start, end = entity.pos
    if sentence[start:end] != entity.name:
        raise CorpusError(
            f"pos {list(entity.pos)} of {entity.name!r} covers {sentence[start:end]!r}; "
            + _advice(entity, sentence)
        )
    return Mention(start, end, entity.type)


def _advice(entity: _Entity, sentence: str) -> str:
    start, end = entity.pos
    if sentence[start : end + 1] == entity.name:
        return "the end is inclusive here; add 1 to every end."
    if start == end:
        return "this file gives no positions."
    return "expected character positions, the end exclusive."
