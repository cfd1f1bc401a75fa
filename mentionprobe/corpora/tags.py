"""Tag schemes: IO, IOB1, IOB2 (BIO), BIOES and BILOU, all decoded by one rule."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mentionprobe.corpora.tokens import TokenSpan
from mentionprobe.errors import CorpusError

_TAG = re.compile(r"(O)|([BIELSU])(?:-(.+))?")
_ENDS = frozenset("ELSU")


class Tag(NamedTuple):
    """`prefix` is one of O B I E L S U; `label` is the type, None where the tag names none."""

    prefix: str
    label: str | None


def is_tag(value: str) -> bool:
    """Whether `value` is `O`, or a prefix with or without a type: `B-person`, `B`."""
    return _TAG.fullmatch(value) is not None


def parse_tag(value: str, *, bare: bool = False) -> Tag:
    """One tag, taken apart. With `bare`, all but `O` is a type without a prefix, read as IO.

    Raises `CorpusError` for what is no tag.
    """
    if bare and value != "O":
        return Tag("I", value)
    match = _TAG.fullmatch(value)
    if match is None:
        raise CorpusError(f"{value!r} is not a tag; expected O, or B I E L S U, `-` and a type.")
    return Tag(match[1] or match[2], match[3])


def spans_of_tags(tags: Sequence[Tag]) -> Iterator[TokenSpan]:
    """The mentions of a tagged sentence, from left to right.

    A mention begins at a B, S or U, and wherever none is open that a tag could continue. So an I
    without a B opens a mention (IOB1), and neighbours of one type are one mention where the
    scheme cannot part them (IO).
    """
    start, label, is_open = 0, None, False
    for position, tag in enumerate(tags):
        continues = is_open and tag.prefix in "IEL" and tag.label == label
        if is_open and not continues:
            yield start, position, label
        if not continues:
            start, label, is_open = position, tag.label, tag.prefix != "O"
        if tag.prefix in _ENDS:
            yield start, position + 1, label
            is_open = False
    if is_open:
        yield start, len(tags), label
