from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentionprobe.corpora.tags import parse_tag, spans_of_tags
from mentionprobe.errors import CorpusError

LABELS = ["person", "place"]


def decode(tags: str, *, bare: bool = False):
    return list(spans_of_tags([parse_tag(tag, bare=bare) for tag in tags.split()]))


@pytest.mark.parametrize(
    ("scheme", "tags", "spans"),
    [
        ("IOB2", "B-p I-p O B-p B-p", [(0, 2, "p"), (3, 4, "p"), (4, 5, "p")]),
        ("IOB1", "I-p I-p O I-p B-p", [(0, 2, "p"), (3, 4, "p"), (4, 5, "p")]),
        ("IOB1, type changes", "I-p I-q O", [(0, 1, "p"), (1, 2, "q")]),
        ("IO", "I-p I-p O I-p", [(0, 2, "p"), (3, 4, "p")]),
        ("BIOES", "B-p I-p E-p S-p S-p O", [(0, 3, "p"), (3, 4, "p"), (4, 5, "p")]),
        ("BILOU", "B-p L-p B-p L-p U-p", [(0, 2, "p"), (2, 4, "p"), (4, 5, "p")]),
        ("BIOES, stray parts", "E-p O I-p E-p I-p", [(0, 1, "p"), (2, 4, "p"), (4, 5, "p")]),
        ("no types", "B I O B", [(0, 2, None), (3, 4, None)]),
        ("types with hyphens", "B-art-film I-art-film", [(0, 2, "art-film")]),
        ("nothing", "O O", []),
    ],
)
def test_every_scheme_is_read(scheme, tags, spans):
    assert decode(tags) == spans


def test_bare_types_are_io():
    assert decode("person person O B-side", bare=True) == [(0, 2, "person"), (3, 4, "B-side")]


def test_what_is_no_tag_is_refused():
    with pytest.raises(CorpusError, match="'Bern' is not a tag"):
        parse_tag("Bern")


@st.composite
def flat_spans(draw: st.DrawFn) -> tuple[int, list[tuple[int, int, str]]]:
    n_tokens = draw(st.integers(1, 12))
    cuts = sorted(draw(st.sets(st.integers(0, n_tokens))))
    chosen = [pair for pair in pairwise(cuts) if draw(st.booleans())]
    spans = [(a, b, draw(st.sampled_from(LABELS))) for a, b in chosen]
    return n_tokens, spans


@given(
    flat_spans(),
    st.sampled_from([("B", "I", "I", "B"), ("B", "I", "E", "S"), ("B", "I", "L", "U")]),
)
def test_spans_come_back_from_their_tags(case, prefixes):
    n_tokens, spans = case
    first, inner, last, single = prefixes
    tags = ["O"] * n_tokens
    for start, end, label in spans:
        tags[start:end] = [f"{inner}-{label}"] * (end - start)
        tags[start], tags[end - 1] = f"{first}-{label}", f"{last}-{label}"
        if end - start == 1:
            tags[start] = f"{single}-{label}"
    assert decode(" ".join(tags)) == spans
