"""Verdicts of several samples, criteria and orders -> what a judge says of a pair.

Samples of one question vote (self-agreement: Ask One More Time, 2023), or add up the scores they give, without those that a meta judge
throws out (Inference-Time Scaling for Generalist Reward Modeling, 2025). Verdicts by criteria make a majority over criteria (CritiQ,
2025). Over the two orders a verdict counts where it names the same answer in both (DMoERM, 2024); adding up the shares of both orders
(Dissecting Human and LLM Preferences, 2024) decides more pairs, and is told beside it.
"""

from typing import Final

import polars as pl

from pipeline.config import JudgeConfig
from pipeline.judging.tables import COMBINED, HIGH, LOW, TIE

NO_MAJORITY: Final = "no_majority"
META_REJECTED: Final = "meta_rejected"
OTHER_ORDER: Final = "other_order_failed"
_BY: Final = ["pair_id", "low_first"]
_SIDES: Final = {"votes_low": LOW, "votes_tie": TIE, "votes_high": HIGH}


def combine(verdicts: pl.DataFrame, config: JudgeConfig) -> pl.DataFrame:
    """What a judge says of each pair in each order.

    Args:
        verdicts: VERDICTS of one judge, all samples and criteria of a pair, in any order.
        config: `vote`, `criteria`, `orders`, `meta`.

    Returns:
        COMBINED, sorted by pair_id, low_first. By majority the verdict is the one most samples name, and there is none where two lead
        (`no_majority`); by scores, the answer with the higher sum over the samples that score both, equal sums being a tie. With
        criteria, each has the verdict of its samples, and the answer that more of them name wins; neither does where both have as
        many. Where everything counted fails, `reason` is the failures' most frequent one; `other_order_failed`: asked in both
        orders, and there is no verdict in the other one, so this one is no vote either.
    """
    asked = [*_BY, "criterion"]
    rows = verdicts.with_columns(_counts=_counts(config)).sort(*asked, "sample")
    found = _of_samples(rows, asked, config)
    told = _over_criteria(found) if config.criteria else found.drop("criterion")
    told = told.join(_failures(rows), on=_BY, how="left", maintain_order="left").join(_described(rows, told), on=_BY, how="left")
    none = pl.col("verdict").is_null()
    told = told.with_columns(
        reason=pl.when(none & (pl.col("votes_low") + pl.col("votes_tie") + pl.col("votes_high") == 0))
        .then(pl.coalesce("_failure", pl.lit(NO_MAJORITY)))
        .when(none)
        .then(pl.lit(NO_MAJORITY)),
    )
    if config.orders == "both":
        both = (~none).sum().over("pair_id") == 2
        told = told.with_columns(reason=pl.when(pl.col("reason").is_null() & ~both).then(pl.lit(OTHER_ORDER)).otherwise("reason"))
    return told.select(COMBINED.names()).cast(COMBINED).sort(_BY)  # type: ignore[arg-type, unused-ignore]


def over_orders(combined: pl.DataFrame) -> pl.DataFrame:
    """What the verdicts in both orders say together.

    Args:
        combined: COMBINED of one judge.

    Returns:
        One row a pair that has a verdict in both orders: pair_id, agreed (the verdict of both; null: they name the same place, or one
        is a tie), share_low and share_high (sums over both orders of the share of its samples or criteria, ties half to each; 0 to
        2), summed (the verdict of the larger sum). Sorted.
    """
    votes = pl.sum_horizontal(*_SIDES)
    shares = {f"share_{side}": (pl.col(f"votes_{side}") + pl.col("votes_tie") / 2) / votes for side in ("low", "high")}
    said = combined.filter(pl.col("verdict").is_not_null()).sort(_BY).with_columns(**shares)
    pairs = said.group_by("pair_id", maintain_order=True).agg(
        _orders=pl.col("low_first").n_unique(),
        agreed=pl.when(pl.col("verdict").n_unique() == 1).then(pl.col("verdict").first()),
        share_low=pl.col("share_low").sum(),
        share_high=pl.col("share_high").sum(),
    )
    return pairs.filter(pl.col("_orders") == 2).select(
        "pair_id", "agreed", "share_low", "share_high", summed=(pl.col("share_high") - pl.col("share_low")).sign().cast(pl.Int8)
    )


def _counts(config: JudgeConfig) -> pl.Expr:
    there = pl.col("verdict").is_not_null()
    return there & pl.col("stands").fill_null(True) if config.meta else there


def _of_samples(rows: pl.DataFrame, by: list[str], config: JudgeConfig) -> pl.DataFrame:
    """The verdict of each question's samples: `by`, votes for each verdict, sums of scores, verdict, support."""
    counted = pl.col("_counts")
    scored = counted & pl.col("score_low").is_not_null() & pl.col("score_high").is_not_null()
    found = rows.group_by(by, maintain_order=True).agg(
        asked=pl.len(),
        **{name: (counted & (pl.col("verdict") == vote)).sum().cast(pl.Int64) for name, vote in _SIDES.items()},
        **{name: pl.when(scored.any()).then(pl.col(name).filter(scored).sum()) for name in ("score_low", "score_high")},
    )
    by_scores = (pl.col("score_high") - pl.col("score_low")).sign().cast(pl.Int8)
    most = pl.max_horizontal(*_SIDES)
    leads = pl.sum_horizontal(pl.col(name) == most for name in _SIDES) == 1
    first = pl.coalesce(pl.when(pl.col(name) == most).then(pl.lit(vote, pl.Int8)) for name, vote in _SIDES.items())
    verdict = by_scores if config.vote == "scores" else pl.when(leads).then(first)
    return found.with_columns(verdict=verdict).with_columns(support=_support())


def _over_criteria(found: pl.DataFrame) -> pl.DataFrame:
    """The majority over criteria; those that call a tie, or have no verdict, are for neither."""
    counts = {name: (pl.col("verdict") == vote).sum().cast(pl.Int64) for name, vote in _SIDES.items()}
    scores = [pl.when(pl.col(name).count() > 0).then(pl.col(name).sum()).alias(name) for name in ("score_low", "score_high")]
    pairs = found.group_by(_BY, maintain_order=True).agg(pl.col("asked").sum(), *scores, **counts)
    lead = (pl.col("votes_high") - pl.col("votes_low")).sign().cast(pl.Int8)
    return pairs.with_columns(verdict=pl.when(lead != 0).then(lead)).with_columns(support=_support())


def _support() -> pl.Expr:
    named = pl.coalesce(pl.when(pl.col("verdict") == vote).then(name) for name, vote in _SIDES.items())
    votes = pl.sum_horizontal(*_SIDES)
    return pl.when(votes > 0).then(named / votes)


def _failures(rows: pl.DataFrame) -> pl.DataFrame:
    """Why a pair's questions in one order came to nothing: the most frequent reason, the first by name among equals."""
    reason = pl.coalesce("reason", pl.when(pl.col("verdict").is_not_null() & ~pl.col("_counts")).then(pl.lit(META_REJECTED)))
    failed = rows.select(*_BY, _failure=reason).drop_nulls("_failure").group_by(*_BY, "_failure").len()
    most = failed.sort(*_BY, "len", "_failure", descending=[False, False, True, False])
    return most.group_by(_BY, maintain_order=True).agg(pl.col("_failure").first())


def _described(rows: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    """The mean strength of what says the same as the combined verdict, and the words of the first of it."""
    same = rows.filter("_counts").join(told.select(*_BY, _wanted="verdict"), on=_BY, how="left", maintain_order="left")
    same = same.filter(pl.col("verdict") == pl.col("_wanted"))
    words = pl.col("rationale").drop_nulls().first()
    return same.group_by(_BY, maintain_order=True).agg(pl.col("strength").mean(), rationale=words)
