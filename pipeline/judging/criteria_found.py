"""What mined criteria are worth: how often each, and their majority, is right (CritiQ, 2025)."""

from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from pipeline.consensus.fusing import criterion_accuracy, majority_of_criteria
from pipeline.statistics.intervals import wilson

FAILED: Final = pl.Schema({"phase": pl.String, "reason": pl.String, "questions": pl.Int64})
_MEASURES: Final = ("right", "wrong", "unsure", "accuracy", "low", "high")


@dataclass(frozen=True)
class Criteria:
    """What was mined.

    Attributes:
        criteria: CRITERIA's name, description, round, origin; right, wrong, unsure, accuracy, low, high on the pairs they were formed on,
            and the same with `held_out_` before it (null: there are none), by accuracy there, best first.
        verdicts: pair_id, held_out, a (criteria for the chosen answer), b (for the rejected), unsure, verdict (chosen, rejected; null).
        majority: held_out, pairs, right, wrong, none, accuracy (of pairs with a verdict), low, high: how right the majority is.
        failed: phase, reason, questions: what could not be asked or read.
    """

    criteria: pl.DataFrame
    verdicts: pl.DataFrame
    majority: pl.DataFrame
    failed: pl.DataFrame = field(default_factory=FAILED.to_frame)


def found(criteria: pl.DataFrame, said: pl.DataFrame, pairs: pl.DataFrame, held_out: pl.DataFrame, least_margin: int) -> Criteria:
    """How good criteria are.

    Args:
        criteria: criterion_id, name, description, origin, round.
        said: criterion_id, pair_id, verdict (chosen, rejected, cannot say), of these criteria and perhaps others.
        pairs: pair_id, of the pairs that the criteria were formed on.
        held_out: pair_id, of others.
        least_margin: the winner must lead by more criteria than this, 0 and up.
    """
    parts = {"": pairs, "held_out_": held_out}
    told = criteria.select("criterion_id", "name", "description", "origin", "round")
    for prefix, some in parts.items():
        table = accuracy(said, some).select("criterion_id", *(pl.col(name).alias(f"{prefix}{name}") for name in _MEASURES))
        told = told.join(table, on="criterion_id", how="left", maintain_order="left")
    told = told.sort("held_out_accuracy", "accuracy", "name", descending=[True, True, False], nulls_last=True)
    counted = said.join(criteria, on="criterion_id", how="semi")
    sides = [verdicts(counted, some, least_margin).with_columns(held_out=pl.lit(prefix != "")) for prefix, some in parts.items()]
    every = pl.concat(sides)
    return Criteria(told.drop("criterion_id"), every, _majority(every))


def accuracy(said: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """How often each criterion is right of those of these pairs where it says something.

    Returns:
        criterion_id, right, wrong, unsure, accuracy (0 to 1; null: it never says anything), low, high (Wilson, 95 %).
    """
    truth = pairs.select(item="pair_id", truth=pl.lit("a"))
    return criterion_accuracy(_by_item(said), truth).rename({"criterion": "criterion_id"})


def verdicts(said: pl.DataFrame, pairs: pl.DataFrame, least_margin: int) -> pl.DataFrame:
    """The majority over criteria for each of these pairs.

    Returns:
        pair_id, a (criteria for the chosen answer), b (for the rejected), unsure, verdict (chosen, rejected; null: neither), by pair_id.
    """
    told = majority_of_criteria(_by_item(said.join(pairs, on="pair_id", how="semi")), least_margin).rename({"item": "pair_id"})
    return told.with_columns(pl.col("verdict").replace_strict(["a", "b"], ["chosen", "rejected"], return_dtype=pl.String))


def text(mined: Criteria) -> str:
    """What was mined, for people to read: each criterion with how often it is right, then the majority."""
    lines = []
    for row in mined.criteria.iter_rows(named=True):
        shares = [_share(row, prefix, place) for prefix, place in (("held_out_", "on other pairs"), ("", "on those it comes from"))]
        lines += [f"{row['name']}: {row['description']}", f"    right {', '.join(shares)}"]
    for row in mined.majority.iter_rows(named=True):
        place = "other pairs" if row["held_out"] else "pairs that they come from"
        lines.append(f"Majority over criteria, on {row['pairs']} {place}: right {row['right']}, wrong {row['wrong']}, none {row['none']}")
    lines += [f"{row['questions']} questions to {row['phase']}: {row['reason']}" for row in mined.failed.iter_rows(named=True)]
    return "\n".join(lines) if mined.criteria.height else "\n".join(["No criteria.", *lines])


def _share(row: dict[str, Any], prefix: str, place: str) -> str:
    right, wrong, unsure = (row[f"{prefix}{name}"] or 0 for name in ("right", "wrong", "unsure"))
    if not right + wrong:
        return f"not known {place}"
    interval = f"95 % {row[f'{prefix}low']:.2f} to {row[f'{prefix}high']:.2f}"
    return f"{row[f'{prefix}accuracy']:.2f} {place} ({right} of {right + wrong}, {interval}; cannot say of {unsure})"


def _by_item(said: pl.DataFrame) -> pl.DataFrame:
    """Verdicts as `consensus.fusing` has them: a is the chosen answer."""
    return said.select(
        item="pair_id",
        criterion="criterion_id",
        verdict=pl.when(pl.col("verdict") == "chosen").then(pl.lit("a")).when(pl.col("verdict") == "rejected").then(pl.lit("b")),
    )


def _majority(every: pl.DataFrame) -> pl.DataFrame:
    told = (
        every.group_by("held_out")
        .agg(
            pairs=pl.len().cast(pl.Int64),
            right=(pl.col("verdict") == "chosen").sum().cast(pl.Int64),
            wrong=(pl.col("verdict") == "rejected").sum().cast(pl.Int64),
            none=pl.col("verdict").is_null().sum().cast(pl.Int64),
        )
        .sort("held_out")
    )
    decided = pl.col("right") + pl.col("wrong")
    low, high = wilson(told["right"].to_numpy(), told.select(decided).to_series().to_numpy())
    ends: dict[str, pl.Expr | pl.Series] = {
        "accuracy": pl.col("right") / decided,
        "low": pl.Series(low, dtype=pl.Float64),
        "high": pl.Series(high, dtype=pl.Float64),
    }
    return told.with_columns(**{name: pl.when(decided > 0).then(value) for name, value in ends.items()})
