"""Pairs to select from, with everything but the point of a test filled in."""

from hashlib import blake2b
from typing import Any

import polars as pl

from pipeline.config import PipelineConfig
from pipeline.selection import select
from pipeline.selection.select import Selected

SOURCES = ("arena", "crowd", "panel")


def hashed(name: object) -> str:
    """An id as content gives it."""
    return blake2b(str(name).encode(), digest_size=16).hexdigest()


def ids(count: int) -> pl.Series:
    return pl.Series("pair_id", [hashed(n) for n in range(count)], dtype=pl.String)


def pair_frame(count: int, **columns: Any) -> pl.DataFrame:
    """Pairs of one source, each of a prompt and cluster of its own, with these columns."""
    names = ids(count)
    given = {"pair_id": names, "prompt_id": names, "prompt_cluster_id": names, "sources": [["arena"]] * count, "p_soft": [0.5] * count}
    given |= {
        "prompt_tokens": [10] * count,
        "chosen_tokens": [20] * count,
        "rejected_tokens": [5] * count,
        "prompt_language": ["en"] * count,
    }
    return pl.DataFrame({**given, **columns}, schema_overrides={"sources": pl.List(pl.String), "prompt_language": pl.String})


def config(selection: dict[str, Any], **more: Any) -> PipelineConfig:
    sources = [{"name": name, "uri": "x"} for name in SOURCES]
    return PipelineConfig.model_validate({"dataset": "d", "sources": sources, "selection": selection, **more})


def run(
    pairs: pl.DataFrame, selection: dict[str, Any], parts: int = 1, voters: pl.DataFrame | None = None
) -> tuple[pl.DataFrame, pl.DataFrame, Selected]:
    """All three parts, over as many partitions of whole prompts: what is kept and dropped, sorted by pair_id, and what was found."""
    checked = select.check(config(selection))
    assert checked is not None
    part = pairs["prompt_id"].str.slice(0, 4).str.to_integer(base=16) % parts
    cut = [pairs.filter(part == n) for n in range(parts)]
    known = [None if voters is None else voters.join(piece, on="pair_id", how="semi") for piece in cut]
    found = select.reduce([select.summarise(piece, checked, who) for piece, who in zip(cut, known, strict=True)], checked)
    results = [select.apply(piece, left) for piece, left in zip(cut, found.left, strict=True)]
    kept, dropped = (pl.concat([getattr(one, name) for one in results]).sort("pair_id") for name in ("kept", "dropped"))
    return kept, dropped, found
