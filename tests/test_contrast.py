"""A scorer is asked which answer belongs to which of two similar prompts."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from pipeline import contrast
from pipeline.contrast import contrast_consistency, contrast_items, contrasts
from tests.builders import says

FOUND = pl.DataFrame({"first": ["q1"], "second": ["q2"], "cosine": [0.9]})


def prompts(*rows: tuple[str, str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["prompt_id", "text", "answer"], orient="row").with_columns(prompt="text")


def towards(*degrees: float) -> np.ndarray[Any, Any]:
    """Unit vectors in the plane."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def scored(*scores: float | None, found: pl.DataFrame = FOUND) -> pl.DataFrame:
    """r(q1, a1), r(q1, a2), r(q2, a1), r(q2, a2)."""
    return pl.DataFrame(
        {"prompt_id": ["q1", "q1", "q2", "q2"], "answer_of": ["q1", "q2"] * 2, "score": scores}, schema_overrides={"score": pl.Float64}
    )


def test_the_rewards_of_the_check() -> None:
    told = contrast_consistency(FOUND, scored(2, 1, 3, 4), "rm").rows_by_key("statistic", named=True, unique=True)

    assert (told["response_consistency"]["value"], told["response_consistency"]["n"]) == (1.0, 2)
    assert (told["instruction_consistency"]["value"], told["instruction_consistency"]["n"]) == (0.5, 2)
    assert told["instruction_consistency"]["low"] == pytest.approx(0.0945, abs=1e-4)  # Wilson, 1 of 2
    assert {one["subject"] for one in told.values()} == {"rm"}


def test_equal_scores_are_no_success() -> None:
    assert contrast_consistency(FOUND, scored(1, 1, 1, 1), "rm")["value"].to_list() == [0.0, 0.0]


def test_what_lacks_a_score_does_not_count_and_is_told() -> None:
    told = contrast_consistency(FOUND, scored(2, None, 3, 4), "rm").rows_by_key("statistic", named=True, unique=True)

    assert (told["response_consistency"]["value"], told["response_consistency"]["n"]) == (1.0, 1)
    assert told["instruction_consistency"]["note"] == "1 of 2 comparisons lack a score"
    nothing = contrast_consistency(FOUND, scored(float("nan"), None, float("inf"), None), "rm")
    assert nothing.select("value", "n", "note").rows() == [(None, 0, "no contrast has the scores it needs")] * 2


def test_prompts_near_each_other_are_contrasted_copies_and_strangers_are_not() -> None:
    told = prompts(
        ("a", "add two and three", "5"), ("b", "add two and four", "6"), ("c", "ADD two, and three!", "five"), ("d", "write a song", "la")
    )
    found = contrasts(told, towards(0, 30, 1, 120))

    # a and c are copies of each other (cosine 0.9998), so both look on to b; d is far from all.
    assert found.select("first", "second").rows() == [("b", "c"), ("a", "b")]
    assert found["cosine"].to_list() == pytest.approx([np.cos(np.radians(29)), np.cos(np.radians(30))], abs=1e-3)


def test_prompts_with_equal_answers_or_without_common_words_are_no_contrast() -> None:
    told = prompts(("a", "add two and three", "5"), ("b", "add one and four", "5"), ("c", "Rechne eins plus drei", "4"))
    assert contrasts(told, towards(0, 25, 30)).is_empty()


def test_neither_row_order_nor_the_kind_of_answer_matters() -> None:
    told = prompts(*[(f"p{i}", f"name a thing that is {i}", says("assistant", f"x{i}")) for i in range(8)])
    vectors = towards(*range(0, 200, 25))
    order = [5, 2, 7, 0, 1, 6, 4, 3]

    assert contrasts(told[order], vectors[order]).equals(contrasts(told, vectors))
    assert contrasts(told, vectors, most=2).equals(contrasts(told, vectors).head(2))


def test_of_many_prompts_those_with_the_least_ids_are_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contrast, "MAX_PROMPTS", 2)
    told = prompts(*[(f"p{i}", "one thing", f"x{i}") for i in (3, 0, 2, 1)])
    assert contrasts(told, towards(90, 0, 60, 30)).select("first", "second").rows() == [("p0", "p1")]


def test_fewer_than_two_prompts_have_no_contrast_and_vectors_must_fit() -> None:
    one = prompts(("a", "q", "x"))
    assert contrasts(one, towards(0)).is_empty()
    assert contrast_items(contrasts(one, towards(0)), one).is_empty()
    with pytest.raises(ValueError, match="1 prompts have 2 vectors"):
        contrasts(one, towards(0, 1))


def test_every_prompt_is_scored_with_its_own_and_the_other_answer_once() -> None:
    told = prompts(("a", "q a", "x"), ("b", "q b", "y"), ("c", "q c", "z"))
    found = pl.DataFrame({"first": ["a", "b"], "second": ["b", "c"], "cosine": [0.9, 0.8]})
    items = contrast_items(found, told)

    assert items.rows() == [
        ("a", "a", "q a", "x"), ("a", "b", "q a", "y"), ("b", "a", "q b", "x"), ("b", "b", "q b", "y"), ("b", "c", "q b", "z"),
        ("c", "b", "q c", "y"), ("c", "c", "q c", "z"),
    ]  # fmt: skip
    right = items.with_columns(score=(pl.col("prompt_id") == pl.col("answer_of")).cast(pl.Float64))
    assert contrast_consistency(found, right, "rm").select("value", "n").rows() == [(1.0, 4), (1.0, 4)]
