"""Speed of ingest over every real file as it is stored, against bare polars reading the same files and writing them again.

Ours is what a run does before pairing: detection, records, joins, ids, buckets, scratch files, SHA-256 and the independent row
count, over all sources of `tests/real/shared.yaml`. The peer reads each of those files, the joined ones too, with polars' eager
reader and writes it again: in its own format and compression at the level that the gzip header names (9 in this data), the
same at gzip's usual level 6, unpacked, and as unpacked Arrow IPC and Parquet, which is nearest to our scratch. polars
does not pack JSON arrays; Python's gzip, which is zlib too, does that for it. Each measurement is a process of its own, the
peers take turns, and the best round counts. Prints one JSON line a number of cores; `ratio_<peer>` is our speed as a share of
that peer's. Needs `../shared/data/raw` beside the checkout.

    python -m tests.benchmarks.bench_ingest_files --rounds 3
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.benchmarks.bench_ingest import CHECKOUT, SHARED, peak_megabytes

CONFIG = CHECKOUT / "tests" / "real" / "shared.yaml"
PEERS = ["as_stored", "gzip_6", "unpacked", "ipc", "parquet"]
BEST_IN_HEADER = 2  # gzip's XFL byte where the packer was at its highest level


def ingest_work(folder: Path, threads: int) -> Callable[[], int]:
    """Our work: the flow's detection and ingest tasks with the files that each of them has."""
    from flows import curate, ingesting, inputs, joining, steps
    from pipeline.config import load_config

    config = load_config(str(CONFIG))
    files = inputs.input_files(config, str(CONFIG.parent), None)
    run = steps.Run(config, config.dataset, str(folder / "scratch"), str(folder / "store"), partitions=curate._partitions(files))

    def work() -> int:
        with ThreadPoolExecutor(threads) as pool:
            found = pool.map(lambda group: ingesting.detect_layouts(group[1], lambda _: None), curate._grouped(files))
            known = sorted((file for some in found for file in some), key=lambda file: file.index)
            done = pool.map(lambda group: ingesting.ingest_files(run, group[1], lambda _: None), curate._grouped(known))
            read, asked = zip(*done, strict=True)
        joining.account_joined([row for some in asked for row in some], limited=False)
        return sum(row["rows"] for some in read for row in some)

    return work


def peer_work(peer: str, folder: Path, threads: int) -> Callable[[], int]:
    """The peer's work."""
    from flows import inputs
    from pipeline.config import load_config

    files = inputs.input_files(load_config(str(CONFIG)), str(CONFIG.parent), None)
    places = {file.place for file in files} | {one.place for file in files for some in file.joined for one in some}

    def work() -> int:
        with ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(lambda one: copy(Path(one[1]), folder / str(one[0]), peer), enumerate(sorted(places))))

    return work


def copy(source: Path, target: Path, peer: str) -> int:
    """Read a file with polars and write it again; its rows."""
    import polars as pl

    stored = source.read_bytes()
    level = (9 if stored[8] == BEST_IN_HEADER else 6) if stored.startswith(b"\x1f\x8b") else None
    plain = stored if level is None else gzip.decompress(stored)
    array = ".json" in source.name and plain.lstrip().startswith(b"[")
    if array:
        frame = pl.read_json(plain, infer_schema_length=None)
    elif ".json" in source.name:
        frame = pl.read_ndjson(plain, infer_schema_length=None)
    else:
        separator = "\t" if b"\t" in plain.split(b"\n", 1)[0] else ","
        quote = None if separator == "\t" else '"'  # this data's tables in TSV have single quotes in their texts
        frame = pl.read_csv(plain, separator=separator, quote_char=quote, infer_schema_length=None, truncate_ragged_lines=True)
    if peer == "ipc":
        frame.write_ipc(target, compression="uncompressed")
    elif peer == "parquet":
        frame.write_parquet(target, compression="uncompressed")
    elif array:
        written = frame.write_json().encode()
        target.write_bytes(written if level is None or peer == "unpacked" else gzip.compress(written, 6 if peer == "gzip_6" else level))
    else:
        write = frame.write_ndjson if ".json" in source.name else frame.write_csv
        packed = level is not None and peer != "unpacked"
        write(
            target,
            compression="gzip" if packed else "uncompressed",
            compression_level=(6 if peer == "gzip_6" else level) if packed else None,
            check_extension=False,
        )
    return frame.height


def measure(who: str, threads: int) -> dict[str, float]:
    """Seconds (wall and processor), rows and peak memory of one run in this process."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])  # before polars counts the cores
    with tempfile.TemporaryDirectory() as folder:
        work = ingest_work(Path(folder), threads) if who == "ours" else peer_work(who, Path(folder), threads)
        wall, processor = time.perf_counter(), time.process_time()
        rows = work()
        return {
            "wall_s": time.perf_counter() - wall, "processor_s": time.process_time() - processor, "rows": rows,
            "peak_mb": peak_megabytes(),
        }  # fmt: skip


def compare(threads: int, rounds: int) -> dict[str, object]:
    """One line of the table."""
    runs: dict[str, list[dict[str, float]]] = {who: [] for who in ["ours", *PEERS]}
    for _ in range(rounds):
        for who in runs:
            command = [sys.executable, "-m", "tests.benchmarks.bench_ingest_files", "--measure", who, "--cores", str(threads)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=CHECKOUT)
            runs[who].append(json.loads(done.stdout))
    wall = {who: min(run["wall_s"] for run in some) for who, some in runs.items()}
    processor = {who: min(run["processor_s"] for run in some) for who, some in runs.items()}
    sizes = [path.stat().st_size for path in SHARED.rglob("*") if path.is_file()]
    return {
        "benchmark": "ingest_files",
        "data": f"{len(sizes)} real files as they are, {sum(sizes) / 1e6:.0f} MB",
        "rows": int(runs["ours"][0]["rows"]),
        "cores": threads,
        "ours_s": round(wall["ours"], 2),
        "ours_processor_s": round(processor["ours"], 2),
        "ours_peak_mb": round(max(run["peak_mb"] for run in runs["ours"])),
        **{f"{peer}_s": round(wall[peer], 2) for peer in PEERS},
        **{f"ratio_{peer}": round(wall[peer] / wall["ours"], 3) for peer in PEERS},
    }


def main() -> None:
    """Parse the options and print one JSON line a number of cores."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--cores", type=int, nargs="+", default=sorted({1, len(os.sched_getaffinity(0))}))
    options.add_argument("--measure", choices=["ours", *PEERS], help="one measurement, in this process")
    chosen = options.parse_args()
    if chosen.measure:
        sys.stdout.write(json.dumps(measure(chosen.measure, chosen.cores[0])))
        return
    if not SHARED.is_dir():
        sys.stderr.write(f"{SHARED} is not there: nothing to measure\n")
        return
    for cores in chosen.cores:
        sys.stdout.write(json.dumps(compare(cores, chosen.rounds)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
