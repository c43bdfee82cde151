"""What a question can cost at most, and what an answer did cost."""

import json
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from pipeline.config import EndpointConfig
from pipeline.llm.tables import Form

# What a chat template may add: marks around each message, and once a system prompt of its own.
_PER_MESSAGE: Final = 16
_PER_REQUEST: Final = 256


@dataclass(frozen=True)
class Spent:
    """What was spent, or can be: requests, tokens (questions and answers), money of the price."""

    requests: int = 0
    tokens: int = 0
    cost: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.requests + other.requests, self.tokens + other.tokens, self.cost + other.cost)

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent(self.requests - other.requests, self.tokens - other.tokens, self.cost - other.cost)


def input_bound(form: Form, endpoint: EndpointConfig) -> pl.Expr:
    """The most tokens that a row's `messages` can be (Int64).

    A token of a byte-level tokenizer, or of one that falls back on bytes, stands for a byte at least. Servers may write the schema and
    what is in `extra` (tools, say) into the prompt.
    """
    fixed = _PER_REQUEST + sum(len(json.dumps(part).encode()) for part in (dict(form.schema), endpoint.extra))
    message = pl.element().struct.field("content").str.len_bytes().cast(pl.Int64).fill_null(0)
    said = pl.col("messages").list.eval(message).list.sum()
    return said + pl.col("messages").list.len().cast(pl.Int64) * _PER_MESSAGE + fixed


def cost_of(endpoint: EndpointConfig, input_tokens: int, output_tokens: int) -> float:
    """Tokens in money; batch files are cheaper."""
    share = endpoint.batch_price if endpoint.batch else 1.0
    return (input_tokens * endpoint.price.input + output_tokens * endpoint.price.output) / 1e6 * share


def stated(usage: Any, most_input: int, most_output: int) -> tuple[int, int] | None:  # noqa: ANN401 - a server's JSON
    """Input and output tokens as the server counts them; None where it does not, or counts what cannot be."""
    if not isinstance(usage, dict):
        return None
    read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if type(read) is not int or type(written) is not int or not 1 <= read <= most_input or not 0 <= written <= most_output:
        return None
    return read, written
