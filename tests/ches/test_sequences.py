"""Continuations of prefixes, end to end in flat arrays."""

from itertools import chain

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ches.sequences import Sequences, offsets, ranges


def sequences(prefixes: list[list[int]], rows: list[tuple[int, list[int], int, int]]) -> Sequences:
    """Rows are (prefix, suffix, start, stop)."""
    return Sequences(
        np.array([*chain.from_iterable(prefixes)], np.int32),
        offsets(np.array([len(one) for one in prefixes], np.int64)),
        np.array([prefix for prefix, *_ in rows], np.int64),
        np.array([*chain.from_iterable(suffix for _, suffix, *_ in rows)], np.int32),
        offsets(np.array([len(suffix) for _, suffix, *_ in rows], np.int64)),
        np.array([start for *_, start, _ in rows], np.int64),
        np.array([stop for *_, stop in rows], np.int64),
    )


def test_a_whole_sequence_is_its_prefix_and_its_suffix() -> None:
    made = sequences([[1, 2, 3], [4]], [(1, [5, 6], 1, 3), (-1, [7, 8], 1, 2), (0, [9], 3, 4)])

    assert [made.whole(row).tolist() for row in range(3)] == [[4, 5, 6], [7, 8], [1, 2, 3, 9]]
    assert made.before.tolist() == [1, 0, 3]
    assert made.lengths.tolist() == [3, 2, 4]


def test_sequences_need_no_prefix_at_all() -> None:
    made = sequences([], [(-1, [7, 8], 1, 2)])

    assert made.before.tolist() == [0]
    assert made.lengths.tolist() == [2]


def test_there_may_be_no_sequence() -> None:
    assert sequences([], []).lengths.tolist() == []


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5))))
def test_ranges_are_those_of_a_loop(parts: list[tuple[int, int]]) -> None:
    starts, sizes = (np.array([part[side] for part in parts], np.int64) for side in (0, 1))

    assert ranges(starts, sizes).tolist() == [at for start, size in parts for at in range(start, start + size)]


def test_offsets_begin_at_nought_and_end_with_the_sum() -> None:
    assert offsets(np.array([2, 0, 3])).tolist() == [0, 2, 2, 5]
