"""Responses and their sums of hidden states as tables: what is computed, how the store keeps it, and the columns pairs get from it.

Everything is kept per prompt and response, so which of two answers was chosen can change without another pass.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from pipeline.ches.difficulty import add_difficulty
from pipeline.ches.score import ches, density_ratio, last_hidden_inner, row_blocks
from pipeline.ches.stored import KEY_FIELDS, column, keyed, placed, rows_of, vectors
from pipeline.errors import PrefineError, SchemaError
from pipeline.identity import content_hash
from pipeline.stage import bucket_of

if TYPE_CHECKING:
    from pipeline.ches.work import Scored  # brings torch along

LEFT_EARLIER: Final = "left_earlier"  # `ches_missing` of pairs that no trainer will see, so that no model read them
_SIDES: Final = ("chosen", "rejected")
_SUMS: Final = "hidden-sums"  # in messages
# What `add_ches` adds, in this order; all may be null.
CHES: Final = pl.Schema(
    {
        "ches": pl.Float64,
        "ches_ln": pl.Float64,
        "ches_missing": pl.String,
        **dict.fromkeys((f"{side}_lm_tokens" for side in _SIDES), pl.Int64),
        "ches_cut": pl.Boolean,
        "last_hidden_inner": pl.Float64,
        **dict.fromkeys((f"{side}_{logp}" for logp in ("logp", "logp_mean") for side in _SIDES), pl.Float64),
        "difficulty": pl.Float64,
        "reference_ranks_right": pl.Boolean,
        **dict.fromkeys((f"{side}_{value}" for value in ("density_ratio", "follow_up") for side in _SIDES), pl.Float64),
    }
)


def sums_schema(dimensions: int, *, logps: bool = False, last: bool = False) -> pa.Schema:
    """The store's columns for sums of hidden states of D dimensions: one row = one response to one prompt.

    A row has either a `reason` why it cannot be scored, or all values.
    """
    fields: list[Any] = [
        *KEY_FIELDS,
        pa.field("tokens", pa.int32(), metadata={"unit": "tokens, end of turn included, after any cut"}),
        pa.field("cut", pa.bool_(), metadata={"unit": "flag"}),  # tokens of the response lie beyond max_length
        pa.field("sum", pa.list_(pa.float32(), dimensions), metadata={"unit": "states that predict the response's tokens, summed"}),
    ]
    if last:
        fields.append(pa.field("last", pa.list_(pa.float32(), dimensions), metadata={"unit": "state at the last token"}))
    if logps:
        fields.append(pa.field("logp", pa.float64(), metadata={"unit": "nats, summed over the tokens"}))
    return pa.schema(fields)


def sums_fingerprint(model: str, template: str, *, logps: bool = False, last: bool = False) -> str:
    """What a row of the store depends on besides the response, and which columns it has: 32 hex digits.

    Args:
        model: fingerprint of the causal model.
        template: hash of the renderer.
        logps: rows have log-probabilities.
        last: rows have states at last tokens.
    """
    return str(content_hash(pl.Series([f"{model} {template} {logps:d}{last:d}"]), "hidden-sums").item())


def responses_of(pairs: pl.DataFrame) -> pl.DataFrame:
    """The answers of pairs, each once for its prompt and tools.

    Args:
        pairs: prompt_id, tools (null: none), prompt, chosen_id, chosen, rejected_id, rejected.

    Returns:
        bucket (uint8, of prompt_id), key (32 hex, of prompt_id, tools and the response's id), prompt_id, tools, prompt, response; one
        row a key, sorted by bucket, prompt_id, key.
    """
    columns = ["bucket", "key", "prompt_id", "tools", "prompt", "response"]
    sides = [pairs.with_columns(_key(pairs, side), bucket=bucket_of("prompt_id"), response=side).select(columns) for side in _SIDES]
    return pl.concat(sides).unique("key", keep="any").sort("bucket", "prompt_id", "key")  # equal keys have equal messages


def missing_responses(wanted: pl.DataFrame, have: pl.DataFrame | pa.Table) -> pl.DataFrame:
    """The responses that the store has neither values nor a reason of.

    Args:
        wanted: rows of `responses_of`.
        have: bucket, key, as `Store.keys` gives them.

    Returns:
        Rows of `wanted`, in their order.
    """
    stored = pl.DataFrame(pl.from_arrow(have)) if isinstance(have, pa.Table) else have
    keys = stored.select(pl.col("bucket").cast(pl.UInt8), pl.col("key").cast(pl.String))
    return wanted.join(keys, on=["bucket", "key"], how="anti", maintain_order="left")


def table_of(
    responses: pl.DataFrame,
    rows: npt.NDArray[np.int64],
    reasons: Sequence[str | None],
    cut: npt.NDArray[np.bool_],
    scored: "Scored",
) -> pa.Table:
    """What the pass gave, in the store's form.

    Args:
        responses: bucket, key; N rows.
        rows: (R,), which of them each row of `scored` is of.
        reasons: N; null for those that were scored.
        cut: (N,), whether a response goes on beyond the longest input.
        scored: R sums and counts, with log-probabilities and last states where they were asked for.

    Returns:
        `sums_schema`, N rows in the order of `responses`.

    Raises:
        ValueError: a response has both a score and a reason, or neither.
        PrefineError: a value is not finite.
    """
    schema = sums_schema(scored.sums.shape[1], logps=scored.logps is not None, last=scored.last is not None)
    keys = keyed(responses, rows, reasons)
    values: dict[str, Any] = {"tokens": scored.tokens, "cut": cut[rows], "sum": scored.sums, "last": scored.last, "logp": scored.logps}
    told = [placed(values[field.name], rows, responses.height, field) for field in list(schema)[len(keys) :]]
    return pa.table([*keys, *told], schema=schema)


def without_ches(pairs: pl.DataFrame) -> pl.DataFrame:
    """The pairs with all columns of CHES null: none was asked for."""
    return pairs.with_columns(pl.lit(None, kind).alias(name) for name, kind in CHES.items())


def add_ches(
    pairs: pl.DataFrame,
    stored: pa.Table,
    weak: pa.Table | None = None,
    follow_ups: pa.Table | None = None,
    left: pl.Series | None = None,
) -> pl.DataFrame:
    """Add what the hidden states and likelihoods of both answers tell.

    Args:
        pairs: prompt_id, tools, chosen_id, rejected_id; in any order.
        stored: `sums_schema`, in any order, of all answers but those of pairs that `left`, at least.
        weak: the same of a weaker model that read the very same tokens. Both tables need `logp` then.
        follow_ups: `follow_up.follow_up_schema`, in any order, of all answers of the pairs that have no `ches_missing` at least.
        left: Boolean, one a pair: it left earlier, and what its answers are does not matter. None did, when left out.

    Returns:
        The pairs in their order, with the columns of CHES. `ches`, `ches_ln`: `score.ches`. `ches_missing`: LEFT_EARLIER, or the reason
        of the chosen answer, or else of the rejected one; where there is one, every other column is null. `*_lm_tokens`: as summed;
        `ches_cut`: one of the answers goes on beyond the longest input. Null for every pair where `stored` lacks what they need:
        `last_hidden_inner`, `*_logp` (nats), `*_logp_mean` (nats a token), `difficulty` (nats) and
        `reference_ranks_right` (`difficulty.add_difficulty`). Null for every pair without the table: `*_density_ratio` (nats)
        and `*_follow_up` (nats a token; null for an answer that has a reason in that table). A pair's values depend on its own rows
        alone, bit for bit. Memory beside the tables is a few blocks of rows (`score.row_blocks`).

    Raises:
        PrefineError: an answer is not in a table; or the weaker model read other tokens, so that likelihoods do not compare.
        SchemaError: a key is in a table twice, or `logp` is not where it is needed.
    """
    gone = pl.repeat(False, pairs.height, dtype=pl.Boolean, eager=True) if left is None else left.fill_null(False)
    going = pairs.filter(~gone)
    keys = {side: _key(going, side) for side in _SIDES}
    found = {side: rows_of(keys[side], stored, _SUMS) for side in _SIDES}
    reason = column(stored, "reason").cast(pl.String)
    why = pl.select(pl.coalesce(*(reason.gather(found[side]) for side in _SIDES))).to_series()
    has = why.is_null()
    rows, keys = ({side: one[side].filter(has) for side in _SIDES} for one in (found, keys))
    told = _scores(stored, rows)
    if weak is not None:
        told |= _density_ratios(stored, rows, weak, keys)
    if follow_ups is not None:
        places = {side: rows_of(keys[side], follow_ups, "follow-ups") for side in _SIDES}
        told |= {f"{side}_follow_up": column(follow_ups, "follow_up").gather(places[side]) for side in _SIDES}
    unknown = {name: pl.repeat(None, int(has.sum()), dtype=kind, eager=True) for name, kind in CHES.items()}
    values = add_difficulty(pl.DataFrame({**unknown, **told})).select(CHES.names())
    placed_why = why.gather(_running(~gone))
    missing = pl.select(ches_missing=pl.when(gone).then(pl.lit(LEFT_EARLIER)).otherwise(placed_why)).to_series()
    return pairs.with_columns(values.select(pl.all().gather(_running(missing.is_null()))).with_columns(missing).get_columns())


def _running(holds: pl.Series) -> pl.Series:
    """The how-manieth each true one is, from 0; null for those that are not, of which nothing is known."""
    return pl.select(pl.when(holds).then(holds.cum_sum().cast(pl.Int64) - 1)).to_series()


def _scores(stored: pa.Table, rows: dict[str, pl.Series]) -> dict[str, pl.Series]:
    """What a table tells of pairs whose answers are in some of its rows, which have all values."""
    chosen, rejected = (rows[side].to_numpy() for side in _SIDES)
    tokens, has_last = column(stored, "tokens"), "last" in stored.column_names
    n, m = (tokens.gather(rows[side]).to_numpy() for side in _SIDES)
    sums, last = vectors(stored, "sum"), vectors(stored, "last") if has_last else None
    raw, normalised, inner = np.empty(len(chosen)), np.empty(len(chosen)), np.empty(len(chosen))
    for block in row_blocks(len(chosen), sums.shape[1]):
        one, two = chosen[block], rejected[block]
        raw[block], normalised[block] = ches(sums[one], sums[two], n[block], m[block])
        if last is not None:
            inner[block] = last_hidden_inner(last[one], last[two])
    told = {"ches": pl.Series(raw), "ches_ln": pl.Series(normalised)} | ({"last_hidden_inner": pl.Series(inner)} if has_last else {})
    told["ches_cut"] = column(stored, "cut").gather(rows["chosen"]) | column(stored, "cut").gather(rows["rejected"])
    for side in _SIDES:
        told[f"{side}_lm_tokens"] = tokens.gather(rows[side]).cast(pl.Int64)
        if "logp" in stored.column_names:
            told[f"{side}_logp"] = column(stored, "logp").gather(rows[side])
            told[f"{side}_logp_mean"] = told[f"{side}_logp"] / told[f"{side}_lm_tokens"]
    return told


def _density_ratios(stored: pa.Table, rows: dict[str, pl.Series], weak: pa.Table, keys: dict[str, pl.Series]) -> dict[str, pl.Series]:
    for name, table in (("model", stored), ("weak_model", weak)):
        if "logp" not in table.column_names:
            raise SchemaError(f"hidden-sums: no `logp` of signals.ches.{name}; a density ratio needs log-probabilities of both models.")
    told = {}
    for side in _SIDES:
        places = rows_of(keys[side], weak, _SUMS)
        tokens = column(stored, "tokens").gather(rows[side])
        unlike = int(tokens.ne_missing(column(weak, "tokens").gather(places)).sum())
        if unlike:
            raise PrefineError(
                f"signals.ches.weak_model: {unlike} {side} answers have other numbers of tokens than under signals.ches.model, so their "
                "likelihoods do not compare; expected the same tokens. Name a model with the same tokenizer and chat template."
            )
        strong, weaker = column(stored, "logp").gather(rows[side]), column(weak, "logp").gather(places)
        told[f"{side}_density_ratio"] = pl.Series(density_ratio(strong.to_numpy(), weaker.to_numpy()))
    return told


def _key(pairs: pl.DataFrame, side: str) -> pl.Series:
    """What a response is known by. Ids have no blanks, so all after the second one is the tools; none are not the same as empty ones."""
    tools = pl.when(pl.col("tools").is_null()).then(pl.lit("")).otherwise(pl.concat_str(pl.lit(" "), "tools"))
    told = pl.concat_str("prompt_id", pl.lit(" "), f"{side}_id", tools).alias("key")
    return content_hash(pairs.select(told).to_series(), "prompt and response")
