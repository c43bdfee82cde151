"""Normalise messages, then give everything an id that depends on its content alone.

An id is BLAKE2b (16 bytes, hex) of a canonical form in which every field carries its own length, so that no two different
contents read the same. The bucket of a record is the first byte of its `prompt_id`.
"""

import hashlib
import os

import polars as pl

from pipeline.config import AnnotatorsConfig
from pipeline.stage import UNNAMED

_MESSAGE_FIELDS = ("role", "content", "name", "tool_calls", "tool_call_id", "reasoning_content")
_SIDES = ("prompt", "response_a", "response_b")


# Every role name that sources use for the four that we keep.
_ROLES = {
    "human": "user",
    "prompter": "user",
    "developer": "system",
    **dict.fromkeys(("gpt", "bot", "model", "ai", "chatbot"), "assistant"),
    **dict.fromkeys(("function", "observation", "ipython", "tool_response"), "tool"),
}


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
    pair = _fields(pl.col("prompt_id"), pl.col("tools"), pl.col("criterion"), pl.col("context"), low, high)
    rows = rows.with_columns(content_hash(rows.select(pair).to_series(), "pair").alias("pair_id"))
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


def number_votes(judgements: pl.DataFrame) -> pl.DataFrame:
    """Add `judgement_id` and `is_copy` to one bucket's (or more buckets') judgements.

    Identical rows of unnamed annotators in a vote layout, within one file, are separate votes: their number becomes part
    of the id. Any other row with the id of an earlier one is a copy of it; the first by source, file and row counts.

    Args:
        judgements: rows of `identify`, all of a bucket's.

    Returns:
        The rows sorted by judgement_id, source, source_uri, source_row.
    """
    place = ["source", "source_uri", "source_row"]
    # Votes on two equal answers share an id whichever side won, so within one row the verdict orders them.
    rows = judgements.sort("base_id", *place, "outcome", "shown_first")
    number = pl.int_range(pl.len()).over("source", "source_uri", "base_id")
    repeated = pl.col("vote_layout") & (pl.col("annotator_id") == UNNAMED) & (number > 0)
    again = rows.select(pl.when(repeated).then(_fields(pl.col("base_id"), number.cast(pl.String)))).to_series()
    ids = content_hash(again, "judgement").fill_null(rows.get_column("base_id"))
    rows = rows.drop("base_id").with_columns(ids.alias("judgement_id")).sort("judgement_id", *place, "outcome", "shown_first")
    return rows.with_columns(is_copy=pl.int_range(pl.len()).over("judgement_id") > 0)


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
    unique = texts.drop_nulls().unique()
    prefix = f"{kind}\n".encode()
    ids = [hashlib.blake2b(prefix + text.encode(), digest_size=16, key=key).hexdigest() for text in unique]
    return texts.replace_strict(unique, pl.Series(ids, dtype=pl.String), return_dtype=pl.String, default=None)


def _annotator_ids(rows: pl.DataFrame, config: AnnotatorsConfig, dataset: str) -> pl.Series:
    """Two sources may both have a worker 7, so a name counts within its source."""
    named = pl.concat_str("source", pl.lit("/"), "annotator")  # null when nobody is named
    names = rows.select(named).to_series()
    if config.ids == "hashed":
        key = hashlib.blake2b(os.environ.get(config.key_env, dataset).encode(), digest_size=32).digest()
        names = content_hash(names, "annotator", key)
    return names.fill_null(UNNAMED)


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
    element = pl.element().struct
    role = element.field("role").str.to_lowercase().str.strip_chars().replace(_ROLES)
    steps = {
        "roles": [role.alias("role")],
        "unicode": [element.field("content").str.normalize("NFC").alias("content")],
        "line_ends": [element.field("content").str.replace_all("\r\n?", "\n").alias("content")],
        "trailing_space": [element.field("content").str.strip_chars_end().alias("content")],
    }
    changed = []
    for name, fields in steps.items():
        before = rows.get_column(side)
        rows = rows.with_columns(pl.col(side).list.eval(pl.element().struct.with_fields(*fields)))
        differs = pl.Series(f"_{name}", rows.get_column(side).ne_missing(before))
        changed.append(pl.when(differs).then(pl.lit(f"{side}.{name}")))
    return rows.with_columns(pl.concat_list(changed).list.drop_nulls().alias(f"_changed_{side}"))
