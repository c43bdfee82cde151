"""Rows of rationales that no model was asked for."""

import polars as pl

from pipeline.identity import content_hash
from pipeline.schemas import RATIONALE

_SCHEMA = pl.Schema(pl.DataFrame(RATIONALE.empty_table()).schema)


def unasked(rows: pl.DataFrame, said: pl.Expr) -> pl.DataFrame:
    """Complete rows to schema RATIONALE.

    Args:
        rows: pair_id, prompt_id, kind, generator, and what else of the schema is known.
        said: what is said, as a hex id (String), or a constant where a pair has one such rationale; goes into `rationale_id`.

    Returns:
        The rows in their order: accepted unless they have a reason, without tokens or cost, all else null.
    """
    stated = rows.select(pl.concat_str("pair_id", "kind", said, separator=" ")).to_series()
    reason = pl.col("reason") if "reason" in rows.columns else pl.lit(None, pl.String)
    known = rows.with_columns(
        rationale_id=content_hash(stated, "rationale"), reason=reason, accepted=reason.is_null(), near_copies=pl.lit(0, pl.Int64),
        input_tokens=pl.lit(0, pl.Int64), output_tokens=pl.lit(0, pl.Int64), cost=pl.lit(0.0),
    )  # fmt: skip
    return known.match_to_schema(_SCHEMA, missing_columns="insert", extra_columns="ignore")
