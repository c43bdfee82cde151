"""Pairs and votes with everything but the point of a test filled in."""

from typing import Any

import polars as pl

from pipeline.consensus.votes import VOTES

_PAIR = {
    "chosen_id": "b", "rejected_id": "a", "chosen_models": [], "rejected_models": [], "chars_gap": 0, "markdown_gap": 0, "citations_gap": 0,
    "hedges_gap": 0, "confidence_gap": 0, "prompt_language": None, "chosen_language": None, "rejected_language": None, "p_chosen": 0.75,
    "sources": ["s"], "margin": 1.0,
}  # fmt: skip
_TYPES = {
    "chosen_models": pl.List(pl.String), "rejected_models": pl.List(pl.String), "sources": pl.List(pl.String), "prompt_language": pl.String,
    "chosen_language": pl.String, "rejected_language": pl.String, "margin": pl.Float32,
}  # fmt: skip


def pairs(*rows: dict[str, Any]) -> pl.DataFrame:
    """One pair for each, `p0`, `p1` ...; chosen is the pair's `high` answer."""
    return pl.DataFrame([{"pair_id": f"p{i}", **_PAIR, **row} for i, row in enumerate(rows)], schema_overrides=_TYPES)


def votes(*rows: tuple[str, int] | tuple[str, int, float | None] | tuple[str, int, float | None, str]) -> pl.DataFrame:
    """(pair_id, vote, strength, source) each; +1 is for the pair's `high`."""
    told = [
        {"pair_id": pair, "vote": vote, "strength": rest[0] if rest else None, "source": rest[1] if len(rest) > 1 else "s"}
        for pair, vote, *rest in rows
    ]
    filled = [{"judgement_id": f"j{i}", "annotator": "x", "kind": "human", "low_first": None, **row} for i, row in enumerate(told)]
    return pl.DataFrame(filled, schema=VOTES)
