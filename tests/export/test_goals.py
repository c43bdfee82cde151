"""Reward-conditioned pairs: two goals, answers exchanged, no turn of the prompt touched."""

from typing import Any

import polars as pl
import pytest

from pipeline.errors import ConfigError
from pipeline.export import FORMATS, Options
from pipeline.schemas import PAIR, RATING, conform
from tests.builders import says
from tests.export.rows import pair, table
from tests.versions import rated


def score(pair_id: str, side: str, points: float) -> dict[str, Any]:
    ids = {"prompt_id": f"q-{pair_id}", "response_id": f"{side[0]}-{pair_id}"}
    return {**rated(f"{pair_id}{side}", side, points, 0), "score_min": 1.0, "score_max": 10.0, **ids}


def converted(pairs: list[dict[str, Any]], *ratings: dict[str, Any], **options: Any) -> tuple[list[dict[str, Any]], list[str]]:
    form = FORMATS["reward-conditioned"](Options(**options))
    done = form.convert(table(PAIR, *pairs).select(form.reads), table(RATING, *ratings).select(form.beside["ratings"]))
    conform(done.kept, form.schema, "goals")
    assert set(done.dropped.columns) == {*form.reads, "reason"}
    return done.kept.to_dicts(), done.dropped["reason"].to_list()


def contents(row: dict[str, Any], side: str) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in row[side]]


def test_a_pair_with_scores_8_and_3_has_a_row_for_each_goal_with_the_answers_exchanged() -> None:
    rows, reasons = converted([pair("p0")], score("p0", "chosen", 8), score("p0", "rejected", 3))
    assert reasons == []
    assert [(row["goal"], row["chosen_score"], row["rejected_score"]) for row in rows] == [(8.0, 8.0, 3.0), (3.0, 3.0, 8.0)]
    assert [(contents(row, "chosen"), contents(row, "rejected")) for row in rows] == [
        ([("assistant", "Paris.")], [("assistant", "Lyon.")]),
        ([("assistant", "Lyon.")], [("assistant", "Paris.")]),
    ]
    assert [contents(row, "prompt") for row in rows] == [
        [("system", f"You are an assistant whose answers deserve a score of {goal} out of 10."), ("user", "Capital of France?")]
        for goal in (8, 3)
    ]


def test_a_system_message_keeps_what_it_says_and_all_turns_stay() -> None:
    prompt = [*says("system", "Be brief."), *says("user", "Hi"), *says("assistant", "Hello."), *says("user", "Capital?")]
    rows, _ = converted(
        [pair("p0", prompt=prompt)], score("p0", "chosen", 7.5), score("p0", "rejected", 3), system="Aim at {score}, at {score}!"
    )
    assert contents(rows[0], "prompt") == [
        ("system", "Be brief.\n\nAim at 7.5, at 7.5!"), ("user", "Hi"), ("assistant", "Hello."), ("user", "Capital?"),
    ]  # fmt: skip


def test_pairs_without_two_different_scores_that_agree_with_the_label_are_left_out() -> None:
    pairs = [pair("same"), pair("against"), pair("one"), pair("tool", tools="[]")]
    ratings = [score("same", side, 5) for side in ("chosen", "rejected")]
    ratings += [score("against", "chosen", 2), score("against", "rejected", 9), score("one", "chosen", 5)]
    rows, reasons = converted(pairs, *ratings)
    assert (rows, sorted(reasons)) == ([], ["equal_scores", "no_score", "scores_contradict", "tools"])


def test_a_system_prompt_needs_a_place_for_the_score() -> None:
    with pytest.raises(ConfigError, match=r"--system 'Be good.': expected a text with \{score\} in it"):
        FORMATS["reward-conditioned"](Options(system="Be good."))


def test_scores_are_means_of_raters() -> None:
    second = {**score("p0", "chosen", 6), "rating_id": "x", "annotator_id": "b"}
    rows, _ = converted([pair("p0")], score("p0", "chosen", 8), second, score("p0", "rejected", 3))
    assert pl.Series([row["goal"] for row in rows]).to_list() == [7.0, 3.0]
