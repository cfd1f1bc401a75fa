"""Long texts are read wholly, each token in one window, with enough context around it."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mentionprobe import Corpus, Document, attention, extract, residual
from mentionprobe.activations.windows import Window, cut_windows, pack
from mentionprobe.backbones import align
from mentionprobe.errors import BackboneError

CONTEXT = 110


@pytest.fixture
def mixed(texts: Corpus, long_text: Document) -> Corpus:
    """Short texts around one that is nearly three contexts long."""
    return Corpus("mixed", None, (*texts.documents[:2], long_text, texts.documents[2]))


def beginning(document: Document, end: int) -> Document:
    """The document cut off at a character."""
    mentions = tuple(m for m in document.mentions if m.end <= end)
    return replace(document, text=document.text[:end], mentions=mentions)


@settings(deadline=None)
@given(n_tokens=st.integers(1, 3000), window=st.integers(100, 700))
def test_every_token_is_kept_exactly_once_with_a_quarter_window_beside_each_seam(n_tokens, window):
    windows = cut_windows(0, n_tokens, window)
    assert [t for w in windows for t in range(w.keep_from, w.keep_to)] == list(range(n_tokens))
    for w in windows:
        assert 0 <= w.start <= w.keep_from < w.keep_to <= w.stop <= n_tokens
        assert len(w) <= window
        assert w.n_kept == w.keep_to - w.keep_from
        assert w.start == 0 or w.keep_from - w.start >= window // 4
        assert w.stop == n_tokens or w.stop - w.keep_to >= window // 4


@settings(deadline=None)
@given(n_tokens=st.integers(1, 600), window=st.integers(4, 200), left=st.integers(1, 50))
def test_every_span_that_ends_at_a_kept_token_begins_in_its_window(n_tokens, window, left):
    try:
        windows = cut_windows(0, n_tokens, window, left_context=left)
    except BackboneError:
        assert n_tokens > window
        assert window < 4 * left
        return
    for w in windows:
        for last in range(w.keep_from, w.keep_to):
            assert max(0, last - left + 1) >= w.start


@settings(deadline=None)
@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=40), bound=st.integers(1, 200))
def test_padded_batches_stay_within_their_bound(lengths, bound):
    windows = [Window(i, 0, n, 0, n) for i, n in enumerate(lengths)]
    batches = pack(windows, batch_tokens=bound)
    assert sorted(w.document for batch in batches for w in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(map(len, batch)) <= bound


def test_long_texts_are_read_wholly_and_as_hugging_face_reads_each_window(
    backbone, mixed, narrow, hugging_face, assert_close
):
    narrow(backbone, CONTEXT)
    activations = extract(backbone, mixed, [residual(1)])
    tokens = activations.documents[2]
    windows = cut_windows(2, len(tokens), CONTEXT)
    assert len(windows) > 3
    found = activations.read([residual(1)], [2])[0]
    assert len(found) == len(tokens)
    skip = len(backbone.prefix)
    for w in windows:
        hidden = hugging_face(backbone, tokens.ids[w.start : w.stop]).hidden[2]
        expected = hidden[skip + w.keep_from - w.start : skip + w.keep_to - w.start]
        assert_close(found[w.keep_from : w.keep_to], expected)


def test_the_beginning_of_a_long_text_is_that_of_a_short_one(
    backbone, mixed, long_text, narrow, assert_close
):
    narrow(backbone, CONTEXT)
    whole = extract(backbone, mixed, [residual(1)])
    end = int(whole.documents[2].ends[CONTEXT - 1])
    short = Corpus("short", None, (beginning(long_text, end),))
    alone = extract(backbone, short, [residual(1)]).read([residual(1)], [0])
    assert alone.shape[1] == CONTEXT
    kept = cut_windows(0, len(whole.documents[2]), CONTEXT)[0].keep_to
    assert_close(whole.read([residual(1)], [2])[:, :kept], alone[:, :kept])


@pytest.mark.parametrize("kind", ["pattern", "scores"])
def test_attention_of_every_span_comes_from_one_window(
    backbone, mixed, long_text, narrow, hugging_face, kind
):
    """Gold mentions at a seam are no worse off than others."""
    narrow(backbone, CONTEXT)
    site = attention(2, kind=kind)
    activations = extract(backbone, mixed, [site])
    tokens = activations.documents[2]
    alignment = align(tokens, long_text.gold_spans)
    assert alignment.n_gold == len(long_text.gold_spans)
    assert alignment.n_unreachable == 0
    band = activations.read([site], [2])[0]
    for w in cut_windows(2, len(tokens), CONTEXT):
        pattern = hugging_face(backbone, tokens.ids[w.start : w.stop]).patterns[2]
        skip = len(backbone.prefix) - w.start
        for j in range(w.keep_from, w.keep_to):
            row = pattern[:, skip + j, [skip + j - o for o in range(min(j + 1, 25))]].T
            found = band[j, : len(row)]
            tolerance = 1e-6
            if kind == "scores":
                row, found, tolerance = (row / row[0]).log(), found - found[0], 2e-2
            torch.testing.assert_close(found, row, rtol=2e-3, atol=tolerance)


def test_truncation_drops_what_does_not_fit(decoder, mixed, narrow, assert_close):
    narrow(decoder, CONTEXT)
    whole = extract(decoder, mixed, [residual(1)])
    cut = extract(decoder, mixed, [residual(1)], truncate=True)
    assert [len(d) for d in cut.documents] == [min(len(d), CONTEXT) for d in whole.documents]
    assert [d.truncated for d in cut.documents] == [False, False, True, False]
    kept = cut_windows(0, len(whole.documents[2]), CONTEXT)[0].keep_to
    found, expected = cut.read([residual(1)], [2]), whole.read([residual(1)], [2])
    assert_close(found[:, :kept], expected[:, :kept])
    assert_close(cut.read([residual(1)], [3]), whole.read([residual(1)], [3]))


def test_truncated_activations_still_belong_to_their_corpus(decoder, mixed, narrow):
    narrow(decoder, CONTEXT)
    extract(decoder, mixed, [residual(1)], truncate=True).require_texts_of(mixed)


def test_a_store_keeps_other_ways_to_read_a_long_text_apart(decoder, mixed, narrow, tmp_path):
    sites = [residual(1)]
    expected, found = [], []
    for context in (CONTEXT, CONTEXT + 20):
        narrow(decoder, context)
        for truncate in (False, True):
            expected.append(extract(decoder, mixed, sites, truncate=truncate))
            found.append(extract(decoder, mixed, sites, truncate=truncate, store=tmp_path))
    assert len(list(tmp_path.glob("*/fingerprint.json"))) == 4
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.read(sites, range(4)), other.read(sites, range(4)))


def test_texts_that_fit_are_the_same_however_long_ones_are_read(
    decoder, texts, narrow, tmp_path, passes
):
    extract(decoder, texts, [residual(1)], store=tmp_path)
    passes.clear()
    narrow(decoder, 300)
    extract(decoder, texts, [residual(1)], store=tmp_path, truncate=True)
    assert passes == []


def test_a_context_too_short_for_windows_is_refused_before_any_work(decoder, mixed, narrow, passes):
    narrow(decoder, 99)
    with pytest.raises(BackboneError, match=r"99 tokens .* at least 100 .* truncate=True"):
        extract(decoder, mixed, [residual(0)])
    assert passes == []


def test_attention_over_long_spans_needs_a_longer_context(decoder, mixed, narrow):
    narrow(decoder, CONTEXT)
    with pytest.raises(BackboneError, match="at least 160 are needed"):
        extract(decoder, mixed, [attention(0, max_span=40)])
    extract(decoder, mixed, [attention(0, max_span=40)], truncate=True)
