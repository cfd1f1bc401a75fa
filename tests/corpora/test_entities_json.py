import json
import logging

import pytest

from mentionprobe.corpora import Document, Mention, load_corpus
from mentionprobe.errors import CorpusError


def item(*entities: tuple[str, list[int]], sentence: str = "Ana saw Bern.") -> dict[str, object]:
    found = [{"name": name, "type": "any", "pos": pos} for name, pos in entities]
    return {"sentence": sentence, "entities": found}


GOOD = item(("Ana", [0, 3]), ("Bern", [8, 12]))


@pytest.mark.parametrize(
    "content",
    [json.dumps([GOOD, GOOD]), json.dumps([GOOD, GOOD], indent=2), 2 * (json.dumps(GOOD) + "\n")],
    ids=["array", "indented array", "lines"],
)
def test_an_array_and_lines_are_read(write, content):
    first, second = load_corpus(write("uie.json", content))
    mentions = (Mention(0, 3, "any"), Mention(8, 12, "any"))
    assert first == Document("uie-1", "Ana saw Bern.", mentions)
    assert second.id == "uie-2"


def test_an_entity_repeated_with_its_type_is_taken_once(write, caplog):
    with caplog.at_level(logging.WARNING):
        [document] = load_corpus(write("uie.json", json.dumps([item(*2 * [("Ana", [0, 3])])])))
    assert document.mentions == (Mention(0, 3, "any"),)
    assert "uie.json: left out 1 mentions: exact duplicates." in caplog.text


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (item(("Ana", [0, 2])), "the end is inclusive here"),
        (item(("Ana", [0, 0])), "this file gives no positions"),
        (item(("Ana", [4, 7])), "pos [4, 7] of 'Ana' covers 'saw'"),
        (item(("Ana", [0])), "entities.0.pos"),
        (item(sentence=" "), "text of zero tokens"),
        (
            {"sentence": "Ana", "entities": [{"name": "Ana", "type": "any"}]},
            "entities.0.pos: Field",
        ),
    ],
)
def test_a_malformed_item_is_named(write, bad, reason):
    path = write("uie.json", json.dumps([GOOD, bad]))
    with pytest.raises(CorpusError) as caught:
        load_corpus(path)
    assert f"{path}, item 2: " in str(caught.value)
    assert reason in str(caught.value)
    assert 'Found: \'{"sentence": ' in str(caught.value)


def test_a_broken_array_is_named(write):
    path = write("uie.json", json.dumps([GOOD])[:-1])
    with pytest.raises(CorpusError, match=r"uie\.json: expected a JSON array, found .*line 1"):
        load_corpus(path)


def test_an_empty_array_holds_nothing(write):
    with pytest.raises(CorpusError, match=r"uie\.json: expected .* found an empty array"):
        load_corpus(write("uie.json", "[]"))
