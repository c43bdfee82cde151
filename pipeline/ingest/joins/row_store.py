"""A joined file's rows on disk, found again by key: the keys in a database, the contents in a file that is mapped, not read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa

from pipeline.ingest.fragments import nulls, objects

_MEMORY: Final = "512MB"
_CONTENT: Final = pa.schema([("f", pa.large_list(pa.large_string()))])

_CREATE: Final = "create table rows (n bigint, key varchar, size bigint, digest varchar)"
_INSERT: Final = "insert into rows select n, key, size, md5(content) from batch"
# A key has one row, or several of equal content.
_KEYS: Final = """
    create table keys as
    select key, min(n) as n, arg_min(size, n) as size, min(digest) <> max(digest) as ambiguous
    from rows
    where key is not null
    group by key
"""
_LOOK_UP: Final = """
    select batch.id, keys.n, keys.size, keys.ambiguous
    from batch left join keys on batch.key = keys.key
    order by batch.id
"""
_USED: Final = """
    select asked.n is not null as used
    from rows left join keys on rows.key = keys.key left join asked on keys.n = asked.n
    order by rows.n
"""


class Spill:
    """Rows of fragments with a key each: first all are added, then they are asked for."""

    def __init__(self, folder: Path) -> None:
        """Make the files in a folder that the caller removes."""
        folder.mkdir()
        about: dict[str, str | bool | int | float | list[str]] = {
            "threads": 1, "memory_limit": _MEMORY, "temp_directory": str(folder / "overflow"),
        }  # fmt: skip
        self._session = duckdb.connect(str(folder / "keys.duckdb"), config=about)
        self._session.execute("set enable_progress_bar = false")
        self._session.execute(_CREATE)
        self._path = str(folder / "contents.arrow")
        self._writer = pa.ipc.new_file(self._path, _CONTENT)
        self._firsts = [0]  # number of the first row of each batch in the file, and of the row after the last
        self._batches: list[pa.RecordBatch] = []
        self._asked = np.zeros(0, dtype=np.bool_)
        self.fields: dict[str, int] = {}  # name -> place in a row's list

    @property
    def count(self) -> int:
        """Rows added; they are numbered from 0."""
        return self._firsts[-1]

    def add(self, keys: pl.Series, members: dict[str, pl.Series]) -> None:
        """Append rows: a key text each (null: cannot be found), and fragments by field name."""
        height = len(keys)
        if not height:
            return
        for name in members:
            self.fields.setdefault(name, len(self.fields))
        # Not the list: later batches have longer ones, and equal rows must have equal digests.
        content = objects(members, height).fill_null("{}")
        numbers = pl.int_range(self.count, self.count + height, dtype=pl.Int64, eager=True)
        size = content.str.len_bytes().cast(pl.Int64)
        with self._registered("batch", pl.DataFrame({"n": numbers, "key": keys.cast(pl.String), "size": size, "content": content})):
            self._session.execute(_INSERT)
        columns = [members[name] if name in members else nulls(height) for name in self.fields]
        frame = pl.DataFrame({f"f{i}": column for i, column in enumerate(columns)}, height=height)
        listed = frame.select(f=pl.concat_list(pl.all())) if columns else frame.select(f=pl.lit([], pl.List(pl.String)))
        self._writer.write_table(listed.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(_CONTENT), max_chunksize=height)
        self._firsts.append(self.count + height)

    def index(self) -> None:
        """After the last row: find what each key points to."""
        self._session.execute(_KEYS)
        self._writer.close()
        reader = pa.ipc.open_file(pa.memory_map(self._path))
        self._batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        self._asked = np.zeros(self.count, dtype=np.bool_)

    def look_up(self, keys: pl.Series) -> pl.DataFrame:
        """What each key points to, which counts as asked for.

        Returns:
            One row per key, in order: id, n (its row; null when there is none), size (bytes), ambiguous (several rows that differ).
        """
        batch = pl.DataFrame({"id": pl.int_range(len(keys), eager=True), "key": keys.cast(pl.String)})
        found = self._ask(_LOOK_UP, "batch", batch)
        self._asked[found["n"].drop_nulls().to_numpy()] = True
        return found

    def fetch(self, numbers: pl.Series) -> dict[str, pl.Series]:
        """The fragments of rows by field name, in the order of `numbers`, which may repeat."""
        order = numbers.arg_sort()
        wanted = numbers.gather(order).to_numpy()
        cuts = np.searchsorted(wanted, self._firsts)
        parts = [
            batch.column(0).take(pa.array(wanted[start:end] - first))
            for batch, first, start, end in zip(self._batches, self._firsts, cuts, cuts[1:], strict=False)
            if start < end
        ]
        lists = pl.Series("f", pa.chunked_array(parts, _CONTENT.field("f").type), dtype=pl.List(pl.String)).gather(order.arg_sort())
        return {name: lists.list.get(place, null_on_oob=True) for name, place in self.fields.items()}

    def used(self) -> pl.Series:
        """Boolean, per row: whether its key was asked for."""
        asked = pl.DataFrame({"n": pl.Series(np.flatnonzero(self._asked), dtype=pl.Int64)})
        return self._ask(_USED, "asked", asked)["used"].cast(pl.Boolean)

    def close(self) -> None:
        """End the session."""
        self._writer.close()
        self._session.close()

    def _ask(self, sql: str, name: str, frame: pl.DataFrame) -> pl.DataFrame:
        with self._registered(name, frame):
            result = pl.from_arrow(self._session.sql(sql).to_arrow_table())
        assert isinstance(result, pl.DataFrame)
        return result

    @contextmanager
    def _registered(self, name: str, frame: pl.DataFrame) -> Iterator[None]:
        self._session.register(name, frame.to_arrow())
        try:
            yield
        finally:
            self._session.unregister(name)
