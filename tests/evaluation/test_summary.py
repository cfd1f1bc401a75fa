import math

import numpy as np
import pytest

from mentionprobe.evaluation import bootstrap_f1, score_systems


def test_score_sums_the_groups_and_carries_the_interval():
    tp, fp, fn = np.array([[3, 1], [0, 0]]), np.array([[1, 1], [0, 2]]), np.array([[0, 2], [3, 3]])
    first, second = score_systems(tp, fp, fn, confidence=0.8, seed=1)
    assert (first.tp, first.fp, first.fn) == (4, 2, 2)
    assert first.precision == pytest.approx(4 / 6)
    assert first.recall == pytest.approx(4 / 6)
    assert first.f1 == pytest.approx(2 / 3)
    assert (second.precision, second.recall, second.f1) == (0, 0, 0)
    low, high = bootstrap_f1(tp, fp, fn, confidence=0.8, seed=1)
    assert (first.f1_low, first.f1_high) == (low[0], high[0])
    assert first.f1_low < first.f1 < first.f1_high


def test_score_of_a_single_group_has_no_interval():
    one = np.array([[2]])
    (score,) = score_systems(one, one, one)
    assert score.f1 == pytest.approx(0.5)
    assert math.isnan(score.f1_low)
    assert math.isnan(score.f1_high)
