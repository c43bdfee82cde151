"""Exports against a bare rewrite of the same shards by pyarrow: read prompt, chosen and rejected, write them with the same codec.

    python -m tests.benchmarks.bench_export DATASET_ROOT [--shards N] [FORMAT ...]

DATASET_ROOT is one of tests/benchmarks/big_version.py. Prints one JSON line a format: seconds, pairs a second, ratio of the bare rewrite's
seconds to its own (1: as fast; at least 0.5 is the aim), the same of processor seconds, which a busy machine disturbs
less, and the process's peak memory so far. The bare rewrite runs before each format, because the machine's load changes. Formats that
read judgements (`listwise`, `list-pairs`) are compared with a rewrite of the messages that they read: the prompts of pairs, and both
responses of judgements.
"""

import argparse
import json
import resource
import shutil
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

from flows import exporting
from pipeline.export import FORMATS, Options
from pipeline.storage import ROW_GROUP_ROWS

COLUMNS = ["prompt", "chosen", "rejected"]
PLAIN = ("trl", "unpaired", "reward", "prompts", "soft", "listwise", "list-pairs", "openrlhf", "nemo-rl", "verl")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("--shards", type=int, default=0)
    parser.add_argument("formats", nargs="*")
    given = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="bench-export-"))
    root = _first_shards(Path(given.root), given.shards, scratch / "root") if given.shards else given.root
    version = next(Path(root).glob("v*"))
    shards = sorted(path for path in (version / "data").glob("*.parquet") if not path.name.startswith("other"))
    pairs = sum(pq.ParquetFile(path).metadata.num_rows for path in shards)
    for form in given.formats or [name for name in PLAIN if FORMATS[name](Options()).file == "parquet"]:
        began, worked = time.perf_counter(), time.process_time()
        listed = "judgements" in FORMATS[form](Options()).beside
        rewritten = [(path, COLUMNS[:1] if listed else COLUMNS) for path in shards]
        rewritten += [(path, ["response_a", "response_b"]) for path in sorted((version / "judgements").glob("*.parquet")) if listed]
        for path, columns in rewritten:
            table = pq.read_table(path, columns=columns)
            pq.write_table(table, scratch / "bare.parquet", compression="zstd", row_group_size=ROW_GROUP_ROWS)
        del table
        bare, bare_cpu = time.perf_counter() - began, time.process_time() - worked
        began, worked = time.perf_counter(), time.process_time()
        told = exporting.export(str(root), str(scratch / "out"), exporting.Request(form, allow_loss=True))
        took, took_cpu = time.perf_counter() - began, time.process_time() - worked
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        size = sum(path.stat().st_size for path in (scratch / "out").glob("*.parquet"))
        print(json.dumps({
            "benchmark": "export", "format": form, "pairs": pairs, "rows": sum(told.rows.values()), "MB": round(size / 1e6),
            "seconds": round(took, 1), "bare_seconds": round(bare, 1), "pairs_per_second": round(pairs / took),
            "ratio": round(bare / took, 2),
            "cpu_seconds": round(took_cpu, 1), "cpu_ratio": round(bare_cpu / took_cpu, 2), "peak_mb": round(peak),
        }), flush=True)  # fmt: skip
        shutil.rmtree(scratch / "out")
    shutil.rmtree(scratch)


def _first_shards(root: Path, count: int, into: Path) -> Path:
    """The same dataset with a few shards of each split, linked."""
    version = next(root.glob("v*"))
    manifest = json.loads((version / "manifest.json").read_text())
    kept = [file for file in manifest["files"] if not file["path"].startswith("data/") or int(file["path"].split("-")[1]) < count]
    for file in kept:
        place = into / version.name / file["path"]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to((version / file["path"]).resolve())
    (into / version.name / "manifest.json").write_text(json.dumps({**manifest, "files": kept}))
    (into / "CURRENT").write_text(f"{version.name}\n")
    return into


if __name__ == "__main__":
    main()
