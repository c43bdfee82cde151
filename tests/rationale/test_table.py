"""What pairs get from their rationales."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.rationale.table import add_signals, prefer
from tests.rationale.written import draft, drafts, pair, pairs

ONE = pairs(pair())
KINDS = ["detailed", "rubric"]


def signals(*rows: dict[str, Any]) -> dict[str, Any]:
    told = add_signals(ONE, drafts(*rows)).row(0, named=True)
    return {name.removeprefix("rationale_"): value for name, value in told.items() if name.startswith("rationale_")}


def text(*rows: dict[str, Any]) -> Any:
    found = prefer(ONE, drafts(*rows), KINDS)["rationale"][0]
    return found and found["text"]


def test_a_pair_without_rationales_has_no_signals() -> None:
    assert set(signals().values()) == {None}
    assert set(signals(draft(number=7)).values()) == {None}
    assert set(signals(draft(kind="factors")).values()) == {None}


def test_what_is_missing_is_told_by_the_attempt_that_got_furthest() -> None:
    refused = [draft("x", reason=why) for why in ("rate_limited", "verdict_not_recovered", "not_json")]

    assert signals(*refused)["missing"] == "verdict_not_recovered"
    assert signals(*refused, draft())["missing"] is None
    assert signals(draft(None, reason="budget"))["missing"] == "budget"


@pytest.mark.parametrize(
    ("first", "second", "verdict", "against", "steady"),
    [
        ("chosen", "chosen", 1.0, False, True),
        ("chosen", "rejected", 0.5, False, False),
        ("tie", "chosen", 0.75, False, False),
        ("rejected", "tie", 0.25, True, False),
        ("rejected", "rejected", 0.0, True, True),
        ("rejected", None, 0.0, True, None),
        (None, None, None, None, None),
    ],
)
def test_recovered_verdicts_add_up(first: str, second: str, verdict: float | None, against: bool | None, steady: bool | None) -> None:
    told = signals(draft(recovered_first=first, recovered_second=second))

    assert (told["verdict"], told["against"], told["steady"]) == (verdict, against, steady)


def test_a_writer_that_decides_against_the_label_speaks_against_it_and_a_rubric_or_a_stated_vote_does_not() -> None:
    assert signals(draft(own_verdict="rejected", reason="other_verdict"))["against"] is True
    assert signals(draft(own_verdict="chosen"))["against"] is False
    assert signals(draft(kind="rubric", own_verdict="rejected"))["against"] is None
    assert signals(draft(kind="stated", own_verdict="rejected", reason="other_verdict"))["against"] is None


def test_leaks_are_those_of_accepted_ones_and_copies_the_most() -> None:
    told = signals(draft(leaks_label=False, near_copies=1), draft("y", reason="near_copy", leaks_label=True, near_copies=4))

    assert (told["leaks"], told["near_copies"]) == (False, 4)


def test_the_stated_rationale_is_preferred_then_the_kinds_in_order_and_of_one_kind_the_first() -> None:
    rubric, first, second, stated = draft("r", kind="rubric"), draft("1"), draft("2"), draft("s", kind="stated")

    assert text(rubric, first, second, stated) == "s"
    assert text(rubric, first, second) == "1"
    assert text(second, first) == "2"
    assert text(rubric) == "r"
    assert text(draft("g", kind="general"), draft("x", reason="not_json")) is None
    assert text(draft("r", kind="rubric", own_verdict="rejected")) is None


def test_a_pair_without_one_has_null_and_not_a_struct_of_nulls() -> None:
    assert prefer(ONE, drafts(), KINDS)["rationale"].is_null().to_list() == [True]


@given(order=st.permutations(range(4)))
def test_order_and_partition_of_pairs_change_nothing(order: list[int]) -> None:
    every = pairs(*(pair() for _ in range(4)))
    rows = drafts(*(draft(number=i, recovered_first="chosen", reason=why) for i, why in enumerate([None, "near_copy", "refused", None])))

    together = prefer(add_signals(every[order], rows[order[::-1]]), rows[order], KINDS).sort("pair_id")

    alone = [prefer(add_signals(every[i], rows[i]), rows[i], KINDS) for i in range(4)]
    assert_frame_equal(together, pl.concat(alone))
