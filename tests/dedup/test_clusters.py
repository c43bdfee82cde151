"""Chains of near-duplicate prompts stay together in a split."""

from hashlib import blake2b
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.dedup.clusters import connected_components, prompt_clusters

PROMPTS = {"prompt_cluster_id": pl.String, "prompt_text": pl.String}
EDGES = {"left": pl.String, "right": pl.String}


def joined(prompts: list[tuple[str, str | None]], edges: list[tuple[str, str]]) -> dict[str, str]:
    found = prompt_clusters(pl.DataFrame(prompts, schema=PROMPTS, orient="row"), pl.DataFrame(edges, schema=EDGES, orient="row"))
    return dict(found.rows())


def hashed(least: str) -> str:
    return blake2b(b"cluster\n" + least.encode(), digest_size=16).hexdigest()


def components(n: int, edges: list[tuple[int, int]]) -> list[int]:
    left, right = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    return connected_components(left, right, n).tolist()


@given(st.integers(1, 12), st.data())
@settings(max_examples=150, deadline=None)
def test_components_are_what_can_be_reached(n: int, data: st.DataObject) -> None:
    edges = data.draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=20))
    reached = [{node} for node in range(n)]
    for _ in range(n):
        for one, other in edges:
            reached[one] |= reached[other]
            reached[other] |= reached[one]

    assert components(n, edges) == [min(group) for group in reached]


def test_long_chains_and_stars_in_any_numbering_are_one_component() -> None:
    order = np.random.default_rng(0).permutation(5_000)
    chain = list(zip(order[:-1].tolist(), order[1:].tolist(), strict=True))
    star = [(4_999, node) for node in range(4_999)]

    assert set(components(5_000, chain)) == set(components(5_000, star)) == {0}
    assert components(3, []) == [0, 1, 2]


def test_near_duplicate_prompts_are_one_cluster_over_several_steps_and_others_stay_alone() -> None:
    prompts = [("1", "a"), ("2", "b"), ("3", "c"), ("4", "d")]

    assert joined(prompts, [("b", "a"), ("b", "c"), ("d", "elsewhere")]) == dict.fromkeys("123", hashed("1"))
    assert joined(prompts, []) == {}


def test_prompts_equal_up_to_case_are_one_cluster_already_and_so_join_what_any_of_them_is_near_to() -> None:
    assert joined([("1", "a"), ("1", "A"), ("2", "b")], [("A", "b")]) == {"1": hashed("1"), "2": hashed("1")}


def test_the_same_text_in_other_roles_is_one_cluster() -> None:
    assert joined([("2", "a"), ("1", "a")], []) == {"1": hashed("1"), "2": hashed("1")}


def test_pairs_without_a_prompt_have_nothing_in_common() -> None:
    assert joined([("1", None), ("2", None)], []) == {}
    assert joined([], []) == {}


@given(
    st.lists(st.tuples(st.sampled_from("123456"), st.sampled_from(["a", "b", "c", "d", "e", None])), max_size=10),
    st.sets(st.sampled_from(list(combinations("abcde", 2))), max_size=4),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_clusters_do_not_depend_on_the_order_or_the_repetition_of_rows(
    prompts: list[tuple[str, str | None]], edges: set[tuple[str, str]], random: Any
) -> None:
    def table(rows: list[Any], schema: dict[str, Any]) -> pl.DataFrame:
        return pl.DataFrame(random.sample(rows * 2, 2 * len(rows)), schema=schema, orient="row")

    again = prompt_clusters(table(prompts, PROMPTS), table([pair[::-1] for pair in edges], EDGES))

    first = prompt_clusters(pl.DataFrame(prompts, schema=PROMPTS, orient="row"), pl.DataFrame(sorted(edges), schema=EDGES, orient="row"))
    assert_frame_equal(again, first)
