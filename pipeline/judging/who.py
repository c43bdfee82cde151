"""Which pairs a judge is asked about: those that people did not decide, and some that they did, to hold the judge against.

Where three or more people voted judges do not: a third person is worth more than any of them (ACORN, 2024). What is chosen over the whole
data set has three parts: `summarise_...` of a partition, `reduce_...`, and the pairs of a partition that are in what came out.
"""

from collections.abc import Iterable
from typing import Final

import polars as pl

from pipeline.conditions import tokens_of
from pipeline.config import EndpointConfig, JudgeConfig
from pipeline.consensus.judges import GOLD_HUMANS, HUMAN, decided
from pipeline.errors import ConfigError
from pipeline.identity import content_hash
from pipeline.stage import UNNAMED, StageResult, split_by_reason

_COUNTS: Final = ("n_votes", "n_annotators", "votes_low", "votes_high", "votes_tie")  # what `only_if` may name
_KNOWN_AS: Final = {"votes_low": "votes_chosen", "votes_high": "votes_rejected"}  # how the words of a condition are checked
_PICKED: Final = pl.Schema({"pair_id": pl.String, "place": pl.String})


def annotator(config: JudgeConfig, endpoint: EndpointConfig) -> str:
    """What a judge is called among annotators: the same model under two names is two judges."""
    return f"{config.name} ({endpoint.model})"


def check(config: JudgeConfig) -> None:
    """Check `only_if`.

    Raises:
        ConfigError: it holds what a condition may not hold, names another column, or is not true or false.
    """
    _condition(config)


def summarise_gold(tally: pl.DataFrame, votes: pl.DataFrame, config: JudgeConfig) -> pl.DataFrame:
    """A partition's candidates for gold: pairs that at least three people decided.

    Args:
        tally: rows of `pairing.pair_up` with `left_stage`, in any order.
        votes: VOTES that they count, those of merged pairs among them.
        config: `gold_pairs`.

    Returns:
        pair_id and place (its hash): at most `gold_pairs` rows, the least.
    """
    gold = tally.filter(_here()).join(decided(votes), on="pair_id", how="semi")
    return least(gold.get_column("pair_id"), config.gold_pairs, "gold")


def reduce_gold(parts: Iterable[pl.DataFrame], config: JudgeConfig) -> pl.Series:
    """The pairs that are asked about although people decided them, from what `summarise_gold` gave: ids, sorted.

    They are drawn by the hash of their ids, so that all judges have the same, and a few new pairs change few of them.
    """
    return least_of(parts, config.gold_pairs)


def select(
    tally: pl.DataFrame, votes: pl.DataFrame, config: JudgeConfig, gold: pl.Series, without_content: pl.Series | None = None
) -> StageResult:
    """The pairs of a partition that a judge is asked about.

    Args:
        tally: as for `summarise_gold`.
        votes: as for `summarise_gold`, without those of this config's judges: what they said earlier must not change what they are asked.
        config: `only_if`, which sees counts of `votes`; it does not apply to gold.
        gold: of `reduce_gold`.
        without_content: ids of pairs with a degenerate answer, on which judges' votes do not count; none when left out.

    Returns:
        Rows of `tally` in their order. Dropped ones have a reason: left (in an earlier stage, e.g. merged), identical_answers,
        degenerate_answer, humans_decided, only_if (false, or null).
    """
    counts = [pl.col(name).fill_null(0) for name in _COUNTS]
    known = tally.select("pair_id", "low_id", "high_id", "left_stage").with_row_index("_row")
    known = known.join(_counted(votes), on="pair_id", how="left", maintain_order="left").with_columns(counts)
    known = known.join(_people(votes), on="pair_id", how="left", maintain_order="left")
    is_gold = pl.col("pair_id").is_in(gold.implode())
    empty = pl.Series([], dtype=pl.String) if without_content is None else without_content
    told = known.with_columns(_applies=_condition(config), _gold=is_gold, _empty=pl.col("pair_id").is_in(empty.implode()))
    reasons = {
        "left": ~_here(),
        "identical_answers": pl.col("low_id") == pl.col("high_id"),
        "degenerate_answer": pl.col("_empty"),
        "humans_decided": (pl.col("people") >= GOLD_HUMANS) & ~pl.col("_gold"),
        "only_if": ~pl.col("_applies").fill_null(False) & ~pl.col("_gold"),
    }
    left = split_by_reason(told, reasons).dropped.select("_row", "reason")
    marked = tally.with_row_index("_row").join(left, on="_row", how="left", maintain_order="left").drop("_row")
    return StageResult(kept=marked.filter(pl.col("reason").is_null()).drop("reason"), dropped=marked.filter(pl.col("reason").is_not_null()))


def least(pair_ids: pl.Series, most: int, kind: str) -> pl.DataFrame:
    """At most `most` pairs, those with the least hash: pair_id, place. `kind` says for what, so that draws are independent."""
    placed = pl.DataFrame({"pair_id": pair_ids, "place": content_hash(pair_ids, kind)}, schema=_PICKED)
    return placed.sort("place").head(most)


def least_of(parts: Iterable[pl.DataFrame], most: int) -> pl.Series:
    """The pairs of all partitions with the least hash: ids, sorted."""
    return pl.concat([_PICKED.to_frame(), *parts]).sort("place").head(most).get_column("pair_id").sort()


def _here() -> pl.Expr:
    return pl.col("left_stage").is_null()


def _counted(votes: pl.DataFrame) -> pl.DataFrame:
    """What `only_if` sees of each pair; each unnamed vote counts as one annotator."""
    unnamed = pl.col("annotator").str.starts_with(f"{UNNAMED} ")
    sides = {"votes_low": -1, "votes_high": 1, "votes_tie": 0}
    return votes.group_by("pair_id").agg(
        n_votes=pl.len().cast(pl.Int64),
        n_annotators=(pl.col("annotator").filter(~unnamed).n_unique() + unnamed.sum()).cast(pl.Int64),
        **{name: (pl.col("vote") == vote).sum().cast(pl.Int64) for name, vote in sides.items()},
    )


def _people(votes: pl.DataFrame) -> pl.DataFrame:
    """pair_id, people (human votes)."""
    return votes.filter(pl.col("kind") == HUMAN).group_by("pair_id").agg(people=pl.len())


def _condition(config: JudgeConfig) -> pl.Expr:
    """`only_if` as an expression over counts; true where there is none."""
    if config.only_if is None:
        return pl.lit(True)
    where = f"judges.{config.name}.only_if"
    # Conditions know the columns of published pairs; before consensus no answer is chosen.
    spelled = config.only_if
    for name, other in _KNOWN_AS.items():
        spelled = spelled.replace(name, other)
    words = {_KNOWN_AS.get(name, name): name for name in _COUNTS}
    named = [value for kind, value in tokens_of(where, spelled) if kind == "column"]
    wrong = [name for name in named if name not in words]
    if wrong or not named:
        found = f"unknown column {wrong[0]!r}" if wrong else "no column"
        raise ConfigError(f"{where} {config.only_if!r}: {found}; columns: {', '.join(_COUNTS)}.")
    try:
        expression = pl.sql_expr(config.only_if)
        result = pl.DataFrame({name: [1, None] for name in _COUNTS}).select(result=expression).to_series()
    except pl.exceptions.PolarsError as error:
        raise ConfigError(f"{where} {config.only_if!r} is not a valid condition: {str(error).splitlines()[0]}.") from None
    if result.dtype != pl.Boolean or len(result) != 2:
        raise ConfigError(f"{where} {config.only_if!r} gives {result.dtype}; expected true or false, as in `n_votes < 2`.")
    return expression
