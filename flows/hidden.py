"""What a causal model says of the answers: what the store does not have is computed, and what is wanted is read.

Nothing here decides about data: that is `pipeline.ches`.
"""

import functools
import logging
from collections.abc import Callable
from typing import Any

import polars as pl

from flows.steps import Run
from pipeline import storage
from pipeline.ches import tables
from pipeline.ches.scorer import FOLLOW_UPS, Scorer, load_scorer, load_weak_scorer
from pipeline.config import ChesConfig, PipelineConfig
from pipeline.stage import bucket_of, runs_of
from pipeline.store import Store

_MANY_MISSING = 0.05  # more pairs without a score than this share are more than odd rows
_PAIRS_AT_ONCE = 4096  # whose sums are held: 130 MB at 4,096 dimensions
_LEFT = pl.col("tie") | pl.col("left_stage").is_not_null()  # pairs that no trainer will see: a model need not read them

log = logging.getLogger("prefine")


@functools.lru_cache(maxsize=1)
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
    panels, read = scorers(run.config), 0
    for scorer in panels[partition % len(panels)]:
        with scorer.lock:  # a model works on one partition at a time
            read += sum(_fill(run, partition, scorer, kind, wanted, done) for kind in scorer.kinds)
    return read


def _fill(run: Run, partition: int, scorer: Scorer, kind: str, wanted: pl.DataFrame, done: Callable[[int], None]) -> int:
    store, read, before = Store(run.store), 0, ""
    while before != scorer.fingerprint(kind):  # where memory runs out, the shape changes, and with it what the store has
        before = scorer.fingerprint(kind)
        missing = tables.missing_responses(wanted, store.keys(kind, before, *run.buckets(partition)))
        done(0 if read else wanted.height - missing.height)
        for part in scorer.slices(kind, missing):
            scored = scorer.score(kind, part, done)
            store.write(kind, scorer.fingerprint(kind), scored)
            read += part.height
            if scorer.fingerprint(kind) != before:
                break
    return read


def readings(config: PipelineConfig) -> int:
    """How many times each answer is read."""
    return sum(len(scorer.kinds) for scorer in scorers(config)[0])


def shapes(config: PipelineConfig) -> tuple[str, ...]:
    """How each model works now, as its fingerprint, made equal over GPUs: a run's scores are all of one shape."""
    same = list(zip(*scorers(config), strict=True))  # the copies of each model
    for models in ([scorer.model for scorer in copies] for copies in same):
        least, sharing = min(model.batch_tokens for model in models), all(model.shares_prefix for model in models)
        for model in models:
            model.shares_prefix = sharing
            while model.batch_tokens > least:
                model.step_down()
    return tuple(copies[0].model.fingerprint for copies in same)


def compact(run: Run) -> None:
    """Join small files of scores: every run adds one a partition."""
    store = Store(run.store)
    for scorer in scorers(run.config)[0]:
        for kind in scorer.kinds:
            store.compact(kind, scorer.fingerprint(kind))


def decided_pairs(run: Run, partition: int) -> pl.DataFrame:
    """A partition's pairs with the signals of the causal model; nulls where none is asked for."""
    pairs = storage.read_table(run.place("decided", partition))
    return _scored(run, pairs) if run.config.signals.ches.causal else tables.without_ches(pairs)


def count_missing(pairs: pl.DataFrame) -> dict[str, int]:
    """How many pairs that go on there are (`pairs`), and how many have no score for which reason."""
    going_on = pairs.filter(~_LEFT)
    return {"pairs": going_on.height, **dict(going_on.drop_nulls("ches_missing").group_by("ches_missing").len().iter_rows())}


def tell_missing(counts: dict[str, int]) -> None:
    """Say how many pairs have no score, and why."""
    pairs, missing = counts["pairs"], sum(counts.values()) - counts["pairs"]
    if missing:
        by_count = sorted(((n, reason) for reason, n in counts.items() if reason != "pairs"), reverse=True)
        reasons = ", ".join(f"{reason} {n:,}" for n, reason in by_count)
        level = logging.WARNING if missing > _MANY_MISSING * pairs else logging.INFO
        log.log(level, "signals.ches: %s of %s pairs have no score: %s", f"{missing:,}", f"{pairs:,}", reasons)


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
    sums, *more = (
        store.read(kind, scorer.fingerprint(kind), first, last, scorer.schema(kind), keys=keys)
        for scorer in (strong, *weak)
        for kind in scorer.kinds
    )
    liked = more.pop(0) if FOLLOW_UPS in strong.kinds else None
    return tables.add_ches(pairs, sums, more[0] if more else None, liked, left)


def about(config: PipelineConfig) -> list[dict[str, Any]]:
    """What the manifest says of the models."""
    return [scorer.about() for scorer in scorers(config)[0]] if config.signals.ches.causal else []
