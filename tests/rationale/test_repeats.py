"""Other prompts whose rationale says the same."""

import polars as pl

from pipeline.rationale.repeats import count_repeats

NONE = pl.DataFrame(schema={"left": pl.String, "right": pl.String})


def said(*rows: tuple[str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["rationale_id", "prompt_id", "text_id"], orient="row")


def counted(rows: pl.DataFrame, edges: pl.DataFrame = NONE) -> dict[str, int]:
    return dict(count_repeats(rows, edges).iter_rows())


def test_equal_texts_of_other_prompts_count_once_a_prompt() -> None:
    rows = said(("r1", "p1", "t"), ("r2", "p1", "t"), ("r3", "p2", "t"), ("r4", "p2", "t"), ("r5", "p3", "u"))
    assert counted(rows) == {"r1": 1, "r2": 1, "r3": 1, "r4": 1}


def test_near_copies_count_both_ways_and_are_not_passed_on() -> None:
    rows = said(("r1", "p1", "a"), ("r2", "p2", "b"), ("r3", "p3", "c"))
    edges = pl.DataFrame({"left": ["a", "b"], "right": ["b", "c"]})
    assert counted(rows, edges) == {"r1": 1, "r2": 2, "r3": 1}


def test_rationales_of_one_prompt_are_no_copies_of_each_other() -> None:
    edges = pl.DataFrame({"left": ["a"], "right": ["b"]})
    assert counted(said(("r1", "p1", "a"), ("r2", "p1", "b"), ("r3", "p1", "a")), edges) == {}
