"""One row an annotator, put together from what the model, the gates, the search for camps and the counts say."""

from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline.consensus import roster
from pipeline.consensus.camps import GROUPS
from pipeline.consensus.judges import JUDGES
from pipeline.consensus.votes import VOTES
from pipeline.schemas import ANNOTATOR

LOW, TIE, HIGH = -1, 0, 1


def votes(*rows: tuple[str, str, int, bool | None]) -> pl.DataFrame:
    """Pair, annotator, vote, low shown first; judges are called j..."""
    told = [
        {
            "pair_id": pair,
            "judgement_id": f"{i:04d}",
            "annotator": who,
            "kind": "judge" if who[0] == "j" else "human",
            "source": "s",
            "vote": vote,
            "low_first": first,
        }
        for i, (pair, who, vote, first) in enumerate(rows)
    ]
    return pl.DataFrame(told, schema=VOTES)


SAID = votes(
    ("p1", "ann", LOW, True),
    ("p1", "bob", HIGH, True),
    ("p1", "j1", LOW, True),
    ("p1", "j1", HIGH, False),
    ("p2", "ann", TIE, False),
    ("p3", "unnamed web", HIGH, None),
    ("p3", "unnamed web", HIGH, None),
    ("p4", "unnamed web", LOW, None),
)
COUNTS = ["annotator", "votes", "pairs", "shared_pairs", "ties", "ordered", "first"]


def test_voters_are_counted_with_their_habits() -> None:
    found = roster.summarise_voters(SAID)

    assert found.select(COUNTS).rows() == [
        ("ann", 2, 2, 1, 1, 1, 1),
        ("bob", 1, 1, 1, 0, 1, 0),
        ("unnamed web", 3, 2, 1, 0, 0, 0),
        ("j1", 2, 1, 1, 0, 2, 2),
    ]


def modelled(**accuracy: float | None) -> pl.DataFrame:
    """What the vote model says: accuracy by annotator, one vote each; the shares in it are of the votes that count only."""
    rows: list[dict[str, Any]] = [
        {
            "annotator_id": name,
            "annotator_kind": "judge" if name[0] == "j" else "human",
            **dict.fromkeys(("votes", "pairs", "shared_pairs"), 1),
            "accuracy": value,
            **dict.fromkeys(("accuracy_low", "accuracy_high"), value),
            **{f"{share}{end}": 0.123 for share in ("tie_share", "first_share") for end in ("", "_low", "_high")},
            "note": None if value is not None else "cannot be told",
        }
        for name, value in accuracy.items()
    ]
    return pl.DataFrame(rows)


def audited(admitted: bool, reason: str | None = None) -> pl.DataFrame:
    row = dict.fromkeys(JUDGES.names()) | {"annotator": "j1", "kind": "judge", "admitted": admitted, "reason": reason}
    return pl.DataFrame([row | {"both_orders": 1, "consistent": 0, "gold_votes": 0, "note": "seen rarely"}], schema=JUDGES)


def table(parts: list[pl.DataFrame], judges: pl.DataFrame, policy: str = "audited", groups: pl.DataFrame | None = None) -> pl.DataFrame:
    groups = GROUPS.to_frame() if groups is None else groups
    return roster.annotators(modelled(ann=0.8, bob=None, j1=0.7), parts, groups, judges, policy)


def one(found: pl.DataFrame, name: str) -> dict[str, Any]:
    return found.row(by_predicate=pl.col("annotator_id") == name, named=True)


def test_shares_rest_on_all_votes_and_accuracy_on_those_that_count() -> None:
    found = table([roster.summarise_voters(SAID)], audited(True))
    ann, judge = one(found, "ann"), one(found, "j1")

    assert set(ANNOTATOR.names) <= set(found.columns)
    assert (ann["accuracy"], ann["tie_share"], ann["first_share"]) == (0.8, 0.5, 1.0)
    assert ann["tie_share_low"] < 0.5 < ann["tie_share_high"]
    assert ann["first_share_high"] == 1.0
    assert (judge["votes"], judge["accuracy"], judge["first_share"]) == (2, 0.7, 1.0)
    assert judge["note"] == "1 of its 2 votes enter consensus; seen rarely"
    assert one(found, "bob")["note"] == "cannot be told"
    assert one(found, "unnamed web")["first_share"] is None


def test_counts_add_up_over_partitions_in_any_order() -> None:
    pairs = [pl.col("pair_id").is_in(["p1"]), pl.col("pair_id").is_in(["p2", "p3"]), pl.col("pair_id").is_in(["p4"])]
    parts = [roster.summarise_voters(SAID.filter(here)) for here in pairs]

    assert_frame_equal(table(parts[::-1], audited(True)), table([roster.summarise_voters(SAID)], audited(True)))


@pytest.mark.parametrize(
    ("policy", "passed", "admitted", "reason"),
    [
        ("audited", True, True, None),
        ("audited", False, False, "wrong"),
        ("all", False, True, None),
        ("none", True, False, "consensus.judges is none"),
    ],
)
def test_whose_votes_enter_follows_the_policy(policy: str, passed: bool, admitted: bool, reason: str | None) -> None:
    found = table([roster.summarise_voters(SAID)], audited(passed, None if passed else "wrong"), policy)

    assert (one(found, "j1")["admitted"], one(found, "j1")["reason"]) == (admitted, reason)
    assert (one(found, "ann")["admitted"], one(found, "ann")["reason"]) == (True, None)


def test_a_judge_that_no_audit_saw_is_not_admitted() -> None:
    assert one(table([roster.summarise_voters(SAID)], JUDGES.to_frame()), "j1")["admitted"] is False


def test_one_camp_is_no_camp() -> None:
    groups = pl.DataFrame([("ann", "s", 0), ("bob", "s", None)], schema=GROUPS, orient="row")
    two = pl.DataFrame([("ann", "s", 0), ("bob", "s", 1)], schema=GROUPS, orient="row")

    assert table([roster.summarise_voters(SAID)], audited(True), groups=groups)["group"].null_count() == 4
    assert one(table([roster.summarise_voters(SAID)], audited(True), groups=two), "bob")["group"] == 1


def test_no_votes_no_annotators() -> None:
    empty = modelled(ann=0.8).clear()

    assert roster.annotators(empty, [], GROUPS.to_frame(), JUDGES.to_frame(), "audited").is_empty()


def test_votes_left_out_are_shares_of_all_votes() -> None:
    dropped = pl.DataFrame({"reason": ["flipped", "flipped", "humans"]})
    parts = [roster.summarise_left_out(SAID[:5], dropped), roster.summarise_left_out(SAID[5:], dropped.clear())]
    found = roster.left_out_statistics(parts)

    assert found.select("subject_kind", "subject", "value", "n").rows() == [
        ("dataset", "all", 3 / 11, 11),
        ("reason", "flipped", 2 / 11, 11),
        ("reason", "humans", 1 / 11, 11),
    ]
    assert found.filter((pl.col("low") < pl.col("value")) & (pl.col("value") < pl.col("high"))).height == 3


def test_without_votes_nothing_can_be_left_out() -> None:
    (row,) = roster.left_out_statistics([]).to_dicts()

    assert (row["value"], row["n"], row["note"]) == (None, 0, "there are no votes")
