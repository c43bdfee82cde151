"""Every kind of file, packed in every way, gives the same rows."""

import bz2
import gzip
import io
import json
import lzma
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import storage
from pipeline.config import SourceConfig
from pipeline.errors import ConfigError, LayoutError, UnreadableFileError
from pipeline.ingest import read_records
from pipeline.ingest.files import readers
from pipeline.ingest.files.elements import members, read_elements
from tests.ingest.conftest import ingest_place

Ingest = Callable[..., Any]
ROWS = [{"prompt": f"p{i}", "chosen": f"good {i}", "rejected": f"bad {i}", "id": i} for i in range(5)]


def zstd(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)


PACK: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd}


def arrow(table: pa.Table, *, stream: bool, rows: int | None = None) -> bytes:
    sink = io.BytesIO()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)
    return sink.getvalue()


def parquet() -> bytes:
    sink = io.BytesIO()
    pl.DataFrame(ROWS).write_parquet(sink)
    return sink.getvalue()


def feather(compression: str) -> bytes:
    sink = io.BytesIO()
    pl.DataFrame(ROWS).write_ipc(sink, compression=compression)  # type: ignore[call-overload]
    return sink.getvalue()


CONTENT = {
    "a.jsonl": "\n".join(map(json.dumps, ROWS)).encode(),
    "a.json": json.dumps(ROWS).encode(),
    "wrapped.json": json.dumps({"version": 1, "rows": ROWS, "meta": {"rows": [1]}}).encode(),
    "columns.json": json.dumps({key: [row[key] for row in ROWS] for key in ROWS[0]}).encode(),
    "a.csv": pl.DataFrame(ROWS).write_csv().encode(),
    "a.tsv": pl.DataFrame(ROWS).write_csv(separator="\t").encode(),
    "a.parquet": parquet(),
    "a.arrow": arrow(pa.Table.from_pylist(ROWS), stream=False, rows=2),
    "stream.arrow": arrow(pa.Table.from_pylist(ROWS), stream=True, rows=2),
    "a.feather": feather("lz4"),
    "zstd.feather": feather("zstd"),
}


def assert_rows(place: str) -> None:
    read = ingest_place(place)
    assert read.judgements["source_row"].to_list() == [0, 1, 2, 3, 4]
    assert read.said("response_a") == [[("assistant", f"good {i}")] for i in range(5)]
    assert [str(json.loads(one)["id"]) for one in read.judgements["extra"]] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("name", CONTENT)
@pytest.mark.parametrize("packing", ["", *PACK])
def test_every_format_is_read_in_every_packing(tmp_path: Path, name: str, packing: str) -> None:
    path = tmp_path / (f"{name}.{packing}" if packing else name)
    path.write_bytes(PACK[packing](CONTENT[name]) if packing else CONTENT[name])
    assert_rows(str(path))


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.parquet"])
def test_all_members_and_frames_of_a_packed_file_are_read(tmp_path: Path, packing: str, name: str) -> None:
    content, pack = CONTENT[name], PACK[packing]
    (tmp_path / name).write_bytes(pack(content[:50]) + pack(content[50:60]) + pack(content[60:]))
    assert_rows(str(tmp_path / name))


@pytest.mark.parametrize("stream", [True, False])
def test_every_type_of_arrow_becomes_json_text(tmp_path: Path, stream: bool) -> None:
    table = pa.table(
        {
            "prompt": pa.array(["p", "p", "q"]).dictionary_encode(),
            "chosen": pa.array(["a", "b", "c"], pa.string_view()),
            "rejected": pa.array([[{"role": "assistant", "content": x, "n": {"deep": [1.5, float("nan")]}}] for x in "xyz"]),
            "large": pa.array(["l", None, ""], pa.large_string()),
            "view": pa.array([b"v", None, b"\xff"], pa.binary_view()),
            "when": pa.array([0, None, 1], pa.timestamp("us", "UTC")),
        }
    )
    (tmp_path / "a.arrow").write_bytes(arrow(table, stream=stream, rows=2))
    read = ingest_place(str(tmp_path / "a.arrow"))
    assert read.said("prompt") == [[("user", "p")], [("user", "p")], [("user", "q")]]
    assert read.said("response_a") == [[("assistant", x)] for x in "abc"]
    assert read.said("response_b") == [[("assistant", x)] for x in "xyz"]
    extras = [json.loads(one or "{}") for one in read.judgements["extra"]]
    assert [(one.get("large"), one.get("view")) for one in extras] == [("l", "v"), (None, None), ("", "\\xFF")]


def test_a_large_batch_of_arrow_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "BATCH_ROWS", 100)
    table = pa.Table.from_pylist([{"prompt": str(i), "chosen": "a", "rejected": "b"} for i in range(1000)])
    (tmp_path / "a.arrow").write_bytes(arrow(table, stream=False))
    batches = list(read_records(str(tmp_path / "a.arrow"), "x", SourceConfig(name="s", uri="x"), "overall"))
    assert [batch.rows for batch in batches] == [100] * 10


class TestWrappedRows:
    @pytest.mark.parametrize(
        "content",
        [
            json.dumps({"data": ROWS}),
            json.dumps({"data": ROWS}, indent=2),
            json.dumps({"meta": {"data": ROWS[:2]}, "n": 5, "tags": ["x"], "ü": ROWS, "none": [], "at": None}, indent=1),
            '{"data": [\n' + ",\n".join(map(json.dumps, ROWS)) + "\n]}\n",
            "\ufeff" + json.dumps({"a \\\" , {[": ROWS, "b": '"]}, {'}),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("size", [7, 1 << 20])
    def test_the_one_list_of_objects_is_the_rows(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, size: int) -> None:
        monkeypatch.setattr(readers, "BATCH_BYTES", size)
        (tmp_path / "a.json").write_text(content)
        assert_rows(str(tmp_path / "a.json"))

    def test_several_are_named_with_what_to_do(self, ingest: Ingest) -> None:
        message = r"several lists of objects: train \(5\), test \(2\); expected one, .* Write each list to a file of its own"
        with pytest.raises(UnreadableFileError, match=message):
            ingest(json.dumps({"train": ROWS, "test": ROWS[:2]}), "a.json")

    @pytest.mark.parametrize("indent", [None, 2])
    def test_one_record_with_lists_of_messages_is_a_record(self, ingest: Ingest, indent: int | None) -> None:
        said = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "a"}]
        record = {"chosen": said, "rejected": [*said[:1], {"role": "assistant", "content": "b"}, *said[:1]], "id": 1}
        assert ingest(json.dumps(record, indent=indent), "a.json").rows == 1

    def test_one_record_with_listed_votes_is_a_record(self, ingest: Ingest) -> None:
        record = {"prompt": "p", "response_a": "a", "response_b": "b", "votes": [{"worker": "w", "value": "a"}]}
        assert ingest(json.dumps(record, indent=1), "a.json").one()["annotator"] == "w"

    def test_columns_of_messages_are_columns(self, ingest: Ingest) -> None:
        said = [{"role": "assistant", "content": "a"}] * 2
        assert ingest(json.dumps({"prompt": ["p", "q"], "chosen": said, "rejected": said}), "a.json").rows == 2

    def test_bad_elements_are_quarantined_under_their_number(self, ingest: Ingest) -> None:
        read = ingest(json.dumps({"rows": [ROWS[0], 3, None, ROWS[1]], "version": 2}), "a.json")
        assert read.reasons() == [(1, "not_an_object", None), (2, "not_an_object", None)]


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.sampled_from('ab"\\,[]{}:\n é😀')),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.sampled_from('ab"\\,{'), max_size=2), inner, max_size=3),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(_json, max_size=4), st.sampled_from([None, 1]), st.booleans(), st.sampled_from([1, 3, 17, 1000]))
def test_the_elements_of_a_list_are_those_that_a_parser_finds(values: list[Any], indent: int | None, ascii_: bool, size: int) -> None:
    text = b" \n" + json.dumps(values, indent=indent, ensure_ascii=ascii_).encode() + b"\n"
    found = [json.loads(one) for part in read_elements(io.BytesIO(text), "x", size) for one in part.to_list()]
    assert found == values


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(st.text(st.sampled_from('ab"\\,{:')), _json, max_size=4), st.sampled_from([None, 1]), st.sampled_from([1, 3, 17, 1000])
)
def test_the_members_of_an_object_are_those_that_a_parser_finds(value: dict[str, Any], indent: int | None, size: int) -> None:
    text = json.dumps(value, indent=indent).encode()
    found = members(io.BytesIO(text), "x", size)
    assert [json.loads(one.key) for one in found] == list(value)
    for member, said in zip(found, value.values(), strict=True):
        assert member.opens == ("[" if isinstance(said, list) else "{" if isinstance(said, dict) else "")
        if isinstance(said, list):
            assert text[member.start : member.start + 1] == b"["
            assert not said or member.elements == len(said)


class TestZip:
    @pytest.fixture
    def archive(self, tmp_path: Path) -> Path:
        path = tmp_path / "raw" / "a.zip"
        path.parent.mkdir()
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
            for name, content in CONTENT.items():
                opened.writestr(f"in/{name}", content)
            opened.writestr("in/packed.json.xz", lzma.compress(CONTENT["a.json"]))
            opened.writestr("../out of.jsonl", CONTENT["a.jsonl"])
            for other in ("README.md", "__MACOSX/in/._a.jsonl", ".hidden.jsonl", "in/nested.zip", "/absolute.jsonl", "dataset_infos.json"):
                opened.writestr(other, b"x")
            opened.mkdir("empty")
        return path

    def test_its_members_are_its_files_under_their_names(self, archive: Path, tmp_path: Path) -> None:
        inside = sorted([*(f"in/{name}" for name in CONTENT), "in/packed.json.xz", "out of.jsonl"])
        for uri in ("raw/a.zip", "raw", "raw/*.zip", "raw/**"):
            assert [name for _, name, _ in storage.list_files(uri, tmp_path)] == [f"raw/a.zip/{name}" for name in inside]
        left_out = ["/README.md", "/absolute.jsonl", "/dataset_infos.json", "/in/nested.zip"]
        assert storage.look("raw/a.zip", tmp_path).left_out == [f"raw/a.zip{name}" for name in left_out]

    def test_its_members_are_read_counted_and_hashed_and_nothing_is_unpacked_beside(self, archive: Path, tmp_path: Path) -> None:
        for place, _, size in storage.list_files("raw", tmp_path):
            assert_rows(place)
            assert len(storage.file_sha256(place)) == 64
            assert size > 0
        assert [path.name for path in tmp_path.rglob("*")] == ["raw", "a.zip"]

    @pytest.mark.parametrize("uri", ["raw/a.zip/in/a.jsonl", "zip://in/a.jsonl::raw/a.zip", "raw/a.zip/*/a.jsonl"])
    def test_one_member_can_be_named(self, archive: Path, tmp_path: Path, uri: str) -> None:
        ((place, name, size),) = storage.list_files(uri, tmp_path)
        assert (name, size) == ("raw/a.zip/in/a.jsonl", len(CONTENT["a.jsonl"]))
        assert_rows(place)

    def test_a_member_that_is_not_there_is_a_mistake_in_the_config(self, archive: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"raw/a\.zip/in/b\.jsonl: no data files there"):
            storage.list_files("raw/a.zip/in/b.jsonl", tmp_path)

    def test_an_archive_in_an_object_store_is_read_too(self, archive: Path, tmp_path: Path) -> None:
        fsspec.filesystem("memory").pipe_file("/files-tests/a.zip", archive.read_bytes())
        files = storage.list_files("memory://files-tests", tmp_path)
        assert [name.split("files-tests/")[1] for _, name, _ in files][:2] == ["a.zip/in/a.arrow", "a.zip/in/a.csv"]
        for place, _, _ in files:
            assert_rows(place)
        storage.delete("memory://files-tests")

    def test_one_that_was_cut_off_is_unreadable_itself(self, archive: Path, tmp_path: Path) -> None:
        archive.write_bytes(archive.read_bytes()[:-100])
        ((place, name, _),) = storage.list_files("raw", tmp_path)
        assert name == "raw/a.zip"
        with pytest.raises(UnreadableFileError, match=r"a\.zip: is a zip archive that cannot be opened"):
            ingest_place(place)

    def test_a_broken_member_is_unreadable_and_the_others_are_read(self, archive: Path, tmp_path: Path) -> None:
        content = bytearray(archive.read_bytes())
        with zipfile.ZipFile(archive) as opened:
            content[opened.getinfo("in/a.json").header_offset + 60] ^= 0xFF
        archive.write_bytes(bytes(content))
        places = {name.rsplit("/", 1)[-1]: place for place, name, _ in storage.list_files("raw", tmp_path)}
        assert_rows(places["a.jsonl"])
        with pytest.raises(UnreadableFileError, match=r"in/a\.json.*: cannot be read"):
            ingest_place(places["a.json"])
        with pytest.raises(UnreadableFileError, match=r"in/a\.json.*: cannot be read"):
            storage.file_sha256(places["a.json"])

    def test_a_member_with_a_password_is_unreadable_and_says_so(self, archive: Path, tmp_path: Path) -> None:
        content = bytearray(archive.read_bytes())
        with zipfile.ZipFile(archive) as opened:
            header = opened.getinfo("in/a.jsonl").header_offset
        entry = content.index(b"PK\x01\x02")  # the first entry of the directory is the first member
        content[header + 6] |= 1
        content[entry + 8] |= 1
        archive.write_bytes(bytes(content))
        (place,) = (place for place, name, _ in storage.list_files("raw", tmp_path) if name.endswith("in/a.jsonl"))
        with pytest.raises(UnreadableFileError, match=r"in/a\.jsonl.*encrypted, password required.* Unpack the archive"):
            ingest_place(place)
        with pytest.raises(UnreadableFileError, match=r"in/a\.jsonl.*encrypted"):
            storage.file_sha256(place)


def test_files_of_a_folder_are_each_read_by_what_they_are(tmp_path: Path) -> None:
    for name, content in CONTENT.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "ab.jsonl").write_text(json.dumps({"prompt": "p", "response_a": "a", "response_b": "b", "winner": "a"}))
    files = storage.list_files(str(tmp_path), tmp_path)
    assert len(files) == len(CONTENT) + 1
    for place, name, _ in files:
        if name == "ab.jsonl":
            assert ingest_place(place).one()["outcome"] == "a"
        else:
            assert_rows(place)


def test_a_json_object_without_rows_shows_what_it_holds(ingest: Ingest) -> None:
    with pytest.raises(LayoutError, match=r"(?s)no known layout fits.*version: number"):
        ingest('{"version": 1, "features": {"a": 1}}', "a.json")


def test_a_link_to_nothing_is_a_file_that_cannot_be_read_and_a_pipe_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "good.jsonl").write_text("{}")
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nowhere.jsonl")
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert [name for _, name, _ in storage.list_files(".", tmp_path)] == ["gone.jsonl", "good.jsonl"]
    assert storage.look(".", tmp_path).left_out == ["pipe.jsonl"]
    with pytest.raises(UnreadableFileError, match=r"gone\.jsonl: cannot be read: .*No such file"):
        storage.file_sha256(str(tmp_path / "gone.jsonl"))
