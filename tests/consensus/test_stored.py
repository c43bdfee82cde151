import math

import polars as pl
import pytest

from pipeline.consensus.stored import STORED, keep_posteriors, keep_probabilities, still_valid

TALLY = pl.DataFrame(
    [("p1", "x", 2), ("p2", "x", 1), ("p3", "x", 1), ("p4", "x", 1)],
    schema={"pair_id": pl.String, "low_id": pl.String, "n_votes": pl.Int64},
    orient="row",
)


def stored(*rows: tuple[str, str, int, float, float]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=STORED, orient="row")


def test_what_a_version_said_is_said_of_low_and_high() -> None:
    valid = still_valid(stored(("p2", "y", 1, 0.75, 0.2), ("p1", "x", 2, 0.75, 0.2)), TALLY)

    assert valid.select("pair_id", "p_chosen", "p_tie").rows() == [("p1", 0.75, 0.2), ("p2", 0.75, 0.2)]
    assert valid["p_low"].to_list() == pytest.approx([0.6, 0.2])
    assert valid["p_high"].to_list() == pytest.approx([0.2, 0.6])


def test_a_pair_with_new_votes_or_two_opinions_is_decided_anew() -> None:
    rows = stored(
        ("p1", "x", 1, 0.75, 0.2), ("p2", "x", 1, 0.7, 0.1), ("p2", "x", 1, 0.8, 0.1), ("p3", "x", 1, 0.9, 0.1), ("p9", "x", 1, 0.9, 0.1)
    )

    assert still_valid(pl.concat([rows, rows]), TALLY)["pair_id"].to_list() == ["p3"]


def test_the_other_pairs_keep_what_the_fit_says_and_nothing_is_lost_in_rounding() -> None:
    valid = still_valid(stored(("p3", "x", 1, 0.9, 0.3)), TALLY)
    said = pl.DataFrame(
        {
            "pair_id": ["p4", "p3"],
            "p_low": [0.5, 0.1],
            "p_tie": [0.25, 0.1],
            "p_high": [0.25, 0.8],
            "posterior_entropy": [1.5, 0.9],
            "n": [4, 3],
        }
    )

    kept = keep_posteriors(said, valid)

    assert kept.drop("posterior_entropy").row(0) == ("p4", 0.5, 0.25, 0.25, 4)
    assert kept.columns == said.columns
    assert kept.row(1)[1:4] == pytest.approx((0.63, 0.3, 0.07))
    assert kept["posterior_entropy"].to_list() == pytest.approx([1.5, -sum(p * math.log2(p) for p in (0.63, 0.3, 0.07))])
    pairs = pl.DataFrame({"pair_id": ["p4", "p3"], "p_chosen": [0.6, 0.63 / 0.7], "p_tie": [0.25, 0.3]})
    assert keep_probabilities(pairs, valid).rows() == [("p4", 0.6, 0.25), ("p3", 0.9, 0.3)]


def test_without_versions_nothing_changes() -> None:
    valid = still_valid(stored(), TALLY)
    said = pl.DataFrame({"pair_id": ["p1"], "p_low": [0.5], "p_tie": [0.25], "p_high": [0.25], "posterior_entropy": [1.5]})

    assert keep_posteriors(said, valid).equals(said)
