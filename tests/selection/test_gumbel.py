"""Draws without replacement."""

import numpy as np
import polars as pl
import pytest

from pipeline.selection.gumbel import (
    advantages,
    best_first,
    chances,
    keys,
    shares_of,
    standardise,
    take_of_each,
    take_tokens,
    take_with_least,
)
from tests.selection.rows import ids


@pytest.mark.parametrize(
    ("temperature", "expected"), [(0.5, (0.8668, 0.1173, 0.0159)), (1, (0.6652, 0.2447, 0.0900)), (2, (0.5065, 0.3072, 0.1863))]
)
def test_chances_of_the_reference(temperature: float, expected: tuple[float, ...]) -> None:
    assert chances(np.array([1.0, 0.0, -1.0]), temperature) == pytest.approx(expected, abs=5e-5)


def test_a_temperature_of_0_takes_the_highest() -> None:
    scores = np.array([1.0, 0.0, -1.0, 1.0])
    assert chances(scores, 0).tolist() == [0.5, 0, 0, 0.5]
    best = best_first(ids(4), 0, keys(ids(4), 0, scores=scores, temperature=0))
    assert set(best[:2]) == {0, 3}
    assert best[3] == 2


def test_keys_draw_in_proportion_to_the_chances() -> None:
    # 1500 seeds, three rows whose standardised scores are 1.2247 apart: which is drawn first?
    scores, names = np.array([1.0, 0.0, -1.0]), ids(3)
    first = [int(np.argmax(keys(names, seed, scores=scores, temperature=2.0))) for seed in range(1500)]
    assert np.bincount(first, minlength=3) / 1500 == pytest.approx(chances(standardise(scores), 2.0), abs=0.04)


def test_advantages_of_the_reference() -> None:
    above = advantages(np.array([0.9, 0.6, 0.4]), np.full(3, 0.5))
    assert above == pytest.approx([0.4, 0.1, 0.0])
    assert shares_of(above) == pytest.approx([0.8, 0.2, 0.0])
    assert shares_of(advantages(np.array([0.1, np.nan]), np.array([0.1, 0.0]))).tolist() == [0.0, 0.0]
    first = [int(np.nanargmax(keys(ids(3), seed, above=above))) for seed in range(1000)]
    assert np.bincount(first, minlength=3) / 1000 == pytest.approx([0.8, 0.2, 0.0], abs=0.04)


def test_a_mean_of_equal_scores_is_no_advantage() -> None:
    scores = np.full(3, 0.7)
    assert scores.sum() / 3 != 0.7  # 0.6999999999999998
    assert advantages(scores, np.full(3, scores.sum() / 3)).tolist() == [0.0] * 3


def test_standard_scores_have_mean_0_and_deviation_1_and_unknown_ones_stay_so() -> None:
    found = standardise(np.array([1.0, np.nan, 3.0]))
    assert found.tolist() == pytest.approx([-1.0, np.nan, 1.0], nan_ok=True)
    assert standardise(np.full(2, 5.0)).tolist() == [0.0, 0.0]
    assert np.isnan(standardise(np.full(2, np.nan))).all()


def test_a_spread_of_1_makes_large_clusters_no_likelier() -> None:
    # One pair alone in its cluster, and nine in another: each cluster is drawn first half of the time.
    crowd, names = np.array([1.0] + [9.0] * 9), ids(10)
    alone = [int(np.argmax(keys(names, seed, crowd=crowd, spread=1.0))) == 0 for seed in range(1000)]
    assert np.mean(alone) == pytest.approx(0.5, abs=0.06)


def test_a_seed_draws_the_same_rows_in_any_order_of_rows_and_others_draw_others() -> None:
    scores, names = np.arange(50.0), ids(50)
    one = names[best_first(names, 3, keys(names, 3, scores=scores))].to_list()
    back = names.reverse()
    assert back[best_first(back, 3, keys(back, 3, scores=scores[::-1]))].to_list() == one
    assert names[best_first(names, 4, keys(names, 4, scores=scores))].to_list() != one


def test_rows_without_a_score_come_after_all_others() -> None:
    key = keys(ids(3), 0, scores=np.array([np.nan, -9.0, 9.0]))
    assert np.isnan(key[0])
    assert best_first(ids(3), 0, key)[2] == 0


def test_a_quota_of_a_fifth_of_ten_is_the_best_two_of_the_group() -> None:
    best = pl.DataFrame({"group": ["a"] * 20 + ["b"] * 5})  # b is scored last
    stays = take_with_least(best, {"b": 2}, 10)
    assert stays.to_list() == [True] * 8 + [False] * 12 + [True] * 2 + [False] * 3


def test_the_first_of_each_group_stay() -> None:
    best = pl.DataFrame({"group": ["a", "b", "a", "c", "b"]})
    quota = pl.DataFrame({"group": ["a", "b"], "quota": [1, 2]})
    assert take_of_each(best, quota).to_list() == [True, True, False, False, True]


def test_a_budget_of_tokens_ends_at_the_first_row_that_it_has_no_room_for() -> None:
    best = pl.DataFrame({"group": ["a"] * 4, "tokens": [5, 6, 4, 1]})
    assert take_tokens(best, pl.DataFrame({"group": ["a"], "quota": [11]})).to_list() == [True, True, False, False]
    assert take_tokens(best, pl.DataFrame({"group": ["a"], "quota": [10]})).to_list() == [True, False, False, False]
