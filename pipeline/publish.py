"""EDGE: writes a version: shards, card, report, manifest, CURRENT and the DuckDB catalogue, in that order.

A reader sees a whole version or none: the manifest is written after every file it lists, CURRENT after the manifest. What
a crash leaves is a folder without a manifest, which the next run removes.

Publishers of one dataset are kept apart by its lease. Should one lose it without noticing (a machine that slept), then:

- A version's name has one owner. The manifest is created, never replaced: by link(2) on local disks, by a conditional put on S3 and
  wherever else the store's client can (`storage.create_bytes`). The second one is told, and nothing of it is seen.
- CURRENT moves only if it still is what this publisher saw when it began (`pipeline.conditional`: under a lock on local disks, by a
  conditional put on S3, after a second look elsewhere).
- Before CURRENT moves, every file of the version is there with its size. A publisher that finds itself overtaken takes its manifest back.
"""

import hashlib
import importlib.metadata
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from pipeline import reporting, storage
from pipeline.card import CARD_VIEWS, render_card
from pipeline.catalog import write_catalog
from pipeline.conditional import Seen
from pipeline.errors import LeaseLostError, PrefineError
from pipeline.queries import (
    PARTS,
    PUBLISHED_PARTS,
    Tables,
    version_tables,
)
from pipeline.shards import ShardWriter
from pipeline.versions import (
    check_files,
    complete_versions,
    content_sha256,
    current_version,
    half_written,
    held_back,
    look_at_current,
    move_current,
    read_manifest,
)

__all__ = ["Published", "VersionWriter", "current_version", "finish", "next_version", "read_manifest", "write_catalog"]

log = logging.getLogger("prefine.publish")
FIRST_VERSION = "v000001"
IN_FILE = ("sources", "prompt_id", "pair_id")  # the order of pairs within a file; which file a pair is in goes by its prompt
MANIFEST_KEYS = ("inputs", "counts", "config", "packages", "models", "causal_models", "endpoints", "seeds", "timings", "rules")


def next_version(dataset_root: str) -> str:
    """The name of the version to write: one after the highest there is or was. Call it under the lease.

    Removes what a killed run left: version folders without a manifest, and half-written files beside CURRENT.
    """
    for name in half_written(dataset_root):
        storage.delete(storage.join(dataset_root, name))
    for name in storage.children(dataset_root):
        if re.fullmatch(r"(CURRENT|ROLLBACK|catalog\.duckdb)\..+", name):
            storage.delete(storage.join(dataset_root, name))
    taken = [*complete_versions(dataset_root), *filter(None, [held_back(dataset_root)])]  # a name that was seen is not given twice
    return f"v{max(int(name[1:]) for name in taken) + 1:06d}" if taken else FIRST_VERSION


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
        self._writers: dict[str, ShardWriter] = {}

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
        writers, self._writers = self._writers, {}
        for writer in writers.values():
            try:
                writer.abort()
            except OSError as error:  # a full disk: closing a writer writes its footer
                log.debug("%s: a file could not be closed (%s)", self.folder, error)

    def _writer(self, part: str) -> ShardWriter:
        if part not in self._writers:
            folder, schema = PARTS[part]
            files = max(1, -(-self._counts[part] // self._rows_per_shard))
            names = [f"{part}-{i:05d}-of-{files:05d}.parquet" for i in range(files)]
            order = IN_FILE if "sources" in schema.names else ()
            place = storage.join(self.folder, folder)
            self._writers[part] = ShardWriter(place, schema, names, self._rows_per_shard, self._counts[part], order)
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

    Raises:
        LeaseLostError: another publisher has finished this version, or moved CURRENT, meanwhile.
    """
    folder = storage.join(dataset_root, version)
    check = before_publish or (lambda: None)
    current, seen = look_at_current(dataset_root)
    same = _same_content(dataset_root, current, files)
    if same is not None:
        check()
        storage.delete(folder)
        if same != current:  # complete, but its run was killed before CURRENT moved
            move_current(dataset_root, same, seen)
        write_catalog(dataset_root, same)
        return Published(same, unchanged=same == current)
    manifest = {
        "dataset": manifest_parts.get("dataset") or dataset_root.rstrip("/").rsplit("/", 1)[-1],
        "version": version,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": files,
        "content_sha256": content_sha256(files),
        "code": code_version(),
        **{key: manifest_parts[key] for key in MANIFEST_KEYS},
    }
    tables = version_tables(folder, [str(f["path"]) for f in files], manifest["inputs"], manifest["counts"])
    documents = rendered(dataset_root, manifest, tables, current)
    for name, content in documents.items():
        storage.write_bytes(storage.join(folder, name), content)
    manifest["documents"] = [described(name, content) for name, content in documents.items()]
    check()
    _publish(dataset_root, version, manifest, seen, check)
    write_catalog(dataset_root, version)
    return Published(version, unchanged=False)


def rendered(dataset_root: str, manifest: dict[str, Any], tables: Tables, previous: str | None) -> dict[str, bytes]:
    """A version for people: README.md, the dataset card, and report.html, which compares it with a previous version if there is one."""
    facts = reporting.ask(manifest, tables, CARD_VIEWS)
    report = reporting.report(dataset_root, manifest, tables, previous, facts)
    return {"README.md": render_card(manifest, tables, facts).encode(), "report.html": report.encode()}


def described(name: str, content: bytes) -> dict[str, Any]:
    """A document as the manifest lists it."""
    return {"path": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _publish(dataset_root: str, version: str, manifest: dict[str, Any], seen: Seen, check: Callable[[], None]) -> None:
    """Claim the version's name by its manifest, then let readers see it."""
    folder = storage.join(dataset_root, version)
    place = storage.join(folder, "manifest.json")
    if not storage.create_bytes(place, storage.json_bytes(manifest)):
        raise LeaseLostError(f"{place}: another publisher has finished {version} meanwhile. Nothing of this run is published; run again.")
    try:
        check()
        check_files(folder, manifest)
        move_current(dataset_root, version, seen)
    except PrefineError:
        storage.delete(place)  # ours: nobody replaces a manifest
        raise


def _identity(files: list[dict[str, Any]]) -> set[tuple[str, int, str]]:
    return {(str(f["path"]), int(f["rows"]), str(f["sha256"])) for f in files}


def _same_content(dataset_root: str, current: str | None, files: list[dict[str, Any]]) -> str | None:
    """The version that already holds these files, and may be current: the current one, or a newer one whose run was killed at the end.

    Not a version that a person left by `prefine rollback`: its content, made again, becomes a new version. Nor one that has lost a file.
    """
    if current is not None and _holds(dataset_root, current, files):
        return current
    newest = next(reversed(complete_versions(dataset_root)), None)
    left = held_back(dataset_root)
    if newest is None or newest == current or (left is not None and int(newest[1:]) <= int(left[1:])):
        return None
    if not _holds(dataset_root, newest, files):
        return None
    folder = storage.join(dataset_root, newest)  # nobody has read it yet: that its publisher was overtaken must show now
    return newest if all(storage.file_sha256(storage.join(folder, f["path"])) == f["sha256"] for f in files) else None


def _holds(dataset_root: str, version: str, files: list[dict[str, Any]]) -> bool:
    """Whether a version is whole and consists of these files."""
    if not storage.exists(storage.join(dataset_root, version, "manifest.json")):
        return False
    manifest = read_manifest(dataset_root, version)
    if _identity(manifest["files"]) != _identity(files):
        return False
    try:
        check_files(storage.join(dataset_root, version), manifest)
    except PrefineError as error:
        log.warning("%s The same content is published again.", error)
        return False
    return True


def code_version() -> dict[str, str]:
    """The package's version, and one SHA-256 over its own source files: what a changed checkout calls itself the same is told apart."""
    home = Path(__file__).resolve().parent
    files = {
        f"{folder.name}/{file.relative_to(folder).as_posix()}": file
        for folder in (home, home.parent / "flows")
        for file in folder.rglob("*.py")
    }
    sql = storage.package_folder("sql")
    files |= {f"sql/{file.relative_to(sql).as_posix()}": file for file in sql.rglob("*.sql")}
    digest = hashlib.sha256()
    for name, file in sorted(files.items()):
        digest.update(f"{name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return {"version": importlib.metadata.version("prefine"), "sha256": digest.hexdigest()}
