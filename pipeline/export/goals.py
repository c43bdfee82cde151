"""Reward-conditioned pairs: the score that an answer should have stands in the system prompt, and every pair is there for both scores.

A pair with scores (s_w, s_l) gives two rows: with the goal s_w its answers as they are, with the goal s_l the other way round, because the
rejected answer is the one that deserves s_l. Ask for the top score when the model is used. Prompts keep every turn of theirs: the released
variant without a system message swaps the user's turns instead of the answers, so that half of its rows are wrong; here a prompt
without a system message gets one, and one that has it gets the goal behind what it says.

Scores are mean shares of the rating scale, stated from 1 to 10. Pairs whose scores are equal, or contradict their label, are left out.

Source: Reward-Augmented Data Enhances Direct Preference Alignment of LLMs (2024).
"""

from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.export import ranking
from pipeline.export.form import Format, Options
from pipeline.export.messages import SIDES, SPOKEN, mangled, spoken
from pipeline.stage import StageResult, split_by_reason

READS: Final = ("pair_id", "prompt_id", "chosen_id", "rejected_id", *SIDES, "tools")
SYSTEM: Final = "You are an assistant whose answers deserve a score of {score} out of 10."
SCHEMA: Final = pa.schema(
    [
        *(pa.field(name, SPOKEN, nullable=False) for name in SIDES),
        pa.field("pair_id", pa.string(), nullable=False),
        *(pa.field(name, pa.float64(), nullable=False) for name in ("goal", "chosen_score", "rejected_score")),  # 1 to 10
    ]
)
_LOWEST, _HIGHEST = 1.0, 10.0
_SHOWN: Final = 1  # decimals of a score


def reward_conditioned(options: Options) -> Format:
    """Two rows a pair, with a goal each; see the module."""
    system = options.system or SYSTEM
    if "{score}" not in system:
        raise ConfigError(f"--system {system!r}: expected a text with {{score}} in it, which the goal is put in place of.")
    beside = {"ratings": ranking.READS_OF_RATINGS}
    return Format(READS, SCHEMA, lambda pairs, ratings: to_goals(pairs, ratings, system), beside, takes={"system"})


def to_goals(pairs: pl.DataFrame, ratings: pl.DataFrame, system: str = SYSTEM) -> StageResult:
    """Reward-conditioned pairs.

    Args:
        pairs: with the columns READS, in any order.
        ratings: with the columns `ranking.READS_OF_RATINGS`, of their prompts.
        system: with {score} in it.

    Returns:
        `kept`, of SCHEMA, in the order of the pairs, two rows each, the higher goal first. `dropped`: pairs with the first reason that
        applies: those of `pipeline.export.messages.mangled`, `no_score` (an answer has no rating), `equal_scores`,
        `scores_contradict` (the rejected answer has the higher one).
    """
    told = split_by_reason(pairs, mangled())
    scores = ranking.rated(ratings).with_columns(rating=(_LOWEST + (_HIGHEST - _LOWEST) * pl.col("rating")).round(_SHOWN))
    rows = told.kept
    for side in ("chosen", "rejected"):
        mine = scores.rename({"response_id": f"{side}_id", "rating": f"{side}_score"})
        rows = rows.join(mine, on=["prompt_id", f"{side}_id"], how="left", maintain_order="left")
    won, lost = pl.col("chosen_score"), pl.col("rejected_score")
    scored = split_by_reason(
        rows, {"no_score": won.is_null() | lost.is_null(), "equal_scores": won == lost, "scores_contradict": won < lost}
    )
    both = scored.kept.join(pl.DataFrame({"_swap": [False, True]}), how="cross", maintain_order="left_right")
    swap = pl.col("_swap")
    both = both.with_columns(
        goal=pl.when(swap).then(lost).otherwise(won),
        **{f"_{side}": pl.when(swap).then(spoken(other)).otherwise(spoken(side)) for side, other in _EXCHANGED},
        **{f"_{side}_score": pl.when(swap).then(f"{other}_score").otherwise(f"{side}_score") for side, other in _EXCHANGED},
    )
    kept = both.select(
        prompt=_with_goal(system), chosen="_chosen", rejected="_rejected", pair_id="pair_id", goal="goal",
        chosen_score="_chosen_score", rejected_score="_rejected_score",
    )  # fmt: skip
    return StageResult(kept, pl.concat([told.dropped, scored.dropped.drop("chosen_score", "rejected_score")]))


_EXCHANGED: Final = (("chosen", "rejected"), ("rejected", "chosen"))


def _with_goal(system: str) -> pl.Expr:
    """The prompt with the goal in its system message, or in one before it."""
    number = pl.col("goal").round(_SHOWN).cast(pl.String).str.strip_suffix(".0")
    parts = system.split("{score}")
    goal = pl.concat_str([piece for part in parts for piece in (pl.lit(part), number)][:-1])
    said, first = spoken("prompt"), pl.col("prompt").list.first().struct
    has = first.field("role") == "system"
    text = pl.when(has).then(pl.concat_str(first.field("content"), pl.lit("\n\n"), goal)).otherwise(goal)
    opening = pl.concat_list(pl.struct(role=pl.lit("system"), content=text))
    return opening.list.concat(pl.when(has).then(said.list.slice(1)).otherwise(said))
