import json
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.errors import LayoutError

Ingest = Callable[..., Any]
BASE: dict[str, Any] = {"prompt": "q", "response_a": "x", "response_b": "y"}


@pytest.mark.parametrize(
    ("winner", "outcome", "both_bad"),
    [
        ("a", "a", False), ("B", "b", False), ("Model_A", "a", False), ("response b", "b", False), ("assistant-a", "a", False),
        ("[[B]]", "b", False), ("left", "a", False), ("second", "b", False), ("A is better", "a", False), ("A>B", "a", False),
        ("B > A", "b", False), ("a<b", "b", False), ("tie", "tie", False), (" Draw ", "tie", False), ("both_good", "tie", False),
        ("both", "tie", False), ("tie (bothbad)", "tie", True), ("both bad", "tie", True), ("neither", "tie", True),
        ("BOTHBAD", "tie", True),
        ("model_1", "a", False), ("output 2", "b", False), ("[[C]]", "tie", False),
    ],
)  # fmt: skip
def test_verdicts_are_understood_in_many_spellings(ingest: Ingest, winner: str, outcome: str, both_bad: bool) -> None:
    row = ingest([BASE | {"winner": winner}]).one()
    assert (row["outcome"], row["both_bad"], row["vote_layout"]) == (outcome, both_bad, False)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("output_1", "output_2"),
        ("answer_a", "answer_b"),
        ("Response 1", "Response 2"),
        ("completion1", "completion2"),
        ("text_left", "text_right"),
    ],
)
def test_the_name_of_an_answers_field_is_a_verdict(ingest: Ingest, a: str, b: str) -> None:
    read = ingest([{"instruction": "q", a: "x", b: "y", "preference": b}, {"instruction": "q", a: "x", b: "y", "preference": a}])
    assert read.judgements["outcome"].to_list() == ["b", "a"]
    assert read.said("response_a")[0] == [("assistant", "x")]


def test_the_name_of_a_model_is_a_verdict(ingest: Ingest) -> None:
    read = ingest([BASE | {"model_a": "m1", "model_b": "m2", "winner": winner} for winner in ("m2", "m1", "tie")])
    assert read.judgements["outcome"].to_list() == ["b", "a", "tie"]
    assert read.judgements["model_b"].to_list() == ["m2"] * 3


def test_conversations_per_side_share_their_prompt(ingest: Ingest) -> None:
    user = {"role": "user", "content": "q"}
    row = {
        "conversation_a": [user, {"role": "assistant", "content": "x"}],
        "conversation_b": [user, {"role": "assistant", "content": "y"}],
        "winner": "model_b",
    }
    read = ingest([row])
    assert read.said("prompt") == [[("user", "q")]]
    assert read.said("response_b") == [[("assistant", "y")]]


def test_an_instruction_and_its_input_are_one_prompt(ingest: Ingest) -> None:
    row: dict[str, object] = {"instruction": "add", "input": "1 and 2", "output_1": "3", "output_2": "4", "label": 1}
    read = ingest([row, row | {"input": ""}, row | {"input": None}, row | {"instruction": 5}])
    assert read.said("prompt") == [[("user", "add\n\n1 and 2")], [("user", "add")], [("user", "add")]]
    assert read.reasons() == [(3, "wrong_type", "instruction")]


@pytest.mark.parametrize(
    ("values", "outcomes"),
    [
        ([1, 2], ["a", "b"]),
        (["1", "2"], ["a", "b"]),
        ([1.0, 2.0], ["a", "b"]),
        ([1, 2, 0], ["a", "b", "tie"]),
        ([2], ["b"]),
        (["1", "Tie"], ["a", "tie"]),
    ],
)
def test_ones_and_twos_are_sides_and_a_zero_beside_them_is_a_tie(ingest: Ingest, values: list[Any], outcomes: list[str]) -> None:
    assert ingest([BASE | {"winner": value} for value in values]).judgements["outcome"].to_list() == outcomes


@pytest.mark.parametrize("values", [[0, 1], [0], [1, 2, 3], [-1, 0, 1], [True, False], ["0", "1"]])
def test_other_numbers_are_ambiguous_and_the_error_says_what_to_write(ingest: Ingest, values: list[Any]) -> None:
    with pytest.raises(LayoutError, match=r"raw/file: the verdicts in 'winner' are .* more than one way(?s:.*)outcomes: \{'"):
        ingest([BASE | {"winner": value} for value in values])


def test_outcomes_of_the_config_win_over_everything(ingest: Ingest) -> None:
    rows = [BASE | {"winner": value} for value in (0, 1, "a", "Unsure", True)]
    read = ingest(rows, outcomes={"0": "a", "1": "b", "A": "both_bad", "unsure": "tie", "true": "b"})
    assert read.judgements["outcome"].to_list() == ["a", "b", "tie", "tie", "b"]
    assert read.judgements["both_bad"].to_list() == [False, False, True, False, False]


def test_sides_numbered_from_zero_with_an_id_verdict_are_zero_based(ingest: Ingest) -> None:
    row: dict[str, object] = {"prompt": "q", "response_0": "x", "response_1": "y", "better_response_id": 1, "safer_response_id": 0}
    read = ingest([row, row | {"better_response_id": 0}])
    assert read.judgements["outcome"].to_list() == ["b", "a"]
    assert json.loads(read.judgements["extra"][0]) == {"safer_response_id": 0}


def test_an_integer_outside_the_encoding_is_an_unknown_verdict_later_in_a_file(ingest: Ingest) -> None:
    read = ingest([*[BASE | {"winner": 1}] * 250, BASE | {"winner": 3}])
    assert read.reasons() == [(250, "unknown_verdict", "winner")]


def test_missing_and_unknown_verdicts_are_quarantined(ingest: Ingest) -> None:
    read = ingest([BASE | {"winner": value} for value in ("a", None, "", "purple")])
    assert read.reasons() == [(1, "missing_field", "winner"), (2, "missing_field", "winner"), (3, "unknown_verdict", "winner")]
    assert read.quarantined["detail"][2].startswith("found purple; expected a, b, tie, both_bad in their usual spellings")


def test_two_problems_of_a_row_are_one_record(ingest: Ingest) -> None:
    read = ingest([BASE | {"winner": "a"}, {"prompt": 1, "response_a": True, "winner": "purple"}])
    assert read.quarantined.height == 1


def test_what_was_shown_first_is_kept_as_a_side(ingest: Ingest) -> None:
    read = ingest([BASE | {"winner": "a", "shown_first": value} for value in ("response_b", "A", "both", None)])
    assert read.judgements["shown_first"].to_list() == ["b", "a", None, None]
    assert read.judgements["extra"].to_list() == [None, None, '{"shown_first":"both"}', None]


FLAGS = ("winner_model_a", "winner_model_b", "winner_tie")


def test_one_field_for_each_outcome_is_a_verdict(ingest: Ingest) -> None:
    marks = [(1, 0, 0), (False, True, False), ("0", "0", "1"), (0, 0, 0), (1, 1, 0), (None, None, None), (0.7, 0.2, 0.1), (None, 1, None)]
    read = ingest([BASE | dict(zip(FLAGS, mark, strict=True)) for mark in marks])
    assert read.judgements.select("source_row", "outcome").rows() == [(0, "a"), (1, "b"), (2, "tie"), (7, "b")]
    field = ", ".join(FLAGS)
    assert read.reasons() == [
        (3, "unknown_verdict", field), (4, "unknown_verdict", field), (5, "missing_field", field), (6, "unknown_verdict", field),
    ]  # fmt: skip
    assert read.quarantined["detail"][1].startswith("found winner_model_a=1, winner_model_b=1, winner_tie=0; expected exactly one of them")
    assert read.judgements["extra"].null_count() == 4


def test_fields_for_each_outcome_can_be_named(ingest: Ingest) -> None:
    rows = [BASE | {"first": 1, "second": 0}, BASE | {"first": 0, "second": 1}, BASE | {"first": 0, "second": 0}]
    read = ingest(rows, fields={"winner": ["first", "second"]})
    assert read.judgements["outcome"].to_list() == ["a", "b"]
    assert read.reasons() == [(2, "unknown_verdict", "first, second")]
    with pytest.raises(LayoutError, match=r"`fields: winner:` names 4 fields; expected one with the verdict, or two or three"):
        ingest(rows, fields={"winner": ["first", "second", "prompt", "response_a"]})


@pytest.mark.parametrize(("a", "b"), [("score_a", "score_b"), ("Score_A", "Score_B"), ("score_1", "score_2"), ("reward_a", "reward_b")])
def test_the_higher_score_of_a_side_wins_and_equal_ones_are_a_tie(ingest: Ingest, a: str, b: str) -> None:
    scores = [(0.5, -0.5), (0, 3), ("1.0", 1), (None, 1), ("high", 1), (1, 1)]
    read = ingest([BASE | {a: one, b: two} for one, two in scores])
    assert read.judgements.select("outcome", "strength").rows() == [("a", None), ("b", None), ("tie", None), ("tie", None)]
    assert read.reasons() == [(3, "missing_field", f"{a}, {b}"), (4, "unknown_verdict", f"{a}, {b}")]
    assert read.quarantined["detail"][1] == f"found {a}=high, {b}=1; expected a number for each answer"


def test_scores_beside_a_winner_are_kept(ingest: Ingest) -> None:
    read = ingest([BASE | {"winner": "a", "score_a": 1, "score_b": 2}])
    assert read.judgements.select("outcome", "extra").rows() == [("a", '{"score_a":1,"score_b":2}')]


def test_left_and_right_that_name_models_are_no_answers(ingest: Ingest) -> None:
    row = {"prompt": 1, "left": "m1", "right": "m2", "worker": 3, "winner": "left"}
    with pytest.raises(LayoutError, match="ab: lacks response_a and response_b"):
        ingest([row])


def test_a_statement_and_its_elaboration_are_one_rationale(ingest: Ingest) -> None:
    told = {"preference_strength": -2, "preference_statement": "1 is better", "preference_elaboration": "It is right."}
    read = ingest([BASE | told, BASE | told | {"preference_elaboration": ""}, BASE | {"preference_strength": 1}])
    assert read.judgements["rationale"].to_list() == ["1 is better\n\nIt is right.", "1 is better", None]
    assert read.judgements["extra"].null_count() == 3


@pytest.mark.parametrize("field", ["reasoning", "critique", "justification", "gpt_reason"])
def test_written_reasons_are_rationales(ingest: Ingest, field: str) -> None:
    assert ingest([BASE | {"winner": "a", field: "r"}]).one()["rationale"] == "r"


def test_a_judges_raw_output_is_kept_and_its_explanation_is_the_rationale(ingest: Ingest) -> None:
    row: dict[str, Any] = {
        "instruction": "q", "output_1": "x", "output_2": "y", "generator_1": "m", "generator_2": "n", "annotator": "judge",
        "preference": 1.0, "raw_completion": {"concise_explanation": "m is right", "logprobs": [1]},
    }  # fmt: skip
    read = ingest([row, row | {"preference": 1.5}, row | {"preference": None, "raw_completion": None}])
    assert read.judgements.select("outcome", "model_a", "model_b", "annotator", "rationale").rows() == [
        ("a", "m", "n", "judge", "m is right"), ("tie", "m", "n", "judge", "m is right"),
    ]  # fmt: skip
    assert json.loads(read.judgements["extra"][0]) == {"raw_completion": row["raw_completion"]}
    assert read.reasons() == [(2, "missing_field", "preference")]
