"""Answers of a model to rationales: sides for letters, and for whatever cannot be read a reason."""

from typing import Final

import polars as pl

from pipeline.config import RationalesConfig
from pipeline.identity import content_hash
from pipeline.llm.tables import FAILURES
from pipeline.prompts import fields, read_json
from pipeline.rationale.asking import PROSE, RUBRIC, schema_of
from pipeline.rationale.sides import CHOSEN, REJECTED, capitals, names_letter, undo_order
from pipeline.schemas import RATIONALE

_SCHEMA: Final = pl.Schema(pl.DataFrame(RATIONALE.empty_table()).schema)
_STOPPED: Final = {"length": "cut_off", "content_filter": "refused"}  # finish reasons that leave nothing to read


def read(
    asked: pl.DataFrame, answers: pl.DataFrame, generator: str, config: RationalesConfig, failures: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Read the answers to one kind of question.

    Args:
        asked: what `asking.ask` kept, of one kind.
        answers: ANSWERS, at most one for each key; more than are asked for may be there.
        generator: the writer's name.
        config: as it was asked with.
        failures: why questions have no answer.

    Returns:
        RATIONALE, one row a question, in their order: accepted, or with a `reason` of: no_answer or that of `failures`; refused;
        cut_off; not_json; wrong_schema (such as a score that is no integer from 1 to 5, which is not a score of 0); names_a_side (a
        letter whose side is not certain); other_verdict (the writer, not told the label, decided against it, or for a tie; a rubric's
        scores are about one criterion, and may be either way). Texts have sides for letters. `items`: of a rubric {criterion, levels,
        reference, chosen, rejected}, without the last two where there is no score; of a checklist {questions: [{question, chosen,
        rejected}], chosen, rejected}, these two the shares of yes. Tokens and cost are those of the answer as received.
    """
    why = pl.DataFrame(schema=FAILURES) if failures is None else failures
    rows = asked.join(answers.drop("bucket", strict=False), on="key", how="left", maintain_order="left")
    rows = rows.join(why.select("key", _why="reason", _how="detail").unique("key"), on="key", how="left", maintain_order="left")
    kind = asked["kind"][0] if asked.height else PROSE[0]
    schema = schema_of(kind, config)
    heard = read_json(rows["text"], schema)
    rows = rows.hstack([heard["problem"], heard["detail"]]).hstack(
        fields(heard["value"], schema).rename(lambda name: f"_{name}").get_columns()
    )
    rows = rows.with_columns(_chosen_first=pl.col("shown_first") == "chosen")
    rows = {"rubric": _rubric, "checklist": _checklist}.get(kind, _argued)(rows)
    answered = pl.col("raw").is_not_null()
    stopped = pl.col("finish_reason").replace_strict(_STOPPED, default=None, return_dtype=pl.String)
    against = pl.col("own_verdict").is_not_null() & (pl.col("own_verdict") != "chosen") & (pl.col("kind") != "rubric")
    reason = (
        pl.when(~answered).then(pl.coalesce("_why", pl.lit("no_answer")))
        .when(pl.col("refusal").str.strip_chars() != "").then(pl.lit("refused"))
        .when(pl.col("problem").is_not_null()).then(pl.coalesce(stopped, "problem"))
        .when(pl.col("_uneven")).then(pl.lit("wrong_schema"))
        .when(names_letter(pl.col("text"), pl.col("lettered"))).then(pl.lit("names_a_side"))
        .when(against).then(pl.lit("other_verdict"))
    )  # fmt: skip
    detail = (
        pl.when(~answered).then("_how")
        .when(reason == "refused").then(pl.col("refusal"))
        .when(pl.col("problem").is_not_null()).then("detail")
        .when(reason == "wrong_schema").then(pl.lit("questions and answers differ in number"))
        .when(reason == "names_a_side").then(pl.lit("by a letter"))
        .when(reason == "other_verdict").then(pl.format("its own verdict is {}", "own_verdict"))
    )  # fmt: skip
    rows = rows.with_columns(reason=reason, detail=detail)
    ids = content_hash(rows.select(pl.concat_str("pair_id", "kind", pl.lit(generator), "key", separator=" ")).to_series(), "rationale")
    spent = {name: pl.col(name).fill_null(0) for name in ("input_tokens", "output_tokens", "cost")}
    rows = rows.with_columns(
        ids.alias("rationale_id"),
        generator=pl.lit(generator),
        accepted=pl.col("reason").is_null(),
        near_copies=pl.lit(0, pl.Int64),
        **spent,
    )
    return rows.match_to_schema(_SCHEMA, missing_columns="insert", extra_columns="ignore")


def refused(left: pl.DataFrame, generator: str) -> pl.DataFrame:
    """RATIONALE rows of what `asking.ask` dropped: no question was asked, and that is their reason."""
    stated = left.select(pl.concat_str(["pair_id", "kind", pl.lit(generator), pl.col("rubric").fill_null(""), "reason"], separator=" "))
    nothing = {name: pl.lit(0, _SCHEMA[name]) for name in ("near_copies", "input_tokens", "output_tokens", "cost")}
    rows = left.with_columns(
        content_hash(stated.to_series(), "rationale").alias("rationale_id"), generator=pl.lit(generator), accepted=pl.lit(False),
        items=pl.col("rubric"), **nothing,
    )  # fmt: skip
    return rows.match_to_schema(_SCHEMA, missing_columns="insert", extra_columns="ignore")


def verdict_side(verdict: pl.Expr, chosen_first: pl.Expr) -> pl.Expr:
    """A verdict by letter (A, B, tie) as chosen, rejected or tie."""
    return pl.when(verdict == "tie").then(pl.lit("tie")).when((verdict == "A") == chosen_first).then(pl.lit("chosen")).otherwise(
        pl.when(verdict.is_not_null()).then(pl.lit("rejected"))
    )  # fmt: skip


def _argued(rows: pl.DataFrame) -> pl.DataFrame:
    own = verdict_side(pl.col("_verdict"), pl.col("_chosen_first")) if "_verdict" in rows.columns else pl.lit(None, pl.String)
    return rows.with_columns(text=_told(pl.col("_rationale")), own_verdict=own, items=pl.lit(None, pl.String), _uneven=pl.lit(False))


def _rubric(rows: pl.DataFrame) -> pl.DataFrame:
    a, b, first = pl.col("_score_a"), pl.col("_score_b"), pl.col("_chosen_first")
    scored = rows.with_columns(
        _chosen=pl.when(first).then(a).otherwise(b),
        _rejected=pl.when(first).then(b).otherwise(a),
        _rubric=pl.col("rubric").str.json_decode(pl.Struct(RUBRIC)),
    )
    whole = pl.struct(*(pl.col("_rubric").struct.field(name) for name in RUBRIC), chosen="_chosen", rejected="_rejected")
    return scored.with_columns(
        text=_told(pl.col("_feedback")),
        own_verdict=_higher("_chosen", "_rejected"),
        items=pl.when(a.is_not_null()).then(whole.struct.json_encode()).otherwise("rubric"),
        _uneven=pl.lit(False),
    )


def _checklist(rows: pl.DataFrame) -> pl.DataFrame:
    """One sentence a question; an answer's score is its share of yes (TICK, 2024)."""
    lists = ["_questions", "_answers_a", "_answers_b"]
    numbered = rows.with_row_index("_row")
    uneven = pl.any_horizontal(pl.col("_questions").list.len() != pl.col(name).list.len() for name in lists[1:]).fill_null(False)
    even = numbered.filter(~uneven & pl.col("_questions").is_not_null())
    each = even.select("_row", "_chosen_first", "lettered", *lists).explode(lists, empty_as_null=False)
    first, a, b = pl.col("_chosen_first"), pl.col("_answers_a") == "yes", pl.col("_answers_b") == "yes"
    each = each.select(
        "_row",
        question=_told(pl.col("_questions").str.strip_chars()),
        chosen=pl.when(first).then(a).otherwise(b),
        rejected=pl.when(first).then(b).otherwise(a),
    )
    lines = pl.format("- {} {}: {}. {}: {}.", "question", *_yes_no("chosen", CHOSEN), *_yes_no("rejected", REJECTED))
    whole = each.group_by("_row", maintain_order=True).agg(
        _list=pl.struct("question", "chosen", "rejected"), _lines=lines.str.join("\n"), _n=pl.len(), chosen=pl.col("chosen").sum(),
        rejected=pl.col("rejected").sum(),
    )  # fmt: skip
    head = pl.format("The chosen response meets {} of {}, the rejected response {}.\n{}", "chosen", "_n", "rejected", "_lines")
    items = pl.struct(questions="_list", chosen=pl.col("chosen") / pl.col("_n"), rejected=pl.col("rejected") / pl.col("_n"))
    told = whole.select("_row", text=capitals(head), own_verdict=_higher("chosen", "rejected"), items=items.struct.json_encode())
    return numbered.drop("text").with_columns(_uneven=uneven).join(told, on="_row", how="left", maintain_order="left")


def _yes_no(column: str, side: str) -> tuple[pl.Expr, pl.Expr]:
    return pl.lit(side.capitalize()), pl.when(column).then(pl.lit("yes")).otherwise(pl.lit("no"))


def _higher(chosen: str, rejected: str) -> pl.Expr:
    """The side with the higher score; null where there is none."""
    equal = pl.when(pl.col(chosen) == pl.col(rejected)).then(pl.lit("tie"))
    return pl.when(pl.col(chosen) > pl.col(rejected)).then(pl.lit("chosen")).when(pl.col(chosen) < pl.col(rejected)).then(
        pl.lit("rejected")
    ).otherwise(equal)  # fmt: skip


def _told(text: pl.Expr) -> pl.Expr:
    return undo_order(text.str.strip_chars(), pl.col("_chosen_first"), pl.col("lettered"))
