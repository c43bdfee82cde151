"""Raw judgements, as adapters hand them on, with everything but the point of a test filled in."""

from typing import Any

import polars as pl

from pipeline.config import AnnotatorsConfig, RatingsConfig
from pipeline.identity import identify, identify_ratings, number_ratings, number_votes
from pipeline.ingest import RAW_JUDGEMENT, RAW_RATING
from pipeline.rating_pairs import add_scales, summarise_scales
from pipeline.schemas import MESSAGE_FIELDS

_ROW = {
    "outcome": "a",
    "both_bad": False,
    "annotator_kind": "human",
    "criterion": "overall",
    "source": "src",
    "source_uri": "f.jsonl",
    "vote_layout": False,
}


def message(role: str, content: str | None, **fields: str) -> dict[str, str | None]:
    """One message with all its fields."""
    return {**dict.fromkeys(MESSAGE_FIELDS), "role": role, "content": content, **fields}


def says(role: str, value: Any) -> list[dict[str, str | None]]:
    """A text as one message of a role; messages as they are."""
    return [message(role, value)] if isinstance(value, str) else value


def row(prompt: Any = "q", a: Any = "x", b: Any = "y", **fields: Any) -> dict[str, Any]:
    """One raw judgement; `prompt`, `a` and `b` are texts or messages."""
    sides = {"prompt": says("user", prompt), "response_a": says("assistant", a), "response_b": says("assistant", b)}
    return {**dict.fromkeys(RAW_JUDGEMENT), **_ROW, "source_row": 0, **sides, **fields}


def raw(*rows: dict[str, Any]) -> pl.DataFrame:
    """Rows of `row` as a table; those that name no `source_row` are told apart by their position."""
    return pl.DataFrame([{**r, "source_row": r["source_row"] or i} for i, r in enumerate(rows)], schema=RAW_JUDGEMENT)


def judged(*rows: dict[str, Any]) -> pl.DataFrame:
    """Rows of `row`, identified and numbered, annotator names in plain."""
    return number_votes(identify(raw(*rows), AnnotatorsConfig(ids="plain"), "d"))


def rating(response: Any = "x", score: float = 1.0, prompt: Any = "q", **fields: Any) -> dict[str, Any]:
    """One raw rating; `prompt` and `response` are texts or messages."""
    said = {"prompt": says("user", prompt), "response": says("assistant", response), "score": score, "ranked": False}
    common = {name: _ROW[name] for name in ("annotator_kind", "criterion", "source", "source_uri")}
    return {**dict.fromkeys(RAW_RATING), **common, "source_row": 0, "flags": [], **said, **fields}


def raw_ratings(*rows: dict[str, Any]) -> pl.DataFrame:
    """Rows of `rating` as a table; those that name no `source_row` are told apart by their position."""
    return pl.DataFrame([{**r, "source_row": r["source_row"] or i} for i, r in enumerate(rows)], schema=RAW_RATING)


def rated(*rows: dict[str, Any], **config: Any) -> pl.DataFrame:
    """Rows of `rating`, identified, numbered and on the scale of their source; annotator names in plain."""
    found = number_ratings(identify_ratings(raw_ratings(*rows), AnnotatorsConfig(ids="plain"), "d"))
    configs = dict.fromkeys(found["source"].unique().to_list(), RatingsConfig(**config))
    return add_scales(found, summarise_scales(found), configs)


def swap(given: dict[str, Any]) -> dict[str, Any]:
    """The same judgement with its sides, verdict and what was shown first the other way round."""
    other = {"a": "b", "b": "a"}
    sides = {"response_a": given["response_b"], "response_b": given["response_a"], "model_a": given["model_b"], "model_b": given["model_a"]}
    verdict = {name: other.get(given[name], given[name]) for name in ("outcome", "shown_first")}
    return {**given, **sides, **verdict}
