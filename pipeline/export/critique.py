"""Rationales as what a judge learns to write: prompt and completion, as SFTTrainer takes them.

The prompt is the conversation, both answers and a task; the completion the rationale and a last line:

- kinds `stated`, `detailed`, `general`: which response is better, and the verdict;
- kind `rubric`: what each deserves by a criterion with five levels and, where there is one, a reference answer, and the two scores
  (Prometheus 2023, with one feedback on both answers instead of one each). Criterion, levels, reference, feedback and scores also have
  columns of their own.

Each rationale gives two rows, with the answers in either order (`swapped`), so that no place is better (swap augmentation: JudgeLM 2023).
For one row a rationale take those that are not swapped: their order is drawn.

Checklists and measured differences are no critiques: `prefine query` reads them from `rationales`.
"""

from collections.abc import Sequence
from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.export.messages import SPOKEN, says
from pipeline.export.questions import DECIDE, SCORES, VERDICT, compared, ended, scoring, with_texts
from pipeline.export.rationale import WRITTEN, accepted
from pipeline.rationale.sides import A, B, show_sides
from pipeline.stage import StageResult, split_by_reason

RUBRIC: Final = "rubric"
READS_OF_RATIONALES: Final = ("pair_id", "rationale_id", "kind", "generator", "text", "items", "accepted", "own_verdict")
SCHEMA: Final = pa.schema(
    [
        pa.field("pair_id", pa.string(), nullable=False),
        pa.field("prompt", SPOKEN, nullable=False),
        pa.field("completion", SPOKEN, nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("generator", pa.string(), nullable=False),
        pa.field("chosen_first", pa.bool_(), nullable=False),  # the chosen answer is Response A
        pa.field("swapped", pa.bool_(), nullable=False),  # the other order of a row that is there too
        pa.field("weight", pa.float32(), nullable=False),  # of the pair
        # of rubrics; null for other kinds
        pa.field("criterion", pa.string()),
        pa.field("levels", pa.list_(pa.string())),  # what deserves 1 to 5
        pa.field("reference", pa.string()),
        pa.field("feedback", pa.string()),  # as in the completion
        pa.field("chosen_score", pa.int64()),  # 1 to 5
        pa.field("rejected_score", pa.int64()),
    ]
)
_ITEMS: Final = pl.Struct(
    {"criterion": pl.String, "levels": pl.List(pl.String), "reference": pl.String, "chosen": pl.Int64, "rejected": pl.Int64}
)


def to_critique(pairs: pl.DataFrame, rationales: pl.DataFrame, kinds: Sequence[str] = ()) -> StageResult:
    """Rationales as prompts and completions.

    Args:
        pairs: with the columns of `pipeline.export.questions.READS`, in any order.
        rationales: with the columns READS_OF_RATIONALES; of these pairs among others.
        kinds: of WRITTEN and RUBRIC; all of them when empty.

    Returns:
        `kept`, of SCHEMA, in the order of the pairs, two rows for each rationale; and `dropped` pairs with the reason `no_rationale`
        (none is accepted, of the kinds asked for).
    """
    found = accepted(rationales, kinds or (*WRITTEN, RUBRIC))
    scored = pl.when(pl.col("kind") == RUBRIC).then("items").str.json_decode(_ITEMS)
    found = found.with_columns(_rubric=scored).unnest("_rubric")
    found = found.filter((pl.col("kind") != RUBRIC) | (pl.col("chosen").is_not_null() & pl.col("rejected").is_not_null()))
    found = found.rename({"chosen": "chosen_score", "rejected": "rejected_score", "criterion": "_criterion"})
    told = split_by_reason(pairs, {"no_rationale": ~pl.col("pair_id").is_in(found["pair_id"].implode())})
    rows = with_texts(told.kept).join(found, on="pair_id", maintain_order="left_right")
    rows = rows.join(pl.DataFrame({"swapped": [False, True]}), how="cross", maintain_order="left_right")
    rows = rows.with_columns(chosen_first=pl.col("chosen_first") ^ pl.col("swapped"), criterion="_criterion")
    first, by_rubric = pl.col("chosen_first"), pl.col("kind") == RUBRIC
    rows = rows.with_columns(_about=pl.when(~by_rubric).then("_about").otherwise(pl.lit("")), feedback=show_sides(pl.col("text"), first))
    a, b = (pl.when(first == is_first).then("chosen_score").otherwise("rejected_score") for is_first in (True, False))
    better = pl.when(first).then(pl.lit(A)).otherwise(pl.lit(B))
    end = pl.when(by_rubric).then(pl.format(SCORES, a, b)).otherwise(pl.concat_str(pl.lit(VERDICT), better))
    kept = rows.with_columns(
        prompt=says("user", compared(pl.when(by_rubric).then(scoring()).otherwise(pl.lit(DECIDE)), first)),
        completion=says("assistant", ended(pl.col("feedback"), end)),
        feedback=pl.when(by_rubric).then("feedback"),
    )
    return StageResult(kept.select(SCHEMA.names), told.dropped)
