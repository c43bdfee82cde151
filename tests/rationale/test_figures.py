"""What the rationales of a data set add up to."""

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.rationale.figures import reduce, summarise
from tests.rationale.written import draft, drafts


def figures(*rows: dict[str, Any]) -> dict[tuple[str, str], tuple[float, int]]:
    told = reduce([summarise(drafts(*rows))])
    return {
        (s.removeprefix("rationale_"), kind): (value, n) for s, kind, value, n in told.select("statistic", "subject", "value", "n").rows()
    }


def checklist(number: int, yes: int, of: int) -> dict[str, Any]:
    return draft("c", number, kind="checklist", items=json.dumps({"questions": [], "chosen": yes / of, "rejected": 0.0}))


def test_a_checklists_score_is_the_mean_of_rates_and_not_the_rate_of_all_questions() -> None:
    """TICK (2024): 1 of 2 and 9 of 10 are 0.70 on average; pooled they would be 10 / 12 = 0.8333."""
    value, n = figures(checklist(0, 1, 2), checklist(1, 9, 10))["score_chosen", "checklist"]

    assert (round(value, 9), n) == (0.7, 2)


def test_recovery_and_leakage_are_shares_with_wilsons_interval() -> None:
    rows = [draft(number=i, recovered_first="chosen", recovered_second="chosen", leaks_label=i == 0) for i in range(8)]
    rows += [draft(number=8, recovered_first="chosen", recovered_second="rejected", reason="order_changes_verdict")]
    rows += [draft(number=9, recovered_first="rejected", recovered_second="rejected", reason="verdict_not_recovered", leaks_label=True)]
    told = reduce([summarise(drafts(*rows))])

    def of(name: str) -> tuple[Any, ...]:
        return told.filter(pl.col("statistic") == f"rationale_{name}").select("value", "n", pl.col("low", "high").round(4)).row(0)

    assert of("recovered") == (0.8, 10, 0.4902, 0.9433)  # (8 + 1.92073 -+ 1.95996 * sqrt(10 * .16 + .96036)) / 13.84146
    assert of("steady")[:2] == (0.9, 10)
    assert of("leaks_label")[:2] == (0.125, 8)
    assert of("refused_order_changes_verdict")[:2] == (0.1, 10)


def test_coverage_counts_pairs_and_cost_is_that_of_all_attempts_for_one_accepted() -> None:
    told = figures(draft("x", 0, reason="not_json"), draft(number=0), draft("y", 1, reason="refused"))

    assert told["coverage", "detailed"] == (0.5, 2)
    assert told["refused_not_json", "detailed"] == (pytest.approx(1 / 3), 3)
    assert told["cost", "detailed"] == (1.5, 1)
    assert told["input_tokens", "detailed"] == (30.0, 1)
    assert ("cost", "detailed") not in figures(draft(cost=0.0))


def test_only_writers_that_were_not_told_the_label_can_agree_with_it() -> None:
    told = figures(draft(own_verdict="chosen"), draft("x", 1, own_verdict="tie", reason="other_verdict"), draft(number=2))

    assert told["own_verdict_agrees", "detailed"] == (0.5, 2)


def test_nothing_gives_no_rows() -> None:
    assert reduce([]).is_empty()
    assert reduce([summarise(drafts())]).is_empty()


@given(parts=st.lists(st.integers(0, 2), min_size=9, max_size=9))
def test_partitions_change_no_figure(parts: list[int]) -> None:
    rows = drafts(
        *(draft(number=i, cost=0.1 * i, recovered_first="chosen", recovered_second="tie" if i % 2 else "chosen") for i in range(6)),
        *(draft(f"{i}", i, kind="general", reason=why) for i, why in enumerate(["refused", "not_json", "refused"])),
    )
    split = [rows.filter(pl.Series(parts) == part) for part in range(3)]

    assert_frame_equal(reduce([summarise(part) for part in split]), reduce([summarise(rows)]))
