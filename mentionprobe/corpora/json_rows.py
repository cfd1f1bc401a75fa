"""JSON Lines, or one JSON array, read item by item and checked against a model of the item."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from mentionprobe.corpora.document import Document
from mentionprobe.corpora.files import located, read_lines
from mentionprobe.errors import CorpusError


class JsonRow(BaseModel):
    """One item of a file. Types are taken at their word: no "3" for 3. Other keys are ignored."""

    model_config = ConfigDict(strict=True)


Row = TypeVar("Row", bound=JsonRow)


def documents_of_rows(
    path: Path, model: type[Row], to_document: Callable[[Row, str], Document]
) -> Iterator[Document]:
    """`to_document(row, name)` for each item, where `name` is for items without an id.

    Raises `CorpusError` with the place for an item that the model or `to_document` refuses.
    """
    for number, place, content in items(read_lines(path)):
        with located(path, place, content):
            document = to_document(_row(model, content), f"{path.stem}-{number}")
        yield document


def items(lines: list[str]) -> Iterator[tuple[int, str, str]]:
    """Number, place and JSON of each item: lines that are not blank, or the items of an array."""
    text = "\n".join(lines)
    if text.lstrip().startswith("["):
        for number, item in enumerate(_array(text), start=1):
            yield number, f"item {number}", json.dumps(item, ensure_ascii=False)
        return
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, f"line {number}", line


def check_text(text: str) -> None:
    """Raises `CorpusError` for a text in which there is nothing to find."""
    if not text.strip():
        raise CorpusError("text of zero tokens.")


def _array(text: str) -> Iterable[object]:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise CorpusError(f"expected a JSON array, found a fault in it: {error}.") from error


def _row(model: type[Row], content: str) -> Row:
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise CorpusError("; ".join(_fault(detail) for detail in error.errors()) + ".") from error
