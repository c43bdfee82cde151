"""Samples, criteria and orders become one verdict, or none with a reason."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.consensus.fusing import majority_of_criteria, self_agreement, summed_scores
from pipeline.judging.verdicts import combine, over_orders
from tests.judging.rows import HIGH, LOW, TIE, combined, config, samples, verdict, verdicts

ONE = config(orders="one")


def said(*rows: dict[str, Any], **settings: Any) -> dict[str, Any]:
    found = combine(verdicts(*rows), config(**{"orders": "one", **settings}))
    assert found.height == 1
    return found.row(0, named=True)


class TestSamples:
    def test_the_most_frequent_of_five_verdicts_counts_with_its_support(self) -> None:
        found = said(*samples(LOW, LOW, HIGH, LOW, TIE))
        assert (found["verdict"], found["support"], found["reason"]) == (LOW, 3 / 5, None)
        assert (found["votes_low"], found["votes_tie"], found["votes_high"], found["asked"]) == (3, 1, 1, 5)

    def test_two_two_one_is_no_consensus(self) -> None:
        found = said(*samples(LOW, LOW, HIGH, HIGH, TIE))
        assert (found["verdict"], found["support"], found["reason"]) == (None, None, "no_majority")

    def test_most_samples_may_call_a_tie(self) -> None:
        assert said(*samples(TIE, TIE, HIGH))["verdict"] == TIE

    def test_a_sample_without_a_verdict_does_not_count_but_was_asked(self) -> None:
        found = said(*samples(HIGH, None))
        assert (found["verdict"], found["support"], found["asked"]) == (HIGH, 1.0, 2)

    def test_nothing_read_gives_the_most_frequent_reason_the_first_by_name_among_equals(self) -> None:
        rows = [verdict(None, sample=i, reason=reason) for i, reason in enumerate(["timeout", "budget", "cut_off", "cut_off"])]
        assert said(*rows)["reason"] == "cut_off"
        assert said(*rows[:2])["reason"] == "budget"

    def test_strength_and_words_are_those_of_samples_that_say_the_same(self) -> None:
        rows = [
            verdict(HIGH, sample=0, strength=1.0, rationale="no"),
            verdict(LOW, sample=2, strength=1 / 3, rationale="later"),
            verdict(LOW, sample=1, strength=1.0, rationale="this"),
        ]
        found = said(*rows)
        assert (found["strength"], found["rationale"]) == (2 / 3, "this")


# Inference-Time Scaling for Generalist Reward Modeling (2025): three critiques with scores for (low, high).
SCORED = [(7.0, 5.0), (6.0, 6.0), (3.0, 8.0)]


def scored(stands: tuple[bool | None, ...] = (None, None, None)) -> list[dict[str, Any]]:
    return [
        verdict(LOW, sample=i, score_low=low, score_high=high, stands=ok)
        for i, ((low, high), ok) in enumerate(zip(SCORED, stands, strict=True))
    ]


class TestScores:
    def test_sums_of_scores_decide_sixteen_to_nineteen(self) -> None:
        found = said(*scored(), vote="scores")
        assert (found["score_low"], found["score_high"], found["verdict"]) == (16, 19, HIGH)

    def test_what_the_meta_judge_rejects_is_left_out_thirteen_to_eleven(self) -> None:
        found = said(*scored((True, True, False)), vote="scores", meta="local")
        assert (found["score_low"], found["score_high"], found["verdict"], found["votes_low"]) == (13, 11, LOW, 2)

    def test_a_meta_judge_that_says_nothing_rejects_nothing(self) -> None:
        assert said(*scored((None, True, None)), vote="scores", meta="local")["score_high"] == 19

    def test_rejections_count_only_where_a_meta_judge_is_configured(self) -> None:
        assert said(*scored((True, True, False)), vote="scores")["verdict"] == HIGH

    def test_all_rejected_is_no_verdict(self) -> None:
        assert said(*scored((False, False, False)), vote="scores", meta="local")["reason"] == "meta_rejected"

    def test_equal_sums_are_a_tie_and_no_scores_are_nothing(self) -> None:
        assert said(verdict(LOW, score_low=4.0, score_high=4.0), vote="scores")["verdict"] == TIE
        assert said(verdict(LOW, score_low=4.0), vote="scores")["reason"] == "no_majority"

    def test_checklists_of_different_length_weigh_the_same(self) -> None:
        """1 of 2 and 9 of 10: the mean of rates is 0.7 (pooled it would be 10 of 12)."""
        rows = [verdict(LOW, sample=i, score_low=rate, score_high=0.0) for i, rate in enumerate((1 / 2, 9 / 10))]
        assert said(*rows, vote="scores")["score_low"] / 2 == pytest.approx(0.7)


def by_criteria(*verdicts_: int | None) -> dict[str, Any]:
    names = [f"c{i}" for i in range(len(verdicts_))]
    return said(*(verdict(one, criterion=name) for one, name in zip(verdicts_, names, strict=True)), criteria=names)


class TestCriteria:
    @pytest.mark.parametrize(
        ("criteria", "wanted", "support"),
        [
            ((LOW, LOW, LOW, HIGH, HIGH, TIE), LOW, 3 / 6),  # A3 B2 U1
            ((LOW, LOW, HIGH, HIGH), None, None),
            ((TIE, TIE, TIE), None, None),
            ((HIGH, None, TIE), HIGH, 1 / 2),
        ],
    )
    def test_the_answer_that_more_criteria_name(self, criteria: tuple[int | None, ...], wanted: int | None, support: float | None) -> None:
        found = by_criteria(*criteria)
        assert (found["verdict"], found["support"]) == (wanted, support)
        assert found["reason"] == (None if wanted is not None else "no_majority")

    def test_each_criterion_has_the_verdict_of_its_samples(self) -> None:
        rows = [*samples(HIGH, HIGH, HIGH, criterion="a"), *samples(LOW, LOW, HIGH, criterion="b"), *samples(LOW, LOW, TIE, criterion="c")]
        found = said(*rows, criteria=["a", "b", "c"])
        assert (found["verdict"], found["votes_low"], found["votes_high"], found["asked"]) == (LOW, 2, 1, 9)


class TestOrders:
    @pytest.mark.parametrize(
        ("low_first", "high_first", "agreed"),
        [
            (LOW, HIGH, None),  # the first shown twice: position bias
            (HIGH, LOW, None),
            (LOW, LOW, LOW),  # the first shown, then the second: one answer
            (TIE, TIE, TIE),
            (TIE, LOW, None),
        ],
    )
    def test_a_label_needs_the_same_answer_in_both_orders(self, low_first: int, high_first: int, agreed: int | None) -> None:
        found = combine(verdicts(verdict(low_first), verdict(high_first, low_first=False)), config())
        assert found["reason"].to_list() == [None, None]  # both are votes: consensus drops what flips, and counts it
        assert over_orders(found)["agreed"].to_list() == [agreed]

    @pytest.mark.parametrize(("first", "second"), [(None, LOW), (LOW, None)])
    def test_a_failure_in_either_order_is_no_label(self, first: int | None, second: int | None) -> None:
        found = combine(verdicts(verdict(first), verdict(second, low_first=False)), config())
        assert set(found["reason"]) == {"timeout", "other_order_failed"}
        assert over_orders(found).is_empty()

    def test_asked_in_one_order_only_a_verdict_stands_alone(self) -> None:
        assert said(verdict(LOW))["reason"] is None
        assert combine(verdicts(verdict(LOW)), config())["reason"].to_list() == ["other_order_failed"]

    def test_sums_over_both_orders_decide_where_the_verdicts_differ(self) -> None:
        """Low first .9 and .1, high first .3 and .7: 1.2 against .8."""
        rows = combined(
            {"pair_id": "p", "low_first": True, "verdict": LOW, "votes_low": 9, "votes_high": 1},
            {"pair_id": "p", "low_first": False, "verdict": HIGH, "votes_low": 3, "votes_high": 7},
        )
        found = over_orders(rows).row(0, named=True)
        assert (found["share_low"], found["share_high"]) == (pytest.approx(1.2), pytest.approx(0.8))
        assert (found["agreed"], found["summed"]) == (None, LOW)

    def test_ties_count_half_for_each(self) -> None:
        rows = combined(
            {"pair_id": "p", "low_first": True, "verdict": TIE, "votes_tie": 2},
            {"pair_id": "p", "low_first": False, "verdict": HIGH, "votes_high": 1},
        )
        assert over_orders(rows).select("share_low", "share_high", "summed").row(0) == (0.5, 1.5, HIGH)


VERDICT_ROWS = st.lists(
    st.builds(
        verdict,
        st.sampled_from([LOW, TIE, HIGH, None]),
        pair=st.sampled_from(["p", "q"]),
        low_first=st.booleans(),
        sample=st.integers(0, 3),
        criterion=st.sampled_from(["a", "b"]),
        strength=st.sampled_from([None, 1 / 3, 2 / 3, 1.0]),
        score_low=st.sampled_from([None, 1.0, 7.0]),
        score_high=st.sampled_from([None, 2.0, 7.0]),
        stands=st.sampled_from([None, True, False]),
    ),
    max_size=16,
    unique_by=lambda row: (row["pair_id"], row["low_first"], row["sample"], row["criterion"]),
)
SETTINGS = st.sampled_from([{"vote": vote, "criteria": criteria, "orders": orders, "meta": meta}
                            for vote in ("majority", "scores") for criteria in ([], ["a", "b"])
                            for orders in ("one", "both") for meta in (None, "local")])  # fmt: skip


@given(rows=VERDICT_ROWS, settings=SETTINGS, data=st.data())
def test_the_order_of_rows_changes_nothing(rows: list[dict[str, Any]], settings: dict[str, Any], data: st.DataObject) -> None:
    if not settings["criteria"]:
        rows = [row | {"criterion": None} for row in rows if row["criterion"] == "a"]
    shuffled = data.draw(st.permutations(rows))
    assert_frame_equal(combine(verdicts(*rows), config(**settings)), combine(verdicts(*shuffled), config(**settings)), check_exact=True)


@given(rows=VERDICT_ROWS, settings=SETTINGS)
def test_exchanging_the_answers_exchanges_the_verdicts(rows: list[dict[str, Any]], settings: dict[str, Any]) -> None:
    if not settings["criteria"]:
        rows = [row | {"criterion": None} for row in rows if row["criterion"] == "a"]
    turned = [
        row
        | {
            "low_first": not row["low_first"],
            "verdict": None if row["verdict"] is None else -row["verdict"],
            "score_low": row["score_high"],
            "score_high": row["score_low"],
        }
        for row in rows
    ]
    swap = {"votes_low": "votes_high", "votes_high": "votes_low", "score_low": "score_high", "score_high": "score_low"}
    back = combine(verdicts(*turned), config(**settings)).rename(swap)
    back = back.with_columns(low_first=~pl.col("low_first"), verdict=-pl.col("verdict")).sort("pair_id", "low_first")
    plain = combine(verdicts(*rows), config(**settings))
    assert_frame_equal(plain, back.select(plain.columns), check_exact=True)


@given(rows=VERDICT_ROWS)
def test_the_rules_are_those_for_opinions_of_any_kind(rows: list[dict[str, Any]]) -> None:
    table = verdicts(*rows).with_columns(item=pl.concat_str("pair_id", "low_first"))
    plain = table.filter(pl.col("criterion") == "a").with_columns(criterion=pl.lit(None, pl.String))

    def found(some: pl.DataFrame, **settings: Any) -> dict[str, Any]:
        told = combine(some.drop("item"), config(orders="one", **settings)).filter(pl.col("verdict").is_not_null())
        return dict(told.select(pl.concat_str("pair_id", "low_first"), "verdict").rows())

    def known(told: pl.DataFrame) -> dict[str, Any]:
        letters = {"a": LOW, "b": HIGH, "tie": TIE}
        return {item: letters.get(one, one) for item, one in told.select("item", "verdict").drop_nulls().rows()}

    assert found(plain) == known(self_agreement(plain.drop_nulls("verdict")))
    scored = plain.drop_nulls(["verdict", "score_low", "score_high"])
    critiques = scored.select("item", a="score_low", b="score_high", rejected=~pl.col("stands").fill_null(True))
    assert found(plain, vote="scores", meta="local") == known(summed_scores(critiques))
    single = table.filter(pl.col("sample") == 0).with_columns(verdict=pl.col("verdict").replace_strict({LOW: "a", HIGH: "b"}, default=None))
    assert found(table.filter(pl.col("sample") == 0), criteria=["a", "b"]) == known(majority_of_criteria(single))
