import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from mentionprobe.errors import MentionprobeError
from mentionprobe.evaluation import ScoreHistogram, threshold_decode

N_SYSTEMS, WINDOW, DOCUMENT = 3, 4, 20
N_UNREACHABLE = 5


def draw_band(seed, scale=3.0):
    """Logits, gold and candidates of ten documents; gold scores higher on the whole."""
    generator = torch.Generator().manual_seed(seed)
    inside = torch.arange(WINDOW) <= torch.arange(DOCUMENT).repeat(10)[:, None]
    valid = inside & (torch.rand(inside.shape, generator=generator) < 0.7)
    gold = valid & (torch.rand(inside.shape, generator=generator) < 0.1)
    noise = torch.randn(N_SYSTEMS, *inside.shape, generator=generator)
    return scale * (noise + gold), gold, valid


def histogram_of(*bands):
    histogram = ScoreHistogram(len(bands[0][0]))
    for band in bands:
        histogram.add(*band)
    return histogram


def one_system(scores, labels):
    """A band whose candidates are all one-token spans with these scores and gold labels."""
    logits = torch.tensor(scores, dtype=torch.float32).view(1, -1, 1)
    gold = torch.tensor(labels, dtype=torch.bool).view(-1, 1)
    return logits, gold, torch.ones_like(gold)


def f1_at(logits, gold, valid, threshold, n_gold):
    predicted = threshold_decode(logits, valid, threshold)
    tp = (predicted & gold).sum((1, 2))
    return (2 * tp / (predicted.sum((1, 2)) + n_gold)).double().numpy()


@pytest.mark.parametrize("scale", [0.001, 3.0, 1000.0])
@pytest.mark.parametrize("n_unreachable", [0, N_UNREACHABLE])
def test_average_precision_is_that_of_scikit_learn(scale, n_unreachable):
    logits, gold, valid = draw_band(0, scale=scale)
    n_reachable = int(gold.sum())
    n_gold = n_reachable + n_unreachable
    rounded = logits.half().float()
    expected = [average_precision_score(gold[valid], system[valid]) for system in rounded]
    measured = histogram_of((logits, gold, valid)).average_precision(n_gold)
    np.testing.assert_allclose(measured, np.array(expected) * n_reachable / n_gold)


@pytest.mark.parametrize("seed", range(5))
def test_best_threshold_is_the_best_of_all_thresholds(seed):
    logits, gold, valid = draw_band(seed)
    # Quarters are float16 values and full of ties.
    logits = (4 * logits).round() / 4
    n_gold = int(gold.sum()) + N_UNREACHABLE
    candidates = logits.unique().flip(0)
    every_f1 = np.stack([f1_at(logits, gold, valid, t.item(), n_gold) for t in candidates])
    threshold, f1 = histogram_of((logits, gold, valid)).best_threshold(n_gold)
    np.testing.assert_allclose(f1, every_f1.max(axis=0), rtol=1e-6)
    chosen = candidates[every_f1.argmax(axis=0)].numpy()
    assert (threshold <= chosen).all()
    assert (threshold > chosen - 0.25).all()


LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
LABELLED_SCORES = st.tuples(st.floats(max_value=LARGEST_FLOAT32, width=32), st.booleans())


@settings(deadline=None)
@given(st.lists(LABELLED_SCORES, min_size=1))
def test_unrounded_scores_give_the_counts_of_the_best_threshold(scored):
    logits, gold, valid = one_system(*zip(*scored, strict=True))
    n_gold = int(gold.sum()) + 1
    histogram = histogram_of((logits, gold, valid))
    threshold, f1 = histogram.best_threshold(n_gold)
    tp, fp = histogram.counts_at(threshold)
    accepted = logits[0] >= torch.from_numpy(threshold)
    assert (tp[0], fp[0]) == (int(accepted[gold].sum()), int(accepted[~gold].sum()))
    assert f1[0] == 2 * tp[0] / (tp[0] + fp[0] + n_gold)


def test_every_threshold_is_the_least_float32_that_rounds_to_its_score():
    """All 63,487 finite float16 values at once, rounding to even included."""
    values = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    values = np.unique(values[np.isfinite(values)]).astype(np.float32)
    histogram = histogram_of(one_system(values, np.zeros(len(values))))
    thresholds = torch.from_numpy(histogram.curve(0, n_gold=0)[2]).flip(0)
    assert len(thresholds) == len(values)
    assert thresholds[0] == -torch.inf
    assert thresholds[1:].half().float().equal(torch.from_numpy(values[1:]))
    below = thresholds[1:].nextafter(torch.tensor(-torch.inf))
    assert below.half().float().equal(torch.from_numpy(values[:-1]))


@pytest.mark.parametrize("threshold", [-torch.inf, -3.0, 0.0, 1.5, torch.inf])
def test_counts_at_a_threshold(threshold):
    logits, gold, valid = draw_band(0)
    logits = logits.half().float()
    predicted = threshold_decode(logits, valid, threshold)
    tp, fp = histogram_of((logits, gold, valid)).counts_at(threshold)
    np.testing.assert_array_equal(tp, (predicted & gold).sum((1, 2)))
    np.testing.assert_array_equal(fp, (predicted & ~gold).sum((1, 2)))


def test_counts_at_one_threshold_a_system():
    band = draw_band(0)
    histogram = histogram_of(band)
    together = np.stack(histogram.counts_at(np.array([-1.0, 0.0, 2.0])))
    alone = [np.stack(histogram.counts_at(t))[:, i] for i, t in enumerate([-1.0, 0.0, 2.0])]
    np.testing.assert_array_equal(together, np.stack(alone, axis=1))


def test_curve_has_a_point_for_each_distinct_score():
    scores, labels = [2.0, 1.0, 1.0, -4.0], [True, False, True, True]
    precision, recall, thresholds = histogram_of(one_system(scores, labels)).curve(0, n_gold=4)
    np.testing.assert_allclose(precision, [1, 2 / 3, 3 / 4])
    np.testing.assert_allclose(recall, [1 / 4, 2 / 4, 3 / 4])
    np.testing.assert_allclose(thresholds, [2, 1, -4], rtol=1e-3)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(4)), st.integers(1, 9))
def test_how_the_text_is_cut_and_ordered_does_not_matter(order, n_first):
    bands = [draw_band(seed) for seed in range(4)]
    cut = n_first * DOCUMENT
    pieces = [bands[i] for i in order[1:]]
    logits, gold, valid = bands[order[0]]
    pieces += [
        (logits[:, cut:], gold[cut:], valid[cut:]),
        (logits[:, :cut], gold[:cut], valid[:cut]),
    ]
    whole, cut_up = histogram_of(*bands), histogram_of(*pieces)
    assert whole.n_candidates.equal(cut_up.n_candidates)
    assert whole.n_hits.equal(cut_up.n_hits)


def test_equal_scores_are_one_step():
    labels = [True, True, False, False, False, True]
    histogram = histogram_of(one_system([0.7] * 6, labels))
    threshold, f1 = histogram.best_threshold(n_gold=3)
    assert 0.699 < threshold[0] < 0.7
    assert f1[0] == pytest.approx(2 * 3 / (6 + 3))
    assert histogram.average_precision(n_gold=3)[0] == pytest.approx(0.5)


def test_equal_f1_takes_the_higher_threshold():
    """F1 is 2·1/(1+2) at the highest score and 2·2/(4+2) at the lowest."""
    histogram = histogram_of(one_system([3.0, 2.0, 1.0, 0.0], [True, False, False, True]))
    threshold, f1 = histogram.best_threshold(n_gold=2)
    assert threshold[0] == pytest.approx(3, rel=1e-3)
    assert f1[0] == pytest.approx(2 / 3)


def test_both_zeros_are_one_score():
    tp, fp = histogram_of(one_system([0.0, -0.0], [False, True])).counts_at(0.0)
    assert (tp[0], fp[0]) == (1, 1)


def test_scores_beyond_float16_count_as_its_ends():
    scores = [torch.inf, 1e30, 65504.0, 0.0, -65504.0, -1e30, -torch.inf]
    histogram = histogram_of(one_system(scores, [False] * 3 + [True] + [False] * 3))
    threshold, f1 = histogram.best_threshold(n_gold=1)
    assert f1[0] == pytest.approx(2 * 1 / (4 + 1))
    assert -1e-6 < threshold[0] <= 0
    assert len(histogram.curve(0, n_gold=1)[0]) == 3


@pytest.mark.parametrize("n_gold", [0, 7])
def test_without_reachable_gold_nothing_is_worth_accepting(n_gold):
    logits, gold, valid = draw_band(0)
    histogram = histogram_of((logits, torch.zeros_like(gold), valid))
    threshold, f1 = histogram.best_threshold(n_gold)
    assert (threshold == np.inf).all()
    assert (f1 == 0).all()
    assert (histogram.average_precision(n_gold) == 0).all()


def test_an_empty_histogram():
    histogram = ScoreHistogram(2)
    assert (histogram.best_threshold(3)[0] == np.inf).all()
    assert (histogram.average_precision(3) == 0).all()
    assert [len(values) for values in histogram.curve(0, 3)] == [0, 0, 0]


def test_fewer_gold_mentions_than_were_seen_are_refused():
    logits, gold, valid = draw_band(0)
    histogram = histogram_of((logits, gold, valid))
    n_gold = int(gold.sum())
    for question in (histogram.average_precision, histogram.best_threshold):
        with pytest.raises(MentionprobeError, match=f"n_gold is {n_gold - 1}, but {n_gold} gold"):
            question(n_gold - 1)


def test_bands_that_cannot_be_counted_are_refused():
    logits, gold, valid = draw_band(0)
    with pytest.raises(MentionprobeError, match="gold entries are not candidate spans"):
        ScoreHistogram(N_SYSTEMS).add(logits, torch.ones_like(gold), valid)
    logits[:2] = torch.nan
    with pytest.raises(MentionprobeError, match=r"system\(s\) 0, 1 are NaN"):
        ScoreHistogram(N_SYSTEMS).add(logits, gold, valid)
