"""Judged differences against overlooked ones, worked out by hand."""

import polars as pl
import pytest

from pipeline.dedup.apart import own_answers, told_apart

COLUMNS = ("left_pair", "right_pair", "low_left", "low_right", "high_left", "high_right", "kind")


def edges(*rows: tuple[str, ...]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String), orient="row")


def scores(kind: str = "cosine", **similarities: float | None) -> pl.DataFrame:
    """Similarities of a kind by the names of two texts, `ab=0.9`; the other kind's are 0."""
    rows = [(*sorted(two), value) for two, value in similarities.items()]
    table = pl.DataFrame(rows, schema={"left": pl.String, "right": pl.String, kind: pl.Float64}, orient="row")
    other = "jaccard" if kind == "cosine" else "cosine"
    return table.with_columns(pl.lit(0.0).alias(other)).select("left", "right", "cosine", "jaccard")


def test_own_answers_are_listed_once_whichever_side_they_are_on() -> None:
    listed = own_answers(edges(("p", "q", "a", "a", "b", "c", "cosine"), ("p", "r", "b", "d", "a", "c", "cosine")))

    assert listed.rows() == [("a", "b"), ("a", "c"), ("c", "d")]


@pytest.mark.parametrize("kind", ["cosine", "jaccard"])
@pytest.mark.parametrize(
    ("own", "other_own", "kept"),
    [
        (0.5, 0.5, True),
        (0.96, 0.5, True),
        (0.97, 0.5, False),
        (0.5, 0.97, False),
        (0.98, 0.98, False),
        (None, 0.5, True),
        (None, 0.98, False),
    ],
)
def test_the_less_alike_match_must_be_closer_than_both_pairs_own_answers(
    own: float | None, other_own: float | None, kept: bool, kind: str
) -> None:
    found = edges(("p", "q", "a", "c", "b", "d", kind))

    assert told_apart(found, scores(kind, ac=0.97, bd=0.99, ab=own, cd=other_own)).height == kept


def test_four_answers_that_begin_alike_are_not_one_judgement() -> None:
    """a over b, and a (with a letter lost) over a: the second answers are as far apart as the first pair's two."""
    found = edges(("p", "q", "a", "e", "b", "a", "cosine"))

    assert told_apart(found, scores(ae=0.9999, ab=0.985)).height == 0


def test_an_answer_that_both_share_counts_as_one() -> None:
    found = edges(("p", "q", "a", "a", "b", "c", "cosine"))

    assert told_apart(found, scores(bc=0.96, ab=0.95, ac=0.9)).height == 1
    assert told_apart(found, scores(bc=0.96, ab=0.96, ac=0.9)).height == 0


def test_equal_answers_under_prompts_that_are_alike_are_one_judgement_however_alike_they_are() -> None:
    found = edges(("p", "q", "a", "a", "b", "b", "cosine"))

    assert told_apart(found, scores(ab=1.0)).equals(found)


def test_answers_without_scores_are_apart() -> None:
    found = edges(("p", "q", "a", "c", "b", "d", "cosine"))

    assert told_apart(found, scores(ac=0.97, bd=0.97, ab=None)).equals(found)


def test_rows_keep_their_order_and_none_is_fine() -> None:
    found = edges(("p", "q", "a", "c", "b", "b", "cosine"), ("a", "b", "a", "c", "b", "b", "cosine"))

    assert told_apart(found, scores(ac=0.97, ab=0.1, bc=0.1)).equals(found)
    assert told_apart(edges(), scores(ab=0.9)).height == 0
