"""What is told of a judge: order, agreement with itself, failures, cost, and answers without content."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline.judging.report import reduce, summarise, summarise_probes
from pipeline.judging.verdicts import combine
from pipeline.statistics.intervals import wilson
from tests.judging.rows import HIGH, LOW, TIE, combined, config, samples, verdict, verdicts

ROWS = [
    *(verdict(LOW, "a", order, score_low=8.0, score_high=2.0, agrees_with_scores=True) for order in (True, False)),
    verdict(LOW, "b", True, agrees_with_scores=False, stands=True),
    verdict(HIGH, "b", False, stands=False),
    verdict(TIE, "c", True),
    verdict(None, "c", False, reason="cut_off"),
]


def told(*parts: pl.DataFrame) -> dict[tuple[str, str], tuple[float | None, int]]:
    return {(name, subject): (value, n) for name, subject, value, n in reduce(parts).select("statistic", "subject", "value", "n").rows()}


def test_what_is_counted() -> None:
    rows = verdicts(*ROWS)
    found = told(summarise(rows, combine(rows, config()), "j"))

    assert {name: found[name, "j"] for name, _ in found} == {
        "judge_first_share": (3 / 4, 4),  # a: first, second; b: first, first
        "judge_consistent_share": (1 / 2, 2),
        "judge_summed_share": (0.0, 1),  # one sample an order: b stays undecided
        "judge_self_consistency": (None, 0),
        "judge_agrees_with_scores": (2 / 3, 3),
        "judge_tie_share": (1 / 5, 5),
        "judge_meta_rejected": (1 / 2, 2),
        "judge_answered": (5 / 6, 6),
        "judge_input_tokens": (600.0, 6),
        "judge_output_tokens": (60.0, 6),
        "judge_cost": (3.0, 6),
        "judge_failed:cut_off": (1.0, 6),
        "judge_no_vote:cut_off": (1.0, 6),
        "judge_no_vote:other_order_failed": (1.0, 6),
    }


def test_shares_have_wilsons_interval() -> None:
    rows = verdicts(*ROWS)
    first = reduce([summarise(rows, combine(rows, config()), "j")]).row(by_predicate=pl.col("statistic") == "judge_first_share", named=True)
    low, high = wilson(3, 4)
    assert (first["low"], first["high"]) == (pytest.approx(float(low)), pytest.approx(float(high)))


def test_a_judge_agrees_with_itself_as_far_as_its_samples_do() -> None:
    rows = verdicts(*samples(LOW, LOW, HIGH, LOW, TIE), *samples(HIGH, HIGH, pair="q"), *samples(HIGH, None, pair="r"))
    found = told(summarise(rows, combine(rows, config(orders="one")), "j"))
    assert found["judge_self_consistency", "j"] == (5 / 7, 7)  # of five three, of two both; one alone says nothing


def test_sums_over_samples_decide_pairs_on_which_the_orders_differ() -> None:
    rows = combined(
        {"pair_id": "p", "low_first": True, "verdict": LOW, "votes_low": 3},
        {"pair_id": "p", "low_first": False, "verdict": HIGH, "votes_low": 1, "votes_high": 2},
    )
    assert told(summarise(verdicts(), rows, "j"))["judge_summed_share", "j"] == (1.0, 1)


def test_partitions_add_up() -> None:
    rows = verdicts(*ROWS)
    parts = [rows.filter(pl.col("pair_id") == pair) for pair in "cab"]
    assert_frame_equal(
        reduce([summarise(part, combine(part, config()), "j") for part in parts]),
        reduce([summarise(rows, combine(rows, config()), "j")]),
    )


def test_two_judges_are_told_apart_and_no_judge_is_no_row() -> None:
    rows = verdicts(*ROWS)
    both = told(*(summarise(rows, combine(rows, config()), judge) for judge in ("j", "k")))
    assert both["judge_cost", "j"] == both["judge_cost", "k"] == (3.0, 6)
    assert reduce([]).is_empty()


def test_how_often_an_answer_without_content_wins() -> None:
    probes = pl.DataFrame({"pair_id": ["a", "b", "c", "d"], "key": [",", ",", "解", "解"], "key_is_low": [True, False, True, True]})
    said = combined(
        {"pair_id": "a", "low_first": True, "verdict": LOW}, {"pair_id": "a", "low_first": False, "verdict": LOW},  # the key twice
        {"pair_id": "b", "low_first": True, "verdict": LOW}, {"pair_id": "b", "low_first": False, "verdict": HIGH},  # the key once
        {"pair_id": "c", "low_first": True, "verdict": TIE}, {"pair_id": "c", "low_first": False},  # one order only
    )  # fmt: skip
    found = told(summarise_probes(probes, said, "j"))

    assert found["judge_key_wins", "j"] == (1.5 / 3, 3)
    assert found["judge_key_ties", "j"] == (1 / 3, 3)
    assert found["judge_key_wins", "j ','"] == (1.5 / 2, 2)
    assert found["judge_key_wins", "j '解'"] == (0.0, 1)
