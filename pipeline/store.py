"""EDGE: the one content-addressed store of expensive results (vectors, near-duplicate hits, answers of models).

Place: `<root>/<kind>/<fingerprint>/b<first>-<last>-<digest of the keys>.parquet`. One file (segment) holds what one task
computed, or what several small ones held; nothing is ever changed in place, so a killed run loses the segment it was
writing and nothing else. A segment that turns out to be broken is set aside, with `.broken` behind its name.
"""

import contextlib
import hashlib
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import fsspec
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from fsspec.core import url_to_fs

from pipeline import storage
from pipeline.errors import SchemaError
from pipeline.schemas import conform

_KEY_FIELDS: list[Any] = [pa.field("bucket", pa.uint8(), nullable=False), pa.field("key", pa.string(), nullable=False)]
KEY_SCHEMA = pa.schema(_KEY_FIELDS)

_SEGMENT = re.compile(r"b(\d{3})-(\d{3})-[0-9a-f]{32}\.parquet")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

_SMALL_SEGMENTS = 32  # so many are left alone: opening them costs less than writing them again after every run
_JOINED_BYTES = 128 << 20  # of a joined segment at most, on disk; bounds what `compact` holds in memory
_LISTINGS = 10  # a reader from whom segments vanish more often has another problem than `compact`

_FORMAT = pads.ParquetFileFormat(default_fragment_scan_options=pads.ParquetFragmentScanOptions(page_checksum_verification=True))
_BATCHES_AHEAD = 4  # row groups read before they are asked for

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Store:
    """Tables of (bucket, key, values ...) by kind of result and fingerprint of what made them.

    A key is 32 hex digits; (bucket, key) is one result. Values must follow from kind, fingerprint and key, so that it
    does not matter which of two equal keys is read.

    Args:
        root: folder or fsspec URL, `<workspace>/store`.
    """

    root: str

    def write(self, kind: str, fingerprint: str, table: pa.Table, durable: bool = True) -> str | None:
        """Add one segment; it appears whole or not at all, and the same keys give the same name.

        Args:
            kind: what the results are, e.g. `embeddings`; a plain name.
            fingerprint: model, parameters and whatever else the values depend on; a plain name.
            table: `bucket` (uint8) and `key` (string) first, then value columns; in any order of rows.
            durable: wait until it is on the disk. Not worth it for what is soon worked out again: a power cut may lose the segment.

        Returns:
            The segment's place, or None when the table has no rows (nothing is written).

        Raises:
            SchemaError: `bucket` or `key` is missing, of another type, or null.
        """
        folder = self._folder(kind, fingerprint)
        if table.column_names[:2] != KEY_SCHEMA.names:
            raise SchemaError(f"{folder}: columns {table.column_names}; expected `bucket`, `key`, then values.")
        keys = conform(table.select(KEY_SCHEMA.names), KEY_SCHEMA, folder)
        if not table.num_rows:
            return None
        fields: list[Any] = [*KEY_SCHEMA, *(table.schema.field(i) for i in range(2, table.num_columns))]
        typed = pa.table([*keys.columns, *table.columns[2:]], schema=pa.schema(fields))
        return self._put(folder, _first_of_each_key(typed), durable)

    def read(
        self,
        kind: str,
        fingerprint: str,
        first_bucket: int,
        last_bucket: int,
        schema: pa.Schema,
        columns: list[str] | None = None,
        keys: pl.Series | None = None,
    ) -> pa.Table:
        """What is stored for a run of buckets, sorted by bucket and key, one row a key.

        Files are read a few thousand rows at a time, so memory goes with what is returned and not with what is stored.

        Args:
            kind: as written.
            fingerprint: as written.
            first_bucket: 0 to 255.
            last_bucket: 0 to 255, inclusive.
            schema: the table's whole schema, so that an empty store has one too.
            columns: value columns to read, all of them when left out; `bucket` and `key` always come along.
            keys: read these alone (String, of any order, without nulls); all of them when left out.

        Returns:
            `schema`, cut to `columns`. A segment that is broken or has other columns is left out with a warning and set
            aside: its results are missing from then on, so they are computed again.

        Raises:
            OSError: the disk or the network failed; no segment is taken for broken because of that.
        """
        wanted = schema if columns is None else pa.schema([*KEY_SCHEMA, *(schema.field(c) for c in columns if c not in KEY_SCHEMA.names)])
        return self._collect(kind, fingerprint, first_bucket, last_bucket, wanted, wanted.names, keys)

    def keys(self, kind: str, fingerprint: str, first_bucket: int, last_bucket: int) -> pa.Table:
        """Which results are there: `bucket` and `key`, sorted.

        The values are read along: a key whose values are damaged is not there.
        """
        return self._collect(kind, fingerprint, first_bucket, last_bucket, KEY_SCHEMA, None)

    def compact(self, kind: str, fingerprint: str) -> int:
        """Join small segments into few; while there are few, nothing is done.

        May be killed at any instant, and may run beside readers, writers and itself: a joined segment is there before
        the ones that went into it are deleted, and it holds all their keys. Equal keys give equal names here too.

        Returns:
            How many segments went into larger ones.
        """
        folder = self._folder(kind, fingerprint)
        small = {name: size for name, size in _segment_sizes(folder).items() if size < _JOINED_BYTES // 2}
        if len(small) <= _SMALL_SEGMENTS:
            return 0
        return sum(self._join(folder, names) for names in _groups(small))

    def drop(self, kind: str, fingerprint: str) -> None:
        """Delete everything that is stored under one fingerprint."""
        storage.delete(self._folder(kind, fingerprint))

    def _collect(
        self,
        kind: str,
        fingerprint: str,
        first_bucket: int,
        last_bucket: int,
        schema: pa.Schema,
        columns: list[str] | None,
        keys: pl.Series | None = None,
    ) -> pa.Table:
        """`columns` of all segments are read (None: all of them), those of `schema` are kept."""
        folder = self._folder(kind, fingerprint)
        buckets = (pc.field("bucket") >= first_bucket) & (pc.field("bucket") <= last_bucket)
        ordered = None if keys is None else keys.unique().sort()
        for listing in range(1, _LISTINGS + 1):
            tables = [schema.empty_table()]
            try:
                for name in storage.children(folder):
                    limits = _SEGMENT.fullmatch(name)
                    if limits and int(limits[1]) <= last_bucket and int(limits[2]) >= first_bucket:
                        tables += _read_segment(storage.join(folder, name), schema, columns, buckets, ordered)
                break
            except FileNotFoundError:  # joined with others since it was listed; the next listing has what it went into
                if listing == _LISTINGS:
                    raise
        return _first_of_each_key(pa.concat_tables(tables))

    def _join(self, folder: str, names: list[str]) -> int:
        tables: dict[str, pa.Table] = {}
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # joined by another process
                # One with other columns is left to whoever reads it and knows which are right.
                for table in _read_segment(storage.join(folder, name)):
                    if all(table.schema.equals(other.schema) for other in tables.values()):
                        tables[name] = table
        if len(tables) < 2:
            return 0
        joined = self._put(folder, _first_of_each_key(pa.concat_tables(tables.values())))
        for name in tables:
            if (place := storage.join(folder, name)) != joined:
                with contextlib.suppress(FileNotFoundError):
                    storage.delete(place)
        return len(tables)

    def _put(self, folder: str, ordered: pa.Table, durable: bool = True) -> str:
        place = storage.join(folder, _segment_name(ordered))
        with storage.atomic_output(place) as sink:
            pq.write_table(
                ordered,
                sink,
                compression="zstd",
                row_group_size=storage.ROW_GROUP_ROWS,
                use_dictionary=False,  # keys and vectors never repeat
                write_page_checksum=True,
            )
            sink.flush()
            if durable:  # what went into a joined segment is deleted next, and a power cut must not leave neither
                os.fsync(sink.fileno())
        return place

    def _folder(self, kind: str, fingerprint: str) -> str:
        for name in (kind, fingerprint):
            if not _PLAIN_NAME.fullmatch(name):
                raise ValueError(f"store: {name!r} is not a plain name (letters, digits, '.', '_', '-')")
        return storage.join(self.root, kind, fingerprint)


def _segment_name(ordered: pa.Table) -> str:
    keys = pl.from_arrow(ordered.select(KEY_SCHEMA.names))
    assert isinstance(keys, pl.DataFrame)
    buckets = keys["bucket"].to_numpy()
    digest = hashlib.blake2b(buckets.tobytes() + keys["key"].str.join("").item().encode(), digest_size=16).hexdigest()
    return f"b{buckets[0]:03d}-{buckets[-1]:03d}-{digest}.parquet"


def _segment_sizes(folder: str) -> dict[str, int]:
    """Name and bytes of each segment, in the order of their names."""
    fs, path = url_to_fs(folder)
    fs.invalidate_cache()
    if not fs.exists(path):
        return {}
    files = {str(file["name"]).rsplit("/", 1)[-1]: int(file["size"]) for file in fs.ls(path, detail=True)}
    return {name: size for name, size in sorted(files.items()) if _SEGMENT.fullmatch(name)}


def _groups(sizes: dict[str, int]) -> Iterator[list[str]]:
    """Runs of names whose sizes add up to a joined segment's at most."""
    group: list[str] = []
    total = 0
    for name, size in sizes.items():
        if total + size > _JOINED_BYTES:
            yield group
            group, total = [], 0
        group.append(name)
        total += size
    yield group


def _read_segment(
    place: str,
    schema: pa.Schema | None = None,
    columns: list[str] | None = None,
    buckets: pc.Expression | None = None,
    keys: pl.Series | None = None,
) -> list[pa.Table]:
    """A segment's rows; nothing, and the segment set aside, where it is broken or lacks columns of `schema`.

    All of `columns` are read, but only those of `schema` are kept, of rows with one of `keys` (sorted).
    """
    try:
        with fsspec.open(place, "rb") as file:
            scanner = _FORMAT.make_fragment(file).scanner(columns=columns, filter=buckets, batch_readahead=_BATCHES_AHEAD)
            whole = scanner.projected_schema
            kept = whole.names if schema is None else [name for name in whole.names if name in schema.names]
            batches = [batch.select(kept) if keys is None else _with_keys(batch, keys).select(kept) for batch in scanner.to_batches()]
        table = pa.Table.from_batches(batches, pa.schema([whole.field(name) for name in kept]))
        return [table if schema is None else conform(table, schema, place)]
    except (pa.ArrowException, OSError, SchemaError) as error:
        if not _is_damage(error):
            raise
        reason = str(error).partition("\n")[0]
        log.warning("%s: cannot be read and is set aside as *.broken; its results are computed again: %s", place, reason)
    fs, path = url_to_fs(place)
    with contextlib.suppress(FileNotFoundError):  # another reader was faster
        fs.mv(path, f"{path}.broken")
    return []


def _with_keys(batch: pa.RecordBatch, keys: pl.Series) -> pa.RecordBatch:
    """The rows with one of some sorted keys. Not a hash table of the keys: there may be millions, of which a batch has few."""
    if keys.is_empty():
        return batch.slice(0, 0)
    own = pl.Series(batch.column("key"))
    at = keys.search_sorted(own).clip(upper_bound=len(keys) - 1)
    return batch.filter((keys.gather(at) == own).to_arrow())


def _is_damage(error: Exception) -> bool:
    """Whether the file is broken, and not the disk, the network or the memory: those must not cost a recomputation."""
    if isinstance(error, OSError):
        return type(error) is OSError and error.errno is None  # what Arrow raises on damaged bytes
    return not isinstance(error, (MemoryError, pa.lib.ArrowCancelled))


def _first_of_each_key(table: pa.Table) -> pa.Table:
    """Sorted by bucket and key; of equal keys the first, so segments come in the order of their names."""
    keys = pl.from_arrow(table.select(KEY_SCHEMA.names))
    assert isinstance(keys, pl.DataFrame)
    rows = keys.with_row_index("row").unique(["bucket", "key"], keep="first", maintain_order=True).sort("bucket", "key")
    if rows.height < table.num_rows or not rows["row"].is_sorted():  # not so where segments follow each other: taking is two more copies
        table = table.take(rows["row"].to_arrow())
    return table.combine_chunks()
