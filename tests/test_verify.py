"""A version is read again and compared with what was published; every problem is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import publish, storage, verify, versions
from tests.versions import publish as publish_rows
from tests.versions import sample

TRAIN = "data/train-00000-of-00001.parquet"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("verify") / "demo"
    with pytest.MonkeyPatch.context() as patch:  # the page has tests of its own
        patch.setattr(publish, "rendered", lambda *_: {"README.md": b"card", "report.html": b"page"})
        patch.setattr(publish, "write_catalog", lambda *_: False)
        publish_rows(str(root), sample())
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> str:
    return str(shutil.copytree(made, tmp_path / "demo"))


def problems(root: str) -> list[str]:
    return verify.verify(root, "v000001").problems


def test_a_version_as_published_has_no_problem_and_every_byte_is_hashed(root: str) -> None:
    done: list[int] = []
    found = verify.verify(root, "v000001", done.append)
    manifest = versions.read_manifest(root, "v000001")
    assert (found.problems, found.notes) == ([], [])
    assert found.files == len(manifest["files"])
    assert found.rows == sum(file["rows"] for file in manifest["files"])
    assert sum(done) == found.bytes == sum(file["bytes"] for file in [*manifest["files"], *manifest["documents"]])


def altered(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: (folder / TRAIN).unlink(), f"{TRAIN}: is missing"),
        (lambda folder: altered(folder / TRAIN), f"{TRAIN}: was altered; its SHA-256 is not the published one"),
        (lambda folder: (folder / TRAIN).write_bytes(b"PAR1"), f"{TRAIN}: cannot be read as Parquet"),
        (lambda folder: (folder / "report.html").write_bytes(b"pages"), "report.html: 5 bytes; 4 were published"),
        (lambda folder: altered(folder / "README.md"), "README.md: was altered"),
        (lambda folder: (folder / "data" / "notes.txt").write_text("mine"), "data/notes.txt: a stray file; the manifest does not name it"),
    ],
)
def test_a_file_that_is_missing_altered_or_stray_is_named(root: str, harm: Callable[[Path], object], said: str) -> None:
    harm(Path(root) / "v000001")
    assert any(problem.startswith(said) for problem in problems(root)), problems(root)


def rewritten(root: str, change: Callable[[pa.Table], pa.Table], path: str = TRAIN, rows: int | None = None) -> None:
    """Replace a shard and make the manifest agree with its bytes: what only a look into the file can tell."""
    file = Path(root) / "v000001" / path
    pq.write_table(change(pq.read_table(file)), file)
    place = Path(root) / "v000001" / "manifest.json"
    manifest: dict[str, Any] = json.loads(place.read_text())
    for entry in manifest["files"]:
        if entry["path"] == path:
            entry |= {"bytes": file.stat().st_size, "sha256": storage.file_sha256(str(file))}
            entry |= {} if rows is None else {"rows": rows}
    manifest["content_sha256"] = versions.content_sha256(manifest["files"])
    storage.write_json(str(place), manifest)


def test_columns_types_and_rows_are_compared_with_schema_and_manifest(root: str) -> None:
    rewritten(root, lambda t: t.drop_columns(["p_chosen", "noise_score"]).append_column("mine", pa.array([1])))
    found = verify.verify(root, "v000001")
    assert found.problems == [f"{TRAIN}: lacks the columns p_chosen", f"{TRAIN}: has columns that no version has: mine"]
    assert found.notes == [f"{TRAIN}: was published before there were the columns noise_score; they read as null"]


def test_a_column_of_another_type_is_named(root: str) -> None:
    rewritten(root, lambda t: t.set_column(t.column_names.index("n_votes"), "n_votes", t.column("n_votes").cast(pa.int32())))
    assert problems(root) == [f"{TRAIN}: n_votes is int32; expected int64"]


def test_rows_are_counted(root: str) -> None:
    rewritten(root, lambda t: t, rows=7)
    assert problems(root) == [f"{TRAIN}: has 1 rows; the manifest says 7"]


def test_a_manifest_with_other_hashes_than_its_own_sum_is_named(root: str) -> None:
    place = Path(root) / "v000001" / "manifest.json"
    manifest = json.loads(place.read_text())
    storage.write_json(str(place), manifest | {"content_sha256": "0" * 64})
    assert problems(root) == ["manifest.json: content_sha256 is not the hash over the files it lists; the manifest was altered"]


def test_the_invariants_of_sql_are_run(root: str) -> None:
    rewritten(root, lambda t: t.set_column(t.column_names.index("p_chosen"), t.field("p_chosen"), pa.array([0.25])))
    assert [problem.split(":")[:2] for problem in problems(root)] == [["sql/checks", " probabilities_in_range"]]
