"""What a causal model says of the answers: what the store does not have is computed, and what is wanted is read.

Nothing here decides about data: that is `pipeline.ches`.
"""

import functools
from collections.abc import Callable
from typing import Any

import polars as pl

from flows.steps import Run
from pipeline import storage
from pipeline.ches import tables
from pipeline.ches.follow_up import follow_up_schema
from pipeline.ches.scorer import Scorer, load_scorer, load_weak_scorer
from pipeline.config import ChesConfig, PipelineConfig
from pipeline.stage import bucket_of, runs_of
from pipeline.store import Store

SUMS, FOLLOW_UPS = "hidden-sums", "follow-ups"
_PAIRS_AT_ONCE = 4096  # whose sums are held: 130 MB at 4,096 dimensions
_LEFT = pl.col("tie") | pl.col("left_stage").is_not_null()  # pairs that no trainer will see: a model need not read them


def asked(config: PipelineConfig) -> bool:
    """Whether a causal model is to read the answers."""
    return config.signals.ches.backend == "causal_lm"


@functools.cache
def _load(config: ChesConfig, threads: int | None) -> tuple[tuple[Scorer, ...], ...]:
    devices = _devices()
    strong = [load_scorer(config, threads, device) for device in devices]
    if config.weak_model is None:
        return tuple((scorer,) for scorer in strong)
    return tuple((scorer, load_weak_scorer(config, scorer, threads, device)) for scorer, device in zip(strong, devices, strict=True))


def _devices() -> list[str]:
    import torch

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())] or ["cpu"]


def scorers(config: PipelineConfig) -> tuple[tuple[Scorer, ...], ...]:
    """For each GPU, or the processor, the model and perhaps the weak model; loaded once a process.

    Raises:
        ConfigError: one of them cannot be used.
    """
    return _load(config.signals.ches, config.embed.threads)


def score(run: Run, partition: int, done: Callable[[int], None]) -> int:
    """Compute what the store lacks of a partition's answers; how many times a model read one."""
    wanted = tables.responses_of(storage.read_table(run.place("decided", partition)).filter(~_LEFT))
    panels = scorers(run.config)
    strong, *weak = panels[partition % len(panels)]
    read = _extend(run, partition, strong, wanted, done)
    return read + sum(_extend(run, partition, scorer, wanted, lambda _: None) for scorer in weak)


def _extend(run: Run, partition: int, scorer: Scorer, wanted: pl.DataFrame, done: Callable[[int], None]) -> int:
    store, buckets = Store(run.store), run.buckets(partition)
    with scorer.lock:  # a model works on one partition at a time; and where memory runs out, its shape and fingerprint change
        missing = tables.missing_responses(wanted, store.keys(SUMS, scorer.fingerprint, *buckets))
        done(wanted.height - missing.height)
        for part in missing.iter_slices(scorer.model.responses_at_once):
            scored = scorer.score(part, done)
            store.write(SUMS, scorer.fingerprint, scored)
        if scorer.follow_up_fingerprint is None:
            return missing.height
        unsaid = tables.missing_responses(wanted, store.keys(FOLLOW_UPS, scorer.follow_up_fingerprint, *buckets))
        for part in unsaid.iter_slices(scorer.model.responses_at_once):
            liked = scorer.score_follow_ups(part)
            store.write(FOLLOW_UPS, scorer.follow_up_fingerprint, liked)
        return missing.height + unsaid.height


def shapes(config: PipelineConfig) -> tuple[int, ...]:
    """Tokens that each model works on at once, made equal over GPUs: a run's scores are all of one shape."""
    same = list(zip(*scorers(config), strict=True))  # the copies of each model
    for copies in same:
        least = min(scorer.model.batch_tokens for scorer in copies)
        for scorer in copies:
            while scorer.model.batch_tokens > least:
                scorer.model.step_down()
    return tuple(copies[0].model.batch_tokens for copies in same)


def compact(run: Run) -> None:
    """Join small files of scores: every run adds one a partition."""
    store = Store(run.store)
    for scorer in scorers(run.config)[0]:
        store.compact(SUMS, scorer.fingerprint)
        if scorer.follow_up_fingerprint is not None:
            store.compact(FOLLOW_UPS, scorer.follow_up_fingerprint)


def add(run: Run, partition: int) -> None:
    """Give a partition's pairs the signals of the causal model; nulls where none is asked for."""
    pairs = storage.read_table(run.place("decided", partition))
    storage.write_table(_scored(run, pairs) if asked(run.config) else tables.without_ches(pairs), run.place("read", partition))


def _scored(run: Run, pairs: pl.DataFrame) -> pl.DataFrame:
    """The pairs, in their order, with the columns of `tables.CHES`; read by some at a time, as a row of the store may be large."""
    placed = pairs.with_row_index("_row").with_columns(_bucket=bucket_of("prompt_id"))
    counted = placed.group_by("_bucket").len().sort("_bucket")
    parts = [tables.without_ches(placed.clear())]
    for rows in runs_of(counted.get_column("len").to_numpy(), _PAIRS_AT_ONCE):
        buckets = counted.get_column("_bucket")[rows]
        parts.append(_add_scores(run, int(buckets[0]), int(buckets[-1]), placed.filter(pl.col("_bucket").is_in(buckets.implode()))))
    return pl.concat(parts).sort("_row").drop("_row", "_bucket")


def _add_scores(run: Run, first: int, last: int, pairs: pl.DataFrame) -> pl.DataFrame:
    strong, *weak = scorers(run.config)[0]
    left = pairs.select(_LEFT).to_series()
    store, keys = Store(run.store), tables.responses_of(pairs.filter(~left)).get_column("key")
    sums, *weaker = (store.read(SUMS, scorer.fingerprint, first, last, scorer.schema, keys=keys) for scorer in (strong, *weak))
    liked = None
    if strong.follow_up_fingerprint is not None:
        liked = store.read(FOLLOW_UPS, strong.follow_up_fingerprint, first, last, follow_up_schema(), keys=keys)
    return tables.add_ches(pairs, sums, weaker[0] if weaker else None, liked, left)


def about(config: PipelineConfig) -> list[dict[str, Any]]:
    """What the manifest says of the models."""
    return [scorer.about() for scorer in scorers(config)[0]] if asked(config) else []
