"""Agreement among votes."""

import math

import polars as pl
import pytest

from pipeline.signals.votes import add_votes


@pytest.mark.parametrize(
    ("chosen", "rejected", "tie", "agreement", "entropy", "conflict"),
    [
        (1, 0, 0, 1.0, 0.0, False),
        (1, 1, 0, 0.5, 1.0, True),
        (1, 1, 1, 1 / 3, math.log2(3), True),
        (3, 0, 1, 0.75, 0.811278124459133, False),
        (2, 1, 5, 0.625, 1.298794940695399, True),  # the most frequent verdict may be the tie
    ],
)
def test_agreement_entropy_and_conflict_match_values_worked_by_hand(
    chosen: int, rejected: int, tie: int, agreement: float, entropy: float, conflict: bool
) -> None:
    row = add_votes(pl.DataFrame({"votes_chosen": [chosen], "votes_rejected": [rejected], "votes_tie": [tie]})).row(0, named=True)

    assert row["agreement"] == pytest.approx(agreement)
    assert row["vote_entropy"] == pytest.approx(entropy, abs=1e-12)
    assert row["conflict"] is conflict


def test_unanimous_votes_have_entropy_plus_zero() -> None:
    entropy = add_votes(pl.DataFrame({"votes_chosen": [4], "votes_rejected": [0], "votes_tie": [0]}))["vote_entropy"][0]

    assert math.copysign(1.0, entropy) == 1.0
