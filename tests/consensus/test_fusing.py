"""Several opinions become one by the published rules; their checks are those of the methods reference."""

import itertools
import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from pipeline.consensus.fusing import (
    both_point_one_way,
    criterion_accuracy,
    fused,
    majority_of_criteria,
    ranking_consistency,
    self_agreement,
    summed_orders,
    summed_scores,
)

FIRST = (0.9, 0.7, 0.5, 0.3, 0.1)


def consistency(first: tuple[float | None, ...], second: tuple[float | None, ...]) -> tuple[int, float | None, float | None]:
    table = pl.DataFrame(
        {"prompt_id": ["p"] * len(first), "first": first, "second": second}, schema_overrides={"first": pl.Float64, "second": pl.Float64}
    )
    return ranking_consistency(table).select("answers", "tau", "consistency").row(0)


@pytest.mark.parametrize(
    ("second", "tau"),
    [((0.9, 0.5, 0.7, 0.1, 0.3), 0.6), (FIRST, 1.0), (FIRST[::-1], -1.0), ((1.0,) * 5, None)],
)
def test_two_rankers_agree_as_far_as_kendall_says_and_undefined_stays_null(second: tuple[float, ...], tau: float | None) -> None:
    answers, found, c = consistency(FIRST, second)

    assert (answers, found) == (5, tau if tau is None else pytest.approx(tau))
    assert c == (None if tau is None else pytest.approx((tau + 1) / 2))


def test_the_loss_of_cream_at_this_consistency() -> None:
    c = consistency(FIRST, (0.9, 0.5, 0.7, 0.1, 0.3))[2]
    assert c is not None
    assert c * math.log1p(math.exp(-1)) + (1 - c) * math.log1p(math.exp(1)) == pytest.approx(0.513262, abs=1e-6)


def test_an_answer_that_one_ranker_did_not_score_counts_for_nothing() -> None:
    assert consistency((0.9, None, 0.1), (0.2, 0.9, 0.1)) == (2, 1.0, 1.0)
    assert consistency((0.9, float("nan")), (0.2, 0.9)) == (1, None, None)
    assert consistency((None, None), (0.2, 0.9)) == (0, None, None)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=9), st.randoms())
@settings(max_examples=30, deadline=None)
def test_tau_is_that_of_scipy_prompt_by_prompt_in_any_order(scores: list[tuple[int, int]], random: object) -> None:
    rows = [("p", float(a), float(b)) for a, b in scores] + [("q", 0.0, 1.0), ("q", 1.0, 2.0)]
    random.shuffle(rows)  # type: ignore[attr-defined]
    found = ranking_consistency(pl.DataFrame(rows, schema=["prompt_id", "first", "second"], orient="row"))
    constant = any(len(set(side)) == 1 for side in zip(*scores, strict=True))
    wanted = None if constant else pytest.approx(kendalltau(*zip(*scores, strict=True)).statistic)

    assert found.select("prompt_id", "tau").rows() == [("p", wanted), ("q", 1.0)]


def test_two_internal_judges_must_point_one_way() -> None:
    table = pl.DataFrame({"gen": [0.8, 0.8, 0.5, 0.2, None], "impl": [0.7, 0.3, 0.9, 0.1, 0.9]})
    assert table.select(both_point_one_way(pl.col("gen"), pl.col("impl"))).to_series().to_list() == [True, False, False, True, None]


def test_independent_probabilities_fuse() -> None:
    lists = [[0.7, 0.7], [0.7, 0.4, 0.9], [0.7, None], [], [1.0, 0.2], [0.0, 0.9], [1.0, 0.0], [0.999] * 400]
    found = pl.DataFrame({"p": lists}).select(fused(pl.col("p"))).to_series().to_list()

    assert found[:4] == pytest.approx([0.844828, 0.933333, 0.7, 0.5], abs=1e-6)
    assert found[4:] == [1.0, 0.0, None, 1.0]


@given(st.lists(st.floats(0.01, 0.99), max_size=6))
def test_fusing_is_the_ratio_of_products(probabilities: list[float]) -> None:
    right, wrong = math.prod(probabilities), math.prod(1 - p for p in probabilities)
    found = pl.DataFrame({"p": [probabilities]}, schema={"p": pl.List(pl.Float64)}).select(fused(pl.col("p"))).item()
    assert found == pytest.approx(right / (right + wrong), rel=1e-9)


def test_the_two_orders_of_one_judge_add_up() -> None:
    shown_first, shown_second = {"A": 0.9, "B": 0.1}, {"A": 0.3, "B": 0.7}
    mean = {name: pl.select(summed_orders(pl.lit(shown_first[name]), pl.lit(shown_second[name]))).item() for name in "AB"}

    assert mean == pytest.approx({"A": 1.2 / 2, "B": 0.8 / 2})  # A is preferred


def agreement(*verdicts: str, **weights: list[float]) -> dict[str, object]:
    return self_agreement(pl.DataFrame({"item": ["i"] * len(verdicts), "verdict": verdicts, **weights})).row(0, named=True)


def test_the_most_frequent_verdict_wins_with_its_support_and_a_draw_has_none() -> None:
    assert agreement("A", "A", "B", "A", "tie") == {"item": "i", "samples": 5, "verdict": "A", "support": 0.6}
    assert agreement("A", "A", "B", "B", "tie")["verdict"] is None
    assert agreement("A") == {"item": "i", "samples": 1, "verdict": "A", "support": 1.0}


def test_counts_and_probability_mass_may_differ_and_both_are_told() -> None:
    told = agreement("A", "A", "B", probability=[0.1, 0.1, 0.5])
    assert (told["verdict"], told["likely_verdict"]) == ("A", "B")
    assert told["likely_support"] == pytest.approx(5 / 7)
    assert agreement("A", "B", "B", probability=[0.0, 0.0, 0.0])["likely_support"] is None


def test_self_agreement_does_not_depend_on_the_order_of_rows() -> None:
    table = pl.DataFrame({"item": [1, 1, 1, 2], "verdict": ["A", "A", "B", "B"], "probability": [0.1, 0.7, 1e-17, 0.3]})
    orders = [table[list(order)] for order in itertools.permutations(range(4))]
    assert all(self_agreement(one).equals(self_agreement(table)) for one in orders)


@pytest.mark.parametrize(
    ("rejected", "wanted"), [((False,) * 3, (3, 16, 19, "b")), ((False, False, True), (2, 13, 11, "a")), ((True,) * 3, (0, 0, 0, None))]
)
def test_scores_of_the_critiques_that_a_meta_judge_left_add_up(rejected: tuple[bool, ...], wanted: tuple[object, ...]) -> None:
    critiques = pl.DataFrame({"item": ["i"] * 3, "a": [7, 6, 3], "b": [5, 6, 8], "rejected": rejected})
    assert summed_scores(critiques).drop("item").row(0) == wanted


def test_equal_sums_are_a_tie() -> None:
    assert summed_scores(pl.DataFrame({"item": [1], "a": [6], "b": [6], "rejected": [False]}))["verdict"].item() == "tie"


def judged_by(*verdicts: str | None) -> pl.DataFrame:
    """One item, judged by as many criteria."""
    return pl.DataFrame(
        {"item": ["i"] * len(verdicts), "criterion": [f"c{n}" for n in range(len(verdicts))], "verdict": verdicts},
        schema_overrides={"verdict": pl.String},
    )


@pytest.mark.parametrize(
    ("verdicts", "least_margin", "wanted"),
    [
        ("aaabbu", 0, (3, 2, 1, "a")),
        ("aabb", 0, (2, 2, 0, None)),
        ("uuu", 0, (0, 0, 3, None)),
        ("abb", 0, (1, 2, 0, "b")),
        ("aaabb", 1, (3, 2, 0, None)),  # a lead of one is not more than one, for either side
        ("aabbb", 1, (2, 3, 0, None)),
        ("abbb", 1, (1, 3, 0, "b")),
    ],
)
def test_the_side_that_more_criteria_favour_wins_and_a_draw_has_none(verdicts: str, least_margin: int, wanted: tuple[object, ...]) -> None:
    assert majority_of_criteria(judged_by(*verdicts), least_margin).drop("item").row(0) == wanted
    assert majority_of_criteria(judged_by(None, "a"))["unsure"].to_list() == [1]


def test_a_criterion_is_judged_by_what_it_says_alone() -> None:
    said = [(f"i{n:02d}", "clear", verdict) for n, verdict in enumerate("aaaaaabbuuuu")] + [("i00", "silent", None)]
    verdicts = pl.DataFrame(said, schema=["item", "criterion", "verdict"], orient="row")
    truth = pl.DataFrame({"item": [f"i{n:02d}" for n in range(12)], "truth": ["a"] * 12})
    clear, silent = criterion_accuracy(verdicts, truth).to_dicts()

    assert (clear["right"], clear["wrong"], clear["unsure"], clear["accuracy"]) == (6, 2, 4, 0.75)
    assert (clear["low"], clear["high"]) == pytest.approx((0.4093, 0.9285), abs=1e-4)  # Wilson, 6 of 8
    assert (silent["accuracy"], silent["low"], silent["high"], silent["unsure"]) == (None, None, None, 1)
    tied = criterion_accuracy(verdicts, truth.with_columns(truth=pl.lit("tie")))
    assert tied.is_empty()
