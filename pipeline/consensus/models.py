"""Which vote model a config asks for: fit it over the data set, apply it to a partition."""

import math
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

import numpy as np
import polars as pl

from pipeline.config import ConsensusConfig
from pipeline.consensus import em
from pipeline.consensus.bradley_terry import bradley_terry
from pipeline.consensus.closest_three import closest_three
from pipeline.consensus.cycles import count_triads, refuse_rankings, summarise_cycles
from pipeline.consensus.dawid_skene import DawidSkene
from pipeline.consensus.graded import Graded
from pipeline.consensus.held_out import held_out, held_out_statistics
from pipeline.consensus.labels import POSTERIORS, entropy
from pipeline.consensus.majority import majority
from pipeline.consensus.patterns import Patterns
from pipeline.consensus.votes import VOTES
from pipeline.statistics.agreement import WHOLE
from pipeline.statistics.table import Statistic, statistics_table

TOLERANCE: Final = 1e-6  # nats a pair
MOST_ITERATIONS: Final = 300
_GRADED: Final = ("graded-response", "bradley-terry")
_GRADED_TOLERANCE: Final = 1e-5  # its M-step is a step, not a solution: it goes on gaining next to nothing for long
RANKED_ANSWERS: Final = 3  # answers to one prompt from which on they can have a scale of their own

# One row = one pair: what its votes say, and how sure that is.
DECIDED: Final = pl.Schema(
    dict(POSTERIORS)
    | {
        "strength": pl.Float64,  # -1 to 1: mean of the votes that count, those for low negative, those without a strength whole
        "votes_admitted": pl.Int64,
        "posterior_entropy": pl.Float64,  # bits, over low, tie, high
        "cyclic_share": pl.Float64,  # of the decided triads among the answers to the prompt; null: none
        "no_ranking": pl.String,  # why the prompt's answers have no single ranking; null: they may have one
    }
)

SIGNALS: Final = tuple(name for name in DECIDED if name not in POSTERIORS and name != "strength")


class Decided(NamedTuple):
    """What a partition's votes say."""

    pairs: pl.DataFrame  # DECIDED, sorted by pair_id
    cycles: pl.DataFrame  # of `cycles.summarise_cycles`


_VALUE: Final = pl.col("vote") * pl.col("strength").cast(pl.Float64).fill_nan(None).fill_null(1.0)


@dataclass(frozen=True)
class VoteModel:
    """A fitted vote model: all that a partition needs of it.

    Attributes:
        log_tables: (C, K), log_prior: (K,) and signs: (K,), as in `em.Fitted`.
    """

    log_tables: em.Double
    log_prior: em.Double
    signs: em.Signs

    def to_table(self) -> pl.DataFrame:
        """One row a class: sign, log_prior, log_cells (list)."""
        return pl.DataFrame({"sign": self.signs, "log_prior": self.log_prior, "log_cells": list(self.log_tables.T)})

    @classmethod
    def from_table(cls, table: pl.DataFrame) -> Self:
        """What `to_table` made."""
        cells = np.stack([column.to_numpy() for column in table.get_column("log_cells")], axis=1)
        return cls(cells, table.get_column("log_prior").to_numpy(), table.get_column("sign").to_numpy().astype(np.int8))


def fit(patterns: Patterns, config: ConsensusConfig) -> em.Fitted[Any]:
    """Fit the vote model: graded response where the config asks for it, else Dawid-Skene.

    That one tells of annotators also where the labels come by another rule.
    """
    graded = config.method in _GRADED
    model: Any = Graded(patterns.numbers) if graded else DawidSkene(patterns.numbers)
    return em.fit(patterns, model, tolerance=_GRADED_TOLERANCE if graded else TOLERANCE, most_iterations=MOST_ITERATIONS)


def foretell(votes: pl.DataFrame, config: ConsensusConfig) -> pl.DataFrame:
    """STATISTIC: how well the vote model foretells hidden votes, beside majority; no rows where no two voted on a pair.

    Args:
        votes: VOTES that enter consensus, of `held_out.sample`.
        config: the method.
    """
    name, model = ("graded_response", Graded) if config.method in _GRADED else ("dawid_skene", DawidSkene)
    if votes.is_empty():
        return statistics_table([])
    scores = held_out(votes, {name: model}, prior=config.prior, tolerance=_GRADED_TOLERANCE, most_iterations=MOST_ITERATIONS)
    return held_out_statistics(scores)


def fit_statistics(fitted: em.Fitted[Any], patterns: Patterns) -> pl.DataFrame:
    """STATISTIC: how the fit went. `vote_model_gain`: nats a pair that it gained over its start."""
    gain = (fitted.log_likelihood[-1] - fitted.log_likelihood[0]) / max(patterns.pairs, 1)
    how = (
        f"converged after {fitted.iterations} iterations"
        if fitted.converged
        else f"stopped after {fitted.iterations} iterations, not converged"
    )
    return statistics_table([Statistic("vote_model_gain", *WHOLE, gain, math.nan, math.nan, patterns.pairs, "nats a pair", how)])


def decide(
    votes: pl.DataFrame, pairs: pl.DataFrame, config: ConsensusConfig, model: VoteModel, numbers: pl.DataFrame, annotators: pl.DataFrame
) -> Decided:
    """What the votes of a partition's pairs say.

    Args:
        votes: VOTES that enter consensus, of whole prompts, in any order.
        pairs: pair_id, low_id, high_id, group (what answers are compared under: prompt, criterion, context, tools; null: the
            pair takes no part in rankings and cycles, because its votes count in another one).
        config: the method.
        model: fitted over the data set.
        numbers: the annotators it was fitted with.
        annotators: annotator, accuracy, first_share; nulls where they are not known.

    Returns:
        One row a pair with a vote, and the cycles among all of them.
    """
    if config.method == "majority":
        said = majority(votes, config.prior)
    elif config.method == "closest-three":
        said = majority(closest_votes(votes), config.prior)
    else:
        said = em.posteriors(votes, numbers, model.log_tables, model.log_prior, model.signs)
    placed = said.join(pairs, on="pair_id", how="left", maintain_order="left")
    netted = placed.filter(pl.col("group").is_not_null()).with_columns(net=pl.col("p_high") - pl.col("p_low"))
    triads = refuse_rankings(count_triads(netted), config.max_cyclic_share)
    told = placed.join(triads.select("group", "cyclic_share", no_ranking="reason"), on="group", how="left", maintain_order="left")
    if config.method == "bradley-terry":
        told = _ranked(told, votes, annotators)
    ordered = votes.sort("pair_id", "judgement_id")  # a float sum must not depend on the order of rows
    counts = ordered.group_by("pair_id", maintain_order=True).agg(votes_admitted=pl.len().cast(pl.Int64), strength=_VALUE.mean())
    joined = told.join(counts, on="pair_id", how="left", maintain_order="left")
    decided = joined.with_columns(posterior_entropy=entropy()).select(DECIDED.names()).cast(DECIDED)  # type: ignore[arg-type, unused-ignore]
    return Decided(decided, summarise_cycles(triads))


def closest_votes(votes: pl.DataFrame) -> pl.DataFrame:
    """The three votes of each pair that are closest on the scale from -1 (low, by far) to 1 (high, by far); all of them where fewer."""
    items = votes.group_by("pair_id").agg(annotators="judgement_id", values=_VALUE)
    kept = closest_three(items.rename({"pair_id": "item"})).select("kept_annotators").explode("kept_annotators", empty_as_null=False)
    return votes.join(kept, left_on="judgement_id", right_on="kept_annotators", how="semi").select(VOTES.names())


def _ranked(told: pl.DataFrame, votes: pl.DataFrame, annotators: pl.DataFrame) -> pl.DataFrame:
    """The pairs with one scale for all answers to a prompt, where there are enough of them and a single scale does not lie."""
    answers = (
        pl.concat([told.select("group", answer=side) for side in ("low_id", "high_id")]).group_by("group").agg(pl.col("answer").n_unique())
    )
    several = answers.filter(pl.col("answer") >= RANKED_ANSWERS).get_column("group")
    mine = told.filter(pl.col("group").is_in(several.implode()) & pl.col("no_ranking").is_null())
    cast = votes.join(mine.select("group", "pair_id", "low_id", "high_id"), on="pair_id")
    decided, above = 1 - pl.col("p_tie"), pl.col("p_high_above")  # P(better | not a tie) over the scores, as the other methods have it
    scaled = bradley_terry(cast, annotators).pairs.select("pair_id", "p_tie", p_low=decided * (1 - above), p_high=decided * above)
    return told.update(scaled, on="pair_id", how="left")
