"""What of a published version holds benchmark prompts: `prefine decontaminate` says it before a run drops anything."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl
import yaml

from flows import decontaminating, steps, vectors
from pipeline import decontaminate, queries, storage
from pipeline.config import BenchmarkConfig, DecontaminateConfig, PipelineConfig
from pipeline.decontaminate import Prompts
from pipeline.errors import ConfigError
from pipeline.store import Store
from pipeline.texts import add_text_ids

_PLACES: Final = {"prompt_text": "prompt", "turn_text": "prompt", "low_text": "chosen", "high_text": "rejected"}
_CUT: Final = 200  # characters shown of a text
_BEFORE: Final = 40  # of them before the shared words


def with_benchmarks(config: PipelineConfig, uris: Sequence[str], base: Path) -> PipelineConfig:
    """The config with further benchmarks, each called like its file; relative URIs start at `base`.

    Raises:
        ConfigError: there is no benchmark at all.
    """
    named = list(config.decontaminate.benchmarks)
    for uri in uris:
        tail = re.sub(r"[^A-Za-z0-9._-]+", "-", uri.rstrip("/").rsplit("/", 1)[-1].split(".", 1)[0]).strip("-._") or "benchmark"
        taken = {one.name for one in named}
        names = (name for number in range(1, len(taken) + 2) if (name := tail if number == 1 else f"{tail}-{number}") not in taken)
        named.append(BenchmarkConfig(name=next(names), uri=storage.resolve(uri, base)))
    if not named:
        raise ConfigError(
            "decontaminate.benchmarks names no benchmark, and no --benchmark is given. Try `prefine decontaminate --benchmark FILE`."
        )
    return config.model_copy(update={"decontaminate": config.decontaminate.model_copy(update={"benchmarks": named})})


def examine(config: PipelineConfig, base: Path, dataset_root: str, version: str | None, done: Callable[[int], None]) -> dict[str, Any]:
    """What of a published version holds benchmark prompts; nothing is changed but for embeddings in the store.

    Args:
        config: with benchmarks.
        base: where the config's relative paths start.
        dataset_root: the dataset's folder or URL.
        version: e.g. v000001; the current one when None.
        done: gets the number of pairs looked at since its last call.

    Returns:
        A JSON document: dataset, version, thresholds, pairs (all), contaminated (pairs), and for each benchmark its prompts (and how many
        are short), its contaminated pairs, pairs by text and kind, and examples.

    Raises:
        ConfigError: a benchmark cannot be read.
        NotFoundError: no such version, or none published yet.
    """
    entries = decontaminating.read_benchmarks(config, base)
    name, folder, places = _shards(dataset_root, version)
    store = Store(storage.join(storage.resolve(config.workspace, base), "store"))
    prompts = decontaminate.prepare(entries, config.decontaminate.ngram)
    vectors.embed_missing(store, steps.encoder(config.embed), decontaminating.placed(prompts.entries.filter("long")), lambda _: None)
    asked = decontaminating.prompt_vectors(store, config, prompts)
    total, contaminated, counts = 0, 0, Counter[tuple[str, ...]]()
    examples = pl.DataFrame(schema={"benchmark": pl.String, "entry": pl.Int64})
    for place in places:
        shard = storage.read_table(storage.join(folder, place), ["pair_id", "prompt_id", "prompt", "chosen", "rejected"])
        pairs, texts = add_text_ids(shard.rename({"chosen": "low", "rejected": "high"}))
        vectors.embed_missing(store, steps.encoder(config.embed), texts, lambda _: None)
        hits = decontaminating.hits_of(store, config, texts, prompts, asked)
        found = decontaminate.hits_in_pairs(pairs, hits, _PLACES)
        total, contaminated = total + shard.height, contaminated + found.get_column("pair_id").n_unique()
        for keys in (["benchmark"], ["benchmark", "place", "kind"]):
            grouped = found.group_by(keys).agg(pl.col("pair_id").n_unique())
            counts.update({row[:-1]: row[-1] for row in grouped.iter_rows()})
        shown = _telling(found).join(texts.select("text_id", "text").unique("text_id"), on="text_id", how="left")
        examples = _telling(pl.concat([examples, shown], how="diagonal"))
        done(shard.height)
    return {
        "dataset": dataset_root.rsplit("/", 1)[-1],
        "version": name,
        **config.decontaminate.model_dump(include={"ngram", "min_overlap", "min_cosine", "action"}),
        "pairs": total,
        "contaminated": contaminated,
        "benchmarks": [_told(one, prompts, counts, examples, config.decontaminate) for one in config.decontaminate.benchmarks],
    }


def _shards(dataset_root: str, version: str | None) -> tuple[str, str, list[str]]:
    """A version's name, its folder, and the files of its published pairs."""
    name = queries.open_version(dataset_root, version).version
    folder = storage.join(dataset_root, name)
    parts = queries.part_paths(queries.manifest_paths(folder, queries.read_manifest(dataset_root, name)))
    return name, folder, [place for part in queries.PUBLISHED_PARTS for place in parts[part]]


def _telling(found: pl.DataFrame) -> pl.DataFrame:
    """Of each benchmark and kind the surest hit and the two least sure ones, each pair once."""
    if found.is_empty():
        return found
    by = ["benchmark", "kind"]
    order = found.sort(*by, "score", "pair_id", "rank", "entry", descending=[False, False, True, False, False, False])
    once = order.unique([*by, "pair_id"], keep="first", maintain_order=True)
    number, last = pl.int_range(pl.len()).over(by), pl.len().over(by)
    return once.filter((number == 0) | (number >= last - 2))


def _told(
    benchmark: BenchmarkConfig, prompts: Prompts, counts: Counter[tuple[str, ...]], examples: pl.DataFrame, config: DecontaminateConfig
) -> dict[str, Any]:
    name = benchmark.name
    shown = examples.filter(pl.col("benchmark") == name)
    shown = shown.join(prompts.entries.select("entry", "prompt", asked="text"), on="entry", how="left", maintain_order="left")
    return {
        "name": name,
        "uri": storage.without_credentials(benchmark.uri),
        "prompts": prompts.entries.filter(pl.col("benchmark") == name).height,
        "short_prompts": prompts.entries.filter((pl.col("benchmark") == name) & ~pl.col("long")).height,
        "pairs": counts[(name,)],
        "hits": {text: {kind: counts[(name, text, kind)] for kind in ("ngram", "cosine")} for text in dict.fromkeys(_PLACES.values())},
        "examples": [
            {
                **{key: row[key] for key in ("pair_id", "kind", "score", "threshold")},
                "text": row["place"],
                "benchmark_prompt": row["prompt"],
                "asked": _cut(row["asked"]),
                "found": excerpt(row["text"], row["asked"], config.ngram),
            }
            for row in shown.iter_rows(named=True)
        ],
    }


def excerpt(text: str, asked: str, n: int) -> str:
    """The part of a text around the first run of n words that it shares with another one; its start where there is none."""
    words = [(word[0].lower(), word.start()) for word in re.finditer(r"\w+", text)]
    other = re.findall(r"\w+", asked.lower())
    runs = {tuple(other[i : i + n]) for i in range(len(other) - n + 1)}
    said = [word for word, _ in words]
    at = next((words[i][1] for i in range(len(words) - n + 1) if tuple(said[i : i + n]) in runs), 0)
    start = max(0, at - _BEFORE)
    return ("..." if start else "") + _cut(text[start:])


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _CUT else line[:_CUT] + "..."


def render(report: dict[str, Any], config: PipelineConfig, file: Path, added: Sequence[str]) -> Iterator[str]:
    """What `examine` found, as lines for a person.

    Args:
        report: what `examine` returned.
        config: with all benchmarks.
        file: the config file, to say what to write there.
        added: the benchmarks that it does not name, as given on the command line.
    """
    yield f"{report['dataset']} {report['version']}: {report['contaminated']:,} of {report['pairs']:,} pairs hold a benchmark prompt"
    yield (
        f"  looked for: {report['min_overlap']:g} of a prompt's words in shared runs of {report['ngram']}, or a cosine of "
        f"{report['min_cosine']:g}; prompts of fewer words: only as a whole prompt"
    )
    for one in report["benchmarks"]:
        yield ""
        short = f" ({one['short_prompts']:,} of fewer words)" if one["short_prompts"] else ""
        yield f"{one['name']}: {one['prompts']:,} prompts{short}, found in {one['pairs']:,} pairs"
        for text, kinds in one["hits"].items():
            yield f"  {text:<9} {kinds['ngram']:>8,} by words  {kinds['cosine']:>8,} by cosine"
        for example in one["examples"]:
            score = f"{'words' if example['kind'] == 'ngram' else 'cosine'} {example['score']:.3f}"
            yield f"  pair {example['pair_id']}: {example['text']}, {score}, {example['benchmark_prompt']}"
            yield f"    benchmark  {example['asked']}"
            yield f"    {example['text']:<9}  {example['found']}"
    yield ""
    yield from _next(config.decontaminate, file, added)


def _next(config: DecontaminateConfig, file: Path, added: Sequence[str]) -> Iterator[str]:
    yield "Nothing was changed."
    if not added:
        drops = config.action == "drop"
        flags = "flags these pairs (signal `contamination`); with `action: drop` below `decontaminate:` it drops them"
        yield f"`prefine run {file}` {'drops these pairs' if drops else flags}."
        return
    named = [one.model_dump(exclude_none=True) for one in config.benchmarks]
    for one in named[-len(added) :]:
        if storage.is_local(one["uri"]):
            one["uri"] = os.path.relpath(one["uri"], file.resolve().parent)
    yield f"To drop these pairs, write this into {file}, then `prefine run {file}`:"
    written = {"decontaminate": {"benchmarks": named, "action": "drop"}}
    yield from (f"  {line}" for line in yaml.safe_dump(written, sort_keys=False, default_flow_style=None, width=1000).splitlines())
