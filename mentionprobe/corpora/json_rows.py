"""JSON Lines, or one JSON array, read item by item and checked against a model of the item."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from mentionprobe.corpora.document import Document
from mentionprobe.corpora.files import located, read_lines, shorten
from mentionprobe.errors import CorpusError


class JsonRow(BaseModel):
    """One item of a file. Types are taken at their word: no "3" for 3. Other keys are ignored."""

    model_config = ConfigDict(strict=True)


Row = TypeVar("Row", bound=JsonRow)


def documents_of_rows(
    path: Path, model: type[Row], to_document: Callable[[Row, str], Document]
) -> Iterator[Document]:
    """`to_document(row, name)` for each item; `name` is the id for items that bring none.

    Raises `CorpusError`, with the place, for an item that the model or `to_document` refuses.
    """
    for number, (place, content) in enumerate(items(path), start=1):
        with located(path, place, content):
            document = to_document(_row(model, content), f"{path.stem}-{number}")
        yield document


def items(path: Path) -> Iterator[tuple[str, str]]:
    """Place and JSON text of each item of an array, or of each line that is not blank.

    Raises `CorpusError` for an array that is no valid JSON; lines are not looked into.
    """
    lines = read_lines(path)
    text = "\n".join(lines)
    if text.lstrip().startswith("["):
        for number, item in enumerate(_array(path, text), start=1):
            yield f"item {number}", json.dumps(item, ensure_ascii=False)
        return
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield f"line {number}", line


def check_text(text: str) -> None:
    """Raises `CorpusError` for a text in which there is nothing to find."""
    if not text.strip():
        raise CorpusError("text of zero tokens.")


def _array(path: Path, text: str) -> list[object]:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise CorpusError(
            f"{path}: expected a JSON array, found {shorten(text)} ({error})."
        ) from error


def _row(model: type[Row], content: str) -> Row:
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        faults = [
            ".".join(str(key) for key in detail["loc"]) + ": " + detail["msg"]
            for detail in error.errors()
        ]
        raise CorpusError("; ".join(fault.removeprefix(": ") for fault in faults) + ".") from error
