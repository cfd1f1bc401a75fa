import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mentionprobe.errors import MentionprobeError
from mentionprobe.evaluation import greedy_decode, threshold_decode

WINDOW = 4


def full_band(document_lengths, window=WINDOW):
    """Every span of up to `window` tokens inside one document."""
    pos = torch.cat([torch.arange(n) for n in document_lengths]) if document_lengths else []
    return torch.arange(window) <= torch.as_tensor(pos, dtype=torch.int64)[:, None]


def spans_of(mask):
    """(first, last) token of each entry that is set, in order of the last."""
    return [(j - o, j) for j, o in mask.nonzero().tolist()]


def sequential_greedy(logits, valid, threshold):
    """One system, the slow way: sort, then keep what is disjoint from all kept."""
    above = [(j, o) for j, o in valid.nonzero().tolist() if logits[j, o] >= threshold]
    above.sort(key=lambda c: (-logits[c].item(), -c[1], c[0] - c[1]))
    chosen, taken = torch.zeros_like(valid), set()
    for j, o in above:
        tokens = set(range(j - o, j + 1))
        if not tokens & taken:
            taken |= tokens
            chosen[j, o] = True
    return chosen


@st.composite
def scored_bands(draw, n_systems=2):
    """Document lengths, candidates and logits; few distinct logits, so that ties are common."""
    lengths = draw(st.lists(st.integers(1, 9), max_size=4))
    shape = (sum(lengths), WINDOW)
    candidates = draw(hnp.arrays(bool, shape))
    levels = st.sampled_from([-2.0, -0.0, 0.0, 0.5, 1.0, 3.0])
    logits = draw(hnp.arrays("float32", (n_systems, *shape), elements=levels))
    valid = full_band(lengths) & torch.from_numpy(candidates)
    return lengths, valid, torch.from_numpy(logits)


@settings(deadline=None)
@given(scored_bands(), st.tuples(st.floats(-3, 3, width=32), st.floats(-3, 3, width=32)))
def test_greedy_equals_the_sequential_walk(band, thresholds):
    _, valid, logits = band
    decoded = greedy_decode(logits, valid, torch.tensor(thresholds))
    for system, threshold in enumerate(thresholds):
        assert decoded[system].equal(sequential_greedy(logits[system], valid, threshold))


@settings(deadline=None)
@given(scored_bands())
def test_greedy_spans_are_disjoint_and_nothing_can_be_added(band):
    _, valid, logits = band
    above = threshold_decode(logits, valid, 0.0)
    for kept, candidates in zip(greedy_decode(logits, valid, 0.0), above, strict=True):
        tokens = [t for first, last in spans_of(kept) for t in range(first, last + 1)]
        assert len(tokens) == len(set(tokens))
        for first, last in spans_of(candidates):
            assert set(tokens) & set(range(first, last + 1))


@settings(deadline=None)
@given(scored_bands())
def test_documents_can_be_decoded_apart_or_together(band):
    lengths, valid, logits = band
    pieces = [
        greedy_decode(part, candidates, 0.0)
        for part, candidates in zip(
            logits.split(lengths, dim=1), valid.split(lengths, dim=0), strict=True
        )
    ]
    together = greedy_decode(logits, valid, 0.0)
    assert together.equal(torch.cat([together[:, :0], *pieces], dim=1))


@settings(deadline=None)
@given(scored_bands(n_systems=3))
def test_systems_do_not_disturb_each_other(band):
    _, valid, logits = band
    alone = [greedy_decode(system, valid, 0.0) for system in logits]
    assert greedy_decode(logits, valid, 0.0).equal(torch.stack(alone))


def test_greedy_equals_the_sequential_walk_on_the_full_window():
    valid = full_band([60, 1, 45, 80], window=25)
    logits = torch.randn(2, *valid.shape, generator=torch.Generator().manual_seed(0))
    expected = torch.stack([sequential_greedy(system, valid, -1.0) for system in logits])
    assert greedy_decode(logits, valid, -1.0).equal(expected)


def test_a_chain_of_overlaps_is_walked_to_its_end():
    """Each two-token span overlaps the next, worse one: nothing but the first is locally best."""
    valid = full_band([200], window=2)
    valid[:, 0] = False
    logits = -torch.arange(200.0)[:, None].expand(200, 2).contiguous()
    kept = spans_of(greedy_decode(logits, valid, -1e6))
    assert kept == [(first, first + 1) for first in range(0, 200, 2)]


def test_equal_scores_prefer_the_longer_then_the_earlier_span():
    valid = full_band([5], window=3)
    kept = spans_of(greedy_decode(torch.zeros(5, 3), valid, 0.0))
    assert kept == [(0, 2), (3, 4)]


def test_the_threshold_itself_is_accepted():
    valid = full_band([1], window=1)
    logits = torch.tensor([[[0.3]], [[0.3]]])
    thresholds = torch.tensor([0.3, 0.3]).nextafter(torch.tensor([0.0, 1.0]))
    assert threshold_decode(logits, valid, 0.3).flatten().tolist() == [True, True]
    assert threshold_decode(logits, valid, thresholds).flatten().tolist() == [True, False]


def test_threshold_decoding_keeps_overlapping_candidates_and_nothing_else():
    valid = full_band([3], window=2)
    assert threshold_decode(torch.ones(3, 2), valid, 0.0).equal(valid)


@pytest.mark.parametrize("decode", [greedy_decode, threshold_decode])
def test_nothing_above_the_threshold(decode):
    valid = full_band([5, 3])
    logits = torch.full((2, *valid.shape), -torch.inf)
    assert not decode(logits, valid, -1e30).any()
    assert not decode(logits + 1, torch.zeros_like(valid), -torch.inf).any()
    assert decode(logits[:, :0], valid[:0], 0.0).shape == (2, 0, WINDOW)


@pytest.mark.parametrize("decode", [greedy_decode, threshold_decode])
def test_nan_is_refused_on_candidates_only(decode):
    valid = full_band([5, 3])
    logits = torch.zeros(3, *valid.shape)
    logits[:, ~valid] = torch.nan
    decode(logits, valid, 0.0)
    logits[1, 2, 0] = torch.nan
    with pytest.raises(MentionprobeError, match=r"system\(s\) 1 are NaN"):
        decode(logits, valid, 0.0)


def test_spans_that_start_before_the_first_token_are_refused():
    valid = full_band([3])
    valid[1, 2] = True
    with pytest.raises(MentionprobeError, match="start before the first token"):
        greedy_decode(torch.zeros(valid.shape), valid, 0.0)
