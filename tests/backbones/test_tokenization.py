"""Characters to tokens and back, for every kind of tokenizer."""

from collections import Counter
from copy import deepcopy
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import ByT5Tokenizer

from mentionprobe import Document, Mention
from mentionprobe.backbones import Alignment, align, alignment_report, tokenize
from mentionprobe.errors import BackboneError, CorpusError

ODD = st.sampled_from("aB é🦅\n\t\u00a0\u200b▁ĠİßǅﬁꜲ½\u0301漢\r")
TEXTS = st.text(st.one_of(ODD, st.characters(codec="utf-8")), min_size=1, max_size=25)


def tokens_of(tokenizer, text, **keywords):
    return tokenize(tokenizer, [Document("d", text)], **keywords)[0]


def candidates(tokens):
    """Every pair of tokens a span may begin and end with."""
    firsts, lasts = (np.flatnonzero(can).tolist() for can in (tokens.can_start, tokens.can_end))
    return [(first, last) for first, last in product(firsts, lasts) if first <= last]


def covered(tokens):
    """The characters each token covers."""
    return list(zip(tokens.starts.tolist(), tokens.ends.tolist(), strict=True))


def sharing(tokens, start, end):
    """(can_start, can_end) of the tokens that cover exactly these characters."""
    edges = zip(tokens.can_start.tolist(), tokens.can_end.tolist(), strict=True)
    return [edge for edge, span in zip(edges, covered(tokens), strict=True) if span == (start, end)]


def spans_on_boundaries(tokens):
    """Character spans that begin and end with a token and cut none, found one by one."""
    visible = [(a, b) for a, b in covered(tokens) if a < b]
    edges = product({a for a, _ in visible}, {b for _, b in visible})
    return {
        (start, end)
        for start, end in edges
        if start < end and not any(a < start < b or a < end < b for a, b in visible)
    }


@settings(deadline=None)
@given(text=TEXTS)
def test_token_spans_and_character_spans_correspond_one_to_one(tokenizer, text):
    try:
        tokens = tokens_of(tokenizer, text)
    except CorpusError:  # a text of nothing but what the tokenizer drops
        return
    reached = [tokens.character_span(*pair) for pair in candidates(tokens)]
    assert len(reached) == len(set(reached))
    assert set(reached) == spans_on_boundaries(tokens)


@settings(deadline=None)
@given(text=TEXTS)
def test_tokens_cover_no_outer_white_space(tokenizer, text):
    try:
        tokens = tokens_of(tokenizer, text)
    except CorpusError:
        return
    for start, end in covered(tokens):
        assert text[start:end] == text[start:end].strip()
        assert 0 <= start <= end <= len(text)


def test_a_space_before_a_word_belongs_to_no_span(tokenizer):
    text = "Marie Curie was born in Warsaw."
    tokens = tokens_of(tokenizer, text)
    reached = {text[slice(*tokens.character_span(*pair))] for pair in candidates(tokens)}
    assert {"Marie", "Curie", "Marie Curie", "Warsaw", "Warsaw.", "born in Warsaw"} <= reached


@pytest.mark.parametrize(
    "kind", ["byte-bpe", "sentencepiece-bpe", "sentencepiece-unigram"], indirect=True
)
def test_only_the_outermost_tokens_of_a_character_start_and_end_a_span(kind):
    tokens = tokens_of(kind, "in 🦅 ok")
    assert sharing(tokens, 3, 4) == [(True, False), (False, False), (False, False), (False, True)]


@pytest.mark.parametrize("kind", ["sentencepiece-bpe"], indirect=True)
def test_the_mark_sentencepiece_puts_before_the_text_starts_the_first_span(kind):
    tokens = tokens_of(kind, "Marie")
    assert sharing(tokens, 0, 1) == [(True, False), (False, True)]  # ▁ and M


@pytest.mark.parametrize("kind", ["byte-bpe", "sentencepiece-bpe"], indirect=True)
def test_white_space_alone_is_no_candidate(kind):
    tokens = tokens_of(kind, " \n\t ")
    assert len(tokens) > 0
    assert candidates(tokens) == []


@pytest.mark.parametrize("kind", ["byte-bpe", "sentencepiece-bpe", "wordpiece"], indirect=True)
def test_a_special_token_spelled_out_is_read_as_text(kind):
    special = set(kind.all_special_ids) - {kind.unk_token_id}
    assert not special & set(tokens_of(kind, "".join(kind.all_special_tokens)).ids.tolist())


def test_settings_saved_with_a_tokenizer_neither_cut_nor_pad(tokenizer):
    text = "Marie Curie was born in Warsaw."
    cutting = deepcopy(tokenizer)
    cutting.backend_tokenizer.enable_truncation(5)
    cutting.backend_tokenizer.enable_padding(length=50)
    assert tokens_of(cutting, text).ids.tolist() == tokens_of(tokenizer, text).ids.tolist()


@pytest.mark.parametrize("kind", ["wordpiece"], indirect=True)
def test_a_text_of_no_tokens_is_refused_by_name(kind):
    with pytest.raises(CorpusError, match=r"'blank': its text ' \\n' has no tokens"):
        tokenize(kind, [Document("blank", " \n")])


def test_no_texts_have_no_tokens(tokenizer):
    assert tokenize(tokenizer, []) == []


def test_a_tokenizer_without_offsets_is_refused():
    with pytest.raises(BackboneError, match="ByT5Tokenizer gives no character offsets"):
        tokens_of(ByT5Tokenizer(), "Marie")


@settings(deadline=None)
@given(data=st.data(), text=TEXTS, max_span=st.integers(1, 4))
def test_align_finds_what_a_search_of_all_candidates_finds(tokenizer, data, text, max_span):
    try:
        tokens = tokens_of(tokenizer, text)
    except CorpusError:
        return
    edge = st.integers(0, len(text))
    drawn = data.draw(st.lists(st.tuples(edge, edge)))
    mentions = {Mention(a, b) for a, b in drawn if text[a:b].strip()}
    gold = Document("d", text, tuple(mentions)).gold_spans
    found = align(tokens, gold, max_span=max_span)
    short = [(i, j) for i, j in candidates(tokens) if j - i < max_span]
    expected = {pair for pair in short if tokens.character_span(*pair) in gold}
    assert set(zip(found.first.tolist(), found.last.tolist(), strict=True)) == expected
    assert found.n_gold == len(gold)
    assert found.n_unreachable == len(gold) - len(expected)


@pytest.mark.parametrize("kind", ["byte-bpe"], indirect=True)
def test_unreachable_mentions_are_counted_by_reason(kind):
    text = "Marie Curie was born in Warsaw."
    tokens = tokens_of(kind, text, max_tokens=12)
    marie, a, marie_curie, warsaw, all_of_it = (0, 5), (1, 2), (0, 11), (24, 30), (0, 30)
    found = align(tokens, [marie, a, marie_curie, warsaw, all_of_it], max_span=3)
    assert found.unreachable == Counter(
        {"past the context": 2, "cut by a token": 1, "longer than max_span": 1}
    )
    assert tokens.character_span(int(found.first[0]), int(found.last[0])) == marie
    assert alignment_report([found, found]) == (
        "8 of 10 gold mentions are unreachable: 4 past the context, 2 longer than max_span, "
        "2 cut by a token"
    )


@pytest.mark.parametrize("kind", ["byte-bpe"], indirect=True)
def test_a_character_cut_by_the_end_of_the_context_ends_no_span(kind):
    tokens = tokens_of(kind, "in 🦅", max_tokens=4)
    assert tokens.truncated
    assert not tokens.can_end[tokens.starts == 3].any()
    assert align(tokens, [(3, 4)]).unreachable == {"past the context": 1}


@pytest.mark.parametrize("kind", ["wordpiece"], indirect=True)
def test_one_token_for_two_characters_cuts_a_mention_of_one(kind):
    tokens = tokens_of(kind, "in 🦅🦅")
    assert align(tokens, [(3, 4), (3, 5)]).unreachable == {"cut by a token": 1}


def test_a_text_that_fits_is_not_truncated(tokenizer):
    whole = tokens_of(tokenizer, "Marie Curie")
    assert not tokens_of(tokenizer, "Marie Curie", max_tokens=len(whole)).truncated
    assert tokens_of(tokenizer, "Marie Curie", max_tokens=len(whole) - 1).truncated


def test_report_of_mentions_that_are_all_reachable():
    alignment = Alignment(np.array([0, 2]), np.array([1, 2]))
    assert alignment_report([alignment]) == "all 2 gold mentions are reachable"
