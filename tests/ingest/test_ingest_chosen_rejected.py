import json
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.conversations.messages import compare, parse
from pipeline.ingest.fragments import Json

Ingest = Callable[..., Any]
USER = {"role": "user", "content": "hi"}


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def test_texts_with_a_prompt_become_one_message_each(ingest: Ingest) -> None:
    row = ingest([{"prompt": "q", "system": "be kind", "chosen": "yes", "rejected": "no"}])
    assert row.said("prompt") == [[("system", "be kind"), ("user", "q")]]
    assert row.said("response_a") == [[("assistant", "yes")]]
    assert row.said("response_b") == [[("assistant", "no")]]
    one = row.one()
    assert (one["outcome"], one["both_bad"], one["vote_layout"], one["annotator"]) == ("a", False, False, None)
    assert (one["source"], one["source_uri"], one["criterion"], one["extra"]) == ("src", "raw/file", "overall", None)


def test_transcripts_share_their_leading_messages(ingest: Ingest) -> None:
    start = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c  Human: still c\nAssistant: also c"
    read = ingest([{"chosen": start + "\n\nAssistant: good", "rejected": start + "\n\nAssistant: bad\n\nHuman: d"}])
    assert read.said("prompt") == [[("Human", "a"), ("Assistant", "b"), ("Human", "c  Human: still c\nAssistant: also c")]]
    assert read.said("response_a") == [[("Assistant", "good")]]
    assert read.said("response_b") == [[("Assistant", "bad"), ("Human", "d")]]


def test_transcripts_that_start_without_line_breaks_are_transcripts(ingest: Ingest) -> None:
    read = ingest([{"chosen": "Human: q\n\nAssistant: yes", "rejected": "Human: q\n\nAssistant: no"}])
    assert read.said("prompt") == [[("Human", "q")]]


def test_an_empty_last_turn_is_an_empty_answer(ingest: Ingest) -> None:
    read = ingest([{"chosen": "\n\nHuman: q\n\nAssistant:", "rejected": "\n\nHuman: q\n\nAssistant: no"}])
    assert read.said("prompt") == [[("Human", "q")]]
    assert read.said("response_a") == [[("Assistant", "")]]


def test_transcripts_with_different_prompts_share_what_they_can(ingest: Ingest) -> None:
    read = ingest(
        [
            {"chosen": "\n\nHuman: a\n\nAssistant: x", "rejected": "\n\nHuman: b\n\nAssistant: x"},
            {"chosen": "\n\nHuman: a\n\nAssistant: x", "rejected": "\n\nHuman: a\n\nAssistant: x"},
            {"chosen": "\n\nHuman: a\n\nAssistant: x\n\nHuman: b\n\nAssistant: y", "rejected": "\n\nHuman: a\n\nAssistant: x"},
        ]
    )
    assert read.said("prompt") == [[], [("Human", "a")], [("Human", "a")]]
    assert read.said("response_a")[0] == [("Human", "a"), ("Assistant", "x")]
    assert read.said("response_a")[2] == [("Assistant", "x"), ("Human", "b"), ("Assistant", "y")]


def test_a_prompt_in_transcript_style_loses_its_empty_invitation(ingest: Ingest) -> None:
    read = ingest([{"prompt": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:", "chosen": " yes", "rejected": " no"}])
    assert read.said("prompt") == [[("Human", "a"), ("Assistant", "b"), ("Human", "c")]]
    assert read.said("response_a") == [[("assistant", " yes")]]


def test_an_answer_that_opens_with_human_is_text_where_there_is_a_prompt(ingest: Ingest) -> None:
    read = ingest([{"prompt": "q", "chosen": "Human: Homo sapiens.", "rejected": "no"}])
    assert read.said("response_a") == [[("assistant", "Human: Homo sapiens.")]]


def test_texts_without_markers_and_prompt_are_a_pair_without_a_prompt(ingest: Ingest) -> None:
    read = ingest([{"chosen": "one\n\nHuman: two", "rejected": "three"}])
    assert read.said("prompt") == [[]]
    assert read.said("response_a") == [[("assistant", "one\n\nHuman: two")]]


def test_whole_message_lists_share_their_leading_messages(ingest: Ingest) -> None:
    chosen = [said("system", "s"), said("human", "q "), said("gpt", "yes")]
    rejected = [said("system", "s"), said("Human", "q"), said("gpt", "no")]
    read = ingest([{"chosen": chosen, "rejected": rejected}])
    assert read.said("prompt") == [[("system", "s"), ("human", "q ")]]
    assert read.said("response_b") == [[("gpt", "no")]]


@pytest.mark.parametrize("prompt", ["hi", "hi\n", [USER], USER, [{"from": "human", "value": "hi"}]])
def test_a_prompt_that_the_conversations_repeat_is_not_repeated(ingest: Ingest, prompt: object) -> None:
    read = ingest([{"prompt": prompt, "chosen": [USER, said("assistant", "a")], "rejected": [USER, said("assistant", "b")]}])
    assert read.said("prompt") == [[("user", "hi")]]
    assert read.said("response_a") == [[("assistant", "a")]]


def test_system_messages_are_kept_when_the_conversations_leave_them_out(ingest: Ingest) -> None:
    sides = {"chosen": [USER, said("assistant", "a")], "rejected": [USER, said("assistant", "b")]}
    read = ingest([{"prompt": [said("system", "s"), USER], **sides}, {"prompt": "hi", "system": "t", **sides}])
    assert read.said("prompt") == [[("system", "s"), ("user", "hi")], [("system", "t"), ("user", "hi")]]


def test_conversations_without_the_prompt_are_quarantined(ingest: Ingest) -> None:
    read = ingest([{"prompt": "something else", "chosen": [USER, said("assistant", "a")], "rejected": [USER, said("assistant", "b")]}])
    assert read.reasons() == [(0, "prompt_mismatch", "prompt")]


def test_replies_follow_the_prompt_and_single_messages_are_replies(ingest: Ingest) -> None:
    read = ingest(
        [
            {
                "conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "q"}],
                "chosen": {"from": "gpt", "value": "yes"},
                "rejected": [{"from": "gpt", "value": "no"}],
            }
        ]
    )
    assert read.said("prompt") == [[("system", "s"), ("human", "q")]]
    assert read.said("response_a") == [[("gpt", "yes")]]
    assert read.said("response_b") == [[("gpt", "no")]]


def test_replies_without_a_prompt_field_have_no_prompt(ingest: Ingest) -> None:
    same = said("assistant", "let me see")
    read = ingest([{"chosen": [same, said("assistant", "a")], "rejected": [same, said("assistant", "b")]}])
    assert read.said("prompt") == [[]]
    assert read.said("response_a") == [[("assistant", "let me see"), ("assistant", "a")]]


def test_tools_and_tool_calls_survive(ingest: Ingest) -> None:
    calls = [{"id": "c1", "function": {"name": "f", "arguments": '{"x": 1}'}}]
    chosen = [
        {"role": "assistant", "content": None, "tool_calls": calls, "reasoning_content": "hm"},
        {"role": "tool", "content": "42", "tool_call_id": "c1", "name": "f"},
        said("assistant", "it is 42"),
    ]
    row = ingest([{"prompt": "q", "tools": [{"name": "f"}], "chosen": chosen, "rejected": "no"}]).one()
    assert json.loads(row["tools"]) == [{"name": "f"}]
    first, second, _ = row["response_a"]
    assert (first["content"], json.loads(first["tool_calls"]), first["reasoning_content"]) == ("", calls, "hm")
    assert (second["role"], second["tool_call_id"], second["name"], second["tool_calls"]) == ("tool", "c1", "f", None)


def test_other_known_fields_find_their_columns_and_the_rest_is_kept(ingest: Ingest) -> None:
    row = ingest(
        [
            {
                "prompt": "q", "chosen": "a", "rejected": "b", "Annotator-ID": 7, "criterion": "tone", "principle": "be nice",
                "explanation": "because", "split": "test", "timestamp": "2024", "chosen_model": "m1", "rejected_model": "m2",
                "strength": 0.5, "z": {"k": [1, None]}, "a/b~\"c": "x", "gone": None,
            }
        ]
    ).one()  # fmt: skip
    assert [row[name] for name in ("annotator", "criterion", "context", "rationale", "source_split", "judged_at")] == [
        "7", "tone", "be nice", "because", "test", "2024",
    ]  # fmt: skip
    assert (row["model_a"], row["model_b"], row["strength"]) == ("m1", "m2", 0.5)
    assert row["extra"] == '{"a/b~\\"c":"x","z":{"k":[1,null]}}'


def test_a_strength_outside_0_to_1_is_kept_as_extra(ingest: Ingest) -> None:
    row = ingest([{"prompt": "q", "chosen": "a", "rejected": "b", "strength": 4}]).one()
    assert (row["strength"], row["extra"]) == (None, '{"strength":4}')


@pytest.mark.parametrize(
    ("change", "reason", "field", "detail"),
    [
        ({"chosen": None}, "missing_field", "chosen", "absent or null; expected text or messages"),
        ({"prompt": None}, "missing_field", "prompt", "absent or null; expected text or messages"),
        ({"chosen": True}, "wrong_type", "chosen", "found true; expected text or messages"),
        ({"prompt": 3}, "wrong_type", "prompt", "found 3; expected text or messages"),
        ({"system": 3}, "wrong_type", "system", "found 3; expected text"),
        ({"rejected": []}, "empty_conversation", "rejected", "an empty list; expected at least one message"),
        ({"rejected": [3]}, "wrong_type", "rejected", "message 1: not an object; expected {role, content}"),
        ({"rejected": [None]}, "wrong_type", "rejected", "message 1: not an object; expected {role, content}"),
        ({"rejected": {"content": "x"}}, "wrong_type", "rejected", "message 1: no role; expected {role, content}"),
        ({"rejected": [said("assistant", "a"), {"role": 1, "content": "x"}]}, "wrong_type", "rejected", "message 2: the role is not text"),
        ({"rejected": [{"role": "assistant"}]}, "missing_field", "rejected", "message 1: no content"),
        ({"rejected": [{"role": "assistant", "content": 3}]}, "wrong_type", "rejected", "message 1: the content is not text"),
    ],
)
def test_a_row_with_a_problem_is_one_quarantined_record(
    ingest: Ingest, change: dict[str, Any], reason: str, field: str, detail: str
) -> None:
    good = {"prompt": "q", "system": "s", "chosen": "a", "rejected": "b"}
    read = ingest([good, good | change, good])
    assert read.judgements["source_row"].to_list() == [0, 2]
    assert read.reasons() == [(1, reason, field)]
    assert read.quarantined["detail"].to_list() == [detail]
    assert json.loads(read.quarantined["raw"][0]) == good | change


def test_an_unknown_role_names_the_known_ones(ingest: Ingest) -> None:
    read = ingest([{"prompt": "q", "chosen": [said("wizard", "x")], "rejected": "b"}])
    assert read.reasons() == [(0, "unknown_role", "chosen")]
    assert read.quarantined["detail"][0].startswith('message 1: role "wizard"; expected one of system, developer, user')


def _reference(a: list[tuple[str, str]], b: list[tuple[str, str]]) -> int:
    n = 0
    while n < min(len(a), len(b)) - 1 and a[n][0] == b[n][0] and a[n][1].rstrip() == b[n][1].rstrip():
        n += 1
    return n


_turns = st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.sampled_from(["x", "x ", "y", "", "\n\nHuman: z"])), max_size=4)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(_turns, _turns), min_size=1, max_size=6))
def test_the_shared_prompt_is_the_longest_common_prefix(pairs: list[tuple[list[tuple[str, str]], list[tuple[str, str]]]]) -> None:
    pairs = [([("user", "start"), *a], [("user", "start"), *b]) for a, b in pairs]
    json_ = Json()
    sides = [
        parse(json_, pl.Series([json.dumps([said(*turn) for turn in pair[i]]) for pair in pairs]), "x", "assistant", cells=False)
        for i in (0, 1)
    ]
    frame = compare(None, None, sides[0], sides[1], "prompt").frame
    json_.close()
    for (a, b), row in zip(pairs, frame.iter_rows(named=True), strict=True):
        n = _reference(a, b)
        heard = {name: [(m["role"], m["content"]) for m in row[name]] for name in ("prompt", "response_a", "response_b")}
        assert heard == {"prompt": a[:n], "response_a": a[n:], "response_b": b[n:]}
