"""Annotators in a table: counts by hand, intervals against simulated truth, and what cannot be told."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy.stats import beta

from pipeline.consensus.annotators import annotator_table, identifiability
from pipeline.consensus.dawid_skene import RIGHT, RIGHT_FIRST, RIGHT_SECOND, DawidSkene
from pipeline.consensus.em import Fitted, fit
from pipeline.consensus.patterns import Patterns, merge, number_annotators, patterns_of
from tests.consensus.vote_rows import Vote, votes

COLUMNS = [
    "annotator_id", "annotator_kind", "votes", "pairs", "shared_pairs", "accuracy", "accuracy_low", "accuracy_high",
    "tie_share", "tie_share_low", "tie_share_high", "first_share", "first_share_low", "first_share_high", "note",
]  # fmt: skip


def patterns(rows: list[Vote]) -> Patterns:
    frame = votes(rows)
    numbers = number_annotators([frame])
    return merge([patterns_of(frame, numbers)], numbers)


def table(rows: list[Vote]) -> pl.DataFrame:
    found = patterns(rows)
    return annotator_table(found, fit(found, DawidSkene(found.numbers), tolerance=1e-8, most_iterations=300))


def simulated(skills: np.ndarray, pairs: int, voters: int, seed: int) -> list[Vote]:
    rng = np.random.default_rng(seed)
    rows: list[Vote] = []
    for i in range(pairs):
        better = int(rng.choice([-1, 1]))
        for who in rng.choice(len(skills), voters, replace=False):
            vote = 0 if rng.random() < 0.1 else better if rng.random() < skills[who] else -better
            rows.append((f"p{i:05}", f"a{who:03}", "human", vote, None, None))
    return rows


def test_what_is_counted_is_counted_and_has_a_jeffreys_interval() -> None:
    rows: list[Vote] = [
        ("p1", "ann", "human", -1, None, True),  # the first side
        ("p2", "ann", "human", 1, None, True),
        ("p3", "ann", "human", 1, None, False),  # the first side
        ("p4", "ann", "human", 1, None, None),
        ("p5", "ann", "human", 0, None, True),
        ("p1", "bot", "judge", -1, None, None),
        ("p2", "bot", "judge", -1, None, None),
        ("p2", "bot", "judge", -1, None, None),  # said before
        ("p2", "bot", "judge", 1, None, None),  # and the contrary
        ("p6", "unnamed web", "human", 1, None, None),
        ("p6", "unnamed web", "human", 1, None, None),
    ]
    found = table(rows)

    assert found.columns == COLUMNS
    assert found.select("annotator_id", "annotator_kind", "votes", "pairs", "shared_pairs").rows() == [
        ("ann", "human", 5, 5, 2),
        ("unnamed web", "human", 2, 1, 1),
        ("bot", "judge", 3, 2, 2),
    ]
    assert found["tie_share"].to_list() == [0.2, 0.0, 0.0]
    assert found["tie_share_low"].to_list() == pytest.approx([0.022513, 0.0, 0.0], abs=1e-5)
    assert found["tie_share_high"].to_list() == pytest.approx([0.628626, 0.666822, 0.535583], abs=1e-5)
    assert found["first_share"].to_list() == [pytest.approx(2 / 3), None, None]
    assert found["first_share_low"][1] is None
    assert "votes for both sides of 1 of its pairs" in found["note"][2]


def by_hand(rows: list[Vote], right_first: float, right_second: float, right: float) -> list[dict[str, object]]:
    """The annotators' rows in a model of given accuracies. The high side is better with probability `right` if anybody picks it, else
    the low side is.
    """
    found = patterns(rows)
    model = DawidSkene(found.numbers)
    start = model.first(np.zeros(0))
    shares = start.shares.copy()
    shares[:, [RIGHT, RIGHT_FIRST, RIGHT_SECOND], 0] = 0.8, right_first, right_second
    shares[:, :, 1] = 1 - shares[:, :, 0]
    parameters = replace(start, shares=shares)
    says_high = [(found.cells[found.indptr[p] : found.indptr[p + 1]] % 7).max() > 3 for p in range(len(found.counts))]
    posterior = np.array([[1 - right, 0.0, right] if high else [right, 0.0, 1 - right] for high in says_high])
    fitted = Fitted(parameters, posterior, model.log_tables(parameters), model.log_prior(parameters), model.signs, [0.0], 0, True)
    return annotator_table(found, fitted).rows(named=True)


@pytest.mark.parametrize(("right", "worth"), [(1.0, 1.0), (0.8, 0.0), (0.9, 0.1), (0.0, 1.0)])
def test_a_vote_is_worth_what_the_pair_is_known_beyond_it(right: float, worth: float) -> None:
    """At accuracy 0.8, a pick that is right with 0.9 scores 0.9 / 0.8 - 0.1 / 0.2; its square is a tenth of the complete information."""
    agreed: list[Vote] = [(f"p{i}", who, "human", -1, None, None) for i in range(10) for who in ("ann", "bob")]
    # The first annotator's cell decides which of two mirror images is written, so the second's picks stand there as high ones.
    opposed: list[Vote] = [(f"p{i}", who, "human", vote, None, None) for i in range(10) for who, vote in (("ann", -1), ("bob", 1))]
    first, second = by_hand(agreed, 0.8, 0.8, right)[0], by_hand(opposed, 0.8, 0.8, right)[1]

    amount = 10 * worth + 4
    assert first["accuracy"] == pytest.approx(0.8)
    assert first["accuracy_low"] == pytest.approx(beta.ppf(0.025, 0.8 * amount, 0.2 * amount))
    assert second["accuracy_high"] == pytest.approx(beta.ppf(0.975, 0.8 * amount, 0.2 * amount))


def test_accuracy_is_over_both_places_of_the_better_side() -> None:
    rows: list[Vote] = [(f"p{i}", who, "human", -1, None, True) for i in range(3) for who in ("ann", "bob")]

    assert by_hand(rows, 0.9, 0.6, 1.0)[0]["accuracy"] == pytest.approx(0.75)


def test_an_accuracy_interval_holds_the_truth_as_often_as_it_says() -> None:
    skills = np.random.default_rng(1).beta(4, 2, 60) * 0.5 + 0.5
    held = []
    for seed in range(3):
        found = table(simulated(skills, 500, 5, seed))
        held.append((found["accuracy_low"].to_numpy() <= skills) & (skills <= found["accuracy_high"].to_numpy()))
    assert 0.9 <= np.mean(held) < 1.0
    assert (found["accuracy_high"] - found["accuracy_low"]).mean() < 0.35


def test_votes_beside_many_good_annotators_are_worth_what_they_are_beside_the_truth() -> None:
    skills = np.array([0.95] * 9 + [0.7])
    last = table(simulated(skills, 300, 10, 0)).row(-1, named=True)

    # 0.7 of 270 picks: the interval of a known truth is 0.109 wide
    assert last["accuracy_high"] - last["accuracy_low"] == pytest.approx(0.109, abs=0.015)
    assert last["note"] is None


def test_votes_that_nobody_checks_tell_no_accuracy() -> None:
    rows: list[Vote] = [("p1", "ann", "human", -1, None, None), ("p1", "bob", "human", -1, None, None)]
    rows += [(f"q{i}", "eve", "human", 1, None, None) for i in range(50)]
    ann, _, eve = table(rows).rows(named=True)

    assert (eve["votes"], eve["shared_pairs"], eve["accuracy"], eve["accuracy_low"], eve["accuracy_high"]) == (50, 0, None, None, None)
    assert eve["note"] == "nobody else's votes count on its pairs: how often it is right cannot be told"
    assert ann["accuracy_high"] - ann["accuracy_low"] > 0.6
    assert "the interval is mostly the prior's" in ann["note"]


def test_one_annotator_who_only_ties_and_one_whom_the_others_contradict_are_named() -> None:
    skills = np.array([0.95] * 6 + [0.2])
    rows = simulated(skills, 200, 7, 2)
    ties: list[Vote] = [(f"p{i:05}", "b tie", "human", 0, None, None) for i in range(10)]
    found = table(rows + ties).sort("annotator_id")

    assert found["note"][-2] == "its picks are more often those that the others reject"
    assert found["accuracy"][-2] == pytest.approx(0.2, abs=0.08)
    assert (found["accuracy"][-1], found["note"][-1]) == (None, "all its votes are ties")
    assert table([("p1", "ann", "human", 1, None, None)])["note"].to_list() == [
        "the only annotator; nobody else's votes count on its pairs: how often it is right cannot be told"
    ]


def test_an_annotator_none_of_whose_votes_count_is_in_the_table() -> None:
    counted = votes([("p1", "ann", "human", 1, None, None), ("p1", "bob", "human", 1, None, None)])
    numbers = number_annotators([counted, pl.DataFrame({"annotator": ["gpt"], "kind": ["judge"]})])
    found = merge([patterns_of(counted, numbers)], numbers)
    last = annotator_table(found, fit(found, DawidSkene(numbers), tolerance=1e-8, most_iterations=50)).row(-1, named=True)

    assert (last["annotator_id"], last["votes"], last["accuracy"], last["tie_share"]) == ("gpt", 0, None, None)
    assert last["note"] == "no vote of it enters consensus"


def test_sides_exchanged_change_nothing() -> None:
    rows = [(p, a, k, v, s, bool(i % 2)) for i, (p, a, k, v, s, _) in enumerate(simulated(np.array([0.9, 0.8, 0.6]), 40, 3, 3))]
    exchanged = [(p, a, k, -v, s, not f) if int(p[1:]) % 3 else (p, a, k, v, s, f) for p, a, k, v, s, f in rows]

    assert table(rows).equals(table(exchanged[::-1]))


def test_no_votes_make_an_empty_table() -> None:
    found = table([])

    assert (found.height, found.columns) == (0, COLUMNS)
    assert identifiability(patterns([])) == ["There are no votes."]


def test_what_the_votes_leave_open_is_said() -> None:
    alone: list[Vote] = [(f"p{i}", "ann", "human", 1, None, None) for i in range(4)]
    other: list[Vote] = [(f"q{i}", "bob", "human", 1, None, None) for i in range(4)]
    camps: list[Vote] = [(f"{c}{i}", f"{c} {who}", "human", 1, None, None) for c in "xyy" for i in range(2) for who in range(3)]
    tied: list[Vote] = [(f"p{i}", who, "human", 0, None, None) for i in range(2) for who in ("ann", "bob")]
    joined: list[Vote] = [(f"p{i}", who, "human", 1, None, None) for i in range(2) for who in ("ann", "bob")]

    assert identifiability(patterns(alone)) == [
        "4 of 4 pairs (100.0%) have one vote: nothing checks it but what the annotator did elsewhere.",
        "One annotator voted: nobody's accuracy can be told from these votes; the probabilities are those of the prior.",
    ]
    assert identifiability(patterns(alone + other))[1].startswith("No pair has votes of two people: nobody's accuracy")
    assert identifiability(patterns(camps)) == [
        "The 6 annotators fall into 2 sets that share no pair (the largest has 3): "
        "between sets their accuracies cannot be compared but through the prior."
    ]
    assert identifiability(patterns(tied)) == ["All votes are ties: nothing tells better sides from worse."]
    assert identifiability(patterns(joined)) == []
