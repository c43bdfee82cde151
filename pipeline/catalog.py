"""EDGE: catalog.duckdb: a version's tables and named questions as views, for DuckDB itself and whatever speaks to it."""

import logging
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from fsspec.core import url_to_fs

from pipeline import storage
from pipeline.errors import PrefineError
from pipeline.queries import PARTS, PUBLISHED_PARTS, inputs_table, part_paths, previous_paths, stages_table
from pipeline.session import shards_query, sql_files
from pipeline.versions import check_files, manifest_paths, read_manifest

log = logging.getLogger("prefine.publish")


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
                    con.execute(f"create view {name} as {shards_query(con, [str(root / version / path) for path in paths], schema)}")
                else:
                    _create_table(con, name, schema.empty_table())
            before = _whole_before(dataset_root, version)
            if before is not None and before[1]:
                home = url_to_fs(before[0])[1]
                earlier = shards_query(con, [f"{home}/{path}" for path in before[1]], PARTS["train"][1])
                con.execute(f"create view previous_pairs as {earlier}")
            else:
                _create_table(con, "previous_pairs", PARTS["train"][1].empty_table())
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


def _whole_before(dataset_root: str, version: str) -> tuple[str, list[str], list[dict[str, Any]]] | None:
    """The version before another, as `previous_paths` gives it; None where it has lost a file: a version does not fail for an older one."""
    before = previous_paths(dataset_root, version)
    try:
        if before is not None:
            check_files(before[0], {"files": before[2]})
    except PrefineError as error:
        log.warning("%s catalog.duckdb compares %s with nothing.", error, version)
        return None
    return before


def _create_table(con: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    con.register("_rows", rows)
    con.execute(f"create table {name} as select * from _rows")
    con.unregister("_rows")
