from typing import Any

import polars as pl
import pytest

from pipeline import profile
from pipeline.ingest import QUARANTINED
from tests.builders import message, rating, raw, raw_ratings, row

Told = dict[str, tuple[str, int, int | None, int | None]]


def told(*frames: pl.DataFrame, ordered: bool = True) -> Told:
    """Code -> level, count, of how many, first row; of judgements given file by file."""
    facts = pl.concat(profile.judgement_facts(frame, number) for number, frame in enumerate(frames))
    return by_code(profile.findings(facts, profile.RATING_FACTS.to_frame(), profile.QUARANTINE_FACTS.to_frame(), ordered=ordered))


def by_code(found: pl.DataFrame) -> Told:
    return {code: (level, count, total, first) for code, level, count, total, first in found.select(
        "code", "level", "count", "total", "row").rows()}  # fmt: skip


def rated(*rows: dict[str, Any]) -> Told:
    nothing = profile.JUDGEMENT_FACTS.to_frame()
    facts = profile.rating_facts(raw_ratings(*rows), 0)
    return by_code(profile.findings(nothing, facts, profile.QUARANTINE_FACTS.to_frame(), ordered=True))


def test_a_second_row_with_the_same_comparison_verdict_and_annotator_is_a_copy() -> None:
    found = told(raw(row(annotator="ann"), row(annotator="bob"), row(annotator="ann"), row(annotator="ann", outcome="b")))
    assert found["copies"] == ("problem", 1, 4, 2)


def test_a_copy_with_sides_and_verdict_exchanged_is_a_copy_too() -> None:
    found = told(raw(row(a="x", b="y", outcome="a", annotator="ann"), row(a="y", b="x", outcome="b", annotator="ann")))
    assert found["copies"] == ("problem", 1, 2, 1)
    assert found["swapped_pairs"] == ("note", 1, 1, 1)
    assert "opposite_verdicts" not in found


def test_copies_are_compared_without_line_ends_unicode_forms_and_white_space_at_the_end() -> None:
    found = told(raw(row(a="caf\u00e9\nx"), row(a="cafe\u0301\r\nx  ")))
    assert found["copies"][1] == 1


def test_equal_votes_of_unnamed_annotators_are_votes_and_no_copies() -> None:
    found = told(raw(row(vote_layout=True), row(vote_layout=True), row(vote_layout=True)))
    assert "copies" not in found
    assert found["equal_unnamed_votes"] == ("note", 2, 3, 1)


def test_other_criteria_and_contexts_make_other_comparisons() -> None:
    found = told(raw(row(criterion="help"), row(criterion="harm", outcome="b"), row(context="be rude", outcome="b")))
    assert not {"copies", "opposite_verdicts"} & set(found)


def test_a_pair_with_verdicts_both_ways_counts_once_and_names_the_first_that_contradicts() -> None:
    votes = [row(outcome=said, annotator=str(number)) for number, said in enumerate(("tie", "a", "a", "b", "b"))]
    found = told(raw(*votes, row(prompt="other", annotator="6")))
    assert found["opposite_verdicts"] == ("note", 1, 2, 3)


def test_ties_are_counted_as_a_share_of_all_verdicts() -> None:
    assert told(raw(row(outcome="tie"), row(a="z"), row(a="w")))["ties"] == ("note", 1, 3, 0)


@pytest.mark.parametrize(
    ("given", "code", "level"),
    [
        (row(a="", b="y"), "empty_answer", "problem"),
        (row(a="y", b=" \n"), "empty_answer", "problem"),
        (row(a="same", b="same"), "identical_answers", "problem"),
        (row(a="TRUE", b="True."), "no_text", "problem"),
        (row(a="fine", b="#NAME?"), "no_text", "problem"),
        (row(prompt=" "), "empty_prompt", "problem"),
        (row(prompt=[]), "no_prompt", "note"),
        (row(prompt="Say this line of more than thirty letters.", a="Say this line of more than thirty letters. Yes.",
             b="I: Say this line of more than thirty letters."), "prompt_in_both", "problem"),
        (row(a="lost \ufffd letters"), "replacement_characters", "problem"),
        (row(a="long " * 7_000), "very_long", "note"),
        (row(a=[message("assistant", "x"), message("user", "and?"), message("assistant", "z")]), "dialogues_differ", "note"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_doubtful_row_is_counted_with_its_place(given: dict[str, object], code: str, level: str) -> None:
    assert told(raw(row(prompt="first"), given))[code] == (level, 1, 2, 1)


def test_ordinary_rows_have_no_problem() -> None:
    found = told(raw(row(annotator="ann"), row(prompt="other", a="u", b="v", outcome="b", annotator="bob")))
    assert {level for level, *_ in found.values()} <= {"note"}


def test_an_answer_that_calls_a_tool_is_not_empty_and_two_such_are_not_identical() -> None:
    calls = [[message("assistant", "", tool_calls=f'[{{"name": "{name}"}}]')] for name in ("f", "g")]
    assert not {"empty_answer", "identical_answers"} & set(told(raw(row(a=calls[0], b=calls[1]))))


@pytest.mark.parametrize(("longer", "level"), [(20, "problem"), (13, "note"), (12, "note"), (3, "problem")])
def test_verdicts_that_nearly_always_follow_length_are_a_problem(longer: int, level: str) -> None:
    rows = [row(prompt=str(i), a="long answer", b="short", outcome="a" if i < longer else "b") for i in range(20)]
    assert told(raw(*rows))["longer_wins"] == (level, longer, 20, None)


def test_a_share_of_few_verdicts_is_not_told() -> None:
    found = told(raw(*(row(prompt=str(i), a="long answer", b="short") for i in range(19))))
    assert not {"longer_wins", "first_wins"} & set(found)


def test_position_counts_only_where_the_order_of_the_answers_means_something() -> None:
    rows = raw(*(row(prompt=str(i)) for i in range(20)))
    assert told(rows)["first_wins"] == ("problem", 20, 20, None)
    assert "first_wins" not in told(rows, ordered=False)


def test_annotators_without_a_name_are_a_problem_only_where_others_have_one() -> None:
    assert told(raw(row(), row(prompt="z")))["unnamed_annotators"] == ("note", 2, 2, 0)
    assert told(raw(row(annotator="ann"), row(prompt="z")))["unnamed_annotators"] == ("problem", 1, 2, 1)


def test_quarantined_rows_are_told_by_reason_with_the_first_place_and_its_detail() -> None:
    bad = [
        {"source_row": 7, "reason": "wrong_type", "field": "chosen", "detail": "found true"},
        {"source_row": 4, "reason": "wrong_type", "field": "rejected", "detail": "found 3"},
        {"source_row": 4, "reason": "wrong_type", "field": "chosen", "detail": "found 4"},
        {"source_row": 9, "reason": "unparsable_row", "field": None, "detail": "not JSON"},
    ]
    facts = profile.quarantine_facts(pl.DataFrame([{**dict.fromkeys(QUARANTINED), **one} for one in bad], schema=QUARANTINED), 0)
    found = profile.findings(profile.JUDGEMENT_FACTS.to_frame(), profile.RATING_FACTS.to_frame(), facts, ordered=True)
    assert found.select("code", "level", "count", "row", "detail").rows() == [
        ("wrong_type", "problem", 2, 4, "rejected: found 3"),
        ("unparsable_row", "problem", 1, 9, "not JSON"),
    ]


def test_problems_come_before_notes_and_the_frequent_ones_first() -> None:
    facts = profile.judgement_facts(raw(row(a=""), row(a="", prompt="2"), row(a="z\ufffd", prompt="3"), row(prompt="4", outcome="tie")), 0)
    found = profile.findings(facts, profile.RATING_FACTS.to_frame(), profile.QUARANTINE_FACTS.to_frame(), ordered=True)
    assert found["code"].to_list() == ["empty_answer", "replacement_characters", "unnamed_annotators", "ties"]


def test_what_a_file_repeats_of_an_earlier_one_is_counted_by_file() -> None:
    first, second = raw(row(prompt="1"), row(prompt="2")), raw(row(prompt="0"), row(prompt="2"), row(prompt="1"))
    facts = [profile.judgement_facts(frame, number) for number, frame in enumerate((first, second))]
    assert profile.shared_records(facts).rows() == [(1, 0, 2, 1)]
    assert "copies" not in told(first, second)


def test_ratings_tell_their_scale_copies_and_prompts_with_one_response() -> None:
    found = rated(rating("x", 1), rating("y", 5), rating("y", 5), rating("z", 3, prompt="alone"))
    assert found["scale"] == ("note", 4, 4, None)
    assert found["copies"] == ("problem", 1, 4, 2)
    assert found["one_response"] == ("note", 1, 2, 3)


def test_a_score_that_was_flagged_as_doubtful_is_a_problem_of_that_name() -> None:
    found = rated(rating("x", 10, flags=["overall_score_misread"]), rating("", 1))
    assert found["overall_score_misread"] == ("problem", 1, 2, 0)
    assert found["empty_answer"] == ("problem", 1, 2, 1)


def test_no_records_give_no_findings() -> None:
    assert told(raw()) == {}
    assert rated() == {}
