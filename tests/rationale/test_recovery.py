"""A reader that is not told the label must tell it from the rationale, in both orders."""

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.rationale.recovery import ask, form, read, settle
from tests.rationale.test_asking import ENDPOINT, MANY, SHOWN, flipped, said
from tests.rationale.written import draft, drafts, replies

ROWS = drafts(draft())


def recovered(rows: pl.DataFrame, *verdicts: str | None, pairs: pl.DataFrame = MANY) -> pl.DataFrame:
    """What becomes of rationales when readers answer so, chosen shown first and second; `good` and `bad` name the answers."""
    for chosen_first, verdict in zip((True, False), verdicts, strict=True):
        letters = {"chosen": "A" if chosen_first else "B", "rejected": "B" if chosen_first else "A", "tie": "tie"}
        asked = ask(rows, pairs, SHOWN, ENDPOINT, chosen_first).kept
        text = verdict and json.dumps({"verdict": letters.get(verdict, verdict)})
        rows = read(rows, asked, replies(asked, [text] * asked.height))
    return rows


def outcome(*verdicts: str | None) -> Any:
    return settle(recovered(ROWS, *verdicts)).select("accepted", "reason").row(0)


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ("chosen", "chosen", None),
        ("rejected", "rejected", "verdict_not_recovered"),
        ("tie", "tie", "verdict_not_recovered"),
        ("chosen", "rejected", "order_changes_verdict"),
        ("tie", "chosen", "order_changes_verdict"),
        ("chosen", None, "not_verified"),
        ("chosen", "C", "not_verified"),
    ],
)
def test_the_label_must_come_back_in_both_orders(first: str | None, second: str | None, why: str | None) -> None:
    assert outcome(first, second) == (why is None, why)


def test_a_reader_that_names_one_place_tells_nothing() -> None:
    rows = recovered(ROWS, "chosen", "rejected")  # Response A both times

    assert rows.select("recovered_first", "recovered_second").row(0) == ("chosen", "rejected")
    assert settle(rows)["detail"][0] == "readers say chosen and rejected"


def test_the_reader_sees_letters_and_no_label() -> None:
    text = "The chosen response is better. The chosen response names the year 1815; the rejected response guesses."
    rows = drafts(draft(text))

    first, second = (said(ask(rows, MANY, SHOWN, ENDPOINT, order).kept) for order in (True, False))

    assert "Response A names the year 1815; Response B guesses." in first
    assert "Response B names the year 1815; Response A guesses." in second
    for shown in (first, second):
        assert "is better" not in shown
        assert "chosen" not in shown
        assert "rejected" not in shown
    assert first.index("good 0") < first.index("bad 0")
    assert second.index("good 0") > second.index("bad 0")


def test_a_reader_cannot_tell_a_label_from_how_it_is_asked() -> None:
    """A rationale that is the other way round, of a pair that is the other way round, is the same question."""
    text = "The chosen response names the year 1815; the rejected response guesses."
    other = "The rejected response names the year 1815; the chosen response guesses."

    asked = ask(drafts(draft(text)), MANY, SHOWN, ENDPOINT, True).kept["key"]
    assert asked.to_list() == ask(drafts(draft(other)), flipped(MANY), SHOWN, ENDPOINT, False).kept["key"].to_list()


def test_only_accepted_rationales_that_argue_in_prose_are_asked_about() -> None:
    kinds = ("general", "detailed", "stated", "rubric", "checklist", "factors")
    rows = drafts(*(draft(number=i, kind=kind) for i, kind in enumerate(kinds)), draft(number=7, reason="too_short"))

    asked = ask(rows, MANY, SHOWN, ENDPOINT, True).kept

    assert sorted(asked["pair_id"]) == sorted(MANY["pair_id"][:3])
    assert settle(rows)["reason"].to_list() == ["not_verified"] * 3 + [None] * 3 + ["too_short"]


def test_what_readers_cost_is_added() -> None:
    row = recovered(ROWS, "chosen", "chosen").row(0, named=True)

    assert (row["input_tokens"], row["output_tokens"], row["cost"]) == (210, 45, 1.0)


def test_readers_are_asked_at_temperature_0() -> None:
    made = form()

    assert (made.name, made.temperature, made.schema["required"]) == ("recover-verdict", 0.0, ["verdict"])


def test_a_pair_too_long_for_the_reader_is_told() -> None:
    refusing = SHOWN.model_copy(update={"too_long": "refuse"})
    tiny = ENDPOINT.model_copy(update={"context_tokens": 256})

    left = ask(ROWS, MANY, refusing, tiny, True)

    assert left.kept.is_empty()
    assert left.dropped.select("rationale_id", "reason").rows() == [(ROWS["rationale_id"][0], "too_long")]


@settings(max_examples=20)
@given(order=st.permutations(range(4)), cut=st.integers(0, 4))
def test_order_and_partition_change_nothing(order: list[int], cut: int) -> None:
    rows = drafts(*(draft(number=i) for i in range(4)))
    mixed = rows[order]

    parts = pl.concat([settle(recovered(part, "chosen", "tie")) for part in (mixed[:cut], mixed[cut:])])

    assert_frame_equal(parts.sort("rationale_id"), settle(recovered(rows, "chosen", "tie")).sort("rationale_id"))
