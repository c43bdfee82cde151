import json
from collections.abc import Callable
from typing import Any, Protocol

import polars as pl

from pipeline.config import AnnotatorsConfig
from pipeline.identity import identify, number_votes

Ingest = Callable[..., Any]


class HasJudgements(Protocol):
    judgements: pl.DataFrame


BASE = {"prompt": "q", "response_a": "x", "response_b": "y"}


def heard(read: "HasJudgements") -> list[tuple[Any, ...]]:
    return list(read.judgements.select("source_row", "annotator", "outcome", "rationale").iter_rows())


def test_a_row_a_vote_is_an_ab_row_with_an_annotator(ingest: Ingest) -> None:
    read = ingest([BASE | {"winner": "a", "annotator": "ann", "reason": "r"}, BASE | {"winner": "tie", "annotator": ""}])
    assert heard(read) == [(0, "ann", "a", "r"), (1, None, "tie", None)]
    assert read.judgements["vote_layout"].all()


def test_listed_votes_become_a_judgement_each(ingest: Ingest) -> None:
    votes = [
        {"worker": "w1", "value": "a1", "reason": "clear", "submitted": "2016", "competence": 0.9, "strength": 1},
        {"worker": "w2", "value": "equal", "reason": ""},
        {"worker": "w3", "value": "a2", "strength": "hm"},
    ]
    read = ingest([BASE | {"id": 5, "votes": votes}])
    assert heard(read) == [(0, "w1", "a", "clear"), (0, "w2", "tie", None), (0, "w3", "b", None)]
    assert read.judgements["extra"].to_list() == [
        '{"id":5,"vote":{"competence":0.9}}',
        '{"id":5}',
        '{"id":5,"vote":{"strength":"hm"}}',
    ]
    assert read.judgements["judged_at"].to_list() == ["2016", None, None]
    assert read.judgements["strength"].to_list() == [1.0, None, None]


def test_listed_votes_may_be_bare_verdicts(ingest: Ingest) -> None:
    read = ingest([BASE | {"votes": ["a", "b", None, "A"]}, BASE | {"votes": [1, 2, 0]}])
    assert heard(read) == [(0, None, "a", None), (0, None, "b", None), (0, None, "a", None)] + [
        (1, None, outcome, None) for outcome in ("a", "b", "tie")
    ]


def test_a_field_for_each_annotator_is_a_vote_each(ingest: Ingest) -> None:
    rows = [BASE | {"annotator1": 1, "annotator2": 2, "annotator3": 0}, BASE | {"annotator1": None, "annotator2": "2", "annotator3": ""}]
    read = ingest(rows)
    assert heard(read) == [
        (0, "annotator1", "a", None),
        (0, "annotator2", "b", None),
        (0, "annotator3", "tie", None),
        (1, "annotator2", "b", None),
    ]
    assert read.judgements["extra"].null_count() == 4


def test_one_bad_vote_is_quarantined_alone(ingest: Ingest) -> None:
    votes = [{"worker": "w1", "value": "a"}, {"worker": "w2", "value": "purple"}, {"worker": "w3", "value": "b"}]
    read = ingest([BASE | {"votes": votes}])
    assert heard(read) == [(0, "w1", "a", None), (0, "w3", "b", None)]
    assert read.reasons() == [(0, "unknown_verdict", "votes")]
    assert read.quarantined["detail"][0].startswith("vote 2: found purple; expected a, b")
    assert json.loads(read.quarantined["raw"][0])["votes"] == votes


def test_a_bad_vote_in_a_field_of_its_own_names_the_field(ingest: Ingest) -> None:
    rows = [BASE | {"rater_1": "a", "rater_2": "b"}] * 250
    read = ingest([*rows, BASE | {"rater_1": "a", "rater_2": "purple"}])
    assert read.reasons() == [(250, "unknown_verdict", "rater_2")]


def test_a_row_without_a_usable_vote_is_one_record(ingest: Ingest) -> None:
    good = BASE | {"votes": ["a"]}
    rows = [good, BASE, BASE | {"votes": []}, BASE | {"votes": [None, None]}, BASE | {"votes": 3}, BASE | {"votes": ["x1", "x2"]}]
    read = ingest([*rows, good | {"response_a": True, "votes": ["a", "zzz"]}])
    assert read.reasons() == [
        (1, "missing_field", "votes"),
        (2, "no_votes", "votes"),
        (3, "no_votes", "votes"),
        (4, "wrong_type", "votes"),
        (5, "unknown_verdict", "votes"),
        (6, "wrong_type", "response_a"),
    ]


def test_fields_inside_objects_are_reached_by_dotted_paths(ingest: Ingest) -> None:
    sides = {"one": {"id": 1, "text": "x"}, "two": {"id": 2, "text": "y"}}
    row = {"title": "T", "stance": "S", **sides, "ballots": [{"who": "w", "says": "a1"}]}
    fields = {
        "prompt": ["title", "stance"], "response_a": "one.text", "response_b": "two.text", "votes": "ballots", "vote_winner": "says",
        "vote_annotator": "who",
    }  # fmt: skip
    read = ingest([row, row | {"one": {"id": 1}}, row | {"two": "flat"}], fields=fields)
    assert heard(read) == [(0, "w", "a", None)]
    assert read.said("prompt") == [[("user", "T\n\nS")]]
    assert json.loads(read.judgements["extra"][0]) == {"one": row["one"], "two": row["two"]}
    assert read.reasons() == [(1, "missing_field", "one.text"), (2, "missing_field", "two.text")]


def test_listed_votes_are_read_from_csv_cells(ingest: Ingest) -> None:
    cell = json.dumps([{"worker": "w", "value": "b"}]).replace('"', '""')
    assert heard(ingest(f'prompt,response_a,response_b,votes\nq,x,y,"{cell}"\n', "a.csv")) == [(0, "w", "b", None)]


def test_equal_votes_of_unnamed_annotators_all_survive(ingest: Ingest) -> None:
    read = ingest([BASE | {"votes": ["a", "a", "a"]}])
    assert read.judgements.height == 3
    assert read.judgements.select(pl.struct(pl.all()).n_unique()).item() == 1


def test_listed_grades_are_votes_beside_the_overall_one(ingest: Ingest) -> None:
    votes = [
        {"score": -2, "reasoning": "r", "feedback1": "f"},
        {"score": 1, "reasoning": None, "feedback1": ""},
        {"score": -100, "reasoning": "neither"},
        {"score": 0},
    ]
    row = {"context": [{"role": "user", "content": "q"}], "response1": "x", "response2": "y", "overall_preference": -1}
    read = ingest([row | {"individual_preference": votes}, row | {"individual_preference": [{"score": -100}]}])
    assert heard(read) == [(0, None, "a", "r"), (0, None, "b", None), (0, None, "tie", None)]
    assert [round(strength, 4) for strength in read.judgements["strength"]] == [0.6667, 0.3333, 0.0]
    assert json.loads(read.judgements["extra"][0]) == {"overall_preference": -1, "vote": {"feedback1": "f"}}
    assert read.reasons() == [(0, "no_verdict", "individual_preference"), (1, "no_verdict", "individual_preference")]
    assert read.quarantined["detail"][0].startswith("vote 3: found -100, which says that there is no verdict")


def test_raw_votes_whose_strength_is_their_verdict_are_votes(ingest: Ingest) -> None:
    row = {"prompt": "q", "response_1": "x", "response_2": "y", "preference_strength": 1, "preference_statement": "s"}
    read = ingest([row | {"all_preferences_unprocessed": [{"strength": 2, "justification": "j"}, {"strength": -1}]}])
    assert heard(read) == [(0, None, "b", "j"), (0, None, "a", "s")]
    assert [round(strength, 4) for strength in read.judgements["strength"]] == [0.6667, 0.3333]
    assert [json.loads(extra) for extra in read.judgements["extra"]] == [
        {"preference_strength": 1, "preference_statement": "s"}, {"preference_strength": 1},
    ]


def test_a_strength_of_votes_that_leaves_0_to_1_is_on_a_scale_of_its_own(ingest: Ingest) -> None:
    read = ingest([BASE | {"votes": [{"value": "a", "strength": 1}, {"value": "b", "strength": 7}]}])
    assert read.judgements["strength"].to_list() == [None, None]
    assert read.judgements["extra"].to_list() == ['{"vote":{"strength":1}}', '{"vote":{"strength":7}}']


def test_equal_rows_of_a_named_judge_are_copies_and_of_nobody_are_votes(ingest: Ingest) -> None:
    def copies(annotator: str) -> list[bool]:
        read = ingest([BASE | {"winner": "a", "annotator": annotator}] * 2 + [BASE | {"winner": "b", "annotator": "x"}])
        numbered = number_votes(identify(read.judgements, AnnotatorsConfig(), "d"))
        return sorted(numbered.filter(pl.col("outcome") == "a")["is_copy"].to_list())

    assert copies("judge-1") == [False, True]
    assert copies("") == [False, False]
