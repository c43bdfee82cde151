"""Records are masked before they have ids, and say so."""

import polars as pl
import pytest

from pipeline import masking
from pipeline.config import AnnotatorsConfig
from pipeline.errors import ConfigError
from pipeline.identity import identify
from pipeline.ingest import QUARANTINED
from tests.builders import judged, message, rating, raw, raw_ratings, row


def test_every_text_of_a_judgement_is_masked_and_each_finding_noted() -> None:
    call = message("assistant", "", tool_calls='{"to": "a@example.com"}', reasoning_content="Ask b@example.com.")
    rows = raw(
        row(prompt="I am c@example.com, also d@example.com", a=[call], b="+49 30 901820", context="user e@example.com",
            rationale="f@example.com agrees", extra='{"mail": "g@example.com"}', tools='[{"default": "h@example.com"}]'),
        row(),
    )  # fmt: skip

    masked = masking.mask(rows, ["email", "phone"])

    first = masked.row(0, named=True)
    assert first["prompt"][0]["content"] == "I am <EMAIL>, also <EMAIL>"
    assert (first["response_a"][0]["tool_calls"], first["response_a"][0]["reasoning_content"]) == ('{"to": "<EMAIL>"}', "Ask <EMAIL>.")
    assert first["response_b"][0]["content"] == "<PHONE>"
    assert [first[name] for name in ("context", "rationale", "extra", "tools")] == [
        "user <EMAIL>", "<EMAIL> agrees", '{"mail": "<EMAIL>"}', '[{"default": "<EMAIL>"}]',
    ]  # fmt: skip
    noted = ["prompt", "prompt", "response_a", "response_a", "response_b", "context", "rationale", "tools", "extra"]
    assert first["_masked"] == [f"{name}.masked_{'phone' if name == 'response_b' else 'email'}" for name in noted]
    assert masked["_masked"][1].to_list() == []
    assert masked.drop("_masked").row(1) == rows.row(1)
    assert masked.drop("_masked").schema == rows.schema


def test_ids_are_those_of_the_masked_text_and_normalised_says_what_was_masked() -> None:
    def ids(prompt: str) -> pl.DataFrame:
        return masking.note(identify(masking.mask(raw(row(prompt=prompt)), ["email"]), AnnotatorsConfig(), "d"))

    one, other, plain = ids("I am a@example.com "), ids("I am b@example.org"), ids("I am <EMAIL>")

    assert one["base_id"].to_list() == other["base_id"].to_list() == plain["base_id"].to_list()
    assert one["normalised"].to_list() == [["prompt.trailing_space", "prompt.masked_email"]]
    assert plain["normalised"].to_list() == [[]]


def test_ratings_and_quarantined_rows_are_masked_too() -> None:
    ratings = masking.mask(raw_ratings(rating(response="a@example.com", rationale="not b@example.com")), ["email"])
    assert ratings.select("rationale", "_masked").row(0) == ("not <EMAIL>", ["response.masked_email", "rationale.masked_email"])

    broken = {"source": "s", "source_uri": "f", "source_row": 0, "reason": "wrong_type", "field": "chosen"}
    rows = pl.DataFrame([{**broken, "detail": "found 'a@example.com'", "raw": '{"chosen": ["a\\u0040example.com"'}], schema=QUARANTINED)
    assert masking.mask(rows, ["email"]).select("detail", "raw").row(0) == ("found '<EMAIL>'", '{"chosen": ["<EMAIL>"')


def test_without_a_mask_rows_stay_as_they_are() -> None:
    rows = raw(row(prompt="I am a@example.com"))
    assert masking.mask(rows, []).drop("_masked").equals(rows)
    assert masking.mask(rows.clear(), ["email"]).height == 0


def test_masking_records_again_changes_nothing() -> None:
    once = masking.mask(raw(row(prompt="a@example.com\r\ne\u0301", extra='{"x": "+49 30 901820"}')), ["email", "phone"])
    again = masking.mask(once.drop("_masked"), ["email", "phone"])
    assert again.drop("_masked").equals(once.drop("_masked"))
    assert again["_masked"].to_list() == [[]]


def test_a_version_with_unmasked_findings_is_refused_where_a_mask_is_configured() -> None:
    votes = judged(row(prompt="I am a@example.com"))
    with pytest.raises(ConfigError, match=r"content\.mask names 'email', but this version was published with 1 findings unmasked"):
        masking.require_masked(votes, ["email"], "v000001")
    masking.require_masked(votes, ["phone"], "v000001")
    masking.require_masked(judged(row(prompt="I am <EMAIL>")), ["email"], "v000001")
