"""Votes without the pull of length: WildBench's tie rule, and a length-controlled model of the vote for each source."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.bias.logistic import Z95, Fit, fit, scale_of, sigma, squash
from pipeline.statistics.table import Statistic, statistics_table, unknown

SLIGHT = 0.5  # a strength below is "slightly better"
MAX_MODELS, MIN_MODEL_PAIRS = 64, 20  # whose quality a source's sample tells; all others are as good as each other

BY_SOURCE = pl.Schema({"source": pl.String, "scale_chars": pl.Float64, "coefficient": pl.Float64})

_Floats = npt.NDArray[np.float64]


def is_length_tie(strength: pl.Expr, excess_chars: pl.Expr, max_excess_chars: int) -> pl.Expr:
    """Whether a verdict counts as a tie: a slight win by an answer that is longer by more than so many characters.

    Args:
        strength: of the verdict, 0 to 1; slight below 0.5. Null: not stated, so never a tie.
        excess_chars: winner's characters less the loser's.
        max_excess_chars: -1 switches the rule off.

    Source: WildBench (2024), whose documented command has 500.
    """
    if max_excess_chars < 0:
        return pl.lit(False)
    return ((strength < SLIGHT) & (excess_chars > max_excess_chars)).fill_null(False)


def add_length_tie(pairs: pl.DataFrame, max_excess_chars: int) -> pl.DataFrame:
    """Add `length_tie`: the votes say slightly better, in sum (`margin` below 0.5), and chosen is longer by more than so many characters.

    Args:
        pairs: rows with margin and chars_gap, of any order.
        max_excess_chars: -1 switches the rule off.
    """
    return pairs.with_columns(length_tie=is_length_tie(pl.col("margin"), pl.col("chars_gap"), max_excess_chars))


@dataclass(frozen=True)
class LengthControl:
    """What length does to the votes of each source.

    Attributes:
        by_source: BY_SOURCE, what `add_length_controlled` needs: log-odds for chosen = coefficient * tanh(chars_gap / scale_chars).
        statistics: STATISTIC rows: `length_coefficient` of each source, `share_at_equal_length` of each of its models.
    """

    by_source: pl.DataFrame
    statistics: pl.DataFrame


def fit_length_control(sample: pl.DataFrame) -> LengthControl:
    """Fit, for each source, the vote on the length difference and on who wrote the answers.

    log-odds = b * tanh(d / sd(d)) + quality of one model - quality of the other, without an intercept: an answer has no first
    side. Without names of models all are as good as each other. `share_at_equal_length` is the mean prediction for a model
    against those it met, at d = 0; it is the length-controlled win rate where there are two models.

    Args:
        sample: rows of `outcomes.sample`.

    Source: Length-Controlled AlpacaEval (2024), for pairs and any number of models; its difficulty of instructions and its L1 penalty
    are left out, and a normal prior (sd 1) takes their place.
    """
    sources, rows = [], []
    for part in sample.partition_by("source", maintain_order=True):
        source = str(part.item(0, "source"))
        scale = scale_of(part.get_column("length").to_numpy().astype(np.float64))
        models = _models(part)
        found, design = _fit(part, scale, models)
        sources.append((source, scale, float(found.coefficients[0])))
        rows.append(_coefficient(source, part, scale, found, len(models)))
        rows += [_share(source, name, design[1:], found, place) for place, name in enumerate(models)]
    return LengthControl(pl.DataFrame(sources, schema=BY_SOURCE, orient="row"), statistics_table(rows))


def equal_length_share(quality: _Floats, covariance: _Floats, meetings: _Floats) -> tuple[float, float, float]:
    """The mean win rate of a model at equal length, with its 95 % interval.

    Args:
        quality: (M,), log-odds of each model.
        covariance: (M, M), theirs.
        meetings: (M, R): of R comparisons, +1 for the model in question, -1 for whom it met, each column; 0 for models without a quality of
            their own.

    Returns:
        value, low, high, each 0 to 1. The interval is symmetric in log-odds (delta method).
    """
    p = sigma((quality[:, np.newaxis] * meetings).sum(axis=0))
    value = float(p.mean())
    slope = (meetings * (p * (1 - p))).mean(axis=1) / (value * (1 - value))
    deviation = float(np.sqrt((covariance * slope[:, np.newaxis] * slope).sum()))
    centre = np.log(value / (1 - value))
    low, high = sigma(np.array([centre - Z95 * deviation, centre + Z95 * deviation]))
    return value, float(low), float(high)


def add_length_controlled(pairs: pl.DataFrame, by_source: pl.DataFrame) -> pl.DataFrame:
    """Add `p_chosen_length_controlled`: P(chosen is better | its votes), with the part of length in them taken out.

    The votes' evidence L = logit(p_chosen) is read as one verdict that chosen is better, whose log-odds are L + s where that is
    so and -L + s where it is not; s is the pull of length towards chosen. By Bayes' rule the verdict then speaks for chosen with
    log sigma(L + s) - log sigma(-L + s): L where lengths are equal, less where the longer won a source that likes length, more
    where the shorter did. At least 0.5: what length alone may explain says nothing, and no label turns.

    Args:
        pairs: rows with p_chosen, chars_gap, sources, of any order. Of several sources the mean pull counts; of a source that is not in
            `by_source`, none.
        by_source: BY_SOURCE, one row a source.

    Source: Length-Controlled AlpacaEval (2024) sets the length term to 0 in the model's prediction, which for a pair of unnamed
    answers is 1/2; here the pair's own votes are kept.
    """
    pulls = (
        pairs.select("chars_gap", "sources", _row=pl.int_range(pl.len()))
        .explode("sources", empty_as_null=False)
        .join(by_source, left_on="sources", right_on="source", how="left")
        .sort("_row", "sources")  # a mean of three may depend on its order
        .group_by("_row", maintain_order=True)
        .agg(((pl.col("chars_gap") / pl.col("scale_chars")).tanh() * pl.col("coefficient")).fill_null(0.0).mean().alias("_pull"))
    )
    p = pl.col("p_chosen").clip(0.5, 1 - 1e-12)
    evidence, pull = (p / (1 - p)).log(), pl.col("_pull").fill_null(0.0)
    log_odds = ((pull - evidence).neg().exp().log1p() - (pull + evidence).neg().exp().log1p()).clip(lower_bound=0.0)
    return (
        pairs.with_row_index("_row")
        .with_columns(pl.col("_row").cast(pl.Int64))
        .join(pulls, on="_row", how="left", maintain_order="left")
        .with_columns(p_chosen_length_controlled=1 / (1 + log_odds.neg().exp()))
        .drop("_row", "_pull")
    )


def _models(part: pl.DataFrame) -> list[str]:
    """The models with a quality of their own, most frequent first."""
    met = part.filter(pl.col("chosen_model").is_not_null() & pl.col("rejected_model").is_not_null())
    met = met.filter(pl.col("chosen_model") != pl.col("rejected_model"))
    names = pl.concat([met.get_column(f"{side}_model") for side in ("chosen", "rejected")])
    counts = pl.DataFrame({"model": names}).group_by("model").len().filter(pl.col("len") >= MIN_MODEL_PAIRS)
    return counts.sort(["len", "model"], descending=[True, False]).head(MAX_MODELS).get_column("model").to_list()


def _fit(part: pl.DataFrame, scale: float, models: list[str]) -> tuple[Fit, _Floats]:
    """The fit, and its design (1 + M, N): length first, then each model: +1 where it is chosen, -1 where rejected."""
    length = squash(part.get_column("length").to_numpy().astype(np.float64), scale)
    sides = part.select(
        ((pl.col("chosen_model") == name).fill_null(False).cast(pl.Float64) - (pl.col("rejected_model") == name).fill_null(False)).alias(
            name
        )
        for name in models
    )
    design = np.concatenate([length[np.newaxis], sides.to_numpy().T.reshape(len(models), part.height)])
    return fit(design, part.get_column("outcome").to_numpy()), design


def _coefficient(source: str, part: pl.DataFrame, scale: float, found: Fit, models: int) -> Statistic:
    name, unit = "length_coefficient", f"log-odds per tanh(characters / {scale:.0f})"
    if not (part.get_column("length") != 0).any():
        return unknown(name, ("source", source), part.height, unit, "all pairs have answers of equal length")
    value, sd = float(found.coefficients[0]), float(found.deviations[0])
    note = f"beside the quality of {models} models" if models else "alone: no models are named, or too rarely"
    return Statistic(name, "source", source, value, value - Z95 * sd, value + Z95 * sd, part.height, unit, note)


def _share(source: str, model: str, design: _Floats, found: Fit, place: int) -> Statistic:
    met = design[:, design[place] != 0]
    value, low, high = equal_length_share(found.coefficients[1:], found.covariance[1:, 1:], met * met[place])
    return Statistic("share_at_equal_length", "model", f"{source}/{model}", value, low, high, met.shape[1], "share")
