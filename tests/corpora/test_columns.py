import re

import pytest

from mentionprobe.corpora import load_corpus
from mentionprobe.errors import CorpusError

AI = "Ana\tB-person\nRuiz\tI-person\nleft\tO\n\nBern\tB-place\nslept\tO\n"


def test_a_sentence_is_a_document_of_tokens_joined_by_spaces(write, surfaces):
    first, second = load_corpus(write("ai.tsv", AI))
    assert (first.id, first.group, first.text) == ("ai-1", "ai-1", "Ana Ruiz left")
    assert surfaces(first) == [("Ana Ruiz", "person")]
    assert (second.id, surfaces(second)) == ("ai-2", [("Bern", "place")])


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(AI.replace("\n", "\r\n"), id="CRLF"),
        pytest.param("\ufeff" + AI, id="byte order mark"),
        pytest.param("\n\n" + AI + "\n\n", id="blank lines"),
        pytest.param(AI.replace("\n\n", "\n\t\n \n"), id="white-space lines"),
        pytest.param(AI.removesuffix("\n"), id="no last newline"),
        pytest.param(AI.replace("\t", " "), id="space"),
        pytest.param(AI.replace("\t", "   "), id="spaces"),
        pytest.param(AI.replace("\t", ","), id="comma"),
        pytest.param(AI.replace("\t", ";"), id="semicolon"),
        pytest.param(AI.replace("\t", "\tNN\t"), id="a column between"),
        pytest.param(re.sub(r"(?m)^(.+)\t(.+)$", r"\2\t\1", AI), id="the tag first"),
        pytest.param(re.sub(r"(?m)^(?=.)", "7\t", AI), id="a counter first"),
    ],
)
def test_layout_is_found(write, content):
    found, expected = load_corpus(write("a.bio", content)), load_corpus(write("b/a.bio", AI))
    assert found.documents == expected.documents


def test_columns_can_be_named(write, surfaces):
    path = write("a.conll", "O|1|Ana|B-x|S-person\nO|2|left|O|O\n")
    [document] = load_corpus(path, separator="|", token_column=2, tag_column=-2)
    assert surfaces(document) == [("Ana", "x")]
    assert load_corpus(path, separator="|", tag_column=0, token_column=1)[0].text == "1 2"


def test_a_comma_file_is_csv(write, surfaces):
    [document] = load_corpus(write("a.csv", 'Ana,B-person\n",",O\n"""",O\nBern,B-place\n'))
    assert document.text == 'Ana , " Bern'
    assert surfaces(document) == [("Ana", "person"), ("Bern", "place")]


def test_quotation_marks_are_plain_tokens_elsewhere(write):
    [document] = load_corpus(write("a.tsv", '"\tO\nAna\tB-person\n"\tO\n'))
    assert document.text == '" Ana "'


def test_docstart_parts_the_groups(write):
    start = "-DOCSTART- -X- O O\n\n"
    sentences = "Ana NNP I-NP I-person\nleft VBD I-VP O\n\nBern NNP I-NP I-place\n\n"
    corpus = load_corpus(write("eng.testa", start + sentences + start + sentences))
    assert [d.group for d in corpus] == ["eng-doc-1"] * 2 + ["eng-doc-2"] * 2
    assert [d.id for d in corpus] == ["eng-1", "eng-2", "eng-3", "eng-4"]
    assert corpus.n_mentions == 4


def test_neighbours_of_one_type_are_one_mention_without_b_tags(write, surfaces):
    [document] = load_corpus(write("a.tsv", "Ana\tI-p\nRuiz\tI-p\nBern\tI-q\nleft\tO\n"))
    assert surfaces(document) == [("Ana Ruiz", "p"), ("Bern", "q")]


def test_types_without_prefix_are_read_as_io(write, surfaces):
    [document] = load_corpus(write("a.tsv", "Ana\tperson-other\nRuiz\tperson-other\nleft\tO\n"))
    assert surfaces(document) == [("Ana Ruiz", "person-other")]


def test_odd_line_breaks_stay_in_their_token(write):
    [document] = load_corpus(write("a.tsv", "a\u2028b\tO\nBern\tB-place\n"))
    assert document.text == "a\u2028b Bern"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Bern", "expected 2 columns parted by '\\t', found 1"),
        ("Bern\tB-place\tx", "expected 2 columns parted by '\\t', found 3"),
        ("Bern\tplace", "'place' is not a tag"),
        (" \tB-place", "the token is empty"),
    ],
)
def test_a_malformed_line_is_named(write, line, reason):
    path = write("a.tsv", f"{AI}\n{line}\n")
    with pytest.raises(CorpusError) as caught:
        load_corpus(path)
    message = str(caught.value)
    assert f"{path}, line 8: " in message
    assert reason in message
    assert repr(line) in message


def test_a_fault_in_the_tags_does_not_make_the_chunks_the_tags(write):
    path = write("eng.tsv", "Ana NNP I-NP I-person\nleft VBD I-VP O\nBern NNP I-NP place\n")
    with pytest.raises(CorpusError, match="line 3: 'place' is not a tag"):
        load_corpus(path)


def test_a_long_line_is_shortened_in_the_message(write):
    with pytest.raises(CorpusError) as caught:
        load_corpus(write("a.tsv", AI + "x" * 5000))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("options", [{}, {"tag_column": 7}, {"tag_column": 0}, {"separator": "|"}])
def test_a_file_without_tags_is_refused(write, options):
    path = write("a.tsv", "Ana\tleft\nBern\tslept\n")
    with pytest.raises(CorpusError, match=r"a\.tsv: expected a token and a tag .*'Ana\\tleft'"):
        load_corpus(path, **options)


def test_a_file_without_tokens_holds_nothing(write):
    path = write("a.tsv", "-DOCSTART-\tO\n\n")
    with pytest.raises(CorpusError, match=r"a\.tsv: expected sentences .* found none"):
        load_corpus(path)
