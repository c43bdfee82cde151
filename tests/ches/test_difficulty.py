"""How hard a pair is for the model that training starts from."""

import math
import sys

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.ches.difficulty import (
    SUMS,
    add_difficulty,
    ideal_log_ratio,
    loss_bound,
    reachable_below,
    reduce_difficulty,
    summarise_difficulty,
)
from pipeline.schemas import STATISTIC, conform
from pipeline.statistics.intervals import wilson


def test_difficulty_is_how_much_likelier_the_rejected_answer_is() -> None:
    pairs = pl.DataFrame({"chosen_logp": [-12.0, -7.0, -3.5, None], "rejected_logp": [-7.0, -12.0, -3.5, -1.0]})

    told = add_difficulty(pairs)

    assert told["difficulty"].to_list() == [5.0, -5.0, 0.0, None]
    assert told["reference_ranks_right"].to_list() == [False, True, None, None]  # equal: it ranks nothing


def test_pairs_without_any_log_probability_have_no_difficulty() -> None:
    unknown = pl.DataFrame(
        {"chosen_logp": [None], "rejected_logp": [None]}, schema_overrides={"chosen_logp": pl.Float64, "rejected_logp": pl.Float64}
    )
    told = add_difficulty(unknown).select("difficulty", "reference_ranks_right")
    assert told.rows() == [(None, None)]
    assert told.dtypes == [pl.Float64, pl.Boolean]


@pytest.mark.parametrize(("c", "bound"), [(0, 0.693147), (5, 0.474077), (50, 0.00671535), (-50, 5.00671535)])
def test_the_loss_a_pair_must_reach(c: float, bound: float) -> None:
    assert float(loss_bound(c, 0.1)) == pytest.approx(bound, abs=5e-7)


def test_the_bound_of_hopeless_and_of_easy_pairs_is_a_number() -> None:
    np.testing.assert_array_equal(loss_bound([1e6, -1e6, 7000.0], 0.1), [0.0, 1e5, math.exp(-700)])


@pytest.mark.parametrize(("beta", "limit"), [(0.1, 13.862944), (1.0, 1.386294)])
def test_four_raters_of_five_can_turn_pairs_up_to_this(beta: float, limit: float) -> None:
    assert reachable_below(0.8, beta) == pytest.approx(limit, abs=5e-7)
    np.testing.assert_allclose(ideal_log_ratio([limit - 1, limit + 1], 0.8, beta), [1, -1], atol=1e-6)


@given(st.floats(1e-12, 1 - 1e-12), st.floats(1e-3, 10), st.floats(-1e4, 1e4))
def test_a_pair_is_ranked_right_by_the_ideal_policy_where_it_is_within_reach(alpha: float, beta: float, c: float) -> None:
    ratio = float(ideal_log_ratio(c, alpha, beta))
    assert (ratio > 0) == (c < reachable_below(alpha, beta))
    assert reachable_below(0.5, beta) == 0.0


def test_a_share_near_one_keeps_its_digits() -> None:
    assert reachable_below(1 - sys.float_info.epsilon, 1.0) == pytest.approx(52 * math.log(2))


@pytest.mark.parametrize("alpha", [1.0, 0.0, 1.5, math.nan])
def test_raters_who_all_agree_have_no_finite_optimum(alpha: float) -> None:
    with pytest.raises(ValueError, match="use 1 - epsilon"):
        reachable_below(alpha, 0.1)


@pytest.mark.parametrize("beta", [0.0, -1.0, math.nan])
def test_beta_is_above_zero(beta: float) -> None:
    for call in (lambda: loss_bound(0.0, beta), lambda: reachable_below(0.8, beta), lambda: ideal_log_ratio(0.0, 0.8, beta)):
        with pytest.raises(ValueError, match=r"beta is .*; expected a number above 0"):
            call()


def scored(*told: tuple[list[str], float | None, float | None, int, int]) -> pl.DataFrame:
    """Sources, log-probability of both answers, their tokens."""
    names = ("sources", "chosen_logp", "rejected_logp", "n", "m")
    rows = pl.DataFrame(
        told, schema=dict(zip(names, (pl.List(pl.String), pl.Float64, pl.Float64, pl.Int64, pl.Int64), strict=True)), orient="row"
    )
    means = {"chosen_logp_mean": pl.col("chosen_logp") / pl.col("n"), "rejected_logp_mean": pl.col("rejected_logp") / pl.col("m")}
    return add_difficulty(rows).with_columns(**means)


PAIRS = scored(
    (["a"], -20.0, -5.0, 20, 2),  # longer, so less likely; but not by token
    (["a", "b"], -5.0, -6.0, 2, 2),
    (["b"], -5.0, -5.0, 1, 2),
    (["b"], -5.0, -5.0, 1, 1),
    (["c"], None, None, 1, 1),
)


def test_how_often_the_reference_prefers_the_rejected_answer() -> None:
    told = reduce_difficulty([summarise_difficulty(PAIRS)], "set")

    low, high = (float(bound) for bound in wilson(1, 4))
    rows = told.filter(statistic="reference_misranks")
    assert rows.select("subject_kind", "subject", "value", "n", "note").rows() == [
        ("dataset", "set", 0.25, 4, "2 pairs have equal log-probabilities"),
        ("source", "a", 0.5, 2, None),
        ("source", "b", 0.0, 3, "2 pairs have equal log-probabilities"),
    ]
    assert rows.select("low", "high", "unit").row(0) == (low, high, "share")
    per_token = told.filter(statistic="reference_misranks_per_token")
    assert per_token.select("subject", "value", "note").rows() == [
        ("set", 0.25, "1 pairs have equal log-probabilities"),
        ("a", 0.0, None),
        ("b", 1 / 3, "1 pairs have equal log-probabilities"),
    ]
    conform(told, STATISTIC, "statistics")


@settings(max_examples=20)
@given(st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_statistics_do_not_depend_on_partitions(parts: list[int]) -> None:
    sums = [summarise_difficulty(PAIRS.filter(pl.Series(parts) == part)) for part in range(4)]
    assert_frame_equal(reduce_difficulty(sums, "set"), reduce_difficulty([summarise_difficulty(PAIRS)], "set"))


def test_a_source_of_the_data_set_s_name_is_not_the_data_set() -> None:
    told = reduce_difficulty([summarise_difficulty(scored((["set"], -1.0, -2.0, 1, 1), (["b"], -2.0, -1.0, 1, 1)))], "set")
    assert told.filter(statistic="reference_misranks").select("subject_kind", "subject", "value").rows() == [
        ("dataset", "set", 0.5), ("source", "b", 1.0), ("source", "set", 0.0),
    ]  # fmt: skip


def test_nothing_is_said_where_nothing_was_measured() -> None:
    assert summarise_difficulty(PAIRS.tail(1)).is_empty()
    assert summarise_difficulty(PAIRS.clear()).schema == SUMS
    assert reduce_difficulty([], "set").is_empty()
