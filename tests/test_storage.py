"""Files appear whole or not at all, with the same bytes however they were made."""

import gzip
import hashlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import fsspec
import polars as pl
import pyarrow as pa
import pytest

from pipeline import storage
from pipeline.errors import ConfigError, SchemaError
from pipeline.storage import atomic_output, create_bytes, list_files

FIELDS: "list[pa.Field[Any]]" = [
    pa.field("id", pa.string(), nullable=False),
    pa.field("n", pa.int64()),
    pa.field("tags", pa.list_(pa.struct([("a", pa.string())]))),
]
SCHEMA = pa.schema(FIELDS)


@pytest.fixture
def memory() -> Iterator[str]:
    place = "memory://storage-tests"
    yield place
    storage.delete(place)


def files_under(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_an_output_appears_under_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    place = tmp_path / "new" / "out"

    with atomic_output(str(place)) as sink:
        sink.write(b"whole")
        sink.flush()
        assert not place.exists()

    assert place.read_bytes() == b"whole"
    assert files_under(tmp_path) == ["new/out"]


def test_an_error_leaves_no_output_and_keeps_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")

    def stop_halfway(name: str) -> None:
        with atomic_output(str(tmp_path / name)) as sink:
            sink.write(b"half")
            raise RuntimeError("stop")

    for name in ("new", "old"):
        with pytest.raises(RuntimeError, match="stop"):
            stop_halfway(name)

    assert files_under(tmp_path) == ["old"]
    assert (tmp_path / "old").read_bytes() == b"old"


def test_a_table_that_does_not_fit_its_schema_leaves_no_file(tmp_path: Path) -> None:
    place = str(tmp_path / "t.parquet")

    with pytest.raises(SchemaError, match=r"t\.parquet: missing columns \['n', 'tags'\]"):
        storage.write_table(pl.DataFrame({"id": ["a"]}), place, SCHEMA)

    assert files_under(tmp_path) == []


def test_only_the_first_of_many_creates_a_file(tmp_path: Path) -> None:
    workers, start = 8, Barrier(8)

    def create(number: int) -> bool:
        start.wait()
        return create_bytes(str(tmp_path / "locks" / "lock"), f"{number}".encode() * 1000)

    with ThreadPoolExecutor(workers) as pool:
        won = list(pool.map(create, range(workers)))

    assert won.count(True) == 1
    assert (tmp_path / "locks" / "lock").read_bytes() == f"{won.index(True)}".encode() * 1000
    assert files_under(tmp_path) == ["locks/lock"]


def test_an_object_store_creates_a_file_once_too(memory: str) -> None:
    place = storage.join(memory, "lock")

    assert [create_bytes(place, b"1"), create_bytes(place, b"2")] == [True, False]
    assert storage.read_bytes(place) == b"1"


@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_files_can_be_written_read_listed_and_deleted(kind: str, tmp_path: Path, memory: str) -> None:
    base = str(tmp_path) if kind == "disk" else memory
    table = pl.DataFrame({"n": [1, 2]})

    storage.write_json(storage.join(base, "d", "b.json"), {"z": 1, "a": "\u00e4"})
    storage.write_bytes(storage.join(base, "d", "a"), b"x")
    rows = storage.write_table(table, storage.join(base, "d", "sub", "t.parquet"))

    assert storage.is_local(base) == (kind == "disk")
    assert storage.children(storage.join(base, "d")) == ["a", "b.json", "sub"]
    assert storage.read_json(storage.join(base, "d", "b.json")) == {"z": 1, "a": "\u00e4"}
    assert storage.read_bytes(storage.join(base, "d", "b.json")) == '{\n  "a": "\u00e4",\n  "z": 1\n}\n'.encode()
    assert rows == 2
    assert storage.read_table([storage.join(base, "d", "sub", "t.parquet")] * 2)["n"].to_list() == [1, 2, 1, 2]
    assert storage.file_sha256(storage.join(base, "d", "a")) == hashlib.sha256(b"x").hexdigest()
    storage.delete(storage.join(base, "d"))
    storage.delete(storage.join(base, "d"))
    assert not storage.exists(storage.join(base, "d"))
    assert storage.children(storage.join(base, "d")) == []


def test_some_columns_of_several_tables_are_read_in_the_order_of_their_places(tmp_path: Path) -> None:
    places = [str(tmp_path / name) for name in ("a", "b")]
    for i, place in enumerate(places):
        storage.write_table(pl.DataFrame({"n": [i], "m": ["x"]}), place)

    assert storage.read_table(places[::-1], ["n"]).to_dicts() == [{"n": 1}, {"n": 0}]


@pytest.fixture
def raw_files(tmp_path: Path) -> Path:
    raw = tmp_path / "raw"
    (raw / "deep").mkdir(parents=True)
    for name in ("b.jsonl", "a.CSV", "deep/c.parquet", "notes.txt", ".hidden.json"):
        (raw / name).write_bytes(b"1234")
    (raw / "d.jsonl.gz").write_bytes(gzip.compress(b"{}\n"))
    return raw


def names(uri: str, base: Path) -> list[str]:
    return [name for _, name, _ in list_files(uri, base)]


def test_a_file_is_listed_with_its_place_its_name_below_the_base_and_its_size(raw_files: Path) -> None:
    base = raw_files.parent

    assert list_files("raw/b.jsonl", base) == [(str(raw_files.resolve() / "b.jsonl"), "raw/b.jsonl", 4)]
    assert list_files(str(raw_files / "b.jsonl"), base) == list_files("raw/b.jsonl", base)


def test_a_folder_gives_its_data_files_at_any_depth_sorted(raw_files: Path) -> None:
    assert names("raw", raw_files.parent) == ["raw/a.CSV", "raw/b.jsonl", "raw/d.jsonl.gz", "raw/deep/c.parquet"]


def test_a_glob_gives_the_files_that_match(raw_files: Path) -> None:
    base = raw_files.parent

    assert names("raw/*.jsonl*", base) == ["raw/b.jsonl", "raw/d.jsonl.gz"]
    assert names("raw/**/*.parquet", base) == ["raw/deep/c.parquet"]


def test_a_glob_that_spells_out_the_whole_name_before_the_ending_gives_that_file_too(raw_files: Path) -> None:
    (raw_files / "b-2.jsonl").write_bytes(b"1234")

    assert names("raw/b*.jsonl", raw_files.parent) == ["raw/b-2.jsonl", "raw/b.jsonl"]
    assert names("raw/b*", raw_files.parent) == ["raw/b-2.jsonl", "raw/b.jsonl"]
    assert names("raw/dee*/*", raw_files.parent) == ["raw/deep/c.parquet"]


def test_what_lies_beside_the_data_is_left_out_and_named(raw_files: Path, caplog: pytest.LogCaptureFixture) -> None:
    base = raw_files.parent
    for name in ("README.md", "LICENSE", "dataset_infos.json", "plot.png", "e.json.xz", "part-0", ".gitattributes"):
        (raw_files / name).write_bytes(b"1234")

    beside = ["raw/LICENSE", "raw/README.md", "raw/dataset_infos.json", "raw/notes.txt"]
    with caplog.at_level("INFO"):
        assert names("raw", base) == ["raw/a.CSV", "raw/b.jsonl", "raw/d.jsonl.gz", "raw/deep/c.parquet", "raw/e.json.xz"]
    assert storage.look("raw", base).left_out == [*beside, "raw/part-0", "raw/plot.png"]
    assert "raw: 6 files are no data and left out: raw/LICENSE, raw/README.md" in caplog.text

    assert names("raw/*", base) == ["raw/a.CSV", "raw/b.jsonl", "raw/d.jsonl.gz", "raw/e.json.xz", "raw/part-0"]
    assert storage.look("raw/*", base).left_out == [*beside, "raw/plot.png"]
    assert "raw/deep/c.parquet" in names("raw/**", base)


@pytest.mark.parametrize("uri", ["raw/notes.txt", "raw/*.txt", "raw/.hidden.json"])
def test_a_file_that_is_named_is_always_listed(uri: str, raw_files: Path) -> None:
    assert len(names(uri, raw_files.parent)) == 1


def test_a_folder_without_data_says_what_was_left_out(raw_files: Path) -> None:
    (raw_files / "docs").mkdir()
    (raw_files / "docs" / "README.md").write_text("x")
    with pytest.raises(ConfigError, match=r"raw/docs: no data files there \(looked at .*; left out: raw/docs/README\.md; endings"):
        list_files("raw/docs", raw_files.parent)


def test_names_stay_the_same_when_the_project_moves_and_are_absolute_outside_it(raw_files: Path) -> None:
    base = raw_files.parent
    before = names("raw", base)

    base.rename(base.with_name("moved"))
    moved = base.with_name("moved")

    assert names("raw", moved) == before
    assert names("../raw/b.jsonl", moved / "conf") == [str(moved.resolve() / "raw" / "b.jsonl")]


@pytest.mark.parametrize("uri", ["none.jsonl", "empty", "raw/*.tsv", "memory://storage-tests/none"])
def test_a_place_without_data_files_is_a_mistake_in_the_config(uri: str, raw_files: Path) -> None:
    (raw_files.parent / "empty").mkdir()

    message = rf"^{re.escape(uri)}: no data files there \(looked at .*endings read: \.jsonl, .* also as \.gz, .* or in a \.zip\)\.$"
    with pytest.raises(ConfigError, match=message):
        list_files(uri, raw_files.parent)


def test_files_of_a_url_are_named_by_their_url(memory: str, tmp_path: Path) -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe_file("/storage-tests/in/b.jsonl.gz", b"12")
    fs.pipe_file("/storage-tests/in/a.json", b"123")
    fs.pipe_file("/storage-tests/in/readme.md", b"1")

    found = list_files(f"{memory}/in", tmp_path)

    assert [(name.rsplit("/", 1)[-1], size) for _, name, size in found] == [("a.json", 3), ("b.jsonl.gz", 2)]
    assert [place for place, _, _ in found] == [name for _, name, _ in found]
    assert [storage.read_bytes(place) for place, _, _ in found] == [b"123", b"12"]
    assert list_files(f"{memory}/in/*.json", tmp_path) == found[:1]


def test_a_folder_that_ships_with_the_package_is_found() -> None:
    assert storage.package_folder("sql").name in {"sql", "_sql"}
    assert storage.package_folder("sql").is_dir()


def test_urls_are_published_without_user_and_password() -> None:
    config = {"sources": [{"uri": "https://me:secret@host/x.jsonl"}], "workspace": "s3://bucket/x", "limit": 3}

    assert storage.without_credentials(config) == {
        "sources": [{"uri": "https://host/x.jsonl"}], "workspace": "s3://bucket/x", "limit": 3,
    }  # fmt: skip


def test_signed_urls_are_published_without_what_signs_them() -> None:
    signed = "https://b.example/x.csv?part=3&X-Amz-Credential=AK%2F1&X-Amz-Signature=abc"
    shown = "https://b.example/x.csv?part=3&X-Amz-Credential=...&X-Amz-Signature=..."

    assert storage.without_credentials([signed, "s3://bucket/part-?.jsonl"]) == [shown, "s3://bucket/part-?.jsonl"]
