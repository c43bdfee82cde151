"""EDGE: the one content-addressed store of expensive results (vectors, verdicts, rationales).

Place: `<root>/<kind>/<fingerprint>/b<first>-<last>-<digest of the keys>.parquet`. One file (segment) holds what one task
computed; nothing is ever changed in place, so a killed run loses the segment it was writing and nothing else.
"""

import hashlib
import logging
import re
from dataclasses import dataclass
from typing import Any

import fsspec
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.errors import SchemaError
from pipeline.schemas import conform

_KEY_FIELDS: list[Any] = [pa.field("bucket", pa.uint8(), nullable=False), pa.field("key", pa.string(), nullable=False)]
KEY_SCHEMA = pa.schema(_KEY_FIELDS)

_SEGMENT = re.compile(r"b(\d{3})-(\d{3})-[0-9a-f]{32}\.parquet")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

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

    def write(self, kind: str, fingerprint: str, table: pa.Table) -> str | None:
        """Add one segment; it appears whole or not at all, and the same keys give the same name.

        Args:
            kind: what the results are, e.g. `embeddings`; a plain name.
            fingerprint: model, parameters and whatever else the values depend on; a plain name.
            table: `bucket` (uint8) and `key` (string) first, then value columns; in any order of rows.

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
        ordered = _first_of_each_key(typed)
        buckets: list[Any] = ordered["bucket"].to_pylist()
        names: list[Any] = ordered["key"].to_pylist()
        digest = hashlib.blake2b(bytes(buckets) + "".join(names).encode(), digest_size=16).hexdigest()
        place = storage.join(folder, f"b{buckets[0]:03d}-{buckets[-1]:03d}-{digest}.parquet")
        with storage.atomic_output(place) as sink:
            pq.write_table(
                ordered,
                sink,
                compression="zstd",
                row_group_size=storage.ROW_GROUP_ROWS,
                use_dictionary=False,  # keys and vectors never repeat
                write_page_checksum=True,
            )
        return place

    def read(
        self, kind: str, fingerprint: str, first_bucket: int, last_bucket: int, schema: pa.Schema, columns: list[str] | None = None
    ) -> pa.Table:
        """Everything stored for a run of buckets, sorted by bucket and key, one row a key.

        Args:
            kind: as written.
            fingerprint: as written.
            first_bucket: 0 to 255.
            last_bucket: 0 to 255, inclusive.
            schema: the table's whole schema, so that an empty store has one too.
            columns: value columns to read, all of them when left out; `bucket` and `key` always come along.

        Returns:
            `schema`, cut to `columns`. Segments that cannot be read are left out with a warning.
        """
        wanted = schema if columns is None else pa.schema([*KEY_SCHEMA, *(schema.field(c) for c in columns if c not in KEY_SCHEMA.names)])
        tables = [wanted.empty_table()]
        folder = self._folder(kind, fingerprint)
        for name in storage.children(folder):
            limits = _SEGMENT.fullmatch(name)
            if limits and int(limits[1]) <= last_bucket and int(limits[2]) >= first_bucket:
                tables += _read_segment(storage.join(folder, name), wanted, first_bucket, last_bucket)
        return _first_of_each_key(pa.concat_tables(tables))

    def keys(self, kind: str, fingerprint: str, first_bucket: int, last_bucket: int) -> pa.Table:
        """Which results are there: `bucket` and `key`, sorted; reads those two columns alone."""
        return self.read(kind, fingerprint, first_bucket, last_bucket, KEY_SCHEMA)

    def _folder(self, kind: str, fingerprint: str) -> str:
        for name in (kind, fingerprint):
            if not _PLAIN_NAME.fullmatch(name):
                raise ValueError(f"store: {name!r} is not a plain name (letters, digits, '.', '_', '-')")
        return storage.join(self.root, kind, fingerprint)


def _read_segment(place: str, schema: pa.Schema, first_bucket: int, last_bucket: int) -> list[pa.Table]:
    buckets = (pc.field("bucket") >= first_bucket) & (pc.field("bucket") <= last_bucket)
    try:
        with fsspec.open(place, "rb") as file:
            table = pq.read_table(file, columns=schema.names, filters=buckets, page_checksum_verification=True)
        return [conform(table, schema, place)]
    except (pa.ArrowException, OSError, SchemaError) as error:
        # A broken file has no errno; a disk or network that fails has, and must not cost a recomputation.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        log.warning("%s: cannot be read and is ignored; its results are computed again: %s", place, error)
        return []


def _first_of_each_key(table: pa.Table) -> pa.Table:
    """Sorted by bucket and key; of equal keys the first, so segments come in the order of their names."""
    keys = pl.from_arrow(table.select(KEY_SCHEMA.names))
    assert isinstance(keys, pl.DataFrame)
    rows = keys.with_row_index("row").unique(["bucket", "key"], keep="first", maintain_order=True).sort("bucket", "key")
    return table.take(rows["row"].to_arrow()).combine_chunks()
