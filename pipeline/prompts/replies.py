"""Questions with what was answered: the fields of each answer, or why there are none."""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
import pyarrow as pa

from pipeline.llm.tables import ANSWERS, Form
from pipeline.prompts.answers import fields, read_json

Ask = Callable[[Form, pl.DataFrame], pl.DataFrame]  # REQUESTS -> ANSWERS of those that have one


def strict(**properties: Mapping[str, Any]) -> dict[str, Any]:
    """JSON schema of an object with these properties, all required and no others allowed."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def replies(asked: pl.DataFrame, answers: pl.DataFrame, schema: Mapping[str, Any]) -> pl.DataFrame:
    """Add to each question what its answer says.

    Args:
        asked: REQUESTS and whatever else a caller put beside them.
        answers: ANSWERS; those of other questions may be among them.
        schema: of the answers.

    Returns:
        The rows of `asked` in their order, with a column for each property of the schema (null where there is no valid answer) and
        `reason`: no_answer, refused, cut_off (not whole, because it ended at the limit of tokens), not_json, wrong_schema; null: valid.
    """
    told = answers.select("bucket", "key", "text", "finish_reason", "refusal", _there=pl.lit(True))
    rows = asked.join(told, on=["bucket", "key"], how="left", maintain_order="left")
    said = read_json(rows.get_column("text"), schema)
    reason = (
        pl.when(pl.col("_there").is_null())
        .then(pl.lit("no_answer"))
        .when(pl.col("refusal").is_not_null() | (pl.col("finish_reason") == "content_filter"))
        .then(pl.lit("refused"))
        .when(~pl.col("valid") & (pl.col("finish_reason") == "length"))
        .then(pl.lit("cut_off"))
        .otherwise("problem")
    )
    found = pl.concat([rows, said], how="horizontal").with_columns(reason=reason)
    usable = pl.when(pl.col("reason").is_null()).then("value").alias("value")
    values = fields(found.select(usable).to_series(), schema)
    return pl.concat([found.select(*asked.columns, "reason"), values], how="horizontal")


def put(ask: Ask, form: Form, asked: pl.DataFrame) -> pl.DataFrame:
    """Put questions to a model: `replies`. Where there are none, nothing is asked."""
    if asked.is_empty():
        return replies(asked, pl.DataFrame(pl.from_arrow(pa.Table.from_pylist([], ANSWERS))), form.schema)
    return replies(asked, ask(form, asked), form.schema)
