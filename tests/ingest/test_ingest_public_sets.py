"""Records as public data sets state them: what each becomes, and why some become nothing."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.errors import LayoutError

Ingest = Callable[..., Any]
BASE: dict[str, Any] = {"prompt": "q", "response_a": "x", "response_b": "y"}


def asked(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def scored(read: Any) -> list[tuple[str, str, float, str | None]]:
    """Response, criterion, score, annotator."""
    rows = read.ratings.select("response", "criterion", "score", "annotator").rows()
    return [(response[0]["content"], *rest) for response, *rest in rows]


def judged(read: Any) -> list[tuple[str, str, str]]:
    rows = read.judgements.select("response_a", "response_b", "outcome").rows()
    return [(a[-1]["content"], b[-1]["content"], outcome) for a, b, outcome in rows]


def test_openai_preference_pairs_have_their_prompt_and_tools_in_input(ingest: Ingest) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    row = {
        "input": {"messages": [{"role": "user", "content": "q"}], "tools": tools, "parallel_tool_calls": True},
        "preferred_output": [{"role": "assistant", "content": "x"}],
        "non_preferred_output": [{"role": "assistant", "content": "y"}],
    }
    read = ingest([row])
    assert (read.said("prompt"), judged(read)) == ([[("user", "q")]], [("x", "y", "a")])
    assert json.loads(read.one()["tools"]) == tools
    assert json.loads(read.one()["extra"]) == {"input": row["input"]}


def test_several_chosen_and_rejected_answers_are_compared_each_with_each(ingest: Ingest) -> None:
    rows = [{"chosen": ["x"], "rejected": ["y", "z"], "id": 7}, {"chosen": ["v", "w"], "rejected": "y"}]
    read = ingest([{"prompt": "q", **row} for row in rows])
    assert judged(read) == [("x", "y", "a"), ("x", "z", "a"), ("v", "y", "a"), ("w", "y", "a")]
    assert read.judgements["source_row"].to_list() == [0, 0, 1, 1]
    assert json.loads(read.judgements["extra"][1]) == {"id": 7}


def test_a_row_that_lists_no_rejected_answer_is_quarantined(ingest: Ingest) -> None:
    read = ingest([{"prompt": "q", "chosen": ["x"], "rejected": []}, {"prompt": "q", "chosen": ["x"], "rejected": ["y"]}])
    assert (judged(read), read.reasons()) == ([("x", "y", "a")], [(0, "empty_conversation", "rejected")])


def test_two_answers_go_on_from_the_steps_they_share(ingest: Ingest) -> None:
    read = ingest([{"prompt": "q", "initial_reason_steps": "Step 1: s", "chosen": "Step 2: x", "rejected": "Step 2: y"}])
    assert read.said("prompt") == [[("user", "q"), ("assistant", "Step 1: s")]]
    assert judged(read) == [("Step 2: x", "Step 2: y", "a")]


def test_whole_conversations_have_no_steps_before_them(ingest: Ingest) -> None:
    read = ingest([{"prefix": "p", "chosen": asked("q", "x"), "rejected": asked("q", "y")}])
    assert (read.said("prompt"), json.loads(read.one()["extra"])) == ([[("user", "q")]], {"prefix": "p"})


@pytest.mark.parametrize(("history", "turns"), [([["h", "r"]], [("user", "h"), ("assistant", "r")]), ([], []), (None, [])])
def test_earlier_turns_come_before_the_prompt(ingest: Ingest, history: object, turns: list[tuple[str, str]]) -> None:
    row = {"system": "s", "instruction": "q", "input": "", "chosen": "x", "rejected": "y"}
    read = ingest([row | {"history": [["h0", "r0"]]}, row | {"history": history}])
    assert read.said("prompt")[1] == [("system", "s"), *turns, ("user", "q")]


def test_earlier_turns_that_are_no_pairs_are_quarantined(ingest: Ingest) -> None:
    good, row = [["h", "r"]], {"question": "q", "chosen": "x", "rejected": "y"}
    read = ingest([row | {"history": good}, row | {"history": [["h"]]}, row | {"history": "h"}, row | {"history": [["h", "r", "s"]]}])
    assert read.reasons() == [(n, "wrong_type", "history") for n in (1, 2, 3)]
    assert read.quarantined["detail"][0] == 'turn 1: found ["h"]; expected a list of [asked, answered]'


def test_a_verdict_at_the_end_of_what_a_judge_writes_is_found_and_the_rest_is_the_rationale(ingest: Ingest) -> None:
    texts = ["Because.\nMy final verdict is: [[A>>B]]", "Both do. [[A=B]]", "[[B]]", "First [[A]], then [[B]]", "[[7]] of 10"]
    read = ingest([BASE | {"judgment": text} for text in texts])
    assert read.judgements.select("source_row", "outcome", "strength", "rationale").rows() == [
        (0, "a", 1.0, texts[0]), (1, "tie", None, texts[1]), (2, "b", None, None),
    ]
    assert read.reasons() == [(3, "unknown_verdict", "judgment"), (4, "unknown_verdict", "judgment")]


def test_what_a_judge_writes_stays_in_extra_beside_a_rationale(ingest: Ingest) -> None:
    read = ingest([BASE | {"verdict": "So: [[A]]", "rationale": "r"}])
    assert (read.one()["rationale"], json.loads(read.one()["extra"])) == ("r", {"verdict": "So: [[A]]"})


@pytest.mark.parametrize(("winner", "outcome"), [("model", "a"), ("baseline", "b"), ("m1", "a"), ("gpt4", "b"), ("tie", "tie")])
def test_a_winner_against_a_fixed_baseline_is_understood(ingest: Ingest, winner: str, outcome: str) -> None:
    row = {"instruction": "q", "output": "x", "baseline_output": "y", "model": "m1", "baseline": "gpt4", "judge_output": "why"}
    read = ingest([row | {"winner": winner}])
    assert judged(read) == [("x", "y", outcome)]
    assert (read.one()["model_b"], read.one()["rationale"]) == ("gpt4", "why")


def test_scores_of_two_answers_say_who_wins_and_stay_in_extra(ingest: Ingest) -> None:
    read = ingest([BASE | {"score_a": 7.5, "score_b": 3}, BASE | {"score_a": 2, "score_b": 2}])
    assert [outcome for _, _, outcome in judged(read)] == ["a", "tie"]
    assert json.loads(read.judgements["extra"][0]) == {"score_a": 7.5, "score_b": 3}


def test_a_candidates_own_rationale_leaves_the_rows_in_extra(ingest: Ingest) -> None:
    read = ingest([{"prompt": "q", "responses": ["x", "y"], "scores": [2, 1], "rationales": ["rx", "ry"], "rationale": "r"}])
    assert read.ratings["rationale"].to_list() == ["rx", "ry"]
    assert json.loads(read.ratings["extra"][0]) == {"rationale": "r"}


def test_a_list_of_scores_is_one_by_each_annotator(ingest: Ingest) -> None:
    row = {"prompt": "q", "response": "x", "helpfulness": [4, 3, 4], "verbosity": [1, None, "no idea"]}
    read = ingest([row, row | {"helpfulness": 2, "verbosity": [2]}])
    assert scored(read) == [
        ("x", "helpfulness", 4.0, "1"), ("x", "helpfulness", 3.0, "2"), ("x", "helpfulness", 4.0, "3"), ("x", "verbosity", 1.0, "1"),
        ("x", "helpfulness", 2.0, None), ("x", "verbosity", 2.0, "1"),
    ]
    assert read.reasons() == [(0, "unknown_score", "verbosity")]
    assert read.quarantined["detail"].to_list() == ["annotator 3: found no idea; expected a number"]


def test_axes_inside_a_summary_are_its_scores(ingest: Ingest) -> None:
    summary = {"text": "x", "policy": "m1", "note": "n", "axes": {"overall": 6, "accuracy": 7, "coverage": None, "compatible": True}}
    read = ingest([{"info": {"id": "i", "post": "p", "title": "t"}, "summary": summary, "worker": "w", "split": "test"}])
    assert scored(read) == [("x", "overall", 6.0, "w"), ("x", "accuracy", 7.0, "w")]
    assert read.ratings.select("model", "source_split").rows() == [("m1", "test")] * 2
    assert [m["content"] for m in read.ratings["prompt"][0]] == ["t\n\np"]
    assert json.loads(read.ratings["extra"][0])["summary"] == summary


def turn(number: int, role: str, content: str, score: int | None = None, *, chosen: bool | None = None) -> dict[str, Any]:
    told = {"turn": number, "role": role, "content": content}
    return told if score is None else told | {"score": score, "if_chosen": chosen, "model_name": f"m-{content}"}


def test_replies_at_each_turn_answer_what_was_chosen_before(ingest: Ingest) -> None:
    talk = [
        turn(0, "user", "q"), turn(0, "model", "x", 80, chosen=True), turn(0, "model", "y", 20, chosen=False),
        turn(1, "user", "q2"), turn(1, "model", "x2", 70, chosen=False), turn(1, "model", "y2", 71, chosen=True),
    ]
    read = ingest([{"user_id": "u", "conversation_history": talk, "open_feedback": "f"}])
    assert scored(read) == [(text, "overall", score, "u") for text, score in (("x", 80.0), ("y", 20.0), ("x2", 70.0), ("y2", 71.0))]
    prompts = [[m["content"] for m in prompt] for prompt in read.ratings["prompt"]]
    assert prompts == [["q"], ["q"], ["q", "x", "q2"], ["q", "x", "q2"]]
    assert read.ratings["model"].to_list() == ["m-x", "m-y", "m-x2", "m-y2"]
    assert json.loads(read.ratings["extra"][0]) == {"candidate": {"if_chosen": True}, "open_feedback": "f"}


def test_replies_after_a_turn_without_a_choice_are_quarantined(ingest: Ingest) -> None:
    start = [turn(0, "user", "q"), turn(0, "model", "x", 80, chosen=False)]
    late = [turn(1, "user", "q2"), turn(1, "model", "x2", 70, chosen=True)]
    rows = [[*start, *late], [turn(0, "user", "q")], [], [*start, {"role": "user"}]]
    read = ingest([{"conversation_history": talk} for talk in rows])
    assert scored(read) == [("x", "overall", 80.0, None)]
    field = "conversation_history"
    assert read.reasons() == [(0, "missing_field", field), (1, "no_score", field), (2, "missing_field", field), (3, "wrong_type", field)]
    assert read.quarantined["detail"][0] == "message 4: no reply is chosen at an earlier turn"


def test_an_order_may_be_written_as_text(ingest: Ingest) -> None:
    read = ingest([{"prompt": "q", "responses": {"a": "x", "b": "y", "c": "z"}, "ranking": "b > a = c"}])
    assert [(text, score) for text, _, score, _ in scored(read)] == [("y", 2.0), ("x", 1.0), ("z", 1.0)]


def test_values_of_the_nodes_of_a_search_tree_are_scores(ingest: Ingest) -> None:
    nodes = [{"text": "b", "value": 0.9}, {"text": "c", "value": 0.1}]
    read = ingest([{"instruction": "q", "prefix": "a", "candidates": nodes}])
    assert [(text, score) for text, _, score, _ in scored(read)] == [("b", 0.9), ("c", 0.1)]
    assert [m["content"] for m in read.ratings["prompt"][0]] == ["q", "a"]


def test_the_labelled_steps_of_one_answer_are_no_alternatives(ingest: Ingest) -> None:
    rows = [{"prompt": "q", "completions": ["s1", "s2"], "labels": [True, False]}]
    with pytest.raises(LayoutError, match=r"the steps of one answer, not several answers.*\n  fields: \{candidates: completions, cand"):
        ingest(rows)
    read = ingest(rows, fields={"candidates": "completions", "candidate_scores": "labels"})
    assert [(text, score) for text, _, score, _ in scored(read)] == [("s1", 1.0), ("s2", 0.0)]


def test_a_configured_field_that_the_layout_has_no_place_for_is_refused(ingest: Ingest) -> None:
    with pytest.raises(LayoutError, match="layout chosen_rejected has no place for `fields: winner: w`; expected some of prompt"):
        ingest([{"prompt": "q", "chosen": "x", "rejected": "y", "w": "a"}], fields={"winner": "w"})


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "q", "story_a": "x", "story_b": "y", "chosen": "B"}, ("x", "y", "b")),
        ({"prompt": "q", "model_A_output": "x", "model_B_output": "y", "model_A": "m", "model_B": "n", "winner": "n"}, ("x", "y", "b")),
        ({"orig_instruction": "q", "orig_response_A": "x", "orig_response_B": "y", "orig_preference": "A"}, ("x", "y", "a")),
        ({"prompt": "q", "completion_a": "x", "completion_b": "y", "pref": "B-is-clearly-better"}, ("x", "y", "b")),
        ({"context": asked("q", "r")[:1], "good_edited_response": "x", "bad_edited_response": "y"}, ("x", "y", "a")),
    ],
)
def test_further_names_of_the_two_answers_and_the_verdict(ingest: Ingest, row: dict[str, Any], expected: tuple[str, str, str]) -> None:
    read = ingest([row])
    assert (judged(read), read.said("prompt")) == ([expected], [[("user", "q")]])


def test_the_answer_that_a_judge_was_asked_about_is_the_rated_one(ingest: Ingest) -> None:
    row = {"orig_instruction": "q", "orig_response": "x", "orig_criteria": "c", "orig_score": "4", "orig_feedback": "f", "output": "o"}
    read = ingest([row | {"instruction": "rate this"}])
    assert scored(read) == [("x", "overall", 4.0, None)]
    assert read.ratings.select("context", "rationale").rows() == [("c", "f")]
