"""What a run costs when little is new: nothing changed, another threshold, 1 % more rows; as shares of the full run.

Every run is a process of its own, with the bundled embedding model. `seconds` are the sums of its stages on the wall; `cpu_s` is what
the whole process and its helpers used, imports and Prefect's server included, and does not depend on what else the machine does.
The result of the last increment is compared with a run of all rows from scratch (`equal`): the same bytes.

Data: rows of a prompt of 6 to 14 and two answers of 8 to 25 random words, one vote each; `--longer 8` makes answers of 64 to 200 words.
Short texts are the hard case: the longer a text, the more of the full run is embedding.

    python -m tests.benchmarks.bench_increment --pairs 20000 [--longer 8] [--keep FOLDER] [--no-scratch]
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
SYLLABLES = [first + then for first in "bcdfglmnprst" for then in "aeiou"]
RUN = """
import dataclasses, json, resource, sys
from flows.curate import run_flow
outcome = run_flow(sys.argv[1], None, 2)
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
told = dataclasses.asdict(outcome) | {"cpu_s": sum(one.ru_utime + one.ru_stime for one in used)}
print("OUTCOME " + json.dumps(told))
"""


def write_rows(place: Path, start: int, count: int, longer: int = 1) -> None:
    """Rows number `start` to `start + count`; the same whenever it is called."""
    words = ["".join(random.Random(-n).choices(SYLLABLES, k=1 + n % 4)) for n in range(1, 8000)]
    with place.open("w", encoding="utf-8") as out:
        for number in range(start, start + count):
            draw = random.Random(number)
            said = [" ".join(draw.choices(words, k=draw.randint(*sizes))) for sizes in ((6, 14), *[(8 * longer, 25 * longer)] * 2)]
            row = dict(zip(("prompt", "response_a", "response_b"), said, strict=True))
            row |= {"winner": draw.choice(("model_a", "model_b")), "model_a": f"m{draw.randint(0, 5)}", "model_b": f"m{draw.randint(6, 9)}"}
            out.write(json.dumps(row | {"annotator": f"w{draw.randint(0, 50)}"}) + "\n")


def curate(folder: Path, threshold: float) -> dict[str, Any]:
    config = {
        "dataset": "growing",
        "workspace": "./workspace",
        "sources": [{"name": "arena", "uri": "raw/*.jsonl"}],
        "rules": {"add": [{"name": "alike", "drop_if": f"edit_distance < {threshold}"}]},
    }
    (folder / "prefine.yaml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(folder / "prefine.yaml")], cwd=CHECKOUT, stdout=subprocess.PIPE, check=True, text=True
    )
    outcome: dict[str, Any] = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("OUTCOME "))[8:])
    manifest = json.loads(Path(outcome["dataset_root"], outcome["version"], "manifest.json").read_text(encoding="utf-8"))
    return outcome | {"content": manifest["content_sha256"]}


def tell(kind: str, pairs: int, outcome: dict[str, Any], full: dict[str, Any], **more: object) -> None:
    stages = {name: seconds for name, seconds in outcome["seconds"].items() if seconds >= 0.05}
    wall, full_wall = sum(outcome["seconds"].values()), sum(full["seconds"].values())
    line = {"benchmark": "increment", "run": kind, "pairs": pairs, "seconds": round(wall, 1), "ratio": round(wall / full_wall, 4)}
    line |= {"cpu_s": round(outcome["cpu_s"], 1), "cpu_ratio": round(outcome["cpu_s"] / full["cpu_s"], 4)}
    line |= {name: outcome[name] for name in ("embedded", "compared", "asked", "version", "unchanged", "peak_mb")}
    print(json.dumps({**line, **more, "stages": stages}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--longer", type=int, default=1, help="answers of so many times the words")
    parser.add_argument("--keep", help="work here and leave everything there; a full run that is there already is not run again")
    parser.add_argument("--no-scratch", action="store_true", help="do not compare the increment with a run from scratch")
    given = parser.parse_args()
    more = max(1, given.pairs // 100)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(given.keep or scratch) / "grown"
        (folder / "raw").mkdir(parents=True, exist_ok=True)
        (folder / "raw" / "more.jsonl").unlink(missing_ok=True)
        write_rows(folder / "raw" / "first.jsonl", 0, given.pairs, given.longer)
        told = folder / "full.json"
        full = json.loads(told.read_text(encoding="utf-8")) if told.exists() else curate(folder, 0.9)
        told.write_text(json.dumps(full), encoding="utf-8")
        tell("full", given.pairs, full, full)
        tell("nothing changed", given.pairs, curate(folder, 0.9), full)
        tell("another threshold", given.pairs, curate(folder, 0.95), full)
        write_rows(folder / "raw" / "more.jsonl", given.pairs, more, given.longer)
        grown = curate(folder, 0.95)
        if given.no_scratch:
            tell("1 % more", given.pairs + more, grown, full)
        else:
            whole = Path(given.keep or scratch) / "scratch"
            (whole / "raw").mkdir(parents=True, exist_ok=True)
            for name in ("first.jsonl", "more.jsonl"):
                (whole / "raw" / name).write_bytes((folder / "raw" / name).read_bytes())
            anew = curate(whole, 0.95)
            tell("1 % more", given.pairs + more, grown, full, equal=grown["content"] == anew["content"])
            tell("from scratch", given.pairs + more, anew, full)
    print(json.dumps({"benchmark": "increment", "peak_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024}))


if __name__ == "__main__":
    main()
