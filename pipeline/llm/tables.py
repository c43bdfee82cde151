"""What goes to a language model and what comes back, as tables."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl
import pyarrow as pa

from pipeline.store import KEY_SCHEMA

SAID: Final[pl.DataType] = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))  # the messages of a request

# One row = one question to a model about one pair.
REQUESTS: Final = pl.Schema(
    {
        "bucket": pl.UInt8(),  # of the pair's prompt
        "key": pl.String(),  # 32 hex digits: the question's content, form and sample number
        "pair_id": pl.String(),
        "messages": SAID,
    }
)

# One row = one answer as received; (bucket, key) is that of its question.
ANSWERS: Final = pa.schema(
    [
        *KEY_SCHEMA,
        pa.field("text", pa.string()),  # null: the model said nothing, or refused
        pa.field("finish_reason", pa.string()),  # stop, length, content_filter ...
        pa.field("refusal", pa.string()),
        pa.field("input_tokens", pa.int64(), nullable=False, metadata={"unit": "tokens"}),
        pa.field("output_tokens", pa.int64(), nullable=False, metadata={"unit": "tokens"}),
        pa.field("usage_stated", pa.bool_(), nullable=False),  # false: the counts are our own upper bound
        pa.field("attempts", pa.int64(), nullable=False, metadata={"unit": "requests"}),  # sent for it, failed ones included
        pa.field("cost", pa.float64(), nullable=False, metadata={"unit": "money of the price"}),  # failed attempts included
        pa.field("latency_ms", pa.int64(), nullable=False, metadata={"unit": "ms"}),  # of the attempt that succeeded
        pa.field("raw", pa.string(), nullable=False),  # the body as received
    ]
)

# One row = one question that has no answer after a run.
FAILURES: Final = pl.Schema({"key": pl.String, "pair_id": pl.String, "reason": pl.String, "detail": pl.String})


@dataclass(frozen=True)
class Form:
    """How something is asked: all that several questions share, but for the endpoint.

    Attributes:
        name: template's name, e.g. rationale-detailed; part of the store's fingerprint with `version`.
        version: of the template file.
        schema: JSON schema that the answer must fit.
        max_output_tokens: of an answer.
        temperature: 0 and up.
    """

    name: str
    version: int
    schema: Mapping[str, Any]
    max_output_tokens: int
    temperature: float = 0.0


def admission(pair_ids: pl.Series) -> pl.Series:
    """A hash of each pair's id: the order in which a budget lets pairs be asked about, whatever their number and order."""
    return pl.Series([hashlib.blake2b(pair.encode()).hexdigest() for pair in pair_ids], dtype=pl.String)
