"""The span band, recomputed entry by entry."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mentionprobe.band import band_products, candidate_mask, cut_band


@given(
    n_tokens=st.integers(1, 90),
    max_span=st.integers(1, 30),
    rank=st.integers(1, 5),
    seed=st.integers(0, 9),
)
def test_band_products_are_dot_products_of_end_query_and_start_key(n_tokens, max_span, rank, seed):
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(n_tokens, rank, generator=generator, dtype=torch.float64)
    key = torch.randn(n_tokens, rank, generator=generator, dtype=torch.float64)
    band = band_products(query, key, max_span=max_span)
    assert band.shape == (n_tokens, max_span)
    for end in range(n_tokens):
        for offset in range(max_span):
            start = end - offset
            expected = query[end] @ key[start] if start >= 0 else torch.zeros(())
            assert band[end, offset].item() == pytest.approx(expected.item(), abs=1e-12)


def test_band_products_take_leading_axes():
    query, key = torch.randn(2, 3, 40, 4), torch.randn(2, 3, 40, 4)
    together = band_products(query, key, max_span=25)
    alone = band_products(query[1, 2], key[1, 2], max_span=25)
    torch.testing.assert_close(together[1, 2], alone)


@given(n_tokens=st.integers(1, 40), max_span=st.integers(1, 30))
def test_cut_band_reads_the_entries_below_the_diagonal(n_tokens, max_span):
    square = torch.randn(2, n_tokens, n_tokens)
    band = cut_band(square, max_span=max_span)
    for end in range(n_tokens):
        for offset in range(max_span):
            expected = square[:, end, end - offset] if offset <= end else torch.zeros(2)
            assert torch.equal(band[:, end, offset], expected)


def test_candidates_stay_inside_their_document_and_on_token_boundaries():
    position = torch.tensor([0, 1, 2, 0, 1])
    can_start = torch.tensor([True, False, True, True, True])
    can_end = torch.tensor([True, True, False, True, True])
    valid = candidate_mask(position, can_start, can_end, max_span=3)
    spans = {(end - offset, end) for end, offset in valid.nonzero().tolist()}
    assert spans == {(0, 0), (0, 1), (3, 3), (4, 4), (3, 4)}
