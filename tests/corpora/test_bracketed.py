import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentionprobe.corpora import Document, Mention, load_corpus
from mentionprobe.corpora.bracketed import parse_brackets, read_bracketed
from mentionprobe.errors import CorpusError

HEADER = "# kind: news\n# title: The ferry\n"


def encode(document: Document) -> str:
    """The bracketed line of a document whose mentions nest: the inverse of `parse_brackets`."""
    line = ""
    for position in range(len(document.text) + 1):
        line += "]" * sum(m.end == position for m in document.mentions)
        line += "[" * sum(m.start == position for m in document.mentions)
        character = document.text[position : position + 1]
        line += "\\" + character if character and character in "\\[]" else character
    return line


@st.composite
def nested_documents(draw: st.DrawFn) -> Document:
    word = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1)
    words = draw(st.lists(word, min_size=1, max_size=8))
    spans = _spans(draw, 0, len(words))
    starts = [len(" ".join([*words[:i], ""])) for i in range(len(words))]
    mentions = [Mention(starts[a], starts[b - 1] + len(words[b - 1])) for a, b in spans]
    return Document("0", " ".join(words), tuple(sorted(mentions, key=lambda m: (m.start, -m.end))))


def _spans(draw: st.DrawFn, low: int, high: int) -> set[tuple[int, int]]:
    """Spans of words in [low, high) of which no two cross."""
    if low == high or not draw(st.booleans()):
        return set()
    cut = draw(st.integers(low, high))
    return {(low, high)} | (
        _spans(draw, low, cut) | _spans(draw, cut, high) if cut > low else set()
    )


@given(nested_documents())
def test_bracketed_text_comes_back_as_it_was(document):
    assert parse_brackets(encode(document)) == (document.text, document.mentions)


def test_file_is_group_and_line_is_in_the_id(write):
    path = write("ferry.txt", HEADER + "[Marta] left.\n\nThe [mayor of [Port Ellis]] stayed.\n")
    first, second = load_corpus(path)
    assert (first.id, first.group, first.text) == ("ferry-3", "ferry", "Marta left.")
    assert (second.id, second.group) == ("ferry-5", "ferry")
    assert [second.text[m.start : m.end] for m in second.mentions] == [
        "mayor of Port Ellis",
        "Port Ellis",
    ]


def test_only_lines_at_the_top_are_header(write):
    path = write("a.txt", HEADER + "[Ana] left.\n# [hashes] may begin a sentence.\n")
    assert [document.text for document in load_corpus(path)] == [
        "Ana left.",
        "# hashes may begin a sentence.",
    ]


def test_escapes_stand_for_the_characters(write):
    path = write("a.txt", r"[array\[0\]] and [C:\\temp]" + "\n")
    [document] = load_corpus(path)
    assert document.text == r"array[0] and C:\temp"
    assert document.gold_spans == {(0, 8), (13, 20)}


def test_white_space_around_a_line_is_no_text(write):
    [document] = load_corpus(write("a.txt", "  [Ana] left. \t\r\n"))
    assert (document.text, document.gold_spans) == ("Ana left.", {(0, 3)})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[Ana left.", "1 of the brackets opened are never closed"),
        ("Ana] left.", "a bracket closes that was never opened"),
        ("[] Ana left.", "is empty"),
        ("[[Ana]] left.", "stands twice"),
        ("[ ] Ana left.", "nothing but white space"),
        (r"[Ana] \left.", "a backslash stands before 'l'"),
        ("[Ana] left.\\", "a backslash stands before ''"),
    ],
)
def test_a_malformed_line_is_named(write, line, reason):
    path = write("a.txt", f"{HEADER}[Bern] is here.\n{line}\n")
    with pytest.raises(CorpusError) as caught:
        load_corpus(path)
    message = str(caught.value)
    assert f"{path}, line 4: " in message
    assert reason in message
    assert repr(line) in message


def test_a_header_alone_is_no_corpus(write):
    path = write("a.txt", HEADER)
    assert list(read_bracketed(path)) == []
    with pytest.raises(CorpusError, match=r"a\.txt: expected sentences .* found none"):
        load_corpus(path)
