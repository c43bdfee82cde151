import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from pipeline.consensus.slopes import GAP_VARIANCE, STEEPEST, shift_of, slopes_of, steepness_of

GAPS = np.random.default_rng(1).normal(0, math.sqrt(GAP_VARIANCE), 400_000)


@pytest.mark.parametrize("accuracy", [0.5, 0.6, 0.75, 0.9, 0.94])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.7])
def test_slopes_and_shifts_give_back_the_accuracy_and_the_share_they_were_made_of(accuracy: float, share: float) -> None:
    steepness = steepness_of(np.array([accuracy]))
    assert expit(steepness * np.abs(GAPS)).mean() == pytest.approx(accuracy, abs=0.002)
    shift = shift_of(np.array([share]), steepness)
    assert expit(steepness * GAPS + shift).mean() == pytest.approx(share, abs=0.01)


def test_who_guesses_or_does_worse_is_flat_and_who_never_errs_is_as_steep_as_it_gets() -> None:
    assert steepness_of(np.array([0.0, 0.3, 0.5, 1.0])).tolist() == [0, 0, 0, STEEPEST]
    assert expit(STEEPEST * np.abs(GAPS)).mean() == pytest.approx(0.95, abs=0.005)


@given(st.lists(st.floats(0.51, 0.94), min_size=1, max_size=9))
def test_the_median_annotator_has_slope_one_and_the_more_accurate_a_steeper_one(accuracies: list[float]) -> None:
    slopes = slopes_of(np.array(accuracies))
    assert np.median(slopes) == pytest.approx(1)
    assert (np.diff(slopes[np.argsort(accuracies)]) >= 0).all()


def test_where_the_median_annotator_guesses_the_others_still_count() -> None:
    assert slopes_of(np.array([0.5, 0.5, 0.8])).tolist() == pytest.approx([0, 0, float(steepness_of(np.array([0.8]))[0])])
    assert slopes_of(np.array([])).tolist() == []


def test_a_share_of_one_or_none_is_a_bounded_shift() -> None:
    one, none = shift_of(np.array([1.0, 0.0]), np.array([0.0, 0.0]))
    assert one == pytest.approx(-none) == pytest.approx(math.log(99))
