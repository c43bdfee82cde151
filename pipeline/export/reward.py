"""Pairs with a margin, as TRL's RewardTrainer (1.16) reads them: its loss is -log sigmoid(r_chosen - r_rejected - margin).

A margin is a float, and never null: RewardTrainer stops at a null. Where it comes from:

- `margin` (unless said otherwise): share of the votes' strength for the chosen answer, 0 to 1; every pair has one;
- `p_chosen`, `p_soft`: log-odds that the label is right (nats), at most 6.9 (a probability of 0.999), at least 0;
- `rm_mean`: by how much reward models prefer the chosen answer, in their points; pairs that none scored are left out.

A margin is not a weight and not a soft label (`pipeline.export.soft`): the three are different losses, and on matched data the weight did
better (HelpSteer2-Preference, 2024).
"""

from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.export.form import Format, Options
from pipeline.export.sides import TAKES, fields_of_sides, reads_of_sides, said_by, shaped
from pipeline.stage import StageResult, split_by_reason

MARGINS: Final = ("margin", "p_chosen", "p_soft", "rm_mean")
_SURE: Final = 0.999  # log-odds of more are no evidence that a margin should grow


def reward(options: Options) -> Format:
    """Pairs with a margin; see the module."""
    origin = options.margin or MARGINS[0]
    if origin not in MARGINS:
        raise ConfigError(f"--margin {origin}: expected one of {', '.join(MARGINS)}.")
    schema = pa.schema([*fields_of_sides(options), pa.field("margin", pa.float32(), nullable=False)])
    return Format(
        tuple(dict.fromkeys([*reads_of_sides(options), origin])), schema, lambda pairs: to_reward(pairs, options), takes={*TAKES, "margin"},
        represents=said_by(options), single_turns=options.form == "text" and not options.template,
        advice=lambda _: [f"`margin` is from the column {origin}."],
    )  # fmt: skip


def to_reward(pairs: pl.DataFrame, options: Options = Options()) -> StageResult:  # noqa: B008  # frozen
    """Pairs with a margin.

    Args:
        pairs: with the columns that `reward` reads, in any order.
        options: as of `pipeline.export.sides.shaped`; margin: one of MARGINS.

    Returns:
        `kept`, in the order of the pairs, and `dropped` with the reasons of `shaped`, and `no_margin` (it is null or not finite).
    """
    origin = options.margin or MARGINS[0]
    value = pl.col(origin).cast(pl.Float64)
    told = split_by_reason(pairs, {"no_margin": ~(value.is_not_null() & value.is_finite())})
    if origin in ("p_chosen", "p_soft"):
        sure = value.clip(0.5, _SURE)
        value = (sure / (1 - sure)).log()
    done = shaped(told.kept.with_columns(_margin=value.cast(pl.Float32)), options)
    kept = done.kept.with_columns(margin="_margin").select(*(one.name for one in fields_of_sides(options)), "margin")
    return StageResult(kept, pl.concat([told.dropped, done.dropped.drop("_margin")]))
