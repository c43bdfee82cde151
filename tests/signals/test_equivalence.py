"""How much two answers say the same: the checks of the methods reference, and slow references."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.schemas import MESSAGES_PL
from pipeline.signals import equivalence
from pipeline.signals.equivalence import add_bmas, add_equivalence, edit_distance
from tests.builders import message


def pairs_of(*answers: tuple[str, str], cosine: float | None = None, calls: tuple[str | None, str | None] = (None, None)) -> pl.DataFrame:
    """A pair for each (chosen, rejected), with tool calls on either side."""
    sides = {}
    for side in (0, 1):
        called = {} if calls[side] is None else {"tool_calls": str(calls[side])}
        sides[side] = [[message("assistant", pair[side], **called)] for pair in answers]
    ids = {"chosen_id": [f"{i}c" for i in range(len(answers))], "rejected_id": [f"{i}r" for i in range(len(answers))]}
    told = pl.DataFrame({"chosen": sides[0], "rejected": sides[1]}, schema={"chosen": MESSAGES_PL, "rejected": MESSAGES_PL})
    return told.with_columns(
        pl.lit(cosine, pl.Float64).alias("cosine_chosen_rejected"), **{name: pl.Series(one, dtype=pl.String) for name, one in ids.items()}
    )


def signals(chosen: str, rejected: str, **given: float | None) -> tuple[float, float, bool]:
    names = ["edit_distance", "answers_jaccard", "answers_equivalent"]
    values: tuple[float, float, bool] = add_equivalence(pairs_of((chosen, rejected), **given)).select(names).row(0)  # type: ignore[arg-type]
    return values


def lists(*texts: Sequence[str]) -> pl.Series:
    return pl.Series([list(text) for text in texts], dtype=pl.List(pl.String))


def slow_levenshtein(a: Sequence[str], b: Sequence[str]) -> int:
    row = list(range(len(b) + 1))
    for i, one in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (one != other))
    return row[-1]


def test_edit_distance_of_the_methods_reference() -> None:
    found = edit_distance(lists("kitten", "same", "abc", "", ""), lists("sitting", "same", "", "abc", ""))

    assert found.to_list() == pytest.approx([3 / 7, 0.0, 1.0, 1.0, 0.0])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.lists(st.text(max_size=2), max_size=9), st.lists(st.text(max_size=2), max_size=9)), max_size=8))
def test_edit_distance_is_levenshtein_by_the_longer(rows: list[tuple[list[str], list[str]]]) -> None:
    left, right = lists(*(a for a, _ in rows)), lists(*(b for _, b in rows))

    expected = [slow_levenshtein(a, b) / max(len(a), len(b), 1) for a, b in rows]

    assert edit_distance(left, right).to_list() == pytest.approx(expected)
    assert edit_distance(right, left).to_list() == pytest.approx(expected)


def test_edit_distance_does_not_depend_on_slices_and_stops_at_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = lists("abcd", "ab", "", "xyz"), lists("abce", "b", "q", "xyz")
    whole = edit_distance(left, right).to_list()

    monkeypatch.setattr(equivalence, "_SLICE_TOKENS", 3)
    assert edit_distance(left, right).to_list() == whole
    monkeypatch.setattr(equivalence, "MAX_EDIT_TOKENS", 3)
    assert edit_distance(left, right).to_list() == [0.0, 0.5, 1.0, 0.0]


def test_more_distinct_tokens_than_there_are_characters_before_the_surrogates() -> None:
    many = [str(i) for i in range(60_000)]

    found = edit_distance(pl.Series([[token] for token in many]), pl.Series([[token] for token in many[1:] + many[:1]]))

    assert found.sum() == 60_000.0
    assert edit_distance(pl.Series([many[-9:]]), pl.Series([many[-9:]])).to_list() == [0.0]


def test_words_and_marks_are_compared() -> None:
    assert signals("Use the red door.", "Use the red door!")[0] == pytest.approx(1 / 5)
    assert signals("Use the red door", "use the red door")[0] == pytest.approx(1 / 4)


def test_jaccard_of_the_answers() -> None:
    assert signals("one two three four five", "one two three four five six")[1] == 0.5
    assert signals("Hello, World", "hello world!")[1] == 1.0


@pytest.mark.parametrize(
    ("chosen", "rejected", "cosine", "expected"),
    [
        ("It is a very good and useful answer.", "It is a very good and useful answer!", None, True),  # by Jaccard
        ("A short answer it is.", "It is a short reply.", 0.96, True),  # by cosine
        ("A short answer it is.", "It is a short reply.", 0.94, False),
        ("A short answer it is.", "It is a short reply.", None, False),
        ("Use X", "not: use X", 0.99, False),  # almost all tokens shared, and the opposite meaning
        ("It is 3 metres long, I think", "It is 4 metres long, I think", 0.99, False),
        ("I think it is in Paris", "I think it is in Rome", 0.99, False),
        ("x + 1", "x - 1", None, False),  # Jaccard 1: words leave marks out
        ("", " ", None, True),
        ("same text", "same text", 1.0, True),
    ],
)
def test_answers_are_equivalent_when_near_identical_and_nothing_stated_differs(
    chosen: str, rejected: str, cosine: float | None, expected: bool
) -> None:
    assert signals(chosen, rejected, cosine=cosine)[2] is expected
    assert signals(rejected, chosen, cosine=cosine)[2] is expected


def test_answers_with_other_tool_calls_are_not_equivalent() -> None:
    equal, other = pairs_of(("same", "same"), calls=("f(1)", "f(1)")), pairs_of(("same", "same"), calls=("f(1)", "f(2)"))

    assert add_equivalence(equal)["answers_equivalent"].to_list() == [True]
    assert add_equivalence(other)["answers_equivalent"].to_list() == [False]


def test_high_token_overlap_alone_is_no_equivalence() -> None:
    """Token F1 of these is above 0.9."""
    answer = "the committee said that the new plan for the old town hall would be approved by the board this week"

    assert signals(answer, answer.replace("would be", "would not be"), cosine=0.98)[2] is False


def test_rows_keep_their_order_and_do_not_touch_each_other() -> None:
    rows = pairs_of(("a b c", "a b c"), ("x", "y"), ("one two", "One two."), ("", "z"))

    added = add_equivalence(rows)

    assert added["chosen_id"].to_list() == rows["chosen_id"].to_list()
    assert added["answers_equivalent"].to_list() == [True, False, True, False]
    assert add_equivalence(rows.reverse()).reverse().equals(added)


def test_no_pairs() -> None:
    added = add_equivalence(pairs_of())

    assert added.select("edit_distance", "answers_jaccard", "answers_equivalent").dtypes == [pl.Float64, pl.Float64, pl.Boolean]
    assert add_bmas(pairs_of(), Letters()).schema["bmas"] == pl.Float64


class Letters:
    """An encoder whose tokens are the letters a, b and c."""

    def token_table(self) -> npt.NDArray[np.float32] | None:
        return np.array([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32)

    def token_ids(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        ids = [["abc".index(letter) for letter in text.strip()] for text in texts]
        return np.array([token for one in ids for token in one], dtype=np.int32), np.cumsum([0, *map(len, ids)])


class Shy(Letters):
    """An encoder that hides its embeddings."""

    def token_table(self) -> npt.NDArray[np.float32] | None:
        return None


def test_bmas_of_both_answers() -> None:
    found = add_bmas(pairs_of(("ab", "acb"), ("ab", "ba"), ("a", " ")), Letters())["bmas"].to_list()

    assert found == [pytest.approx(0.966667, abs=2e-4), 1.0, None]


@pytest.mark.parametrize("encoder", [None, Shy()])
def test_bmas_is_null_where_the_encoder_shows_no_tokens(encoder: Letters | None) -> None:
    assert add_bmas(pairs_of(("a", "a")), encoder)["bmas"].to_list() == [None]
