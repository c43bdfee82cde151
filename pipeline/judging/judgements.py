"""What a judge says of pairs -> judgements, one for each order, as if a source had stated them."""

from collections.abc import Callable

import polars as pl

from pipeline.config import EndpointConfig, JudgeConfig
from pipeline.identity import content_hash
from pipeline.judging.tables import HIGH, LOW
from pipeline.judging.who import annotator
from pipeline.schemas import JUDGEMENT, MODEL_SCORES_PL

_STRINGS = pl.List(pl.String)


def rows(combined: pl.DataFrame, pairs: pl.DataFrame, config: JudgeConfig, endpoint: EndpointConfig) -> pl.DataFrame:
    """The votes of a judge.

    Args:
        combined: COMBINED; rows with a reason are no votes.
        pairs: pair_id, prompt_id, prompt, tools, criterion, context, low, high, low_id, high_id; one row a pair.
        config: whose votes they are.
        endpoint: where its model is asked.

    Returns:
        The columns of JUDGEMENT, sorted by judgement_id. `response_a` is the answer that was shown first, which the judge's words call
        Response A. The id covers pair, verdict, strength, order and judge, not the words: asking again for the same verdict gives
        the same judgement. `source_row` is 0. `extra` holds what the verdict rests on.
    """
    said = combined.filter(pl.col("reason").is_null()).join(pairs, on="pair_id", how="inner", maintain_order="left")

    def side(first: str, second: str) -> pl.Expr:
        return pl.when("low_first").then(first).otherwise(second)

    better = pl.col("verdict").replace_strict([LOW, HIGH], ["low", "high"], default="tie", return_dtype=pl.String)
    shown_low = pl.when("low_first").then(pl.lit("low")).otherwise(pl.lit("high"))
    outcome = pl.when(better == "tie").then(pl.lit("tie")).when(better == shown_low).then(pl.lit("a")).otherwise(pl.lit("b"))
    told = said.with_columns(
        response_a=side("low", "high"),
        response_b=side("high", "low"),
        response_a_id=side("low_id", "high_id"),
        response_b_id=side("high_id", "low_id"),
        outcome=outcome,
        strength=pl.col("strength").cast(pl.Float32),
        shown_first=pl.lit("a"),
        annotator_id=pl.lit(annotator(config, endpoint)),
        annotator_kind=pl.lit("judge"),
        source=pl.lit(f"judge:{config.name}"),
        source_uri=pl.lit(f"llm:{endpoint.name}/{endpoint.model}"),
        source_row=pl.lit(0, pl.Int64),
        extra=_extra(side),
        both_bad=pl.lit(False),
        is_copy=pl.lit(False),
        normalised=pl.lit([], _STRINGS),
        derived_from=pl.lit([], _STRINGS),
        model_scores=pl.lit(None, MODEL_SCORES_PL),
        **{name: pl.lit(None, pl.String) for name in ("model_a", "model_b", "source_split", "judged_at", "merged_into", "merged_a")},
    )
    won = pl.when(pl.col("outcome") == "a").then("response_a_id").otherwise("response_b_id")
    named = pl.when(pl.col("outcome") == "tie").then(pl.lit("tie")).otherwise(won)
    covered = pl.struct(
        "pair_id", named.alias("better"), pl.col("strength").cast(pl.Float64).round(6).alias("strength"),
        pl.col("response_a_id").alias("shown_first"), "annotator_id",
    )  # fmt: skip
    ids = content_hash(told.select(covered.struct.json_encode()).to_series(), "verdict")
    return told.with_columns(judgement_id=ids).select(JUDGEMENT.names).sort("judgement_id")


def _extra(side: Callable[[str, str], pl.Expr]) -> pl.Expr:
    """What was counted, said of the sides as shown, as JSON."""
    counts = {
        f"{what}_{letter}": side(f"{what}_{one}", f"{what}_{two}")
        for what in ("votes", "score")
        for letter, one, two in (("a", "low", "high"), ("b", "high", "low"))
    }
    told = pl.struct("asked", "votes_tie", "support", *(value.alias(name) for name, value in counts.items()))
    return told.struct.json_encode()
