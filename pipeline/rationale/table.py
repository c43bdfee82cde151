"""What a pair gets from its rationales, and what a data set's rationales add up to."""

from collections.abc import Sequence
from typing import Final

import polars as pl

# Why a pair has no rationale: of several reasons, the one that got furthest. What is not named here is a question without an answer.
_STAGES: Final = (
    "refused", "cut_off", "not_json", "wrong_schema", "boilerplate", "too_short", "too_long_text", "names_a_side", "only_the_label",
    "copies_prompt", "copies_answer", "quote_not_found", "order_unclear", "other_verdict", "argues_otherwise", "near_copy", "not_verified",
    "order_changes_verdict", "verdict_not_recovered",
)  # fmt: skip
STRUCT: Final = pl.Struct({"text": pl.String, "kind": pl.String, "generator": pl.String})


def add_signals(pairs: pl.DataFrame, rationales: pl.DataFrame) -> pl.DataFrame:
    """Add what rationales say of their pairs, written and stated ones; `factors` say nothing but what other signals do.

    Columns: `rationale_missing` (why the pair has none: the reason of the attempt that got furthest; null: it has one, or none was
    wanted), `rationale_verdict` (share of the recovered verdicts for chosen, ties half, 0 to 1), `rationale_against` (these are for
    rejected, or the verdict of a writer that was not told the label; a rubric's scores are about one criterion and count for nothing
    here, and a stated vote is part of the label already), `rationale_steady` (the same verdict in both orders), `rationale_leaks`
    (an accepted one names the label), `rationale_near_copies` (most prompts whose rationale says the same as one of the pair's).
    Null where there is nothing to tell them from.

    Args:
        pairs: PAIR rows, of any order, with or without these columns.
        rationales: schema RATIONALE, in any order, of these pairs or of others too.
    """
    said = rationales.filter(pl.col("kind") != "factors")
    recovered = pl.concat_list(_worth("recovered_first"), _worth("recovered_second")).list.drop_nulls()
    both = pl.col("recovered_first").is_not_null() & pl.col("recovered_second").is_not_null()
    own = pl.when(~pl.col("kind").is_in(["rubric", "stated"])).then("own_verdict")
    stage = pl.col("reason").replace_strict(_STAGES, range(1, len(_STAGES) + 1), default=0, return_dtype=pl.Int64)
    told = (
        said.with_columns(_worth=recovered, _both=both, _own=own, _stage=stage)
        .group_by("pair_id")
        .agg(
            _any=pl.col("accepted").any(),
            _why=pl.col("reason").sort_by("_stage", "reason", descending=True).drop_nulls().first(),
            rationale_verdict=pl.col("_worth").list.sum().sum() / pl.col("_worth").list.len().sum(),
            _against=(pl.col("_own") == "rejected").any(),
            _said=pl.col("_own").is_not_null().any(),
            rationale_steady=pl.when(pl.col("_both").any()).then(
                (pl.col("recovered_first") == pl.col("recovered_second")).filter("_both").all()
            ),
            rationale_leaks=pl.when(pl.col("accepted").any()).then(pl.col("leaks_label").filter("accepted").any()),
            rationale_near_copies=pl.col("near_copies").filter(pl.col("text").is_not_null()).max(),
        )
    )
    verdict = pl.col("rationale_verdict").fill_nan(None)
    told = told.select(
        "pair_id",
        rationale_missing=pl.when(~pl.col("_any")).then("_why"),
        rationale_verdict=verdict,
        rationale_against=pl.when(verdict.is_not_null() | pl.col("_said")).then((verdict < 0.5).fill_null(False) | pl.col("_against")),
        rationale_steady="rationale_steady",
        rationale_leaks="rationale_leaks",
        rationale_near_copies="rationale_near_copies",
    )
    names = [name for name in told.columns if name != "pair_id"]
    return pairs.drop(names, strict=False).join(told, on="pair_id", how="left", maintain_order="left")


def prefer(pairs: pl.DataFrame, rationales: pl.DataFrame, kinds: Sequence[str]) -> pl.DataFrame:
    """Set `rationale`, a pair's preferred accepted one: stated before asked ones, these in the order of `kinds`.

    Args:
        pairs: PAIR rows, of any order.
        rationales: schema RATIONALE. Of several of one kind the first row is preferred. None of those whose writer decided for the
            rejected answer is, such as a rubric's scores on a criterion where that one is better.
        kinds: as in the config.

    Returns:
        The pairs in their order with `rationale` (text, kind, generator); null: none.
    """
    order = ["stated", *(kind for kind in kinds if kind != "stated")]
    usable = pl.col("accepted") & pl.col("text").is_not_null() & (pl.col("own_verdict") != "rejected").fill_null(True)
    rank = pl.col("kind").replace_strict(order, range(len(order)), default=None, return_dtype=pl.Int64)
    ranked = rationales.filter(usable).with_columns(_rank=rank).filter(pl.col("_rank").is_not_null()).sort("_rank", maintain_order=True)
    best = ranked.group_by("pair_id", maintain_order=True).agg(rationale=pl.struct("text", "kind", "generator").first())
    # A left join makes a struct of nulls where there is none, which would be read as a rationale.
    joined = pairs.drop("rationale", strict=False).join(best.with_columns(_has=True), on="pair_id", how="left", maintain_order="left")
    told = joined.with_columns(rationale=pl.when("_has").then("rationale").otherwise(pl.lit(None, STRUCT))).drop("_has")
    columns = pairs.columns if "rationale" in pairs.columns else [*pairs.columns, "rationale"]
    return told.select(columns)


def _worth(column: str) -> pl.Expr:
    """A verdict as points for chosen."""
    return pl.col(column).replace_strict({"chosen": 1.0, "tie": 0.5, "rejected": 0.0}, default=None, return_dtype=pl.Float64)
