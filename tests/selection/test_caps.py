"""Caps on groups of pairs."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.selection import caps
from tests.selection.rows import hashed, pair_frame, run


def one_by_one(rows: int, members: set[tuple[int, int]], limits: list[int]) -> list[bool]:
    """The rule as it is said: row after row, each in when all its groups have room."""
    room, admitted = list(limits), []
    for row in range(rows):
        mine = [group for member, group in members if member == row]
        admitted.append(all(room[group] > 0 for group in mine))
        for group in mine:
            room[group] -= admitted[-1]
    return admitted


@pytest.mark.parametrize("rounds", [0, 1, 64])
@settings(max_examples=60)
@given(st.data())
def test_rows_are_admitted_as_if_one_by_one(rounds: int, data: st.DataObject) -> None:
    rows, groups = data.draw(st.integers(0, 25)), data.draw(st.integers(1, 6))
    limits = data.draw(st.lists(st.integers(1, 4), min_size=groups, max_size=groups))
    several = st.sets(st.tuples(st.integers(0, max(0, rows - 1)), st.integers(0, groups - 1)), max_size=60)
    members = data.draw(several) if rows else set()
    pairs = np.array(sorted(members, key=lambda one: one[::-1]), dtype=np.int64).reshape(-1, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(caps, "_ROUNDS", rounds)
        found = caps.admit(rows, pairs[:, 0], pairs[:, 1], np.array(limits, dtype=np.int64))
    assert found.tolist() == one_by_one(rows, members, limits)


def test_a_long_chain_of_rows_that_wait_for_each_other_is_decided() -> None:
    rows = np.arange(5000)
    member, group = np.r_[rows, rows], np.r_[rows, rows + 1]
    order = np.lexsort((member, group))
    found = caps.admit(5000, member[order], group[order], np.ones(5001, dtype=np.int64))
    assert found.tolist() == [True, False] * 2500


def test_the_best_of_a_cluster_stay_and_what_leaves_says_why() -> None:
    pairs = pair_frame(6, prompt_cluster_id=["c"] * 4 + ["d"] * 2, p_soft=[0.9, 0.6, 0.8, 0.7, 0.6, 0.5])
    kept, dropped, _ = run(pairs, {"caps": {"prompt_cluster": 2}})

    assert sorted(kept["p_soft"]) == [0.5, 0.6, 0.8, 0.9]
    assert sorted(dropped.select("reason", "score", "threshold", "detail", "stage", "witness_pair_id").rows()) == [
        ("cap_prompt_cluster", 0.6, 0.8, "2 pairs with p_soft as high are kept of prompt cluster c", "select", None),
        ("cap_prompt_cluster", 0.7, 0.8, "2 pairs with p_soft as high are kept of prompt cluster c", "select", None),
    ]


def test_a_pair_of_two_sources_counts_in_both_and_needs_room_in_both() -> None:
    sources = [["arena", "crowd"], ["arena"], ["crowd"], ["panel"], ["crowd", "panel"]]
    pairs = pair_frame(5, sources=sources, p_soft=[0.9, 0.8, 0.7, 0.6, 0.5])
    kept, dropped, _ = run(pairs, {"caps": {"source": 1}})

    assert sorted(kept["p_soft"]) == [0.6, 0.9]
    assert set(dropped["reason"]) == {"cap_source"}
    assert dict(dropped.select("p_soft", "threshold").iter_rows()) == {0.8: 0.9, 0.7: 0.9, 0.5: 0.9}


def test_annotators_are_those_whose_votes_decide_and_unknown_ones_are_not_capped() -> None:
    pairs = pair_frame(4, p_soft=[0.9, 0.8, 0.7, 0.6])
    names = pairs["pair_id"].to_list()
    voters = pl.DataFrame({"pair_id": [names[0], names[0], names[1], names[2]], "annotator": ["ann", "bob", "ann", "bob"]})
    kept, dropped, _ = run(pairs, {"caps": {"annotator": 1}}, voters=voters)

    assert sorted(kept["p_soft"]) == [0.6, 0.9]
    assert sorted(dropped["detail"]) == [f"1 pairs with p_soft as high are kept of annotator {name}" for name in ("ann", "bob")]


def test_the_first_cap_that_is_full_is_the_reason_and_unknown_scores_come_last() -> None:
    pairs = pair_frame(3, prompt_cluster_id=["c"] * 3, rm_mean=[None, 2.0, 1.0])
    kept, dropped, _ = run(pairs, {"caps": {"prompt_cluster": 1, "source": 1, "by": "rm_mean - 1"}})

    assert kept["rm_mean"].to_list() == [2.0]
    assert sorted(dropped.select("reason", "score", "threshold").rows(), key=str) == [
        ("cap_prompt_cluster", 0.0, 1.0),
        ("cap_prompt_cluster", None, 1.0),
    ]


ROW = st.tuples(st.integers(0, 4), st.sets(st.sampled_from(["arena", "crowd"]), min_size=1), st.integers(0, 3))


@settings(max_examples=12)
@given(st.lists(ROW, min_size=1, max_size=30), st.integers(1, 3), st.integers(1, 12))
def test_no_cap_is_passed_none_leaves_room_and_partitions_change_nothing(
    rows: list[tuple[int, set[str], int]], cluster: int, source: int
) -> None:
    pairs = pair_frame(
        len(rows),
        prompt_cluster_id=[hashed(c) for c, _, _ in rows],
        sources=[sorted(s) for _, s, _ in rows],
        p_soft=[score / 4 for _, _, score in rows],
    )
    asked = {"caps": {"prompt_cluster": cluster, "source": source}}
    kept, dropped, _ = run(pairs, asked)
    clusters = dict(kept["prompt_cluster_id"].value_counts().iter_rows())
    sources = dict(kept["sources"].explode(empty_as_null=False).value_counts().iter_rows())

    assert max(clusters.values()) <= cluster
    assert max(sources.values()) <= source
    for name, among in dropped.select("prompt_cluster_id", "sources").iter_rows():
        assert clusters.get(name) == cluster or any(sources.get(one, 0) == source for one in among)
    shuffled = pairs.sample(fraction=1.0, shuffle=True, seed=1)
    for again in (run(pairs, asked, parts=3), run(shuffled, asked)):
        assert again[0].equals(kept)
        assert again[1].equals(dropped)
