"""Pairs with what is known of their label: probabilities, a weight, a margin; for trainers of your own.

The three are different losses on d = r_chosen - r_rejected (HelpSteer2-Preference, 2024; Secrets of RLHF II, 2024), and a run takes one:

- `weight`: -weight * log sigmoid(d). TRL's trainers drop the column; --format trl --weights repeat needs none;
- `margin`: -log sigmoid(d - margin). --format reward is for TRL's RewardTrainer;
- `p_chosen` (from votes alone) or `p_soft` (votes and content): -p log sigmoid(d) - (1 - p) log sigmoid(-d), least where
  d = log(p / (1 - p)).

Ties, where asked for, are pairs with p one half; which side is called chosen says nothing. A p_soft below one half says that content
speaks against the votes' label.
"""

import math
from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.export.form import Format, Options
from pipeline.export.sides import fields_of_sides, said_by, shaped
from pipeline.stage import StageResult

READS: Final = ("pair_id", "prompt", "chosen", "rejected", "tools", "p_chosen", "p_soft", "p_tie", "tie", "margin", "weight")


def soft(options: Options) -> Format:
    """Pairs with probabilities; see the module."""
    number = [pa.field(name, pa.float64(), nullable=False) for name in ("p_chosen", "p_soft", "p_tie")]
    counts = [pa.field(name, pa.float32(), nullable=False) for name in ("margin", "weight")]
    schema = pa.schema([pa.field("pair_id", pa.string(), nullable=False), *fields_of_sides(options), *number, *counts])
    return Format(
        READS, schema, lambda pairs: to_soft(pairs, options), takes={"form", "template", "tools", "ties"},
        represents=said_by(options) | {"ties"}, single_turns=options.form == "text" and not options.template,
    )  # fmt: skip


def to_soft(pairs: pl.DataFrame, options: Options = Options()) -> StageResult:  # noqa: B008  # frozen
    """Pairs with probabilities.

    Args:
        pairs: with the columns READS, in any order; ties among them are pairs with p one half and no margin.
        options: form, render, tools.

    Returns:
        `kept`, in the order of the pairs, and `dropped` with the reasons of `pipeline.export.sides.shaped`.
    """
    done = shaped(pairs, options)
    even = [pl.when("tie").then(0.5).otherwise(name).alias(name) for name in ("p_chosen", "p_soft")]
    kept = done.kept.with_columns(*even, margin=pl.when("tie").then(0.0).otherwise("margin").cast(pl.Float32))
    return StageResult(
        kept.select("pair_id", *(one.name for one in fields_of_sides(options)), "p_chosen", "p_soft", "p_tie", "margin", "weight"),
        done.dropped,
    )


def weighted_loss(gap: float, weight: float) -> float:
    """-weight * log sigmoid(gap), nats: what the column `weight` is for."""
    return weight * _surprise(gap)


def margin_loss(gap: float, margin: float) -> float:
    """-log sigmoid(gap - margin), nats: what the column `margin` is for."""
    return _surprise(gap - margin)


def soft_loss(gap: float, probability: float) -> float:
    """-p log sigmoid(gap) - (1 - p) log sigmoid(-gap), nats: what `p_chosen` and `p_soft` are for."""
    return probability * _surprise(gap) + (1 - probability) * _surprise(-gap)


def _surprise(gap: float) -> float:
    return math.log1p(math.exp(-gap)) if gap > 0 else math.log1p(math.exp(gap)) - gap
