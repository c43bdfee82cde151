"""Rationales of kind `factors`: what was measured of both answers and differs most, in plain sentences, without a model.

They state facts and no causes: nothing here knows why people voted as they did, and what sets the chosen answer apart may well be what
usually loses. A difference counts as large where few pairs of the data set differ as much, so the spread of each signal over all pairs
is counted first (`summarise_factors`, `reduce_factors`). Their form follows the factor-level view of Uncovering Factor Level
Preferences (2024); the threshold and the number of factors are ours.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.rationale.sides import CHOSEN, REJECTED, capitals
from pipeline.rationale.unasked import unasked

MOST: Final = 3  # factors of a rationale
_LEAST: Final = 0.5  # a difference that half of all pairs exceed is none to speak of
_LEAST_POINTS: Final = 5
# One row = pairs of the data set whose answers differ by `gap` (two significant digits, 0 and up) in `signal`.
SPREAD: Final = pl.Schema({"signal": pl.String, "gap": pl.Float64, "pairs": pl.Int64})


@dataclass(frozen=True)
class _Factor:
    """One thing that may differ: `signal` names it, of one `group` only the largest is told, `chosen` and `rejected` are its values."""

    signal: str
    group: str
    chosen: pl.Expr  # null: only the difference is known
    rejected: pl.Expr
    gap: pl.Expr  # chosen - rejected on the scale on which pairs are compared; null: not known
    sentence: pl.Expr


_NOTHING: Final = pl.lit(None, pl.Float64)


def _flag(name: str, group: str, says: str) -> _Factor:
    """A flag that one answer has and the other has not."""
    chosen, rejected = pl.col(f"chosen_{name}"), pl.col(f"rejected_{name}")
    sentence = pl.format(f"only {{}} {says}.", pl.when(chosen).then(pl.lit(CHOSEN)).otherwise(pl.lit(REJECTED)))
    return _Factor(name, group, chosen, rejected, chosen.cast(pl.Float64) - rejected.cast(pl.Float64), sentence)


def _more(gap: pl.Expr, more: str, less: str) -> pl.Expr:
    return pl.when(gap > 0).then(pl.lit(more)).otherwise(pl.lit(less))


def _values(name: str, group: str, words: tuple[str, str], says: str, *, percent: bool = False, exact: bool = False) -> _Factor:
    """A number of either answer, compared as the sentence shows it: what rounding hides is no difference."""
    sides = [pl.col(name.format(side)).cast(pl.Float64) for side in ("chosen", "rejected")]
    chosen, rejected = ((side * 100).round(0) if percent else side.round(0 if exact else 2) for side in sides)
    gap = chosen - rejected
    if percent:  # a few points are rare in some data sets, and nothing to speak of in any
        gap = pl.when(gap.abs() >= _LEAST_POINTS).then(gap).otherwise(0.0)
    shown = [value.cast(pl.Int64) if percent or exact else value for value in (chosen, rejected)]
    unit = " %" if percent else ""
    sentence = pl.format(f"{CHOSEN} {says}: {{}}{unit} against {{}}{unit}.", _more(gap, *words), *shown)
    signal = name.format("answer").removeprefix("answer_").removesuffix("_answer")
    return _Factor(signal, group, sides[0].round(4), sides[1].round(4), gap, sentence)


def _marks(name: str, one: str, many: str) -> _Factor:
    """A count of which only the difference is known."""
    gap = pl.col(f"{name}_gap")
    number = pl.when(gap.abs() == 1).then(pl.lit(one)).otherwise(pl.lit(many))
    sentence = pl.format(f"{CHOSEN} has {{}} {{}} {{}} than {REJECTED}.", gap.abs(), _more(gap, "more", "fewer"), number)
    return _Factor(f"{name}_gap", name, _NOTHING, _NOTHING, gap.cast(pl.Float64), sentence)


def _tokens() -> _Factor:
    """Lengths are compared by their ratio: 20 tokens more are much for a line and nothing for a page."""
    chosen, rejected = pl.col("chosen_tokens"), pl.col("rejected_tokens")
    gap = ((chosen + 1) / (rejected + 1)).log()
    sentence = pl.format(f"{CHOSEN} is {{}}: {{}} tokens against {{}}.", _more(gap, "longer", "shorter"), chosen, rejected)
    return _Factor("tokens", "length", chosen, rejected, gap, sentence)


def _language() -> _Factor:
    chosen, rejected, prompt = (pl.col(f"{text}_language") for text in ("chosen", "rejected", "prompt"))
    asked = pl.when(prompt.is_null()).then(pl.lit("")).otherwise(pl.format("; the prompt is in {}", prompt.fill_null("")))
    sentence = pl.format(f"{CHOSEN} is in the language {{}}, {REJECTED} in {{}}{{}}.", chosen, rejected, asked)
    differs = (chosen != rejected).cast(pl.Float64)
    # Which one counts as more: the language of the prompt.
    return _Factor("language", "language", chosen, rejected, pl.when(rejected == prompt).then(-differs).otherwise(differs), sentence)


def _rewards() -> _Factor:
    gap, models = pl.col("rm_mean").round(2), pl.col("rm_models")
    agree = (pl.col("rm_agreement") * 100).round(0).cast(pl.Int64)
    sentence = pl.format(
        f"Reward models give {CHOSEN} {{}} points {{}} on average; {{}} % of {{}} prefer it (equal scores count half).",
        gap.abs(), _more(gap, "more", "less"), agree, models,
    )  # fmt: skip
    return _Factor("rm_mean", "rewards", _NOTHING, _NOTHING, gap, sentence)


_HIGHER: Final = ("higher", "lower")
# Of equal differences the one that stands first here is told. `chars` and length percentiles say again what `tokens` says, and CHES is a
# number of the pair, not of either answer.
_FACTORS: Final = (
    _flag("empty", "length", "has no text"),
    _flag("degenerate", "length", "has next to no content"),
    _flag("injected", "injected", "holds text of a judge's template"),
    _flag("repetitive", "repetition", "repeats itself over and over"),
    _flag("garbled_start", "garbled", "starts with garbled text"),
    _flag("copies_prompt", "copies", "repeats most of the prompt"),
    _flag("truncated_tail", "tail", "ends in a colon"),
    _flag("role_marker", "role", "holds a speaker marker"),
    _language(),
    _tokens(),
    _values("cosine_prompt_{}", "prompt", ("closer to", "farther from"), "is {} the prompt (cosine of sentence embeddings)"),
    _values("{}_trigram_uniqueness", "repetition", ("less", "more"), "repeats itself {} (distinct three-word sequences)", percent=True),
    _marks("markdown", "mark of Markdown", "marks of Markdown"),
    _marks("citations", "citation", "citations"),
    _marks("hedges", "hedge", "hedges"),
    _marks("confidence", "phrase of confidence", "phrases of confidence"),
    _rewards(),
    _values("{}_logp_mean", "likelihood", ("likelier", "less likely"), "is {} to the language model (nats a token)"),
    _values("{}_density_ratio", "density", _HIGHER, "has the {} density ratio (nats)"),
    _values("{}_follow_up", "follow_up", _HIGHER, "has the {} score by likely follow-ups (nats a token)"),
    _values("{}_unreadable_share", "unreadable", ("more", "fewer"), "has {} unreadable characters", percent=True),
    _values("{}_personal", "personal", ("more", "fewer"), "holds {} pieces of personal data", exact=True),
    _values("{}_secrets", "secrets", ("more", "fewer"), "holds {} secrets", exact=True),
    _values("{}_repeated_prompts", "repeated", ("more", "fewer"), "is the answer to {} unrelated prompts, word for word", exact=True),
)


def summarise_factors(pairs: pl.DataFrame) -> pl.DataFrame:
    """How far a partition's pairs differ in each signal.

    Args:
        pairs: PAIR's signals, in any order.

    Returns:
        SPREAD, sorted.
    """
    parts = [
        pairs.select(gap=_size(factor))
        .drop_nulls()
        .group_by("gap")
        .agg(pairs=pl.len().cast(pl.Int64))
        .with_columns(signal=pl.lit(factor.signal))
        for factor in _FACTORS
    ]
    return pl.concat([part.select(SPREAD.names()) for part in parts]).sort("signal", "gap")


def reduce_factors(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """How far all pairs differ in each signal: SPREAD, sorted."""
    return pl.concat([SPREAD.to_frame(), *parts]).group_by("signal", "gap").agg(pl.col("pairs").sum()).sort("signal", "gap")


def factors(pairs: pl.DataFrame, spread: pl.DataFrame) -> pl.DataFrame:
    """State what differs most between the two answers of each pair, and how its votes went.

    Args:
        pairs: PAIR's pair_id, prompt_id, votes, margin and signals, in any order.
        spread: of `reduce_factors`, over all pairs.

    Returns:
        RATIONALE, one row a pair, sorted by pair_id: kind `factors`, generator `prefine`, accepted. `text` begins "Measured
        differences:". `items`: JSON list of at most three {signal, chosen, rejected, standardised}, the largest difference first;
        chosen and rejected are null where only the difference is known. `standardised`: -1 to 1, its size the share of the data
        set's pairs that differ less in the signal, equal ones half; negative where the chosen answer has less (of languages: where the
        rejected answer has the prompt's). Differences below one half are left out.
    """
    numbered = pairs.sort("pair_id").with_row_index("row")
    told = pl.concat([_told(numbered, factor, place, spread) for place, factor in enumerate(_FACTORS)])
    size = pl.col("standardised").abs()
    ranked = told.filter(size >= _LEAST).sort("row", size, "place", descending=[False, True, False])
    ranked = ranked.unique(["row", "group"], keep="first", maintain_order=True)
    best = ranked.filter(pl.int_range(pl.len()).over("row") < MOST).group_by("row", maintain_order=True).agg("sentence", "item")
    joined = numbered.join(best, on="row", how="left", maintain_order="left")
    measured = pl.col("sentence").list.join(" ").fill_null("none that stands out among the pairs of the data set.")
    rows = joined.select(
        "pair_id", "prompt_id", kind=pl.lit("factors"), generator=pl.lit("prefine"),
        text=capitals(pl.concat_str(pl.lit("Measured differences: "), measured, pl.lit(" Votes: "), _votes())),
        items=pl.concat_str(pl.lit("["), pl.col("item").list.join(", ").fill_null(""), pl.lit("]")),
    )  # fmt: skip
    return unasked(rows, pl.lit("prefine"))


def _size(factor: _Factor) -> pl.Expr:
    """The difference, as it is compared: two digits keep the number of distinct ones small, whatever the data."""
    return factor.gap.abs().cast(pl.Float64).round_sig_figs(2)


def _told(pairs: pl.DataFrame, factor: _Factor, place: int, spread: pl.DataFrame) -> pl.DataFrame:
    """row, place, group, standardised, sentence and item of the pairs that differ in one factor."""
    gaps = pairs.select("row", gap=factor.gap, size=_size(factor))
    share = pl.Series(_share(gaps["size"].fill_null(0.0).to_numpy(), spread.filter(pl.col("signal") == factor.signal)))
    apart = pairs.with_columns(standardised=(gaps["gap"].sign() * share).round(4)).filter(gaps["size"] > 0)
    item = pl.struct(signal=pl.lit(factor.signal), chosen=factor.chosen, rejected=factor.rejected, standardised="standardised")
    return apart.select(
        "row", "standardised", place=pl.lit(place), group=pl.lit(factor.group), sentence=factor.sentence, item=item.struct.json_encode()
    )


def _share(sizes: npt.NDArray[np.float64], spread: pl.DataFrame) -> npt.NDArray[np.float64]:
    """Share of the data set's pairs that differ less, equal ones half."""
    gaps, until = spread["gap"].to_numpy(), np.concatenate([[0], np.cumsum(spread["pairs"].to_numpy())])
    below, with_equal = (until[np.searchsorted(gaps, sizes, side)] for side in ("left", "right"))
    return np.asarray((below + with_equal) / (2.0 * max(1, int(until[-1]))), np.float64)


def _votes() -> pl.Expr:
    """How the votes went, and their strength."""
    chosen, rejected, ties, all_votes = (pl.col(name) for name in ("votes_chosen", "votes_rejected", "votes_tie", "n_votes"))
    others = [
        pl.when(rejected > 0).then(pl.format(f", {{}} {REJECTED}", rejected)).otherwise(pl.lit("")),
        pl.when(ties > 0).then(pl.format(", {} neither", ties)).otherwise(pl.lit("")),
    ]
    strength = pl.format("; net strength {} on a scale of 0 to 1.", pl.col("margin").cast(pl.Float64).round(2))
    return pl.concat_str(pl.format(f"{{}} of {{}} preferred {CHOSEN}", chosen, all_votes), *others, strength)
