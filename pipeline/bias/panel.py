"""The style panel: how strongly a source's votes go with length, Markdown, citations, hedges, confident words and language."""

import math

import numpy as np
import polars as pl

from pipeline.bias.logistic import Z95, fit, scale_of, squash
from pipeline.bias.outcomes import FACTORS
from pipeline.statistics.intervals import wilson
from pipeline.statistics.table import Statistic, statistics_table, unknown

_NOTHING_DIFFERS = "no pair differs in this, so votes cannot follow it"

_SUMS = {"source": pl.String, "factor": pl.String, "concordant": pl.Int64, "discordant": pl.Int64, "pairs": pl.Int64}


def summarise_panel(rows: pl.DataFrame) -> pl.DataFrame:
    """One partition's counts for each source and factor.

    Args:
        rows: of `outcomes`.

    Returns:
        source, factor; `pairs` that the source's votes decide; of these `concordant`: the answer with more of the factor is
        preferred, and `discordant`: the one with less is.
    """
    decided = rows.filter(pl.col("preferred") != 0)
    parts = [pl.DataFrame(schema=_SUMS)]
    for factor in FACTORS:
        agrees = pl.col(factor).sign() * pl.col("preferred")
        counts = decided.group_by("source").agg(
            factor=pl.lit(factor), concordant=(agrees > 0).sum(), discordant=(agrees < 0).sum(), pairs=pl.len()
        )
        parts.append(counts.select(pl.col(name).cast(kind) for name, kind in _SUMS.items()))
    return pl.concat(parts).sort("source", "factor")


def reduce_panel(sums: list[pl.DataFrame], sample: pl.DataFrame) -> pl.DataFrame:
    """The panel of every source.

    `tau_<factor>`: (concordant - discordant) / all decided pairs; pairs without a difference count among all. Null where no
    pair differs. Its interval is Bonett and Price's (2012) for the difference of two shares of the same rows, cut at -1 and 1.
    `longer_wins`: share of the decided pairs of unequal length in which the longer answer is preferred, with Wilson's interval.
    `coefficient_<factor>`: of a logistic regression of the vote on all factors together, so that one does not answer for
    another; log-odds between a difference far above its standard deviation and none (tanh(difference / sd)). All intervals
    take pairs for independent: they are too narrow where few answers or prompts make many pairs.

    Args:
        sums: rows of `summarise_panel`, of all partitions.
        sample: rows of `sample`.

    Returns:
        STATISTIC.

    Source: tau after PROFILE (2024), the regression after Dissecting Human and LLM Preferences (2024), with a normal for its Laplace prior.
    """
    total = pl.concat([pl.DataFrame(schema=_SUMS), *sums]).group_by("source", "factor").agg(pl.all().sum()).sort("source", "factor")
    rows = [_tau(*counts) for counts in total.iter_rows()]
    rows += [_longer_wins(source, *counts) for source, factor, *counts in total.iter_rows() if factor == "length"]
    for part in sample.partition_by("source", maintain_order=True):
        rows += _coefficients(str(part.item(0, "source")), part)
    return statistics_table(rows)


def _tau(source: str, factor: str, more: int, less: int, n: int) -> Statistic:
    name, unit = f"tau_{factor}", "tau, -1 to 1"
    if more + less == 0:
        return unknown(name, ("source", source), n, unit, _NOTHING_DIFFERS)
    a, b = (more + 1) / (n + 2), (less + 1) / (n + 2)
    half = Z95 * math.sqrt((a + b - (a - b) ** 2) / (n + 2))
    return Statistic(name, "source", source, (more - less) / n, max(-1.0, a - b - half), min(1.0, a - b + half), n, unit)


def _longer_wins(source: str, more: int, less: int, _: int) -> Statistic:
    n = more + less
    if n == 0:
        return unknown("longer_wins", ("source", source), n, "share", "no decided pair has answers of unequal length")
    low, high = wilson(more, n)
    return Statistic("longer_wins", "source", source, more / n, float(low), float(high), n, "share")


def _coefficients(source: str, rows: pl.DataFrame) -> list[Statistic]:
    gaps = rows.select(list(FACTORS)).to_numpy().T.astype(np.float64)
    found = fit(np.array([squash(gap, scale_of(gap)) for gap in gaps]), rows.get_column("outcome").to_numpy())
    told = []
    for factor, gap, value, sd in zip(FACTORS, gaps, found.coefficients.tolist(), found.deviations.tolist(), strict=True):
        name = f"coefficient_{factor}"
        if gap.any():
            told.append(Statistic(name, "source", source, value, value - Z95 * sd, value + Z95 * sd, rows.height, "log-odds"))
        else:
            told.append(unknown(name, ("source", source), rows.height, "log-odds", _NOTHING_DIFFERS))
    return told
