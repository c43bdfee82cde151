"""Messages to requests: each has a key that says all its answer depends on, but for the model."""

import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from pipeline.identity import content_hash
from pipeline.llm.tables import REQUESTS, Form
from pipeline.prompts.answers import check_schema
from pipeline.prompts.template import Template
from pipeline.stage import bucket_of


def form_of(template: Template, schema: Mapping[str, Any], temperature: float | None = None, max_output_tokens: int | None = None) -> Form:
    """How a template is asked.

    Args:
        template: names the form and its version.
        schema: JSON schema of the answer, an object; strict servers want all its keys required and no others allowed.
        temperature: 0 where null.
        max_output_tokens: the template's where null.

    Raises:
        ValueError: the schema uses what `answers` cannot read, or is not strict.
    """
    check_schema(schema)
    tokens = template.max_output_tokens if max_output_tokens is None else max_output_tokens
    return Form(template.name, template.version, schema, tokens, temperature or 0.0)


def requests(rows: pl.DataFrame, form: Form, template: Template, messages: pl.Series, sample: int = 0) -> pl.DataFrame:
    """Questions as a client takes them.

    Args:
        rows: pair_id, prompt_id; N rows.
        form: how they are asked.
        template: what `messages` were rendered from; its digest is part of the keys.
        messages: N, `llm.tables.SAID`.
        sample: 0 and up: the same question asked again is another one.

    Returns:
        `llm.tables.REQUESTS`, N rows in the order of `rows` (`rows.hstack` or `with_columns` add what a caller must know to read
        the answers). The key covers form, template, messages, sample and bucket; pair_id is no part of it, so pairs of a bucket with equal
        questions have one answer.
    """
    how = [
        form.name,
        str(form.version),
        template.digest,
        json.dumps(form.schema, sort_keys=True, separators=(",", ":")),
        str(form.max_output_tokens),
        repr(form.temperature),
        str(sample),
    ]
    start = pl.lit("".join(f"{len(text.encode())}:{text}" for text in how))
    said = pl.element().struct
    told = pl.concat_str([_told(said.field(name)) for name in ("role", "content")])
    asked = rows.select("pair_id", bucket_of("prompt_id").alias("bucket")).with_columns(messages.alias("messages"))
    bucket = pl.concat_str(pl.col("bucket").cast(pl.String), pl.lit(":"))
    whole = asked.select(pl.concat_str(start, bucket, pl.col("messages").list.eval(told).list.join("")))
    return asked.with_columns(content_hash(whole.to_series(), "request").alias("key")).select(REQUESTS.names())


def _told(text: pl.Expr) -> pl.Expr:
    return pl.concat_str(text.str.len_bytes().cast(pl.String), pl.lit(":"), text)
