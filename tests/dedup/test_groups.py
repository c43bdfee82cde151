"""Who stands for whom: the sequential definition, and no chains."""

from itertools import combinations
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.dedup.groups import conflicting_pairs, mark_conflicts, representatives
from pipeline.dedup.pairs import COMPONENTS

Node = tuple[str, int, int]  # pair_id, n_votes, best_kind
RANKED = {"pair_id": pl.String, "n_votes": pl.Int64, "best_kind": pl.Int8}
EDGES = {"left": pl.String, "right": pl.String, "score": pl.Float64}


def grouped(nodes: list[Node], edges: list[tuple[str, str]]) -> dict[str, str]:
    """What each absorbed pair is merged into."""
    listed = pl.DataFrame([(*edge, 0.9) for edge in edges], schema=EDGES, orient="row")
    found = representatives(pl.DataFrame(nodes, schema=RANKED, orient="row"), listed)
    return dict(found.select("pair_id", "merged_into").rows())


def test_most_votes_then_the_best_kind_then_the_least_id_stands_for_the_others() -> None:
    edges = list(combinations("abc", 2))

    assert grouped([("a", 1, 0), ("b", 1, 0), ("c", 2, 2)], edges) == {"a": "c", "b": "c"}
    assert grouped([("a", 1, 2), ("b", 1, 1), ("c", 1, 0)], edges) == {"a": "c", "b": "c"}
    assert grouped([("c", 1, 0), ("b", 1, 0), ("a", 1, 0)], edges) == {"b": "a", "c": "a"}


def test_a_chain_is_not_one_group() -> None:
    nodes = [(name, 1, 0) for name in "abcde"]

    assert grouped(nodes, [("a", "b"), ("b", "c"), ("c", "d"), ("d", "e")]) == {"b": "a", "d": "c"}


def test_of_two_representatives_the_better_ranked_absorbs() -> None:
    assert grouped([("a", 5, 0), ("b", 9, 0), ("c", 1, 0)], [("a", "c"), ("c", "b")]) == {"c": "b"}


def test_the_columns_of_the_edge_with_the_representative_come_along() -> None:
    nodes = pl.DataFrame([("a", 1, 0), ("b", 2, 0), ("c", 1, 0)], schema=RANKED, orient="row")
    edges = pl.DataFrame([("a", "b", 0.7), ("a", "c", 0.8), ("b", "c", 0.9)], schema=EDGES, orient="row")

    assert representatives(nodes, edges).rows() == [("a", "b", 0.7), ("c", "b", 0.9)]
    assert representatives(nodes, edges.head(0)).columns == ["pair_id", "merged_into", "score"]


def slow(nodes: list[Node], edges: set[frozenset[str]]) -> dict[str, str]:
    """The definition: one pair after the other."""
    absorbed: dict[str, str] = {}
    order = [name for name, *_ in sorted(nodes, key=lambda node: (-node[1], node[2], node[0]))]
    for place, name in enumerate(order):
        if name not in absorbed:
            absorbed |= {other: name for other in order[place + 1 :] if other not in absorbed and frozenset((name, other)) in edges}
    return absorbed


NAMES = [f"{n:02d}" for n in range(14)]


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2)), min_size=14, max_size=14),
    st.sets(st.sampled_from([frozenset(two) for two in combinations(NAMES, 2)]), max_size=40),
    st.randoms(use_true_random=False),
)
@settings(max_examples=200, deadline=None)
def test_groups_are_those_of_the_sequence_in_any_order_of_rows(
    votes: list[tuple[int, int]], edges: set[frozenset[str]], random: Any
) -> None:
    nodes = [(name, *said) for name, said in zip(NAMES, votes, strict=True)]
    listed = [tuple(random.sample(sorted(edge), 2)) for edge in edges]
    random.shuffle(listed)

    found = grouped(random.sample(nodes, len(nodes)), listed)

    assert found == slow(nodes, edges)
    assert all(frozenset(merge) in edges for merge in found.items())
    assert not set(found) & set(found.values())


SIDES = [f"{name}_{end}" for name in COMPONENTS for end in ("left", "right")]


def edge(left: str, right: str, *, swapped: bool = False, **texts: str) -> dict[str, Any]:
    about = {"left_pair": left, "right_pair": right, "swapped": swapped, "kind": "cosine", "score": 0.99, "threshold": 0.95}
    return {**about, **{side: f"{side.rsplit('_')[0]} of {left if side.endswith('left') else right}" for side in SIDES}, **texts}


def conflicts(
    votes: dict[str, tuple[int, int]], edges: list[dict[str, Any]], differing: list[tuple[str, str]] | None = None
) -> dict[tuple[str, str], bool]:
    rows = [{"pair_id": name, "votes_low": low, "votes_high": high} for name, (low, high) in votes.items()]
    texts = pl.DataFrame(differing or [], schema={"left": pl.String, "right": pl.String}, orient="row")
    marked = mark_conflicts(pl.DataFrame(edges), pl.DataFrame(rows), texts)
    return {(left, right): conflict for left, right, conflict in marked.select("left", "right", "conflict").rows()}


@pytest.mark.parametrize(
    ("one", "other", "straight", "swapped"),
    [
        ((2, 1), (1, 0), False, True),
        ((2, 1), (0, 1), True, False),
        ((0, 3), (0, 1), False, True),
        ((1, 1), (0, 9), False, False),
        ((9, 0), (2, 2), False, False),
        ((0, 0), (0, 0), False, False),
    ],
)
def test_majorities_oppose_each_other_in_the_matched_orientation(
    one: tuple[int, int], other: tuple[int, int], straight: bool, swapped: bool
) -> None:
    votes = {"1": one, "2": other}

    assert conflicts(votes, [edge("1", "2")]) == {("1", "2"): straight}
    assert conflicts(votes, [edge("1", "2", swapped=True)]) == {("1", "2"): swapped}


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_matched_text_that_says_something_else_is_a_conflict_whichever_way_it_was_found(name: str) -> None:
    votes = {"1": (1, 0), "2": (1, 0), "3": (1, 0)}
    edges = [edge("1", "2"), edge("1", "3")]
    differing = (f"{name} of 2", f"{name} of 1")

    expected = {("1", "2"): True, ("1", "3"): False}
    assert conflicts(votes, edges, [differing]) == conflicts(votes, edges, [differing[::-1], differing]) == expected


def test_texts_that_are_not_matched_with_each_other_are_no_conflict() -> None:
    assert conflicts({"1": (1, 0), "2": (1, 0)}, [edge("1", "2")], [("low of 1", "high of 2")]) == {("1", "2"): False}


def test_the_order_and_the_number_of_edges_stays() -> None:
    edges = pl.DataFrame([edge("2", "3"), edge("1", "3"), edge("1", "2")])
    pairs = pl.DataFrame({"pair_id": ["3", "1", "2"], "votes_low": [1, 1, 0], "votes_high": [0, 0, 1]})

    marked = mark_conflicts(edges, pairs, pl.DataFrame(schema={"left": pl.String, "right": pl.String}))

    assert marked.select("left", "right", "conflict").rows() == [("2", "3", True), ("1", "3", False), ("1", "2", True)]
    assert_frame_equal(marked.select("score", "kind"), edges.select("score", "kind"))
    assert marked.columns == ["left", "right", "swapped", "kind", "score", "threshold", "conflict"]


def test_both_ends_of_a_conflict_are_flagged_and_who_counts_the_votes_of_one() -> None:
    edges = pl.DataFrame({"left": ["a", "b", "d"], "right": ["b", "c", "e"], "conflict": [False, True, False], "score": [0.97, 0.96, 0.99]})
    merges = pl.DataFrame({"pair_id": ["b", "e"], "merged_into": ["a", "d"]})

    assert conflicting_pairs(edges, merges).rows() == [("a", "c"), ("b", "c"), ("c", "b")]
    assert conflicting_pairs(edges.tail(1), merges).rows() == []


def test_of_several_conflicts_the_nearest_is_named_and_of_equal_ones_the_least_id() -> None:
    edges = pl.DataFrame({"left": ["a", "a", "a"], "right": ["b", "c", "d"], "conflict": [True] * 3, "score": [0.96, 0.98, 0.98]})
    nothing = pl.DataFrame(schema={"pair_id": pl.String, "merged_into": pl.String})

    assert conflicting_pairs(edges, nothing).rows() == [("a", "c"), ("b", "a"), ("c", "a"), ("d", "a")]
