"""What a trainer should make of a label's doubt: `p_soft`, the probability that it is right, and `weight`, how much a pair counts.

Neither changes a label. Both compare a pair with the whole data set, so each has three parts: `summarise_` a partition, `reduce_` the
summaries, `add_` to a partition.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import polars as pl

from pipeline.config import WeightsConfig
from pipeline.consensus.fusing import fused
from pipeline.expressions import Number, compile_number

_SOURCES = "weighed_as"  # a pair's sources, joined: strengths of different sources are on different scales
_SCALE = 1 << 32  # sums are of whole numbers of this fraction, so that no order of rows or partitions changes them
_VOTES = {_SOURCES: pl.String, "pairs": pl.Int64, "p_chosen": pl.Int64}
_SUMS = {_SOURCES: pl.String, "pairs": pl.Int64, "strength": pl.Int64, "trust": pl.Int64, "product": pl.Int64}


@dataclass(frozen=True)
class WeightScales:
    """What weights are multiplied by. `sources`: weighed_as, factor (Float64, above 0). One factor for each combination of sources."""

    sources: pl.DataFrame


def summarise_votes(pairs: pl.DataFrame) -> pl.DataFrame:
    """One partition's part of how sure votes are of the labels of each source, ties aside.

    Args:
        pairs: rows with `p_chosen`, `tie` and `sources` (sorted), in any order.

    Returns:
        weighed_as, pairs, p_chosen (Int64, a fixed-point sum), sorted.
    """
    told = pairs.filter(~pl.col("tie")).group_by(_named()).agg(pairs=pl.len().cast(pl.Int64), p_chosen=_fixed(pl.col("p_chosen")))
    return told.select(list(_VOTES)).sort(_SOURCES)


def reduce_votes(summaries: list[pl.DataFrame]) -> pl.DataFrame:
    """Mean `p_chosen` for each combination of sources: weighed_as, typical (0.5 to 1), sorted."""
    sums = pl.concat([pl.DataFrame(schema=_VOTES), *summaries]).group_by(_SOURCES).agg(pl.exclude(_SOURCES).sum()).sort(_SOURCES)
    return sums.select(_SOURCES, typical=pl.col("p_chosen") / pl.col("pairs") / _SCALE)


def add_p_soft(pairs: pl.DataFrame, typical: pl.DataFrame) -> pl.DataFrame:
    """Add `p_soft`: P(the label is right), from votes and content as independent opinions.

    Odds multiply (p q / (p q + (1 - p) (1 - q)); Bayesian aggregation, 2025): those of 1 - `noise_score`, and those of `p_chosen`
    over the ones of a typical label of the same sources. The models behind `noise_score` learnt from such labels and say how likely
    one of them is wrong, so the votes that a label usually has are counted already; more, or better ones, speak for it, and weaker
    ones against it. It may lie below one half: then the label stays all the same. Where votes and models are wrong together it is too
    sure.

    Args:
        pairs: rows with `p_chosen` (0.5 to 1), `sources` and `noise_score` (0 to 1; null: content says nothing, the votes stand alone).
        typical: of `reduce_votes`; without a row for a pair's sources its two opinions multiply as they are.

    Returns:
        The rows with `p_soft`, Float64, 0 to 1; one half where votes and content are certain of opposite sides.
    """
    joined = pairs.with_columns(_named()).join(typical, on=_SOURCES, how="left", maintain_order="left")
    usual = pl.when(pl.col("noise_score").is_not_null()).then(1 - pl.col("typical"))
    soft = fused(pl.concat_list("p_chosen", 1 - pl.col("noise_score"), usual)).fill_null(0.5)
    return joined.with_columns(p_soft=soft).drop(_SOURCES, "typical")


def trust() -> pl.Expr:
    """How much a pair's label is worth, 0 to 1, from `p_soft` and `noise_score`: max(0, 1 - 3 (1 - p_soft)).

    A label counts when it is more than twice as likely right as wrong. One third was chosen on real sets with planted flips
    (tests/benchmarks/bench_noise.py): at 40 % flips preference models learnt clearly more from labels weighed so than from soft
    targets or from dropping what is likelier wrong than right, at 20 % about as much or more. Where content says nothing, it is
    max(0, 2 p_soft - 1), what is left when labels that contradict each other cancel: one vote would count as nothing otherwise.
    """
    doubt = 1 - pl.col("p_soft")
    return pl.when(pl.col("noise_score").is_null()).then(1 - 2 * doubt).otherwise(1 - 3 * doubt).clip(0.0, 1.0)


def summarise_weights(pairs: pl.DataFrame) -> pl.DataFrame:
    """One partition's sums for the mean weight, over pairs that are no tie.

    Args:
        pairs: rows with `p_soft`, `noise_score`, `margin` (0 to 1), `tie` and `sources` (sorted), in any order.

    Returns:
        weighed_as, pairs, strength, trust, product (Int64: fixed-point sums of margin, trust and their product), sorted.
    """
    told = pairs.filter(~pl.col("tie")).select(_named(), trust=trust(), strength=pl.col("margin").cast(pl.Float64))
    sums = told.group_by(_SOURCES).agg(
        pairs=pl.len().cast(pl.Int64),
        strength=_fixed(pl.col("strength")),
        trust=_fixed(pl.col("trust")),
        product=_fixed(pl.col("trust") * pl.col("strength")),
    )
    return sums.select(list(_SUMS)).sort(_SOURCES)


def reduce_weights(summaries: list[pl.DataFrame], *, noise: bool, strength: bool) -> WeightScales:
    """The factors that make the mean weight 1 over the whole data set, pairs that are ties aside.

    Strengths are first brought to mean 1 within the pairs of the same sources: what 0.4 means differs between sources, and votes
    without a strength count as 1. Noise is compared over all sources, so that a noisy source counts less. Where all strengths of
    some sources are 0, or all weights, there is nothing to compare and the factor is 1.

    Args:
        summaries: of `summarise_weights`, one a partition, in any order.
        noise: whether pairs count by their trust.
        strength: whether they count by the strength of their votes (HelpSteer2-Preference, 2024: as weight it helps, as margin not).
    """
    sums = pl.concat([pl.DataFrame(schema=_SUMS), *summaries]).group_by(_SOURCES).agg(pl.exclude(_SOURCES).sum()).sort(_SOURCES)
    number = pl.col("pairs").cast(pl.Float64)
    inner = pl.when(strength & (pl.col("strength") > 0)).then(number * _SCALE / pl.col("strength")).otherwise(1.0)
    total = pl.col("product" if noise else "strength") if strength else pl.col("trust") if noise else pl.col("pairs") * _SCALE
    # Sorted rows, one by one: a float sum in a fixed order.
    told = sums.with_columns(inner=inner).with_columns(mass=pl.col("inner") * total / _SCALE)
    mass, pairs = sum(told.get_column("mass")), sums.get_column("pairs").sum()
    outer = pairs / mass if mass > 0 else 1.0
    return WeightScales(told.select(_SOURCES, factor=pl.col("inner") * outer))


def add_weights(pairs: pl.DataFrame, scales: WeightScales, *, noise: bool, strength: bool) -> pl.DataFrame:
    """Set `weight` (Float32, 0 and up): 1, by trust and by strength as asked for, times the factor of its sources.

    Args:
        pairs: rows as `summarise_weights` takes them, ties too.
        scales: of `reduce_weights`.
        noise: as in `reduce_weights`.
        strength: as in `reduce_weights`.
    """
    raw = pl.lit(1.0)
    raw = raw * trust() if noise else raw
    raw = raw * pl.col("margin").cast(pl.Float64) if strength else raw
    joined = pairs.with_columns(_named()).join(scales.sources, on=_SOURCES, how="left", maintain_order="left")
    weighed = joined.with_columns(weight=(raw * pl.col("factor").fill_null(1.0)).cast(pl.Float32))
    return weighed.select(*pairs.columns, *({"weight"} - set(pairs.columns)))


@dataclass(frozen=True)
class Factors:
    """Factors of a weight that look at one prompt's pairs at a time. `rewards` and `easiness` are checked expressions."""

    config: WeightsConfig
    rewards: tuple[Number, ...] = ()
    easiness: Number | None = None

    @property
    def columns(self) -> list[str]:
        """The columns of pairs that `add_factors` reads."""
        numbers = [*self.rewards, *([] if self.easiness is None else [self.easiness])]
        return list(dict.fromkeys(["pair_id", "prompt_id", "cosine_prompt_chosen", *(name for one in numbers for name in one.columns)]))


def check_factors(config: WeightsConfig, off: Mapping[str, str] = MappingProxyType({})) -> Factors:
    """Check the expressions of weights.

    Args:
        config: of the weights.
        off: signals that the config does not ask for, and what in it would.

    Raises:
        ConfigError: an expression has an unknown column, one that is not computed, or is no number.
    """
    rewards = tuple(compile_number(f"weights.rewards.{n}", sql, off) for n, sql in enumerate(config.rewards))
    stage = config.curriculum
    return Factors(config, rewards, None if stage is None else compile_number("weights.curriculum.easiness", stage.easiness, off))


def add_factors(pairs: pl.DataFrame, factors: Factors) -> pl.DataFrame:
    """Multiply `weight` (Float32, 0 and up) by the factors that the config asks for.

    Args:
        pairs: rows with `weight` and the columns that `factors.columns` names; all pairs of each prompt.
        factors: of `check_factors`.
    """
    config, product = factors.config, pl.col("weight").cast(pl.Float64)
    if config.per_prompt:
        product = product / pl.len().over("prompt_id")
    if config.semantic is not None:
        product = product * semantic(pl.col("cosine_prompt_chosen"), config.semantic)
    named = {f"_reward_{n}": one.of(pairs) for n, one in enumerate(factors.rewards)}
    if named:
        product = product * rewarded([pl.col(name) for name in named]).exp()
    if factors.easiness is not None and config.curriculum is not None:
        named["_easiness"] = factors.easiness.of(pairs)
        product = product * curriculum(pl.col("_easiness"), config.curriculum.progress)
    return pairs.with_columns(**named).with_columns(weight=product.cast(pl.Float32)).drop(named)


def semantic(cosine: pl.Expr, alpha: float) -> pl.Expr:
    """exp(-alpha (1 - cosine)), at most 1 (Sem-DPO, 2025): how far the chosen answer is on topic. An unknown cosine weighs 1."""
    return (-alpha * (1 - cosine.clip(upper_bound=1.0))).exp().fill_null(1.0)


def rewarded(gaps: list[pl.Expr]) -> pl.Expr:
    """Sum of log sigmoid(reward - reference) over properties: log P(good by all) (Transforming and Combining Rewards, 2024).

    It emphasises what is poor by any of them, and saturates on what is good. An unknown gap counts as 0.
    """
    logs = [-(gap.fill_null(0.0).neg().clip(lower_bound=0.0) + ((-gap.fill_null(0.0).abs()).exp().log1p())) for gap in gaps]
    return pl.sum_horizontal(logs)


def curriculum(easiness: pl.Expr, progress: float) -> pl.Expr:
    """Weight d + (1 - d) min(1, progress): easy rows first, all alike in the end (Training Curricula for Answer Re-Ranking, 2020).

    Args:
        easiness: d, taken as 0 to 1; unknown counts as 0.
        progress: step over the step from which on all weigh 1; 0 and up.
    """
    easy = easiness.clip(0.0, 1.0).fill_null(0.0)
    return easy + (1 - easy) * min(1.0, progress)


def summarise_mean(pairs: pl.DataFrame) -> pl.DataFrame:
    """One partition's part of the mean `weight`: pairs, weight (Int64, fixed-point sum), ties aside; one row."""
    return pairs.filter(~pl.col("tie")).select(pairs=pl.len().cast(pl.Int64), weight=_fixed(pl.col("weight").cast(pl.Float64)))


def reduce_mean(summaries: list[pl.DataFrame]) -> float:
    """The mean weight; 1 where there are no pairs, or none weighs anything."""
    pairs, total = (sum(int(part.get_column(name).sum()) for part in summaries) for name in ("pairs", "weight"))
    return total / _SCALE / pairs if pairs and total else 1.0


def _named() -> pl.Expr:
    return pl.col("sources").list.join("\n").alias(_SOURCES)


def _fixed(value: pl.Expr) -> pl.Expr:
    return (value * _SCALE).round().cast(pl.Int64).sum()
