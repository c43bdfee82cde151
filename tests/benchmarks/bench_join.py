"""The exact self-join on the CPU against other ways to find every pair at or above a cosine, with the same number of threads.

Peers: faiss's range search over a flat index (every pair twice, as it has no self-join), a plain loop of bf16 products with an fp32 recheck
of the hits, the bare bf16 product of the upper triangle with nothing done to it, scikit-learn's radius neighbours (on fewer rows), and
semhash, which is approximate and lists no pairs: for it the share of the rows with a hit that it removes or
names as a witness stands beside the time. In one process, taking turns; the
best round counts. `ratio` is the peer's time over ours. Hits must be those of faiss, except where its fp32 differs within 1e-6 of the
threshold. Vectors: a .npy file, float16 (rows, dimensions), or those of `tests.benchmarks.vectors`. Prints one JSON line a peer, then
one a size of --growth, always of made vectors, each measured in a process of its own. As it is, two or three minutes on two cores.

    python -m tests.benchmarks.bench_join --vectors real.npy
    python -m tests.benchmarks.bench_join --rows 0 --growth 20000 40000 80000 160000
"""

import argparse
import functools
import importlib.metadata
import json
import platform
import subprocess
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from pipeline.similarity import Hits, cosine_rows, join, self_join
from tests.benchmarks.vectors import make_vectors

Vectors = npt.NDArray[np.float16]
BAND = 1e-6  # cosines this close to the threshold may fall on either side in fp32
SIDE = 2048
PACKAGES = ("torch", "numpy", "numba", "faiss-cpu", "scikit-learn", "semhash")


def faiss_pairs(vectors: npt.NDArray[np.float32], min_cosine: float) -> set[int]:
    """Pairs as left * rows + right."""
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    limits, _, right = index.range_search(vectors, min_cosine)
    left = np.repeat(np.arange(len(vectors)), np.diff(limits.astype(np.int64)))
    upper = left < right
    return set((left[upper] * len(vectors) + right[upper]).tolist())


def triangle(vectors: torch.Tensor, work: Callable[[torch.Tensor, int, int], None]) -> None:
    """Products of the blocks on and above the diagonal, one after the other."""
    out = torch.empty((SIDE, SIDE), dtype=vectors.dtype)
    for top in range(0, len(vectors), SIDE):
        for begin in range(top, len(vectors), SIDE):
            a, b = vectors[top : top + SIDE], vectors[begin : begin + SIDE]
            whole = len(a) == len(b) == SIDE
            work(torch.mm(a, b.T, out=out) if whole else a @ b.T, top, begin)


def bare_product(vectors: npt.NDArray[np.float32], min_cosine: float) -> None:
    triangle(torch.from_numpy(vectors).bfloat16(), lambda product, top, begin: None)


def bf16_loop(vectors: npt.NDArray[np.float32], min_cosine: float) -> set[int]:
    full, found = torch.from_numpy(vectors), set()

    def keep(product: torch.Tensor, top: int, begin: int) -> None:
        left, right = (product >= min_cosine - 0.01).nonzero(as_tuple=True)
        left, right = left + top, right + begin
        left, right = left[left < right], right[left < right]
        kept = (full[left] * full[right]).sum(dim=1) >= min_cosine
        found.update((left[kept] * len(full) + right[kept]).tolist())

    triangle(full.bfloat16(), keep)
    return found


def radius_neighbours(vectors: npt.NDArray[np.float32], min_cosine: float) -> set[int]:
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(algorithm="brute", n_jobs=torch.get_num_threads()).fit(vectors)
    lists = found.radius_neighbors(vectors, radius=float(np.sqrt(2 - 2 * min_cosine)), return_distance=False)
    return {left * len(vectors) + right for left, row in enumerate(lists) for right in row.tolist() if left < right}


def semhash_rows(vectors: npt.NDArray[np.float32], min_cosine: float) -> frozenset[int]:
    """Rows that it removes or keeps as the witness of one removed; pairs it does not list."""
    from semhash import SemHash

    names = [str(number) for number in range(len(vectors))]
    known = SemHash.from_embeddings(vectors, names, model=None)  # type: ignore[arg-type]
    removed = known.self_deduplicate(threshold=min_cosine).filtered
    return frozenset(int(name) for row in removed for name in (row.record, row.duplicate_of))


PEERS: dict[str, Callable[[npt.NDArray[np.float32], float], set[int] | frozenset[int] | None]] = {
    "faiss IndexFlatIP.range_search": faiss_pairs,
    "bf16 torch.mm loop, fp32 recheck": bf16_loop,
    "bare bf16 torch.mm, upper triangle, nothing else": bare_product,
    "scikit-learn radius_neighbors": radius_neighbours,
    "semhash self_deduplicate (approximate)": semhash_rows,
}


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def numbers(hits: Hits, rows: int) -> set[int]:
    return set((hits.left * rows + hits.right).tolist())


def differing(vectors: Vectors, ours: set[int], theirs: set[int], min_cosine: float) -> int:
    """Pairs that only one of the two has and whose cosine is clearly on one side of the threshold."""
    pairs = np.array(sorted(ours ^ theirs), dtype=np.int64)
    cosines = cosine_rows(vectors[pairs // len(vectors)], vectors[pairs % len(vectors)])
    return int((np.abs(cosines - min_cosine) > BAND).sum())


def compare(vectors: Vectors, min_cosine: float, rounds: int, few: int) -> None:
    """Every peer and ours, taking turns."""
    from pipeline.similarity import plain

    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    single = np.ascontiguousarray(vectors / lengths, dtype=np.float32)
    self_join(vectors, min_cosine, device="cpu")  # compiles, or loads what was compiled
    counts = {name: few if name.startswith("scikit") else len(vectors) for name in PEERS}
    results: dict[str, object] = {}
    ours: dict[int, list[float]] = {}
    theirs: dict[str, list[float]] = {name: [] for name in PEERS}
    without: list[float] = []
    for _ in range(rounds):
        for name, peer in PEERS.items():
            rows = counts[name]
            ours.setdefault(rows, []).append(seconds(functools.partial(self_join, vectors[:rows], min_cosine, device="cpu")))
            start = time.perf_counter()
            results[name] = peer(single[:rows], min_cosine)
            theirs[name].append(time.perf_counter() - start)
        without.append(seconds(lambda: plain.join(vectors, None, min_cosine)))
    for name, times in theirs.items():
        rows, found = counts[name], results[name]
        exact = numbers(self_join(vectors[:rows], min_cosine, device="cpu"), rows)
        line = {"n": rows, "hits": len(exact), "seconds": round(min(ours[rows]), 3), "peer": name, "peer_seconds": round(min(times), 3)}
        line["ratio"] = round(min(times) / min(ours[rows]), 2)
        if isinstance(found, frozenset):
            involved = {number // rows for number in exact} | {number % rows for number in exact}
            line["peer_recall_of_rows"] = round(len(found & involved) / max(1, len(involved)), 4)
        elif isinstance(found, set):
            line["hits_that_differ"] = differing(vectors[:rows], exact, found, min_cosine)
        report(vectors, min_cosine, line)
    line = {"n": len(vectors), "seconds": round(min(ours[len(vectors)]), 3), "peer": "ours without a compiler"}
    report(vectors, min_cosine, line | {"peer_seconds": round(min(without), 3), "ratio": round(min(without) / min(ours[len(vectors)]), 2)})


def report(vectors: Vectors, min_cosine: float, line: dict[str, object]) -> None:
    about = {
        "benchmark": "join",
        "machine": processor(),
        "threads": torch.get_num_threads(),
        "d": vectors.shape[1],
        "min_cosine": min_cosine,
    }
    print(json.dumps(about | line | {"versions": {name: importlib.metadata.version(name) for name in PACKAGES}}), flush=True)


def processor() -> str:
    known = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in known.read_text().splitlines() if line.startswith("model name")] if known.exists() else []
    )
    return f"{len(names)} x {names[0]}" if names else platform.processor()


def growth_line(vectors: Vectors, min_cosine: float, rounds: int) -> None:
    """One size, in this process alone: time, and the most memory the join took beyond what was there."""
    join._MANY_PAIRS = 0
    self_join(vectors[:4000], min_cosine, device="cpu")  # compiles
    times, hits = [], 0
    for _ in range(rounds):
        start = time.perf_counter()
        hits = len(self_join(vectors, min_cosine, device="cpu").left)
        times.append(time.perf_counter() - start)
    tracemalloc.start()
    self_join(vectors, min_cosine, device="cpu")
    extra = tracemalloc.get_traced_memory()[1] / 2**20
    line = {"n": len(vectors), "hits": hits, "seconds": round(min(times), 3), "ns_per_pair": round(min(times) / len(vectors) ** 2 * 2e9, 4)}
    report(vectors, min_cosine, line | {"extra_mb": round(extra, 1), "vectors_mb": round(vectors.nbytes / 2**20, 1)})


def main() -> None:
    """Parse the options and print JSON lines."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--vectors", type=Path, help=".npy, float16 (rows, dimensions), unit length")
    options.add_argument("--rows", type=int, default=40_000, help="beside the peers; 0 leaves them out")
    options.add_argument("--few", type=int, default=10_000, help="rows for scikit-learn")
    options.add_argument("--min-cosine", type=float, default=0.9)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--growth", type=int, nargs="*", default=[20_000, 40_000, 80_000, 160_000], help="sizes; none leaves them out")
    options.add_argument("--alone", type=int, help="one size of --growth, in this process")
    chosen = options.parse_args()
    warnings.simplefilter("ignore")
    if chosen.alone:
        growth_line(make_vectors(chosen.alone), chosen.min_cosine, chosen.rounds)
        return
    if chosen.rows:
        sys.stderr.write(f"join: {chosen.rows} rows beside {len(PEERS)} peers, {chosen.rounds} rounds\n")
        vectors = np.load(chosen.vectors)[: chosen.rows] if chosen.vectors else make_vectors(chosen.rows)
        compare(vectors, chosen.min_cosine, chosen.rounds, chosen.few)
    for rows in chosen.growth:
        sys.stderr.write(f"join: {rows} rows, time and memory\n")
        same = ["--rounds", str(chosen.rounds), "--min-cosine", str(chosen.min_cosine)]
        subprocess.run([sys.executable, "-m", "tests.benchmarks.bench_join", "--alone", str(rows), *same], check=True)


if __name__ == "__main__":
    main()
