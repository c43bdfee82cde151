"""Verdicts, votes and tallies as literal rows, with everything but the point of a test filled in."""

from typing import Any

import polars as pl

from pipeline.config import EndpointConfig, JudgeConfig
from pipeline.consensus.votes import VOTES
from pipeline.judging.tables import COMBINED, VERDICTS
from pipeline.pairing import pair_up
from tests.builders import judged, row

LOW, TIE, HIGH = -1, 0, 1
ENDPOINT = EndpointConfig(name="local", base_url="http://127.0.0.1:8000/v1", model="qwen", context_tokens=8192)


def config(**said: Any) -> JudgeConfig:
    return JudgeConfig.model_validate({"name": "panel", "endpoint": "local", **said})


def verdict(said: int | None, pair: str = "p", low_first: bool = True, sample: int = 0, **fields: Any) -> dict[str, Any]:
    failed = {"reason": "timeout"} if said is None else {}
    spent = {"input_tokens": 100, "output_tokens": 10, "cost": 0.5}
    return {
        **dict.fromkeys(VERDICTS),
        "pair_id": pair,
        "low_first": low_first,
        "sample": sample,
        "verdict": said,
        **spent,
        **failed,
        **fields,
    }


def verdicts(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=VERDICTS)


def samples(*said: int | None, pair: str = "p", low_first: bool = True, criterion: str | None = None) -> list[dict[str, Any]]:
    return [verdict(one, pair, low_first, i, criterion=criterion) for i, one in enumerate(said)]


def combined(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(
        [{**dict.fromkeys(COMBINED), "votes_low": 0, "votes_tie": 0, "votes_high": 0, "asked": 1, **one} for one in rows], schema=COMBINED
    )


def tally(*pairs: tuple[str, str, str]) -> pl.DataFrame:
    """Pairs of (prompt, answer, answer) as they are after merging, each with one vote."""
    made = pair_up(judged(*(row(*pair) for pair in pairs)))
    return made.with_columns(left_stage=pl.lit(None, pl.String))


def votes(*rows: tuple[str, str, int]) -> pl.DataFrame:
    """(pair, annotator, vote); annotators called h... are human."""
    told = [
        {
            "pair_id": p,
            "judgement_id": f"{i:04d}",
            "annotator": who,
            "kind": "human" if who[0] == "h" else "judge",
            "source": "s",
            "vote": v,
        }
        for i, (p, who, v) in enumerate(rows)
    ]
    return pl.DataFrame([{**dict.fromkeys(VOTES), **one} for one in told], schema=VOTES)
