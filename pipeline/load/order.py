"""Which rows a reader gets, in which order: pure arithmetic on row numbers, the same on every machine.

The row groups of all files form one row of rows. An epoch puts the row groups in an order; ranks share the result in
consecutive ranges, and the workers of a rank share its range. Ranges are cut into windows that are read at once; a shuffled
window is sorted by a hash of each row's number. So nothing depends on batch sizes, columns, threads or where a reader resumes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Uneven = Literal["keep", "drop", "repeat"]
Rows = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
WINDOW_BYTES = 256 << 20  # uncompressed, all columns: what is held must not depend on how long texts are


@dataclass(frozen=True)
class RowGroup:
    """A row group of one of the files.

    Attributes:
        file: which file, from 0.
        group: which of its row groups, from 0.
        first: number of its first row, counted through all files.
        rows: how many it has.
        bytes: their size in memory, about: uncompressed, all columns.
    """

    file: int
    group: int
    first: int
    rows: int
    bytes: int


@dataclass(frozen=True)
class Window:
    """What is read at once: rows `start` to `stop` (exclusive, counted from the first of their row group) of each row group, in order."""

    parts: tuple[tuple[RowGroup, int, int], ...]

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return sum(stop - start for _, start, stop in self.parts)


def mixed(values: Hashes, seed: int, epoch: int) -> Hashes:
    """A hash of each number, seed and epoch: SplitMix64's finaliser over them in turn (Steele, Lea and Flood, 2014).

    Not NumPy's generators: their streams may change with its version.
    """
    with np.errstate(over="ignore"):
        state = _scramble(np.array([seed % (1 << 64)], np.uint64) * _GOLDEN + np.uint64(epoch % (1 << 64)) + _GOLDEN)
        return _scramble(state * _GOLDEN + values + _GOLDEN)


def _scramble(x: Hashes) -> Hashes:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def epoch_order(groups: Sequence[RowGroup], shuffle: bool, seed: int, epoch: int) -> list[RowGroup]:
    """The row groups as an epoch goes through them: as they lie in the files, or by the hash of their first row's number."""
    if not shuffle:
        return list(groups)
    # An epoch's own stream for row groups: rows are ordered by the same hash of seed and epoch.
    keys = mixed(np.array([group.first for group in groups], np.uint64), seed ^ 0x5EED, epoch)
    return [groups[int(i)] for i in np.argsort(keys, kind="stable")]


def share(rows: int, part: int, parts: int) -> tuple[int, int]:
    """The range of rows that one of several readers gets: all together get each row once, and the first readers one more, if any."""
    whole, more = divmod(rows, parts)
    start = part * whole + min(part, more)
    return start, start + whole + (part < more)


def rank_share(rows: int, rank: int, ranks: int, uneven: Uneven) -> tuple[int, int]:
    """A rank's range, which may run past `rows` with `repeat`: it goes on at row 0.

    Args:
        rows: of an epoch.
        rank: from 0.
        ranks: how many there are.
        uneven: where `rows` is no multiple of `ranks`: `keep` gives the first ranks one row more; `drop` leaves out the last rows of the
            epoch's order; `repeat` reads its first rows again.
    """
    if uneven == "keep" or rows == 0:
        return share(rows, rank, ranks)
    each = rows // ranks if uneven == "drop" else -(-rows // ranks)
    return rank * each, (rank + 1) * each


def windows(ordered: Sequence[RowGroup], start: int, stop: int, window_rows: int) -> Iterator[Window]:
    """A range of an epoch's rows as windows: each is closed once it has enough rows, or row groups of enough bytes.

    Args:
        ordered: from `epoch_order`.
        start: first row, counted in that order; one past the last row is the first again.
        stop: one past the last row.
        window_rows: at least so many rows are in a window, the last one excepted; at most a row group more.
    """
    ends = np.cumsum([group.rows for group in ordered], dtype=np.int64)
    total, parts, held, size = int(ends[-1]) if len(ends) else 0, list[tuple[RowGroup, int, int]](), 0, 0
    while start < stop:
        at = start % total
        index = int(np.searchsorted(ends, at, side="right"))
        group = ordered[index]
        begin = at - (int(ends[index]) - group.rows)
        end = min(group.rows, begin + stop - start)
        parts.append((group, begin, end))
        start, held, size = start + end - begin, held + end - begin, size + group.bytes
        if held >= window_rows or size >= WINDOW_BYTES:
            yield Window(tuple(parts))
            parts, held, size = [], 0, 0
    if parts:
        yield Window(tuple(parts))


def row_numbers(window: Window, shuffle: bool, seed: int, epoch: int) -> Rows:
    """The numbers of a window's rows, counted through all files, in the order in which they are handed out."""
    numbers = np.concatenate([np.arange(group.first + start, group.first + stop) for group, start, stop in window.parts])
    if not shuffle:
        return numbers
    return numbers[np.argsort(mixed(numbers.astype(np.uint64), seed, epoch), kind="stable")]


def delivered(batches: int, batch_rows: int, worker_rows: Sequence[int]) -> list[int]:
    """How many rows each worker has given when a loader that asks them in turn has handed out so many batches.

    Args:
        batches: handed out, over all workers.
        batch_rows: rows of a batch; a worker's last one has fewer.
        worker_rows: rows of each worker, the first ones having the most (as `share` deals them out).
    """
    whole, more = divmod(batches, len(worker_rows))
    return [min(rows, (whole + (worker < more)) * batch_rows) for worker, rows in enumerate(worker_rows)]
