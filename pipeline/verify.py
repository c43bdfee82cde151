"""EDGE: reads a whole version again and compares it with its manifest, with the schemas, and with the invariants of sql/checks."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.core import url_to_fs

from pipeline import storage
from pipeline.queries import PARTS, part_paths, run_checks
from pipeline.versions import content_sha256, manifest_paths, read_manifest, stored_files

BESIDE = ("manifest.json", "README.md", "report.html")


@dataclass
class Verified:
    """What was found in a version.

    Attributes:
        version: its name.
        files: data files that were read.
        rows: in them, by their footers.
        bytes: that were hashed.
        problems: one sentence each; none: the version is as it was published.
        notes: what is no problem, but worth knowing.
    """

    version: str
    files: int = 0
    rows: int = 0
    bytes: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def verify(dataset_root: str, version: str, done: Callable[[int], None] = lambda _bytes: None) -> Verified:
    """Read every file of a version: hashes, sizes, rows, columns and types, stray files; then run every file of sql/checks.

    Args:
        dataset_root: the dataset's folder or URL.
        version: e.g. v000001.
        done: gets the number of bytes done since its last call.

    Raises:
        NotFoundError: no such version.
        PrefineError: the manifest cannot be read, or names a path outside the version folder.
    """
    manifest = read_manifest(dataset_root, version)
    folder = storage.join(dataset_root, version)
    paths = manifest_paths(folder, manifest)
    found = Verified(version)
    there = stored_files(folder)
    documents = manifest.get("documents", [])
    known = {*paths, *BESIDE}
    found.problems += [f"{path}: a stray file; the manifest does not name it" for path in there if path not in known]
    for entry in [*manifest["files"], *documents]:
        _check_bytes(folder, entry, there, found)
        done(int(entry["bytes"]))
    for part, of_part in part_paths(paths).items():
        for path in of_part:
            if path in there:
                _check_table(folder, path, PARTS[part][1], manifest, found)
    unknown = sorted(set(paths) - {path for of_part in part_paths(paths).values() for path in of_part})
    found.problems += [f"{path}: no part of a version has such files" for path in unknown]
    if content_sha256(manifest["files"]) != manifest.get("content_sha256"):
        found.problems.append("manifest.json: content_sha256 is not the hash over the files it lists; the manifest was altered")
    if not found.problems:
        for violation in run_checks(folder, manifest.get("inputs", []), manifest.get("counts", [])):
            found.problems.append(f"sql/checks: {violation}")
    return found


def _check_bytes(folder: str, entry: dict[str, Any], there: dict[str, int], found: Verified) -> None:
    path = str(entry["path"])
    if path not in there:
        found.problems.append(f"{path}: is missing")
    elif there[path] != entry["bytes"]:
        found.problems.append(f"{path}: {there[path]:,} bytes; {entry['bytes']:,} were published")
    elif storage.file_sha256(storage.join(folder, path)) != entry["sha256"]:
        found.problems.append(f"{path}: was altered; its SHA-256 is not the published one")
    found.bytes += there.get(path, 0)


def _check_table(folder: str, path: str, schema: pa.Schema, manifest: dict[str, Any], found: Verified) -> None:
    fs, place = url_to_fs(storage.join(folder, path))
    try:
        with fs.open(place, "rb") as file:
            parquet = pq.ParquetFile(file)
            rows, stored = parquet.metadata.num_rows, parquet.schema_arrow
    except (pa.ArrowException, OSError) as error:
        found.problems.append(f"{path}: cannot be read as Parquet: {error}")
        return
    found.files, found.rows = found.files + 1, found.rows + rows
    told = next(int(entry["rows"]) for entry in manifest["files"] if entry["path"] == path)
    if rows != told:
        found.problems.append(f"{path}: has {rows:,} rows; the manifest says {told:,}")
    missing = [column.name for column in schema if column.name not in stored.names]
    surplus = [name for name in stored.names if name not in schema.names]
    if wanting := [name for name in missing if not schema.field(name).nullable]:
        found.problems.append(f"{path}: lacks the columns {', '.join(wanting)}")
    if later := [name for name in missing if schema.field(name).nullable]:
        found.notes.append(f"{path}: was published before there were the columns {', '.join(later)}; they read as null")
    if surplus:
        found.problems.append(f"{path}: has columns that no version has: {', '.join(surplus)}")
    for column in schema:
        if column.name in stored.names and stored.field(column.name).type != column.type:
            found.problems.append(f"{path}: {column.name} is {stored.field(column.name).type}; expected {column.type}")
