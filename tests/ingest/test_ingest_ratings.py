"""One response a row with its scores or its thumb."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.config import SourceConfig
from pipeline.errors import LayoutError
from pipeline.ingest import count_rows, detect, read_records

RAW = Path(__file__).resolve().parents[3] / "shared" / "data" / "raw"
Ingest = Callable[..., Any]


def said(messages: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in messages]


def scores(read: Any) -> list[tuple[Any, ...]]:
    return read.ratings.select("source_row", "criterion", "score").rows()  # type: ignore[no-any-return]


HELPSTEER = {"prompt": "q", "response": "r", "helpfulness": 3, "correctness": 4, "coherence": 4, "complexity": 1, "verbosity": 0}


def test_every_attribute_of_consecutive_rows_is_a_rating(ingest: Ingest) -> None:
    read = ingest([HELPSTEER, HELPSTEER | {"response": "s", "helpfulness": 0}])
    assert scores(read) == [
        (0, "helpfulness", 3.0), (0, "correctness", 4.0), (0, "coherence", 4.0), (0, "complexity", 1.0), (0, "verbosity", 0.0),
        (1, "helpfulness", 0.0), (1, "correctness", 4.0), (1, "coherence", 4.0), (1, "complexity", 1.0), (1, "verbosity", 0.0),
    ]
    row = read.ratings.row(0, named=True)
    assert (said(row["prompt"]), said(row["response"])) == ([("user", "q")], [("assistant", "r")])
    assert (row["score_min"], row["score_max"], row["ranked"], row["flags"], row["extra"]) == (None, None, False, [], None)
    assert (row["annotator_kind"], row["source"], row["source_uri"]) == ("human", "src", "raw/file")


def test_the_scale_in_the_config_is_the_ratings_scale_and_what_lies_outside_is_quarantined(ingest: Ingest) -> None:
    read = ingest([HELPSTEER, HELPSTEER | {"verbosity": 9}], ratings={"scale": [0, 4]})
    assert set(read.ratings.select("score_min", "score_max").rows()) == {(0.0, 4.0)}
    assert read.ratings.height == 9
    assert read.quarantined.select("source_row", "reason", "field", "detail").rows() == [
        (1, "unknown_score", "verbosity", "found 9; expected a number from 0 to 4 (`ratings: scale:`)")
    ]


def test_scores_as_text_count_and_those_that_are_not_available_stay_in_extra(ingest: Ingest) -> None:
    rows = [
        {"instruction": "q", "output": "r", "helpfulness": "4", "honesty": "N/A", "safety": None},
        {"instruction": "q", "output": "r", "helpfulness": "", "honesty": "n/a", "safety": None},
        {"instruction": "q", "output": "r", "helpfulness": "4.5", "honesty": "high", "safety": "1"},
        {"instruction": "q", "output": "r", "honesty": "2"}, {"instruction": "q", "output": "r", "honesty": "3"},
    ]
    read = ingest(rows)
    assert scores(read) == [(0, "helpfulness", 4.0), (2, "helpfulness", 4.5), (2, "safety", 1.0), (3, "honesty", 2.0), (4, "honesty", 3.0)]
    assert [json.loads(text or "{}") for text in read.ratings["extra"].to_list()] == [{"honesty": "N/A"}, {}, {}, {}, {}]
    assert read.quarantined.select("source_row", "reason", "field", "detail").rows() == [
        (1, "no_score", "helpfulness, honesty, safety", "no score; expected at least one number"),
        (2, "unknown_score", "honesty", "found high; expected a number"),
    ]


@pytest.mark.parametrize(
    ("field", "criterion"),
    [("score", "tone"), ("rating", "tone"), ("helpfulness", "helpfulness"), ("Overall-Score", "overall"), ("quality_rating", "quality")],
)
def test_a_criterion_is_named_by_its_field_or_by_the_row(field: str, criterion: str, ingest: Ingest) -> None:
    read = ingest([{"prompt": "q", "completion": "r", field: 2.5, "criterion": "tone", "rater_id": "w1", "model": "m", "reason": "so"}])
    row = read.ratings.row(0, named=True)
    assert (row["criterion"], row["score"]) == (criterion, 2.5)
    assert (row["annotator"], row["model"], row["rationale"]) == ("w1", "m", "so")


def test_scores_in_one_object_are_read_by_their_names(ingest: Ingest) -> None:
    read = ingest([{"prompt": "q", "response": "r", "scores": {"helpfulness": 1, "humour": 2}}])
    assert scores(read) == [(0, "helpfulness", 1.0), (0, "humour", 2.0)]


TALK = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}]


@pytest.mark.parametrize(
    ("up", "down", "field"),
    [
        (True, False, "label"), (1, -1, "label"), (1, 0, "thumb"), ("thumbs up", "Thumbs Down", "feedback"), ("true", "false", "label"),
        ("👍", "👎", "feedback"), (True, False, "score"),
    ],
)
def test_thumbs_are_ratings_from_0_to_1_however_they_are_written(up: object, down: object, field: str, ingest: Ingest) -> None:
    for rows in ([{"messages": TALK}] * 2, [{"prompt": "q", "completion": "r"}] * 2):
        read = ingest([row | {field: thumb} for row, thumb in zip(rows, (up, down), strict=True)])
        assert read.ratings.select("score", "score_min", "score_max", "criterion").rows() == [
            (1.0, 0.0, 1.0, "overall"), (0.0, 0.0, 1.0, "overall"),
        ]
        assert said(read.ratings["prompt"].to_list()[0]) == [("user", "q")]
        assert said(read.ratings["response"].to_list()[0]) == [("assistant", "r")]


def test_a_thumb_that_is_none_is_quarantined(ingest: Ingest) -> None:
    rows = [{"prompt": "q", "completion": "r", "label": label} for label in (1, -1, 0, None)]
    read = ingest(rows)
    assert scores(read) == [(0, "overall", 1.0), (1, "overall", 0.0)]
    assert read.quarantined.select("source_row", "reason", "detail").rows() == [
        (2, "unknown_score", "found 0; expected a thumb: -1 or 1"), (3, "no_score", "no score; expected at least one number"),
    ]


def test_a_label_that_is_no_thumb_is_a_score_only_where_the_config_says_so(ingest: Ingest) -> None:
    rows = [{"prompt": "q", "completion": "r", "label": label} for label in (1, -1, 5)]
    with pytest.raises(LayoutError, match="ratings: lacks scores"):
        ingest(rows)
    assert scores(ingest(rows, fields={"scores": "label"})) == [(0, "overall", 1.0), (1, "overall", -1.0), (2, "overall", 5.0)]


def test_the_response_of_a_conversation_is_what_follows_its_last_question(ingest: Ingest) -> None:
    long = [
        {"role": "system", "content": "s"}, *TALK, {"role": "user", "content": "and?"},
        {"role": "assistant", "content": "", "tool_calls": [{"name": "look"}]}, {"role": "tool", "content": "x"},
        {"role": "assistant", "content": "done"},
    ]
    read = ingest([{"messages": long, "label": True}, {"messages": TALK, "label": True}, {"messages": TALK[:1], "label": False}])
    assert [said(prompt) for prompt in read.ratings["prompt"].to_list()] == [
        [("system", "s"), ("user", "q"), ("assistant", "r"), ("user", "and?")], [("user", "q")],
    ]
    assert [said(response) for response in read.ratings["response"].to_list()] == [
        [("assistant", ""), ("tool", "x"), ("assistant", "done")], [("assistant", "r")],
    ]
    assert read.quarantined.select("source_row", "reason", "field", "detail").rows() == [
        (2, "missing_field", "messages", "the conversation ends with the user's turn; expected an answer")
    ]


def test_a_row_without_its_response_or_prompt_is_quarantined(ingest: Ingest) -> None:
    row = {"prompt": "q", "response": "r", "score": 1}
    read = ingest([row, row | {"response": None}, row | {"response": 3}, row | {"prompt": None}, row | {"score": None, "response": None}])
    assert read.ratings["source_row"].to_list() == [0]
    assert read.reasons() == [
        (1, "missing_field", "response"), (2, "wrong_type", "response"), (3, "missing_field", "prompt"), (4, "missing_field", "response"),
    ]


def test_a_field_of_a_rating_that_no_column_takes_stays_in_extra(ingest: Ingest) -> None:
    read = ingest([{"prompt": "q", "response": "r", "score": 1, "timestamp": "2024-01-01", "lang": "en"}])
    assert json.loads(read.ratings["extra"][0]) == {"timestamp": "2024-01-01", "lang": "en"}


def test_a_pair_with_scores_is_not_read_as_ratings(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"prompt": "q", "chosen": "a", "rejected": "b", "response": "a", "score": 1}))
    layout = detect(str(path), "x", SourceConfig(name="s", uri="x"))
    assert layout is not None
    assert layout.name == "chosen_rejected"


def test_two_fields_that_may_be_the_response_have_to_be_told_apart(ingest: Ingest) -> None:
    rows = [{"prompt": "q", "answer": "gold", "response": "r", "score": 1}]
    with pytest.raises(LayoutError, match=r"one response \(there are several: response, answer\)"):
        ingest(rows)
    assert scores(ingest(rows, fields={"response": "response"})) == [(0, "overall", 1.0)]


def test_a_table_of_ranked_texts_is_read_as_its_config_says(ingest: Ingest) -> None:
    table = "#id\trank\targument\ttopic\n7\t0.00593\tOne.<br/>Two.\tAre dogs nice?\n9\t0.5\tNo.\tAre dogs nice?\n"
    read = ingest(table, name="x.tsv", layout="ratings", fields={"prompt": "topic", "response": "argument", "scores": "rank"})
    assert scores(read) == [(0, "overall", 0.00593), (1, "overall", 0.5)]
    assert said(read.ratings["response"].to_list()[0]) == [("assistant", "One.<br/>Two.")]
    assert said(read.ratings["prompt"].to_list()[0]) == [("user", "Are dogs nice?")]
    assert json.loads(read.ratings["extra"][0]) == {"#id": "7"}


def test_a_field_that_is_not_there_is_named(ingest: Ingest) -> None:
    with pytest.raises(LayoutError, match="`fields: scores: helpfullness` is not in the first 1 records; did you mean 'helpfulness'"):
        ingest([HELPSTEER], fields={"scores": ["helpfullness", "correctness"]})


def test_the_public_thumbs_are_half_up_and_half_down() -> None:
    place = RAW / "llama_factory/kto_en_demo.json.gz"
    if not place.exists():
        pytest.skip("the public raw data is not beside this checkout")
    batches = list(read_records(str(place), "kto", SourceConfig(name="s", uri="x"), "overall"))
    ratings = pl.concat([batch.ratings for batch in batches])
    assert sum(batch.rows for batch in batches) == count_rows(str(place)) == ratings.height == 300
    assert Counter(ratings["score"].to_list()) == {1.0: 150, 0.0: 150}
    assert sum(prompt.len() > 1 for prompt in ratings["prompt"]) == 77
    last = ratings.select(pl.col("prompt").list.last().struct.field("role"))["role"]
    assert set(last) == {"user"}
    assert set(ratings["response"].list.len()) == {1}
