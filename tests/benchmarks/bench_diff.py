"""`pipeline.diff.compare` of two large versions, with a reason for each pair, against a bare polars join that only counts.

The earlier version is one of `tests.benchmarks.big_version`; the later one is made of it here: of a hundred pairs one is gone, one is
new, one has the other label and one another split. The peer reads the same files' id, label, split, p_chosen and weight, joins them
in memory and counts; it finds no reasons. Each runs in a process of its own. Prints one JSON line.

    python -m tests.benchmarks.big_version ROOT --pairs 1000000
    python -m tests.benchmarks.bench_diff ROOT
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from pipeline import diff, queries

_LABELS = ["pair_id", "chosen_id", "split", "p_chosen", "weight"]
_READ = [
    *_LABELS,
    "prompt_id",
    "prompt_cluster_id",
    "rejected_id",
    "votes_chosen",
    "votes_rejected",
    "votes_tie",
    "votes_admitted",
    "sources",
]


def _changed(shard: pl.DataFrame) -> pl.DataFrame:
    """The shard as the later version has it."""
    kind = pl.col("pair_id").str.slice(0, 8).str.to_integer(base=16, dtype=pl.Int64) % 100
    new = pl.when(kind == 0).then(pl.lit("new ") + pl.col("pair_id")).otherwise("pair_id")
    turned = {
        "chosen_id": pl.when(kind == 1).then("rejected_id").otherwise("chosen_id"),
        "split": pl.when(kind == 2).then(pl.lit("test")).otherwise("split"),
    }
    return shard.with_columns(pair_id=new, **turned)


def _write_later(root: str, folder: Path) -> None:
    """Write the pairs of the later version: the columns that are compared, and no texts."""
    opened = queries.open_version(root)
    manifest = queries.read_manifest(root, opened.version)
    home = Path(root, opened.version)
    paths = [path for path in queries.manifest_paths(str(home), manifest) if path.startswith("data/")]
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shard = _changed(pl.read_parquet(home / path, columns=_READ))
        away = (pl.col("split") == "test") & pl.lit(not path.startswith(("data/test-", "data/other-")))
        shard.filter(~away).write_parquet(folder / path)
        shard.filter(away).write_parquet(folder / f"data/test-from-{Path(path).name}")


def _ours(root: str, folder: Path) -> int:
    found = diff.compare(queries.open_version(root).tables, _later_tables(root, folder), limit=20)
    return sum(row["pairs"] for row in found.totals)


def _later_tables(root: str, folder: Path) -> queries.Tables:
    """All but its pairs are the earlier version's."""
    opened = queries.open_version(root)
    manifest = queries.read_manifest(root, opened.version)
    paths = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.parquet"))
    later = queries.version_tables(str(folder), paths, manifest["inputs"], manifest["counts"])
    return {**opened.tables, **{name: later[name] for name in (*queries.PUBLISHED_PARTS, "pairs")}}


def _peer(root: str, folder: Path) -> int:
    version = queries.current_version(root)
    old, new = (pl.read_parquet(sorted(place.glob("data/*.parquet")), columns=_LABELS) for place in (Path(root, str(version)), folder))
    both = old.join(new, on="pair_id", how="full", suffix="_now")
    gone, came = pl.col("pair_id_now").is_null(), pl.col("pair_id").is_null()
    other = (pl.col("chosen_id") != pl.col("chosen_id_now")).fill_null(False).cast(pl.Int64)
    moved = (pl.col("split") != pl.col("split_now")).fill_null(False).cast(pl.Int64)
    return int(both.select((gone.cast(pl.Int64) + came.cast(pl.Int64) + other + moved).sum()).item())


def _measured(run: Callable[[str, Path], int], root: str, folder: Path, sent: Any) -> None:
    began = time.perf_counter()
    found = run(root, folder)
    sent.put((found, time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def _alone(run: Callable[[str, Path], int], root: str, folder: Path) -> tuple[int, float, float]:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_measured, args=(run, root, folder, queue))
    process.start()
    told: tuple[int, float, float] = queue.get()
    process.join()
    return told


def main() -> None:
    """Time both, in turn, and print the better of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", help="a dataset of tests.benchmarks.big_version")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="prefine-bench-") as scratch:
        _write_later(options.root, Path(scratch))
        times: dict[str, list[tuple[int, float, float]]] = {"ours": [], "peer": []}
        for _ in range(options.repeats):
            for name, run in (("ours", _ours), ("peer", _peer)):
                times[name].append(_alone(run, options.root, Path(scratch)))
    (changed, ours_s, ours_mb), (peers, peer_s, peer_mb) = (min(times[name], key=lambda told: told[1]) for name in ("ours", "peer"))
    told = {"benchmark": "diff", "root": options.root, "changed": changed, "agree": changed == peers, "ours_s": round(ours_s, 2)}
    told |= {
        "polars_join_s": round(peer_s, 2),
        "ratio": round(ours_s / peer_s, 2),
        "ours_mb": round(ours_mb),
        "polars_join_mb": round(peer_mb),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
