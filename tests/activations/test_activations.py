"""Reading by document: in any order, any dtype, across shards, and only of what is there."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mentionprobe import Activations, Corpus, extract, query_key, residual
from mentionprobe.errors import FingerprintError, SiteError

SITES = [residual(0), residual(2)]


@pytest.fixture(params=["in memory", "on disk"])
def activations(request, decoder, texts, small_shards, tmp_path) -> Activations:
    """Five shards of `texts`."""
    store = None if request.param == "in memory" else tmp_path
    return extract(decoder, texts, SITES, store=store)


def test_shards_share_the_documents_out(activations):
    shards = range(len(activations.first_documents))
    assert len(shards) == 5
    assert [d for shard in shards for d in activations.documents_of(shard)] == list(range(14))


def test_documents_lie_end_to_end_in_whatever_order_they_are_asked_for(activations):
    alone = {d: activations.read(SITES, [d]) for d in range(len(activations))}

    @settings(deadline=None)
    @given(st.lists(st.integers(0, len(activations) - 1), max_size=20))
    def check(documents):
        expected = [activations.read(SITES, []), *(alone[d] for d in documents)]
        assert torch.equal(activations.read(SITES, documents), torch.cat(expected, dim=1))

    check()


def test_a_document_has_a_row_for_each_token(activations):
    assert activations.n_tokens == sum(len(d) for d in activations.documents)
    for i, document in enumerate(activations.documents):
        assert activations.read(SITES, [i]).shape == (2, len(document), 16)


def test_sites_stand_in_the_order_asked_for(activations):
    both = activations.read(SITES, [1, 3])
    assert torch.equal(activations.read(SITES[::-1], [1, 3]), both.flip(0))
    assert torch.equal(activations.read([SITES[1]], [1, 3]), both[1:])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_values_come_in_the_dtype_asked_for(activations, dtype):
    stored = activations.read(SITES, [0], dtype=torch.float16)
    found = activations.read(SITES, [0], dtype=dtype)
    assert found.dtype == dtype
    assert torch.equal(found, stored.to(dtype))


def test_what_was_read_is_the_readers_own(activations):
    found = activations.read(SITES, [2])
    before = found.clone()
    found.zero_()
    assert torch.equal(activations.read(SITES, [2]), before)


def test_giving_memory_back_in_between_changes_no_value(activations, monkeypatch):
    before = activations.read(SITES, range(14))
    monkeypatch.setattr("mentionprobe.activations.activations._RELEASE_AFTER", 0)
    for documents in ([3], [13, 0], range(14)):
        expected = [before[:, slice(*edges(activations, d))] for d in documents]
        assert torch.equal(activations.read(SITES, documents), torch.cat(expected, dim=1))


def edges(activations: Activations, document: int) -> tuple[int, int]:
    """First row of a document, and of the one behind it."""
    start = sum(len(d) for d in activations.documents[:document])
    return start, start + len(activations.documents[document])


def test_memory_and_disk_hold_identical_tensors(decoder, texts, tmp_path):
    everything = range(len(texts))
    in_memory = extract(decoder, texts, SITES).read(SITES, everything)
    on_disk = extract(decoder, texts, SITES, store=tmp_path).read(SITES, everything)
    assert torch.equal(in_memory, on_disk)


def test_shards_are_only_a_matter_of_storage(decoder, texts, tmp_path, shard_tokens, assert_close):
    """A version with shards of another size finds the store of an older one and is not misled."""
    found = []
    for n_tokens, n_shards in [(50, 5), (10_000, 1)]:
        shard_tokens(n_tokens)
        activations = extract(decoder, texts, SITES, store=tmp_path)
        assert len(activations.first_documents) == n_shards
        found.append(activations.read(SITES, range(14)))
    assert_close(*found)


def test_a_site_that_was_not_extracted_is_refused(activations):
    message = r"residual\.1 was not extracted; these activations hold residual\.0, residual\.2"
    with pytest.raises(SiteError, match=message):
        activations.read([residual(1)], [0])


def test_sites_of_different_shapes_cannot_be_read_together(decoder, texts):
    activations = extract(decoder, texts, [residual(0), query_key(0)])
    with pytest.raises(SiteError, match="sites of one shape"):
        activations.read([residual(0), query_key(0)], [0])


def test_activations_know_the_texts_they_belong_to(activations, texts):
    activations.require_texts_of(texts)
    unmarked = tuple(replace(document, mentions=()) for document in texts)
    activations.require_texts_of(Corpus("unmarked", None, unmarked))
    other = Corpus("other", "dev", texts.documents[1:])
    with pytest.raises(FingerprintError, match=r"those of sentences \(14 doc.* other/dev \(13 doc"):
        activations.require_texts_of(other)
