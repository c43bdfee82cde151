"""EDGE: reads published versions: the user's SQL and the files of sql/ in DuckDB.

User SQL runs in a session that can read the registered tables and nothing else: no file, no network, no setting. A check
that a text "is a select" would be no protection (in DuckDB 2 a CTE may hold COPY or DELETE); the locked session is.
"""

import json
import re
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from fsspec.core import url_to_fs

from pipeline import storage
from pipeline.errors import NotFoundError, PrefineError, QueryError
from pipeline.schemas import ANNOTATOR, DROPPED, INPUT, JUDGEMENT, LEDGER, PAIR, QUARANTINE, RATING, RATIONALE, STATISTIC, conform

VERSION_NAME = re.compile(r"v\d{6,}")
PARTS: dict[str, tuple[str, pa.Schema]] = {  # part -> folder in the version, schema
    "train": ("data", PAIR),
    "validation": ("data", PAIR),
    "other": ("data", PAIR),
    "dropped": ("dropped", DROPPED),
    "judgements": ("judgements", JUDGEMENT),
    "ratings": ("ratings", RATING),
    "quarantine": ("quarantine", QUARANTINE),
    "ledger": ("ledger", LEDGER),
    "annotators": ("annotators", ANNOTATOR),
    "rationales": ("rationales", RATIONALE),
    "statistics": ("statistics", STATISTIC),
}
PUBLISHED_PARTS = ("train", "validation", "other")
_STAGES: list[tuple[str, pa.DataType]] = [
    ("position", pa.int64()),
    ("stage", pa.string()),
    ("rows_in", pa.int64()),
    ("kept", pa.int64()),
    ("dropped", pa.int64()),
    ("reasons", pa.list_(pa.struct([("reason", pa.string()), ("rows", pa.int64())]))),  # most frequent first
]
STAGES = pa.schema(_STAGES)  # one row = one stage of the run
TABLES = ("pairs", *PARTS, "inputs", "stages")
VIOLATIONS_SHOWN = 20
LOCK = (
    "set autoinstall_known_extensions = false",
    "set autoload_known_extensions = false",
    "set python_enable_replacements = false",
    "set enable_external_access = false",  # with no allowed_directories: those would let COPY overwrite
    "set lock_configuration = true",
)


def current_version(dataset_root: str) -> str | None:
    """The newest published version's name; None before the first.

    Raises:
        PrefineError: CURRENT holds something else than a version's name.
    """
    place = storage.join(dataset_root, "CURRENT")
    if not storage.exists(place):
        return None
    name = storage.read_bytes(place).decode("utf-8", "replace").strip()
    if not VERSION_NAME.fullmatch(name):
        raise PrefineError(f"{place}: expected a version such as v000001, found {name[:80]!r}. Write the newest version's name there.")
    return name


def read_manifest(dataset_root: str, version: str) -> dict[str, Any]:
    """A version's manifest.

    Raises:
        NotFoundError: no such complete version.
        PrefineError: the manifest is not readable.
    """
    place = storage.join(dataset_root, version, "manifest.json")
    if not VERSION_NAME.fullmatch(version) or not storage.exists(place):
        names = [n for n in storage.children(dataset_root) if VERSION_NAME.fullmatch(n)]
        raise NotFoundError(f"{dataset_root}: no version {version!r}; there {'are' if names else 'is'} {', '.join(names) or 'none yet'}.")
    try:
        manifest = storage.read_json(place)
    except ValueError as error:
        raise PrefineError(f"{place}: not valid JSON: {error}") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), list):
        raise PrefineError(f"{place}: expected an object with `files`; this is not a manifest written by prefine.")
    return manifest


def judgements_of(place: str) -> str:
    """The judgements folder of a version folder, or of a dataset folder's current version.

    Raises:
        NotFoundError: neither is there.
    """
    if storage.exists(storage.join(place, "manifest.json")):
        return storage.join(place, "judgements")
    current = current_version(place)
    if current is None:
        raise NotFoundError(f"{place}: neither a published version (no manifest.json) nor a dataset (no CURRENT).")
    return storage.join(place, current, "judgements")


def manifest_paths(folder: str, manifest: dict[str, Any]) -> list[str]:
    """The manifest's data files, relative to the version folder, each proven to lie inside it.

    Raises:
        PrefineError: a path that is absolute, a URL, climbs with `..`, or leaves the folder through a link.
    """
    paths = [str(entry["path"]) for entry in manifest["files"]]
    home = Path(url_to_fs(folder)[1]).resolve() if storage.is_local(folder) else None
    for path in paths:
        parts = path.split("/")
        plain = all(p not in ("", ".", "..") for p in parts) and not any(c in path for c in ("\\", ":", "\0"))
        if not plain or (home is not None and not (home / path).resolve().is_relative_to(home)):
            raise PrefineError(f"{folder}/manifest.json: the path {path!r} leaves the version folder; refusing to read it.")
    return paths


def part_paths(paths: list[str]) -> dict[str, list[str]]:
    """Relative paths by part, sorted; every part is there."""
    return {part: sorted(p for p in paths if p.startswith(f"{folder}/{part}-")) for part, (folder, _) in PARTS.items()}


def sql_files(kind: str) -> dict[str, str]:
    """The texts of sql/views, sql/checks or sql/macros by name, sorted."""
    files = sorted((storage.package_folder("sql") / kind).glob("*.sql"))
    return {file.stem: file.read_text(encoding="utf-8") for file in files}


def inputs_table(inputs: list[dict[str, Any]] | pa.Table) -> pa.Table:
    """INPUT rows as a table."""
    rows = pa.Table.from_pylist(inputs, schema=INPUT) if isinstance(inputs, list) else inputs
    return conform(rows, INPUT, "inputs")


def stages_table(counts: list[dict[str, Any]]) -> pa.Table:
    """The funnel as a table: counts are {stage, rows_in, kept, dropped, reasons: {reason: rows}} in order."""
    rows = [
        {
            "position": position,
            **{key: entry[key] for key in ("stage", "rows_in", "kept", "dropped")},
            "reasons": [{"reason": r, "rows": n} for r, n in sorted(entry["reasons"].items(), key=lambda item: (-item[1], item[0]))],
        }
        for position, entry in enumerate(counts)
    ]
    return pa.Table.from_pylist(rows, schema=STAGES)


Table = ds.Dataset | pa.Table
Tables = dict[str, Table]


def version_tables(folder: str, paths: list[str], inputs: list[dict[str, Any]] | pa.Table, counts: list[dict[str, Any]]) -> Tables:
    """Every table of a version by name, as pyarrow datasets; a part without files is an empty table."""
    fs, root = url_to_fs(folder)

    def opened(places: list[str], schema: pa.Schema) -> Table:
        full = [storage.join(str(root), path) for path in places]
        return ds.dataset(full, schema=schema, format="parquet", filesystem=fs) if full else schema.empty_table()

    parts = part_paths(paths)
    tables: Tables = {part: opened(parts[part], schema) for part, (_, schema) in PARTS.items()}
    tables["pairs"] = opened([path for part in PUBLISHED_PARTS for path in parts[part]], PAIR)
    return {**tables, "inputs": inputs_table(inputs), "stages": stages_table(counts)}


@contextmanager
def session(tables: Tables, threads: int = 2, memory_limit: str = "2GB") -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB session with the tables and the views over them. It is not locked: never for SQL of users."""
    spill = Path(tempfile.gettempdir()) / f"prefine-duckdb-{uuid.uuid4().hex}"  # made when needed, removed on close
    config = {"threads": threads, "memory_limit": memory_limit, "temp_directory": str(spill)}
    con = duckdb.connect(":memory:", config=config)  # type: ignore[arg-type, unused-ignore]
    try:
        for name, table in tables.items():
            con.register(name, table)
        for text in sql_files("macros").values():
            con.execute(text)
        for name, text in sql_files("views").items():
            con.execute(f"create view {name} as\n{text}")
        yield con
    finally:
        con.close()


@dataclass(frozen=True)
class Catalogue:
    """One version, open for questions. Every query has a locked session of its own, so none can spoil another's."""

    version: str
    tables: Tables = field(repr=False)
    threads: int = 2
    memory_limit: str = "4GB"
    timeout_seconds: float = 300.0

    def query(self, sql: str) -> pa.Table:
        """Run one statement, or a bare name of a table or view.

        Raises:
            QueryError: not one statement, wrong SQL, refused by the read-only session, or over the time limit.
        """
        text = sql.strip().rstrip(";").strip()
        known = [*TABLES, *sql_files("views")]
        if text in known:
            text = f"from {text}"
        with session(self.tables, self.threads, self.memory_limit) as con, _time_limit(con, self.timeout_seconds):
            try:
                for setting in LOCK:
                    con.execute(setting)
                statements = len(con.extract_statements(text))
                if statements != 1:
                    raise QueryError(f"Expected one SQL statement, found {statements}. Ask them one at a time.")
                answer: pa.Table = con.sql(text).to_arrow_table()
                return answer
            except duckdb.InterruptException:
                raise
            except (duckdb.Error, ValueError) as error:
                raise QueryError(_worded(error, known)) from None


@contextmanager
def _time_limit(con: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    """Interrupt what runs longer, and say so."""
    expired = threading.Event()

    def stop() -> None:
        expired.set()
        con.interrupt()

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    except duckdb.InterruptException:
        if not expired.is_set():
            raise
        raise QueryError(f"Stopped after {seconds:g} seconds. Narrow the question or raise the limit.") from None
    finally:
        timer.cancel()
        timer.join()  # a thread that still holds the session at exit makes DuckDB report leaks


def _worded(error: Exception, known: list[str]) -> str:
    message = str(error).strip()
    if isinstance(error, duckdb.CatalogException) and message.startswith("Catalog Error: Table with name"):
        return f"{message}\nTables and views: {', '.join(known)}."
    if isinstance(error, duckdb.PermissionException):
        return f"{message}\nQueries are read-only: they see the dataset's tables, no files, settings or extensions."
    return message


def open_version(
    dataset_root: str, version: str | None = None, threads: int = 2, memory_limit: str = "4GB", timeout_seconds: float = 300.0
) -> Catalogue:
    """Open a version (the current one when left out) for `query`.

    Args:
        dataset_root: the dataset's folder or URL.
        version: e.g. v000001.
        threads: DuckDB's threads.
        memory_limit: DuckDB's; the scan's read-ahead comes on top.
        timeout_seconds: a query that runs longer is stopped.

    Raises:
        NotFoundError: no such version, or none published yet.
        PrefineError: the manifest names a path outside the version folder.
    """
    name = version or current_version(dataset_root)
    if name is None:
        raise NotFoundError(f"{dataset_root}: nothing is published there yet. `prefine run CONFIG` publishes a first version.")
    manifest = read_manifest(dataset_root, name)
    folder = storage.join(dataset_root, name)
    tables = version_tables(folder, manifest_paths(folder, manifest), manifest.get("inputs", []), manifest.get("counts", []))
    return Catalogue(name, tables, threads, memory_limit, timeout_seconds)


def run_views(tables: Tables, names: list[str], threads: int = 2, memory_limit: str = "2GB") -> dict[str, list[dict[str, Any]]]:
    """The rows of several files of sql/views, by name."""
    with session(tables, threads, memory_limit) as con:
        return {name: con.sql(f"from {name}").to_arrow_table().to_pylist() for name in names}


@dataclass(frozen=True)
class Violation:
    """An invariant of sql/checks that does not hold: the first rows that break it, and how many there are."""

    check: str
    rows: list[dict[str, Any]]
    total: int

    def __str__(self) -> str:
        return f"{self.check}: {self.total} row(s) break it; first: {json.dumps(self.rows[0], default=str, ensure_ascii=False)}"


def run_checks(
    version_folder: str,
    inputs: list[dict[str, Any]] | pa.Table,
    counts: list[dict[str, Any]],
    threads: int = 2,
    memory_limit: str = "2GB",
) -> list[Violation]:
    """Run every file of sql/checks on a version folder that needs no manifest yet.

    Args:
        version_folder: the folder that VersionWriter filled.
        inputs: INPUT rows.
        counts: the funnel as the manifest will hold it.
        threads: DuckDB's threads.
        memory_limit: DuckDB's; it spills to the temporary folder beyond.

    Returns:
        One entry per broken check, in the order of their names; empty when all hold.
    """
    folders = sorted({folder for folder, _ in PARTS.values()})
    paths = [f"{f}/{name}" for f in folders for name in storage.children(storage.join(version_folder, f)) if name.endswith(".parquet")]
    found = []
    with session(version_tables(version_folder, paths, inputs, counts), threads, memory_limit) as con:
        for check, text in sql_files("checks").items():
            con.execute(f"create or replace temp table violations as\n{text}")
            total = con.sql("select count(*) from violations").fetchall()[0][0]
            if total:
                rows = con.sql(f"from violations limit {VIOLATIONS_SHOWN}").to_arrow_table().to_pylist()
                found.append(Violation(check, rows, int(total)))
    return found
