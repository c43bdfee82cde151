"""What reward models think of a pair: mean, spread and agreement of their margins, and where the pair stands among all.

Secrets of RLHF in Large Language Models Part II: Reward Modeling (2024): per pair the mean of score(chosen) - score(rejected) over the
models, and the standard deviation with their number as divisor. The scale is each model's own, so rules should use `rm_percentile` or
`rm_agreement`. Models trained on the very pairs share the errors of their labels: a high mean is no independent vote.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.statistics.table import Statistic, share, statistics_table, unknown

Floats = npt.NDArray[np.float64]

# Of one model: pairs it tells something about, sums over them.
MODELS: Final = pl.Schema(
    {
        "model": pl.String,
        "pairs": pl.Int64,  # both answers have a score, and the votes chose one
        "agree": pl.Int64,  # the chosen one's is higher
        "equal": pl.Int64,
        "one_sided": pl.Int64,  # only one of the answers has a score
        "telling": pl.Int64,  # the two scores differ, tied pairs included; 0: the model is constant
    }
)
# Equal sums of margins by the same models, and of how many pairs.
SUMS: Final = pl.Schema({"total": pl.Float64(), "models": pl.List(pl.String), "pairs": pl.Int64()})
RANKS: Final = pl.Schema({"rm_mean": pl.Float64, "pairs": pl.Int64})
SIGNALS: Final = ("rm_models", "rm_mean", "rm_std", "rm_agreement", "rm_percentile")

_CONSTANT: Final = "the same score for both answers of every pair: it tells nothing, and no mean counts it"


def summarise_models(pairs: pl.DataFrame) -> pl.DataFrame:
    """What each model told in a partition.

    Args:
        pairs: pair_id, chosen_id, rejected_id, tie, and `model_scores` (`pipeline.pairing.SCORES`, said of the lesser response id
            as `low`). Leave absorbed near duplicates out: their scores count in the pair that absorbed them.

    Returns:
        MODELS, sorted by model.
    """
    scored = _scored(pairs)
    margin, decided = pl.col("margin"), ~pl.col("tie")
    return (
        scored.join(pairs.with_row_index("row").select("row", "tie"), on="row", how="left", maintain_order="left")
        .group_by("model")
        .agg(
            pairs=(margin.is_not_null() & decided).sum().cast(pl.Int64),
            agree=((margin > 0) & decided).sum().cast(pl.Int64),
            equal=((margin == 0) & decided).sum().cast(pl.Int64),
            one_sided=margin.is_null().sum().cast(pl.Int64),
            telling=(margin != 0).sum().cast(pl.Int64),
        )
        .match_to_schema(MODELS)
        .sort("model")
    )


def summarise_sums(pairs: pl.DataFrame) -> pl.DataFrame:
    """The sums of margins of a partition's pairs that are no ties: SUMS, sorted. Arguments are those of `summarise_models`."""
    decided = pairs.filter(~pl.col("tie"))
    margins = _scored(decided).drop_nulls("margin")
    totals = _by_row(margins, margins["margin"].to_numpy(), decided.height)
    told = margins.group_by("row", maintain_order=True).agg(models="model")
    told = told.with_columns(total=pl.Series(totals, dtype=pl.Float64).gather(told["row"]))
    key = pl.col("models").list.join("\n")  # a list is no key to group by
    counted = told.group_by("total", key.alias("key")).agg(pl.col("models").first(), pairs=pl.len().cast(pl.Int64))
    return counted.sort("total", "key").select(SUMS.names()).match_to_schema(SUMS)


def reduce_model_scores(models: list[pl.DataFrame], sums: list[pl.DataFrame]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What the models told in all partitions.

    Args:
        models: what `summarise_models` gave for each.
        sums: what `summarise_sums` gave for each.

    Returns:
        MODELS; and RANKS: each mean margin of the data set, sorted, and how many pairs have it. Constant models count in no mean.
    """
    together = pl.concat([MODELS.to_frame(), *models]).group_by("model").agg(pl.all().sum()).sort("model")
    silent = _constant(together)
    # A constant model adds nothing to a sum; it only must not be counted.
    counted = pl.col("models").list.set_difference(silent.to_list()).list.len() if len(silent) else pl.col("models").list.len()
    means = pl.concat([SUMS.to_frame(), *sums]).with_columns(n=counted).filter(pl.col("n") > 0)
    ranks = means.group_by(rm_mean=pl.col("total") / pl.col("n")).agg(pl.col("pairs").sum())
    return together, ranks.sort("rm_mean").match_to_schema(RANKS)


def add_model_scores(pairs: pl.DataFrame, models: pl.DataFrame, ranks: pl.DataFrame) -> pl.DataFrame:
    """Add what reward models say of each pair.

    Args:
        pairs: as for `summarise_models`, absorbed ones too.
        models: MODELS of the data set.
        ranks: RANKS of the data set.

    Returns:
        The rows in their order without `model_scores`, with `rm_models` (how many gave both answers a score, constant ones left out;
        0 and up), and, null where that is 0 (or the answers are equal): `rm_mean` and `rm_std` (points of the models: mean and
        population standard deviation of score(chosen) - score(rejected)), `rm_agreement` (share of the models that score the chosen
        answer higher, equal scores half, 0 to 1), `rm_percentile` (share of the data set's pairs with a lower mean, equal ones half,
        0 to 1).
    """
    margins = _scored(pairs).drop_nulls("margin").filter(~pl.col("model").is_in(_constant(models).implode()))
    values, row = margins["margin"].to_numpy(), margins["row"].to_numpy()
    n = np.bincount(row, minlength=pairs.height).astype(np.int64)
    divisor = np.maximum(n, 1)
    mean = _by_row(margins, values, pairs.height) / divisor
    std = np.sqrt(_by_row(margins, (values - mean[row]) ** 2, pairs.height) / divisor)
    agreement = _by_row(margins, (values > 0) + 0.5 * (values == 0), pairs.height) / divisor
    signals = pl.DataFrame(
        {"rm_models": n, "rm_mean": mean, "rm_std": std, "rm_agreement": agreement, "rm_percentile": _percentile(mean, ranks)}
    )
    known = pl.col("rm_models") > 0
    told = signals.select("rm_models", *(pl.when(known).then(name).alias(name) for name in SIGNALS[1:]))
    return pl.concat([pairs.drop("model_scores"), told], how="horizontal")


def model_statistics(models: pl.DataFrame, ranks: pl.DataFrame, dataset: str) -> pl.DataFrame:
    """How the models and the labels agree.

    Args:
        models: MODELS of the data set.
        ranks: RANKS of the data set.
        dataset: its name.

    Returns:
        STATISTIC. `rm_label_agreement` of each model: share of the pairs whose chosen answer it scores higher, equal scores half.
        `rm_mean_negative` of the data set: share of the pairs that the models on average see the other way round; on HH it was
        about a quarter (Secrets II). Both with Wilson intervals; no rows where there are no scores.
    """
    rows = [_agreement(model) for model in models.to_dicts()]
    n = int(ranks["pairs"].sum())
    if n:
        negative = int(ranks.filter(pl.col("rm_mean") < 0)["pairs"].sum())
        rows.append(share("rm_mean_negative", ("dataset", dataset), negative, n, None))
    return statistics_table(rows)


def _agreement(model: dict[str, int | str]) -> Statistic:
    pairs, agree, equal, one_sided = (int(model[name]) for name in ("pairs", "agree", "equal", "one_sided"))
    subject = ("reward_model", str(model["model"]))
    note = f"{one_sided} pairs have a score for one answer only" if one_sided else None
    if pairs and model["telling"]:
        return share("rm_label_agreement", subject, agree + equal / 2, pairs, note)
    why = _CONSTANT if pairs else "no pair with a label has a score for both answers"
    return unknown("rm_label_agreement", subject, pairs, "share", "; ".join(filter(None, (why, note))))


def _constant(models: pl.DataFrame) -> pl.Series:
    return models.filter(pl.col("telling") == 0)["model"]


def _scored(pairs: pl.DataFrame) -> pl.DataFrame:
    """Each row (place of a pair) and model once, sorted, with its margin (null: one side has no score); equal answers have none."""
    flat = (
        pairs.with_row_index("row")
        .filter(pl.col("chosen_id") != pl.col("rejected_id"))
        .select(pl.col("row").cast(pl.Int64), "model_scores", low_is_chosen=pl.col("chosen_id") < pl.col("rejected_id"))
        .explode("model_scores", empty_as_null=False)
        .drop_nulls("model_scores")
        .unnest("model_scores")
    )
    gap = pl.when("low_is_chosen").then(pl.col("low") - pl.col("high")).otherwise(pl.col("high") - pl.col("low"))
    each = flat.select("row", "model", margin=pl.when(gap.is_finite()).then(gap)).sort("row", "model", "margin", nulls_last=True)
    # Where sources tell different scores of one model, their mean. The sum of two needs no order, and more are rare.
    return each.group_by("row", "model", maintain_order=True).agg(pl.col("margin").mean())


def _by_row(margins: pl.DataFrame, values: Floats, rows: int) -> Floats:
    """Sums of one value per row of `margins` over each pair, added one by one in the models' order."""
    return np.bincount(margins["row"].to_numpy(), weights=values, minlength=rows).astype(np.float64)


def _percentile(means: Floats, ranks: pl.DataFrame) -> Floats:
    values, until = ranks["rm_mean"].to_numpy(), np.concatenate([[0], np.cumsum(ranks["pairs"].to_numpy())])
    below, with_equal = (until[np.searchsorted(values, means, side)] for side in ("left", "right"))
    return np.asarray((below + with_equal) / (2.0 * max(1, int(until[-1]))), np.float64)
