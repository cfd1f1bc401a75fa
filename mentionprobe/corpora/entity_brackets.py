"""The `Entity=` brackets of CorefUD: `(4-abstract-new(5-person-giv)` opens 4 and marks 5 alone."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mentionprobe.errors import CorpusError

_BRACKET = re.compile(r"\(([^()]+)(\))?|([^()]+)\)")

EntitySpan = tuple[int, int, str | None]
"""First row, last row (inclusive), type."""


class Bracket(NamedTuple):
    """One bracket: `fields` start with the entity's id; a closing one has nothing else."""

    fields: tuple[str, ...]
    opens: bool
    closes: bool

    @property
    def entity(self) -> str:
        return self.fields[0]


def parse_entity(value: str) -> tuple[Bracket, ...]:
    """The brackets of an `Entity=` value, in order.

    Raises `CorpusError` where the value is anything but brackets.
    """
    matches = list(_BRACKET.finditer(value))
    if sum(len(match[0]) for match in matches) != len(value):
        raise CorpusError(f"Entity={value} is not a row of brackets such as (4-person(5-place)4).")
    return tuple(_bracket(match) for match in matches)


def _bracket(match: re.Match[str]) -> Bracket:
    opens = match[1] is not None
    fields = tuple((match[1] or match[3]).split("-"))
    return Bracket(fields, opens=opens, closes=not opens or match[2] is not None)


def label_position(declaration: str) -> int | None:
    """Where `# global.Entity` puts the type: its place among the fields, None for nowhere."""
    fields = declaration.split("-")
    return fields.index("etype") if "etype" in fields else None


def entity_spans(
    rows: Sequence[Sequence[Bracket]], label_at: int | None, left_out: Counter[str]
) -> list[EntitySpan]:
    """The mentions of a sentence, given the brackets of its rows, in the order in which they begin.

    Parts of discontinuous mentions and mentions that cross a sentence end are left out and
    counted by their beginning; a closing bracket without an opening one ends such a mention.
    """
    open_mentions: list[tuple[str, int, str | None]] = []
    spans: list[EntitySpan] = []
    for row, bracket in _contiguous(rows, left_out):
        if bracket.opens:
            open_mentions.append((bracket.entity, row, _label(bracket, label_at)))
        if bracket.closes:
            spans.extend(_close(bracket.entity, row, open_mentions))
    left_out["they cross the end of a sentence"] += len(open_mentions)
    return sorted(spans, key=lambda span: (span[0], -span[1]))


def _contiguous(
    rows: Sequence[Sequence[Bracket]], left_out: Counter[str]
) -> Iterator[tuple[int, Bracket]]:
    for row, brackets in enumerate(rows):
        for bracket in brackets:
            if "[" not in bracket.entity:
                yield row, bracket
            elif bracket.opens and "[1/" in bracket.entity:
                left_out["they are discontinuous"] += 1


def _label(bracket: Bracket, label_at: int | None) -> str | None:
    if label_at is None or label_at >= len(bracket.fields):
        return None
    return bracket.fields[label_at] or None


def _close(
    entity: str, row: int, open_mentions: list[tuple[str, int, str | None]]
) -> Iterator[EntitySpan]:
    """The innermost open mention of the entity, taken off the list, if there is one."""
    for index in reversed(range(len(open_mentions))):
        opened, start, label = open_mentions[index]
        if opened == entity:
            del open_mentions[index]
            yield start, row, label
            return
