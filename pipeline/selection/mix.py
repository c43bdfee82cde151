"""Which group a pair is of, and what share of the pairs each group has before and after."""

from collections.abc import Mapping
from fractions import Fraction
from math import nan

import polars as pl

from pipeline.config.selection import REST, MinShareConfig, MixtureConfig
from pipeline.statistics.table import Statistic, statistics_table

UNKNOWN = "unknown"


def group_of(pairs: pl.DataFrame, config: MixtureConfig | MinShareConfig) -> pl.Series:
    """The group of each pair, null for none.

    A pair of several sources is of the one that the config names first; where it names none (`equal`), of the first by name. What the
    config does not name is `rest` of a mixture that has one.

    Args:
        pairs: rows with `sources`, `prompt_language` or `topic`, whichever the config looks at.
        config: by what, and which groups it names.
    """
    of = {"source": pl.col("sources").list.sort(), "language": pl.concat_list(pl.col("prompt_language").fill_null(UNKNOWN))}
    values = of[config.by] if config.by in of else pl.concat_list(pl.col("topic"))
    shares = config.weights if isinstance(config, MixtureConfig) else config.shares
    if not isinstance(shares, dict):
        return pairs.select(values.list.first()).to_series()
    has_rest = isinstance(config, MixtureConfig) and REST in shares
    named = [pl.when(values.list.contains(name)).then(pl.lit(name)) for name in shares if not (has_rest and name == REST)]
    rest = pl.lit(REST) if has_rest else pl.lit(None, pl.String)
    return pairs.select(pl.coalesce(*named, rest)).to_series()


def statistics(
    before: pl.DataFrame, after: pl.DataFrame, config: MixtureConfig | MinShareConfig | None, requested: Mapping[str, Fraction]
) -> pl.DataFrame:
    """The mixture that was asked for and the one there is: schema STATISTIC.

    Args:
        before: the pairs that selection saw: `sources`, and `group` where the config names groups (null: of none that it names).
        after: those of them that stay.
        config: what the groups are; without one, a pair counts in each of its sources.
        requested: the share asked for of each group.

    Returns:
        `mixture_before` and `mixture_after` (share of the pairs; n of them) of every group, `mixture_requested` where one was asked for.
    """
    kind = "source" if config is None else config.by
    note = "a pair counts in each of its sources" if config is None else "not a sample: no interval"
    rows: list[Statistic] = []
    for name, pairs in (("mixture_before", before), ("mixture_after", after)):
        value = (
            pl.col("sources").list.explode(keep_nulls=False, empty_as_null=False) if config is None else pl.col("group").fill_null("others")
        )
        counted = pairs.select(group=value).group_by("group").len()
        known = before.select(group=value).unique().join(counted, on="group", how="left").with_columns(pl.col("len").fill_null(0))
        rows += [
            Statistic(name, kind, group, count / pairs.height if pairs.height else nan, nan, nan, count, "share", note)
            for group, count in known.sort("group").iter_rows()
        ]
    rows += [
        Statistic("mixture_requested", kind, group, float(share), nan, nan, after.height, "share", "of what is kept")
        for group, share in requested.items()
    ]
    return statistics_table(rows)
