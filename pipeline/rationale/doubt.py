"""How likely a label is wrong, once a model has said which answer its rationale argues for: `rationale_noise_score`.

Two opinions, taken as independent: the model-free `noise_score`, and the verdict, which agrees with the label more often where that is
right. How much more is estimated from the data set itself, without knowing which labels are wrong (the two-annotator argument of
methods on agreement; product of odds: Bayesian aggregation, 2025). Nothing here changes a label. Three parts: `summarise_verdicts` a
partition, `reduce_verdicts` the summaries, `add_rationale_noise` to a partition.

The verdict of a pair is that of the writers that were not told the label. Only what agrees with the label goes on to readers there, so
their verdicts would be a choice. Where all writers were told it, the verdicts that readers recovered from the rationales count, and
those from stated ones, whose writers' votes are part of the label.
"""

from typing import Final

import polars as pl

from pipeline.consensus.fusing import fused

_SCALE: Final = 1 << 30  # sums are of whole numbers of this fraction: exact, in whatever order
_CAUTION: Final = 10.0  # as if that many more pairs had been judged by a coin
_STEEPNESS: Final = 1.0  # likewise for the slope over noise_score, in squared units of it
_TOO_NOISY: Final = 0.45  # the accuracy is divided by 1 - 2 e
_SURE: Final = (0.01, 0.99)  # no verdict is trusted beyond
_OF: Final = ["informed", "firmness"]
# Sums over the pairs that have a verdict for a side, of `noise` = P(label wrong) without it.
SUMS: Final = pl.Schema(
    {"informed": pl.Boolean, "firmness": pl.Float64} | dict.fromkeys(("pairs", "agree", "noise", "noise_agree", "noise_square"), pl.Int64)
)
# P(the verdict is for the label) where the label is right, and where it is wrong.
RATES: Final = pl.Schema({"informed": pl.Boolean, "firmness": pl.Float64, "if_right": pl.Float64, "if_wrong": pl.Float64})


def summarise_verdicts(pairs: pl.DataFrame, rationales: pl.DataFrame) -> pl.DataFrame:
    """One partition's part of how verdicts and labels go together.

    Args:
        pairs: pair_id, noise_score (0 to 1; null: not known) and p_chosen (0.5 to 1), in any order.
        rationales: schema RATIONALE, in any order, of these pairs or of others too.

    Returns:
        SUMS, sorted. `firmness`: 1 where all verdicts of a pair agree, less where they do not; pairs whose verdicts are as many for
        either side are left out.
    """
    told = _read(pairs, rationales).filter(pl.col("agrees").is_not_null())
    whole = (pl.col("noise") * _SCALE).round().cast(pl.Int64)
    sums = told.group_by(_OF).agg(
        pairs=pl.len().cast(pl.Int64),
        agree=pl.col("agrees").sum().cast(pl.Int64),
        noise=whole.sum(),
        noise_agree=whole.filter("agrees").sum(),
        noise_square=(pl.col("noise").pow(2) * _SCALE).round().cast(pl.Int64).sum(),
    )
    return sums.match_to_schema(SUMS).sort(_OF)


def reduce_verdicts(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """How often a verdict is for the label, by whether that is right.

    Where the writer did not know the label, the verdict has one accuracy a on right and wrong labels, and agrees with a share
    A = a (1 - e) + (1 - a) e of them, e being their mean noise: a = (A - e) / (1 - 2 e). A writer who knew the label argues for it even
    where it is wrong, so that A says nothing of a; how much less it then agrees is the slope of agreement over noise (least squares),
    which is none if noise and verdicts are unrelated.

    Args:
        parts: SUMS of all partitions, in any order.

    Returns:
        RATES, sorted; drawn towards verdicts that say nothing where pairs are few, equal where e is 0.45 or more or verdicts are no
        better than chance.
    """
    sums = pl.concat([SUMS.to_frame(), *parts]).group_by(_OF).agg(pl.exclude(_OF).sum()).sort(_OF)
    n, noise = pl.col("pairs").cast(pl.Float64), pl.col("noise") / _SCALE
    agreed, mean = (pl.col("agree") + _CAUTION / 2) / (n + _CAUTION), noise / n
    accuracy = pl.when(mean < _TOO_NOISY).then((agreed - mean) / (1 - 2 * mean)).otherwise(0.5).clip(0.5, _SURE[1])
    square = pl.col("noise_square") / _SCALE - noise * mean
    slope = (noise * pl.col("agree") / n - pl.col("noise_agree") / _SCALE) / (square + _STEEPNESS)
    right = (agreed + slope.clip(0.0, 1.0) * mean).clip(*_SURE)
    wrong = pl.min_horizontal((right - slope.clip(0.0, 1.0)).clip(*_SURE), right)
    return sums.select(
        *_OF,
        if_right=pl.when("informed").then(right).otherwise(accuracy),
        if_wrong=pl.when("informed").then(wrong).otherwise(1 - accuracy),
    )


def add_rationale_noise(pairs: pl.DataFrame, rationales: pl.DataFrame, rates: pl.DataFrame) -> pl.DataFrame:
    """Add `rationale_noise_score`: P(the label is wrong | noise_score, verdict).

    The odds of `noise_score` times P(verdict | wrong) / P(verdict | right). It assumes that the verdict's mistakes have nothing to do
    with those of `noise_score`: a reader misled by what misleads the models makes it too sure.

    Args:
        pairs: as for `summarise_verdicts`; their other columns stay.
        rationales: as there.
        rates: of `reduce_verdicts`, over the same data set.

    Returns:
        The rows in their order with `rationale_noise_score`, Float64, 0 to 1: `noise_score` itself where there is no verdict for a side;
        1 - p_chosen takes its place where it is not known but a verdict is; null where neither is.
    """
    read = _read(pairs, rationales).join(rates, on=_OF, how="left", maintain_order="left")
    odds = pl.when("agrees").then(pl.col("if_wrong") / pl.col("if_right")).otherwise((1 - pl.col("if_wrong")) / (1 - pl.col("if_right")))
    known = pl.col("agrees").is_not_null() & odds.is_not_null()
    score = pl.when(known).then(fused(pl.concat_list("noise", odds / (1 + odds)))).otherwise("noise_score")
    return pairs.with_columns(read.select(score.alias("rationale_noise_score")).to_series())


def _read(pairs: pl.DataFrame, rationales: pl.DataFrame) -> pl.DataFrame:
    """Of each pair, in order: noise_score, informed, firmness (0 to 1), agrees (null: no verdict for a side), noise."""
    # A rubric is about one criterion, and a stated vote part of the label.
    hidden = ~pl.col("label_shown").fill_null(True) & ~pl.col("kind").is_in(["rubric", "stated"])
    own = pl.when(hidden).then(_worth("own_verdict"))
    recovered = pl.concat_list(_worth("recovered_first"), _worth("recovered_second")).list.drop_nulls()
    marked = rationales.select("pair_id", hidden=hidden, own=own, points=recovered.list.sum(), readers=recovered.list.len())
    told = marked.group_by("pair_id").agg(
        pl.col("hidden").any(), pl.col("own").mean(), readers=pl.col("points").sum() / pl.col("readers").sum()
    )
    joined = pairs.select("pair_id", "noise_score", "p_chosen").join(told, on="pair_id", how="left", maintain_order="left")
    recovered_share = pl.when(~pl.col("hidden")).then(pl.col("readers").fill_nan(None))
    lead = 2 * pl.coalesce("own", recovered_share) - 1
    return joined.select(
        "noise_score",
        informed=pl.col("own").is_null(),
        firmness=lead.abs().round(2),
        agrees=pl.when(lead != 0).then(lead > 0),
        noise=pl.coalesce("noise_score", 1 - pl.col("p_chosen")).clip(1e-6, 1 - 1e-6),
    )


def _worth(column: str) -> pl.Expr:
    """A verdict as points for chosen."""
    return pl.col(column).replace_strict({"chosen": 1.0, "tie": 0.5, "rejected": 0.0}, default=None, return_dtype=pl.Float64)
