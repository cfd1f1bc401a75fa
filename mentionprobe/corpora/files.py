"""What all readers share: text files as lines, and errors that name the place in the file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mentionprobe.errors import CorpusError

_SHOWN_CHARACTERS = 80


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file without their ends (LF or CRLF) and without a byte order mark.

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
    return text.removesuffix("\n").replace("\r\n", "\n").split("\n")


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
