"""Votes to patterns, against tuples counted in Python."""

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.consensus.patterns import cells_by_pair, merge, mirror, number_annotators, patterns_of
from tests.consensus.vote_rows import NUMBERS, ROWS, Vote, cell, exchanged, votes


def slow_patterns(rows: list[Vote]) -> list[tuple[list[int], int]]:
    """Each pair's sorted cells or those of its mirror image, whichever come first, counted."""
    names = NUMBERS["annotator"].to_list()
    found: Counter[tuple[int, ...]] = Counter()
    for pair in {row[0] for row in rows}:
        sides = []
        for mine in ([r for r in rows if r[0] == pair], exchanged([r for r in rows if r[0] == pair], {pair})):
            cells = [cell(names.index(r[1]), r[3], r[4], r[5]) for r in mine]
            named = {c for c in cells if c // 21 < 2}
            sides.append(tuple(sorted([*named, *(c for c in cells if c // 21 == 2)])))
        found[min(sides)] += 1
    return [(list(cells), count) for cells, count in sorted(found.items(), key=lambda item: (len(item[0]), item[0]))]


def test_annotators_are_numbered_by_kind_and_name_whatever_the_partitions() -> None:
    one = pl.DataFrame({"annotator": ["bob", "m"], "kind": ["human", "judge"]})
    two = pl.DataFrame({"annotator": ["m", "bob"], "kind": ["human", "human"]})

    expected = pl.DataFrame(
        {"number": [0, 1, 2], "annotator": ["bob", "m", "m"], "kind": ["human", "human", "judge"]}, schema_overrides={"number": pl.UInt32}
    )
    assert_frame_equal(number_annotators([one, two]), expected)
    assert_frame_equal(number_annotators([two, one, one]), expected)
    assert number_annotators([]).schema == expected.schema


def test_a_cell_says_who_what_was_shown_first_and_what_the_vote_says() -> None:
    rows: list[Vote] = [
        ("p1", "ann", "human", -1, None, None),  # the low side, 2, is the smaller of 2 and 4
        ("p2", "ann", "human", 1, 0.5, True),  # strong, 13; exchanged: low, high first, 14
        ("p3", "bob", "human", 0, 0.9, False),  # a tie has no strength; exchanged: low first
        ("p4", "unnamed web", "human", 1, 0.49, None),
    ]
    found = cells_by_pair(votes(rows), NUMBERS)

    assert found.pair_ids.to_list() == ["p1", "p2", "p3", "p4"]
    assert found.cells.tolist() == [2, 13, 21 + 10, 42 + 1]
    assert found.swapped.tolist() == [False, False, True, True]
    assert found.even.tolist() == [False, False, False, False]


def test_the_mirror_of_a_mirror_is_the_cell() -> None:
    cells = np.arange(63, dtype=np.uint32)

    assert np.array_equal(mirror(mirror(cells)), cells)
    assert mirror(np.array([2, 13, 24], np.uint32)).tolist() == [4, 14, 24]


def test_a_named_annotator_counts_once_for_each_thing_said_and_unnamed_ones_are_many() -> None:
    rows: list[Vote] = [("p1", who, "human", -1, None, None) for who in ("ann", "ann", "unnamed web", "unnamed web")]
    contradiction: list[Vote] = [("p2", "ann", "human", vote, None, None) for vote in (1, -1, 1)]
    found = cells_by_pair(votes([*rows, *contradiction]), NUMBERS)

    assert np.split(found.cells, found.indptr[1:-1])[0].tolist() == [2, 44, 44]
    assert np.split(found.cells, found.indptr[1:-1])[1].tolist() == [2, 4]
    assert found.even.tolist() == [False, True]


def test_a_strength_that_is_no_number_is_not_known() -> None:
    rows = votes([("p1", "ann", "human", -1, float("nan"), None)])

    assert patterns_of(rows, NUMBERS)["cells"].to_list() == [[2]]


def test_a_vote_of_somebody_without_a_number_is_an_error() -> None:
    with pytest.raises(ValueError, match="'judge ann' votes but has no number"):
        patterns_of(votes([("p1", "ann", "judge", 1, None, None)]), NUMBERS)


def test_no_votes_are_no_patterns() -> None:
    empty = patterns_of(votes([]), number_annotators([]))
    merged = merge([empty], number_annotators([]))

    assert empty.height == 0
    assert (merged.pairs, merged.indptr.tolist(), merged.cells.tolist()) == (0, [0], [])


@given(ROWS)
def test_patterns_are_those_counted_in_python(rows: list[Vote]) -> None:
    found = patterns_of(votes(rows), NUMBERS)

    assert list(zip(found["cells"].to_list(), found["pairs"].to_list(), strict=True)) == slow_patterns(rows)


@given(ROWS, st.sets(st.sampled_from(["p1", "p2", "p3", "p4"])), st.randoms(use_true_random=False))
def test_neither_row_order_nor_the_sides_names_nor_partitions_change_the_patterns(rows: list[Vote], pairs: set[str], rng: object) -> None:
    expected = merge([patterns_of(votes(rows), NUMBERS)], NUMBERS)
    other = exchanged(rows, pairs)
    rng.shuffle(other)  # type: ignore[attr-defined]
    parts = [patterns_of(votes(r for r in other if (r[0] in {"p1", "p4"}) is here), NUMBERS) for here in (False, True)]
    found = merge(parts, NUMBERS)

    assert found.indptr.tolist() == expected.indptr.tolist()
    assert found.cells.tolist() == expected.cells.tolist()
    assert found.counts.tolist() == expected.counts.tolist()


@given(ROWS)
def test_a_pair_is_swapped_in_one_of_its_two_orientations_unless_it_is_even(rows: list[Vote]) -> None:
    one = cells_by_pair(votes(rows), NUMBERS)
    two = cells_by_pair(votes(exchanged(rows, {row[0] for row in rows})), NUMBERS)

    assert one.cells.tolist() == two.cells.tolist()
    assert one.even.tolist() == two.even.tolist()
    assert (one.swapped ^ two.swapped).tolist() == (~one.even).tolist()
