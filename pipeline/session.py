"""EDGE: DuckDB sessions over tables: how the files of a version get in, and what a locked one can do.

User SQL runs in a session that can read its tables and nothing else: no file, no network, no setting. A check that a text "is a
select" would be no protection (in DuckDB 2 a CTE may hold COPY or DELETE); the lock is. The files of a version are read through
`pipeline.sealed`, which cannot write; the lock allows their exact names and no other. DuckDB always allows itself its temporary folder,
so that a session has one of its own, which goes with it.
"""

import re
import shutil
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow.fs import FSSpecHandler, PyFileSystem

from pipeline import storage
from pipeline.errors import QueryError
from pipeline.sealed import Mounts, SealedFiles

Table = ds.Dataset | pa.Table
Tables = dict[str, Table]
MAX_SPILL = "16GB"  # of the temporary folder: a runaway query must not fill the disk
_WORD = re.compile(r"\w+")
_FINDS_NAMES = {"show", "pragma", "information_schema", "sqlite_master", "query", "query_table"}
LOCK = (
    "set autoinstall_known_extensions = false",
    "set autoload_known_extensions = false",
    "set python_enable_replacements = false",
    "set enable_external_access = false",  # with no allowed_directories: those would let COPY write
    "set lock_configuration = true",
)


def sql_files(kind: str) -> dict[str, str]:
    """The texts of sql/views, sql/checks or sql/macros by name, sorted."""
    files = sorted((storage.package_folder("sql") / kind).glob("*.sql"))
    return {file.stem: file.read_text(encoding="utf-8") for file in files}


@contextmanager
def session(tables: Tables, threads: int = 2, memory_limit: str = "2GB", asked: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB session with the tables and the views over them. It is not locked: never for SQL of users.

    Args:
        tables: by name.
        threads: DuckDB's.
        memory_limit: DuckDB's; it spills to the temporary folder beyond.
        asked: SQL that will be run, where it is known: only the tables and views that it names are opened, which takes a few
            milliseconds instead of a few hundred.

    Raises:
        PrefineError: a file of a version is missing or was altered.
    """
    with _opened(tables, threads, memory_limit, asked) as (con, _):
        yield con


@contextmanager
def locked_session(tables: Tables, threads: int, memory_limit: str, seconds: float, asked: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A session for SQL of users: read-only, without files, network or settings, and stopped when its time is over.

    Args:
        tables: by name.
        threads: DuckDB's.
        memory_limit: DuckDB's, such as 500MB; it spills to the temporary folder beyond.
        seconds: the time limit.
        asked: the SQL that will be run.

    Raises:
        QueryError: wrong SQL, a refused statement, or out of time, memory or temporary disk space.
        PrefineError: a file of the version is missing or was altered.
    """
    with _opened(tables, threads, memory_limit, asked) as (con, mounts), _time_limit(con, seconds) as expired:
        for setting in LOCK:
            con.execute(setting)
        try:
            yield con
        except (duckdb.Error, ValueError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of what the caller does with the answer; what goes wrong inside a stream of Arrow batches has no number
            if expired.is_set():
                told = f"Stopped after {seconds:g} seconds. Narrow the question, or give it more time (--timeout)."
                raise QueryError(told) from None
            if isinstance(error, duckdb.InterruptException):
                raise
            raise mounts.failure() or QueryError(_worded(error, mounts, list(tables), memory_limit)) from None


@contextmanager
def _opened(tables: Tables, threads: int, memory_limit: str, asked: str | None) -> Iterator[tuple[duckdb.DuckDBPyConnection, Mounts]]:
    spill = Path(tempfile.gettempdir()) / f"prefine-duckdb-{uuid.uuid4().hex}"  # made when needed, removed on close
    config = {"threads": threads, "memory_limit": memory_limit, "temp_directory": str(spill), "max_temp_directory_size": MAX_SPILL}
    try:
        con = duckdb.connect(":memory:", config=config)  # type: ignore[arg-type, unused-ignore]
    except duckdb.Error as error:
        raise QueryError(f"memory limit {memory_limit!r}: expected a size such as 500MB or 4GB. {error}") from None
    mounts = Mounts()
    views = sql_files("views")
    wanted = _named(asked, {**dict.fromkeys(tables, ""), **views})
    try:
        con.execute("set enable_progress_bar = false")  # it would be drawn into what a command prints
        con.execute("set parquet_metadata_cache = true")  # a footer is asked for by every view over its file
        con.register_filesystem(mounts)
        allowed: list[str] = []
        for name, table in tables.items():
            if name not in wanted:
                continue
            files = sealed_of(table)
            if files is None:
                con.register(name, table)
            else:
                assert isinstance(table, ds.FileSystemDataset)
                urls = mounts.urls(files, table.files)
                allowed += urls
                con.execute(f"create view {name} as {shards_query(con, urls, table.schema)}")
        con.execute(f"set allowed_paths = [{', '.join(literal(url) for url in allowed)}]")  # what the lock leaves open
        for text in sql_files("macros").values():
            con.execute(text)
        for name, text in views.items():
            if name in wanted:
                con.execute(f"create view {name} as\n{text}")
        yield con, mounts
    except duckdb.Error as error:
        raise mounts.failure() or error from None
    finally:
        con.close()
        shutil.rmtree(spill, ignore_errors=True)  # DuckDB removes what it spilled; its lock cannot keep a COPY out of this folder


def _named(asked: str | None, known: dict[str, str]) -> set[str]:
    """The tables and views that a text names, with those that these name themselves; all where it may find names in another way.

    A word of the text is enough, so that too many are found rather than too few.

    Args:
        asked: SQL; None: any.
        known: name -> SQL of a view; "" for a table.
    """
    words = set(_WORD.findall((asked or "show").lower()))
    if words & _FINDS_NAMES or any(word.startswith(("duckdb_", "pg_")) for word in words):
        return set(known)
    found: set[str] = set()
    while more := (words & known.keys()) - found:
        found |= more
        words = {word for name in more for word in _WORD.findall(known[name].lower())}
    return found


def sealed_of(table: Table) -> SealedFiles | None:
    """The files of a version behind a dataset; None for any other table."""
    system = table.filesystem if isinstance(table, ds.FileSystemDataset) else None
    handler = system.handler if isinstance(system, PyFileSystem) else None
    files = handler.fs if isinstance(handler, FSSpecHandler) else None
    return files if isinstance(files, SealedFiles) else None


def shards_query(con: duckdb.DuckDBPyConnection, urls: list[str], schema: pa.Schema) -> str:
    """A select over the Parquet files of one part, with the schema's columns: null where an old version has none.

    Args:
        con: where the files can be read.
        urls: at least one; all files of a version have the same columns, so the first is asked.
        schema: the part's.
    """
    places = [literal("".join(f"[{c}]" if c in "*?[" else c for c in url)) for url in urls]  # as itself, not as a pattern
    there = con.sql(f"from read_parquet({places[0]}, hive_partitioning = false)")
    wanted = con.from_arrow(schema.empty_table())
    stored = dict(zip(there.columns, map(str, there.types), strict=True))
    declared = dict(zip(wanted.columns, map(str, wanted.types), strict=True))
    columns = [(f'"{name}"' if name in stored else "null") + f'::{kind} as "{name}"' for name, kind in declared.items()]
    shown = "*" if list(stored.items()) == list(declared.items()) else ", ".join(columns)
    return f"select {shown} from read_parquet([{', '.join(places)}], hive_partitioning = false)"


def literal(text: str) -> str:
    """A SQL string. Views and settings cannot have bound parameters; nothing else is put into SQL."""
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def _time_limit(con: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[threading.Event]:
    """Interrupt what runs longer; the event says that it was."""
    expired = threading.Event()

    def stop() -> None:
        expired.set()
        con.interrupt()

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()
        timer.join()  # a thread that still holds the session at exit makes DuckDB report leaks


def _worded(error: Exception, mounts: Mounts, tables: list[str], memory_limit: str) -> str:
    message = str(error).strip()
    if mounts.refused or isinstance(error, duckdb.PermissionException):
        told = f"{mounts.refused[0]}: cannot be written." if mounts.refused else message
        return f"{told}\nQueries are read-only: they see the dataset's tables, no files, settings or extensions."
    if isinstance(error, duckdb.CatalogException) and message.startswith("Catalog Error: Table with name"):
        return f"{message}\nTables and views: {', '.join([*tables, *sql_files('views')])}."
    if message.startswith("Out of Memory Error"):
        first = message.splitlines()[0]
        return (
            f"The question needs more than {memory_limit} of memory, or {MAX_SPILL} of disk. Narrow it, or give it more (--memory). {first}"
        )
    return message
