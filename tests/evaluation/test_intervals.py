import numpy as np
import pytest

from mentionprobe.evaluation import bootstrap_f1, intervals, sum_by_group


def draw_counts(n_systems=3, n_groups=20, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(rng.integers(0, 6, size=(n_systems, n_groups)) for _ in range(3))


def resampled_f1(tp, fp, fn, drawn):
    """F1 of one system on the groups drawn, one after the other."""
    n_tp = sum(tp[group] for group in drawn)
    n_wrong = sum(fp[group] + fn[group] for group in drawn)
    return 2 * n_tp / (2 * n_tp + n_wrong) if n_tp + n_wrong else 0.0


def test_interval_is_that_of_literal_resampling():
    tp, fp, fn = draw_counts()
    draws = np.random.default_rng(7).integers(20, size=(50, 20))
    low, high = bootstrap_f1(tp, fp, fn, n_resamples=50, confidence=0.8, seed=7)
    for i in range(3):
        f1 = [resampled_f1(tp[i], fp[i], fn[i], drawn) for drawn in draws]
        assert low[i] == pytest.approx(np.quantile(f1, 0.1))
        assert high[i] == pytest.approx(np.quantile(f1, 0.9))


@pytest.mark.parametrize("weights_at_once", [1, 64, 999])
def test_the_size_of_the_chunks_does_not_matter(monkeypatch, weights_at_once):
    expected = bootstrap_f1(*draw_counts(), n_resamples=100)
    monkeypatch.setattr(intervals, "WEIGHTS_AT_ONCE", weights_at_once)
    np.testing.assert_allclose(bootstrap_f1(*draw_counts(), n_resamples=100), expected)


def test_systems_share_their_resamples():
    counts = draw_counts()
    together = np.stack(bootstrap_f1(*counts, seed=3))
    last_alone = np.stack(bootstrap_f1(*(c[2:] for c in counts), seed=3))
    np.testing.assert_allclose(together[:, 2:], last_alone)


def test_another_seed_draws_other_resamples():
    counts = draw_counts()
    assert not np.array_equal(bootstrap_f1(*counts, seed=0), bootstrap_f1(*counts, seed=1))


def test_interval_holds_the_truth_about_as_often_as_it_says():
    """400 samples of 80 documents that differ in difficulty, true F1 known."""
    rng = np.random.default_rng(0)
    shape = (400, 80)
    n_gold, recall = rng.poisson(5, shape), rng.beta(6, 2, shape)
    tp, fp = rng.binomial(n_gold, recall), rng.poisson(2, shape)
    low, high = bootstrap_f1(tp, fp, n_gold - tp, confidence=0.9)
    true_f1 = 2 * 5 * 0.75 / (5 * 0.75 + 2 + 5)
    assert 0.85 < ((low <= true_f1) & (true_f1 <= high)).mean() < 0.95


def test_groups_that_are_all_alike_leave_no_spread():
    tp, fp, fn = (np.full((1, 9), count) for count in (3, 1, 2))
    low, high = bootstrap_f1(tp, fp, fn)
    assert low[0] == high[0] == pytest.approx(6 / 9)


def test_nothing_to_find_and_nothing_found():
    nothing = np.zeros((2, 5), dtype=np.int64)
    low, high = bootstrap_f1(nothing, nothing, nothing)
    assert (low == 0).all()
    assert (high == 0).all()


@pytest.mark.parametrize("n_groups", [0, 1])
def test_one_group_shows_no_spread(n_groups):
    low, high = bootstrap_f1(*draw_counts(n_groups=n_groups))
    assert np.isnan(low).all()
    assert np.isnan(high).all()


def test_documents_are_summed_within_their_group():
    counts = np.array([[1, 2, 4, 8, 16], [1, 1, 1, 1, 1]])
    by_group = sum_by_group(counts, ["b", "a", "b", "c", "a"])
    assert by_group.tolist() == [[18, 5, 8], [2, 2, 1]]
