"""EDGE: reads windows of a version's shards as Arrow tables."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.core import url_to_fs

from pipeline import storage
from pipeline.errors import PrefineError
from pipeline.load.order import RowGroup, Rows, Uneven, Window, epoch_order, rank_share, row_numbers, share, windows

_OPEN_FILES = 32  # a shuffled epoch jumps between shards
_FOOTERS_AT_ONCE = 8
_PIECE_ROWS = 1024
_STORED_ROWS = 4 * _PIECE_ROWS
_Piece = TypeVar("_Piece")


@dataclass(frozen=True)
class Shards:
    """The shards that are read, and how: nothing here changes while rows are handed out, and it can be sent to other processes.

    Attributes:
        content: what tells this version's content from any other's.
        folder: the version's folder or URL.
        paths: the shards, relative to it, in order.
        groups: their row groups.
        columns: what is read, in order.
        shuffle: whether an epoch has an order of its own.
        seed: of that order.
        window_rows: rows that are read, and shuffled, at once.
        uneven: see `order.rank_share`.
        rank: of this process, from 0.
        ranks: how many processes share the rows.
    """

    content: str
    folder: str
    paths: tuple[str, ...]
    groups: tuple[RowGroup, ...] = field(repr=False)
    columns: tuple[str, ...]
    shuffle: bool
    seed: int
    window_rows: int
    uneven: Uneven
    rank: int
    ranks: int

    def rows(self, worker: int = 0, workers: int = 1) -> int:
        """Rows of an epoch for one of this rank's workers."""
        start, stop = self._range(worker, workers)
        return stop - start

    def order(self, worker: int, workers: int) -> dict[str, str | int | bool]:
        """What the order of rows depends on besides the epoch."""
        same = {name: getattr(self, name) for name in ("content", "shuffle", "seed", "window_rows", "uneven", "rank", "ranks")}
        return {**same, "shards": " ".join(self.paths), "worker": worker, "workers": workers}

    def tables(self, epoch: int, position: int, worker: int = 0, workers: int = 1) -> Iterator[pa.Table]:
        """What is left of an epoch after `position` rows, a window at a time; the next one is read while one is used."""
        start, stop = self._range(worker, workers)
        with ExitStack() as open_until_done:
            # Files are opened here and not before: a forked process must not share their positions.
            files = _Files(self, open_until_done)
            reader = open_until_done.enter_context(ThreadPoolExecutor(1, "prefine-load"))
            if self.shuffle:
                left = windows(epoch_order(self.groups, True, self.seed, epoch), start, stop, self.window_rows)
                yield from (_in_order(*read) for read in _ahead(reader, self._windows(files, left, epoch, position)))
            else:
                yield from _ahead(reader, self._as_stored(files, min(start + position, stop), stop))

    def _range(self, worker: int, workers: int) -> tuple[int, int]:
        first, last = rank_share(sum(group.rows for group in self.groups), self.rank, self.ranks, self.uneven)
        start, stop = share(last - first, worker, workers)
        return first + start, first + stop

    def _windows(self, files: "_Files", left: Iterator[Window], epoch: int, position: int) -> Iterator[tuple[pa.Table, Rows]]:
        for window in left:
            if position >= window.rows:
                position -= window.rows
                continue
            wanted = row_numbers(window, self.shuffle, self.seed, epoch)[position:]
            table, numbers = files.read(sorted({group for group, _, _ in window.parts}, key=lambda group: group.first))
            yield table, np.searchsorted(numbers, wanted)
            position = 0

    def _as_stored(self, files: "_Files", start: int, stop: int) -> Iterator[pa.Table]:
        """Rows in the order of the files, in small pieces: memory that was just given back is taken again, which halves the time."""
        held, rows = list[pa.RecordBatch](), 0
        for window in windows(self.groups, start, stop, 1):  # a row group each
            for batch in files.batches(*window.parts[0]):
                held.append(batch)
                rows += batch.num_rows
                if rows >= _STORED_ROWS:
                    yield pa.Table.from_batches(held).select(self.columns)
                    held, rows = [], 0
        if held:
            yield pa.Table.from_batches(held).select(self.columns)


def _ahead(reader: ThreadPoolExecutor, pieces: Iterator[_Piece]) -> Iterator[_Piece]:
    """The same pieces; the next one is made while one is used."""
    following = reader.submit(next, pieces, None)
    while (piece := following.result()) is not None:
        following = reader.submit(next, pieces, None)
        yield piece


def _in_order(table: pa.Table, at: Rows) -> pa.Table:
    """The rows at some places. Done while the next window is read."""
    return table.combine_chunks().take(at)  # several times faster than from chunks, even from one


class _Files:
    """The shards that were read last, open."""

    def __init__(self, shards: Shards, until_done: ExitStack) -> None:
        self._shards, self._open = shards, OrderedDict[int, pq.ParquetFile]()
        until_done.callback(self._close)

    def read(self, groups: Sequence[RowGroup]) -> tuple[pa.Table, Rows]:
        """Row groups in the order of their rows, and the numbers of those."""
        by_file: dict[int, list[int]] = {}
        for group in groups:
            by_file.setdefault(group.file, []).append(group.group)
        columns = list(self._shards.columns)
        with self._told(*by_file):
            tables = [self._file(file).read_row_groups(some, columns=columns) for file, some in by_file.items()]
        table = pa.concat_tables(tables).select(columns)
        return table, np.concatenate([np.arange(group.first, group.first + group.rows) for group in groups])

    def batches(self, group: RowGroup, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        """Rows `start` to `stop` of a row group, in pieces."""
        columns, at = list(self._shards.columns), 0
        with self._told(group.file):
            for batch in self._file(group.file).iter_batches(_PIECE_ROWS, row_groups=[group.group], columns=columns):
                first, last = max(start - at, 0), min(stop - at, batch.num_rows)
                at += batch.num_rows
                if last - first == batch.num_rows:
                    yield batch
                elif first < last:
                    yield batch.slice(first, last - first)
                if at >= stop:
                    return

    @contextmanager
    def _told(self, *files: int) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            names = ", ".join(self._shards.paths[file] for file in files)
            raise PrefineError(
                f"{self._shards.folder}: cannot read {names}: {error}. `prefine verify` says which files are damaged; copy them again."
            ) from error

    def _file(self, index: int) -> pq.ParquetFile:
        if index in self._open:
            self._open.move_to_end(index)
        else:
            while len(self._open) >= _OPEN_FILES:
                self._open.popitem(last=False)[1].close(force=True)
            self._open[index] = open_shard(storage.join(self._shards.folder, self._shards.paths[index]))
        return self._open[index]

    def _close(self) -> None:
        for file in self._open.values():
            file.close(force=True)


def open_shard(place: str) -> pq.ParquetFile:
    """A shard, open; a page whose checksum is wrong is an error when it is read."""
    fs, path = url_to_fs(place)
    return pq.ParquetFile(str(path) if storage.is_local(place) else fs.open(path, "rb"), page_checksum_verification=True, pre_buffer=True)


def row_groups(folder: str, paths: Sequence[str]) -> tuple[tuple[RowGroup, ...], pa.Schema | None]:
    """The row groups of all shards in order, and the schema of the first one.

    Raises:
        PrefineError: a shard cannot be read.
    """

    def footer(path: str) -> tuple[list[tuple[int, int]], pa.Schema]:
        try:
            with open_shard(storage.join(folder, path)) as file:
                found = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
                return [(group.num_rows, group.total_byte_size) for group in found], file.schema_arrow
        except (pa.ArrowException, OSError) as error:
            raise PrefineError(f"{folder}: cannot read {path}: {error}. `prefine verify` says which files are damaged.") from error

    with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
        footers = list(pool.map(footer, paths))
    groups, first = list[RowGroup](), 0
    for file, (sizes, _) in enumerate(footers):
        for number, (rows, size) in enumerate(sizes):
            if rows:
                groups.append(RowGroup(file, number, first, rows, size))
                first += rows
    return tuple(groups), footers[0][1] if footers else None
