"""Judgements to votes, said of the pair that counts them."""

import polars as pl
from polars.testing import assert_frame_equal

from pipeline.consensus.votes import VOTES, absorbed_votes, votes_of
from pipeline.pairing import b_is_low, pair_up
from tests.builders import judged, row, swap


def votes(*rows: dict[str, object]) -> pl.DataFrame:
    return votes_of(judged(*rows), b_is_low())


def test_a_vote_says_which_of_the_ordered_answers_won_whichever_way_round_it_was_shown() -> None:
    given = [row(outcome=outcome, annotator=name, shown_first=first, strength=0.5) for outcome, name, first in
             (("a", "u", "a"), ("b", "v", "a"), ("tie", "w", None))]  # fmt: skip
    found = votes(*given)

    assert found.schema == VOTES
    assert_frame_equal(votes(*map(swap, given)), found)
    pair = pair_up(judged(*given)).row(0, named=True)
    low_is_a = pair["low"][0]["content"] == "x"
    said = {name: (vote, first) for name, vote, first in found.select("annotator", "vote", "low_first").iter_rows()}
    assert said == {
        "src/u": (-1 if low_is_a else 1, low_is_a),
        "src/v": (1 if low_is_a else -1, low_is_a),
        "src/w": (0, None),
    }
    assert (pair["votes_low"], pair["votes_high"], pair["votes_tie"]) == (1, 1, 1)


def test_copies_do_not_vote_and_those_whom_a_source_does_not_name_are_one_voter() -> None:
    found = votes(row(), row(), row(source="other", outcome="b"), row(annotator_kind="judge", annotator="j"))

    assert found.select("annotator", "kind", "source").sort("annotator").rows() == [
        ("src/j", "judge", "src"),
        ("unnamed other", "human", "other"),
        ("unnamed src", "human", "src"),
    ]


def test_votes_on_a_merged_pair_are_said_of_the_pair_that_counts_them() -> None:
    own = pl.DataFrame(
        [
            ("p", "1", "u", "human", "s", 1, None, True),
            ("p", "2", "v", "human", "s", 0, 0.5, None),
            ("q", "3", "u", "human", "s", -1, None, None),
        ],
        schema=VOTES,
        orient="row",
    )
    merges = pl.DataFrame({"pair_id": ["p"], "merged_into": ["r"], "swapped": [True]})

    assert absorbed_votes(own, merges).rows() == [
        ("r", "1", "u", "human", "s", -1, None, False),
        ("r", "2", "v", "human", "s", 0, 0.5, None),
    ]
    straight = merges.with_columns(swapped=False)
    assert absorbed_votes(own, straight).get_column("vote").to_list() == [1, 0]
