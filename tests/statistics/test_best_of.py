"""A scorer and the one right answer among several: the checks of the methods reference."""

import math
from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.statistics.best_of import best_of, best_of_statistics

Scores = Sequence[float | None]


def scored(*prompts: tuple[Scores, int]) -> pl.DataFrame:
    """For each prompt its answers' scores and which of them is right."""
    rows = [(f"p{i:03d}", score, place == right) for i, (scores, right) in enumerate(prompts) for place, score in enumerate(scores)]
    return pl.DataFrame(rows, schema={"item": pl.String, "score": pl.Float64, "right": pl.Boolean}, orient="row")


@pytest.mark.parametrize(("scores", "credit"), [((3, 3, 1, 0), 0.5), ((1, 3, 2, 0), 0.0), ((4, 3, 1, 0), 1.0), ((2, 2, 2, 2), 0.25)])
def test_credit_is_shared_among_those_on_top(scores: Scores, credit: float) -> None:
    assert best_of(scored((scores, 0)))["credit"].to_list() == [credit]


def test_ties_count_against_the_right_one_by_the_stricter_measure() -> None:
    found = best_of(scored(((3, 3, 1, 0), 0), ((3, 2, 1, 0), 0), ((0, 0, 1), 1)))
    assert found.select("on_top", "reciprocal_rank").rows() == [(False, 0.5), (True, 1.0), (False, 1 / 3)]


def test_a_scorer_that_guesses_among_ten_has_a_tenth_and_a_mean_reciprocal_rank_of_0_29() -> None:
    told = best_of_statistics(best_of(scored(*((range(10), right) for right in range(10)))), "rm").rows_by_key(
        "statistic", named=True, unique=True
    )

    assert told["best_of_accuracy"]["value"] == pytest.approx(0.10)
    assert told["best_of_credit"]["value"] == pytest.approx(0.10)
    assert told["best_of_reciprocal_rank"]["value"] == pytest.approx(0.292897, abs=1e-6)
    assert all(one["low"] < one["value"] < one["high"] and one["n"] == 10 for one in told.values())
    assert told["best_of_accuracy"]["low"] == pytest.approx(0.0179, abs=1e-4)  # Wilson, 1 of 10


def test_prompts_without_all_scores_or_without_one_right_answer_are_left_out() -> None:
    two_right = pl.DataFrame({"item": ["x"] * 2, "score": [1.0, 2.0], "right": [True, True]})
    rows = pl.concat([scored(((1, None), 0), ((1, math.nan), 0), ((1, math.inf), 0), ((1,), 0), ((1, 2), 5), ((2, 1), 0)), two_right])

    assert best_of(rows)["item"].to_list() == ["p005"]
    nothing = best_of_statistics(best_of(rows.clear()), "rm")
    assert nothing.select("value", "n").rows() == [(None, 0)] * 3


def test_one_prompt_says_next_to_nothing() -> None:
    told = best_of_statistics(best_of(scored(((2, 1), 0))), "rm").filter(pl.col("statistic") == "best_of_credit")
    assert told.select("value", "low", "high").row(0) == (1.0, 0.0, 1.0)


@given(st.lists(st.tuples(st.lists(st.integers(0, 3), min_size=2, max_size=5), st.integers(0, 1)), min_size=1, max_size=8), st.randoms())
def test_both_measures_are_those_of_plain_loops_in_any_order(prompts: list[tuple[list[int], int]], random: object) -> None:
    rows = scored(*prompts)
    order = list(range(rows.height))
    random.shuffle(order)  # type: ignore[attr-defined]
    slow = []
    for scores, right in prompts:
        top = [place for place, score in enumerate(scores) if score == max(scores)]
        rank = sorted((-score, place == right) for place, score in enumerate(scores)).index((-scores[right], True)) + 1
        slow.append((1 / len(top) if right in top else 0.0, rank == 1, 1 / rank))

    assert best_of(rows[order]).select("credit", "on_top", "reciprocal_rank").rows() == slow
