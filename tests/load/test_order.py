"""Which rows a reader gets, in which order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.load.order import RowGroup, Uneven, Window, delivered, epoch_order, mixed, rank_share, row_numbers, share, windows

SIZES = st.lists(st.integers(1, 9), max_size=12)


def groups(sizes: list[int], size: int = 1) -> list[RowGroup]:
    ends = np.cumsum([0, *sizes])
    return [RowGroup(i // 3, i % 3, int(ends[i]), rows, size) for i, rows in enumerate(sizes)]


def read(sizes: list[int], start: int, stop: int, window_rows: int = 4, shuffle: bool = True, seed: int = 3, epoch: int = 0) -> list[int]:
    ordered = epoch_order(groups(sizes), shuffle, seed, epoch)
    found = [row_numbers(window, shuffle, seed, epoch) for window in windows(ordered, start, stop, window_rows)]
    return [int(row) for part in found for row in part]


@given(
    sizes=SIZES,
    ranks=st.integers(1, 5),
    workers=st.integers(1, 4),
    window_rows=st.integers(1, 30),
    seed=st.integers(),
    shuffle=st.booleans(),
)
def test_every_row_goes_to_one_worker_of_one_rank(
    sizes: list[int], ranks: int, workers: int, window_rows: int, seed: int, shuffle: bool
) -> None:
    rows = []
    for rank in range(ranks):
        first, last = rank_share(sum(sizes), rank, ranks, "keep")
        for worker in range(workers):
            start, stop = share(last - first, worker, workers)
            rows += read(sizes, first + start, first + stop, window_rows, shuffle, seed)

    assert sorted(rows) == list(range(sum(sizes)))


@given(sizes=SIZES, ranks=st.integers(1, 7), uneven=st.sampled_from(["drop", "repeat"]))
def test_ranks_have_equally_many_rows_and_lack_or_repeat_fewer_than_there_are_ranks(sizes: list[int], ranks: int, uneven: Uneven) -> None:
    shares = [read(sizes, *rank_share(sum(sizes), rank, ranks, uneven)) for rank in range(ranks)]

    assert len({len(rows) for rows in shares}) == 1
    every = [row for rows in shares for row in rows]
    if uneven == "drop":
        assert len(set(every)) == len(every) > sum(sizes) - ranks
    else:
        assert set(every) == set(range(sum(sizes)))
        assert len(every) - sum(sizes) < ranks


@given(sizes=SIZES, window_rows=st.integers(1, 30), at=st.integers(0, 60))
def test_a_range_has_the_rows_that_it_has_in_the_whole(sizes: list[int], window_rows: int, at: int) -> None:
    """Not so when shuffled: a range's windows are its own, so that a reader needs no other's rows."""
    at = min(at, sum(sizes))
    assert read(sizes, 0, at, shuffle=False) + read(sizes, at, sum(sizes), shuffle=False) == list(range(sum(sizes)))
    assert set(read(sizes, 0, at)) | set(read(sizes, at, sum(sizes))) == set(range(sum(sizes)))


def test_unshuffled_rows_come_as_they_lie_in_the_files() -> None:
    assert read([3, 4, 2], 0, 9, shuffle=False) == list(range(9))


def test_epochs_and_seeds_have_orders_of_their_own_that_never_change() -> None:
    orders = {(seed, epoch): read([4, 4, 4], 0, 12, 100, seed=seed, epoch=epoch) for seed in (0, 1, -1) for epoch in (0, 1)}

    assert len({tuple(order) for order in orders.values()}) == 6
    # Written down, so that a checkpoint of this release goes on with a later one.
    assert orders[0, 0] == [2, 3, 9, 7, 0, 4, 8, 5, 10, 1, 11, 6]
    assert mixed(np.arange(3, dtype=np.uint64), 7, 2).tolist() == [1705499101348365661, 17152236558738224282, 17067570536649378040]


def test_shuffled_rows_are_spread_evenly() -> None:
    """Each row is first in about one epoch of ten."""
    first = [read([5, 5], 0, 10, 100, epoch=epoch)[0] for epoch in range(2000)]

    assert min(np.bincount(first, minlength=10)) > 150


def test_a_window_is_closed_when_its_row_groups_have_many_bytes() -> None:
    large = groups([2, 2, 2], size=200 << 20)

    assert [window.rows for window in windows(large, 0, 6, 1000)] == [4, 2]
    assert list(windows([], 0, 0, 10)) == []
    assert Window(()).rows == 0


@pytest.mark.parametrize(
    ("batches", "rows", "given_out"),
    [
        (0, [5, 5, 4], [0, 0, 0]),
        (4, [5, 5, 4], [4, 2, 2]),
        (8, [5, 5, 4], [5, 5, 4]),
        (99, [5, 5, 4], [5, 5, 4]),
    ],
)
def test_batches_are_counted_per_worker_as_a_loader_asks_them_in_turn(batches: int, rows: list[int], given_out: list[int]) -> None:
    assert delivered(batches, 2, rows) == given_out
