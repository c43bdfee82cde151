"""Ratings -> judgements: of the responses that one annotator scored under one prompt, which is better, and by how much."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.config import RatingsConfig
from pipeline.errors import ConfigError
from pipeline.schemas import JUDGEMENT, MODEL_SCORES_PL

_STRINGS = pl.List(pl.String)
_OVERALL: Final = ("overall", "overall_score")  # sums up the others: no criterion of its own beside them
_DIGITS: Final = 9  # of a share of the scale: means of equal scores in another order must be equal
_GROUP: Final = ["source", "prompt_id", "context", "tools", "annotator_id", "annotator_kind", "list_id"]

# One row = the lowest and highest score of one source on one criterion.
SCALES: Final = pl.Schema({"source": pl.String, "criterion": pl.String, "low": pl.Float64, "high": pl.Float64})

# One row = a judgement that follows from ratings: JUDGEMENT but for its ids, which come from its content, and where it counts.
DERIVED: Final = pl.DataFrame(JUDGEMENT.empty_table()).drop("pair_id", "judgement_id", "merged_into", "merged_a").schema
UNUSED: Final = pa.schema([pa.field("rating_id", pa.string()), pa.field("detail", pa.string())])


@dataclass(frozen=True)
class Derived:
    """What ratings became.

    Attributes:
        judgements: schema DERIVED. A row with `is_copy` is no vote: it names a model, source or split that only a copy
            of the vote's ratings names.
        unused: schema UNUSED: the ratings that fed no judgement, and why.
    """

    judgements: pl.DataFrame
    unused: pl.DataFrame


def summarise_scales(ratings: pl.DataFrame) -> pl.DataFrame:
    """The extremes of some ratings: schema SCALES, sorted by source and criterion."""
    bounds = ratings.group_by("source", "criterion").agg(low=pl.col("score").min(), high=pl.col("score").max())
    return bounds.sort("source", "criterion").match_to_schema(SCALES)


def join_scales(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The extremes of whole sources, from those of their parts; both of schema SCALES."""
    bounds = pl.concat([SCALES.to_frame(), *parts]).group_by("source", "criterion").agg(pl.col("low").min(), pl.col("high").max())
    return bounds.sort("source", "criterion")


def check_criteria(scales: pl.DataFrame, configs: Mapping[str, RatingsConfig]) -> None:
    """Stop at a config that compares on a criterion that does not exist.

    Raises:
        ConfigError: a source's `ratings: on:` names a criterion that none of its ratings has.
    """
    for (source,), mine in scales.partition_by("source", as_dict=True, maintain_order=True).items():
        on, found = configs[str(source)].on, mine["criterion"].to_list()
        if on not in ("mean", "each", *found):
            near = difflib.get_close_matches(on, found, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"criteria found: {', '.join(found[:20])}; or mean, or each."
            raise ConfigError(f"source {source!r}: `ratings: on: {on}` is no criterion of its ratings; {hint}")


def add_scales(ratings: pl.DataFrame, scales: pl.DataFrame, configs: Mapping[str, RatingsConfig]) -> pl.DataFrame:
    """Fill `score_min` and `score_max`: as stated, else as configured, else the extremes of the source on that criterion.

    Args:
        ratings: rows of `pipeline.identity.identify_ratings`.
        scales: schema SCALES, of the whole sources.
        configs: of every source, by name.
    """
    told = [{"source": name, "least": c.scale[0], "most": c.scale[1]} for name, c in configs.items() if c.scale is not None]
    configured = pl.DataFrame(told, schema={"source": pl.String, "least": pl.Float64, "most": pl.Float64})
    rows = ratings.join(scales, on=["source", "criterion"], how="left", maintain_order="left")
    rows = rows.join(configured, on="source", how="left", maintain_order="left")
    same = ["rating_id", "source"]  # copies may state other scales; which of them is first must not matter
    return rows.with_columns(
        score_min=pl.coalesce(pl.col("score_min").min().over(same), "least", "low"),
        score_max=pl.coalesce(pl.col("score_max").max().over(same), "most", "high"),
    ).drop("least", "most", "low", "high")


def judgements_from_ratings(ratings: pl.DataFrame, configs: Mapping[str, RatingsConfig], criterion: str) -> Derived:
    """Compare the responses that one annotator of one source scored under one prompt, context and set of tools.

    Args:
        ratings: schema RATING, all rows of the buckets they are in, in any order. Flagged ones are not compared. An
            unnamed annotator of a source is one annotator. What two sources state takes part in the comparisons of both:
            those that say the same get the same id.
        configs: of every source, by name.
        criterion: of judgements on the mean of criteria.

    Returns:
        Judgements whose strength is the gap between the two scores as a share of the scale (0 to 1; 0 is a tie), and the
        ratings that fed none. Each response of a judgement has its own text: two models with one answer are one response.
    """
    # What does not depend on which of several copies came first; texts are looked up by row once the pairs are known.
    every = ratings.drop("prompt", "response", "rationale", "extra", "normalised").with_row_index("at")
    every = every.with_columns(
        model=pl.col("model").min().over("rating_id"),
        source_split=pl.col("source_split").min().over("rating_id", "source"),
        flagged=pl.col("flags").list.sort().list.join(", ").max().over("rating_id"),
    )
    every = every.sort("rating_id", "source", "source_uri", "source_row").unique(["rating_id", "source"], keep="first", maintain_order=True)
    judgements = [DERIVED.to_frame()]
    unused = [every.filter(pl.col("flagged") != "").select("rating_id", detail="flagged")]
    for (source,), rows in every.filter(pl.col("flagged") == "").partition_by("source", as_dict=True, maintain_order=True).items():
        config = configs[str(source)]
        compared, left_out = _compared(rows, config, criterion)
        scored = _scored(compared)
        judgements.append(_judgements(scored, _pairs(scored, config), ratings))
        alone = pl.col("responses") == 1
        apart = pl.lit(f"in no pair of {config.pairs} with a gap of 0 or at least {config.min_gap:g}")
        why = pl.when(alone).then(pl.lit("no other response to compare with")).otherwise(apart)
        unused += [left_out, compared.select("rating_id", detail=why)]
    votes = pl.concat(judgements)
    used = votes.select(rating_id="derived_from").explode("rating_id", empty_as_null=False)
    idle = pl.concat(unused).join(used, on="rating_id", how="anti").group_by("rating_id").agg(pl.col("detail").min())
    return Derived(pl.concat([votes, _named_by_copies(votes, ratings)]), idle.sort("rating_id"))


def _compared(rows: pl.DataFrame, config: RatingsConfig, criterion: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Ratings whose criterion takes part, with `target`, the criterion of their judgement; and the others."""
    name = pl.col("criterion")
    if config.on == "mean":
        overall = name.str.to_lowercase().is_in(_OVERALL)
        takes_part, target = ~(overall & (~overall).any().over(_GROUP)), pl.lit(criterion)
    else:
        takes_part, target = pl.lit(True) if config.on == "each" else name == config.on, name
    marked = rows.with_columns(target=target, takes_part=takes_part)
    why = pl.format("criterion {} is not compared (on: {})", name, pl.lit(config.on))
    left_out = marked.filter(~pl.col("takes_part")).select("rating_id", detail=why)
    compared = marked.filter("takes_part").with_columns(responses=pl.col("response_id").n_unique().over(*_GROUP, "target"))
    return compared, left_out


def _scored(compared: pl.DataFrame) -> pl.DataFrame:
    """One row a response of a group, best first (equal scores by response_id): `share` of the scale, `group`, `place`."""
    group = [*_GROUP, "target"]
    width = pl.col("score_max") - pl.col("score_min")
    share = pl.when(width > 0).then((pl.col("score") - pl.col("score_min")) / width).otherwise(0.0)
    first = [pl.col(name).first() for name in ("at", "source_uri", "source_row")]
    least = [pl.col(name).min() for name in ("model", "source_split")]
    # An annotator who scored a response twice on a criterion has said their mean.
    rows = compared.with_columns(share=share).group_by(*group, "response_id", "criterion", maintain_order=True)
    single = rows.agg(*first, *least, pl.col("share").mean(), ids="rating_id")
    scored = single.group_by(*group, "response_id", maintain_order=True).agg(
        *first,
        *least,
        pl.col("share").mean().round(_DIGITS),
        ids=pl.col("ids").list.explode(keep_nulls=False, empty_as_null=False),
    )
    down = [False] * len(group) + [True, False]
    scored = scored.sort(*group, "share", "response_id", descending=down).with_columns(group=pl.struct(group).rle_id())
    return scored.with_columns(place=pl.int_range(pl.len(), dtype=pl.Int64).over("group")).with_row_index("row")


def _pairs(scored: pl.DataFrame, config: RatingsConfig) -> pl.DataFrame:
    """Which rows of `scored` are compared: row (the better one), row_right, gap (share of the scale)."""
    light = scored.select("row", "group", "place", "share", "response_id")
    if config.pairs == "adjacent":
        after = light.with_columns(pl.col("place") - 1)
        met = light.join(after, on=["group", "place"])
    elif config.pairs == "all":
        met = light.join(light, on="group").filter(pl.col("place") < pl.col("place_right"))
    else:
        rest = light.filter(pl.col("place") > 0)
        if config.pairs == "best_vs_worst":  # of several worst ones, the first by response_id
            rest = rest.filter(pl.col("share") == pl.col("share").min().over("group"))
            rest = rest.filter(pl.col("place") == pl.col("place").min().over("group"))
        if config.pairs == "best_vs_random":  # ids are hashes of content
            rest = rest.filter(pl.col("response_id") == pl.col("response_id").min().over("group"))
        met = light.filter(pl.col("place") == 0).join(rest, on="group")
    gap = (pl.col("share") - pl.col("share_right")).round(_DIGITS)
    apart = (pl.col("gap") == 0) | (pl.col("gap") >= round(config.min_gap, _DIGITS))
    return met.select("row", "row_right", gap=gap).filter(apart).sort("row", "row_right")


def _judgements(scored: pl.DataFrame, pairs: pl.DataFrame, ratings: pl.DataFrame) -> pl.DataFrame:
    """The pairs as rows of schema DERIVED; `a` is the lesser response id. `at` is where in `ratings` the texts stand."""
    better, other = scored[pairs["row"]], scored[pairs["row_right"]].select(pl.all().name.suffix("_right"))
    met = pl.concat([better, other, pairs.select("gap")], how="horizontal")
    swapped = pl.col("response_id") > pl.col("response_id_right")

    def sides(name: str, out: str) -> list[pl.Expr]:
        one, two = pl.col(name), pl.col(f"{name}_right")
        return [pl.when(swapped).then(two).otherwise(one).alias(f"{out}_a"), pl.when(swapped).then(one).otherwise(two).alias(f"{out}_b")]

    met = met.with_columns(
        *sides("at", "at"), *sides("model", "model"), *sides("source_uri", "uri"), *sides("source_row", "row"),
        response_a_id=pl.min_horizontal("response_id", "response_id_right"),
        response_b_id=pl.max_horizontal("response_id", "response_id_right"),
    )  # fmt: skip
    met = met.with_columns(
        prompt=ratings["prompt"].gather(met["at_a"]),
        response_a=ratings["response"].gather(met["at_a"]),
        response_b=ratings["response"].gather(met["at_b"]),
    )
    nothing = pl.lit(None, pl.String)
    return met.select(
        "prompt_id", "prompt", "tools", "response_a_id", "response_a", "response_b_id", "response_b", "model_a", "model_b",
        outcome=pl.when(pl.col("gap") == 0).then(pl.lit("tie")).when(swapped).then(pl.lit("b")).otherwise(pl.lit("a")),
        both_bad=pl.lit(False),
        strength=pl.col("gap").cast(pl.Float32),
        shown_first=nothing,
        model_scores=pl.lit(None, MODEL_SCORES_PL),
        annotator_id="annotator_id",
        annotator_kind="annotator_kind",
        criterion="target",
        context="context",
        rationale=nothing,
        source="source",
        source_uri="uri_a",
        source_row="row_a",
        source_split=pl.min_horizontal("source_split", "source_split_right"),
        judged_at=nothing,
        extra=nothing,
        normalised=pl.lit([], _STRINGS),
        is_copy=pl.lit(False),
        derived_from=pl.concat_list("ids", "ids_right").list.sort(),
    ).match_to_schema(DERIVED)  # fmt: skip


def _named_by_copies(votes: pl.DataFrame, ratings: pl.DataFrame) -> pl.DataFrame:
    """A copy of a vote for every model, source and split that the vote does not name and one of its ratings' rows does.

    A pair must know them all: a test split that only a copy states holds the pair out too.
    """
    told = ratings.select("rating_id", "source", "source_uri", "source_row", "source_split", response_a_id="response_id", said="model")
    ids = ["response_a_id", "source", "source_split", "model_a", "model_b"]
    fed = votes.with_row_index("vote").select("vote", *ids, rating_id="derived_from").explode("rating_id", empty_as_null=False)
    rows = fed.join(told, on="rating_id", suffix="_said")
    is_a = pl.col("response_a_id") == pl.col("response_a_id_said")
    known = pl.when(is_a).then("model_a").otherwise("model_b")
    new = (
        (pl.col("source_said") != pl.col("source"))
        | pl.col("source_split_said").ne_missing(pl.col("source_split"))
        | (pl.col("said").is_not_null() & pl.col("said").ne_missing(known))
    )
    named = rows.filter(new).select(
        "vote", "source_uri", "source_row", source="source_said", source_split="source_split_said",
        model_a=pl.when(is_a).then("said"), model_b=pl.when(~is_a).then("said"),
    )  # fmt: skip
    named = named.sort(pl.all()).unique(["vote", "source", "source_split", "model_a", "model_b"], keep="first", maintain_order=True)
    changed = named.drop("vote")
    kept = votes[named["vote"]].drop(changed.columns).with_columns(is_copy=pl.lit(True))
    return pl.concat([kept, changed], how="horizontal").select(votes.columns)
