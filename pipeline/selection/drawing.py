"""One draw of pairs: how many of which group, and which ones."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from math import floor

import numpy as np
import polars as pl

from pipeline.config import SelectionConfig
from pipeline.config.selection import MinShareConfig, MixtureConfig, SampleConfig
from pipeline.selection import gumbel
from pipeline.selection.noise import uniform
from pipeline.selection.shares import exact, largest_remainder, most_that_fit, most_with_least, quotas


class Drawing:
    """One draw: what leaves, what could not be done, and the shares asked for."""

    def __init__(self, config: SelectionConfig, rows: pl.DataFrame) -> None:
        self.config, self.sample = config, config.sample or SampleConfig()
        self.left, self.warnings = list[pl.DataFrame](), list[str]()
        self.requested: dict[str, Fraction] = {}
        rows = self._in_mixture(rows)
        rows = self._with_advantage(rows)
        best = self._best_first(rows)
        stays, about = self._which(best)
        self._leave(best, stays, about)

    def _in_mixture(self, rows: pl.DataFrame) -> pl.DataFrame:
        mixture = self.config.mixture
        if mixture is None or not isinstance(mixture.weights, dict):
            return rows
        detail = f"its {mixture.by} is none of {', '.join(mixture.weights)}"
        self._drop(rows.filter(pl.col("group").is_null()), "not_in_mixture", detail=pl.lit(detail))
        return rows.filter(pl.col("group").is_not_null())

    def _with_advantage(self, rows: pl.DataFrame) -> pl.DataFrame:
        if self.sample.advantage is None:
            return rows
        scores, usual = (rows.get_column(name).to_numpy().astype(np.float64) for name in ("score", "usual"))
        rows = rows.with_columns(above=pl.Series(gumbel.advantages(scores, usual)))
        none = rows.filter(pl.col("above") == 0)
        detail = pl.lit(f"{self.sample.advantage.score} is not above {self.sample.advantage.over or 'the mean of its prompt'}")
        self._drop(none, "no_advantage", score=pl.col("score"), threshold=pl.col("usual"), detail=detail)
        if none.height == rows.height and rows.height:
            self.warnings.append("selection.sample.advantage: no pair has a score above what is usual; nothing is left")
        return rows.filter(pl.col("above") > 0)

    def _best_first(self, rows: pl.DataFrame) -> pl.DataFrame:
        sample, ids = self.sample, rows.get_column("pair_id")
        crowd = rows.select(pl.len().over("cluster").cast(pl.Float64)).to_series().to_numpy() if sample.spread else None
        key = gumbel.keys(
            ids,
            self.config.seed,
            scores=None if sample.by is None else rows.get_column("score").to_numpy().astype(np.float64),
            temperature=sample.temperature,
            above=None if sample.advantage is None else rows.get_column("above").to_numpy(),
            crowd=crowd,
            spread=sample.spread,
        )
        if self.config.groups is None:
            within = {"source": pl.col("sources").list.join(" and "), "cluster": pl.col("cluster")}
            rows = rows.with_columns(group=within.get(sample.per or "", pl.lit("")))
        about = ["above"] if sample.advantage is not None else []
        light = rows.select("pair_id", "tokens", "score", *about, pl.col("group").fill_null(""), key=pl.Series(key).fill_nan(None))
        return light[gumbel.best_first(ids, self.config.seed, key)]

    def _which(self, best: pl.DataFrame) -> tuple[pl.Series, str]:
        sizes = dict(best.group_by("group").len().sort("group").iter_rows())
        if self.config.mixture is not None:
            return self._mixed(best, sizes, self.config.mixture)
        if self.config.min_share is not None:
            return self._with_least(best, sizes, self.config.min_share)
        if self.sample.tokens is not None:
            held = dict(best.group_by("group").agg(pl.col("tokens").sum()).sort("group").iter_rows())
            return gumbel.take_tokens(best, self._dealt(self.sample.tokens, held)), "within a budget of tokens, "
        total = self._total(best.height, lambda: best.height)
        return gumbel.take_of_each(best, self._dealt(total, sizes)), ""

    def _dealt(self, total: int, sizes: dict[str, int]) -> pl.DataFrame:
        """A total dealt out to groups in proportion to their sizes; whose rest is equal, in an order of hashes."""
        ids = pl.Series(list(sizes), dtype=pl.String)
        order = np.argsort(uniform(ids, self.config.seed, "groups"), kind="stable")
        shares = {ids[int(at)]: Fraction(sizes[ids[int(at)]]) for at in order}
        return _quota_table(largest_remainder(total, shares))

    def _total(self, rows: int, otherwise: Callable[[], int]) -> int:
        mixture = self.config.mixture
        asked = self.sample.rows if self.sample.rows is not None else mixture.rows if mixture is not None else None
        if asked is not None:
            if asked > rows:
                self.warnings.append(f"selection: {asked} pairs are asked for, and there are {rows}")
            return min(asked, rows)
        return floor(exact(self.sample.share) * rows) if self.sample.share is not None else otherwise()

    def _named(self, sizes: dict[str, int], shares: dict[str, Fraction]) -> dict[str, Fraction]:
        """The shares of the groups that there are."""
        groups = self.config.groups
        absent = [name for name in shares if name not in sizes]
        if absent and groups is not None:
            what = "mixture: the others share its part" if self.config.mixture is not None else "min_share: nothing is set aside for it"
            self.warnings += [f"selection: no pair is left of {groups.by} {name!r} of {what}" for name in absent]
        return {name: share for name, share in shares.items() if name in sizes}

    def _mixed(self, best: pl.DataFrame, sizes: dict[str, int], mixture: MixtureConfig) -> tuple[pl.Series, str]:
        named = mixture.weights if isinstance(mixture.weights, dict) else dict.fromkeys(sizes, 1.0)
        stated = {name: exact(weight) for name, weight in named.items()}
        shares = self._named(sizes, stated)
        total = self._total(best.height, lambda: most_that_fit(sizes, shares) if shares else 0)
        quota = largest_remainder(total, shares)
        short = {name: (sizes[name], asked) for name, asked in quota.items() if asked > sizes[name]}
        self.warnings += [
            f"selection.mixture: {mixture.by} {name!r} has {has} of the {asked} pairs asked for; they stay, and nothing fills the gap"
            for name, (has, asked) in short.items()
        ]
        whole = sum(stated.values())
        self.requested = {name: share / whole for name, share in stated.items()}
        return gumbel.take_of_each(best, _quota_table(quota)), f"of {mixture.by} {{}}, "

    def _with_least(self, best: pl.DataFrame, sizes: dict[str, int], config: MinShareConfig) -> tuple[pl.Series, str]:
        self.requested = {name: exact(share) for name, share in config.shares.items()}
        shares = self._named(sizes, self.requested)
        total = self._total(best.height, lambda: most_with_least(sizes, shares, best.height))
        least = quotas(total, shares)
        if sum(least.values()) > total:  # rounded up, shares of 1 together are too many
            least = largest_remainder(total, shares)
        self.warnings += [
            f"selection.min_share: {config.by} {name!r} has {sizes[name]} of the {asked} pairs asked for; all of them stay"
            for name, asked in least.items()
            if asked > sizes[name]
        ]
        return gumbel.take_with_least(best, least, total), f"of {config.by} {{}}, "

    def _leave(self, best: pl.DataFrame, stays: pl.Series, about: str) -> None:
        marked = best.with_columns(stays=stays)
        seats = marked.group_by("group").agg(size=pl.len(), kept=pl.col("stays").sum(), threshold=pl.col("key").filter("stays").last())
        gone = marked.filter(~pl.col("stays")).join(seats, on="group", maintain_order="left")
        named = pl.when(pl.col("group") == "").then(pl.lit("others")).otherwise("group")
        where = pl.format(about, named) if "{}" in about else pl.lit(about)
        detail = pl.concat_str(where, pl.format("{} of {} are drawn", "kept", "size"), self._how())
        self._drop(gone, "not_sampled", score=pl.col("key"), threshold=pl.col("threshold"), detail=detail)

    def _how(self) -> pl.Expr:
        sample = self.sample
        if sample.advantage is not None:
            return pl.format(f": in proportion to an advantage of {{}} (seed {self.config.seed})", "above")
        if sample.by is None:
            return pl.lit(f": at random (seed {self.config.seed})")
        told = f" at temperature {sample.temperature:g} (seed {self.config.seed})" if sample.temperature else ", the highest first"
        return pl.format(": by {} = {}{}", pl.lit(sample.by), pl.col("score").cast(pl.String).fill_null("unknown"), pl.lit(told))

    def _drop(
        self, rows: pl.DataFrame, reason: str, detail: pl.Expr, score: pl.Expr | None = None, threshold: pl.Expr | None = None
    ) -> None:
        nothing = pl.lit(None, pl.Float64)
        self.left.append(
            rows.select(
                "pair_id",
                reason=pl.lit(reason),
                score=nothing if score is None else score,
                threshold=nothing if threshold is None else threshold,
                detail=detail,
            )
        )


def _quota_table(quota: Mapping[str, int]) -> pl.DataFrame:
    return pl.DataFrame({"group": list(quota), "quota": list(quota.values())}, schema={"group": pl.String, "quota": pl.Int64})
