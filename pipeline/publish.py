"""EDGE: writes a version: shards, card, report, manifest, CURRENT and the DuckDB catalogue, in that order.

A reader sees a whole version or none: the manifest is written after every file it lists, CURRENT after the manifest. What
a crash leaves is a folder without a manifest, which the next run removes.
"""

import hashlib
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
from fsspec.core import url_to_fs

from pipeline import storage
from pipeline.errors import PrefineError
from pipeline.queries import (
    PARTS,
    PUBLISHED_PARTS,
    VERSION_NAME,
    current_version,
    inputs_table,
    manifest_paths,
    part_paths,
    read_manifest,
    run_views,
    sql_files,
    stages_table,
    version_tables,
)
from pipeline.report import REPORTED_VIEWS, render_card, render_report

__all__ = ["Published", "VersionWriter", "current_version", "finish", "next_version", "read_manifest", "write_catalog"]

FIRST_VERSION = "v000001"
MANIFEST_KEYS = ("inputs", "counts", "config", "packages", "models", "causal_models", "endpoints", "seeds", "timings", "rules")


def next_version(dataset_root: str) -> str:
    """The name of the version to write: one after the highest complete one. Call it under the lease.

    Removes what a killed run left: version folders without a manifest, and half-written files beside CURRENT.
    """
    complete = []
    for name in storage.children(dataset_root):
        if VERSION_NAME.fullmatch(name):
            if storage.exists(storage.join(dataset_root, name, "manifest.json")):
                complete.append(int(name[1:]))
            else:
                storage.delete(storage.join(dataset_root, name))
        elif re.fullmatch(r"(CURRENT|catalog\.duckdb)\..+", name):
            storage.delete(storage.join(dataset_root, name))
    return f"v{max(complete) + 1:06d}" if complete else FIRST_VERSION


class VersionWriter:
    """The Parquet files of one version, written part by part, partition by partition.

    Equal rows in equal order give equal files, whatever the sizes of the tables handed in. Whatever fails on the way leaves
    a folder without a manifest, which `next_version` removes.
    """

    def __init__(self, dataset_root: str, version: str, counts: dict[str, int], rows_per_shard: int) -> None:
        """Prepare the files.

        Args:
            dataset_root: the dataset's folder or URL.
            version: from `next_version`.
            counts: rows of each part, known beforehand because file names carry the number of files.
            rows_per_shard: rows of one file, the last one excepted.
        """
        unknown = sorted(set(counts) - set(PARTS))
        if unknown:
            raise PrefineError(f"{version}: unknown parts {unknown}; expected some of {list(PARTS)}.")
        self.folder = storage.join(dataset_root, version)
        self._counts = {part: counts.get(part, 0) for part in PARTS}
        self._written = dict.fromkeys(PARTS, 0)
        self._rows_per_shard = rows_per_shard
        self._writers: dict[str, storage.RowGroupWriter] = {}

    def write(self, part: str, table: pa.Table | pl.DataFrame) -> None:
        """Append rows to a part, in the order given.

        Raises:
            SchemaError: the table is not of the part's schema.
            PrefineError: more rows than `counts` announced.
        """
        rows = table.height if isinstance(table, pl.DataFrame) else table.num_rows
        if rows == 0:
            return
        self._written[part] += rows
        if self._written[part] > self._counts[part]:
            self.abort()
            raise PrefineError(f"{self.folder}: {part} has more rows ({self._written[part]}) than were counted ({self._counts[part]}).")
        try:
            self._writer(part).write(table)
        except Exception:
            self.abort()
            raise

    def abort(self) -> None:
        """Drop the files in hand; what is left is a folder without a manifest."""
        for writer in self._writers.values():
            writer.abort()
        self._writers = {}

    def _writer(self, part: str) -> storage.RowGroupWriter:
        if part not in self._writers:
            folder, schema = PARTS[part]
            files = max(1, -(-self._counts[part] // self._rows_per_shard))
            names = [f"{part}-{i:05d}-of-{files:05d}.parquet" for i in range(files)]
            self._writers[part] = storage.RowGroupWriter(storage.join(self.folder, folder), schema, names, self._rows_per_shard)
        return self._writers[part]

    def close(self) -> list[dict[str, Any]]:
        """Finish every file; returns path (relative to the version), rows, bytes and sha256, sorted by path.

        A part of data/ without rows has no file (an empty shard would confuse trainers); any other has one, with no rows.

        Raises:
            PrefineError: fewer rows than `counts` announced.
        """
        wanted = [part for part in PARTS if part not in PUBLISHED_PARTS or self._counts[part]]
        files = [{**file, "path": f"{PARTS[part][0]}/{file['path']}"} for part in wanted for file in self._writer(part).close()]
        short = {p: (self._written[p], n) for p, n in self._counts.items() if self._written[p] != n}
        if short:
            raise PrefineError(f"{self.folder}: rows written and rows counted differ: {short}. Nothing was published.")
        return sorted(files, key=lambda file: str(file["path"]))


@dataclass(frozen=True)
class Published:
    """What `finish` did."""

    version: str
    unchanged: bool  # the content is that of the version already current; nothing was published


def finish(
    dataset_root: str,
    version: str,
    files: list[dict[str, Any]],
    manifest_parts: dict[str, Any],
    before_publish: Callable[[], None] | None = None,
) -> Published:
    """Publish the files of `VersionWriter.close`, or discard them if they say nothing new.

    Args:
        dataset_root: the dataset's folder or URL.
        version: the version that was written.
        files: path, rows, bytes and sha256 of each data file.
        manifest_parts: `inputs` (INPUT rows), `counts` (the funnel: stage, rows_in, kept, dropped, reasons), `config`,
            `packages`, `models`, `causal_models`, `endpoints`, `seeds`, `timings`, `rules`.
        before_publish: called right before the manifest is written and again before CURRENT moves, e.g. `lease.check`;
            if it raises, nothing is published.
    """
    folder = storage.join(dataset_root, version)
    check = before_publish or (lambda: None)
    same = _same_content(dataset_root, files)
    if same is not None:
        check()
        storage.delete(folder)
        unchanged = current_version(dataset_root) == same
        if not unchanged:  # complete, but its run was killed before CURRENT moved
            storage.write_bytes(storage.join(dataset_root, "CURRENT"), f"{same}\n".encode())
        write_catalog(dataset_root, same)
        return Published(same, unchanged)
    manifest = {
        "dataset": manifest_parts.get("dataset") or dataset_root.rstrip("/").rsplit("/", 1)[-1],
        "version": version,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": files,
        "content_sha256": content_sha256(files),
        **{key: manifest_parts[key] for key in MANIFEST_KEYS},
    }
    tables = version_tables(folder, [str(f["path"]) for f in files], manifest["inputs"], manifest["counts"])
    summaries = run_views(tables, list(REPORTED_VIEWS))
    storage.write_bytes(storage.join(folder, "README.md"), render_card(manifest).encode())
    storage.write_bytes(storage.join(folder, "report.html"), render_report(manifest, summaries).encode())
    check()
    storage.write_json(storage.join(folder, "manifest.json"), manifest)
    check()
    storage.write_bytes(storage.join(dataset_root, "CURRENT"), f"{version}\n".encode())
    write_catalog(dataset_root, version)
    return Published(version, unchanged=False)


def content_sha256(files: list[dict[str, Any]]) -> str:
    """One hash over the data files: their sorted paths and hashes."""
    lines = sorted(f"{file['path']} {file['sha256']}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _identity(files: list[dict[str, Any]]) -> set[tuple[str, int, str]]:
    return {(str(f["path"]), int(f["rows"]), str(f["sha256"])) for f in files}


def _same_content(dataset_root: str, files: list[dict[str, Any]]) -> str | None:
    """The current version if its files are the same; else the highest complete one if its are."""
    current = current_version(dataset_root)
    complete = [
        name
        for name in storage.children(dataset_root)
        if VERSION_NAME.fullmatch(name) and storage.exists(storage.join(dataset_root, name, "manifest.json"))
    ]
    highest = max(complete, key=lambda name: int(name[1:]), default=None)
    for name in dict.fromkeys([current, highest]):
        if name in complete and _identity(read_manifest(dataset_root, str(name))["files"]) == _identity(files):
            return name
    return None


def write_catalog(dataset_root: str, version: str) -> bool:
    """Rebuild catalog.duckdb beside CURRENT: one view a table, with absolute paths, and every file of sql/views.

    Returns:
        False on object stores, where a database file would be of no use.

    Raises:
        PrefineError: the manifest names a path outside the version folder.
    """
    if not storage.is_local(dataset_root):
        return False
    folder = storage.join(dataset_root, version)
    manifest = read_manifest(dataset_root, version)
    parts = part_paths(manifest_paths(folder, manifest))
    parts["pairs"] = [path for part in PUBLISHED_PARTS for path in parts[part]]
    root = Path(url_to_fs(dataset_root)[1])
    with tempfile.TemporaryDirectory(prefix="prefine-") as scratch:  # DuckDB cannot write where a folder's name has a `?`
        built = Path(scratch) / "catalog.duckdb"
        con = duckdb.connect(str(built))
        try:
            for name, paths in parts.items():
                schema = PARTS["train" if name == "pairs" else name][1]
                if paths:
                    places = ", ".join(_sql_path(str(root / version / path)) for path in paths)
                    con.execute(f"create view {name} as select * from read_parquet([{places}], hive_partitioning = false)")
                else:
                    _create_table(con, name, schema.empty_table())
            _create_table(con, "inputs", inputs_table(manifest["inputs"]))
            _create_table(con, "stages", stages_table(manifest["counts"]))
            for text in sql_files("macros").values():
                con.execute(text)
            for name, text in sql_files("views").items():
                con.execute(f"create view {name} as\n{text}")
        finally:
            con.close()
        storage.write_bytes(str(root / "catalog.duckdb"), built.read_bytes())  # views and two small tables
    return True


def _create_table(con: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    con.register("_rows", rows)
    con.execute(f"create table {name} as select * from _rows")
    con.unregister("_rows")


def _sql_path(path: str) -> str:
    """A path as a SQL literal that read_parquet takes as itself, not as a pattern. Views cannot have bound parameters."""
    plain = "".join(f"[{c}]" if c in "*?[" else c for c in path)
    return "'" + plain.replace("'", "''") + "'"
