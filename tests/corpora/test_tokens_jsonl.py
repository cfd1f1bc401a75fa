import json
import logging

import pytest

from mentionprobe.corpora import Document, Mention, load_corpus
from mentionprobe.corpora.tokens import document_from_tokens
from mentionprobe.errors import CorpusError


def row(*mentions: tuple[int, int, str], **others: object) -> str:
    found = [{"start": s, "end": e, "entity_type": t, "text": "?"} for s, e, t in mentions]
    tokens = ["human", "c-fos", "mRNA", "rose"]
    return json.dumps({"tokens": tokens, "entity_mentions": found} | others) + "\n"


def test_tokens_become_characters(write):
    line = row((0, 3, "RNA"), (1, 2, "DNA"), doc_id="M1", sent_id="M1-0")
    [document] = load_corpus(write("genia.jsonlines", line))
    mentions = (Mention(0, 16, "RNA"), Mention(6, 11, "DNA"))
    assert document == Document("M1-0", "human c-fos mRNA rose", mentions, group="M1")


def test_ids_may_be_left_out(write):
    first, second = load_corpus(write("genia.jsonl", row() + row(doc_id="M1")))
    assert (first.id, first.group) == ("genia-1", "genia-1")
    assert (second.id, second.group) == ("genia-2", "M1")


def test_a_mention_repeated_with_its_type_is_taken_once(write, caplog, surfaces):
    repeated = row((1, 2, "DNA"), (1, 2, "DNA"), (1, 2, "protein"))
    with caplog.at_level(logging.WARNING):
        first, _ = load_corpus(write("genia.jsonl", repeated + repeated))
    assert surfaces(first) == [("c-fos", "DNA"), ("c-fos", "protein")]
    assert len(first.gold_spans) == 1
    assert "genia.jsonl: left out 2 mentions: exact duplicates." in caplog.text


def test_nothing_is_logged_where_nothing_is_left_out(write, caplog):
    load_corpus(write("genia.jsonl", row((1, 2, "DNA"))))
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (row((3, 5, "DNA")), "tokens [3, 5) are no span of 4 tokens"),
        (row((2, 2, "DNA")), "tokens [2, 2) are no span"),
        (row((-1, 2, "DNA")), "tokens [-1, 2) are no span"),
        (row(tokens=[]), "text of zero tokens"),
        (row(tokens=["a", ""]), "a token is empty"),
        (row(tokens="a b"), "tokens: Input should be a valid array"),
    ],
)
def test_a_malformed_line_is_named(write, line, reason):
    path = write("genia.jsonl", row() + line)
    with pytest.raises(CorpusError) as caught:
        load_corpus(path)
    assert f"{path}, line 2: " in str(caught.value)
    assert reason in str(caught.value)


def test_a_span_covers_its_tokens_and_the_spaces_between():
    document = document_from_tokens("1", ["New", "York", "City"], [(0, 2, None), (2, 3, "x")])
    assert document.mentions == (Mention(0, 8), Mention(9, 13, "x"))
