"""Selection: caps, then one draw. Global, so in three parts: `summarise` a partition, `reduce` the summaries, `apply` to a partition."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

import polars as pl

from pipeline.config import PipelineConfig, SelectionConfig
from pipeline.config.selection import REST, MinShareConfig, MixtureConfig
from pipeline.errors import ConfigError
from pipeline.expressions import Number, compile_number
from pipeline.selection import mix
from pipeline.selection.caps import CAPPED, beyond_caps
from pipeline.selection.drawing import Drawing
from pipeline.selection.topics import WITHOUT
from pipeline.stage import StageResult

# As the funnel tells them.
STAGES = {"select: caps": tuple(f"cap_{name}" for name in CAPPED), "select: draw": ("not_in_mixture", "no_advantage", "not_sampled")}
REASONS = tuple(reason for reasons in STAGES.values() for reason in reasons)
WHY = pl.Schema({"pair_id": pl.String(), "reason": pl.String(), "score": pl.Float64(), "threshold": pl.Float64(), "detail": pl.String()})
_SUMMARY = pl.Schema(
    {
        "pair_id": pl.String(),
        "cluster": pl.String(),
        "sources": pl.List(pl.String()),
        "annotators": pl.List(pl.String()),
        "group": pl.String(),
        "tokens": pl.Int64(),
        "cap_score": pl.Float64(),
        "score": pl.Float64(),
        "usual": pl.Float64(),
    }
)


@dataclass(frozen=True)
class Selection:
    """A checked selection. `numbers`: by the column of the summary that each fills."""

    config: SelectionConfig
    numbers: Mapping[str, Number]

    @property
    def columns(self) -> list[str]:
        """The columns of pairs that `summarise` reads."""
        named = {column for number in self.numbers.values() for column in number.columns}
        fixed = ["pair_id", "prompt_id", "prompt_cluster_id", "sources", "prompt_tokens", "chosen_tokens", "rejected_tokens"]
        return list(dict.fromkeys([*fixed, "prompt_language", *sorted(named)]))

    @property
    def by_topic(self) -> bool:
        """Whether pairs are told apart by the topic of their prompts."""
        groups = self.config.groups
        return groups is not None and groups.by == "topic"

    @property
    def by_annotator(self) -> bool:
        """Whether it needs to know whose votes a pair counts."""
        return self.config.caps is not None and self.config.caps.annotator is not None


@dataclass(frozen=True)
class Selected:
    """What was found over all partitions.

    Attributes:
        left: a table for each partition, in their order: pair_id, reason, score, threshold, detail of the pairs that leave.
        statistics: schema STATISTIC, of what the groups had, were to have, and have.
        warnings: what could not be done as asked, in words.
    """

    left: list[pl.DataFrame]
    statistics: pl.DataFrame
    warnings: list[str]


def check(config: PipelineConfig, off: Mapping[str, str] = MappingProxyType({})) -> Selection | None:
    """Check what a config says of selection; None where nothing is selected.

    Args:
        config: all of it: sources and rules too are named.
        off: signals that the config does not ask for, and what in it would (`pipeline.rules.not_computed`).

    Raises:
        ConfigError: an expression is wrong, a source is unknown, or a rule has the name of a reason of selection.
    """
    asked = config.selection
    taken = [rule.name for rule in config.rules.add if rule.name in REASONS]
    if asked.selects and taken:
        raise ConfigError(f"rules.add: {taken[0]!r} is what selection calls a reason of its own; give the rule another name.")
    expressions: dict[str, tuple[str, str]] = {}
    if asked.caps is not None:
        expressions["cap_score"] = ("selection.caps.by", asked.caps.by)
    sample = asked.sample
    if sample is not None and sample.by is not None:
        expressions["score"] = ("selection.sample.by", sample.by)
    if sample is not None and sample.advantage is not None:
        expressions["score"] = ("selection.sample.advantage.score", sample.advantage.score)
        if sample.advantage.over is not None:
            expressions["usual"] = ("selection.sample.advantage.over", sample.advantage.over)
    numbers = {name: compile_number(where, sql, off) for name, (where, sql) in expressions.items()}
    if asked.groups is not None:
        _check_groups(config, asked.groups, off)
    return Selection(asked, numbers) if asked.selects else None


def _check_groups(config: PipelineConfig, groups: MixtureConfig | MinShareConfig, off: Mapping[str, str]) -> None:
    where, named = ("mixture.weights", groups.weights) if isinstance(groups, MixtureConfig) else ("min_share.shares", groups.shares)
    if groups.by == "language" and "prompt_language" in off:
        raise ConfigError(f"selection.{where}: `by: language` needs `{off['prompt_language']}`.")
    if groups.by == "topic" and isinstance(named, dict):
        topics = [f"topic-{number:02d}" for number in range(config.selection.topics)]
        strange = [name for name in named if name not in (*topics, WITHOUT) and not (name == REST and isinstance(groups, MixtureConfig))]
        if strange:
            told = f"{topics[0]} (the largest) to {topics[-1]}, or {WITHOUT}"
            raise ConfigError(f"selection.{where}: {strange[0]!r} is no topic; expected {told}.")
    if groups.by != "source" or not isinstance(named, dict):
        return
    known = [source.name for source in config.sources]
    if REST in known and REST in named:
        raise ConfigError(f"selection.{where}: {REST!r} stands for all sources not named, and a source is called so; rename the source.")
    if any(source.version is not None for source in config.sources):
        return  # a published version brings sources of its own
    unknown = [name for name in named if name not in known and not (name == REST and isinstance(groups, MixtureConfig))]
    if unknown:
        raise ConfigError(f"selection.{where} names the source {unknown[0]!r}, which is not there; sources: {', '.join(known)}.")


def summarise(
    pairs: pl.DataFrame, selection: Selection, voters: pl.DataFrame | None = None, topics: pl.DataFrame | None = None
) -> pl.DataFrame:
    """What selection needs to know of one partition's pairs.

    Args:
        pairs: the columns that `selection.columns` names, in any order.
        selection: of `check`.
        voters: pair_id, annotator: those whose votes decide each pair, where `selection.by_annotator`; unnamed ones left out.
        topics: pair_id, topic, where `selection.by_topic`.

    Returns:
        One row a pair, sorted by pair_id: cluster, sources, annotators, group (null: of none), tokens, and the numbers asked for.
    """
    pairs = pairs.sort("pair_id")
    numbers = {name: number.of(pairs) for name, number in selection.numbers.items()}
    rows = pairs.select(
        "pair_id", "prompt_id", "sources", cluster="prompt_cluster_id",
        tokens=pl.sum_horizontal("prompt_tokens", "chosen_tokens", "rejected_tokens"),
    ).with_columns(**numbers)  # fmt: skip
    sample = selection.config.sample
    if sample is not None and sample.advantage is not None and sample.advantage.over is None:
        rows = rows.with_columns(usual=pl.col("score").mean().over("prompt_id"))
    if voters is not None:
        who = voters.unique().group_by("pair_id").agg(annotators="annotator")
        rows = rows.join(who, on="pair_id", how="left", maintain_order="left")
    if topics is not None:
        pairs = pairs.join(topics, on="pair_id", how="left", maintain_order="left")
    if selection.config.groups is not None:
        rows = rows.with_columns(group=mix.group_of(pairs, selection.config.groups))
    return rows.drop("prompt_id").match_to_schema(_SUMMARY, missing_columns="insert")


def reduce(summaries: list[pl.DataFrame], selection: Selection) -> Selected:
    """Find which pairs leave, from `summarise` of all partitions."""
    numbered = [table.with_columns(part=pl.lit(part, pl.Int64)) for part, table in enumerate(summaries)]
    every = pl.concat([_SUMMARY.to_frame().with_columns(part=pl.lit(None, pl.Int64)), *numbered]).sort("pair_id")
    left, warnings, requested = [WHY.to_frame()], list[str](), dict[str, Fraction]()
    rows, config = every, selection.config
    if config.caps is not None:
        left.append(beyond_caps(rows, config.caps, config.seed))
        rows = rows.join(left[-1], on="pair_id", how="anti", maintain_order="left")
    if config.draws:
        drawn = Drawing(config, rows)
        left += [table.match_to_schema(WHY) for table in drawn.left]
        warnings, requested = drawn.warnings, drawn.requested
    gone = pl.concat(left).join(every.select("pair_id", "part"), on="pair_id")
    kept = every.join(gone, on="pair_id", how="anti", maintain_order="left")
    statistics = mix.statistics(every, kept, config.groups, requested)
    parts = [gone.filter(pl.col("part") == part).drop("part").sort("pair_id") for part in range(len(summaries))]
    return Selected(parts, statistics, warnings)


def apply(pairs: pl.DataFrame, left: pl.DataFrame) -> StageResult:
    """Part one partition's pairs; `dropped` has stage `select`, reason, score, threshold, detail and witness_pair_id (null)."""
    dropped = pairs.join(left, on="pair_id", maintain_order="left")
    about = {"stage": pl.lit("select"), "witness_pair_id": pl.lit(None, pl.String)}
    columns = [*pairs.columns, "stage", "reason", "score", "threshold", "detail", "witness_pair_id"]
    return StageResult(
        kept=pairs.join(left, on="pair_id", how="anti", maintain_order="left"),
        dropped=dropped.with_columns(**about).select(columns),
    )
