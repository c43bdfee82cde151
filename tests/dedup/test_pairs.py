"""Pairs of pairs are found by their texts, in both orientations, and nothing else is listed."""

from itertools import combinations, product
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.dedup import pairs as dedup_pairs
from pipeline.dedup.pairs import COMPONENTS, candidate_pairs, compared_texts, score_pairs

Row = dict[str, Any]
KEYS = ("pair_id", "criterion", "context", "tools", "prompt_text", "turn_text", "low_text", "high_text")
SCORES = {"left": pl.String, "right": pl.String, "cosine": pl.Float64, "jaccard": pl.Float64}


def key(pair_id: str, prompt: str, low: str, high: str, **fields: Any) -> Row:
    texts = {"prompt_text": prompt, "turn_text": prompt, "low_text": low, "high_text": high}
    return {"pair_id": pair_id, "criterion": "overall", "context": None, "tools": None, **texts, **fields}


def keys(*rows: Row) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(KEYS, pl.String))


def edges(*linked: tuple[str, str]) -> pl.DataFrame:
    return pl.DataFrame(linked, schema={"left": pl.String, "right": pl.String}, orient="row")


def scores(*rows: tuple[str, str, float | None, float | None]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCORES, orient="row")


def found(candidates: pl.DataFrame) -> list[tuple[Any, ...]]:
    return candidates.select("left_pair", "right_pair", "swapped").rows()


def test_pairs_with_linked_prompts_and_answers_are_candidates_in_the_orientation_that_is_linked() -> None:
    rows = keys(key("1", "p", "a", "b"), key("2", "p2", "b2", "a2"), key("3", "other", "a", "b"))

    candidates = candidate_pairs(rows, edges(("p2", "p")), edges(("a", "a2"), ("b2", "b")))

    assert candidates.to_dicts() == [
        {
            "left_pair": "1", "right_pair": "2", "swapped": True, "prompt_left": "p", "turn_left": "p", "low_left": "a", "high_left": "b",
            "prompt_right": "p2", "turn_right": "p2", "low_right": "a2", "high_right": "b2",
        }
    ]  # fmt: skip


def test_one_linked_answer_is_not_enough() -> None:
    rows = keys(key("1", "p", "a", "b"), key("2", "p", "a", "c"), key("3", "p", "b", "d"))

    assert found(candidate_pairs(rows, edges(), edges(("d", "e")))) == []


def test_links_do_not_chain() -> None:
    rows = keys(key("1", "p", "a", "x"), key("2", "p", "b", "x"), key("3", "p", "c", "x"))

    assert found(candidate_pairs(rows, edges(), edges(("a", "b"), ("b", "c")))) == [("1", "2", False), ("2", "3", False)]


def test_where_both_orientations_are_linked_both_are_listed() -> None:
    rows = keys(key("1", "p", "a", "b"), key("2", "p", "a2", "b2"))
    every = edges(*product("ab", ["a2", "b2"]))

    assert found(candidate_pairs(rows, edges(), every)) == [("1", "2", False), ("1", "2", True)]


@pytest.mark.parametrize("name", ["criterion", "context", "tools"])
def test_criterion_context_and_tools_are_equal_and_two_nulls_are_equal(name: str) -> None:
    same = [key("1", "p", "a", "b", **{name: "x"}), key("2", "p2", "a2", "b2", **{name: "x"})]
    linked = edges(("p", "p2")), edges(("a", "a2"), ("b", "b2"))

    assert found(candidate_pairs(keys(*same), *linked)) == [("1", "2", False)]
    assert found(candidate_pairs(keys(same[0], {**same[1], name: "y"}), *linked)) == []
    if name != "criterion":
        assert found(candidate_pairs(keys(*({**row, name: None} for row in same)), *linked)) == [("1", "2", False)]
        assert found(candidate_pairs(keys(same[0], {**same[1], name: None}), *linked)) == []


def test_a_pair_of_two_equal_answers_is_nobodys_near_duplicate() -> None:
    rows = keys(key("1", "p", "a", "a"), key("2", "p", "a", "a2"))

    assert found(candidate_pairs(rows, edges(), edges(("a", "a2")))) == []


def test_no_pairs_have_no_candidates() -> None:
    empty = candidate_pairs(keys(), edges(("p", "q")), edges())

    assert empty.schema == candidate_pairs(keys(key("1", "p", "a", "b"), key("2", "p", "b", "a")), edges(), edges()).schema
    assert score_pairs(empty, scores(), 0.9, 0.8).height == 0


def slow(rows: list[Row], prompts: set[frozenset[str]], answers: set[frozenset[str]]) -> list[tuple[str, str, bool]]:
    """The definition, pair by pair."""

    def linked(one: str, other: str, edges: set[frozenset[str]]) -> bool:
        return one == other or frozenset((one, other)) in edges

    listed = []
    for one, other in combinations(sorted(rows, key=lambda row: row["pair_id"]), 2):
        if any(row["low_text"] == row["high_text"] for row in (one, other)):
            continue
        same = all(one[name] == other[name] for name in ("criterion", "context", "tools"))
        for swapped, (low, high) in enumerate([("low_text", "high_text"), ("high_text", "low_text")]):
            both = linked(one["low_text"], other[low], answers) and linked(one["high_text"], other[high], answers)
            if same and both and linked(one["prompt_text"], other["prompt_text"], prompts):
                listed.append((one["pair_id"], other["pair_id"], bool(swapped)))
    return listed


def linked_texts(names: str) -> st.SearchStrategy[set[frozenset[str]]]:
    return st.sets(st.sampled_from([frozenset(two) for two in combinations(names, 2)]), max_size=12)


@given(
    st.lists(
        st.builds(key, st.uuids().map(str), *map(st.sampled_from, ["pqrs", "abcdef", "abcdef"]), context=st.sampled_from([None, "x"])),
        max_size=14,
        unique_by=lambda row: row["pair_id"],
    ),
    linked_texts("pqrst"),
    linked_texts("abcdefg"),
    st.sampled_from([1, 3, 4_000_000]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=150, deadline=None)
def test_exactly_the_linked_pairs_are_found_in_any_order_and_slice(
    rows: list[Row], prompts: set[frozenset[str]], answers: set[frozenset[str]], at_once: int, random: Any
) -> None:
    def as_edges(linked: set[frozenset[str]]) -> pl.DataFrame:
        listed = [random.sample(sorted(two), 2) for two in linked]
        random.shuffle(listed)
        return edges(*listed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dedup_pairs, "_AT_ONCE", at_once)
        candidates = candidate_pairs(keys(*random.sample(rows, len(rows))), as_edges(prompts), as_edges(answers))

    assert found(candidates) == slow(rows, prompts, answers)


def test_many_pairs_that_share_answers_or_prompts_do_not_blow_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is listed between two filters, in three shapes that would have millions of pairs by prompt or by answer alone."""
    listed = []
    expand = dedup_pairs._expand
    monkeypatch.setattr(dedup_pairs, "_expand", lambda *given: listed.append(len(expand(*given)[0])) or expand(*given))
    answers = [key(f"a{n}", f"p{n % 30}", f"{n % 30}/{n % 997}", f"{n % 30}/{n % 991}+") for n in range(50_000)]
    boilerplate = [key(f"b{n}", f"q{n}", "Sorry.", f"own {n}") for n in range(10_000)]
    reference = [key(f"c{n}", "one prompt", "reference", f"sample {n}") for n in range(10_000)]

    candidates = candidate_pairs(keys(*answers, *boilerplate, *reference), edges(("q1", "q2")), edges(("own 1", "own 2")))

    assert found(candidates) == [("b1", "b2", False)]
    assert max(listed) <= 5_000_000
    assert sum(listed) < 20_000_000


def candidate(*, swapped: bool = False, **texts: tuple[str, str]) -> pl.DataFrame:
    """One candidate; components not named are equal."""
    given = {name: texts.get(name, (name, name)) for name in COMPONENTS}
    sides = {f"{name}_{end}": two[end == "right"] for end in ("left", "right") for name, two in given.items()}
    return pl.DataFrame({"left_pair": "1", "right_pair": "2", "swapped": swapped, **sides})


def test_the_texts_to_compare_are_distinct_and_ordered() -> None:
    both = pl.concat([candidate(low=("b", "a"), turn=("t", "u")), candidate(low=("a", "b"))])

    assert compared_texts(both).rows() == [("a", "b"), ("t", "u")]


def told(candidates: pl.DataFrame, *given: tuple[str, str, float | None, float | None]) -> list[tuple[Any, ...]]:
    return score_pairs(candidates, scores(*given), 0.95, 0.8).select("swapped", "kind", "score", "threshold").rows()


def test_the_score_of_a_pair_is_its_least_component() -> None:
    both = candidate(prompt=("p", "q"), low=("a", "b"))

    assert told(both, ("a", "b", 0.97, None), ("p", "q", 0.96, None)) == [(False, "cosine", 0.96, 0.95)]
    assert told(both, ("a", "b", 0.97, None), ("p", "q", 0.94, None)) == []


def test_a_threshold_itself_passes_and_equal_texts_need_no_score() -> None:
    assert told(candidate(low=("a", "b")), ("a", "b", 0.95, 0.8)) == [(False, "cosine", 0.95, 0.95)]
    assert told(candidate()) == [(False, "cosine", 1.0, 0.95)]


def test_all_components_pass_by_the_same_kind_and_an_unknown_score_passes_nothing() -> None:
    both = candidate(low=("a", "b"), high=("c", "d"))

    assert told(both, ("a", "b", 0.99, 0.5), ("c", "d", 0.9, 0.99)) == []
    assert told(both, ("a", "b", 0.99, 0.8), ("c", "d", None, 0.9)) == [(False, "jaccard", 0.8, 0.8)]
    assert told(both, ("a", "b", 0.99, None), ("c", "d", None, 0.9)) == []
    assert told(both, ("a", "b", 0.99, 0.9)) == []


def test_pairs_with_a_long_shared_history_and_different_last_turns_are_no_near_duplicates() -> None:
    both = candidate(prompt=("history, then one", "history, then two"), turn=("one", "two"))

    assert told(both, ("history, then one", "history, then two", 0.99, 0.95), ("one", "two", 0.3, 0.0)) == []
    assert told(both, ("history, then one", "history, then two", 0.99, 0.95), ("one", "two", 0.96, 0.0)) != []


def test_the_better_orientation_is_the_one() -> None:
    straight, exchanged = candidate(low=("a", "c"), high=("b", "d")), candidate(swapped=True, low=("a", "d"), high=("b", "c"))
    both = pl.concat([straight, exchanged])
    same = [("a", "c", 0.96, None), ("b", "d", 0.99, None)]

    assert told(both, *same, ("a", "d", 0.97, None), ("b", "c", 0.98, None)) == [(True, "cosine", 0.97, 0.95)]
    assert told(both, *same, ("a", "d", 0.96, None), ("b", "c", 0.98, None)) == [(False, "cosine", 0.96, 0.95)]


def test_an_orientation_that_cannot_be_told_is_no_near_duplicate_unless_the_other_kind_tells_it() -> None:
    both = pl.concat([candidate(low=("a", "c"), high=("b", "d")), candidate(swapped=True, low=("a", "d"), high=("b", "c"))])
    equal = [("a", "c", 0.96, None), ("a", "d", 0.96, None), ("b", "c", 0.99, None), ("b", "d", 0.99, None)]
    by_words = [(one, other, cosine, 0.9 if (one, other) in (("a", "d"), ("b", "c")) else 0.85) for one, other, cosine, _ in equal]

    assert told(both, *equal) == []
    assert told(both, *by_words) == [(True, "jaccard", 0.9, 0.8)]


@given(st.lists(st.floats(0.9, 1.0), min_size=8, max_size=8), st.lists(st.floats(0.7, 1.0), min_size=8, max_size=8))
@settings(max_examples=50, deadline=None)
def test_a_higher_threshold_only_removes_pairs_of_a_kind(cosines: list[float], jaccards: list[float]) -> None:
    rows = keys(*(key(f"{n}", "p", f"a{n}", f"b{n}") for n in range(3)))
    linked = edges(*product(("a0", "b0"), ("a1", "b1")), *product(("a1", "b1"), ("a2", "b2")))
    candidates = candidate_pairs(rows, edges(), linked)
    known = compared_texts(candidates).with_columns(cosine=pl.Series(cosines), jaccard=pl.Series(jaccards))
    loose = score_pairs(candidates, known, 0.92, 1.1)

    strict = score_pairs(candidates, known, 0.96, 1.1)

    expected = loose.filter(pl.col("score") >= 0.96).with_columns(threshold=pl.lit(0.96))
    assert_frame_equal(strict, expected)
