"""The exact self-join on a CUDA device: a million rows beside the bare bf16 product of the same shape, and ten million rows.

Vectors come from `tests.benchmarks.vectors`. The join starts with vectors in host memory and ends with hits in host memory; what it takes
to send and measure the vectors is timed by itself as well, since the bare product starts with vectors on the device and does nothing with
what it computes. Wall clock, device idle before and after, in turns; medians. One JSON line a size; without a device, one that says so.

    python -m tests.benchmarks.bench_join_cuda --rows 1000000 10000000
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from pipeline.similarity.cuda import join
from pipeline.similarity.cuda.tables import Sizes, Table
from tests.benchmarks.vectors import make_vectors

MIN_COSINE = 0.9
PRODUCT = 8192  # rows of a tile of the bare product: its diagonal tiles are whole, 1 % of a million rows
BARE_ROWS = 2_000_000  # beyond them the product is no peer but a wait


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call, all devices idle before and after."""

    def settle() -> None:
        for device in range(torch.cuda.device_count()):
            torch.cuda.synchronize(device)

    settle()
    start = time.perf_counter()
    work()
    settle()
    return time.perf_counter() - start


def bare_product(vectors: torch.Tensor) -> None:
    """The upper triangle of the product, tile by tile into the same memory."""
    out = torch.empty((PRODUCT, PRODUCT), dtype=vectors.dtype, device=vectors.device)
    for row in range(0, len(vectors), PRODUCT):
        a = vectors[row : row + PRODUCT]
        for column in range(row, len(vectors), PRODUCT):
            b = vectors[column : column + PRODUCT]
            torch.mm(a, b.T, out=out if len(a) == len(b) == PRODUCT else None)


def measure(vectors: npt.NDArray[np.float16], rounds: int) -> dict[str, object]:
    """One size: the join, and the bare product where it takes no minutes."""
    device = torch.device("cuda", 0)
    bare = torch.from_numpy(vectors).to(device, torch.bfloat16) if len(vectors) <= BARE_ROWS else None
    join(vectors[:200_000], None, MIN_COSINE, [device])  # compiles the kernels
    if bare is not None:
        bare_product(bare[: 4 * PRODUCT])
    hits: set[int] = set()
    whole, upload, product = [], [], []
    for _ in range(rounds):
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device)
        whole.append(seconds(lambda: hits.add(len(join(vectors, None, MIN_COSINE, [device]).left))))
        peak = torch.cuda.max_memory_allocated(device) - held
        upload.append(seconds(lambda: Table(vectors, "vectors", device, Sizes())))
        if bare is not None:
            product.append(seconds(lambda: bare_product(bare)))
    (count,) = hits
    result: dict[str, object] = {
        "benchmark": "join_cuda",
        "device": torch.cuda.get_device_name(device),
        "torch": torch.__version__,
        "n": len(vectors),
        "d": vectors.shape[1],
        "min_cosine": MIN_COSINE,
        "hits": count,
        "seconds": round(statistics.median(whole), 3),
        "of_which_sending": round(statistics.median(upload), 3),
        "peak_device_gb": round(peak / 1e9, 2),
    }
    if product:
        bare_seconds = statistics.median(product)
        result |= {
            "peer": "bf16 torch.mm, upper triangle, nothing else",
            "peer_seconds": round(bare_seconds, 3),
            "ratio": round(bare_seconds / statistics.median(whole), 3),
            "ratio_without_sending": round(bare_seconds / (statistics.median(whole) - statistics.median(upload)), 3),
        }
    return result


def main() -> None:
    """Parse the options and print one JSON line a size."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    if not torch.cuda.is_available():
        print(json.dumps({"benchmark": "join_cuda", "skipped": "no CUDA device"}))
        return
    vectors = make_vectors(max(chosen.rows), threads=os.cpu_count() or 1)
    for rows in chosen.rows:
        print(json.dumps(measure(vectors[:rows], chosen.rounds)), flush=True)


if __name__ == "__main__":
    main()
