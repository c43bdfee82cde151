"""The content-addressed store, on a local disk and in memory."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import storage
from pipeline.embed import embedding_schema
from pipeline.errors import SchemaError
from pipeline.store import KEY_SCHEMA, Store

FIELDS: list[Any] = [*KEY_SCHEMA, pa.field("verdict", pa.string())]
VERDICTS = pa.schema(FIELDS)


def key(bucket: int, number: int = 0) -> str:
    return f"{bucket:02x}{number:030x}"


def verdicts(*rows: tuple[int, str, str]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(VERDICTS.names, row, strict=True)) for row in rows], schema=VERDICTS)


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    root = str(tmp_path / "store") if request.param == "local" else f"memory://{uuid4().hex}/store"
    yield Store(root)
    storage.delete(root)


def test_what_was_written_is_read_back_sorted_by_bucket_and_key(store: Store) -> None:
    store.write("judge", "f1", verdicts((7, key(7, 2), "b"), (255, key(255), "tie"), (7, key(7, 1), "a")))

    assert store.read("judge", "f1", 0, 255, VERDICTS).equals(verdicts((7, key(7, 1), "a"), (7, key(7, 2), "b"), (255, key(255), "tie")))


def test_half_precision_vectors_survive_bit_for_bit(store: Store) -> None:
    values = np.random.default_rng(0).normal(size=(5, 384)).astype(np.float16)
    schema = embedding_schema(384)
    table = pa.table(
        [
            pa.array([1] * 5, pa.uint8()),
            pa.array([key(1, i) for i in range(5)]),
            pa.array(range(5), pa.int32()),
            pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 384),
        ],
        schema=schema,
    )

    store.write("embeddings", "f1", table)

    found = store.read("embeddings", "f1", 1, 1, schema)
    assert found.schema == schema
    assert found.equals(table)


def test_reading_takes_only_the_buckets_asked_for(store: Store) -> None:
    store.write("judge", "f1", verdicts(*((b, key(b), "a") for b in range(0, 256, 5))))

    assert store.read("judge", "f1", 10, 20, VERDICTS)["bucket"].to_pylist() == [10, 15, 20]
    assert store.keys("judge", "f1", 250, 255)["key"].to_pylist() == [key(250), key(255)]


def test_segments_of_other_buckets_are_not_opened(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    other = store.write("judge", "f1", verdicts((200, key(200), "a")))
    assert other is not None
    storage.write_bytes(other, b"not parquet")
    store.write("judge", "f1", verdicts((3, key(3), "b")))

    assert store.keys("judge", "f1", 0, 100).num_rows == 1
    assert not caplog.records


def test_columns_cut_the_values_and_keep_the_key(store: Store) -> None:
    fields: list[Any] = [*VERDICTS, pa.field("cost", pa.float64())]
    wide = pa.schema(fields)
    store.write("judge", "f1", pa.table([[1], [key(1)], ["a"], [0.5]], schema=wide))

    assert store.read("judge", "f1", 0, 255, wide, columns=["cost"]).to_pylist() == [{"bucket": 1, "key": key(1), "cost": 0.5}]


def test_an_empty_store_gives_an_empty_table_with_the_schema(store: Store) -> None:
    assert store.read("judge", "f1", 0, 255, VERDICTS).equals(VERDICTS.empty_table())
    assert store.keys("judge", "f1", 0, 255).equals(KEY_SCHEMA.empty_table())


def test_nothing_is_written_for_no_rows(store: Store) -> None:
    assert store.write("judge", "f1", VERDICTS.empty_table()) is None
    assert not storage.exists(store.root)


def test_kinds_and_fingerprints_do_not_mix(store: Store) -> None:
    store.write("judge", "f1", verdicts((1, key(1), "a")))

    assert store.keys("judge", "f2", 0, 255).num_rows == 0
    assert store.keys("rationale", "f1", 0, 255).num_rows == 0


def test_writing_the_same_keys_again_gives_the_same_file_and_bytes(store: Store) -> None:
    rows = [(3, key(3), "a"), (9, key(9), "b")]
    first = store.write("judge", "f1", verdicts(*rows))
    assert first is not None
    content = storage.read_bytes(first)

    assert store.write("judge", "f1", verdicts(*reversed(rows))) == first
    assert storage.read_bytes(first) == content
    assert first.rsplit("/", 1)[-1].startswith("b003-009-")
    assert storage.children(storage.join(store.root, "judge", "f1")) == [first.rsplit("/", 1)[-1]]


def test_a_key_in_several_segments_is_read_once(store: Store) -> None:
    store.write("judge", "f1", verdicts((1, key(1), "a"), (2, key(2), "a")))
    store.write("judge", "f1", verdicts((2, key(2), "a"), (3, key(3), "b")))
    store.write("judge", "f1", verdicts((2, key(2), "a"), (2, key(2), "a")))

    assert store.read("judge", "f1", 0, 255, VERDICTS)["bucket"].to_pylist() == [1, 2, 3]
    assert store.keys("judge", "f1", 2, 2).num_rows == 1


@given(
    written=st.lists(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 3)), max_size=8), max_size=4),
    limits=st.tuples(st.integers(0, 255), st.integers(0, 255)),
)
def test_every_key_written_is_found_once_whatever_the_segments(written: list[list[tuple[int, int]]], limits: tuple[int, int]) -> None:
    store = Store(f"memory://{uuid4().hex}")
    first, last = min(limits), max(limits)
    for rows in written:
        store.write("judge", "f1", verdicts(*((b, key(b, n), f"{b}.{n}") for b, n in rows)))

    found = store.read("judge", "f1", first, last, VERDICTS)

    expected = sorted({(b, key(b, n), f"{b}.{n}") for rows in written for b, n in rows if first <= b <= last})
    assert [tuple(row.values()) for row in found.to_pylist()] == expected
    assert store.keys("judge", "f1", first, last).equals(found.select(["bucket", "key"]))
    storage.delete(store.root)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_segment_is_ignored_with_a_warning_and_healed_by_writing_it_again(
    store: Store, share: float, caplog: pytest.LogCaptureFixture
) -> None:
    torn = verdicts(*((5, key(5, n), "a" * n) for n in range(50)))
    place = store.write("judge", "f1", torn)
    assert place is not None
    store.write("judge", "f1", verdicts((6, key(6), "b")))
    content = storage.read_bytes(place)
    storage.write_bytes(place, content[: int(len(content) * share)])

    with caplog.at_level(logging.WARNING):
        assert store.keys("judge", "f1", 0, 255)["key"].to_pylist() == [key(6)]
    assert f"{place}: cannot be read and is ignored; its results are computed again" in caplog.text

    assert store.write("judge", "f1", torn) == place
    assert store.keys("judge", "f1", 0, 255).num_rows == 51


def test_a_segment_with_damaged_values_is_ignored_with_a_warning(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    place = store.write("judge", "f1", verdicts(*((5, key(5, n), rng.bytes(40).hex()) for n in range(500))))
    assert place is not None
    content = bytearray(storage.read_bytes(place))
    content[len(content) * 3 // 4] ^= 0xFF
    storage.write_bytes(place, bytes(content))

    assert store.read("judge", "f1", 0, 255, VERDICTS).num_rows == 0
    assert "cannot be read and is ignored" in caplog.text


def test_a_segment_with_other_columns_is_ignored_with_a_warning(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    place = store.write("judge", "f1", verdicts((5, key(5), "a")))
    assert place is not None
    with storage.atomic_output(place) as sink:
        pq.write_table(pa.table({"bucket": pa.array([5], pa.uint8()), "other": ["x"]}), sink)

    assert store.read("judge", "f1", 0, 255, VERDICTS).num_rows == 0
    assert "cannot be read and is ignored" in caplog.text


def test_a_disk_that_fails_is_an_error_and_not_a_missing_result(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    place = store.write("judge", "f1", verdicts((5, key(5), "a")))
    assert place is not None
    Path(place).unlink()
    Path(place).mkdir()  # opening a folder fails with an errno, as a broken disk does

    with pytest.raises(IsADirectoryError, match="Is a directory"):
        store.keys("judge", "f1", 0, 255)


def test_files_left_by_a_killed_writer_are_not_segments(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(str(tmp_path))
    place = store.write("judge", "f1", verdicts((5, key(5), "a")))
    assert place is not None
    Path(f"{place}.0123456789abcdef.part").write_bytes(b"half a fi")

    assert store.keys("judge", "f1", 0, 255).num_rows == 1
    assert not caplog.records


def test_a_table_without_keys_first_is_an_error_that_shows_its_columns(store: Store) -> None:
    with pytest.raises(SchemaError, match=r"columns \['verdict'\]; expected `bucket`, `key`"):
        store.write("judge", "f1", pa.table({"verdict": ["a"]}))


def test_a_missing_key_is_an_error(store: Store) -> None:
    with pytest.raises(SchemaError, match="Casting field 'key' with null values"):
        store.write("judge", "f1", pa.table({"bucket": pa.array([1], pa.uint8()), "key": pa.array([None], pa.string())}))


@pytest.mark.parametrize("name", ["../other", "a/b", "", ".hidden"])
def test_a_name_that_would_leave_the_store_is_an_error(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="is not a plain name"):
        store.keys(name, "f1", 0, 255)
    with pytest.raises(ValueError, match="is not a plain name"):
        store.write("judge", name, verdicts((1, key(1), "a")))
