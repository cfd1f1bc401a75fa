"""The formats by name, and how the format of a file is found."""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mentionprobe.corpora.bracketed import read_bracketed
from mentionprobe.corpora.columns import looks_like_columns, read_columns
from mentionprobe.corpora.conllu import N_COLUMNS, read_conllu
from mentionprobe.corpora.document import Document
from mentionprobe.corpora.entities_json import read_entities_json
from mentionprobe.corpora.files import read_lines, shorten
from mentionprobe.corpora.json_rows import items
from mentionprobe.corpora.jsonl import read_jsonl
from mentionprobe.corpora.tokens_jsonl import read_tokens_jsonl
from mentionprobe.errors import CorpusError, UnknownNameError

Reader = Callable[..., Iterator[Document]]

READERS: dict[str, Reader] = {
    "bracketed": read_bracketed,
    "columns": read_columns,
    "conllu": read_conllu,
    "jsonl": read_jsonl,
    "tokens-jsonl": read_tokens_jsonl,
    "entities-json": read_entities_json,
}

_JSON_SUFFIXES = frozenset({".json", ".jsonl", ".jsonlines", ".ndjson"})
_COLUMN_SUFFIXES = frozenset({".tsv", ".csv", ".conll", ".bio", ".iob", ".iob2", ".bioes"})
_JSON_KEYS = {
    "jsonl": {"text", "mentions"},
    "tokens-jsonl": {"tokens", "entity_mentions"},
    "entities-json": {"sentence", "entities"},
}
_SNIFFED_LINES = 50


def reader(format: str) -> Reader:
    """The reader of a format.

    Raises `UnknownNameError` for a format that does not exist.
    """
    if format not in READERS:
        raise UnknownNameError(
            f"There is no format {format!r}; choose one of {', '.join(READERS)}."
            + did_you_mean(format, READERS)
        )
    return READERS[format]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The name most like the one given, as the last sentence of an error message."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def find_format(path: Path) -> str:
    """The format of a file, from its extension and its first lines.

    Raises `CorpusError` for a file that is empty, no text, or like none of the formats.
    """
    lines = [line for line in read_lines(path) if line.strip()][:_SNIFFED_LINES]
    if not lines:
        raise CorpusError(f"{path}: expected an annotated text, found an empty file.")
    suffix = path.suffix.lower()
    if suffix in _COLUMN_SUFFIXES:
        return "columns"
    if suffix in _JSON_SUFFIXES or re.match(r'\s*(\{"|\[\s*$|\[\s*\{")', lines[0]):
        return _json_format(path)
    if suffix == ".conllu" or _looks_like_conllu(lines):
        return "conllu"
    if looks_like_columns(lines):
        return "columns"
    if re.match(r"# \w+: ", lines[0]) or any(re.search(r"[\[\]]", line) for line in lines):
        return "bracketed"
    raise CorpusError(
        f"{path}: expected brackets around mentions, or a token and a tag on each line; found "
        f"{shorten(lines[0])}. If it is annotated, give format= one of {', '.join(READERS)}."
    )


def _json_format(path: Path) -> str:
    found = next(items(path), None)
    if found is None:
        raise CorpusError(f"{path}: expected annotated texts, found an empty array.")
    place, content = found
    try:
        first = json.loads(content)
    except json.JSONDecodeError as error:
        raise CorpusError(
            f"{path}, {place}: expected JSON, found {shorten(content)} ({error})."
        ) from error
    keys = set(first) if isinstance(first, dict) else set()
    for name, expected in _JSON_KEYS.items():
        if expected <= keys:
            return name
    choices = " or ".join(" and ".join(sorted(expected)) for expected in _JSON_KEYS.values())
    raise CorpusError(f"{path}, {place}: expected the keys {choices}; found {shorten(content)}.")


def _looks_like_conllu(lines: list[str]) -> bool:
    rows = [line for line in lines if not line.startswith("#")]
    return bool(rows) and all(len(row.split("\t")) == N_COLUMNS for row in rows)
