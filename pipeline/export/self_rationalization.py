"""Preference pairs among judgements: for one comparison, a written judgement that gives the label beats one that does not.

A row is a preference pair whose prompt is a judge's question and whose `chosen` and `rejected` are what one writer said of it: DPOTrainer
takes it as it is, and trains a judge to reason its way to the label. Both judgements are of the same comparison by the same writer, so
that neither the writer nor the question tells them apart. They come from

- judges (`judges:`, or in the data) that wrote why. A judge that is asked in both orders gives two judgements of a pair, each the majority
  of its samples; judgements of pairs that were merged into another are of other texts and stay out;
- writers of rationales who were not told the label (`rationales.labels: hidden`), with several kinds.

What was written about Response A and Response B in either order is put into one order, which is drawn: the order is no part of what is
learnt. The paper's many samples of one question are not kept apart here, so rows are those on which order or kind changed a verdict.

Source: Self-rationalization (2024): pairs by whether the score equals the ground truth; DPO, two rounds.
"""

from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.export.messages import SPOKEN, says
from pipeline.export.questions import DECIDE, VERDICT, compared, ended, with_texts
from pipeline.rationale.sides import A, B, has_letters, names_letter, names_place, show_sides, undo_order
from pipeline.stage import StageResult, split_by_reason

READS_OF_JUDGEMENTS: Final = (
    "judgement_id", "pair_id", "response_a_id", "response_b_id", "outcome", "shown_first", "annotator_id", "annotator_kind", "rationale",
    "is_copy",
)  # fmt: skip
READS_OF_RATIONALES: Final = ("rationale_id", "pair_id", "kind", "generator", "text", "accepted", "reason", "label_shown", "own_verdict")
SCHEMA: Final = pa.schema(
    [
        pa.field("pair_id", pa.string(), nullable=False),
        *(pa.field(name, SPOKEN, nullable=False) for name in ("prompt", "chosen", "rejected")),
        pa.field("chosen_verdict", pa.string(), nullable=False),  # Response A or Response B: the label
        pa.field("rejected_verdict", pa.string(), nullable=False),  # the other one, or tie
        pa.field("writer", pa.string(), nullable=False),  # a judge or a model
        pa.field("weight", pa.float32(), nullable=False),  # of the pair
    ]
)


def to_self_rationalization(pairs: pl.DataFrame, judgements: pl.DataFrame, rationales: pl.DataFrame) -> StageResult:
    """Preference pairs among the judgements of each pair.

    Args:
        pairs: with the columns of `pipeline.export.questions.READS`, in any order.
        judgements: with the columns READS_OF_JUDGEMENTS; of these pairs among others. Those of people do not count.
        rationales: with the columns READS_OF_RATIONALES; likewise.

    Returns:
        `kept`, of SCHEMA, in the order of the pairs: the n-th judgement (by id) for the label against the n-th of the same writer that is
        not, so that none is in two rows. `dropped`: pairs without a row, with the first reason that applies: `no_written_judgement`,
        `names_a_place` (what was written calls answers by letters or places that cannot be undone), `none_right` (no writer gave the
        label), `none_wrong`, `no_counterpart` (right and wrong ones are of different writers).
    """
    texts = with_texts(pairs)
    written = pl.concat([_of_judges(texts, judgements), _of_writers(rationales)])
    usable = written.filter(pl.col("text").is_not_null())
    right, wrong = usable.filter(pl.col("said") == "chosen"), usable.filter(pl.col("said") != "chosen")
    matched = _numbered(right).join(_numbered(wrong), on=["pair_id", "writer", "_place"], suffix="_wrong").sort("writer", "_place")

    def lacks(said: pl.DataFrame) -> pl.Expr:
        return ~pl.col("pair_id").is_in(said["pair_id"].implode())

    reasons = {
        "no_written_judgement": lacks(written),
        "names_a_place": lacks(usable),
        "none_right": lacks(right),
        "none_wrong": lacks(wrong),
        "no_counterpart": lacks(matched),
    }
    told = split_by_reason(texts, reasons)
    rows = told.kept.join(matched, on="pair_id", maintain_order="left_right")
    first = pl.col("chosen_first")
    label, other = pl.when(first).then(pl.lit(A)).otherwise(pl.lit(B)), pl.when(first).then(pl.lit(B)).otherwise(pl.lit(A))
    wrongly = pl.when(pl.col("said_wrong") == "tie").then(pl.lit("tie")).otherwise(other)
    kept = rows.select(
        "pair_id",
        prompt=says("user", compared(pl.lit(DECIDE), first)),
        chosen=says("assistant", ended(show_sides(pl.col("text"), first), pl.concat_str(pl.lit(VERDICT), label))),
        rejected=says("assistant", ended(show_sides(pl.col("text_wrong"), first), pl.concat_str(pl.lit(VERDICT), wrongly))),
        chosen_verdict=label,
        rejected_verdict=wrongly,
        writer="writer",
        weight="weight",
    )
    return StageResult(kept, told.dropped.select(*pairs.columns, "reason"))


def _of_judges(pairs: pl.DataFrame, judgements: pl.DataFrame) -> pl.DataFrame:
    """What judges wrote of the pairs, sides named; the text is null where a letter or a place is left in it, or letters may be swapped."""
    said = judgements.filter((pl.col("annotator_kind") == "judge") & pl.col("rationale").is_not_null() & ~pl.col("is_copy"))
    rows = said.join(pairs.select("pair_id", "chosen_id", "_conversation", "_chosen", "_rejected"), on="pair_id")
    lettered = pl.any_horizontal(has_letters(pl.col(name)) for name in ("_conversation", "_chosen", "_rejected"))
    chosen_is_a = pl.col("response_a_id") == pl.col("chosen_id")
    won = pl.when(pl.col("outcome") == "tie").then(None).when(pl.col("outcome") == "a").then("response_a_id").otherwise("response_b_id")
    told = rows.select(
        "pair_id",
        written_id="judgement_id",
        writer="annotator_id",
        said=pl.when(won == pl.col("chosen_id"))
        .then(pl.lit("chosen"))
        .when(won.is_null())
        .then(pl.lit("tie"))
        .otherwise(pl.lit("rejected")),
        text=undo_order(pl.col("rationale"), chosen_is_a, lettered),
        shown_first="shown_first",
        _lettered=lettered,
    )
    left = names_letter(pl.col("text"), pl.col("_lettered")) | names_place(pl.col("text")) | (pl.col("shown_first") == "b").fill_null(False)
    return told.select("pair_id", "written_id", "writer", "said", text=pl.when(~left).then("text"))


def _of_writers(rationales: pl.DataFrame) -> pl.DataFrame:
    """What writers who were not told the label said: for it where that was accepted, against it where that alone was the reason."""
    argued = pl.col("kind").is_in(["general", "detailed"]) & ~pl.col("label_shown") & pl.col("text").is_not_null()
    usable = pl.col("accepted") & (pl.col("own_verdict") == "chosen") | (pl.col("reason") == "other_verdict")
    said = rationales.filter(argued & usable)
    return said.select("pair_id", written_id="rationale_id", writer="generator", said="own_verdict", text="text")


def _numbered(said: pl.DataFrame) -> pl.DataFrame:
    ordered = said.sort("pair_id", "writer", "written_id")
    return ordered.with_columns(_place=pl.int_range(pl.len()).over("pair_id", "writer"))
