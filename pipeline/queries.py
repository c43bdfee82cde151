"""EDGE: published versions as tables, and questions to them: the user's SQL and the files of sql/ in DuckDB."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from pipeline import storage
from pipeline.errors import NotFoundError, PrefineError, QueryError
from pipeline.schemas import ANNOTATOR, DROPPED, INPUT, JUDGEMENT, LEDGER, PAIR, QUARANTINE, RATING, RATIONALE, STATISTIC, conform
from pipeline.sealed import SealedFiles
from pipeline.session import Table as Table
from pipeline.session import Tables as Tables
from pipeline.session import locked_session
from pipeline.session import session as session
from pipeline.session import sql_files as sql_files
from pipeline.versions import VERSION_NAME as VERSION_NAME
from pipeline.versions import check_files as check_files
from pipeline.versions import current_version as current_version
from pipeline.versions import full_name, manifest_in
from pipeline.versions import manifest_paths as manifest_paths
from pipeline.versions import read_manifest as read_manifest

PARTS: dict[str, tuple[str, pa.Schema]] = {  # part -> folder in the version, schema
    "train": ("data", PAIR),
    "validation": ("data", PAIR),
    "test": ("data", PAIR),
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
SPLITS = ("train", "validation", "test")
PUBLISHED_PARTS = (*SPLITS, "other")
_STAGES: list[tuple[str, pa.DataType]] = [
    ("position", pa.int64()),
    ("stage", pa.string()),
    ("rows_in", pa.int64()),
    ("kept", pa.int64()),
    ("dropped", pa.int64()),
    ("reasons", pa.list_(pa.struct([("reason", pa.string()), ("rows", pa.int64())]))),  # most frequent first
]
STAGES = pa.schema(_STAGES)  # one row = one stage of the run
TABLES = ("pairs", *PARTS, "inputs", "stages", "previous_pairs")
VIOLATIONS_SHOWN = 20


def judgements_of(place: str) -> str:
    """The judgements folder of a version folder, or of a dataset folder's current version.

    Raises:
        NotFoundError: neither is there.
        PrefineError: a file of the version is missing or has another size.
    """
    if storage.exists(storage.join(place, "manifest.json")):
        folder = place
    else:
        current = current_version(place)
        if current is None:
            raise NotFoundError(f"{place}: neither a published version (no manifest.json) nor a dataset (no CURRENT).")
        folder = storage.join(place, current)
    check_files(folder, manifest_in(folder))
    return storage.join(folder, "judgements")


def part_paths(paths: list[str]) -> dict[str, list[str]]:
    """Relative paths by part, sorted; every part is there."""
    return {part: sorted(p for p in paths if p.startswith(f"{folder}/{part}-")) for part, (folder, _) in PARTS.items()}


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


def version_tables(
    folder: str,
    paths: list[str],
    inputs: list[dict[str, Any]] | pa.Table,
    counts: list[dict[str, Any]],
    files: list[dict[str, Any]] | None = None,
) -> Tables:
    """Every table of a version by name, as pyarrow datasets; a part without files is an empty table.

    Args:
        folder: the version's folder or URL.
        paths: of its data files, relative to it.
        inputs: INPUT rows.
        counts: the funnel.
        files: of its manifest, with their checksums: what is read is compared with them. None for what was just written.
    """
    sealed = SealedFiles(folder, files if files is not None else [{"path": path} for path in paths])

    def opened(places: list[str], schema: pa.Schema) -> Table:
        return ds.dataset(places, schema=schema, format="parquet", filesystem=sealed) if places else schema.empty_table()

    parts = part_paths(paths)
    tables: Tables = {"pairs": opened([path for part in PUBLISHED_PARTS for path in parts[part]], PAIR)}
    tables |= {part: opened(parts[part], schema) for part, (_, schema) in PARTS.items()}
    return {**tables, "inputs": inputs_table(inputs), "stages": stages_table(counts), "previous_pairs": PAIR.empty_table()}


def version_before(dataset_root: str, version: str) -> str | None:
    """The complete version before another, by number, that has a manifest which can be read; None: there is none."""
    named = [name for name in storage.children(dataset_root) if VERSION_NAME.fullmatch(name) and int(name[1:]) < int(version[1:])]
    for name in sorted(named, key=lambda one: -int(one[1:])):
        try:
            read_manifest(dataset_root, name)
        except PrefineError:  # half written, or spoilt: `prefine verify` tells
            continue
        return name
    return None


def previous_paths(dataset_root: str, version: str) -> tuple[str, list[str], list[dict[str, Any]]] | None:
    """Folder, paths of the published pairs, and files of the version before another; None: there is none."""
    name = version_before(dataset_root, version)
    if name is None:
        return None
    folder, manifest = storage.join(dataset_root, name), read_manifest(dataset_root, name)
    parts = part_paths(manifest_paths(folder, manifest))
    return folder, [path for part in PUBLISHED_PARTS for path in parts[part]], manifest["files"]


@dataclass(frozen=True)
class Question:
    """A file of sql/views: what `prefine query NAME` answers."""

    name: str
    grain: str  # what one row is
    question: str


def questions() -> list[Question]:
    """Every named question, as the head of its file tells it."""
    found = []
    for name, text in sql_files("views").items():
        head = " ".join(line.removeprefix("--").strip() for line in text.split("Reads: ")[0].splitlines())
        grain, _, question = head.strip().partition(". ")
        asked, mark, _ = question.strip().partition("?")
        found.append(Question(name, grain.removeprefix("One row = "), asked + mark))
    return found


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
            QueryError: not one statement, wrong SQL, refused by the read-only session, or over a limit of time or memory.
            PrefineError: a file of the version is missing or was altered.
        """
        with self.stream(sql) as answer:
            return answer.read_all()

    @contextmanager
    def stream(self, sql: str, batch_rows: int = 65_536) -> Iterator[pa.RecordBatchReader]:
        """Run one statement as `query` does; the answer comes in batches, as it is made.

        Raises:
            QueryError: not one statement, wrong SQL, refused by the read-only session, or over a limit of time or memory.
            PrefineError: a file of the version is missing or was altered.
        """
        text = sql.strip().rstrip(";").strip()
        text = f"from {text}" if text in (*TABLES, *sql_files("views")) else text
        with locked_session(self.tables, self.threads, self.memory_limit, self.timeout_seconds, text) as con:
            statements = len(con.extract_statements(text))
            if statements != 1:
                raise QueryError(f"Expected one SQL statement, found {statements}. Ask them one at a time.")
            yield con.sql(text).to_arrow_reader(batch_rows)


def open_version(
    dataset_root: str, version: str | None = None, threads: int = 2, memory_limit: str = "4GB", timeout_seconds: float = 300.0
) -> Catalogue:
    """Open a version (the current one when left out) for `query`.

    Args:
        dataset_root: the dataset's folder or URL.
        version: e.g. v000001.
        threads: DuckDB's threads.
        memory_limit: DuckDB's, such as 500MB; its result and the blocks being read come on top.
        timeout_seconds: a query that runs longer is stopped.

    Raises:
        NotFoundError: no such version, or none published yet.
        PrefineError: a file is missing or has another size, or the manifest names a path outside the version folder.
    """
    name = full_name(dataset_root, version)
    manifest = read_manifest(dataset_root, name)
    folder = storage.join(dataset_root, name)
    check_files(folder, manifest)
    tables = version_tables(
        folder, manifest_paths(folder, manifest), manifest.get("inputs", []), manifest.get("counts", []), manifest["files"]
    )
    before = previous_paths(dataset_root, name)
    if before is not None and before[1]:
        sealed = SealedFiles(before[0], before[2])
        tables["previous_pairs"] = ds.dataset(before[1], schema=PAIR, format="parquet", filesystem=sealed)
    return Catalogue(name, tables, threads, memory_limit, timeout_seconds)


def run_views(tables: Tables, names: list[str], threads: int = 2, memory_limit: str = "2GB") -> dict[str, list[dict[str, Any]]]:
    """The rows of several files of sql/views, by name."""
    with session(tables, threads, memory_limit, " ".join(names)) as con:
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
    checks = sql_files("checks")
    with session(version_tables(version_folder, paths, inputs, counts), threads, memory_limit, " ".join(checks.values())) as con:
        for check, text in checks.items():
            con.execute(f"create or replace temp table violations as\n{text}")
            total = con.sql("select count(*) from violations").fetchall()[0][0]
            if total:
                rows = con.sql(f"from violations limit {VIOLATIONS_SHOWN}").to_arrow_table().to_pylist()
                found.append(Violation(check, rows, int(total)))
    return found
