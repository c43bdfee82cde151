"""Answers of judges -> verdicts. What does not fit the form is no verdict, with a reason; nothing is guessed from prose."""

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from pipeline.config import JudgeConfig
from pipeline.judging import asking
from pipeline.judging.tables import HIGH, LOW, TIE, VERDICTS
from pipeline.prompts.replies import replies

_STRENGTHS: Final = {"slight": 1 / 3, "clear": 2 / 3, "strong": 1.0}  # `none` goes with a tie; with a verdict, it says nothing
_SPENT: Final = ["input_tokens", "output_tokens", "cost"]


def read(asked: pl.DataFrame, answers: pl.DataFrame, failures: pl.DataFrame, config: JudgeConfig) -> pl.DataFrame:
    """What became of each question to a judge.

    Args:
        asked: ASKED, of `asking.ask`.
        answers: ANSWERS of the judge's form; those of other questions may be among them.
        failures: FAILURES of the same run.
        config: `method`.

    Returns:
        VERDICTS, one row a question, in their order. Reasons: that of the failure (budget, timeout ...), no_answer (neither an answer nor
        a failure), refused, cut_off (it ended at the limit of tokens and is not whole), not_json, wrong_schema (so are scores outside
        1 to 10, and a checklist without a question).
    """
    rows = _answered(asked, answers, asking.SCHEMAS[config.method])
    failed = failures.select("key", "detail", _failure="reason").unique("key", keep="first", maintain_order=True)
    rows = rows.join(failed, on="key", how="left", maintain_order="left")
    unsaid = pl.col("reason") == "no_answer"
    rows = rows.with_columns(
        reason=pl.when(unsaid).then(pl.coalesce("_failure", "reason")).otherwise("reason"), detail=pl.when(unsaid).then("detail")
    )
    rows = _by_questions(rows) if config.method == "checklist" else _by_word(rows)
    there = pl.col("verdict").is_not_null()
    low = pl.when("low_first")
    agrees = (pl.col("score_high") - pl.col("score_low")).sign() == pl.col("verdict")
    told = rows.with_columns(
        score_low=pl.when(there).then(low.then("score_a").otherwise("score_b")),
        score_high=pl.when(there).then(low.then("score_b").otherwise("score_a")),
        strength=pl.when(there).then("strength"),
        rationale=pl.when(there & (pl.col("critique").str.strip_chars() != "")).then("critique"),
        stands=pl.lit(None, pl.Boolean),
    ).with_columns(agrees_with_scores=pl.when(there & (config.method != "checklist")).then(agrees))
    return told.select(VERDICTS.names()).cast(VERDICTS)  # type: ignore[arg-type, unused-ignore]


def unasked(dropped: pl.DataFrame) -> pl.DataFrame:
    """VERDICTS of the questions that could not be put, as `asking.ask` drops them: none, with the reason."""
    free = {"input_tokens": pl.lit(0), "output_tokens": pl.lit(0), "cost": pl.lit(0.0)}
    known = {name: pl.col(name) for name in dropped.columns} | free
    return dropped.select(known.get(name, pl.lit(None)).cast(kind).alias(name) for name, kind in VERDICTS.items())


def read_meta(verdicts: pl.DataFrame, asked: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """Add what a meta judge says to the verdicts it was asked about.

    Args:
        verdicts: VERDICTS.
        asked: ASKED, of `asking.ask_meta`.
        answers: ANSWERS of the meta judge.

    Returns:
        The rows in their order, with `stands` (null where there is no answer that can be read), and the meta judge's tokens and cost
        added to theirs.
    """
    by = ["pair_id", "low_first", "sample", "criterion"]
    rows = _answered(asked, answers, asking.META_SCHEMA)
    spent = {f"_{name}": name for name in _SPENT}
    told = rows.select(*by, _stands="sound", **spent)
    joined = verdicts.join(told, on=by, how="left", nulls_equal=True, maintain_order="left")
    added = [(pl.col(name) + pl.col(extra).fill_null(0)).alias(name) for extra, name in spent.items()]
    return joined.with_columns(*added, stands=pl.coalesce("_stands", "stands")).select(VERDICTS.names())


def _answered(asked: pl.DataFrame, answers: pl.DataFrame, schema: Mapping[str, Any]) -> pl.DataFrame:
    """Questions with the fields of their answers, or a reason, and what they cost; equal questions were paid once."""
    spent = answers.select("bucket", "key", *_SPENT)
    rows = replies(asked, answers, schema).join(spent, on=["bucket", "key"], how="left", maintain_order="left")
    return rows.with_columns(pl.when(pl.struct("bucket", "key").is_first_distinct()).then(name).fill_null(0).alias(name) for name in _SPENT)


def _by_word(rows: pl.DataFrame) -> pl.DataFrame:
    """Verdict, strength and scores as the judge states them."""
    scores = [pl.col(name).cast(pl.Float64) for name in ("score_a", "score_b")]
    named = pl.col("verdict")
    first = pl.when("low_first").then(LOW).otherwise(HIGH)
    verdict = pl.when(named == "A").then(first).when(named == "B").then(-first).when(named == "tie").then(TIE)
    stated = pl.col("strength").replace_strict(list(_STRENGTHS), list(_STRENGTHS.values()), default=None, return_dtype=pl.Float64)
    strength = pl.when(named == "tie").then(0.0).otherwise(stated)
    return rows.with_columns(*scores, verdict=verdict, strength=strength)


def _by_questions(rows: pl.DataFrame) -> pl.DataFrame:
    """Shares of yes, and the verdict that follows from them (TICK, 2024)."""
    item = pl.element().struct

    def rate(letter: str) -> pl.Expr:
        return pl.col("questions").list.eval(item.field(letter).cast(pl.Float64)).list.mean()

    yes = [pl.when(item.field(letter)).then(pl.lit("yes")).otherwise(pl.lit("no")) for letter in "ab"]
    lines = pl.col("questions").list.eval(pl.format("- {} Response A: {}. Response B: {}.", item.field("question"), *yes)).list.join("\n")
    gap = pl.col("score_a") - pl.col("score_b")
    first = pl.when("low_first").then(LOW).otherwise(HIGH)
    rated = rows.with_columns(score_a=rate("a"), score_b=rate("b"), critique=lines)
    return rated.with_columns(verdict=gap.sign().cast(pl.Int8) * first, strength=gap.abs())
