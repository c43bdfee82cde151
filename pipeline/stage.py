"""The contract all stages share: what came in is kept, or dropped with a reason."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

BUCKETS = 256  # fixed for ever: a bucket is the first byte of prompt_id
UNNAMED = "unnamed"  # annotator_id of judgements whose source names nobody
ASKED = "judge:"  # how the source of verdicts begins that a run asked a judge for; no source in a config has a colon in its name


@dataclass(frozen=True)
class StageResult:
    """What a stage did with its rows: `kept` + `dropped` = the rows that came in."""

    kept: pl.DataFrame
    dropped: pl.DataFrame  # the stage's rows plus `reason`


def split_by_reason(rows: pl.DataFrame, reasons: dict[str, pl.Expr]) -> StageResult:
    """Split rows by the first reason that is true; a null counts as 'does not apply'."""
    applies = [pl.when(condition).then(pl.lit(name)) for name, condition in reasons.items()]
    marked = rows.with_columns(reason=pl.coalesce([*applies, pl.lit(None, pl.String)]))
    return StageResult(
        kept=marked.filter(pl.col("reason").is_null()).drop("reason"),
        dropped=marked.filter(pl.col("reason").is_not_null()),
    )


def bucket_of(id_column: str) -> pl.Expr:
    """The bucket (0 to 255) of a hex id: its first byte."""
    return pl.col(id_column).str.slice(0, 2).str.to_integer(base=16, dtype=pl.Int64).cast(pl.UInt8)


def partition_buckets(partitions: int) -> list[tuple[int, int]]:
    """The runs of buckets [first, last] that make `partitions` partitions, in order."""
    edges = [BUCKETS * i // partitions for i in range(partitions + 1)]
    return [(first, nxt - 1) for first, nxt in pairwise(edges) if nxt > first]


def runs_of(sizes: npt.NDArray[np.integer], most: int) -> Iterator[slice]:
    """Runs of rows of about `most` in size together, at least one row each; they bound what a stage holds at once."""
    part = (np.cumsum(sizes, dtype=np.int64) - sizes) // most
    edges = [0, *(np.flatnonzero(np.diff(part)) + 1).tolist(), len(sizes)]
    yield from (slice(start, end) for start, end in pairwise(edges) if end > start)
