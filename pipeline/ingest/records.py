"""What readers hand to adapters and adapters hand to the caller."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import polars as pl

from pipeline.config import FieldPath, GradesConfig, LayoutName
from pipeline.schemas import MESSAGES_PL, MODEL_SCORES_PL

RAW_CHARACTERS: Final = 100_000  # a quarantined row's text is cut here

# One row = one annotator's verdict as one source row states it, before normalisation and ids.
RAW_JUDGEMENT: Final = pl.Schema(
    {  # type: ignore[arg-type]
        "prompt": MESSAGES_PL,
        "response_a": MESSAGES_PL,
        "response_b": MESSAGES_PL,
        "tools": pl.String,
        "model_a": pl.String,
        "model_b": pl.String,
        "outcome": pl.String,
        "both_bad": pl.Boolean,
        "strength": pl.Float32,
        "shown_first": pl.String,
        "model_scores": MODEL_SCORES_PL,
        "annotator": pl.String,
        "annotator_kind": pl.String,
        "criterion": pl.String,
        "context": pl.String,
        "rationale": pl.String,
        "source": pl.String,
        "source_uri": pl.String,
        "source_row": pl.Int64,
        "source_split": pl.String,
        "judged_at": pl.String,
        "extra": pl.String,
        "vote_layout": pl.Boolean,
    }
)

# One row = one annotator's score of one response on one criterion as one source row states it, before normalisation and ids.
RAW_RATING: Final = pl.Schema(
    {  # type: ignore[arg-type]
        "prompt": MESSAGES_PL,
        "response": MESSAGES_PL,
        "tools": pl.String,
        "model": pl.String,
        "score": pl.Float64,  # higher is better
        "score_min": pl.Float64,  # null: the lowest score seen in the source on this criterion
        "score_max": pl.Float64,
        "ranked": pl.Boolean,  # the score is a place among the row's other responses and comparable with them alone
        "annotator": pl.String,
        "annotator_kind": pl.String,
        "criterion": pl.String,
        "context": pl.String,
        "rationale": pl.String,
        "flags": pl.List(pl.String),  # what is doubtful about the score, e.g. overall_score_misread
        "source": pl.String,
        "source_uri": pl.String,
        "source_row": pl.Int64,
        "source_split": pl.String,
        "extra": pl.String,
    }
)

# One row = one row of a source that is no record, or one vote of it that is none.
QUARANTINED: Final = pl.Schema(
    {
        "source": pl.String,
        "source_uri": pl.String,
        "source_row": pl.Int64,
        "reason": pl.String,
        "field": pl.String,
        "detail": pl.String,
        "raw": pl.String,
    }
)

REASONS: Final = (
    "unparsable_row",
    "invalid_utf8",
    "not_an_object",
    "wrong_column_count",
    "duplicate_field",
    "missing_field",
    "wrong_type",
    "unknown_verdict",
    "no_verdict",
    "unknown_role",
    "non_text_content",
    "no_votes",
    "unknown_layout",
    "empty_conversation",
    "prompt_mismatch",
    "unmatched_key",
    "ambiguous_key",
    "unmatched_row",
)

# A problem of one row: columns every check of an adapter returns beside `id`.
PROBLEM: Final = pl.Schema({"id": pl.Int64, "reason": pl.String, "field": pl.String, "detail": pl.String})

BROKEN: Final = pl.Schema(
    {"source_row": pl.Int64, "reason": pl.String, "field": pl.String, "detail": pl.String, "raw": pl.String}
)


@dataclass(frozen=True)
class Rows:
    """Some rows of a file, as JSON fragments.

    Attributes:
        frame: `source_row` and one String column per top-level field that holds the field's JSON text (null when the
            field is absent or null); `raw` where the reader has the row's own text.
        fields: the source's field names -> columns of `frame` (`f0`, `f1`, ...), so that no name from data can collide
            with ours or reach SQL.
        broken: schema BROKEN, rows that are not records at all.
        cells: whether every field was text in the source (CSV, TSV): lists and objects are then only perhaps meant so.
        cells_of: the same for single fields, where joined files differ.
        texts: fields whose column holds decoded texts instead of fragments, none of them null; empty unless asked for.
    """

    frame: pl.DataFrame
    fields: dict[str, str]
    broken: pl.DataFrame
    cells: bool = False
    cells_of: Mapping[str, bool] = field(default_factory=dict)
    texts: frozenset[str] = frozenset()

    def are_cells(self, path: str) -> bool:
        """Whether a field, or the field that a dotted path starts in, was text in the source."""
        outer = (path.rsplit(".", i)[0] for i in range(path.count(".") + 1))
        return next((self.cells_of[name] for name in outer if name in self.cells_of), self.cells)

    @property
    def count(self) -> int:
        """Rows of the file in this batch, broken ones included."""
        return self.frame.height + self.broken.height

    def head(self, rows: int) -> "Rows":
        """The first rows of the batch, in file order."""
        if rows >= self.count:
            return self
        numbers = pl.concat([self.frame["source_row"], self.broken["source_row"]]).sort().head(rows)
        among = pl.col("source_row").is_in(numbers.implode())
        return replace(self, frame=self.frame.filter(among), broken=self.broken.filter(among))


EncodingKind = Literal["words", "one_based", "zero_based", "graded", "flags", "scores", "thumbs", "signed_thumbs"]
VoteForm = Literal["rows", "listed", "columns"]


@dataclass(frozen=True)
class Encoding:
    """What verdicts mean that are no words.

    Attributes:
        kind: `words`: bare numbers mean nothing. `one_based`: 1 is a, 2 is b, 0 and 1.5 are ties, and between 1 and 2 a
            number is 1 + P(b is better). `zero_based`: 0 is a, 1 is b. `graded`: a place on `grades`. `flags`: a field for
            each of a, b (and tie), one of which is set. `scores`: a field for each of a and b, the higher one wins.
            `thumbs`: scores are up or down; `signed_thumbs`: written 1 and -1, so that 0 is neither.
        grades: the scale of `graded`.
    """

    kind: EncodingKind = "words"
    grades: GradesConfig | None = None


@dataclass(frozen=True)
class Layout:
    """How one file states its judgements.

    Attributes:
        name: the layout.
        slots: what each slot of `FieldsConfig` is read from: a field, a dotted path, or several of them.
        why: one sentence for people.
        unmapped: fields of the first records that no slot uses; they go to `extra`.
        encoding: what verdicts mean that are no words.
    """

    name: LayoutName
    slots: dict[str, FieldPath]
    why: str
    unmapped: list[str] = field(default_factory=list)
    encoding: Encoding = Encoding()

    @property
    def vote_form(self) -> VoteForm:
        """Whether a vote is a row, an element of a list, or a field of its own."""
        votes = self.slots.get("votes")
        if votes is None:
            return "rows"
        return "listed" if isinstance(votes, str) else "columns"


@dataclass(frozen=True)
class Batch:
    """What some rows of a file became.

    Attributes:
        judgements: schema RAW_JUDGEMENT.
        ratings: schema RAW_RATING.
        quarantined: schema QUARANTINED.
        rows: rows of the file read; each is in at least one of the three.
        unmatched: how often one of them had no partner in a joined file where it needs none.
    """

    judgements: pl.DataFrame
    ratings: pl.DataFrame
    quarantined: pl.DataFrame
    rows: int
    unmatched: int = 0

    @property
    def unread(self) -> int:
        """Rows of which something could not be read; that there is no verdict is a statement, and read."""
        return self.quarantined.filter(pl.col("reason") != "no_verdict").get_column("source_row").n_unique()
