import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentionprobe.corpora import load_corpus
from mentionprobe.corpora.formats import READERS, find_format, reader
from mentionprobe.errors import CorpusError, UnknownNameError

COLUMNS = "Ana\tB-person\nleft\tO\n"
CONLLU = "\t".join(["1", "Ana", *"_______", "Entity=(1-p)"]) + "\n"
BRACKETED = "[Ana] left.\nShe saw [Bern].\n"
JSONL = '{"text": "Ana left.", "mentions": []}\n'
TOKENS_JSONL = '{"tokens": ["Ana", "left"], "entity_mentions": []}\n'
ENTITIES_JSON = '[\n {"sentence": "Ana left.", "entities": []}\n]\n'


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", BRACKETED, "bracketed"),
        ("a", "# kind: news\nNo mention here.\n", "bracketed"),
        ("one-line.txt", "[Ana] has a plan B", "bracketed"),
        ("same-width.txt", "[Ana] saw O\n[Bern] saw Ana\n[Ana] saw it\n", "columns"),
        ("a.txt", "[Ana left.\n", "bracketed"),
        ("a.txt", COLUMNS, "columns"),
        ("a.annotated", COLUMNS.replace("\t", " "), "columns"),
        ("a.txt", "-DOCSTART-\n\n" + COLUMNS, "columns"),
        ("a.txt", "[1]\tO\n" + COLUMNS, "columns"),
        ("a.txt", "[\tO\n" + COLUMNS, "columns"),
        ("a.conll", COLUMNS, "columns"),
        ("a.conllu", CONLLU, "conllu"),
        ("a.txt", "# newdoc id = 1\n" + CONLLU, "conllu"),
        ("a.jsonl", JSONL, "jsonl"),
        ("a.txt", JSONL, "jsonl"),
        ("a.jsonlines", TOKENS_JSONL, "tokens-jsonl"),
        ("a.json", ENTITIES_JSON, "entities-json"),
        ("a", ENTITIES_JSON, "entities-json"),
        ("a.jsonl", json.dumps(json.loads(ENTITIES_JSON)[0]), "entities-json"),
    ],
)
def test_the_format_is_found(write, name, content, expected):
    assert find_format(write(name, content)) == expected


def test_a_given_format_is_taken(write):
    [document] = load_corpus(write("a.tsv", "[Ana]\tleft\n"), format="bracketed")
    assert document.text == "Ana\tleft"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", b"\x89PNG\r\n\x1a\n", "expected UTF-8 text, found byte 0x89 at position 0"),
        ("a.jsonl", "Ana".encode("utf-16-be"), "expected UTF-8 text, found a zero byte"),
        ("a.txt", "", "found an empty file"),
        ("a.txt", " \n\n", "found an empty file"),
        ("a.jsonl", "Ana left.\n", "line 1: expected JSON, found 'Ana left.'"),
        ("a.jsonl", '{"text": "Ana"}\n', "expected the keys mentions and text or "),
        ("a.json", "3", "expected the keys"),
        ("a.conllu", COLUMNS, "line 1: expected 10 columns parted by tabs, found 2"),
        ("a.txt", "Nothing is marked here.\n", "give format= one of bracketed, columns"),
    ],
)
def test_a_file_that_is_not_what_it_should_be(write, name, content, reason):
    path = write(name, content)
    with pytest.raises(CorpusError) as caught:
        load_corpus(path)
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize("format", ["columns", "conllu", "bracketed", "jsonl"])
def test_an_empty_file_of_a_given_format(write, format):
    with pytest.raises(CorpusError, match=rf"a\.txt: expected sentences in .*'{format}'"):
        load_corpus(write("a.txt", ""), format=format)


def test_an_unknown_format_lists_what_there_is():
    with pytest.raises(UnknownNameError, match=r"'colums'.*bracketed, .*Did you mean 'columns'"):
        reader("colums")


@pytest.mark.parametrize("format", [None, *READERS])
@given(content=st.text(st.sampled_from('[]{}()\\"\t\n\r ,:-=#_/|.12BIOab\u2028é')))
def test_any_text_is_read_or_refused(tmp_path_factory, format, content):
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_text(content, encoding="utf-8")
    with suppress(CorpusError):
        assert load_corpus(path, format=format)
