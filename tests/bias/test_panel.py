"""The style panel: tau and coefficients for each source."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.bias.outcomes import FACTORS, outcomes, sample
from pipeline.bias.panel import reduce_panel, summarise_panel
from pipeline.statistics.table import STATISTIC
from tests.bias.builders import pairs, votes


def rows_of(*found: tuple[int, int], factor: str = "chars_gap") -> pl.DataFrame:
    """(gap, vote) of each pair."""
    return outcomes(pairs(*({factor: gap} for gap, _ in found)), votes(*((f"p{i}", vote) for i, (_, vote) in enumerate(found))))


def panel(*parts: pl.DataFrame) -> pl.DataFrame:
    return reduce_panel([summarise_panel(part) for part in parts], sample(list(parts)))


def values(rows: pl.DataFrame) -> dict[str, tuple[float | None, float | None, float | None, int]]:
    return {name: rest for name, *rest in panel(rows).select("statistic", "value", "low", "high", "n").iter_rows()}  # type: ignore[misc]


TEN = [*[(7, 1)] * 4, *[(-7, -1)] * 3, (5, -1), (-5, 1), (0, 1)]


def test_tau_is_that_of_the_methods_reference() -> None:
    value, low, high, n = values(rows_of(*TEN))["tau_length"]

    assert (value, n) == (0.5, 10)
    a, b = 8 / 12, 3 / 12  # Bonett and Price: one more of each, among two more
    half = 1.959964 * ((a + b - (a - b) ** 2) / 12) ** 0.5
    assert (low, high) == pytest.approx((a - b - half, a - b + half), abs=1e-6)


def test_where_nothing_differs_tau_and_coefficient_are_null_and_say_so() -> None:
    told = panel(rows_of((0, 1), (0, -1)))

    assert told["value"].null_count() == told.height == 2 * len(FACTORS) + 1
    assert set(told["note"]) == {"no pair differs in this, so votes cannot follow it", "no decided pair has answers of unequal length"}


def test_pairs_that_the_votes_do_not_decide_do_not_count() -> None:
    assert values(rows_of(*TEN, (9, 0), (9, 0)))["tau_length"] == values(rows_of(*TEN))["tau_length"]


def test_longer_wins_is_a_share_of_the_pairs_of_unequal_length() -> None:
    value, low, high, n = values(rows_of(*TEN))["longer_wins"]

    assert (value, n) == (7 / 9, 9)
    assert (low, high) == pytest.approx((0.4526, 0.9368), abs=1e-3)


def test_votes_that_follow_one_factor_do_not_give_a_coefficient_to_one_that_goes_along_with_it() -> None:
    rng = np.random.default_rng(5)
    length = rng.normal(0, 100, 4000).round()
    marks = (length / 50 + rng.normal(0, 2, 4000)).round()
    wins = rng.random(4000) < 1 / (1 + np.exp(-2 * np.tanh(length / 100)))
    told = [{"chars_gap": int(a), "markdown_gap": int(b)} for a, b in zip(length, marks, strict=True)]
    found = values(outcomes(pairs(*told), votes(*((f"p{i}", 1 if won else -1) for i, won in enumerate(wins)))))

    assert found["coefficient_length"][1] < 2 < found["coefficient_length"][2]  # type: ignore[operator]
    assert found["coefficient_markdown"][1] < 0 < found["coefficient_markdown"][2]  # type: ignore[operator]
    assert found["tau_markdown"][1] > 0.1  # type: ignore[operator]


def test_each_source_has_its_own_rows_in_the_schema_of_statistics() -> None:
    told = panel(outcomes(pairs({"chars_gap": 3}), votes(("p0", 1, None, "one"), ("p0", -1, None, "two"))))

    assert told.schema == STATISTIC
    found = told.filter(pl.col("statistic") == "tau_length").select("subject", "value").rows()
    assert found == [("one", 1.0), ("two", -1.0)]


@given(st.lists(st.tuples(st.integers(-2, 2), st.sampled_from([-1, 0, 1])), max_size=12), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_partitions_and_the_order_of_rows_change_nothing(found: list[tuple[int, int]], parts: int) -> None:
    rows = rows_of((1, 1), *found)

    assert_frame_equal(panel(rows), panel(*(rows[i::parts].reverse() for i in range(parts))), check_exact=True)


@given(st.lists(st.tuples(st.integers(-9, 9), st.sampled_from([-1, 0, 1])), min_size=1, max_size=12), st.data())
@settings(max_examples=25, deadline=None)
def test_which_side_is_called_chosen_changes_nothing(found: list[tuple[int, int]], data: st.DataObject) -> None:
    turns = data.draw(st.lists(st.sampled_from([-1, 1]), min_size=len(found), max_size=len(found)))
    turned = [(gap * turn, vote * turn) for (gap, vote), turn in zip(found, turns, strict=True)]

    assert_frame_equal(panel(rows_of(*found)), panel(rows_of(*turned)), abs_tol=1e-9)


def test_no_rows_give_no_statistics() -> None:
    assert panel(rows_of((1, 1)).clear()).height == 0
