"""Graded verdicts: which side, how strongly, and what is no verdict at all."""

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.errors import LayoutError

Ingest = Callable[..., Any]
BASE: dict[str, Any] = {"prompt": "q", "response_1": "x", "response_2": "y"}


def graded(read: Any) -> list[tuple[str, float | None]]:
    pairs = read.judgements.select("outcome", "strength").iter_rows()
    return [(outcome, None if strength is None else round(strength, 4)) for outcome, strength in pairs]


@pytest.mark.parametrize("field", ["preference_strength", "overall_preference", "preference"])
def test_signed_grades_up_to_three_favour_the_first_answer_when_negative_and_minus_100_is_no_verdict(ingest: Ingest, field: str) -> None:
    read = ingest([BASE | {field: value} for value in (-2, 1, 0, -100, 3)])
    assert graded(read) == [("a", 0.6667), ("b", 0.3333), ("tie", 0.0), ("b", 1.0)]
    assert read.judgements["both_bad"].any() is False
    assert read.reasons() == [(3, "no_verdict", field)]
    assert read.quarantined["detail"][0] == "found -100, which says that there is no verdict; expected a preference or a tie"


def test_a_value_outside_the_scale_is_an_unknown_verdict(ingest: Ingest) -> None:
    read = ingest([*[BASE | {"overall_preference": value} for value in (-3, 2)] * 100, BASE | {"overall_preference": 5}])
    assert read.reasons() == [(200, "unknown_verdict", "overall_preference")]
    assert read.quarantined["detail"][0] == "found 5; expected a number from -3 to 3, or a word from `outcomes:`"


@pytest.mark.parametrize(
    ("grades", "values", "expected"),
    [
        ({"first": 1, "second": 7}, [1, 3, 4, 7, "6"], [("a", 1.0), ("a", 0.3333), ("tie", 0.0), ("b", 1.0), ("b", 0.6667)]),
        ({"first": 5, "second": 1}, [5, 4, 3, 1.5], [("a", 1.0), ("a", 0.5), ("tie", 0.0), ("b", 0.75)]),
        ({"first": 0, "second": 1}, [0.25, 0.5, 1], [("a", 0.5), ("tie", 0.0), ("b", 1.0)]),
        ({"first": 0, "second": 4, "tie": 1}, [0, 1, 2.5, 4], [("a", 1.0), ("tie", 0.0), ("b", 0.5), ("b", 1.0)]),
        ({"first": -1, "second": 1}, [-1, 1, "tie"], [("a", 1.0), ("b", 1.0), ("tie", None)]),
    ],
)
def test_a_scale_of_the_config_gives_outcome_and_strength(
    ingest: Ingest, grades: dict[str, float], values: list[Any], expected: list[tuple[str, float | None]]
) -> None:
    assert graded(ingest([BASE | {"label": value} for value in values], grades=grades)) == expected


def test_the_configs_own_words_win_over_its_scale(ingest: Ingest) -> None:
    read = ingest([BASE | {"label": value} for value in (1, 9, 8)], grades={"first": 1, "second": 7}, outcomes={"9": "none", "8": "tie"})
    assert graded(read) == [("a", 1.0), ("tie", None)]
    assert read.reasons() == [(1, "no_verdict", "label")]


def test_numbers_between_1_and_2_are_the_probability_of_the_second_and_15_is_a_tie(ingest: Ingest) -> None:
    read = ingest([BASE | {"preference": value} for value in (1, 1.0000004, 1.25, 1.5, 1.9, 2.0, 0)])
    assert graded(read) == [("a", None), ("a", 1.0), ("a", 0.5), ("tie", 0.0), ("b", 0.8), ("b", None), ("tie", None)]


@pytest.mark.parametrize("late", [1.5, 0, 1.75])
def test_what_a_number_says_does_not_depend_on_the_order_of_the_rows(ingest: Ingest, late: float) -> None:
    rows = [BASE | {"preference": value} for value in [1, 2] * 150]
    last, first = ingest([*rows, BASE | {"preference": late}]), ingest([BASE | {"preference": late}, *rows])
    assert last.judgements.height == first.judgements.height == 301
    assert graded(last)[300] == graded(first)[0]


@pytest.mark.parametrize(
    ("values", "shown", "remedy"),
    [
        ([0, 1], "0, 1,", r"outcomes: \{'0': a, '1': b\}"),
        ([-1, 1], "-1, 1,", r"outcomes: \{'-1': a, '1': b\}"),
        ([1, 2, 3, 4, 5, 6, 7], "1, 2, 3, 4, 5, 6, 7,", r"grades: \{first: 1, second: 7\}"),
        ([1, 5, 3], "1, 3, 5,", r"grades: \{first: 1, second: 5\}"),
        ([0.1, 0.9, 0.3, 0.4], "0.1, 0.3, 0.4, 0.9,", r"grades: \{first: 0.1, second: 0.9\}"),
        ([n / 100 for n in range(50)], "0.07 and 42 more,", r"grades: \{first: 0, second: 0.49\}"),
    ],
)
def test_an_ambiguous_scale_names_the_values_and_the_config_to_write(
    ingest: Ingest, values: list[float], shown: str, remedy: str
) -> None:
    with pytest.raises(LayoutError, match=rf"raw/file: the verdicts in 'label' are .*{shown} which can be read(?s:.*){remedy}"):
        ingest([BASE | {"label": value} for value in values])


def test_signed_grades_in_a_field_of_another_name_are_ambiguous(ingest: Ingest) -> None:
    with pytest.raises(LayoutError, match=r"'label' are -2, 0, 1, which can be read(?s:.*)grades: \{first: -2, second: 1\}"):
        ingest([BASE | {"label": value} for value in (-2, 0, 1)])


@pytest.mark.parametrize(
    ("text", "outcome", "strength"),
    [
        ("A is slightly better", "a", 0.3333), ("B is better", "b", 0.6667), ("response 1 is much better", "a", 1.0),
        ("Response 2 is significantly better than Response 1", "b", 1.0), ("a_much_better", "a", 1.0), ("A>>B", "a", 1.0),
        ("A>B", "a", 0.6667), ("A << B", "b", 1.0), ("[[B>A]]", "b", 0.3333), ("[[A>>B]]", "a", 1.0), ("[[A=B]]", "tie", None),
        ("strongly prefer B", "b", 1.0), ("slightly prefers the first response", "a", 0.3333), ("about the same", "tie", None),
        ("model_b is negligibly better", "b", 0.0), ("The second answer is a bit better", "b", 0.3333), ("A", "a", None),
        ("response_1 wins", "a", None), ("left is moderately better", "a", 0.6667), ("equally bad", "tie", None),
    ],
)  # fmt: skip
def test_degrees_in_words_are_strengths(ingest: Ingest, text: str, outcome: str, strength: float | None) -> None:
    assert graded(ingest([BASE | {"winner": text}])) == [(outcome, strength)]


def test_a_degree_without_a_side_is_ambiguous_until_the_config_names_the_side(ingest: Ingest) -> None:
    rows = [BASE | {"winner": "slightly better"}, BASE | {"winner": "much better"}]
    with pytest.raises(LayoutError, match=r"are much_better, slightly_better, which can be read(?s:.*)outcomes: \{'much_better': a\}"):
        ingest(rows)
    assert graded(ingest(rows, outcomes={"slightly better": "a", "much better": "a"})) == [("a", 0.3333), ("a", 1.0)]


@pytest.mark.parametrize(
    ("told", "strength"), [(0.75, 0.75), ("slightly better", 0.3333), ("much", 1.0), (None, 0.6667), ("quite so", 0.6667)]
)
def test_a_strength_of_its_own_wins_over_the_verdicts(ingest: Ingest, told: object, strength: float) -> None:
    read = ingest([BASE | {"overall_preference": -2, "strength": told}, BASE | {"overall_preference": -3, "strength": 1}])
    assert graded(read)[0] == ("a", strength)


def test_a_preference_strength_on_an_unknown_scale_is_kept_beside_the_winner(ingest: Ingest) -> None:
    read = ingest([BASE | {"winner": "response_2", "preference_strength": value} for value in (1, 3)])
    assert graded(read) == [("b", None), ("b", None)]
    assert read.judgements["extra"].to_list() == ['{"preference_strength":1}', '{"preference_strength":3}']


def test_a_preference_strength_in_words_is_the_verdict_where_there_is_no_other(ingest: Ingest) -> None:
    rows = [BASE | {"preference_strength": text} for text in ("response 1 is slightly better", "response 2 is much better")]
    assert graded(ingest(rows)) == [("a", 0.3333), ("b", 1.0)]


@pytest.mark.parametrize("row", [0, 1, 2, 300])
def test_a_stray_number_among_words_that_name_both_sides_is_a_fact_about_its_row(ingest: Ingest, row: int) -> None:
    words = ["A", "B", "tie"] * 101
    words[row] = "7"
    read = ingest([BASE | {"winner": word} for word in words])
    assert read.judgements.height == len(words) - 1
    assert read.reasons() == [(row, "unknown_verdict", "winner")]


def test_the_config_to_write_takes_a_sentinel_for_no_verdict(ingest: Ingest) -> None:
    with pytest.raises(LayoutError, match=r"grades: \{first: 1, second: 7\}\n  outcomes: \{'-100': none\}$"):
        ingest([BASE | {"winner": value} for value in (1, 4, 7, -100)])
