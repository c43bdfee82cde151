"""Weights by repetition."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.selection.repeat import repetitions
from tests.selection.rows import ids


def times(weights: list[float | None], seed: int = 0) -> list[int]:
    return repetitions(pl.Series(weights, dtype=pl.Float32), ids(len(weights)), seed).to_list()


def test_a_weight_of_3_is_written_exactly_3_times() -> None:
    assert times([3.0, 1.0, 0.0, None, 2.0]) == [3, 1, 0, 0, 2]
    assert times([]) == []


@settings(max_examples=50)
@given(st.lists(st.floats(0, 20, width=32), max_size=40), st.integers(0, 5))
def test_copies_add_up_and_are_a_weight_rounded_down_or_up(weights: list[float], seed: int) -> None:
    found = times(list(weights), seed)
    assert abs(sum(found) - sum(weights)) <= 0.5 + 1e-6
    assert all(abs(count - weight) < 1 for count, weight in zip(found, weights, strict=True))


def test_a_light_row_beside_heavier_ones_is_still_written_as_often_as_it_weighs() -> None:
    """Largest remainders would never write a row of 0.4 here."""
    found = times([0.4] * 500 + [0.6] * 500)
    assert sum(found) == 500
    assert sum(found[:500]) == pytest.approx(200, abs=30)


def test_the_order_of_rows_changes_nothing_and_the_seed_does() -> None:
    weights, names = pl.Series([0.5] * 40), ids(40)
    one = repetitions(weights, names).to_list()
    assert repetitions(weights, names.reverse()).to_list() == one[::-1]
    assert repetitions(weights, names, seed=1).to_list() != one


@pytest.mark.parametrize("weight", [-0.5, float("inf")])
def test_what_is_no_weight_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="0 and up"):
        times([1.0, weight])
