"""Verdicts become judgements that the rest of the pipeline takes as if a source had stated them."""

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.consensus.judges import JUDGES, admit, audit, reduce_audit
from pipeline.consensus.votes import VOTES, votes_of
from pipeline.judging.judgements import rows
from pipeline.judging.verdicts import combine
from pipeline.pairing import b_is_low, pair_up
from pipeline.schemas import JUDGEMENT, conform
from tests.judging.rows import ENDPOINT, HIGH, LOW, TIE, config, tally, verdict, verdicts
from tests.judging.rows import votes as human_votes

PAIRS = tally(("q", "x", "y"))
PAIR = PAIRS["pair_id"].item()
VERDICT = st.sampled_from([LOW, TIE, HIGH])


def judgements(*said: dict[str, Any], pairs: pl.DataFrame = PAIRS, **settings: Any) -> pl.DataFrame:
    judge = config(**settings)
    return rows(combine(verdicts(*said), judge), pairs, judge, ENDPOINT)


def both(first: int, second: int, **fields: Any) -> list[dict[str, Any]]:
    return [verdict(first, PAIR, True, **fields), verdict(second, PAIR, False, **fields)]


def test_a_judgement_has_the_schema_and_says_who_and_where() -> None:
    made = judgements(*both(LOW, LOW, strength=2 / 3, rationale="Response A is right.", score_low=8.0, score_high=3.0))
    conform(made, JUDGEMENT, "judgements")
    one = made.filter(pl.col("response_a_id") == PAIRS["low_id"].item()).row(0, named=True)

    assert made.height == 2
    assert (one["annotator_id"], one["annotator_kind"], one["source"], one["source_uri"]) == (
        "panel (qwen)", "judge", "judge:panel", "llm:local/qwen",
    )  # fmt: skip
    assert (one["outcome"], one["shown_first"], one["strength"]) == ("a", "a", pytest.approx(2 / 3))
    assert json.loads(one["extra"]) == {
        "asked": 1, "votes_a": 1, "votes_b": 0, "votes_tie": 0, "score_a": 8.0, "score_b": 3.0, "support": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize("low_first", [True, False])
def test_response_a_is_what_the_judge_was_shown_first(low_first: bool) -> None:
    made = judgements(verdict(HIGH, PAIR, low_first, rationale="Response A is worse."), orders="one").row(0, named=True)
    shown = PAIRS.row(0, named=True)

    assert made["response_a"] == shown["low" if low_first else "high"]
    assert made["outcome"] == ("b" if low_first else "a")


@given(first=VERDICT, second=VERDICT)
def test_votes_of_the_judgements_are_the_verdicts(first: int, second: int) -> None:
    votes = votes_of(judgements(*both(first, second)), b_is_low())
    assert {low_first: vote for vote, low_first in votes.select("vote", "low_first").rows()} == {True: first, False: second}


def test_both_orders_are_two_judgements_and_asking_again_gives_the_same_ones() -> None:
    made = judgements(*both(LOW, LOW, rationale="Clear."))
    again = judgements(*both(LOW, LOW, rationale="Other words."))

    assert made["judgement_id"].n_unique() == 2
    assert made["judgement_id"].to_list() == again["judgement_id"].to_list()
    assert set(judgements(*both(LOW, LOW, strength=1.0))["judgement_id"]).isdisjoint(made["judgement_id"])
    assert set(judgements(*both(HIGH, HIGH))["judgement_id"]).isdisjoint(made["judgement_id"])
    assert set(judgements(*both(LOW, LOW), name="other")["judgement_id"]).isdisjoint(made["judgement_id"])


def test_what_has_a_reason_is_no_judgement() -> None:
    assert judgements(verdict(LOW, PAIR), verdict(None, PAIR, False)).is_empty()
    conform(judgements(verdict(LOW, PAIR)), JUDGEMENT, "judgements")


def test_judgements_pair_up_as_votes_of_the_same_pair() -> None:
    paired = pair_up(judgements(*both(LOW, LOW)))
    assert paired.select("pair_id", "votes_low", "n_annotators").row(0) == (PAIR, 2, 1)


def test_a_judge_that_names_a_place_has_no_vote_in_consensus_and_one_that_names_an_answer_has_one() -> None:
    def counted(first: int, second: int) -> list[int]:
        votes = votes_of(judgements(*both(first, second)), b_is_low())
        judge = pl.DataFrame({**dict.fromkeys(JUDGES), "annotator": "panel (qwen)", "admitted": True}, schema=JUDGES)
        return admit(votes, judge, pl.Series([], dtype=pl.String), "audited").kept["vote"].to_list()

    assert counted(LOW, HIGH) == []
    assert counted(HIGH, HIGH) == [HIGH]


@pytest.mark.parametrize(("follows_order", "admitted"), [(False, True), (True, False)])
def test_a_judge_passes_the_gates_if_it_names_answers_and_not_places(follows_order: bool, admitted: bool) -> None:
    pairs = tally(*((f"q{i}", "x", "y") for i in range(30)))
    people = human_votes(*((pair, f"h{i}", LOW) for pair in pairs["pair_id"] for i in range(3)))
    said = [
        verdict(LOW if low_first or not follows_order else HIGH, pair, low_first)
        for pair in pairs["pair_id"]
        for low_first in (True, False)
    ]
    cast = pl.concat([people.cast(VOTES), votes_of(judgements(*said, pairs=pairs), b_is_low())])  # type: ignore[arg-type]
    judge = reduce_audit([audit(cast, pl.Series([], dtype=pl.String))]).row(0, named=True)

    assert (judge["annotator"], judge["both_orders"], judge["admitted"]) == ("panel (qwen)", 30, admitted)
