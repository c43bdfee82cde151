"""Speed and memory of ingest (read, normalise, identify, write scratch) against bare polars reading and writing the same files.

Every measurement is a process of its own that may use a stated number of cores (by affinity, so every library's pool obeys);
the two take turns and the best round counts. The peer reads each file with polars' eager reader and writes it again in its own
format, or as unpacked Parquet, which is what our scratch is. Ours is the flow's ingest task: detection, records, ids, buckets,
scratch files, SHA-256 and the independent row count. Both spread files over as many threads as there are cores.

Data: real files (`../shared/data/raw` beside the checkout, else `data/raw`), repeated with a number in every text until they
have the size asked for, in two files a layout. Prints one JSON line a layout and number of cores; `ratio` is our speed as a
share of the peer's.

    python -m tests.benchmarks.bench_ingest --mb 40 --rounds 3
"""

import argparse
import contextlib
import csv
import gzip
import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
SHARED = CHECKOUT.parent / "shared" / "data" / "raw"
OWN = CHECKOUT / "data" / "raw"
FILES = 2
Row = dict[str, Any]


def plain_text(path: Path) -> str:
    """A file's text, unpacked."""
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode(errors="replace")


def json_rows(*paths: Path) -> list[Row]:
    """The rows of JSON lines and JSON arrays that have the commonest fields; the sample data holds broken ones on purpose."""
    rows: list[object] = []
    for path in paths:
        text = plain_text(path)
        for part in [text] if text.lstrip().startswith("[") else text.splitlines():
            with contextlib.suppress(ValueError):
                found = json.loads(part)
                rows += found if isinstance(found, list) else [found]
    shapes = Counter(map(shape, rows)).most_common(1)
    return [row for row in rows if isinstance(row, dict) and shape(row) == shapes[0][0]]


def shape(row: object) -> tuple[str, ...]:
    """The fields."""
    return tuple(sorted(row)) if isinstance(row, dict) else ()


def transcripts() -> list[Row]:
    """Chosen and rejected transcripts."""
    return json_rows(SHARED / "hh_rlhf/harmless-base/test.jsonl.gz") if SHARED.is_dir() else json_rows(OWN / "transcripts.jsonl")


def verdicts() -> list[Row]:
    """Two outputs and a label."""
    return json_rows(*sorted((SHARED / "llmbar").rglob("*.json*"))) if SHARED.is_dir() else json_rows(OWN / "panel.json")


def votes() -> list[Row]:
    """One vote of a named annotator a row."""
    if not SHARED.is_dir():
        rows = csv.DictReader(io.StringIO(plain_text(OWN / "votes.csv"), newline=""))
        return [row for row in rows if all(isinstance(cell, str) for cell in row.values())]
    folder = SHARED / "llmfao"
    pairs = {row["id"]: row for row in json_rows(folder / "pairs-crowd.jsonl.gz")}
    crowd = csv.DictReader(io.StringIO(plain_text(folder / "crowd-comparisons.csv.gz")))
    texts = {"prompt": "text", "response_a": "result_x", "response_b": "result_y"}
    return [
        {name: pairs[int(vote["id"])][field] for name, field in texts.items()} | {"winner": vote["winner"], "worker": vote["worker"]}
        for vote in crowd
    ]


def messages() -> list[Row]:
    """Prompts and answers as lists of messages."""
    if not SHARED.is_dir():
        import pyarrow.parquet as pq

        return pq.read_table(OWN / "messages.parquet").select(["prompt", "chosen", "rejected"]).to_pylist()
    roles = {"system": "system", "human": "user", "gpt": "assistant"}

    def said(*turns: Row) -> list[Row]:
        return [{"role": roles[turn["from"]], "content": turn["value"]} for turn in turns]

    rows = json_rows(SHARED / "llama_factory/dpo_en_demo.json.gz", SHARED / "llama_factory/dpo_zh_demo.json.gz")
    return [{"prompt": said(*row["conversations"]), "chosen": said(row["chosen"]), "rejected": said(row["rejected"])} for row in rows]


def renumbered(value: object, number: int) -> object:
    """The same value with a number at the end of every text that has words."""
    if isinstance(value, str):
        return f"{value} ({number})" if " " in value else value
    if isinstance(value, list):
        return [renumbered(one, number) for one in value]
    if isinstance(value, dict):
        return {key: renumbered(one, number) for key, one in value.items()}
    return value


def repeated(rows: list[Row], size: int, first: int) -> Iterator[Row]:
    """Rows, each round with another number, until their JSON has `size` bytes."""
    for number in itertools.count(first):
        for row in rows:
            again = renumbered(row, number)
            assert isinstance(again, dict)
            size -= len(json.dumps(again, ensure_ascii=False).encode())
            yield again
            if size <= 0:
                return


def write_lines(rows: Iterable[Row], path: Path) -> None:
    """JSON lines, packed when the name says so."""
    with gzip.open(path, "wt", compresslevel=6, encoding="utf-8") if path.suffix == ".gz" else path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_array(rows: Iterable[Row], path: Path) -> None:
    """One JSON array."""
    path.write_text(json.dumps(list(rows), ensure_ascii=False), encoding="utf-8")


def write_cells(rows: Iterable[Row], path: Path) -> None:
    """CSV."""
    listed = list(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(listed[0]))
        writer.writeheader()
        writer.writerows(listed)


def write_parquet(rows: Iterable[Row], path: Path) -> None:
    """zstd Parquet."""
    import polars as pl

    pl.DataFrame(list(rows)).write_parquet(path, compression="zstd")


DATA: dict[str, tuple[Callable[[], list[Row]], Callable[[Iterable[Row], Path], None], str]] = {
    "transcripts": (transcripts, write_lines, ".jsonl"),
    "transcripts_gzip": (transcripts, write_lines, ".jsonl.gz"),
    "verdicts": (verdicts, write_array, ".json"),
    "votes": (votes, write_cells, ".csv"),
    "messages": (messages, write_lines, ".jsonl"),
    "messages_parquet": (messages, write_parquet, ".parquet"),
}


def make_data(layout: str, megabytes: float, folder: Path) -> list[Path]:
    """The files of one layout, together about `megabytes` of JSON."""
    read, write, ending = DATA[layout]
    rows = read()
    places = [folder / f"{layout}-{i}{ending}" for i in range(FILES)]
    for i, place in enumerate(places):
        write(repeated(rows, int(megabytes * 1e6 / FILES), 1 + i * 1_000_000), place)
    return places


def copy_with_polars(source: Path, target: Path, *, as_parquet: bool) -> None:
    """Read a file and write it again."""
    import polars as pl

    name = source.name.removesuffix(".gz")
    packed = source.name.endswith(".gz")
    if name.endswith(".jsonl"):
        frame = pl.read_ndjson(source)
    elif name.endswith(".json"):
        frame = pl.read_json(source)
    elif name.endswith(".csv"):
        frame = pl.read_csv(source)
    else:
        frame = pl.read_parquet(source)
    if as_parquet:
        frame.write_parquet(target, compression="uncompressed")
    elif name.endswith(".parquet"):
        frame.write_parquet(target, compression="zstd")
    elif name.endswith(".jsonl"):
        frame.write_ndjson(target, compression="gzip" if packed else "uncompressed")
    elif name.endswith(".json"):
        frame.write_json(target)
    else:
        frame.write_csv(target)


def polars_work(places: list[Path], folder: Path, threads: int, *, as_parquet: bool) -> Callable[[], int]:
    """The peer's work."""
    import polars  # noqa: F401 - outside the time taken

    def work() -> int:
        ending = ".parquet" if as_parquet else ""
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda place: copy_with_polars(place, folder / (place.name + ending), as_parquet=as_parquet), places))
        return 0

    return work


def ingest_work(places: list[Path], folder: Path, threads: int) -> Callable[[], int]:
    """Our work: the flow's detection and ingest tasks, a file each."""
    from flows import ingesting, inputs, steps
    from pipeline.config import PipelineConfig

    config = PipelineConfig.model_validate({"dataset": "bench", "sources": [{"name": "bench", "uri": str(places[0].parent)}]})
    size = sum(place.stat().st_size for place in places)
    run = steps.Run(config, config.dataset, str(folder / "scratch"), str(folder / "store"), partitions=max(1, -(-size // (64 << 20))))
    files = [inputs.InputFile(i, config.sources[0], str(place), place.name, place.stat().st_size, None) for i, place in enumerate(places)]

    def one(file: inputs.InputFile) -> Row:
        inputs, _ = ingesting.ingest_files(run, ingesting.detect_layouts([file], lambda _: None), lambda _: None)
        return inputs[0]

    def work() -> int:
        with ThreadPoolExecutor(threads) as pool:
            read = list(pool.map(one, files))
        assert all(row["quarantined_rows"] * 10 < row["rows"] == row["rows_counted"] for row in read), read
        return sum(row["rows"] for row in read)

    return work


def measure(who: str, places: list[Path], threads: int) -> dict[str, float]:
    """Seconds (wall and processor), rows and peak memory of one run in this process."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])  # before polars counts the cores
    with tempfile.TemporaryDirectory(dir=places[0].parent) as folder:
        out = Path(folder)
        work = ingest_work(places, out, threads) if who == "ours" else polars_work(places, out, threads, as_parquet=who == "peer_parquet")
        wall, processor = time.perf_counter(), time.process_time()
        rows = work()
        found = {"wall_s": time.perf_counter() - wall, "processor_s": time.process_time() - processor, "rows": rows}
    return found | {"peak_mb": peak_megabytes()}


def peak_megabytes() -> float:
    """The most memory this process held; getrusage would count its parent's before exec."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def in_own_process(who: str, places: list[Path], threads: int) -> dict[str, float]:
    """`measure` in a fresh process."""
    command = [sys.executable, __file__, *map(str, places), "--measure", who, "--cores", str(threads)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(CHECKOUT)})
    found: dict[str, float] = json.loads(done.stdout)
    return found


def compare(layout: str, places: list[Path], threads: int, rounds: int) -> dict[str, object]:
    """One line of the table."""
    who = ["ours", "peer", "peer_parquet"]
    runs: dict[str, list[dict[str, float]]] = {one: [] for one in who}
    for _ in range(rounds):
        for one in who:
            runs[one].append(in_own_process(one, places, threads))
    best = {one: min(run["wall_s"] for run in runs[one]) for one in who}
    processor = {one: min(run["processor_s"] for run in runs[one]) for one in who}
    peak = {one: max(run["peak_mb"] for run in runs[one]) for one in who}
    megabytes = sum(place.stat().st_size for place in places) / 1e6
    return {
        "benchmark": "ingest",
        "layout": layout,
        "data": f"{'real' if SHARED.is_dir() else 'sample'} rows, repeated: {len(places)} files, {megabytes:.0f} MB",
        "rows": int(runs["ours"][0]["rows"]),
        "cores": threads,
        "mb_per_s": round(megabytes / best["ours"], 1),
        "peer": "polars, same format",
        "peer_mb_per_s": round(megabytes / best["peer"], 1),
        "ratio": round(best["peer"] / best["ours"], 3),
        "ratio_processor": round(processor["peer"] / processor["ours"], 3),
        "ratio_to_parquet": round(best["peer_parquet"] / best["ours"], 3),
        "peak_mb": round(peak["ours"]),
        "peer_peak_mb": round(peak["peer"]),
    }


def main() -> None:
    """Parse the options and print one JSON line a layout and number of cores."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--mb", type=float, default=40, help="JSON megabytes a layout")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--layouts", nargs="+", choices=list(DATA), default=list(DATA))
    options.add_argument("--cores", type=int, nargs="+", default=sorted({1, len(os.sched_getaffinity(0))}))
    options.add_argument("--measure", choices=["ours", "peer", "peer_parquet"], help="one measurement, in this process")
    options.add_argument("places", type=Path, nargs="*", help="with --measure: the files")
    chosen = options.parse_args()
    if chosen.measure:
        sys.stdout.write(json.dumps(measure(chosen.measure, chosen.places, chosen.cores[0])))
        return
    for layout in chosen.layouts:
        with tempfile.TemporaryDirectory() as folder:
            places = make_data(layout, chosen.mb, Path(folder))
            for cores in chosen.cores:
                sys.stdout.write(json.dumps(compare(layout, places, cores, chosen.rounds)) + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
