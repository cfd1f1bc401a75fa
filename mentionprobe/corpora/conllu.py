"""CoNLL-U with mentions as `Entity=` brackets in MISC (CorefUD, GUM)."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mentionprobe.corpora.document import Document, Mention
from mentionprobe.corpora.entity_brackets import (
    Bracket,
    entity_spans,
    label_position,
    parse_entity,
)
from mentionprobe.corpora.files import distinct, located, log_left_out, read_lines
from mentionprobe.errors import CorpusError

_ID = re.compile(r"(\d+)(?:-(\d+)|(\.)\d+)?")

N_COLUMNS = 10

CharSpan = tuple[int, int]


@dataclass(frozen=True)
class _Row:
    """A line of a sentence: a word, a multiword token (1-2) or an empty node (1.1).

    `words` holds the numbers of the words that the form stands for: none for an empty node.
    """

    words: range
    form: str
    space_after: bool
    brackets: tuple[Bracket, ...]


@dataclass(frozen=True)
class _Sentence:
    line: int
    comments: dict[str, str]
    rows: list[_Row]


def read_conllu(path: Path) -> Iterator[Document]:
    """One document a sentence; `newdoc id` is the group, `sent_id` the id.

    The text is `# text`, or the forms where that is missing. Empty nodes have no place in the
    text, and the words of a multiword token that cannot be parted cover all of it. Mentions
    that have no span in one sentence are left out; a warning gives their count.

    Raises `CorpusError` for lines without 10 columns, brackets that cannot be read, and forms
    that do not stand in `# text`.
    """
    left_out: Counter[str] = Counter()
    # `newdoc id` and `global.Entity` hold until they are given again.
    in_force = {"newdoc id": path.stem}
    for number, sentence in enumerate(_sentences(path), start=1):
        if "newdoc" in sentence.comments:
            in_force["newdoc id"] = f"{path.stem}-doc-{number}"
        in_force.update(sentence.comments)
        if sentence.rows:
            yield _document(path, sentence, f"{path.stem}-{number}", in_force, left_out)
    log_left_out(path, left_out)


def _document(
    path: Path,
    sentence: _Sentence,
    name: str,
    in_force: dict[str, str],
    left_out: Counter[str],
) -> Document:
    text = sentence.comments.get("text") or _text_of_forms(sentence.rows)
    label_at = label_position(in_force.get("global.Entity", ""))
    with located(path, f"line {sentence.line}", text):
        return Document(
            id=sentence.comments.get("sent_id", name),
            text=text,
            mentions=tuple(distinct(_mentions(text, sentence.rows, label_at, left_out), left_out)),
            group=in_force["newdoc id"],
        )


def _sentences(path: Path) -> Iterator[_Sentence]:
    comments: dict[str, str] = {}
    rows: list[_Row] = []
    first = 1
    for number, line in enumerate([*read_lines(path), ""], start=1):
        if line.startswith("#"):
            comments.update([_comment(line)])
        elif line.strip():
            with located(path, f"line {number}", line):
                rows.append(_row(line))
        else:
            if rows or comments:
                yield _Sentence(first, comments, rows)
            comments, rows, first = {}, [], number + 1


def _comment(line: str) -> tuple[str, str]:
    key, _, value = line.removeprefix("#").partition("=")
    return key.strip(), value.strip()


def _row(line: str) -> _Row:
    fields = line.split("\t")
    if len(fields) != N_COLUMNS:
        raise CorpusError(f"expected 10 columns parted by tabs, found {len(fields)}.")
    misc = _misc(fields[9])
    return _Row(
        words=_words(fields[0]),
        form=fields[1],
        space_after=misc.get("SpaceAfter") != "No",
        brackets=parse_entity(misc.get("Entity", "")),
    )


def _misc(column: str) -> dict[str, str]:
    pairs = (item.partition("=") for item in column.split("|"))
    return {key: value for key, _, value in pairs}


def _words(id: str) -> range:
    match = _ID.fullmatch(id)
    if match is None:
        raise CorpusError(f"expected an id such as 7, 7-8 or 7.1 first, found {id!r}.")
    first = int(match[1])
    if match[3]:
        return range(first, first)
    return range(first, int(match[2] or first) + 1)


def _surface(rows: Iterable[_Row]) -> Iterator[_Row]:
    """The rows whose forms make up the text: not empty nodes, not words in a multiword token."""
    done = 0
    for row in rows:
        if row.words and row.words[0] > done:
            yield row
            done = row.words[-1]


def _text_of_forms(rows: Iterable[_Row]) -> str:
    return "".join(row.form + " " * row.space_after for row in _surface(rows)).rstrip()


def _mentions(
    text: str, rows: Sequence[_Row], label_at: int | None, left_out: Counter[str]
) -> Iterator[Mention]:
    places = _places(text, rows)
    for first, last, label in entity_spans([row.brackets for row in rows], label_at, left_out):
        words = [places[n] for row in rows[first : last + 1] for n in row.words]
        if words:
            yield Mention(words[0][0], words[-1][1], label)
        else:
            left_out["they consist of empty nodes"] += 1


def _places(text: str, rows: Sequence[_Row]) -> dict[int, CharSpan]:
    """The characters of each word, by its number."""
    forms = {row.words[0]: row.form for row in rows if len(row.words) == 1}
    if list(forms) != list(range(1, len(forms) + 1)):
        raise CorpusError(f"expected words numbered from 1 on, found the numbers {list(forms)}.")
    if any(row.words and row.words[-1] > len(forms) for row in rows):
        raise CorpusError("a multiword token names words that are not there.")
    places: dict[int, CharSpan] = {}
    end = 0
    for row in _surface(rows):
        start, end = _locate(row.form, text, end)
        places.update(_share(start, row, forms))
    return places


def _locate(form: str, text: str, after: int) -> CharSpan:
    start = len(text) - len(text[after:].lstrip())
    if not text.startswith(form, start):
        raise CorpusError(f"the form {form!r} does not stand at character {start} of the text.")
    return start, start + len(form)


def _share(start: int, token: _Row, forms: dict[int, str]) -> Iterator[tuple[int, CharSpan]]:
    """Parts a multiword token among its words where their forms spell it (do + n't), else not."""
    whole = (start, start + len(token.form))
    is_spelt = "".join(forms[n] for n in token.words) == token.form
    for word in token.words:
        end = start + len(forms[word])
        yield word, (start, end) if is_spelt else whole
        start = end
