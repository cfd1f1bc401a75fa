import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentionprobe.corpora import Corpus, Document, Mention, load_corpus, save_jsonl
from mentionprobe.errors import CorpusError

ROW = {"text": "Ana Ruiz left.", "mentions": [{"start": 0, "end": 8, "label": "person"}]}


@st.composite
def documents(draw: st.DrawFn) -> Document:
    text = draw(st.text(min_size=1).filter(str.strip))
    spans = st.tuples(st.integers(0, len(text) - 1), st.integers(1, len(text)))
    chosen = draw(st.sets(spans.filter(lambda s: text[s[0] : s[1]].strip() != ""), max_size=5))
    mentions = tuple(
        Mention(
            start,
            end,
            label=draw(st.none() | st.text()),
            score=draw(st.none() | st.floats(0, 1)),
            text=draw(st.sampled_from([None, text[start:end]])),
        )
        for start, end in chosen
    )
    return Document("", text, mentions, group=draw(st.text(min_size=1)))


@given(st.lists(documents(), min_size=1, max_size=4))
def test_what_is_saved_is_loaded_again(drawn):
    saved = [Document(f"d{i}", d.text, d.mentions, d.group) for i, d in enumerate(drawn)]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "corpus.jsonl"
        save_jsonl(Corpus("any", None, tuple(saved)), path)
        assert list(load_corpus(path)) == saved


def test_ids_groups_and_labels_may_be_left_out(write):
    path = write("own.jsonl", '{"text": "Ana left.", "mentions": [{"start": 0, "end": 3}]}\n')
    [document] = load_corpus(path)
    assert document == Document("own-1", "Ana left.", (Mention(0, 3),), group="own-1")


def test_other_keys_are_ignored(write):
    [document] = load_corpus(write("own.jsonl", json.dumps(ROW | {"source": "wiki"})))
    assert document.mentions == (Mention(0, 8, "person"),)


def test_text_is_written_as_it_reads(tmp_path):
    path = tmp_path / "own.jsonl"
    save_jsonl([Document("1", "Zoë left.", (Mention(0, 3),))], path)
    assert path.read_text("utf-8") == (
        '{"id": "1", "group": "1", "text": "Zoë left.", "mentions": [{"start": 0, "end": 3}]}\n'
    )


def with_mention(**changed: object) -> str:
    return json.dumps(ROW | {"mentions": [ROW["mentions"][0] | changed]})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Ana left.", "Invalid JSON"),
        ('["Ana left."]', "Input should be an object"),
        ('{"text": "Ana left."}', "mentions: Field required"),
        (json.dumps(ROW | {"text": 3}), "text: Input should be a valid string"),
        (json.dumps(ROW | {"text": " "}), "text of zero tokens"),
        (with_mention(start="0"), "mentions.0.start: Input should be a valid integer"),
        (with_mention(end=None), "mentions.0.end: Input should be a valid integer"),
        (with_mention(end=15), "lies outside the text of 14 characters"),
        (with_mention(start=-3), "lies outside"),
        (with_mention(end=0), "is empty"),
        (with_mention(text="Ana"), "covers 'Ana Ruiz', not 'Ana'"),
        (json.dumps(ROW | {"mentions": ROW["mentions"] * 2}), "stands twice"),
    ],
)
def test_a_malformed_line_is_named(write, line, reason):
    path = write("own.jsonl", f"{json.dumps(ROW)}\n\n{line}\n")
    with pytest.raises(CorpusError) as caught:
        load_corpus(path)
    message = str(caught.value)
    assert f"{path}, line 3: " in message
    assert reason in message
    assert line[:30] in message


def test_the_cause_is_kept(write):
    with pytest.raises(CorpusError) as caught:
        load_corpus(write("own.jsonl", with_mention(end=99)))
    assert isinstance(caught.value.__cause__, CorpusError)


def test_an_id_may_not_come_twice(write):
    path = write("own.jsonl", 2 * (json.dumps(ROW | {"id": "a"}) + "\n"))
    with pytest.raises(CorpusError, match="two documents have the id 'a'"):
        load_corpus(path)
