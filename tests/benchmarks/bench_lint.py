"""Lint against a bare tokenizer pass: what it costs to know what a trainer would drop and cut.

A version of 100,000 pairs of realistic lengths (`tests.benchmarks.big_version`), and a byte-level BPE tokenizer of 8,000 tokens learned
from its first texts, with a ChatML template. The peer tokenizes prompt and answer of both sides, as text, and counts; it renders nothing,
compares nothing and reads the same columns. Both in one process, one after the other, twice; the faster pass of each counts.

    python -m tests.benchmarks.bench_lint --root DATASET_ROOT
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from tokenizers import ByteLevelBPETokenizer
from transformers import PreTrainedTokenizerFast

from flows import linting
from pipeline import export_files, queries, storage
from pipeline.config import PipelineConfig
from pipeline.embed import BareTokenizer
from pipeline.export import Options
from pipeline.export.lint import READS
from pipeline.texts import text_of
from tests.benchmarks import big_version

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def shards(root: str) -> list[str]:
    version = queries.current_version(root)
    assert version is not None
    home = storage.join(root, version)
    parts = queries.part_paths(queries.manifest_paths(home, queries.read_manifest(root, version)))
    return [storage.join(home, path) for split in queries.SPLITS for path in parts[split]]


def learned(root: str, folder: Path) -> Any:
    first = next(export_files.in_parts(shards(root)[0], ["prompt", "chosen"])).head(2000)
    made = ByteLevelBPETokenizer()
    texts = first.select(pl.concat_str(text_of("prompt"), text_of("chosen"))).to_series().to_list()
    made.train_from_iterator(texts, vocab_size=8000, special_tokens=["<|im_start|>", "<|im_end|>"], show_progress=False)
    fast = PreTrainedTokenizerFast(tokenizer_object=made._tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    return fast


def bare(root: str, tokenizer: BareTokenizer) -> int:
    tokens = 0
    for shard in shards(root):
        for pairs in export_files.in_parts(shard, list(READS)):
            texts = [pl.concat_str(text_of("prompt"), text_of(side)).alias(side) for side in ("chosen", "rejected")]
            told = pairs.select(texts)
            tokens += sum(len(tokenizer.token_ids(told[side].to_list())[0]) for side in told.columns)
    return tokens


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="", help="of a big version that is there already")
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--formats", nargs="+", default=["trl", "verl"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = given.root or str(Path(folder, "version"))
        if not given.root:
            big_version.make(root, given.pairs)
        compare(root, Path(folder, "tokenizer"), given.formats)


def compare(root: str, folder: Path, forms: list[str]) -> None:
    tokenizer = learned(root, folder)
    config = PipelineConfig.model_validate({"dataset": "bench", "sources": [{"name": "a", "uri": "a.jsonl"}]})
    peer, tokens = min((timed(lambda: bare(root, BareTokenizer(tokenizer))) for _ in range(2)), key=lambda one: one[0])
    for form in forms:
        asked = linting.Asked(form, Options(), tokenizer=str(folder))
        seconds, told = min((timed(lambda asked=asked: linting.lint(config, root, asked)) for _ in range(2)), key=lambda one: one[0])
        line = {
            "bench": "lint", "format": form, "pairs": told.pairs, "window": told.window, "affected": told.affected,
            "seconds": round(seconds, 1), "pairs_per_second": round(told.pairs / seconds), "tokens_of_peer": tokens,
            "peer_seconds": round(peer, 1), "of_bare_tokenizer_rate": round(peer / seconds, 2),
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }  # fmt: skip
        print(json.dumps(line))


if __name__ == "__main__":
    main()
