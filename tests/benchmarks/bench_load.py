"""Rows a second of `pipeline.load` against bare pyarrow reading the same columns of the same shards in batches of the same size.

The peer opens each shard with `pyarrow.parquet.ParquetFile` and goes through `iter_batches`, in the order of the files. Ours is
`load(...).arrow(...)`, unshuffled and shuffled, with page checksums verified. They take turns and the best round of each counts;
`ratio` is our rate as a share of the peer's. Data: a published version of synthetic pairs (`big_version.py`), read once before.

    python -m tests.benchmarks.bench_load [DATASET_ROOT] --pairs 100000 --rounds 5
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline.load import load
from tests.benchmarks import big_version

BATCH_ROWS = 1024
COLUMNS = {"trained": ["prompt", "chosen", "rejected"], "narrow": ["pair_id", "chosen_tokens", "p_chosen"], "all": None}


def bare(root: str, columns: list[str] | None) -> Iterator[Any]:
    for shard in sorted(Path(root).glob("v*/data/train-*.parquet")):
        with pq.ParquetFile(shard) as file:
            yield from file.iter_batches(BATCH_ROWS, columns=columns)


def rate(batches: Iterator[Any]) -> float:
    began, rows = time.perf_counter(), 0
    for batch in batches:
        rows += batch.num_rows
    return rows / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?", help="a dataset; one of --pairs is made when left out")
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = given.root or scratch
        if given.root is None:
            big_version.make(root, given.pairs)
        for name, columns in COLUMNS.items():
            rates: dict[str, list[float]] = {"bare": [], "files": [], "shuffled": []}
            for turn in range(given.rounds + 1):
                now = {"bare": rate(bare(root, columns))}
                now |= {
                    kind: rate(load(root, columns=columns, shuffle=kind == "shuffled", seed=turn).arrow(BATCH_ROWS))
                    for kind in ("files", "shuffled")
                }
                if turn:  # the first fills caches
                    for kind, one in now.items():
                        rates[kind].append(one)
            best = {kind: max(some) for kind, some in rates.items()}
            told = {f"{kind}_rows_s": round(one) for kind, one in best.items()}
            ratios = {f"ratio_{kind}": round(best[kind] / best["bare"], 2) for kind in ("files", "shuffled")}
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            rows = load(root, columns=columns).rows_per_epoch
            print(json.dumps({"benchmark": "load", "columns": name, "rows": rows, **told, **ratios, "peak_mb": peak}), flush=True)


if __name__ == "__main__":
    main()
