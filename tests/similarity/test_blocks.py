"""Lists of blocks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.similarity.blocks import blocks, work_through


@given(st.integers(0, 40), st.none() | st.integers(0, 40), st.integers(1, 50))
def test_blocks_hold_every_pair_once(rows: int, columns: int | None, side: int) -> None:
    pairs = [(i, j) for top, bottom, begin, end in blocks(rows, columns, side) for i in range(top, bottom) for j in range(begin, end)]

    assert len(pairs) == len(set(pairs))
    if columns is None:
        assert {pair for pair in pairs if pair[0] < pair[1]} == {(i, j) for i in range(rows) for j in range(i + 1, rows)}
    else:
        assert set(pairs) == {(i, j) for i in range(rows) for j in range(columns)}


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_every_block_is_worked_on_once_by_any_number_of_threads(threads: int) -> None:
    done = work_through(blocks(30, 20, 4), lambda block: block, threads)

    assert sorted(done) == sorted(blocks(30, 20, 4))


def test_an_error_in_a_block_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        work_through(blocks(30, 20, 4), lambda block: 1 // (block[0] - 8), 2)
