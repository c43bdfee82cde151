"""The files of a version are served as they were published, or not at all, and cannot be written."""

import hashlib
import os
import shutil
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import storage
from pipeline.errors import PrefineError
from pipeline.queries import open_version
from pipeline.sealed import CACHED_BYTES, Mounts, SealedFiles
from pipeline.storage import BLOCK_BYTES

SIZE = 3 * BLOCK_BYTES + 1234
CONTENT = hashlib.shake_128(b"a shard").digest(SIZE)


def described(content: bytes, name: str = "data/x") -> dict[str, Any]:
    crcs = [zlib.crc32(content[start : start + BLOCK_BYTES]) for start in range(0, len(content), BLOCK_BYTES)]
    return {
        "path": name,
        "bytes": len(content),
        "block_crc32": "".join(f"{crc:08x}" for crc in crcs),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def stored(place: str, content: bytes) -> str:
    storage.write_bytes(storage.join(place, "data", "x"), content)
    return place


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> SealedFiles:
    return SealedFiles(stored(str(tmp_path_factory.mktemp("sealed")), CONTENT), [described(CONTENT)])


@given(start=st.integers(0, SIZE + 9), length=st.integers(0, SIZE + 9))
@settings(max_examples=60, deadline=None)
def test_any_range_is_read_as_it_is(files: SealedFiles, start: int, length: int) -> None:
    assert files.read("data/x", start, length) == CONTENT[start : start + length]


def test_an_object_store_is_read_in_ranges() -> None:
    there = SealedFiles(stored("memory://sealed/v000001", CONTENT), [described(CONTENT)])
    assert there.read("data/x", 10, 20) == CONTENT[10:30]
    assert there.read("data/x", BLOCK_BYTES - 5, 10) == CONTENT[BLOCK_BYTES - 5 : BLOCK_BYTES + 5]
    assert (there.reads, there.bytes_read) == (2, 2 * BLOCK_BYTES)  # the first block was kept


def test_threads_that_share_a_file_have_a_place_in_it_each(files: SealedFiles) -> None:
    file = files.open("prefine://data/x")

    def read(start: int) -> bool:
        for _ in range(20):
            file.seek(start)
            if file.read(1000) != CONTENT[start : start + 1000]:
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(0, SIZE - 1000, 9973)))


def test_a_file_reads_like_a_file(files: SealedFiles) -> None:
    file = files.open("data/x", "rb")
    assert (file.size, file.seek(-4, os.SEEK_END), file.read(), file.tell()) == (SIZE, SIZE - 4, CONTENT[-4:], SIZE)
    file.seek(0)
    buffer = bytearray(7)
    assert (file.readinto(buffer), bytes(buffer), file.seek(1, os.SEEK_CUR)) == (7, CONTENT[:7], 8)
    assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)


@given(at=st.integers(0, SIZE - 1), bit=st.integers(0, 7))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("known", [("block_crc32",), ("sha256",)], ids=["blocks", "whole, as in old versions"])
def test_a_read_of_an_altered_byte_is_an_error_that_names_the_file(tmp_path: Path, known: tuple[str, ...], at: int, bit: int) -> None:
    altered = bytearray(CONTENT)
    altered[at] ^= 1 << bit
    place = stored(str(tmp_path), bytes(altered))
    files = SealedFiles(place, [{key: value for key, value in described(CONTENT).items() if key in ("path", "bytes", *known)}])

    with pytest.raises(PrefineError, match=r"data/x: not the file that was published: .* Nothing of it is shown\. Restore it"):
        files.read("data/x", at, 1)

    assert files.failure is not None


def test_a_shortened_or_missing_file_is_named(tmp_path: Path) -> None:
    files = SealedFiles(stored(str(tmp_path), CONTENT[:-1]), [described(CONTENT)])
    with pytest.raises(PrefineError, match=r"data/x: not the file that was published: it ends before byte 197,842"):
        files.read("data/x", SIZE - 10, 10)
    (tmp_path / "data" / "x").unlink()
    with pytest.raises(PrefineError, match=r"data/x: cannot be read: .*No such file"):
        files.read("data/x", 0, 10)


def test_checksums_that_do_not_fit_the_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PrefineError, match=r"manifest\.json: block_crc32 of data/x does not fit its 197842 bytes"):
        SealedFiles(stored(str(tmp_path), CONTENT), [{**described(CONTENT), "block_crc32": "00000000"}])


def test_what_is_kept_of_a_large_file_is_bounded(tmp_path: Path) -> None:
    content = b"\0" * (CACHED_BYTES + 4 * BLOCK_BYTES)
    files = SealedFiles(stored(str(tmp_path), content), [described(content)])
    for start in range(0, len(content), BLOCK_BYTES):
        files.read("data/x", start, 1)
    assert files._cached <= CACHED_BYTES


@pytest.mark.parametrize("mode", ["wb", "ab", "r+b", "xb"])
def test_no_file_can_be_written(files: SealedFiles, mode: str) -> None:
    with pytest.raises(PermissionError, match="the files of a version are read-only"):
        files.open("prefine://data/x", mode)
    for attempt in (lambda: files.rm("data/x"), lambda: files.mv("data/x", "data/y"), lambda: files.pipe_file("data/x", b"")):
        with pytest.raises((NotImplementedError, PermissionError)):
            attempt()
    assert files.cat_file("data/x") == CONTENT


@pytest.mark.parametrize(
    "name", ["prefine://2/data/x", "prefine://0/manifest.json", "prefine://0/data/../data/x", "/etc/passwd", "prefine://x/data/x"]
)
def test_versions_side_by_side_have_no_other_files(files: SealedFiles, name: str) -> None:
    mounts = Mounts()
    assert mounts.urls(files, ["data/x"]) == ["prefine://0/data/x"]
    assert mounts.urls(SealedFiles(files.folder, [described(CONTENT)]), ["data/x"]) == ["prefine://1/data/x"]
    assert mounts.urls(files, ["data/x"]) == ["prefine://0/data/x"]
    assert mounts.open("prefine://1/data/x").read(5) == CONTENT[:5]
    assert mounts.ls("") == [mounts.info("0/data/x"), mounts.info("1/data/x")]
    assert not mounts.exists(name)
    with pytest.raises(FileNotFoundError):
        mounts.open(name)


def test_an_altered_page_is_named_whoever_reads_it(root: str, tmp_path: Path) -> None:
    root = str(shutil.copytree(root, tmp_path / "demo"))
    place = next((tmp_path / "demo" / "v000001" / "data").glob("train-*.parquet"))
    content = bytearray(place.read_bytes())
    for at in (40, len(content) // 2, len(content) - 100):  # a page; further on; the footer
        content[at] ^= 0x10
        place.write_bytes(content)
        catalogue = open_version(root)
        with pytest.raises(PrefineError, match=r"data/train-00000-of-00001\.parquet: not the file that was published"):
            catalogue.query("from train")
        table = catalogue.tables["train"]
        assert isinstance(table, ds.Dataset)
        with pytest.raises(PrefineError, match=r"data/train-00000-of-00001\.parquet: not the file that was published"):
            table.to_table()
        assert catalogue.query("select pair_id from validation").num_rows == 1  # other files are read all the same
        content[at] ^= 0x10
