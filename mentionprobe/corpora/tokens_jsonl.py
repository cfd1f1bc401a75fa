"""JSON Lines of tokens and mentions in token positions, as nested corpora are often published.

    {"tokens": ["c-fos", "mRNA"], "doc_id": "93061407", "sent_id": "93061407-0",
     "entity_mentions": [{"start": 0, "end": 2, "entity_type": "RNA"}]}

`doc_id`, `sent_id` and `entity_type` may be left out.
"""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from mentionprobe.corpora.document import Document
from mentionprobe.corpora.files import distinct, log_left_out
from mentionprobe.corpora.json_rows import JsonRow, documents_of_rows
from mentionprobe.corpora.tokens import document_from_tokens


class _Mention(JsonRow):
    start: int
    end: int
    entity_type: str | None = None


class _Row(JsonRow):
    tokens: list[str]
    entity_mentions: list[_Mention]
    doc_id: str | None = None
    sent_id: str | None = None


def read_tokens_jsonl(path: Path) -> Iterator[Document]:
    """One document a line; `doc_id` is the group, `end` is the token after the last.

    A mention that stands twice with the same type is taken once; a warning gives the count.

    Raises `CorpusError` for a line of another form, and for a mention outside the tokens.
    """
    left_out: Counter[str] = Counter()
    yield from documents_of_rows(path, _Row, partial(_document, left_out=left_out))
    log_left_out(path, left_out)


def _document(row: _Row, name: str, left_out: Counter[str]) -> Document:
    spans = [(m.start, m.end, m.entity_type) for m in row.entity_mentions]
    return document_from_tokens(
        row.sent_id or name, row.tokens, distinct(spans, left_out), group=row.doc_id or ""
    )
