"""Lengths of both answers, in characters and in tokens, with gap and ratio."""

import polars as pl

from pipeline.errors import SchemaError
from pipeline.signals import SIDES
from pipeline.texts import text_of


def add_lengths(pairs: pl.DataFrame, tokens: pl.DataFrame) -> pl.DataFrame:
    """Add `*_chars`, `*_tokens`, `*_gap` (chosen - rejected) and `*_ratio` (shorter / longer, 1 when both are empty).

    Args:
        pairs: PAIR rows, of any order, with `chosen_text` and `rejected_text` (text ids; null: the answer is blank and has 0 tokens).
        tokens: (text_id, tokens): length of each answer in tokens of the embedding model, before any cut. One row a text.

    Raises:
        SchemaError: an answer has no token count, or a text has two.
    """
    if tokens.get_column("text_id").is_duplicated().any():
        raise SchemaError("signals, lengths: a text_id has more than one token count; expected one row a text.")
    counted = pairs
    for side in SIDES:
        counts = tokens.select(pl.col("text_id").alias(f"{side}_text"), pl.col("tokens").cast(pl.Int64).alias(f"{side}_tokens"))
        counted = counted.join(counts, on=f"{side}_text", how="left", maintain_order="left")
        missing = counted.filter(pl.col(f"{side}_tokens").is_null()).get_column(f"{side}_text").drop_nulls()
        if len(missing):
            raise SchemaError(
                f"signals, lengths: {len(missing)} {side} answers have no token count, the first is {missing.sort()[0]}; "
                "expected every chosen_text and rejected_text in `tokens`. Count tokens for all texts of the pairs first."
            )
        counted = counted.with_columns(pl.col(f"{side}_tokens").fill_null(0))
    return counted.with_columns(text_of(side).str.len_chars().cast(pl.Int64).alias(f"{side}_chars") for side in SIDES).with_columns(
        column for unit in ("chars", "tokens") for column in _gap_and_ratio(unit)
    )


def _gap_and_ratio(unit: str) -> tuple[pl.Expr, pl.Expr]:
    chosen, rejected = pl.col(f"chosen_{unit}"), pl.col(f"rejected_{unit}")
    longer = pl.max_horizontal(chosen, rejected)
    ratio = pl.when(longer == 0).then(1.0).otherwise(pl.min_horizontal(chosen, rejected) / longer)
    return (chosen - rejected).alias(f"{unit}_gap"), ratio.alias(f"{unit}_ratio")
