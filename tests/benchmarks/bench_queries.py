"""Bytes read and seconds of typical questions to a version, in `prefine query`'s session, in catalog.duckdb, and by others.

    .venv/bin/python tests/benchmarks/bench_queries.py [ROOT]

ROOT is a dataset folder; without it, one of 1,000,000 synthetic pairs is made in a temporary folder (tests/benchmarks/big_version.py).
Compared, in one run, on the same files: `prefine` (a locked session, opened anew for each question, as the command does), `catalog`
(catalog.duckdb in a plain DuckDB), `read_parquet` (DuckDB over the pair files alone), `arrow` (the same question as a filter of a
pyarrow dataset). Bytes are those that the process asked the kernel for (rchar of /proc/self/io), as a share of all data files of the
version; seconds are the best of three with the files in the page cache.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.compute as pc
import pyarrow.dataset as ds

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pipeline.queries import PUBLISHED_PARTS, open_version
from tests.benchmarks import big_version

PAIRS = 1_000_000
SOURCE, ABOVE = "safety", 0.8  # the smallest source: 1 % of the pairs, a fifth of them above
REPEATS = 3


def bytes_asked() -> int:
    """Bytes that this process has read so far, from disk or page cache."""
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])


def measured(ask: Callable[[], int]) -> dict[str, Any]:
    """Rows, the bytes of the first asking, and the seconds of the quickest."""
    seconds, processor = [], []
    for repeat in range(REPEATS):
        before, started, worked = bytes_asked(), time.perf_counter(), time.process_time()
        rows = ask()
        seconds.append(time.perf_counter() - started)
        processor.append(time.process_time() - worked)
        if repeat == 0:
            read = bytes_asked() - before
    return {"rows": rows, "bytes": read, "seconds": round(min(seconds), 3), "cpu_seconds": round(min(processor), 3)}


def main() -> None:
    """Print one JSON line a question and way to ask it."""
    with tempfile.TemporaryDirectory() as scratch:
        root = sys.argv[1] if len(sys.argv) > 1 else str(Path(scratch) / "big")
        if len(sys.argv) == 1:
            big_version.make(root, PAIRS)
        bench(root)


def bench(root: str) -> None:
    """Ask every question in every way."""
    catalogue = open_version(root)
    folder = Path(root) / catalogue.version
    manifest = json.loads((folder / "manifest.json").read_text())
    total = sum(file["bytes"] for file in manifest["files"])
    data = [str(folder / f["path"]) for f in manifest["files"] if f["path"].split("/")[-1].split("-")[0] in PUBLISHED_PARTS]
    listed = ", ".join(f"'{file}'" for file in data)
    pair_id = catalogue.query("select pair_id from pairs using sample 1 rows (reservoir, 7)")["pair_id"][0].as_py()
    of_source = f"list_contains(sources, '{SOURCE}')"
    # Arrow has no expression for `list_contains`: its filter is by the signal alone.
    text = ["pair_id", "prompt", "chosen", "rejected", "sources", "noise_score"]
    questions: dict[str, tuple[str, tuple[list[str] | None, Any] | None]] = {
        "one pair, every column": (f"select * from pairs where pair_id = '{pair_id}'", (None, pc.field("pair_id") == pair_id)),
        "one prompt's pairs": (
            f"select * from pairs where prompt_id = (select prompt_id from pairs where pair_id = '{pair_id}')",
            None,
        ),
        "a source above a signal, texts": (
            f"select {', '.join(text)} from pairs where {of_source} and noise_score > {ABOVE}",
            (text, pc.field("noise_score") > ABOVE),
        ),
        "a source above a signal, every column": (f"select * from pairs where {of_source} and noise_score > {ABOVE}", None),
        "the funnel": ("select * from funnel", None),
        "the funnel from the ledger": ("select fate, stage, reason, count(*) as n from ledger group by all", None),
        "a record": ("select * from ledger where record_id = (select record_id from ledger limit 1 offset 500000)", None),
    }
    for question, (sql, arrow) in questions.items():
        ways: dict[str, Callable[[], int]] = {"prefine": lambda sql=sql: open_version(root).query(sql).num_rows}  # type: ignore[misc]
        ways["catalog"] = lambda sql=sql: in_catalog(str(Path(root) / "catalog.duckdb"), sql)  # type: ignore[misc]
        if " from pairs " in sql:
            bare = sql.replace(" from pairs ", f" from read_parquet([{listed}]) ")
            ways["read_parquet"] = lambda bare=bare: in_catalog(":memory:", bare)  # type: ignore[misc]
        if arrow is not None:
            ways["arrow"] = lambda arrow=arrow: ds.dataset(data).to_table(columns=arrow[0], filter=arrow[1]).num_rows  # type: ignore[misc]
        for way, ask in ways.items():
            found = measured(ask)
            found |= {"percent_of_version": round(100 * found["bytes"] / total, 2), "version_bytes": total}
            print(json.dumps({"benchmark": "queries", "question": question, "way": way, **found}))


def in_catalog(database: str, sql: str) -> int:
    """Ask a plain DuckDB; returns the rows."""
    con = duckdb.connect(database, read_only=database != ":memory:", config={"threads": 2})
    try:
        return int(con.sql(sql).to_arrow_table().num_rows)
    finally:
        con.close()


if __name__ == "__main__":
    main()
