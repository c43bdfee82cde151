"""Normalise messages, then give everything an id that depends on its content alone.

An id is BLAKE2b (16 bytes, hex) of a canonical form in which every field carries its own length, so that no two different
contents read the same. The bucket of a record is the first byte of its `prompt_id`.
"""

import hashlib
import os

import polars as pl

from pipeline.config import AnnotatorsConfig
from pipeline.normalise import normalised
from pipeline.stage import UNNAMED

_MESSAGE_FIELDS = ("role", "content", "name", "tool_calls", "tool_call_id", "reasoning_content")
_SIDES = ("prompt", "response_a", "response_b")


def identify(raw: pl.DataFrame, annotators: AnnotatorsConfig, dataset: str) -> pl.DataFrame:
    """Normalise raw judgements and add their ids.

    Args:
        raw: schema RAW_JUDGEMENT of `pipeline.ingest`, of any order.
        annotators: hashed names or plain ones; the key comes from the environment variable it names.
        dataset: the key where the environment holds none.

    Returns:
        The rows of `raw` in their order, with messages normalised (roles, NFC, line ends, white space at the end of a
        text), `normalised` (what that changed, e.g. `prompt.line_ends`), prompt_id, response_a_id, response_b_id,
        pair_id, annotator_id, and `base_id`: the judgement's id but for its number among identical unnamed votes.
    """
    rows = raw
    for side in _SIDES:
        rows = _normalise(rows, side)
    rows = rows.with_columns(
        normalised=pl.concat_list([f"_changed_{side}" for side in _SIDES]).list.drop_nulls(),
        both_bad=pl.col("both_bad").fill_null(False),
    ).drop([f"_changed_{side}" for side in _SIDES])
    rows = rows.with_columns(
        content_hash(rows.select(_canonical("response_a")).to_series(), "response").alias("response_a_id"),
        content_hash(rows.select(_canonical("response_b")).to_series(), "response").alias("response_b_id"),
        _annotator_ids(rows, annotators, dataset).alias("annotator_id"),
    )
    low, high = pl.min_horizontal("response_a_id", "response_b_id"), pl.max_horizontal("response_a_id", "response_b_id")
    # Rows without a prompt would all share one bucket; their two answers stand in for it.
    prompt = pl.when(pl.col("prompt").list.len() > 0).then(_canonical("prompt")).otherwise(_fields(pl.lit("none"), low, high))
    rows = rows.with_columns(content_hash(rows.select(prompt).to_series(), "prompt").alias("prompt_id"))
    rows = rows.with_columns(content_hash(rows.select(_pair(low, high)).to_series(), "pair").alias("pair_id"))
    judgement = _fields(
        pl.col("pair_id"),
        _response_named_by("outcome"),
        pl.col("both_bad").cast(pl.Int8).cast(pl.String),
        pl.col("strength").cast(pl.Float64).round(6).cast(pl.String),
        _response_named_by("shown_first"),
        pl.col("annotator_id"),
        pl.col("annotator_kind"),
        pl.col("rationale"),
        pl.col("judged_at"),
    )
    return rows.with_columns(content_hash(rows.select(judgement).to_series(), "judgement").alias("base_id"))


def identify_ratings(raw: pl.DataFrame, annotators: AnnotatorsConfig, dataset: str) -> pl.DataFrame:
    """Normalise raw ratings and add their ids.

    Args:
        raw: schema RAW_RATING of `pipeline.ingest`, of any order; all ratings of a source row are in it.
        annotators: as for judgements.
        dataset: as for judgements.

    Returns:
        The rows of `raw` in their order, with messages normalised, `normalised`, prompt_id (a judgement's on the same
        prompt), response_id, annotator_id, list_id (what a ranked rating was ranked among; null for others), rating_id.
    """
    rows = _normalise(_normalise(raw, "prompt"), "response")
    rows = rows.with_columns(
        normalised=pl.concat_list("_changed_prompt", "_changed_response").list.drop_nulls(),
        flags=pl.col("flags").fill_null(pl.lit([], pl.List(pl.String))),
        response_id=content_hash(rows.select(_canonical("response")).to_series(), "response"),
        annotator_id=_annotator_ids(rows, annotators, dataset),
    ).drop("_changed_prompt", "_changed_response")
    prompt = pl.when(pl.col("prompt").list.len() > 0).then(_canonical("prompt")).otherwise(_fields(pl.lit("none"), pl.col("response_id")))
    rows = rows.with_columns(prompt_id=content_hash(rows.select(prompt).to_series(), "prompt"))
    stated = [pl.col("response_id"), (pl.col("score") + 0.0).cast(pl.String)]  # -0 is 0
    row = ["source", "source_uri", "source_row", "criterion", "annotator_id"]
    ranked = rows.select(pl.when(pl.col("ranked").fill_null(False)).then(_fields(*stated).sort().str.join("").over(row))).to_series()
    rows = rows.with_columns(list_id=content_hash(ranked, "list"))
    about = [pl.col(name) for name in ("prompt_id", "tools", "criterion", "context")]
    by = [pl.col(name) for name in ("annotator_id", "annotator_kind", "rationale", "list_id")]
    return rows.with_columns(rating_id=content_hash(rows.select(_fields(*about, *stated, *by)).to_series(), "rating"))


def number_ratings(ratings: pl.DataFrame) -> pl.DataFrame:
    """Add `is_copy` to one bucket's (or more buckets') ratings.

    Args:
        ratings: rows of `identify_ratings`, all of a bucket's.

    Returns:
        The rows sorted by rating_id, source, source_uri, source_row; all but the first with one id are copies.
    """
    rows = ratings.sort("rating_id", "source", "source_uri", "source_row", "model", "score_min", "score_max", "extra")
    return rows.with_columns(is_copy=pl.int_range(pl.len()).over("rating_id") > 0)


def identify_derived(judgements: pl.DataFrame) -> pl.DataFrame:
    """Add `pair_id` and `judgement_id` to judgements derived from ratings, and mark those with one id as copies.

    Args:
        judgements: rows of `pipeline.rating_pairs`, all of a bucket's. The ratings they come from are part of their ids.

    Returns:
        The rows sorted by judgement_id, votes before the copies that only name more sources and models.
    """
    low, high = pl.min_horizontal("response_a_id", "response_b_id"), pl.max_horizontal("response_a_id", "response_b_id")
    rows = judgements.with_columns(pair_id=content_hash(judgements.select(_pair(low, high)).to_series(), "pair"))
    derived = _fields(
        pl.col("pair_id"),
        _response_named_by("outcome"),
        pl.col("annotator_id"),
        pl.col("annotator_kind"),
        pl.col("derived_from").list.sort().list.join(" "),
    )
    rows = rows.with_columns(judgement_id=content_hash(rows.select(derived).to_series(), "derived"))
    rows = rows.sort("judgement_id", "is_copy", "source", "source_uri", "source_row", "source_split", "model_a", "model_b")
    return rows.with_columns(is_copy=pl.col("is_copy") | (pl.int_range(pl.len()).over("judgement_id") > 0))


def number_votes(judgements: pl.DataFrame) -> pl.DataFrame:
    """Add `judgement_id` and `is_copy` to one bucket's (or more buckets') judgements.

    Identical rows of unnamed annotators in a vote layout, within one file, are separate votes: their number becomes part
    of the id. Any other row with the id of an earlier one is a copy of it; the first by source, file and row counts.

    Args:
        judgements: rows of `identify`, all of a bucket's.

    Returns:
        The rows sorted by judgement_id, source, source_uri, source_row; `derived_from` is empty. All rows of one judgement have the
        models' scores of each of them.
    """
    place = ["source", "source_uri", "source_row"]
    # Votes on two equal answers share an id whichever side won, so within one row the verdict orders them.
    rows = judgements.sort("base_id", *place, "outcome", "shown_first")
    number = pl.int_range(pl.len()).over("source", "source_uri", "base_id")
    repeated = pl.col("vote_layout") & (pl.col("annotator_id") == UNNAMED) & (number > 0)
    again = rows.select(pl.when(repeated).then(_fields(pl.col("base_id"), number.cast(pl.String)))).to_series()
    ids = content_hash(again, "judgement").fill_null(rows.get_column("base_id"))
    rows = rows.drop("base_id").with_columns(ids.alias("judgement_id")).sort("judgement_id", *place, "outcome", "shown_first")
    rows = rows.with_columns(is_copy=pl.int_range(pl.len()).over("judgement_id") > 0, derived_from=pl.lit([], pl.List(pl.String)))
    return _share_scores(rows)


def _share_scores(rows: pl.DataFrame) -> pl.DataFrame:
    """Let all rows of one judgement have the scores of each: what only a copy brings would be lost with it."""
    scored = rows.filter(pl.col("model_scores").is_not_null() & pl.col("judgement_id").is_duplicated())
    if scored.is_empty():
        return rows
    flat = scored.select("judgement_id", "response_a_id", "response_b_id", "model_scores").explode("model_scores", empty_as_null=False)
    flat = flat.unnest("model_scores")
    b_is_low = pl.col("response_a_id") > pl.col("response_b_id")  # copies may show their sides the other way round

    def placed(first: str, second: str) -> list[pl.Expr]:
        return [pl.when(b_is_low).then(two).otherwise(one).alias(one) for one, two in ((first, second), (second, first))]

    shared = flat.with_columns(placed("a", "b")).select("judgement_id", "model", "a", "b").unique().sort("judgement_id", "model", "a", "b")
    joined = rows.select("judgement_id", "response_a_id", "response_b_id").with_row_index("row").join(shared, on="judgement_id")
    joined = joined.with_columns(placed("a", "b")).sort("row", "model", "a", "b")
    listed = joined.group_by("row", maintain_order=True).agg(_scores=pl.struct("model", "a", "b"))
    told = rows.with_row_index("row").join(listed, on="row", how="left", maintain_order="left")
    return told.with_columns(model_scores=pl.coalesce("_scores", "model_scores")).drop("row", "_scores")


def quarantine_ids(quarantined: pl.DataFrame) -> pl.DataFrame:
    """Add `record_id` to quarantined rows: what was read and what was wrong with it, not where it stood."""
    if quarantined.is_empty():
        return quarantined.with_columns(record_id=pl.lit(None, pl.String))
    wrong = quarantined.select(_fields(pl.col("raw"), pl.col("reason"), pl.col("field"), pl.col("source"))).to_series()
    return quarantined.with_columns(content_hash(wrong, "quarantine").alias("record_id"))


def content_hash(texts: pl.Series, kind: str, key: bytes = b"") -> pl.Series:
    """BLAKE2b (16 bytes, hex) of each text, with its kind as prefix; null stays null.

    polars, Arrow and DuckDB have no stable 128-bit hash of this family, so this is the one comprehension over rows: about
    a million texts a second, each distinct text once.
    """
    unique = texts.unique(maintain_order=True)
    start = hashlib.blake2b(f"{kind}\n".encode(), digest_size=16, key=key)
    # A copy of a started hash costs half of a new one.
    ids = pl.Series([_finished(start.copy(), text) for text in unique.cast(pl.Binary).to_list()], dtype=pl.String)
    if len(unique) == len(texts):
        return ids.alias(texts.name)
    return texts.replace_strict(unique, ids, return_dtype=pl.String)


def _finished(started: "hashlib.blake2b", text: bytes | None) -> str | None:
    if text is None:
        return None
    started.update(text)
    return started.hexdigest()


def _annotator_ids(rows: pl.DataFrame, config: AnnotatorsConfig, dataset: str) -> pl.Series:
    """Two sources may both have a worker 7, so a name counts within its source."""
    named = pl.concat_str("source", pl.lit("/"), "annotator")  # null when nobody is named
    names = rows.select(named).to_series()
    if config.ids == "hashed":
        key = hashlib.blake2b(os.environ.get(config.key_env, dataset).encode(), digest_size=32).digest()
        names = content_hash(names, "annotator", key)
    return names.fill_null(UNNAMED)


def _pair(low: pl.Expr, high: pl.Expr) -> pl.Expr:
    """What a pair's id covers: its prompt, tools, criterion and context, and the ids of its responses in order."""
    return _fields(pl.col("prompt_id"), pl.col("tools"), pl.col("criterion"), pl.col("context"), low, high)


def _response_named_by(column: str) -> pl.Expr:
    side = pl.col(column)
    return pl.when(side == "a").then("response_a_id").when(side == "b").then("response_b_id").otherwise(side)


def _fields(*values: pl.Expr) -> pl.Expr:
    """Values joined so that they can be told apart: `length:value`, or `-` for null."""
    told = [pl.concat_str(v.str.len_bytes().cast(pl.String), pl.lit(":"), v).fill_null("-") for v in values]
    return pl.concat_str(told)


def _canonical(messages: str) -> pl.Expr:
    element = pl.element().struct
    return pl.col(messages).list.eval(_fields(*(element.field(name) for name in _MESSAGE_FIELDS))).list.join("")


def _normalise(rows: pl.DataFrame, side: str) -> pl.DataFrame:
    """Normalise one column of messages; `_changed_<side>` lists what changed."""
    messages, changed = normalised(rows.get_column(side))
    rows = rows.with_columns(messages)
    if not any(one.any() for one in changed.values()):
        return rows.with_columns(pl.lit([], dtype=pl.List(pl.String)).alias(f"_changed_{side}"))
    marks = [pl.when(one).then(pl.lit(f"{side}.{name}")) for name, one in changed.items()]
    return rows.with_columns(pl.concat_list(marks).list.drop_nulls().alias(f"_changed_{side}"))
