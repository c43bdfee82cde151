"""Shards hold the same bytes however their rows arrive, in an order and with notes that let a reader skip most of them."""

import hashlib
import zlib
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import shards
from pipeline.errors import SchemaError
from pipeline.shards import ShardWriter
from pipeline.storage import BLOCK_BYTES

FIELDS: "list[pa.Field[Any]]" = [
    pa.field("id", pa.string(), nullable=False),
    pa.field("n", pa.int64()),
    pa.field("tags", pa.list_(pa.struct([("a", pa.string())]))),
]
SCHEMA = pa.schema(FIELDS)
NAMES = [f"part-{i}.parquet" for i in range(30)]


def files_under(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def table(ids: list[int]) -> pa.Table:
    rows = [{"id": f"{i}", "n": None if i % 3 == 0 else i, "tags": None if i % 5 == 0 else [{"a": "t" * (i % 4)}] * (i % 3)} for i in ids]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def in_batches(folder: str, sizes: list[int], rows_per_file: int) -> list[dict[str, Any]]:
    writer = ShardWriter(folder, SCHEMA, NAMES, rows_per_file)
    start = 0
    for size in sizes:
        writer.write(table(list(range(start, start + size))))
        start += size
    return writer.close()


@given(st.lists(st.integers(0, 7), max_size=4), st.integers(1, 12), st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_a_writer_gives_the_same_bytes_for_the_same_rows_in_any_batches(sizes: list[int], rows_per_file: int, group: int) -> None:
    total = sum(sizes)
    with TemporaryDirectory() as one, TemporaryDirectory() as other, patch.object(shards, "ROW_GROUP_ROWS", group):
        files = in_batches(one, sizes, rows_per_file)
        again = in_batches(other, [total], rows_per_file)

        assert files == again
        assert [(Path(one) / f["path"]).read_bytes() for f in files] == [(Path(other) / f["path"]).read_bytes() for f in files]
        for f in files:
            content = (Path(one) / f["path"]).read_bytes()
            assert (f["bytes"], f["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        read = pa.concat_tables(pq.read_table(Path(one) / f["path"]) for f in files)
        assert read.equals(table(list(range(total))))
        assert [f["rows"] for f in files[:-1]] == [rows_per_file] * (len(files) - 1)
        assert len(files) == max(1, -(-total // rows_per_file))
        for f in files:
            about = pq.read_metadata(Path(one) / f["path"])
            sizes_of_groups = [about.row_group(g).num_rows for g in range(about.num_row_groups)]
            assert all(n == group for n in sizes_of_groups[:-1])
        assert files_under(Path(one)) == sorted(f["path"] for f in files)


def test_a_writer_without_rows_leaves_one_empty_file_with_the_schema(tmp_path: Path) -> None:
    (file,) = in_batches(str(tmp_path), [], 5)

    assert file["rows"] == 0
    assert pq.read_table(tmp_path / NAMES[0]).schema.equals(SCHEMA)


def test_an_aborted_writer_leaves_only_the_files_it_had_finished(tmp_path: Path) -> None:
    writer = ShardWriter(str(tmp_path), SCHEMA, NAMES, rows_per_file=2)
    writer.write(table([1, 2]))
    with pytest.raises(SchemaError, match=r"part-0\.parquet: missing columns"):
        writer.write(pl.DataFrame({"id": ["a"]}))
    writer.write(table([3, 4]))

    writer.abort()

    assert files_under(tmp_path) == [NAMES[0]]


PAIRS = pa.schema([pa.field("sources", pa.list_(pa.string())), pa.field("pair_id", pa.string()), pa.field("signal", pa.float64())])


def of_sources(sizes: dict[str, int]) -> pa.Table:
    """Rows of several sources in a shuffled order, as ids have it."""
    rows = [{"sources": source.split("+"), "signal": float(i)} for source, size in sizes.items() for i in range(size)]
    rows.sort(key=lambda row: hashlib.sha256(repr(row).encode()).digest())
    return pa.Table.from_pylist([{**row, "pair_id": f"{i:08x}"} for i, row in enumerate(rows)], schema=PAIRS)


def test_rows_of_a_file_are_in_the_order_of_their_sources_and_no_row_group_mixes_large_ones(tmp_path: Path) -> None:
    sizes = {"small": 300, "large": 20_000, "tiny": 3, "small+large": 260, "alone": 700}
    rows = of_sources(sizes)
    writer = ShardWriter(str(tmp_path), PAIRS, NAMES, 50_000, rows.num_rows, ("sources", "pair_id"))
    for start in range(0, rows.num_rows, 999):
        writer.write(rows.slice(start, 999))
    writer.close()

    file = pq.ParquetFile(tmp_path / NAMES[0])
    read = pl.DataFrame(pl.from_arrow(file.read()))

    keys = [(",".join(sources), pair_id) for sources, pair_id in read.select("sources", "pair_id").rows()]
    assert keys == sorted(keys)
    assert read.sort("pair_id").equals(pl.DataFrame(pl.from_arrow(rows)).sort("pair_id"))
    groups = [file.read_row_group(g).column("sources").to_pylist() for g in range(file.num_row_groups)]
    assert [sorted({"+".join(sources) for sources in group}) for group in groups] == [
        ["alone"], ["large"], ["large"], ["large"], ["small"], ["small+large"], ["tiny"],
    ]  # fmt: skip
    assert [len(group) for group in groups] == [700, 8192, 8192, 3616, 300, 260, 3]


def test_sources_too_small_for_a_row_group_of_their_own_share_one(tmp_path: Path) -> None:
    rows = of_sources({f"s{i:03}": 10 for i in range(100)})
    writer = ShardWriter(str(tmp_path), PAIRS, NAMES, 50_000, rows.num_rows, ("sources", "pair_id"))
    writer.write(rows)
    writer.close()

    file = pq.read_metadata(tmp_path / NAMES[0])

    assert [file.row_group(g).num_rows for g in range(file.num_row_groups)] == [260, 260, 260, 220]


@given(st.lists(st.integers(0, 40), max_size=5), st.integers(1, 60))
@settings(max_examples=15, deadline=None)
def test_sorted_shards_have_the_same_bytes_in_any_batches(sizes: list[int], rows_per_file: int) -> None:
    rows = of_sources({f"s{i}": size for i, size in enumerate(sizes)})
    with TemporaryDirectory() as one, TemporaryDirectory() as other, patch.object(shards, "MIN_GROUP_ROWS", 4):
        written = []
        for folder, step in ((one, 7), (other, max(1, rows.num_rows))):
            names = [f"{i}.parquet" for i in range(max(1, -(-rows.num_rows // rows_per_file)))]
            writer = ShardWriter(folder, PAIRS, names, rows_per_file, rows.num_rows, ("sources", "pair_id"))
            for start in range(0, rows.num_rows, step):
                writer.write(rows.slice(start, step))
            written.append(writer.close())

        assert written[0] == written[1]
        for start, file in zip(range(0, max(1, rows.num_rows), rows_per_file), written[0], strict=True):
            # Which file a row is in goes by the order in which rows came; only its place there by its source.
            there = pq.read_table(Path(one) / file["path"]).sort_by("pair_id")
            assert there.equals(rows.slice(start, rows_per_file))


@pytest.mark.parametrize("order", [(), ("sources", "pair_id")])
def test_flat_columns_have_bounds_ids_have_bloom_filters_and_pages_have_checksums(tmp_path: Path, order: tuple[str, ...]) -> None:
    rows = of_sources({"a": 3000, "b": 3000})
    writer = ShardWriter(str(tmp_path), PAIRS, NAMES, 50_000, rows.num_rows, order)
    writer.write(rows)
    writer.close()
    place = tmp_path / NAMES[0]

    group = pq.read_metadata(place).row_group(0)
    by_name = {group.column(c).path_in_schema: group.column(c) for c in range(group.num_columns)}
    assert by_name["signal"].is_stats_set
    assert by_name["pair_id"].is_stats_set
    assert not by_name["sources.list.element"].is_stats_set
    # DuckDB is asked, for it is who reads them: an id that is within the bounds of a row group, and not in it.
    con = duckdb.connect()
    probe = "select count(*) filter (where bloom_filter_excludes) from parquet_bloom_probe(?, 'pair_id', ?)"
    groups = pq.read_metadata(place).num_row_groups
    assert con.execute(probe, [str(place), "00000100x"]).fetchall() == [(groups,)]
    assert con.execute(probe, [str(place), rows["pair_id"][7].as_py()]).fetchall() == [(groups - 1,)]
    content = bytearray(place.read_bytes())
    content[by_name["signal"].data_page_offset + by_name["signal"].total_compressed_size // 2] ^= 1
    place.write_bytes(content)
    with pytest.raises(OSError, match="CRC checksum"):
        pq.read_table(place, page_checksum_verification=True)


def test_every_64_kib_of_a_file_have_a_checksum(tmp_path: Path) -> None:
    rows = of_sources({"a": 30_000})
    writer = ShardWriter(str(tmp_path), PAIRS, NAMES, 50_000)
    writer.write(rows)
    (file,) = writer.close()

    content = (tmp_path / NAMES[0]).read_bytes()
    edges = [*range(0, len(content), BLOCK_BYTES), len(content)]
    assert len(edges) > 3
    assert file["block_crc32"] == "".join(f"{zlib.crc32(content[start:end]):08x}" for start, end in pairwise(edges))
