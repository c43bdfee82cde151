"""The content-addressed store, on a local disk and in memory."""

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import storage
from pipeline import store as store_module
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
            pa.array([0.5, 1.0, None, 3.0, 8.25], pa.float32()),
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


@given(
    written=st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12), max_size=3),
    asked=st.lists(st.integers(0, 12), max_size=9),
    limits=st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
def test_reading_some_keys_gives_those_rows_of_everything_in_their_order(
    written: list[list[tuple[int, int]]], asked: list[int], limits: tuple[int, int]
) -> None:
    store = Store(f"memory://{uuid4().hex}")
    for rows in written:
        store.write("judge", "f1", verdicts(*((b, key(0, n), f"{b}.{n}") for b, n in rows)))
    wanted = [key(0, n) for n in asked]

    found = store.read("judge", "f1", min(limits), max(limits), VERDICTS, keys=pl.Series(wanted, dtype=pl.String))

    everything = store.read("judge", "f1", min(limits), max(limits), VERDICTS).to_pylist()
    assert found.to_pylist() == [row for row in everything if row["key"] in wanted]
    assert found.schema == VERDICTS
    storage.delete(store.root)


def test_keys_are_looked_for_in_parts_of_a_segment_and_not_in_other_buckets(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 3 * storage.ROW_GROUP_ROWS
    buckets = np.repeat(np.arange(3, dtype=np.uint8), storage.ROW_GROUP_ROWS)
    store.write("judge", "f1", pa.table([buckets, [key(0, n) for n in range(rows)], ["a"] * rows], schema=VERDICTS))
    seen: list[int] = []
    pick = store_module._with_keys

    def counted(batch: pa.RecordBatch, keys: pl.Series) -> pa.RecordBatch:
        seen.append(batch.num_rows)
        return pick(batch, keys)

    monkeypatch.setattr(store_module, "_with_keys", counted)
    wanted = pl.Series([key(0, rows - 1), key(0, storage.ROW_GROUP_ROWS), key(0, 7)])

    found = store.read("judge", "f1", 1, 2, VERDICTS, keys=wanted)

    assert found["key"].to_pylist() == sorted(wanted.to_list())[1:]
    assert max(seen) <= storage.ROW_GROUP_ROWS
    assert sum(seen) == 2 * storage.ROW_GROUP_ROWS


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


SET_ASIDE = "cannot be read and is set aside as *.broken; its results are computed again"


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_segment_is_named_once_set_aside_and_healed_by_writing_it_again(
    store: Store, share: float, caplog: pytest.LogCaptureFixture
) -> None:
    torn = verdicts(*((5, key(5, n), "a" * n) for n in range(50)))
    place = store.write("judge", "f1", torn)
    assert place is not None
    store.write("judge", "f1", verdicts((6, key(6), "b")))
    whole = storage.read_bytes(place)
    content = whole[: int(len(whole) * share)]
    storage.write_bytes(place, content)

    with caplog.at_level(logging.WARNING):
        assert store.keys("judge", "f1", 0, 255)["key"].to_pylist() == [key(6)]
        assert store.keys("judge", "f1", 0, 255)["key"].to_pylist() == [key(6)]
    assert [record.getMessage().startswith(f"{place}: {SET_ASIDE}: ") for record in caplog.records] == [True]
    assert storage.read_bytes(f"{place}.broken") == content

    assert store.write("judge", "f1", torn) == place
    assert store.keys("judge", "f1", 0, 255).num_rows == 51


@pytest.mark.parametrize("ask", ["read", "keys"])
def test_a_key_whose_values_are_damaged_is_not_there(store: Store, ask: str, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    place = store.write("judge", "f1", verdicts(*((5, key(5, n), rng.bytes(40).hex()) for n in range(500))))
    assert place is not None
    content = bytearray(storage.read_bytes(place))
    content[len(content) * 3 // 4] ^= 0xFF
    storage.write_bytes(place, bytes(content))

    found = store.read("judge", "f1", 0, 255, VERDICTS) if ask == "read" else store.keys("judge", "f1", 0, 255)

    assert found.num_rows == 0
    assert SET_ASIDE in caplog.text


@given(share=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_one_damaged_byte_never_stops_a_reader(share: float, flip: int) -> None:
    store = Store(f"memory://{uuid4().hex}")
    written = verdicts(*((n, key(n, n), f"value {n}") for n in range(40)))
    place = store.write("judge", "f1", written)
    assert place is not None
    content = bytearray(storage.read_bytes(place))
    content[int(share * len(content))] ^= flip
    storage.write_bytes(place, bytes(content))

    found = store.read("judge", "f1", 0, 255, VERDICTS)

    assert found.schema == VERDICTS
    assert set(store.keys("judge", "f1", 0, 255)["key"].to_pylist()) <= set(written["key"].to_pylist())
    storage.delete(store.root)


def test_a_segment_with_other_columns_is_set_aside_with_a_warning(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    place = store.write("judge", "f1", verdicts((5, key(5), "a")))
    assert place is not None
    with storage.atomic_output(place) as sink:
        pq.write_table(pa.table({"bucket": pa.array([5], pa.uint8()), "other": ["x"]}), sink)

    assert store.read("judge", "f1", 0, 255, VERDICTS).num_rows == 0
    assert SET_ASIDE in caplog.text


def test_a_disk_that_fails_is_an_error_and_not_a_missing_result(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    place = store.write("judge", "f1", verdicts((5, key(5), "a")))
    assert place is not None
    Path(place).unlink()
    Path(place).mkdir()  # opening a folder fails with an errno, as a broken disk does

    with pytest.raises(IsADirectoryError, match="Is a directory"):
        store.keys("judge", "f1", 0, 255)


@pytest.mark.parametrize("failure", [TimeoutError("no answer"), ConnectionError("reset"), OSError(5, "Input/output error"), MemoryError()])
def test_a_network_or_memory_that_fails_sets_nothing_aside(store: Store, failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    place = store.write("judge", "f1", verdicts((5, key(5), "a")))
    assert place is not None

    class Failing(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise failure

    with monkeypatch.context() as patched:
        patched.setattr(fsspec, "open", lambda *_: Failing(b"PAR1" * 9))
        with pytest.raises(type(failure)):
            store.keys("judge", "f1", 0, 255)

    assert store.keys("judge", "f1", 0, 255).num_rows == 1


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


def write_small(store: Store, count: int) -> pa.Table:
    """One segment a row, two of them with a key that another has too; returns what they hold together."""
    rows = [(n * 7 % 256, key(n * 7 % 256, n), f"value {n}") for n in range(count)]
    for row in rows:
        store.write("judge", "f1", verdicts(row))
    store.write("judge", "f1", verdicts(*rows[:2]))
    store.write("judge", "f1", verdicts(*rows[1:3]))
    return store.read("judge", "f1", 0, 255, VERDICTS)


def segments(store: Store) -> list[str]:
    return storage.children(storage.join(store.root, "judge", "f1"))


def test_many_small_segments_become_the_one_that_a_single_writer_would_have_made(store: Store) -> None:
    rows = write_small(store, 40)
    assert rows.num_rows == 40

    assert store.compact("judge", "f1") == 42

    assert store.read("judge", "f1", 0, 255, VERDICTS).equals(rows)
    alone = Store(storage.join(store.root, "alone"))
    place = alone.write("judge", "f1", rows)
    assert place is not None
    assert segments(store) == segments(alone)
    assert storage.read_bytes(storage.join(store.root, "judge", "f1", segments(store)[0])) == storage.read_bytes(place)


def test_few_segments_and_none_are_left_alone(store: Store) -> None:
    assert store.compact("judge", "f1") == 0
    write_small(store, 30)
    before = segments(store)
    assert len(before) == 32

    assert store.compact("judge", "f1") == 0
    assert segments(store) == before


def test_joined_segments_are_bounded_and_large_ones_are_not_written_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = write_small(store, 60)
    sizes = [len(storage.read_bytes(storage.join(store.root, "judge", "f1", name))) for name in segments(store)]
    monkeypatch.setattr(store_module, "_JOINED_BYTES", 10 * max(sizes))
    large = store.write("judge", "f1", verdicts(*((9, key(9, n), np.random.default_rng(n).bytes(60).hex()) for n in range(100, 200))))
    assert large is not None
    assert len(storage.read_bytes(large)) > 5 * max(sizes)

    assert store.compact("judge", "f1") == 62

    assert large.rsplit("/", 1)[-1] in segments(store)
    assert 6 <= len(segments(store)) - 1 <= 8
    assert store.keys("judge", "f1", 0, 255).num_rows == rows.num_rows + 100
    assert store.compact("judge", "f1") == 0


def test_lists_and_vectors_are_joined_as_they_are(store: Store) -> None:
    fields: list[Any] = [*KEY_SCHEMA, pa.field("near", pa.list_(pa.string())), pa.field("cosine", pa.list_(pa.float64()))]
    schema = pa.schema([*fields, pa.field("vector", pa.list_(pa.float16(), 3), nullable=False, metadata={"unit": "none"})])
    vector = np.array([0.5, -0.25, 1.0], dtype=np.float16)
    for n in range(40):
        row: list[Any] = [[n], [key(n)], [[key(i) for i in range(n % 3)]], [[0.9] * (n % 3)], [vector]]
        store.write("judge", "f1", pa.table(row, schema=schema))
    before = store.read("judge", "f1", 0, 255, schema)

    assert store.compact("judge", "f1") == 40

    assert store.read("judge", "f1", 0, 255, schema).equals(before)
    assert before["near"].to_pylist()[2] == [key(0), key(1)]


class Killed(BaseException):
    """Like a kill: nothing in the store catches it."""


@given(steps=st.integers(0, 45))
def test_a_compaction_killed_at_any_instant_loses_no_key_and_is_finished_by_the_next(steps: int) -> None:
    store = Store(f"memory://{uuid4().hex}")
    rows = write_small(store, 40)
    left = steps

    def counted(work: Any) -> Any:
        def step(*args: object, **how: object) -> object:
            nonlocal left
            if not left:
                raise Killed
            left -= 1
            return work(*args, **how)

        return step

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(storage, "delete", counted(storage.delete))
        patched.setattr(pq, "write_table", counted(pq.write_table))
        with contextlib.suppress(Killed):
            store.compact("judge", "f1")

    assert store.read("judge", "f1", 0, 255, VERDICTS).equals(rows)
    store.compact("judge", "f1")
    assert store.read("judge", "f1", 0, 255, VERDICTS).equals(rows)
    storage.delete(store.root)


def test_a_reader_from_under_whom_segments_are_joined_looks_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = write_small(store, 40)
    listed = storage.children

    def compact_after_listing(place: str) -> list[str]:
        names = listed(place)
        monkeypatch.setattr(storage, "children", listed)
        assert store.compact("judge", "f1") == 42
        return names

    monkeypatch.setattr(storage, "children", compact_after_listing)

    assert store.read("judge", "f1", 0, 255, VERDICTS).equals(rows)


def test_two_compactions_of_which_one_is_slower_lose_no_key(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = write_small(store, 40)
    write = pq.write_table

    def other_one_first(*args: Any, **how: Any) -> None:
        monkeypatch.setattr(pq, "write_table", write)
        assert store.compact("judge", "f1") == 42
        write(*args, **how)

    monkeypatch.setattr(pq, "write_table", other_one_first)

    assert store.compact("judge", "f1") == 42
    assert store.read("judge", "f1", 0, 255, VERDICTS).equals(rows)
    assert len(segments(store)) == 1


def test_a_broken_segment_is_set_aside_by_joining_too(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    rows = write_small(store, 40)
    place = store.write("judge", "f1", verdicts((200, key(200, 999), "lost")))
    assert place is not None
    storage.write_bytes(place, b"not parquet")

    assert store.compact("judge", "f1") == 42

    assert f"{place}: {SET_ASIDE}" in caplog.text
    assert len(segments(store)) == 2  # the joined one, and the broken one aside
    assert store.read("judge", "f1", 0, 255, VERDICTS).equals(rows)


def test_segments_of_other_columns_are_not_joined_with_the_rest(store: Store) -> None:
    rows = write_small(store, 40)
    other = pa.table([pa.array([255], pa.uint8()), [key(255)], [1.5]], names=["bucket", "key", "score"])
    place = store.write("judge", "f1", other)
    assert place is not None

    assert store.compact("judge", "f1") == 42
    assert storage.exists(place)
    assert store.keys("judge", "f1", 0, 255).num_rows == rows.num_rows + 1


def test_dropping_takes_one_fingerprint_and_nothing_else(store: Store) -> None:
    for kind, fingerprint in (("judge", "f1"), ("judge", "f2"), ("rationale", "f1")):
        store.write(kind, fingerprint, verdicts((1, key(1), "a")))

    store.drop("judge", "f1")
    store.drop("judge", "never-there")

    assert store.keys("judge", "f1", 0, 255).num_rows == 0
    assert store.keys("judge", "f2", 0, 255).num_rows == store.keys("rationale", "f1", 0, 255).num_rows == 1
    with pytest.raises(ValueError, match="is not a plain name"):
        store.drop("judge", "..")
