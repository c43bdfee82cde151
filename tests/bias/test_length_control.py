"""WildBench's tie rule and the length-controlled model: the checks of the methods reference."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.bias.length_control import (
    BY_SOURCE,
    add_length_controlled,
    add_length_tie,
    equal_length_share,
    fit_length_control,
)
from pipeline.bias.outcomes import outcomes, sample
from tests.bias.builders import pairs, votes


@pytest.mark.parametrize(
    ("strength", "excess", "most", "tie"),
    [
        (0.25, 501, 500, True),
        (0.25, 500, 500, False),
        (0.25, -800, 500, False),
        (1.0, 5000, 500, False),
        (0.5, 5000, 500, False),
        (0.25, 5000, -1, False),
        (None, 5000, 500, False),
    ],
)
def test_a_slight_win_by_a_much_longer_answer_is_a_tie(strength: float | None, excess: int, most: int, tie: bool) -> None:
    rows = add_length_tie(pairs({"margin": strength, "chars_gap": excess}), most)

    assert rows["length_tie"].to_list() == [tie]


@pytest.mark.parametrize(("length_coefficient"), [0.0, 3.0])
def test_the_share_at_equal_length_is_that_of_the_methods_reference(length_coefficient: float) -> None:
    """Log-odds 0.4 against the baseline give 59.869 %, and 40.131 % the other way, whatever length does."""
    rng = np.random.default_rng(3)
    gap = rng.integers(-300, 300, 6000)
    deviation = math.sqrt(float(np.square(gap).mean()))
    log_odds = length_coefficient * np.tanh(gap / deviation) + 0.4
    # Shares instead of drawn votes: the fit must find the very numbers, but for the weak prior.
    rows = pl.DataFrame(
        {"source": "s", "pair_id": [f"{i:04d}" for i in range(6000)], "outcome": 1 / (1 + np.exp(-log_odds)), "length": gap}
    ).with_columns(chosen_model=pl.lit("model"), rejected_model=pl.lit("baseline"))
    found = fit_length_control(rows)
    shares = {row["subject"]: row for row in found.statistics.filter(pl.col("statistic") == "share_at_equal_length").to_dicts()}

    assert shares["s/model"]["value"] == pytest.approx(0.59869, abs=1e-3)
    assert shares["s/baseline"]["value"] == pytest.approx(0.40131, abs=1e-3)
    assert shares["s/model"]["low"] < 0.59869 < shares["s/model"]["high"]
    assert found.by_source.row(0) == ("s", pytest.approx(deviation), pytest.approx(length_coefficient, abs=0.02))


def test_a_model_against_itself_wins_half() -> None:
    value, low, high = equal_length_share(np.array([0.7]), np.array([[0.04]]), np.zeros((1, 5)))

    assert (value, low, high) == (0.5, 0.5, 0.5)


def test_the_interval_of_a_share_is_that_of_its_log_odds() -> None:
    value, low, high = equal_length_share(np.array([0.4, 0.0]), np.diag([0.09, 0.0]), np.array([[1.0], [-1.0]]))

    assert value == pytest.approx(0.59869, abs=1e-5)
    assert [math.log(p / (1 - p)) for p in (low, high)] == pytest.approx([0.4 - 1.96 * 0.3, 0.4 + 1.96 * 0.3], abs=1e-4)


def test_a_better_model_that_writes_more_is_told_from_a_liking_for_length() -> None:
    """One model always writes more and wins; among answers of other models length decides nothing."""
    rng = np.random.default_rng(1)
    ours = [{"chars_gap": int(g), "chosen_models": ["good"], "rejected_models": ["bad"]} for g in rng.integers(100, 300, 400)]
    others = [{"chars_gap": int(g), "chosen_models": ["m"], "rejected_models": ["n"]} for g in rng.integers(-300, 300, 1200)]
    said = [("p%d" % i, 1 if rng.random() < 0.9 else -1) for i in range(400)]  # noqa: UP031
    said += [(f"p{i}", int(rng.choice([-1, 1]))) for i in range(400, 1600)]
    rows = outcomes(pairs(*ours, *others), votes(*said))

    found = fit_length_control(sample([rows])).statistics
    named = found.filter(pl.col("statistic") == "length_coefficient").row(0, named=True)
    assert named["low"] < 0 < named["high"]
    assert named["note"] == "beside the quality of 4 models"
    unnamed = rows.with_columns(pl.lit(None, pl.String).alias(name) for name in ("chosen_model", "rejected_model"))
    alone = fit_length_control(sample([unnamed])).statistics.row(0, named=True)
    assert alone["low"] > 0
    assert alone["note"] == "alone: no models are named, or too rarely"


def test_answers_of_equal_length_tell_no_coefficient() -> None:
    found = fit_length_control(sample([outcomes(pairs({}, {}), votes(("p0", 1), ("p1", 1)))]))

    assert found.statistics.select("value", "low", "high", "note").rows() == [(None, None, None, "all pairs have answers of equal length")]
    assert found.by_source.rows() == [("s", 1.0, 0.0)]


def controlled(p: float, gap: int, coefficient: float, sources: tuple[str, ...] = ("s",)) -> float:
    models = pl.DataFrame([("s", 100.0, coefficient), ("t", 100.0, 3 * coefficient)], schema=BY_SOURCE, orient="row")
    rows = add_length_controlled(pairs({"p_chosen": p, "chars_gap": gap, "sources": list(sources)}), models)
    value: float = rows["p_chosen_length_controlled"][0]
    return value


def test_the_votes_stand_where_lengths_are_equal_or_do_not_matter() -> None:
    assert controlled(0.8, 0, 2.0) == pytest.approx(0.8)
    assert controlled(0.8, 500, 0.0) == pytest.approx(0.8)
    assert controlled(0.8, 500, 2.0, sources=("unknown",)) == pytest.approx(0.8)


def test_the_pull_of_length_is_taken_out_by_bayes_rule() -> None:
    pull = 2.0 * math.tanh(1.0)
    evidence = math.log(0.8 / 0.2)
    if_better, if_worse = 1 / (1 + math.exp(-evidence - pull)), 1 / (1 + math.exp(evidence - pull))

    assert controlled(0.8, 100, 2.0) == pytest.approx(if_better / (if_better + if_worse))
    assert controlled(0.8, 100, 1.0, sources=("s", "t")) == pytest.approx(if_better / (if_better + if_worse))  # the mean of 1 and 3


@given(st.floats(0.5, 1.0), st.integers(-10_000, 10_000), st.floats(-8, 8))
def test_no_label_turns_and_a_liked_length_only_weakens(p: float, gap: int, coefficient: float) -> None:
    value = controlled(p, gap, coefficient)

    assert 0.5 <= value <= 1.0
    if gap * coefficient > 0:
        assert value <= p + 1e-9
    else:
        assert value >= min(p, 1 - 1e-12) - 1e-9
