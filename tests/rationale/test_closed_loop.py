"""What became of answers after a critique."""

from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline.rationale.closed_loop import OUTCOMES, closed_loop


def outcomes(critic: str, *rounds: str) -> pl.DataFrame:
    """A string a round, a letter an item: r right, w wrong, ? not told, a blank no row at all."""
    means = {"r": True, "w": False, "?": None}
    rows = [
        (critic, f"i{place:03d}", number, means[letter])
        for number, letters in enumerate(rounds)
        for place, letter in enumerate(letters)
        if letter != " "
    ]
    return pl.DataFrame(rows, schema=OUTCOMES, orient="row")


def test_keeping_repairing_and_gain_of_the_published_transitions() -> None:
    before = "r" * 50 + "w" * 50
    after = "r" * 40 + "w" * 10 + "r" * 15 + "w" * 35
    told = closed_loop(outcomes("c", before, after)).row(0, named=True)

    assert [told[name] for name in ("kept_right", "broken", "repaired", "left_wrong", "unknown")] == [40, 10, 15, 35, 0]
    assert (told["keeping"], told["repairing"], told["accuracy"], told["gain"]) == pytest.approx((0.80, 0.30, 0.55, 0.05))
    # Wilson of 40 of 50 and 15 of 50; Agresti and Min: 5/102 -+ 1.96 * sqrt(26 - 25/102) / 102, all by hand.
    assert (told["keeping_low"], told["keeping_high"]) == pytest.approx((0.6696, 0.8876), abs=1e-4)
    assert (told["repairing_low"], told["repairing_high"]) == pytest.approx((0.1910, 0.4375), abs=1e-4)
    assert (told["gain_low"], told["gain_high"]) == pytest.approx((-0.0485, 0.1465), abs=1e-4)


def test_each_round_is_held_against_the_one_before() -> None:
    told = closed_loop(outcomes("c", "rw", "rr", "wr"))
    assert told.select("round", "kept_right", "broken", "repaired", "left_wrong").rows() == [(1, 1, 0, 1, 0), (2, 1, 1, 0, 0)]
    assert told["gain"].to_list() == [0.5, -0.5]


def test_critics_do_not_mix() -> None:
    told = closed_loop(pl.concat([outcomes("with", "ww", "rr"), outcomes("without", "ww", "rw")]))
    assert told.select("critic", "repairing").rows() == [("with", 1.0), ("without", 0.5)]


@pytest.mark.parametrize(("rounds", "unknown"), [(("r?w", "rr?"), 2), (("rr ", "r r"), 2), (("r", "r"), 0)])
def test_an_item_without_an_outcome_counts_nowhere_but_as_unknown(rounds: tuple[str, ...], unknown: int) -> None:
    told = closed_loop(outcomes("c", *rounds)).row(0, named=True)
    assert (told["unknown"], told["kept_right"], told["keeping"]) == (unknown, 1, 1.0)


def test_a_share_of_nothing_is_not_known() -> None:
    told: dict[str, Any] = closed_loop(outcomes("c", "rr", "rr")).row(0, named=True)
    assert [told[f"repairing{part}"] for part in ("", "_low", "_high")] == [None] * 3
    nothing = closed_loop(outcomes("c", "??", "rr")).row(0, named=True)
    assert [nothing[name] for name in ("keeping", "accuracy", "gain", "gain_low")] == [None] * 4
    assert closed_loop(OUTCOMES.to_frame()).is_empty()
    assert closed_loop(outcomes("c", "rw")).is_empty()  # no round yet


def test_no_change_has_an_interval_with_a_width() -> None:
    told = closed_loop(outcomes("c", "r" * 20, "r" * 20)).row(0, named=True)
    assert told["gain_low"] < told["gain"] == 0.0 < told["gain_high"]


def test_the_order_of_rows_does_not_matter() -> None:
    table = pl.concat([outcomes("a", "rwrw", "rrww", "rrrr"), outcomes("b", "w?rw", "rr w")])
    assert_frame_equal(closed_loop(table.reverse()), closed_loop(table), check_exact=True)
