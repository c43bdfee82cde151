"""STATISTIC: one row = one number with its interval and what it rests on."""

import math
from typing import Final, NamedTuple

import polars as pl

from pipeline.statistics.intervals import wilson

STATISTIC: Final = pl.Schema(
    {
        "statistic": pl.String,
        "subject_kind": pl.String,  # dataset, source, annotator_kind, annotators
        "subject": pl.String,
        "value": pl.Float64,  # null: it cannot be known; the note says why
        "low": pl.Float64,  # 95 % interval
        "high": pl.Float64,
        "n": pl.Int64,  # what it rests on, counted in what the note or the statistic's name says: pairs unless said otherwise
        "unit": pl.String,
        "note": pl.String,
    }
)


class Statistic(NamedTuple):
    """A row of STATISTIC; nan stands for null."""

    statistic: str
    subject_kind: str
    subject: str
    value: float
    low: float
    high: float
    n: int
    unit: str
    note: str | None = None


def statistics_table(rows: list[Statistic]) -> pl.DataFrame:
    """STATISTIC, sorted by statistic, subject_kind, subject. A value without an interval keeps null bounds."""
    table = pl.DataFrame([row._asdict() for row in rows], schema=STATISTIC)
    return table.with_columns(pl.col("value", "low", "high").fill_nan(None)).sort("statistic", "subject_kind", "subject")


def share(statistic: str, subject: tuple[str, str], hits: float, n: int, note: str | None = None) -> Statistic:
    """A share, hits / n, with Wilson's interval; n is 1 or more."""
    low, high = wilson(hits, n)
    return Statistic(statistic, *subject, hits / n, float(low), float(high), n, "share", note)


def unknown(statistic: str, subject: tuple[str, str], n: int, unit: str, note: str) -> Statistic:
    """A number that cannot be had, with the reason in words."""
    return Statistic(statistic, *subject, math.nan, math.nan, math.nan, n, unit, note)
