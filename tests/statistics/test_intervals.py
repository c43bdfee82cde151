import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from pipeline.statistics.intervals import binary_inversion, interquartile_mean, optimality_gap, probability_of_improvement, wilson

NUMBERS = st.lists(st.floats(-100, 100), min_size=1, max_size=12)


def test_wilson_of_60_in_100() -> None:
    low, high = wilson(60, 100)
    assert (round(float(low), 4), round(float(high), 4)) == (0.5020, 0.6906)


def test_wilson_of_nothing_is_everything() -> None:
    low, high = wilson([0, 0, 5], [0, 5, 5])
    assert low[:2].tolist() == [0.0, 0.0]
    assert [high[0], high[2]] == [1.0, 1.0]
    assert 0 < high[1] < 0.5 < low[2] < 1


@given(trials=st.integers(1, 500), share=st.floats(0, 1))
def test_wilson_is_that_of_scipy(trials: int, share: float) -> None:
    successes = round(share * trials)
    expected = binomtest(successes, trials).proportion_ci(method="wilson")
    low, high = wilson(successes, trials)
    assert (float(low), float(high)) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_interquartile_mean_ignores_the_outer_quarters() -> None:
    assert interquartile_mean(range(8)) == 3.5
    assert interquartile_mean([0, 1, 2, 3, 4, 5, 6, 100]) == 3.5
    assert np.mean([0, 1, 2, 3, 4, 5, 6, 100]) == 15.125
    assert interquartile_mean([[5, 1], [3, 9]]) == 4.0
    with pytest.raises(ValueError, match="no values"):
        interquartile_mean([])


def test_probability_of_improvement_counts_ties_half() -> None:
    assert probability_of_improvement([1, 2, 3], [2, 2, 2]) == 0.5
    assert probability_of_improvement([3, 4, 5], [1, 2, 3]) == pytest.approx(0.944444, abs=1e-6)
    with pytest.raises(ValueError, match="both sides"):
        probability_of_improvement([], [1])


@given(first=NUMBERS, second=NUMBERS)
def test_probability_of_improvement_is_that_of_all_duels(first: list[float], second: list[float]) -> None:
    duels = [(a > b) + (a == b) / 2 for a in first for b in second]
    assert probability_of_improvement(first, second) == pytest.approx(sum(duels) / len(duels))
    assert probability_of_improvement(second, first) == pytest.approx(1 - sum(duels) / len(duels))


def test_optimality_gap_counts_no_surplus() -> None:
    assert optimality_gap([0.5, 1.5], 1.0) == 0.25
    assert optimality_gap([2.0, 3.0], 1.0) == 0.0


def test_a_judges_rate_is_inverted() -> None:
    assert binary_inversion(0.60, 0.9, 0.2) == pytest.approx(0.571429, abs=1e-6)


@pytest.mark.parametrize(("found", "invented"), [(0.2, 0.2), (0.2, 0.9)])
def test_a_judge_no_better_than_chance_is_refused(found: float, invented: float) -> None:
    with pytest.raises(ValueError, match="tells nothing"):
        binary_inversion(0.6, found, invented)


def test_three_levels_do_not_say_who_leads_unless_the_judge_is_known() -> None:
    """The observed shares of levels 0, 1, 2 come from either order of A and B (Judging LLMs on a Simplex, 2025)."""
    observed = np.array([[0.20, 0.60, 0.20], [0.35, 0.28, 0.37]])
    judge = np.array([[1, 0, 0], [0.1, 0.9, 0], [0, 0, 1]])  # turns one true 1 in ten into 0
    true = observed @ np.linalg.inv(judge)
    assert true == pytest.approx(np.array([[0.1333, 0.6667, 0.2], [0.3189, 0.3111, 0.37]]), abs=1e-4)
    levels = np.arange(3)
    assert (observed @ levels).tolist() == pytest.approx([1.0, 1.02])
    assert (true @ levels).tolist() == pytest.approx([1.0667, 1.0511], abs=1e-4)
    # Two levels do: the inversion keeps the order of any two rates.
    assert math.copysign(1, binary_inversion(0.5, 0.7, 0.3) - binary_inversion(0.4, 0.7, 0.3)) == 1
