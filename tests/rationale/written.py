"""Pairs and rationales as a model's answers give them, with everything but the point of a test filled in."""

from typing import Any

import polars as pl

from pipeline.llm.tables import ANSWERS
from pipeline.schemas import MESSAGES_PL, RATIONALE
from tests.builders import says

DRAFT = pl.Schema(pl.DataFrame(RATIONALE.empty_table()).schema)
GOOD = "The chosen response names the year and gives a source, while the rejected response guesses and stops."


def pair(
    prompt: Any = "Who wrote Emma, and when?", chosen: Any = "Austen, 1815.", rejected: Any = "Not sure.", **fields: Any
) -> dict[str, Any]:
    """One pair; prompt and answers are texts or messages."""
    number = fields.pop("number", 0)
    sides = {"prompt": says("user", prompt), "chosen": says("assistant", chosen), "rejected": says("assistant", rejected)}
    ids = {"pair_id": f"{number:032x}", "prompt_id": f"{number * 40503 % 2**32:032x}", "chosen_id": "c" * 32, "rejected_id": "d" * 32}
    return {**ids, "criterion": "overall", "context": None, "tools": None, **sides, **fields}


def pairs(*rows: dict[str, Any]) -> pl.DataFrame:
    """Pairs numbered in their order, unless they say otherwise."""
    first = pair()
    numbered = [row if row["pair_id"] != first["pair_id"] else {**row, **pair_ids(i)} for i, row in enumerate(rows)]
    sides = dict.fromkeys(("prompt", "chosen", "rejected"), MESSAGES_PL)
    return pl.DataFrame(numbered, schema={name: sides.get(name, pl.String) for name in (rows[0] if rows else first)})


def pair_ids(number: int) -> dict[str, str]:
    """The ids of a numbered pair."""
    made = pair(number=number)
    return {name: made[name] for name in ("pair_id", "prompt_id")}


def draft(text: str | None = GOOD, number: int = 0, **fields: Any) -> dict[str, Any]:
    """One rationale, accepted unless it has a reason."""
    name = f"{number}{fields.get('kind', 'detailed')}{fields.get('reason')}{text}"
    known = {"rationale_id": name, **pair_ids(number), "kind": "detailed", "generator": "m", "text": text, "near_copies": 0}
    costs = {"input_tokens": 10, "output_tokens": 5, "cost": 0.5}
    return {**dict.fromkeys(DRAFT), **known, **costs, "accepted": fields.get("reason") is None, **fields}


def drafts(*rows: dict[str, Any]) -> pl.DataFrame:
    """Rows of `draft` as a table."""
    return pl.DataFrame(list(rows), schema=DRAFT)


def replies(asked: pl.DataFrame, texts: list[str | None], **fields: Any) -> pl.DataFrame:
    """ANSWERS to requests, in their order."""
    usage = {"input_tokens": 100, "output_tokens": 20, "usage_stated": True, "attempts": 1, "cost": 0.25, "latency_ms": 5, "raw": "{}"}
    common = {"finish_reason": "stop", "refusal": None, **usage, **fields}
    rows = [
        {"bucket": bucket, "key": key, "text": text, **common}
        for bucket, key, text in zip(asked["bucket"], asked["key"], texts, strict=True)
    ]
    return pl.DataFrame(rows, schema=pl.Schema(pl.DataFrame(ANSWERS.empty_table()).schema))
