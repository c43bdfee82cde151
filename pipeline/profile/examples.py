"""The first records of a file as prefine reads them, for people: texts cut, annotators by number."""

from collections.abc import Iterator
from typing import Any, Final

import polars as pl

SHOWN: Final = 3  # records
_HEAD: Final = 300  # judgements or ratings among which they are found


def hide_names(records: list[dict[str, Any]]) -> None:
    """Replace names: people's ids do not belong on screens."""
    numbers: dict[str, str] = {}
    for record in records:
        for vote in record["votes"]:
            name = vote["annotator"]
            vote["annotator"] = None if name is None else numbers.setdefault(name, f"annotator {len(numbers) + 1}")


def judged(judgements: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """The first comparisons with all votes that a row has on each."""
    sides = [pl.col(side).hash().alias(f"hash_{side}") for side in ("response_a", "response_b")]
    rows = judgements.head(_HEAD).with_columns(sides).group_by("source_row", "hash_response_a", "hash_response_b", maintain_order=True)
    for _, votes in list(rows)[:SHOWN]:
        row = votes.row(0, named=True)
        told = votes.select("outcome", "both_bad", "strength", "annotator", "criterion").rows(named=True)
        yield {
            "row": row["source_row"],
            "prompt": _said(row["prompt"]),
            "responses": [{"label": side, "text": _said(row[f"response_{side}"]), "model": row[f"model_{side}"]} for side in ("a", "b")],
            "votes": [{**vote, "outcome": "both_bad" if vote.pop("both_bad") else vote["outcome"]} for vote in told],
        }


def rated(ratings: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """The first prompts with their responses, and the scores that one annotator gave each."""
    if ratings.is_empty():
        return
    head = ratings.head(_HEAD).with_columns(asked=pl.col("prompt").hash(), answered=pl.col("response").hash())
    for _, rows in list(head.group_by("asked", "annotator", maintain_order=True))[:SHOWN]:
        first = rows.row(0, named=True)
        answers = []
        for _, scored in rows.group_by("answered", maintain_order=True):
            one = scored.row(0, named=True)
            scores = ", ".join(f"{name} {score:g}" for name, score in scored.select("criterion", "score").rows())
            answers.append({"label": scores, "text": _said(one["response"]), "model": one["model"]})
        yield {
            "row": first["source_row"],
            "prompt": _said(first["prompt"]),
            "responses": answers,
            "votes": [{"outcome": None, "strength": None, "annotator": first["annotator"], "criterion": None}],
        }


def _said(messages: list[dict[str, Any]]) -> str:
    """Messages as one text, cut to 2,000 characters."""
    told = (f"{m['role']}: {m['content']}{' [tool calls]' if m['tool_calls'] else ''}" for m in messages)
    return " | ".join(told)[:2_000]
