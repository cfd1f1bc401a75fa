r"""Plain text with mentions in square brackets, one sentence a line: `[mayor of [Port Ellis]]`.

The format of the bundled demo corpus and the easiest one to annotate in by hand; see
docs/demo-corpus.md.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from mentionprobe.corpora.document import Document, Mention
from mentionprobe.corpora.files import located, read_lines
from mentionprobe.errors import CorpusError

_PIECE = re.compile(r"\\.?|[\[\]]|[^\\\[\]]+")
_ESCAPES = {r"\[": "[", r"\]": "]", r"\\": "\\"}


def read_bracketed(path: Path) -> Iterator[Document]:
    r"""One document a line; the file is the group, the line number is in the id.

    Lines at the top that begin with `# ` are the header; blank lines are skipped. Brackets nest;
    `\[`, `\]` and `\\` stand for the characters themselves.

    Raises `CorpusError` for unbalanced or empty brackets and for a stray backslash.
    """
    in_header = True
    for number, line in enumerate(read_lines(path), start=1):
        in_header = in_header and line.startswith("# ")
        if in_header or not line.strip():
            continue
        with located(path, f"line {number}", line):
            text, mentions = parse_brackets(line.strip())
            document = Document(f"{path.stem}-{number}", text, mentions, group=path.stem)
        yield document


def parse_brackets(line: str) -> tuple[str, tuple[Mention, ...]]:
    """The text of a bracketed line, and its mentions in the order in which they begin.

    Raises `CorpusError` for unbalanced brackets and for a stray backslash.
    """
    text = ""
    open_starts: list[int] = []
    mentions: list[Mention] = []
    for piece in _PIECE.findall(line):
        if piece == "[":
            open_starts.append(len(text))
        elif piece == "]":
            if not open_starts:
                raise CorpusError(r"a bracket closes that was never opened; write a literal as \].")
            mentions.append(Mention(open_starts.pop(), len(text)))
        else:
            text += _plain(piece)
    if open_starts:
        raise CorpusError(
            f"{len(open_starts)} of the brackets opened are never closed; write a literal as \\[."
        )
    return text, tuple(sorted(mentions, key=lambda m: (m.start, -m.end)))


def _plain(piece: str) -> str:
    if not piece.startswith("\\"):
        return piece
    if piece not in _ESCAPES:
        raise CorpusError(rf"a backslash stands before {piece[1:]!r}; write a literal one as \\.")
    return _ESCAPES[piece]
