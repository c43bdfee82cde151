"""Answers as typed parts, as turns in lists, and to prompts of their own."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.errors import LayoutError

Ingest = Callable[..., Any]
IMAGE = {"type": "image_url", "image_url": {"url": "x.png"}}


def said(role: str, content: object) -> dict[str, object]:
    return {"role": role, "content": content}


def text(value: str, key: str = "text") -> dict[str, str]:
    return {"type": "text", key: value}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([text("x")], "x"),
        ([text("x", "value"), text(" y\n", "content")], "x y\n"),
        (["x", text("y")], "xy"),
        ([{"text": 'say "x"'}], 'say "x"'),
        (text("x"), "x"),
        ([{"type": "output_text", "text": "x"}], "x"),
        ([], ""),
    ],
)
def test_the_texts_of_typed_parts_are_one_text(ingest: Ingest, content: object, expected: str) -> None:
    read = ingest([{"prompt": "q", "chosen": [said("assistant", content)], "rejected": "b"}])
    assert read.said("response_a") == [[("assistant", expected)]]
    assert read.reasons() == []


@pytest.mark.parametrize(
    ("content", "counted"),
    [
        ([text("x"), IMAGE], "1 image_url part"),
        ([IMAGE, {"type": "audio"}, IMAGE], "1 audio part, 2 image_url parts"),
        ([text("x"), 5, None, {"type": "text"}], "3 unreadable parts"),
        (IMAGE, "1 image_url part"),
    ],
)
def test_parts_that_are_no_text_are_counted_and_refused(ingest: Ingest, content: object, counted: str) -> None:
    read = ingest([{"prompt": [said("user", "q"), said("user", content)], "chosen": "a", "rejected": "b"}])
    assert read.reasons() == [(0, "non_text_content", "prompt")]
    assert read.quarantined["detail"].to_list() == [f"message 2: {counted}; expected text parts only"]


def test_conversations_in_typed_parts_share_their_prefix(ingest: Ingest) -> None:
    start = [said("user", [text("q", "value")])]
    chosen, rejected = [*start, said("assistant", [text("x", "value")])], [*start, said("assistant", [text("y", "value")])]
    read = ingest([{"chosen_messages": chosen, "rejected_messages": rejected}])
    assert (read.said("prompt"), read.said("response_b")) == ([[("user", "q")]], [[("assistant", "y")]])


def test_a_text_inside_an_object_is_found_and_the_rest_of_it_kept(ingest: Ingest) -> None:
    row = {"question": {"id": "7", "full_text": "q"}, "answer_0": "x", "answer_1": "y", "score_0": 0.5, "score_1": -0.5}
    read = ingest([row])
    assert read.said("prompt") == [[("user", "q")]]
    assert read.judgements["extra"].to_list() == ['{"question":{"id":"7","full_text":"q"},"score_0":0.5,"score_1":-0.5}']


def cells(*values: object) -> str:
    return ",".join('"' + json.dumps(value).replace('"', '""') + '"' for value in values)


def test_turns_in_lists_of_one_length_are_conversations(ingest: Ingest) -> None:
    head = "prompt,response_a,response_b,winner_model_a,winner_model_b,winner_tie\n"
    rows = [
        cells(["q"], ["x"], ["y"]) + ",1,0,0",
        cells(["q", "r"], ["x", "z"], ["x", None]) + ",0,0,1",
        cells(["q", "r"], ["x"], ["y", "z"]) + ",0,1,0",
        '"[""q""]","[""x""]","[""broken \\"\n'.rstrip("\n") + ",0,1,0",
    ]
    read = ingest(head + "\n".join(rows) + "\n", "a.csv")
    assert read.said("prompt") == [[("user", "q")], [("user", "q"), ("assistant", "x"), ("user", "r")]]
    assert read.said("response_a") == [[("assistant", "x")], [("assistant", "z")]]
    assert read.said("response_b") == [[("assistant", "y")], [("assistant", "")]]
    assert read.judgements["outcome"].to_list() == ["a", "tie"]
    assert read.reasons() == [(2, "prompt_mismatch", "prompt"), (3, "wrong_type", "prompt")]
    assert read.quarantined["detail"][0] == "2 prompts, 1 and 2 answers; expected as many answers on each side as prompts"
    assert read.quarantined["detail"][1].startswith("looks like a list of turns, but is not JSON")


def test_texts_that_look_like_lists_are_texts_where_the_format_has_lists(ingest: Ingest) -> None:
    read = ingest([{"prompt": '["q"]', "response_a": '["x', "response_b": '["y"]', "winner": "a"}])
    assert read.said("response_a") == [[("assistant", '["x')]]


def test_lists_in_answers_to_a_plain_prompt_are_text(ingest: Ingest) -> None:
    read = ingest("prompt,response_a,response_b,winner\nq," + cells(["x"], ["y"]) + ",a\n", "a.csv")
    assert read.said("response_a") == [[("assistant", '["x"]')]]


SIDES: dict[str, Any] = {"response_a": "x", "response_b": "y", "winner": "b"}


def test_two_prompts_make_two_whole_conversations(ingest: Ingest) -> None:
    read = ingest([SIDES | {"prompt_a": "p", "prompt_b": "q"}])
    assert read.said("prompt") == [[]]
    assert read.said("response_a") == [[("user", "p"), ("assistant", "x")]]
    assert read.said("response_b") == [[("user", "q"), ("assistant", "y")]]
    assert read.judgements["outcome"].to_list() == ["b"]


def test_two_prompts_share_their_leading_messages(ingest: Ingest) -> None:
    start = [said("user", "p"), said("assistant", "o")]
    read = ingest(
        [
            SIDES | {"prompt_a": [*start, said("user", "q")], "prompt_b": [*start, said("user", "r")]},
            SIDES | {"prompt_a": "p", "prompt_b": "p "},
        ]
    )
    assert read.said("prompt") == [[("user", "p"), ("assistant", "o")], [("user", "p")]]
    assert read.said("response_a") == [[("user", "q"), ("assistant", "x")], [("assistant", "x")]]


def test_whole_conversations_beside_their_own_prompts_must_hold_them(ingest: Ingest) -> None:
    sides = {"response_a": [said("user", "p"), said("assistant", "x")], "response_b": "y", "winner": "a"}
    read = ingest([sides | {"prompt_a": "p", "prompt_b": "q"}, sides | {"prompt_a": "other", "prompt_b": "q"}])
    assert read.said("response_a") == [[("user", "p"), ("assistant", "x")]]
    assert read.reasons() == [(1, "prompt_mismatch", "prompt_a")]


def test_a_missing_prompt_of_one_side_is_named(ingest: Ingest) -> None:
    read = ingest([SIDES | {"instruction_1": "p", "instruction_2": None}, SIDES | {"instruction_1": "p", "instruction_2": 4}])
    assert read.reasons() == [(0, "missing_field", "instruction_2"), (1, "wrong_type", "instruction_2")]


def test_chosen_and_rejected_may_answer_different_prompts(ingest: Ingest) -> None:
    read = ingest([{"prompt_chosen": "p", "prompt_rejected": "q", "chosen": "x", "rejected": "y"}])
    assert read.said("response_b") == [[("user", "q"), ("assistant", "y")]]


def test_messages_of_each_side_are_its_conversation(ingest: Ingest) -> None:
    sides = {f"messages_{side}": [said("user", "q"), said("assistant", side)] for side in "ab"}
    read = ingest([sides | {"winner": "model_b"}])
    assert (read.said("prompt"), read.said("response_b")) == ([[("user", "q")]], [[("assistant", "b")]])


def test_a_context_of_messages_is_the_prompt_where_there_is_no_other(ingest: Ingest) -> None:
    row = {"context": [said("user", "q")], "response1": "x", "response2": "y", "winner": "a"}
    read = ingest([row, row | {"context": [said("user", "r")]}])
    assert read.said("prompt") == [[("user", "q")], [("user", "r")]]
    assert read.judgements["context"].null_count() == 2


def test_a_context_beside_a_prompt_is_what_the_verdict_depends_on(ingest: Ingest) -> None:
    read = ingest([SIDES | {"prompt": "q", "context": "be brief"}, SIDES | {"prompt": "q", "user_id": 7}], fields={"context": "user_id"})
    assert read.judgements["context"].to_list() == [None, "7"]
    assert read.judgements["annotator"].to_list() == [None, "7"]
    assert ingest([SIDES | {"prompt": "q", "principle": "be brief"}]).one()["context"] == "be brief"


def test_one_prompt_of_two_is_not_enough(ingest: Ingest) -> None:
    row = SIDES | {"asked_first": "p", "asked_second": "q"}
    with pytest.raises(LayoutError, match=r"ab: lacks prompt_b \(two prompts need a field each\)"):
        ingest([row], fields={"prompt_a": "asked_first"})
    read = ingest([row], fields={"prompt_a": "asked_first", "prompt_b": "asked_second"})
    assert read.said("response_b") == [[("user", "q"), ("assistant", "y")]]


def test_a_system_message_comes_before_two_prompts(ingest: Ingest) -> None:
    read = ingest([SIDES | {"system": "s", "prompt_a": "p", "prompt_b": "q"}])
    assert read.said("prompt") == [[("system", "s")]]


def test_chosen_texts_inside_objects_are_found(ingest: Ingest) -> None:
    sides = {"chosen": {"text": "x", "score": 3}, "rejected": {"text": "y", "score": 1}}
    read = ingest([{"prompt": "q"} | sides])
    assert read.said("response_a") == [[("assistant", "x")]]
    assert json.loads(read.judgements["extra"][0]) == sides
