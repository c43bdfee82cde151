"""Vote shares with a prior, and what they choose, with probabilities worked out by hand."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.consensus.labels import POSTERIORS, choose
from pipeline.consensus.majority import majority

LAPLACE = 1.0
SIDED = ("{}", "{}_id", "{}_text", "{}_models", "votes_{}")


def tally(*votes: tuple[int, int, int]) -> pl.DataFrame:
    """One pair for each (votes_low, votes_high, votes_tie)."""
    n = len(votes)
    return pl.DataFrame(
        {
            "pair_id": [f"p{i}" for i in range(n)],
            "low": [[{"role": "assistant", "content": "low"}]] * n,
            "high": [[{"role": "assistant", "content": "high"}]] * n,
            "low_id": ["1a"] * n,
            "high_id": ["2b"] * n,
            "low_text": ["t1"] * n,
            "high_text": ["t2"] * n,
            "low_models": [["m1"]] * n,
            "high_models": [["m2", "m3"]] * n,
            "n_votes": [sum(v) for v in votes],
            "votes_low": [v[0] for v in votes],
            "votes_high": [v[1] for v in votes],
            "votes_tie": [v[2] for v in votes],
        }
    )


def decided(rows: pl.DataFrame, prior: float) -> pl.DataFrame:
    """The pairs of `tally` with the sides that the majority of their votes chooses, each vote of strength 1."""
    counts = rows.select("pair_id", "votes_low", "votes_tie", "votes_high").rows()
    cast = [(pair, vote) for pair, *numbers in counts for vote, n in zip((-1, 0, 1), numbers, strict=True) for _ in range(n)]
    votes = pl.DataFrame(cast, schema={"pair_id": pl.String, "vote": pl.Int8}, orient="row")
    return choose(rows, majority(votes, prior).join(votes.group_by("pair_id").agg(strength=pl.col("vote").mean()), on="pair_id"))


def swapped(rows: pl.DataFrame) -> pl.DataFrame:
    names = {n.format("low"): n.format("high") for n in SIDED} | {n.format("high"): n.format("low") for n in SIDED}
    return rows.rename(names)


@pytest.mark.parametrize(
    ("votes", "chosen", "p_chosen", "p_tie", "tie"),
    [
        ((1, 0, 0), "1a", 2 / 3, 1 / 4, False),
        ((0, 1, 0), "2b", 2 / 3, 1 / 4, False),
        ((1, 3, 1), "2b", 4 / 6, 2 / 8, False),
        ((0, 0, 1), "1a", 0.5, 2 / 4, True),  # only a tie vote
        ((2, 2, 0), "1a", 0.5, 1 / 7, True),  # equal sides: the smaller id
        ((2, 1, 2), "1a", 3 / 5, 3 / 8, False),  # tie votes are not strictly the most
        ((2, 1, 3), "1a", 3 / 5, 4 / 9, True),
    ],
)
def test_the_likelier_side_is_chosen_with_the_posterior_mean(
    votes: tuple[int, int, int], chosen: str, p_chosen: float, p_tie: float, tie: bool
) -> None:
    row = decided(tally(votes), LAPLACE).row(0, named=True)

    assert (row["chosen_id"], row["tie"]) == (chosen, tie)
    assert row["p_chosen"] == pytest.approx(p_chosen, abs=1e-15)
    assert row["p_tie"] == pytest.approx(p_tie, abs=1e-15)


def test_everything_about_a_side_moves_with_it_and_the_tally_columns_go() -> None:
    result = decided(tally((1, 3, 1)), LAPLACE)

    assert result.select("chosen_id", "rejected_id", "votes_chosen", "votes_rejected", "votes_tie").row(0) == ("2b", "1a", 3, 1, 1)
    assert result["chosen"].to_list() == [[{"role": "assistant", "content": "high"}]]
    assert result["chosen_models"].to_list() == [["m2", "m3"]]
    assert not [name for name in result.columns if "low" in name or "high" in name or "strength" in name]


def test_margin_is_the_mean_strength_towards_chosen_and_never_negative() -> None:
    said = pl.DataFrame({"pair_id": ["p0", "p1", "p2"], "p_low": [0.7, 0.7, 0.1], "p_tie": 0.1, "p_high": [0.2, 0.2, 0.8]})
    result = choose(tally((2, 1, 1), (2, 1, 0), (0, 1, 0), (1, 0, 0)), said.with_columns(strength=pl.Series([-0.25, 0.3, 1.0])))

    assert result["margin"].to_list() == [0.25, 0.0, 1.0, 0.0]
    assert result.schema["margin"] == pl.Float32()


def test_a_larger_prior_moves_p_chosen_towards_a_half() -> None:
    assert decided(tally((3, 0, 0)), 9.0)["p_chosen"].to_list() == [pytest.approx(12 / 21)]


@given(
    st.lists(st.tuples(*[st.integers(0, 5)] * 3).filter(any), min_size=1, max_size=8),
    st.floats(0.01, 10.0),
)
def test_swapping_the_sides_changes_nothing_and_probabilities_stay_in_range(votes: list[tuple[int, int, int]], prior: float) -> None:
    result = decided(tally(*votes), prior)

    assert_frame_equal(decided(swapped(tally(*votes)), prior), result, check_column_order=False, check_exact=True)
    assert result["p_chosen"].is_between(0.5, 1.0).all()
    assert result["p_tie"].is_between(0.0, 1.0).all()
    assert result["margin"].is_between(0.0, 1.0).all()
    assert (result["votes_chosen"] >= result["votes_rejected"]).all()


def test_a_pair_without_a_vote_that_counts_is_a_tie() -> None:
    row = choose(tally((2, 0, 0)), pl.DataFrame(schema={**POSTERIORS, "strength": pl.Float64})).row(0, named=True)

    assert (row["p_chosen"], row["p_tie"], row["tie"], row["votes_chosen"]) == (0.5, pytest.approx(1 / 3), True, 2)


def test_sums_of_equal_terms_in_another_order_are_equal_sides() -> None:
    posteriors = pl.DataFrame([("p0", 0.1 + 0.2, 0.4, 0.3)], schema=POSTERIORS, orient="row")
    row = choose(tally((1, 1, 1)), posteriors.with_columns(strength=0.0)).row(0, named=True)

    assert 0.1 + 0.2 != 0.3
    assert (row["chosen_id"], row["p_chosen"], row["tie"]) == ("1a", 0.5, True)
