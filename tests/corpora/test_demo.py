"""Facts that docs/demo-corpus.md promises of the bundled corpus."""

import re
from importlib.resources import files
from itertools import combinations

import pytest

from mentionprobe.corpora import Corpus, load_corpus
from mentionprobe.errors import CorpusError

SPLITS = ("train", "dev", "test")
# Without "most", which also makes superlatives, and those may begin a mention.
DETERMINERS = re.compile(
    r"(a|an|the|this|that|these|those|my|your|his|her|its|our|their|some|any|every|each|no|all|both"
    r"|many|few|several|such|another|other)\b",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def demo() -> dict[str, Corpus]:
    return {split: load_corpus("demo", split=split) for split in SPLITS}


def test_it_is_large_enough_to_train_on(demo):
    documents = [document for corpus in demo.values() for document in corpus]
    assert len(documents) >= 500
    assert sum(len(document.text.split()) for document in documents) >= 10_000


def test_it_has_many_kinds_of_text():
    folder = files("mentionprobe.corpora") / "demo"
    texts = [f.read_text("utf-8") for split in SPLITS for f in (folder / split).iterdir()]
    kinds = {match[1] for text in texts if (match := re.match(r"# kind: (.+)\n", text))}
    assert len(kinds) >= 8


def test_no_file_and_no_sentence_is_in_two_splits(demo):
    for one, other in combinations(SPLITS, 2):
        assert not {d.group for d in demo[one]} & {d.group for d in demo[other]}
        assert not {d.text for d in demo[one]} & {d.text for d in demo[other]}


def begins_with_determiner(text: str, start: int) -> bool:
    """A capital within the sentence shows that the article belongs to a name: The Hague."""
    is_name = start > 0 and text[start].isupper()
    return not is_name and DETERMINERS.match(text, start) is not None


@pytest.mark.parametrize("split", SPLITS)
def test_mentions_begin_and_end_where_the_guide_says(demo, split):
    mentions = [(d.text, m.start, d.text[m.start : m.end]) for d in demo[split] for m in d.mentions]
    assert [s for _, _, s in mentions if s != s.strip()] == []
    assert [s for text, start, s in mentions if begins_with_determiner(text, start)] == []


def test_mentions_nest(demo):
    def is_inside(inner, outer):
        return inner != outer and outer.start <= inner.start and inner.end <= outer.end

    nested = [
        m for d in demo["train"] for m in d.mentions if any(is_inside(m, o) for o in d.mentions)
    ]
    assert len(nested) >= demo["train"].n_mentions // 20


def test_the_split_has_to_be_chosen():
    with pytest.raises(CorpusError, match=r"has splits \(train, dev, test\)"):
        load_corpus("demo")
    with pytest.raises(CorpusError, match="no split 'eval'; it holds: dev, test, train"):
        load_corpus("demo", split="eval")


def test_its_format_is_settled():
    with pytest.raises(CorpusError, match="'demo' is in the catalogue"):
        load_corpus("demo", split="dev", format="columns")
