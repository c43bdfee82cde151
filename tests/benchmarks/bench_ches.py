"""CHES of real pairs: the package's pass against a plain script, one sequence at a time, two passes a pair, all logits computed.

The weights are random, of the shapes of known models: speed does not depend on what they say. One process, one model, taking turns;
the ratio of the medians over the rounds is what counts. Prints JSON lines.

    python -m tests.benchmarks.bench_ches --data ../shared/data/raw --model llama-135m --pairs 64 --rounds 3
    python -m tests.benchmarks.bench_ches --cuda --pairs 20000

The first line of each run holds the ratio with equal weights and arithmetic; then come the effects of bfloat16 on the order of scores.
"""

import argparse
import gzip
import json
import os
import platform
import re
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata, spearmanr
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from pipeline.ches.model import CausalModel
from pipeline.ches.sequences import SHARE_FROM, Sequences, offsets
from pipeline.ches.work import Wanted

PACKAGES = ("torch", "transformers", "tokenizers")
END = 0  # token of a turn's end
MERGES = 16_384  # of the tokenizer: tokens per word as with large vocabularies, seconds to train
LONGEST = 2048

Pair = tuple[str, str, str]  # prompt, chosen, rejected


def shape(name: str) -> PreTrainedModel:
    """A model of random weights, in evaluation mode."""
    torch.manual_seed(0)
    common: dict[str, Any] = {"max_position_embeddings": 8192, "tie_word_embeddings": True}
    sizes = {  # width, layers, heads, key heads, inner width, vocabulary
        "llama-135m": (576, 30, 9, 3, 1536, 49_152),
        "qwen-0.5b": (896, 24, 14, 2, 4864, 151_936),
        "llama-1b": (2048, 16, 32, 8, 8192, 128_256),
        "tiny": (64, 3, 4, 2, 128, 20_000),
    }[name]
    keys = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size", "vocab_size")
    config = dict(zip(keys, sizes, strict=True), **common)
    if name.startswith("qwen"):
        return Qwen2ForCausalLM(Qwen2Config(**config)).eval()
    return LlamaForCausalLM(LlamaConfig(**config)).eval()


def read_pairs(data: Path) -> list[Pair]:
    """Pairs of hh_rlhf and pandalm in turn, in the files' order, then shuffled by a fixed seed."""
    found: list[Pair] = []
    with gzip.open(next((data / "hh_rlhf").rglob("test.jsonl.gz")), "rt", encoding="utf-8") as lines:
        for line in lines:
            both = json.loads(line)
            parts = [both[side].rpartition("\n\nAssistant:") for side in ("chosen", "rejected")]
            if parts[0][0] == parts[1][0]:
                found.append((parts[0][0] + parts[0][1], parts[0][2], parts[1][2]))
    with gzip.open(data / "pandalm" / "testset-v1.json.gz", "rt", encoding="utf-8") as file:
        for one in json.load(file):
            prompt = f"User: {one['instruction']}\n\n{one.get('input') or ''}\n\nAssistant:"
            found.append((prompt, f" {one['response1']}", f" {one['response2']}"))  # some are no strings
    order = np.random.default_rng(0).permutation(len(found))
    return [found[i] for i in order]


def made_up_pairs(count: int) -> list[Pair]:
    """Where there is no data, as on a GPU machine: lengths as in the real sets, tokens drawn by chance."""
    rng = np.random.default_rng(0)
    words = np.array([f"{chr(97 + i % 26)}{i}" for i in range(4000)])

    def text(median: float, spread: float) -> str:
        return " ".join(rng.choice(words, max(1, int(np.exp(rng.normal(np.log(median), spread))))))

    return [(text(60, 0.9), text(60, 0.9), text(60, 0.9)) for _ in range(count)]


def tokenise(pairs: list[Pair]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Token ids of prompt, chosen and rejected; an answer ends with the end of a turn."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=MERGES, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator([re.sub(r"\d", "", " ".join(pair)) for pair in pairs[:4000]], trainer)
    encoded = [np.array(one.ids, dtype=np.int32) for one in backend.encode_batch([text for pair in pairs for text in pair])]
    rows = []
    for prompt, chosen, rejected in zip(encoded[0::3], encoded[1::3], encoded[2::3], strict=True):
        room = max(1, LONGEST - prompt.size)
        rows.append((prompt[: LONGEST - 1], *(np.append(one, END)[:room].astype(np.int32) for one in (chosen, rejected))))
    return rows


def sequences(rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]], share_from: int = SHARE_FROM) -> Sequences:
    """What the package's pass reads."""
    prefixes = [prompt for prompt, _, _ in rows if prompt.size >= share_from]
    number, prefix, suffixes, start, stop = -1, [], [], [], []
    for prompt, *answers in rows:
        shared = prompt.size >= share_from
        number += shared
        for answer in answers:
            prefix.append(number if shared else -1)
            suffixes.append(answer if shared else np.concatenate([prompt, answer]))
            start.append(prompt.size)
            stop.append(prompt.size + answer.size)
    return Sequences(
        np.concatenate([np.empty(0, np.int32), *prefixes]),
        offsets(np.array([one.size for one in prefixes], np.int64)),
        np.array(prefix),
        np.concatenate(suffixes),
        offsets(np.array([one.size for one in suffixes], np.int64)),
        np.array(start),
        np.array(stop),
    )


def plain(model: PreTrainedModel, rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> np.ndarray:
    """CHES and its length-normalised form as a script has them: (N, 2)."""
    found = []
    with torch.inference_mode():
        for prompt, *answers in rows:
            sums, sizes = [], []
            for answer in answers:
                ids = torch.from_numpy(np.concatenate([prompt, answer]).astype(np.int64))[None].to(model.device)
                hidden = model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0]
                sums.append(hidden[prompt.size - 1 : -1].float().sum(dim=0))
                sizes.append(answer.size)
            (chosen, rejected), (n, m) = sums, sizes
            cross, own = chosen @ rejected, chosen @ chosen
            found.append(torch.stack([cross - own, cross / (n * m) - own / n**2]).cpu().numpy())
    return np.array(found, dtype=np.float64)


def ches(sums: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """The same, of sums and counts, chosen and rejected in turn."""
    exact = sums.astype(np.float64)
    means = exact / tokens[:, np.newaxis]
    return np.stack([(one[0::2] * one[1::2]).sum(1) - (one[0::2] ** 2).sum(1) for one in (exact, means)], axis=1)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def medians(rounds: int, works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The median wall time of each, in seconds; they take turns."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(seconds(work))
    return {name: float(np.median(each)) for name, each in times.items()}


def machine() -> dict[str, object]:
    return {
        "machine": torch.cpu.get_capabilities().get("cpu_name") or platform.processor(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in PACKAGES},
    }


def about(rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> dict[str, object]:
    sizes = np.array([[part.size for part in row] for row in rows])
    return {
        "pairs": len(rows),
        "prompt_tokens": int(sizes[:, 0].sum()),
        "answer_tokens": int(sizes[:, 1:].sum()),
        "shared_prompts": round(float((sizes[:, 0] >= SHARE_FROM).mean()), 3),
    }


def against_the_script(
    model: PreTrainedModel, name: str, rows: list[Any], rounds: int, threads: int, batch_tokens: int | None
) -> tuple[dict[str, object], np.ndarray]:
    """One line, and our scores."""
    ours, packed = CausalModel(model, name, batch_tokens, threads), sequences(rows)
    torch.set_num_threads(threads)
    found, expected = {}, {}
    works: dict[str, Callable[[], object]] = {
        "ours": lambda: found.update(scored=ours.score(packed)),
        "script": lambda: expected.update(scores=plain(model, rows)),
    }
    took = medians(rounds, works)
    scored = found["scored"]
    scores, own = ches(scored.sums, scored.tokens), (scored.sums[0::2].astype(np.float64) ** 2).sum(1)
    allowed = np.stack([own, own / scored.tokens[0::2].astype(np.float64) ** 2], axis=1)
    line = {
        "benchmark": "ches",
        **machine(),
        "model": name,
        "dtype": ours.dtype,
        "threads": threads,
        "batch_tokens": ours.batch_tokens,
        "share_from": SHARE_FROM,
        **about(rows),
        "rounds": rounds,
        "pairs_per_second": round(len(rows) / took["ours"], 3),
        "peer": "two forward passes a pair, one sequence each, output_hidden_states, all logits",
        "peer_pairs_per_second": round(len(rows) / took["script"], 3),
        "ratio": round(took["script"] / took["ours"], 3),
        "largest_error": float(f"{(np.abs(scores - expected['scores']) / allowed).max():.2g}"),  # of the chosen sum's squared norm
        "spearman_ches_ln": round(float(spearmanr(scores[:, 1], expected["scores"][:, 1]).statistic), 6),
    }
    return line, scores


def half_precision(model: PreTrainedModel, name: str, rows: list[Any], full: np.ndarray, threads: int) -> dict[str, object]:
    """What bfloat16 weights and states do to the order of scores."""
    scored = CausalModel(model.to(torch.bfloat16), name, None, threads).score(sequences(rows))
    half = ches(scored.sums, scored.tokens)
    line: dict[str, object] = {"benchmark": "ches_bfloat16", "model": name, "pairs": len(rows)}
    for which, column in enumerate(("ches", "ches_ln")):
        moved = np.abs(rankdata(full[:, which]) - rankdata(half[:, which]))
        line[f"spearman_{column}"] = round(float(spearmanr(full[:, which], half[:, which]).statistic), 6)
        line[f"largest_rank_change_{column}"] = float(moved.max())
        lowest = max(1, len(rows) // 20)
        kept = np.intersect1d(np.argsort(full[:, which])[:lowest], np.argsort(half[:, which])[:lowest])
        line[f"kept_of_lowest_5_percent_{column}"] = round(kept.size / lowest, 3)
    return line


def on_the_gpu(name: str, pairs: list[Pair], rounds: int) -> Iterator[dict[str, object]]:
    """Share of the card's measured bf16 rate, and the ratio to the script on some of the pairs."""
    model, rows = shape(name).to("cuda", torch.bfloat16), tokenise(pairs)
    ours, packed = CausalModel(model, name), sequences(rows)
    side, repeats = 8192, 20
    matrix = torch.randn(side, side, device="cuda", dtype=torch.bfloat16)

    def multiply() -> None:
        for _ in range(repeats):
            torch.mm(matrix, matrix)

    some = rows[: min(len(rows), 256)]
    works: dict[str, Callable[[], object]] = {
        "ours": lambda: ours.score(packed),
        "logps": lambda: ours.score(packed, Wanted(logps=True)),
        "script": lambda: plain(model, some),
        "matrix": multiply,
    }
    for work in works.values():
        work()
    took = medians(rounds, works)
    layers = [module for part, module in model.named_modules() if isinstance(module, torch.nn.Linear) and "lm_head" not in part]
    weights, config = sum(module.weight.numel() for module in layers), model.config
    before, lengths = packed.before, packed.lengths
    # Tokens that must go through the layers, and the keys that each attends to.
    once = np.diff(packed.prefix_offsets)
    tokens = int(once.sum() + (lengths - before).sum())
    keys = float((once.astype(float) ** 2 / 2).sum() + ((lengths.astype(float) ** 2 - before.astype(float) ** 2) / 2).sum())
    flops = 2.0 * weights * tokens + 4.0 * config.hidden_size * config.num_hidden_layers * keys
    rate = repeats * 2 * side**3 / took["matrix"]
    yield {
        "benchmark": "ches_gpu",
        **machine(),
        "model": name,
        "dtype": ours.dtype,
        "batch_tokens": ours.batch_tokens,
        "shares_prefix": ours.shares_prefix,
        **about(rows),
        "rounds": rounds,
        "tokens": tokens,
        "seconds": round(took["ours"], 3),
        "seconds_with_logps": round(took["logps"], 3),
        "tokens_per_second": round(tokens / took["ours"]),
        "tflops": round(flops / took["ours"] / 1e12, 1),
        "measured_bf16_tflops": round(rate / 1e12, 1),
        "share_of_measured_rate": round(flops / took["ours"] / rate, 3),
        "memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 1),
        "pairs_per_second": round(len(rows) / took["ours"], 1),
        "peer_pairs_per_second": round(len(some) / took["script"], 1),
        "ratio": round(len(rows) / took["ours"] / (len(some) / took["script"]), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the raw sets; without it lengths are drawn by chance")
    parser.add_argument("--model", choices=["llama-135m", "qwen-0.5b", "llama-1b", "tiny"], default=None)
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--batch-tokens", type=int, default=None)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--cuda", action="store_true")
    given = parser.parse_args()
    pairs = read_pairs(given.data)[: given.pairs] if given.data else made_up_pairs(given.pairs)
    if given.cuda:
        for line in on_the_gpu(given.model or "llama-1b", pairs, given.rounds):
            print(json.dumps(line), flush=True)
        return
    name, rows = given.model or "llama-135m", tokenise(pairs)
    model = shape(name).to(getattr(torch, given.dtype))
    line, scores = against_the_script(model, name, rows, given.rounds, given.threads, given.batch_tokens)
    print(json.dumps(line | {"data": "hh_rlhf, pandalm" if given.data else "lengths by chance"}), flush=True)
    if given.dtype == "float32":
        print(json.dumps(half_precision(model, name, rows, scores, given.threads)), flush=True)


if __name__ == "__main__":
    main()
