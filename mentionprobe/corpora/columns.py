"""One token a line with its tag in a column (CoNLL style), sentences parted by blank lines."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mentionprobe.corpora.document import Document
from mentionprobe.corpora.files import located, read_lines, shorten
from mentionprobe.corpora.tags import Tag, is_tag, parse_tag, spans_of_tags
from mentionprobe.corpora.tokens import document_from_tokens
from mentionprobe.errors import CorpusError

_SEPARATORS = ("\t", " ", ",", ";")
_DOCUMENT_START = "-DOCSTART-"
_REGULAR_SHARE = 0.9

Columns = list[tuple[str, ...]]


@dataclass(frozen=True)
class Layout:
    """Where a line holds its token and its tag; columns count from 0.

    `bare` says that tags are types without prefixes, as the original Few-NERD has them.
    """

    separator: str
    width: int
    token_column: int
    tag_column: int
    bare: bool

    def read(self, line: str) -> tuple[str, Tag]:
        """The token and the tag of a line.

        Raises `CorpusError` for another number of columns, an empty token, or what is no tag.
        """
        fields = _split(line, self.separator)
        if len(fields) != self.width:
            raise CorpusError(
                f"expected {self.width} columns parted by {self.separator!r}, found {len(fields)}."
            )
        token = fields[self.token_column]
        if not token.strip():
            raise CorpusError("the token is empty.")
        return token, parse_tag(fields[self.tag_column].strip(), bare=self.bare)


def read_columns(
    path: Path,
    *,
    separator: str | None = None,
    token_column: int | None = None,
    tag_column: int | None = None,
) -> Iterator[Document]:
    """One document a sentence; `-DOCSTART-` lines part the groups, where there are any.

    What is not given is found: the separator among tab, space, comma and semicolon (the last two
    with the quoting rules of CSV); the token in the first column that is no counter; the tag in
    the last column that holds tags. Columns count from 0, negative numbers from the end.

    Raises `CorpusError` where there are no such columns, and for a line unlike the others.
    """
    lines = read_lines(path)
    if all(_is_boundary(line) for line in lines):
        return
    layout = _find_layout(path, lines, separator, token_column, tag_column)
    for number, (group, sentence) in enumerate(_sentences(lines), start=1):
        tokens, tags = zip(*(_read_line(path, layout, *line) for line in sentence), strict=True)
        yield document_from_tokens(
            f"{path.stem}-{number}",
            tokens,
            spans_of_tags(tags),
            group=f"{path.stem}-doc-{group}" if group else "",
        )


def looks_like_columns(lines: Sequence[str]) -> bool:
    """Whether nearly all lines have the same number of columns, and one column holds tags.

    Only tab and space are tried: prose has commas.
    """
    lines = [line for line in lines if not _is_boundary(line)]
    for separator in ("\t", " "):
        columns = _columns(lines, separator)
        # One line of prose is regular by itself, and may well end in "plan B".
        is_regular = len(columns) > 1 and len(columns[0]) > max(1, _REGULAR_SHARE * len(lines))
        if is_regular and _find_tag_column(columns, None) is not None:
            return True
    return False


def _is_boundary(line: str) -> bool:
    return not line.strip() or line.startswith(_DOCUMENT_START)


def _sentences(lines: Sequence[str]) -> Iterator[tuple[int, list[tuple[int, str]]]]:
    """The number of the document (0 before any -DOCSTART-), and the numbered lines."""
    document = 0
    sentence: list[tuple[int, str]] = []
    for number, line in enumerate([*lines, ""], start=1):
        if not _is_boundary(line):
            sentence.append((number, line))
            continue
        if sentence:
            yield document, sentence
            sentence = []
        document += line.startswith(_DOCUMENT_START)


def _read_line(path: Path, layout: Layout, number: int, line: str) -> tuple[str, Tag]:
    with located(path, f"line {number}", line):
        return layout.read(line)


def _find_layout(
    path: Path,
    lines: Sequence[str],
    separator: str | None,
    token_column: int | None,
    tag_column: int | None,
) -> Layout:
    lines = [line for line in lines if not _is_boundary(line)]
    for candidate in [separator] if separator else _SEPARATORS:
        columns = _columns(lines, candidate)
        tag = _find_tag_column(columns, tag_column)
        token = _find_token_column(columns, token_column, tag)
        if tag is not None and token is not None:
            bare = not any(is_tag(value) and value != "O" for value in columns[tag])
            return Layout(candidate, len(columns), token, tag, bare)
    raise CorpusError(
        f"{path}: expected a token and a tag such as B-person on each line, found no such columns "
        f"(first line: {shorten(lines[0])}). Give separator=, token_column= and tag_column=."
    )


def _columns(lines: Sequence[str], separator: str) -> Columns:
    """The columns of those lines that have the most common number of them."""
    rows = [_split(line, separator) for line in lines]
    widths = Counter(len(row) for row in rows).most_common(1)
    return list(zip(*(row for row in rows if len(row) == widths[0][0]), strict=True))


def _split(line: str, separator: str) -> list[str]:
    if separator == " ":
        return [field for field in line.split(" ") if field]
    if separator in (",", ";"):
        return next(csv.reader([line], delimiter=separator))
    return line.split(separator)


def _find_tag_column(columns: Columns, wanted: int | None) -> int | None:
    """The last column of nothing but tags, or with an O in it.

    One O is enough, or else a single fault in the tags would make the chunks before them the tags.
    """
    for index in reversed(_candidates(columns, wanted)):
        if "O" in columns[index] or all(is_tag(value.strip()) for value in columns[index]):
            return index
    return None


def _find_token_column(columns: Columns, wanted: int | None, tag: int | None) -> int | None:
    """The first column but the tags' that is no counter: some corpora number their tokens."""
    for index in _candidates(columns, wanted):
        is_counter = wanted is None and all(value.isdigit() for value in columns[index])
        if index != tag and not is_counter:
            return index
    return None


def _candidates(columns: Columns, wanted: int | None) -> list[int]:
    width = len(columns)
    return [index for index in range(width) if wanted in (None, index, index - width)]
