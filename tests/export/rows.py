"""Pairs, rationales and judgements as exports read them."""

from typing import Any

import polars as pl
import pyarrow as pa

from pipeline.schemas import JUDGEMENT, PAIR, RATIONALE, conform
from tests.builders import says
from tests.versions import row

TEXTS = {"prompt": "Capital of France?", "chosen": "Paris.", "rejected": "Lyon."}


def pair(pair_id: str, **given: Any) -> dict[str, Any]:
    """A published pair; texts may be given as text."""
    texts = {side: says("user" if side == "prompt" else "assistant", given.pop(side, text)) for side, text in TEXTS.items()}
    ids = {"prompt_id": f"q-{pair_id}", "chosen_id": f"c-{pair_id}", "rejected_id": f"r-{pair_id}"}
    return row(PAIR, pair_id=pair_id, **{**texts, **ids, "criterion": "overall", "weight": 1.0, **given})


def written(
    pair_id: str, kind: str = "detailed", text: str | None = "The chosen response names the capital.", **given: Any
) -> dict[str, Any]:
    """An accepted rationale."""
    ids = {"rationale_id": f"{pair_id}-{kind}", "prompt_id": f"q-{pair_id}", "generator": "gpt"}
    return row(RATIONALE, pair_id=pair_id, kind=kind, text=text, **{**ids, "accepted": True, **given})


def judged(pair_id: str, judgement_id: str, outcome: str, rationale: str | None, a: str = "chosen", **given: Any) -> dict[str, Any]:
    """What a judge said; `a` is the side that was shown first, as Response A."""
    chosen, rejected = f"c-{pair_id}", f"r-{pair_id}"
    sides = (chosen, rejected) if a == "chosen" else (rejected, chosen)
    ids = {"prompt_id": f"q-{pair_id}", "response_a_id": sides[0], "response_b_id": sides[1], "shown_first": "a"}
    who = {"annotator_id": "panel (gpt)", "annotator_kind": "judge", "is_copy": False, "criterion": "overall"}
    return row(JUDGEMENT, pair_id=pair_id, judgement_id=judgement_id, outcome=outcome, rationale=rationale, **{**ids, **who, **given})


def table(schema: pa.Schema, *rows: dict[str, Any]) -> pl.DataFrame:
    """Rows as a run publishes them."""
    return pl.DataFrame(pl.from_arrow(conform(pa.Table.from_pylist(list(rows), schema=schema), schema, "rows")))
