"""A judge without a model: answers to questions, from a function of what is asked."""

import json
from collections.abc import Callable
from typing import Any

import polars as pl

from pipeline.llm.tables import ANSWERS, FAILURES

NO_FAILURES = FAILURES.to_frame()
SCHEMA = pl.Schema(pl.DataFrame(ANSWERS.empty_table()).schema)


def direct(verdict: str, strength: str = "clear", score_a: int = 5, score_b: int = 5, **fields: Any) -> str:
    return json.dumps({"critique": "Words.", "score_a": score_a, "score_b": score_b, "verdict": verdict, "strength": strength, **fields})


def answers(asked: pl.DataFrame, says: Callable[[dict[str, Any]], str | None], **fields: Any) -> pl.DataFrame:
    """ANSWERS to each question; `says` gets a row of it."""
    spent = {"input_tokens": 100, "output_tokens": 10, "usage_stated": True, "attempts": 1, "cost": 0.5, "latency_ms": 1, "raw": ""}
    rows = [
        {**dict.fromkeys(SCHEMA), **spent, "finish_reason": "stop", "bucket": row["bucket"], "key": row["key"], "text": says(row), **fields}
        for row in asked.unique("key", maintain_order=True).iter_rows(named=True)
    ]
    return pl.DataFrame(rows, schema=SCHEMA)


def prefers_low(row: dict[str, Any]) -> str:
    return direct("A" if row["low_first"] else "B")


def prefers_first(row: dict[str, Any]) -> str:
    return direct("A")


def user(row: dict[str, Any]) -> str:
    """The last message of a question."""
    content: str = row["messages"][-1]["content"]
    return content
