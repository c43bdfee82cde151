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


@pytest.mark.parametrize("values", [[0, 1], [0], [1, 2, 3], [-1, 0, 1], [True, False], [1, 1.5, 2], ["0", "1"]])
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
