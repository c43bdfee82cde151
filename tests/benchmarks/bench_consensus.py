"""Our Dawid-Skene against crowd-kit's on the same votes, and a run of many votes from Parquet files.

    python -m tests.benchmarks.bench_consensus --votes 1000000 --annotators 1000
    python -m tests.benchmarks.bench_consensus --votes 10000000 --annotators 1000 --no-peer

Votes are simulated: five on a pair, 15 % of pairs equal, accuracies of picks from 0.5 to 1, annotators who call ties more or less
often; all classes of one prior, no order, no strengths, which is what the peer can use. Both fit from a table in memory to a class
for each pair, the peer with its defaults (at most 100 iterations, gain of the bound per vote below 1e-5), ours with those of the
product (at most 300, penalised log-likelihood per pair moves by 1e-6 or less). Ratios are of one run; ours is the best of three.
Then a process of its own goes from Parquet files, one a partition, to files of posteriors; its peak memory counts everything.
Prints JSON lines.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.consensus.dawid_skene import DawidSkene
from pipeline.consensus.em import fit, posteriors
from pipeline.consensus.patterns import merge, number_annotators, patterns_of

VOTES_A_PAIR = 5
PARTITIONS = 32
TOLERANCE, MOST_ITERATIONS = 1e-6, 300


def hex_ids(kind: str, count: int) -> pl.Series:
    """Ids as long as those of the product, ascending."""
    return pl.select(pl.format(f"{{}}{kind:0>20}", pl.int_range(count).cast(pl.String).str.zfill(12))).to_series()


def simulate(pairs: int, annotators: int, seed: int) -> tuple[pl.DataFrame, npt.NDArray[np.int8]]:
    """Votes sorted by pair, and the truth of each pair (-1, 0, 1)."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(np.array([-1, 0, 1], np.int8), pairs, p=[0.425, 0.15, 0.425])
    accuracy, ties = 0.5 + rng.beta(4, 2, annotators) / 2, rng.beta(2, 8, annotators)
    pair = np.repeat(np.arange(pairs), VOTES_A_PAIR)
    step = rng.integers(1, annotators // VOTES_A_PAIR, pairs)  # five different annotators
    who = (rng.integers(0, annotators, pairs)[:, None] + np.arange(VOTES_A_PAIR) * step[:, None]).ravel() % annotators
    better = truth[pair]
    right = rng.random(len(pair)) < accuracy[who]
    pick = np.where(better == 0, rng.choice(np.array([-1, 1], np.int8), len(pair)), np.where(right, better, -better))
    tie = rng.random(len(pair)) < ties[who] + 0.4 * (better == 0)
    votes = pl.DataFrame(
        {
            "pair_id": hex_ids("p", pairs).gather(pair),
            "annotator": hex_ids("a", annotators).gather(who),
            "vote": np.where(tie, 0, pick).astype(np.int8),
        }
    )
    return votes.with_columns(kind=pl.lit("human"), strength=pl.lit(None, pl.Float32), low_first=pl.lit(None, pl.Boolean)), truth


def labels(found: pl.DataFrame) -> npt.NDArray[np.int8]:
    return found.select("p_low", "p_tie", "p_high").to_numpy().argmax(axis=1).astype(np.int8) - 1


def brier(shares: npt.NDArray[np.float64], truth: npt.NDArray[np.int8]) -> float:
    return float(((shares - np.eye(3)[truth + 1]) ** 2).sum(axis=1).mean())


def ours(votes: pl.DataFrame) -> tuple[pl.DataFrame, int, bool, dict[str, float]]:
    marks = [time.perf_counter()]
    numbers = number_annotators([votes])
    patterns = merge([patterns_of(votes, numbers)], numbers)
    marks.append(time.perf_counter())
    fitted = fit(patterns, DawidSkene(numbers), tolerance=TOLERANCE, most_iterations=MOST_ITERATIONS)
    marks.append(time.perf_counter())
    found = posteriors(votes, numbers, fitted.log_tables, fitted.log_prior, fitted.signs)
    marks.append(time.perf_counter())
    seconds = dict(zip(("patterns", "fit", "posteriors"), np.diff(marks).round(3).tolist(), strict=True))
    return found, fitted.iterations, fitted.converged, seconds


def against_peer(votes: pl.DataFrame, truth: npt.NDArray[np.int8]) -> None:
    """Both from a table of votes in memory to a class for each pair."""
    from crowdkit.aggregation import DawidSkene as Peer

    data = votes.select(task="pair_id", worker="annotator", label="vote").to_pandas()
    runs = []
    for turn in range(3):
        start = time.perf_counter()
        found, iterations, converged, seconds = ours(votes)
        runs.append((time.perf_counter() - start, seconds))
        if turn == 1:  # between two of ours, so that a busy moment hits both
            start = time.perf_counter()
            peer = Peer()
            shares = peer.fit_predict_proba(data)
            took = time.perf_counter() - start
    best, seconds = min(runs, key=lambda run: run[0])
    shares = shares.sort_index()[[-1, 0, 1]].to_numpy()
    steps = len(peer.loss_history_)
    line = {
        "votes": votes.height,
        "pairs": len(truth),
        "annotators": votes["annotator"].n_unique(),
        "seconds": round(best, 3),
        "peer_seconds": round(took, 2),
        "times_faster": round(took / best, 1),
        "times_faster_an_iteration": round(took / steps / (seconds["fit"] / iterations), 1),
        **{f"{part}_seconds": value for part, value in seconds.items()},
        "iterations": iterations,
        "converged": converged,
        "peer_iterations": steps,
        "accuracy": round(float((labels(found) == truth).mean()), 5),
        "peer_accuracy": round(float((shares.argmax(axis=1) - 1 == truth).mean()), 5),
        "brier": round(brier(found.select("p_low", "p_tie", "p_high").to_numpy(), truth), 5),
        "peer_brier": round(brier(shares, truth), 5),
    }
    print(json.dumps(line), flush=True)


def peak_mib() -> int | None:
    """Most memory this process has held. Linux says it; `getrusage` would count the process that started this one."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii").splitlines() if status.exists() else []
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")), None)


def from_files(folder: Path) -> None:
    """Votes in `folder`/votes-*.parquet to posteriors beside them, a partition at a time."""
    before = peak_mib()
    start = time.perf_counter()
    files = sorted(folder.glob("votes-*.parquet"))
    numbers = number_annotators([pl.read_parquet(file, columns=["annotator", "kind"]).unique() for file in files])
    for file in files:
        patterns_of(pl.read_parquet(file), numbers).write_parquet(folder / file.name.replace("votes", "patterns"))
    counted = time.perf_counter()
    patterns = merge([pl.read_parquet(file) for file in sorted(folder.glob("patterns-*.parquet"))], numbers)
    merged = time.perf_counter()
    fitted = fit(patterns, DawidSkene(numbers), tolerance=TOLERANCE, most_iterations=MOST_ITERATIONS)
    learnt = time.perf_counter()
    pairs, distinct = patterns.pairs, len(patterns.counts)
    del patterns
    for file in files:
        found = posteriors(pl.read_parquet(file), numbers, fitted.log_tables, fitted.log_prior, fitted.signs)
        found.write_parquet(folder / file.name.replace("votes", "posteriors"))
    end = time.perf_counter()
    line = {
        "from_files": len(files),
        "pairs": pairs,
        "patterns": distinct,
        "seconds": round(end - start, 2),
        "count_seconds": round(counted - start, 2),
        "merge_seconds": round(merged - counted, 2),
        "fit_seconds": round(learnt - merged, 2),
        "posterior_seconds": round(end - learnt, 2),
        "iterations": fitted.iterations,
        "converged": fitted.converged,
        "peak_mib": peak_mib(),
        "imports_mib": before,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--votes", type=int, default=1_000_000)
    parser.add_argument("--annotators", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-peer", action="store_true", help="only the run from files")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # what the process of its own reads
    given = parser.parse_args()
    if given.folder:
        from_files(given.folder)
        return
    votes, truth = simulate(given.votes // VOTES_A_PAIR, given.annotators, given.seed)
    if not given.no_peer:
        against_peer(votes, truth)
    with tempfile.TemporaryDirectory() as name:
        edges = np.linspace(0, len(truth), PARTITIONS + 1).astype(int) * VOTES_A_PAIR
        for i, (first, end) in enumerate(pairwise(edges.tolist())):
            votes[first:end].write_parquet(Path(name) / f"votes-{i:03}.parquet")
        del votes
        subprocess.run([sys.executable, "-m", "tests.benchmarks.bench_consensus", "--folder", name], check=True)
        found = pl.concat([pl.read_parquet(file) for file in sorted(Path(name).glob("posteriors-*.parquet"))])
    print(json.dumps({"votes": given.votes, "accuracy": round(float((labels(found) == truth).mean()), 5)}), flush=True)


if __name__ == "__main__":
    main()
