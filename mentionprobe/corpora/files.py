"""What all readers share: files as lines, errors that name the place, counts of what is lost."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from mentionprobe.errors import CorpusError

_SHOWN_CHARACTERS = 80

log = logging.getLogger(__name__)

T = TypeVar("T")


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file without their ends (LF, CRLF, CR) and without a byte order mark.

    Raises `CorpusError` for a file that is no UTF-8 text.
    """
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path}: expected UTF-8 text, found byte 0x{data[error.start]:02x} at position "
            f"{error.start}. Convert the file to UTF-8, or choose an annotated text file."
        ) from error
    if "\0" in text:
        raise CorpusError(
            f"{path}: expected UTF-8 text, found a zero byte: the file is binary or UTF-16."
        )
    # str.splitlines would also cut at characters that stand inside tokens, such as U+2028.
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")


@contextmanager
def located(path: Path, place: str, content: str) -> Iterator[None]:
    """Adds the file, the place in it (`line 7`) and what stands there to a `CorpusError`."""
    try:
        yield
    except CorpusError as error:
        raise CorpusError(f"{path}, {place}: {error} Found: {shorten(content)}") from error


def shorten(content: str) -> str:
    """The beginning of `content`, quoted, for an error message."""
    if len(content) > _SHOWN_CHARACTERS:
        return repr(content[:_SHOWN_CHARACTERS]) + "…"
    return repr(content)


def distinct(found: Iterable[T], left_out: Counter[str]) -> list[T]:
    """Each once, in order; published corpora repeat some mentions. Counts what it leaves out."""
    found = list(found)
    kept = list(dict.fromkeys(found))
    left_out["exact duplicates"] += len(found) - len(kept)
    return kept


def log_left_out(path: Path, left_out: Counter[str]) -> None:
    """One warning for each reason for which mentions of the file were left out."""
    for reason, count in left_out.items():
        if count:
            log.warning("%s: left out %d mentions: %s.", path, count, reason)
