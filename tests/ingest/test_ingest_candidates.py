"""Several responses to one prompt in a row, in every way that sets state how they compare."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config import AnnotatorsConfig, SourceConfig
from pipeline.errors import LayoutError
from pipeline.identity import identify_ratings
from pipeline.ingest import detect, read_records
from pipeline.ingest.layouts.scores import overall_score_defect

RAW = Path(__file__).resolve().parents[3] / "shared" / "data" / "raw"
Ingest = Callable[..., Any]


def answered(frame: pl.DataFrame) -> list[str]:
    return [response[-1]["content"] for response in frame["response"].to_list()]


def scored(read: Any) -> list[tuple[str, str, float]]:
    return list(zip(answered(read.ratings), read.ratings["criterion"].to_list(), read.ratings["score"].to_list(), strict=True))


def places(read: Any) -> list[tuple[str, float, float, float]]:
    """Response, score, score_min, score_max of ranked ratings."""
    assert read.ratings["ranked"].all()
    rows = read.ratings.select("score", "score_min", "score_max").rows()
    return [(text, *row) for text, row in zip(answered(read.ratings), rows, strict=True)]


def judged(read: Any) -> list[tuple[str, str, str]]:
    frame = read.judgements
    return [(a[0]["content"], b[0]["content"], outcome) for a, b, outcome in frame.select("response_a", "response_b", "outcome").rows()]


def completion(text: str, model: str, overall: float, **aspects: str) -> dict[str, Any]:
    notes = {name: {"Rating": rating, "Rationale": f"{name} is {rating}"} for name, rating in aspects.items()}
    return {
        "response": text, "model": model, "annotations": notes, "overall_score": overall, "critique": f"{model} did this",
        "fine-grained_score": 4.25, "principle": "honesty", "custom_system_prompt": "Be honest.",
    }


ULTRAFEEDBACK = {
    "source": "evol_instruct", "instruction": "Say hi.", "models": ["x", "y"],
    "completions": [
        completion("Hi!", "x", 8, instruction_following="5", honesty="N/A", truthfulness="4", helpfulness="5"),
        completion("No.", "y", 2.5, instruction_following="1", honesty="3", truthfulness="N/A", helpfulness="1"),
    ],
}


def test_every_aspect_of_every_completion_is_a_rating(ingest: Ingest) -> None:
    read = ingest([ULTRAFEEDBACK])
    assert sorted(scored(read)) == sorted([
        ("Hi!", "instruction_following", 5.0), ("Hi!", "truthfulness", 4.0), ("Hi!", "helpfulness", 5.0), ("Hi!", "overall", 8.0),
        ("No.", "instruction_following", 1.0), ("No.", "honesty", 3.0), ("No.", "helpfulness", 1.0), ("No.", "overall", 2.5),
    ])
    assert read.quarantined.is_empty()
    assert [[(m["role"], m["content"]) for m in prompt] for prompt in read.ratings["prompt"].to_list()] == [[("user", "Say hi.")]] * 8
    unsaid = (None, None, False)
    assert set(read.ratings.select("model", "score_min", "score_max", "ranked").rows()) == {("x", *unsaid), ("y", *unsaid)}


def test_an_aspect_keeps_its_rationale_and_the_overall_score_the_critique(ingest: Ingest) -> None:
    read = ingest([ULTRAFEEDBACK])
    rationale = {(row["model"], row["criterion"]): row["rationale"] for row in read.ratings.iter_rows(named=True)}
    assert rationale[("x", "helpfulness")] == "helpfulness is 5"
    assert rationale[("y", "overall")] == "y did this"


def test_a_rating_that_is_not_available_and_the_principle_stay_in_extra(ingest: Ingest) -> None:
    read = ingest([ULTRAFEEDBACK])
    extra = {json.dumps(json.loads(text), sort_keys=True) for text in read.ratings.filter(model="x")["extra"].to_list()}
    assert [json.loads(text) for text in extra] == [
        {
            "source": "evol_instruct", "models": ["x", "y"],
            "candidate": {
                "annotations": {"honesty": {"Rating": "N/A", "Rationale": "honesty is N/A"}},
                "custom_system_prompt": "Be honest.", "fine-grained_score": 4.25, "principle": "honesty",
            },
        }
    ]


def test_the_reason_for_a_rating_wins_over_the_reason_for_its_type(ingest: Ingest) -> None:
    note = {"Rating": "2", "Rationale": "of the type", "Rationale For Rating": "of the rating", "Type": ["1"]}
    answer = {"response": "Hi!", "annotations": {"honesty": note}}
    read = ingest([{"prompt": "p", "completions": [answer, answer | {"response": "Ho!"}]}])
    assert read.ratings["rationale"].to_list() == ["of the rating"] * 2
    assert json.loads(read.ratings["extra"][0]) == {"candidate": {"annotations": {"honesty": {"Rationale": "of the type", "Type": ["1"]}}}}


@pytest.mark.parametrize(
    ("overall", "aspects", "flag"),
    [
        (10, [2, 2, 2, 2], "overall_score_misread"),
        (10, [2, 2, 2, 3], "overall_score_doubtful"),
        (10, [4, 4, 4, 4], "overall_score_doubtful"),
        (10, [4, 4, 4, 5], None),
        (10, [None, 5, None, 5], None),
        (9, [1, 1, 1, 1], None),
        (10, [None, None, None, None], None),
    ],
)
def test_an_overall_ten_beside_low_aspects_is_flagged_as_the_authors_repaired_it(
    overall: float, aspects: list[float | None], flag: str | None, ingest: Ingest
) -> None:
    frame = pl.DataFrame({"overall": [overall], "mean": [pl.Series(aspects, dtype=pl.Float64).mean()]})
    assert frame.select(overall_score_defect(pl.col("overall"), pl.col("mean"))).item() == flag

    names = ("instruction_following", "honesty", "truthfulness", "helpfulness")
    said = {name: "N/A" if rating is None else str(rating) for name, rating in zip(names, aspects, strict=True)}
    read = ingest([{"instruction": "p", "completions": [completion("r", "x", overall, **said), ULTRAFEEDBACK["completions"][0]]}])
    flags = {(row["model"], row["criterion"], row["score"]): row["flags"] for row in read.ratings.iter_rows(named=True) if row["flags"]}
    assert flags == ({("x", "overall", float(overall)): [flag]} if flag else {})


def test_a_ranked_list_scores_the_best_highest(ingest: Ingest) -> None:
    answers = [{"answer": text, "model": f"m{text}", "rank": rank} for text, rank in (("a", 2.0), ("b", 1.0), ("c", 3.0))]
    read = ingest([{"prompt": "\n\nHuman: q\n\nAssistant: ", "answers": answers, "num_responses": 3}])
    assert places(read) == [("a", 1.0, 0.0, 2.0), ("b", 2.0, 0.0, 2.0), ("c", 0.0, 0.0, 2.0)]
    assert read.ratings["model"].to_list() == ["ma", "mb", "mc"]
    assert [(m["role"], m["content"]) for m in read.ratings["prompt"][0]] == [("Human", "q")]


THREE = {"prompt": "q", "responses": ["a", "b", "c"]}


@pytest.mark.parametrize(
    "said",
    [
        {"ranks": [1, 1, 2]},
        {"ranks": [0, 0, 1]},
        {"rank": ["1", "1", "3"]},
        {"order": [[0, 1], 2]},
        {"ranking": [[2, 1], 3]},
        {"order": [["b", "a"], "c"]},
        {"order": [["A", "B"], "C"]},
    ],
)
def test_every_way_to_write_a_ranking_with_a_tie_says_the_same(said: dict[str, Any], ingest: Ingest) -> None:
    read = ingest([THREE | said])
    assert sorted(places(read)) == [("a", 2.0, 0.0, 2.0), ("b", 2.0, 0.0, 2.0), ("c", 0.0, 0.0, 2.0)]
    assert read.quarantined.is_empty()


def test_an_order_that_names_no_candidate_is_quarantined(ingest: Ingest) -> None:
    read = ingest([THREE | {"order": [0, 1, 2]}, THREE | {"order": [0, 1, 7]}, THREE | {"order": [0, 1, 1]}, THREE | {"order": [0, 1]}])
    assert read.reasons() == [(1, "unknown_candidate", "order"), (2, "unknown_candidate", "order"), (3, "no_score", "order")]
    assert read.quarantined["detail"].to_list() == [
        "found 7; expected each candidate once, best first",
        "found 1; expected each candidate once, best first",
        "candidate 3: no score; expected at least one number",
    ]


def test_scores_in_a_list_beside_the_candidates_are_theirs_by_place(ingest: Ingest) -> None:
    read = ingest([{
        "instruction": "q", "generations": ["a", "b"], "generation_models": ["x", "y"], "ratings": [4, None], "rationales": ["good", ""],
    }, {"instruction": "q", "generations": ["a", "b"], "generation_models": ["x", "y"], "ratings": [1, 2], "rationales": ["bad", "so"]}])
    assert read.ratings.select("model", "criterion", "score", "rationale").rows() == [
        ("x", "overall", 4.0, "good"), ("x", "overall", 1.0, "bad"), ("y", "overall", 2.0, "so"),
    ]
    assert read.quarantined.select("source_row", "reason", "field", "detail").rows() == [
        (0, "no_score", "ratings", "candidate 2: no score; expected at least one number")
    ]


def test_an_object_by_model_names_its_candidates(ingest: Ingest) -> None:
    read = ingest([{"prompt": "q", "responses": {"m1": {"response": "a", "score": 1}, "m2": {"response": "b", "score": "2"}}}])
    assert read.ratings.select("model", "score").rows() == [("m1", 1.0), ("m2", 2.0)]
    beside = ingest([{"prompt": "q", "responses": {"m1": "a", "m2": "b"}, "scores": {"m2": 2, "m1": 1}}])
    assert beside.ratings.select("model", "score").rows() == [("m1", 1.0), ("m2", 2.0)]


def test_candidates_that_are_conversations_share_their_prompt(ingest: Ingest) -> None:
    shared = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "Which?"}, {"role": "user", "content": "This."}]
    talks = [[*shared, {"role": "assistant", "content": text}] for text in ("a", "b", "b")]
    talks[2].append({"role": "assistant", "content": "c"})
    read = ingest([{"candidates": talks, "scores": [1, 2, 3]}])
    assert [[m["content"] for m in prompt] for prompt in read.ratings["prompt"].to_list()] == [["q", "Which?", "This."]] * 3
    assert [[m["content"] for m in response] for response in read.ratings["response"].to_list()] == [["a"], ["b"], ["b", "c"]]


def test_a_shared_prefix_is_what_the_candidates_continue(ingest: Ingest) -> None:
    rows = [
        {"prompt": "2+3*4?", "prefix": "First 3*4=12.", "candidates": ["Then 14.", "Then 20."], "scores": [1, 0]},
        {"prompt": "2+3*4?", "prefix": ["First 3*4=12.", "Now add 2."], "candidates": ["14.", "20."], "scores": [1, 0]},
        {"prompt": "2+3*4?", "prefix": [], "candidates": ["14.", "20."], "scores": [1, 0]},
    ]
    read = ingest(rows)
    prompts = [[(m["role"], m["content"]) for m in prompt] for prompt in read.ratings["prompt"].to_list()]
    asked = ("user", "2+3*4?")
    assert prompts[::2] == [
        [asked, ("assistant", "First 3*4=12.")], [asked, ("assistant", "First 3*4=12.\nNow add 2.")], [asked],
    ]
    assert answered(read.ratings) == ["Then 14.", "Then 20.", "14.", "20.", "14.", "20."]


@pytest.mark.parametrize(("numbers", "best"), [([0, 1, 1], ["a", "b", "b"]), ([1, 2, 1], ["a", "b", "a"])])
def test_the_best_of_two_is_a_judgement_whether_counted_from_zero_or_one(numbers: list[int], best: list[str], ingest: Ingest) -> None:
    summaries = [{"text": "a", "policy": "sup"}, {"text": "b", "policy": "ref"}]
    row = {"info": {"post": "long", "title": "t"}, "summaries": summaries, "worker": "w", "batch": "b1"}
    read = ingest([row | {"choice": one} for one in numbers])
    assert [a if outcome == "a" else b for a, b, outcome in judged(read)] == best
    assert [m["content"] for m in read.judgements["prompt"][0]] == ["t\n\nlong"]
    assert read.judgements["annotator"].to_list() == ["w"] * 3
    assert {one for pair in read.judgements.select("model_a", "model_b").rows() for one in pair} == {"sup", "ref"}


def test_the_best_of_several_beats_each_other_one(ingest: Ingest) -> None:
    read = ingest([THREE | {"best": 0}, THREE | {"best": 2}, THREE | {"best": "b"}, THREE | {"best": None}, THREE | {"best": "tie"}])
    assert judged(read) == [("a", "b", "a"), ("a", "c", "a"), ("c", "a", "a"), ("c", "b", "a"), ("b", "a", "a"), ("b", "c", "a")]
    assert read.reasons() == [(3, "missing_field", "best"), (4, "unknown_candidate", "best")]


def test_two_answers_may_tie(ingest: Ingest) -> None:
    read = ingest([{"prompt": "q", "responses": ["a", "b"], "best": "tie"}, {"prompt": "q", "responses": ["a", "b"], "best": "both_bad"}])
    assert read.judgements.select("outcome", "both_bad").rows() == [("tie", False), ("tie", True)]


def test_an_index_that_counts_from_zero_or_one_has_to_be_said(ingest: Ingest) -> None:
    rows = [THREE | {"best": 1}, THREE | {"best": 2}]
    expected = r"numbers in 'best' are 1, 2, which can count the candidates from 0 or from 1.*\n.*outcomes: \{'0': a\}"
    with pytest.raises(LayoutError, match=expected):
        ingest(rows)
    with pytest.raises(LayoutError, match="numbers in 'best' are 0, 1, 3"):
        ingest([THREE | {"best": best} for best in (0, 1, 3)])
    assert judged(ingest(rows, outcomes={"1": "a"}))[0] == ("a", "b", "a")
    assert judged(ingest(rows, outcomes={"0": "a"}))[0] == ("b", "a", "a")


NUMBERED = {"question": "q", "prediction 1": "a", "prediction 2": "b", "prediction 3": "c"}


def test_verdicts_on_each_two_go_in_the_order_of_the_pairs(ingest: Ingest) -> None:
    read = ingest([NUMBERED | {"preference": [1, 0, 2], "feedback": {"errors": [{"start": 0, "end": 1}]}}])
    assert judged(read) == [("a", "b", "a"), ("a", "c", "tie"), ("b", "c", "b")]
    assert json.loads(read.judgements["extra"][0]) == {"feedback": {"errors": [{"start": 0, "end": 1}]}}
    again = ingest([{"prompt": "q", "response_1": "a", "response_2": "b", "response_3": "c", "preference": [1, 0, 2]}])
    assert judged(again) == judged(read)


def test_numbered_answers_have_numbered_scores(ingest: Ingest) -> None:
    row = {"prompt": "q", "response_1": "a", "response_2": "b", "response_10": "c", "score_1": 1, "score_10": "3", "score_2": 2}
    read = ingest([row, row | {"response_10": None, "score_10": None, "score_2": None}])
    assert scored(read) == [("a", "overall", 1.0), ("b", "overall", 2.0), ("c", "overall", 3.0), ("a", "overall", 1.0)]
    assert read.quarantined.select("source_row", "reason", "detail").rows() == [
        (1, "no_score", "candidate 2: no score; expected at least one number")
    ]


def test_a_verdict_that_is_none_and_a_missing_one_are_named(ingest: Ingest) -> None:
    read = ingest([
        NUMBERED | {"preference": [1, 0, 2]}, NUMBERED | {"preference": [1, 2]}, NUMBERED | {"preference": [1, "x", 2]},
        NUMBERED | {"preference": [1, 0, 2], "prediction 3": 5},
    ])
    assert read.quarantined.select("source_row", "reason", "field", "detail").rows() == [
        (1, "length_mismatch", "preference", "2 verdicts; expected 3, one for each two candidates"),
        (2, "unknown_verdict", "preference", read.quarantined["detail"][1]),
        (3, "wrong_type", "prediction 1, prediction 2, prediction 3", "candidate 3: found 5; expected text or messages"),
    ]
    assert read.quarantined["detail"][1].startswith("candidates 1 and 3: found x; expected")
    assert read.judgements["source_row"].to_list() == [0, 0, 0, 2, 2, 3]


def test_what_is_wrong_with_a_candidate_says_which(ingest: Ingest) -> None:
    good = {"response": "a", "score": 1}
    rows = [
        {"prompt": "q", "completions": [good, {"response": None, "score": 2}, {"response": "c", "score": "great"}]},
        {"prompt": "q", "completions": [good, {"response": "b"}, 7]},
        {"prompt": "q", "completions": []},
        {"prompt": "q", "completions": "text"},
        {"prompt": None, "completions": [good, good]},
        {"prompt": "q"},
    ]
    read = ingest(rows)
    assert scored(read) == [("a", "overall", 1.0)] * 2
    assert read.quarantined.select("source_row", "reason", "field", "detail").rows() == [
        (0, "missing_field", "completions", "candidate 2: absent or null; expected text or messages"),
        (0, "unknown_score", "completions.*.score", "candidate 3: found great; expected a number"),
        (1, "no_score", "completions.*.score", "candidate 2: no score; expected at least one number"),
        (1, "wrong_type", "completions", "candidate 3: found 7; expected text or messages"),
        (2, "missing_field", "completions", "no answers; expected a list of them"),
        (3, "wrong_type", "completions", 'found "text"; expected a list of answers'),
        (4, "missing_field", "prompt", "absent or null; expected text or messages"),
        (5, "missing_field", "completions", "no answers; expected a list of them"),
    ]


def test_a_list_of_scores_of_another_length_is_quarantined(ingest: Ingest) -> None:
    read = ingest([THREE | {"scores": [1, 2, 3]}, THREE | {"scores": [1, 2]}])
    assert read.ratings["source_row"].to_list() == [0, 0, 0]
    assert read.quarantined.select("source_row", "reason", "field", "detail").rows() == [
        (1, "length_mismatch", "scores", "2 values; expected 3, one for each candidate")
    ]


def test_config_names_what_detection_cannot_know(ingest: Ingest) -> None:
    rows = [{"ask": "q", "tries": [{"said": "a", "by": "m", "mark": {"x": 3}}, {"said": "b", "by": "n", "mark": {"x": 4}}]}]
    fields = {
        "prompt": "ask", "candidates": "tries", "candidate_text": "said", "candidate_model": "by", "candidate_scores": "mark.x",
    }
    read = ingest(rows, fields=fields, ratings={"scale": [0, 5]})
    assert read.ratings.select("model", "criterion", "score", "score_min", "score_max").rows() == [
        ("m", "overall", 3.0, 0.0, 5.0), ("n", "overall", 4.0, 0.0, 5.0),
    ]
    full = ingest(rows, fields=fields | {"candidate_scores": "tries.*.mark.x", "candidate_text": "tries.*.said"})
    assert scored(full) == scored(read)
    expected = r"`fields: candidate_scores: marks` is neither in the candidates \(said, by, mark\) nor beside them"
    with pytest.raises(LayoutError, match=expected):
        ingest(rows, fields=fields | {"candidate_scores": "marks"})


PAIR = [{"text": "a", "policy": "x", "score": 1, "rank": 2}, {"text": "b", "policy": "y", "score": 2, "rank": 1}]


@pytest.mark.parametrize(
    "row",
    [
        ULTRAFEEDBACK,
        {"prompt": "q", "answers": [{key: one[key] for key in ("text", "policy", "rank")} for one in PAIR]},
        {"prompt": "q", "generations": ["a", "b"], "generation_models": ["x", "y"], "ratings": [4, 1], "rationales": ["good", ""]},
        {"info": {"post": "long"}, "summaries": [{"text": "a"}, {"text": "b"}], "worker": "w", "choice": 0},
        {"prompt": "q", "response_1": "a", "response_2": "b", "response_3": "c", "preference": [1, 0, 2]},
        {"prompt": "q", "prefix": "p", "responses": {"x": {"answer": "a", "score": 1}, "y": {"answer": "b", "score": 2}}},
        THREE | {"order": [2, 0, 1]},
    ],
)
def test_what_detection_finds_can_be_written_as_config(row: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(row))
    found = detect(str(path), "x", SourceConfig(name="s", uri="x"))
    assert found is not None
    config = SourceConfig.model_validate({"name": "s", "uri": "x", "layout": found.name, "fields": found.slots})
    again = detect(str(path), "x", config)
    assert again is not None
    assert (again.slots, again.encoding, again.unmapped) == (found.slots, found.encoding, found.unmapped)


def test_two_answers_with_a_verdict_are_no_candidates(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    row = {"prompt": "q", "response_a": "a", "response_b": "b", "winner": "a", "reviews": [{"text": "t", "score": 1}]}
    path.write_text(json.dumps(row | {"answers": ["a", "b"], "ratings": [5, 1]}))
    layout = detect(str(path), "x", SourceConfig(name="s", uri="x"))
    assert layout is not None
    assert layout.name == "ab"


def test_chosen_and_rejected_beside_their_candidates_win(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"prompt": "q", "chosen": "a", "rejected": "b", "generations": ["a", "b"], "ratings": [5, 1]}))
    layout = detect(str(path), "x", SourceConfig(name="s", uri="x"))
    assert layout is not None
    assert layout.name == "chosen_rejected"


def node(text: str, role: str, rank: int | None = None, *replies: dict[str, Any]) -> dict[str, Any]:
    return {"message_id": f"id-{text}", "text": text, "role": role, "rank": rank, "replies": list(replies)}


def test_ranked_replies_of_a_tree_are_rated_at_every_depth(ingest: Ingest) -> None:
    follow = node("And?", "prompter", None, node("deep best", "assistant", 0), node("deep worst", "assistant", 1))
    root = node("q", "prompter", None, node("good", "assistant", 1, follow), node("best", "assistant", 0), node("unranked", "assistant"))
    read = ingest([{"message_tree_id": "t", "prompt": root}, {"message_tree_id": "u", "prompt": node("alone", "prompter")}])
    told = [([m["content"] for m in prompt], *rest) for prompt, rest in zip(read.ratings["prompt"].to_list(), places(read), strict=True)]
    assert told == [
        (["q"], "good", 0.0, 0.0, 1.0), (["q"], "best", 1.0, 0.0, 1.0),
        (["q", "good", "And?"], "deep best", 1.0, 0.0, 1.0), (["q", "good", "And?"], "deep worst", 0.0, 0.0, 1.0),
    ]
    assert json.loads(read.ratings["extra"][0]) == {"message_tree_id": "t", "candidate": {"message_id": "id-good"}}
    assert read.quarantined.select("source_row", "reason", "field", "detail").rows() == [
        (1, "no_score", "prompt", "no two replies to one message are ranked; expected at least two")
    ]


def test_a_tree_with_an_unknown_role_is_quarantined_whole(ingest: Ingest) -> None:
    good = node("q", "prompter", None, node("a", "assistant", 0), node("b", "assistant", 1))
    bad = node("q", "prompter", None, node("a", "assistant", 0), node("b", "owl", 1))
    read = ingest([{"prompt": good}, {"prompt": bad}, {"prompt": None}, {"prompt": "text"}])
    assert read.ratings["source_row"].to_list() == [0, 0]
    assert read.reasons() == [(1, "unknown_role", "prompt"), (2, "missing_field", "prompt"), (3, "wrong_type", "prompt")]
    assert read.quarantined["detail"][0].startswith("a message at depth 1: role owl; expected one of")


def test_answers_without_any_prompt_are_refused_with_the_reason(ingest: Ingest) -> None:
    review = {"response": "s", "reviews": [], "overall": {"overall-ranking": 1}}
    rows = [{"passage-id": "1", "questions": {"0": {"bart": review, "human": review}}}]
    expected = r"answers below 'questions\.\*\.\*', but no field holds the question.*cannot be rebuilt.*Join a file that has the prompts"
    with pytest.raises(LayoutError, match=expected):
        ingest(rows)
    with pytest.raises(LayoutError, match=r"answers below 'responses\.\*', but no field holds"):
        ingest([{"responses": ["a", "b"], "scores": [1, 2]}])
    told = ingest([{"responses": ["a", "b"], "scores": [1, 2]}], layout="candidates")
    assert scored(told) == [("a", "overall", 1.0), ("b", "overall", 2.0)]


def as_rows(answers: dict[str, int]) -> list[dict[str, Any]]:
    return [{"prompt": "q", "response": text, "score": score} for text, score in answers.items()]


def as_candidates(answers: dict[str, int]) -> list[dict[str, Any]]:
    return [{"prompt": "q", "completions": [{"response": text, "rating": str(score)} for text, score in answers.items()]}]


def as_lists(answers: dict[str, int]) -> list[dict[str, Any]]:
    return [{"instruction": "q", "generations": list(answers), "scores": list(answers.values())}]


def as_conversations(answers: dict[str, int]) -> list[dict[str, Any]]:
    talks = [[{"from": "human", "value": "q"}, {"from": "gpt", "value": text}] for text in answers]
    return [{"conversations": talk, "score": score} for talk, score in zip(talks, answers.values(), strict=True)]


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(answers=st.dictionaries(st.text("abcé \n\"{[", min_size=1, max_size=6), st.integers(0, 4), min_size=2, max_size=5))
def test_ratings_written_in_any_layout_and_read_back_have_the_same_ids(answers: dict[str, int], ingest: Ingest) -> None:
    ids = []
    for write in (as_rows, as_candidates, as_lists, as_conversations):
        read = ingest(write(answers))
        assert read.quarantined.is_empty()
        ids.append(sorted(identify_ratings(read.ratings, AnnotatorsConfig(), "d")["rating_id"]))
        assert len(ids[-1]) == len(answers)
    assert all(one == ids[0] for one in ids)


def read_public(path: str, **source: Any) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    place = RAW / path
    if not place.exists():
        pytest.skip("the public raw data is not beside this checkout")
    config = SourceConfig.model_validate({"name": "s", "uri": path, **source})
    batches = list(read_records(str(place), path, config, "overall"))
    return tuple(pl.concat([getattr(one, part) for one in batches]) for part in ("judgements", "ratings", "quarantined"))  # type: ignore[return-value]


def test_the_public_set_with_a_verdict_on_each_two_is_read_whole() -> None:
    judgements, ratings, quarantined = read_public("fine_grained_rlhf/dev_feedback.json.gz")
    assert (judgements.height, ratings.height, quarantined.height) == (3000, 0, 0)
    counts = Counter(judgements["outcome"].to_list())
    assert {outcome: round(100 * count / 3000, 1) for outcome, count in counts.items()} == {"a": 52.6, "b": 34.6, "tie": 12.8}
    assert judgements["extra"].str.contains('"feedback":').all()
    silent = judgements.group_by("source_row").agg(tied=(pl.col("outcome") == "tie").all())
    assert silent["tied"].sum() == 12


def test_the_public_set_without_prompts_is_refused() -> None:
    with pytest.raises(LayoutError, match=r"answers below 'questions\.\*\.\*'.*prompts cannot be rebuilt"):
        read_public("squality/all-responses.jsonl.gz")
