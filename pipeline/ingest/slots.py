"""From slots to columns: what every adapter does the same way."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from pipeline.config import FieldPath, SourceConfig
from pipeline.ingest.fragments import Json, objects, pointer
from pipeline.ingest.messages import Compared, Conversations, compare, parse, problem
from pipeline.ingest.records import QUARANTINED, RAW_CHARACTERS, RAW_JUDGEMENT, RAW_RATING, Batch, Layout, Rows
from pipeline.ingest.verdicts import ACCEPTED, spelled, words

PARAGRAPH: Final = "\n\n"  # between the parts of a prompt that stands in several fields
_TEXT_SLOTS: Final = (
    "annotator", "model_a", "model_b", "model_chosen", "model_rejected", "criterion", "context", "rationale", "split", "judged_at",
)


@dataclass(frozen=True)
class Task:
    """One batch and all an adapter needs to read it."""

    rows: Rows
    layout: Layout
    json: Json
    source: SourceConfig
    name: str  # the file as published
    criterion: str

    @property
    def height(self) -> int:
        """Rows to adapt; ids run from 0 to height - 1."""
        return self.rows.frame.height

    def path(self, slot: str) -> FieldPath | None:
        """What a slot is read from."""
        return self.layout.slots.get(slot)

    def fragments(self, slot: str) -> pl.Series:
        """A slot's fragments; all null where the layout has no such slot."""
        path = self.path(slot)
        if path is None:
            return nulls(self.height)
        return fragment(self.rows, path if isinstance(path, str) else path[0], self.json)

    def texts(self, *slots: str) -> pl.DataFrame:
        """Slots as texts; an empty text is null."""
        frame = self.json.texts(pl.DataFrame({slot: self.fragments(slot) for slot in slots}))
        return frame.select(pl.when(pl.all().str.strip_chars() != "").then(pl.all()))


def nulls(height: int) -> pl.Series:
    """A column of null texts."""
    return pl.Series([None], dtype=pl.String).new_from_index(0, height) if height else pl.Series([], dtype=pl.String)


def fragment(rows: Rows, path: str, json: Json) -> pl.Series:
    """The fragments of a field, or of a dotted path inside one; null where there is none."""
    if path in rows.fields:
        return rows.frame[rows.fields[path]]
    parts = path.split(".")
    for i in range(len(parts) - 1, 0, -1):
        outer = ".".join(parts[:i])
        if outer in rows.fields:
            return json.extract(rows.frame[rows.fields[outer]], [pointer(*parts[i:])])[0]
    return nulls(rows.frame.height)


def used_fields(slots: Mapping[str, FieldPath]) -> set[str]:
    """The top-level fields that slots use up; an object of which a path uses a part is not used up."""
    paths = [path for slot, path in slots.items() if not slot.startswith("vote_")]
    return {one for path in paths for one in ([path] if isinstance(path, str) else path)}


def prompt_messages(task: Task, bare: pl.Series) -> Conversations | None:
    """The prompt field, or several joined by blank lines; None when the layout has none."""
    path = task.path("prompt")
    if path is None:
        return None
    if isinstance(path, str):
        return parse(task.json, task.fragments("prompt"), path, "user", cells=task.rows.cells, bare_marker=bare)
    parts = pl.DataFrame({f"p{i}": fragment(task.rows, one, task.json) for i, one in enumerate(path)})
    texts = task.json.texts(parts).select(pl.when(pl.all().str.strip_chars() != "").then(pl.all()))
    joined = texts.select(pl.concat_str(pl.all(), separator=PARAGRAPH, ignore_nulls=True).alias("x"))
    there = parts.select(pl.any_horizontal(pl.all().is_not_null()).alias("x"))["x"]
    quoted = task.json.quote(joined)["x"].to_frame("x").select(pl.when(there).then("x"))["x"]
    parsed = parse(task.json, quoted, path[0], "user", cells=False)
    bad = [] if task.rows.cells else [_not_text(parts[f"p{i}"], one) for i, one in enumerate(path)]
    return Conversations(parsed.messages, pl.concat([parsed.problems, *bad]), parsed.present)


def _not_text(fragments: pl.Series, field: str) -> pl.DataFrame:
    ids = (~fragments.str.starts_with('"')).fill_null(False).arg_true()
    return problem(ids, "wrong_type", field, "found " + fragments.gather(ids).str.slice(0, 40) + "; expected text")


def answers(task: Task, slot_a: str, slot_b: str) -> Compared:
    """Prompt and both sides of every row; rows with a problem are named in `problems`."""
    everywhere = pl.repeat(True, task.height, eager=True)
    prompt = prompt_messages(task, everywhere)
    bare = everywhere if prompt is None else ~prompt.present
    sides = []
    problems = []
    for slot in (slot_a, slot_b):
        field, fragments = str(task.path(slot)), task.fragments(slot)
        side = parse(task.json, fragments, field, "assistant", cells=task.rows.cells, bare_marker=bare)
        problems.append(problem((~side.present).arg_true(), "missing_field", field, "absent or null; expected text or messages"))
        sides.append(side)
    system = None
    if task.path("system") is not None:
        fragments = task.fragments("system")
        system = task.texts("system")["system"]
        if not task.rows.cells:
            problems.append(_not_text(fragments, str(task.path("system"))))
    compared = compare(prompt, system, sides[0], sides[1], str(task.path("prompt")))
    problems = [*problems, compared.problems]
    return Compared(compared.frame, pl.concat(problems).unique("id", keep="first", maintain_order=True))


def verdict_words(task: Task) -> dict[str, str]:
    """Spelling -> outcome, for this file."""
    a, b = task.path("response_a"), task.path("response_b")
    sides = (a, b) if isinstance(a, str) and isinstance(b, str) else None
    return words(task.layout.encoding, sides, task.source.outcomes)


def outcomes(verdicts: pl.Series, models: pl.DataFrame, known: Mapping[str, str]) -> pl.Series:
    """a, b, tie, both_bad, or null for an unknown verdict; the name of one side's model is a verdict too."""
    frame = models.select("model_a", "model_b").with_columns(verdict=verdicts.cast(pl.String))
    said = pl.col("verdict").str.strip_chars()
    named = (
        pl.when(pl.col("model_a") == pl.col("model_b")).then(None)
        .when(said == pl.col("model_a")).then(pl.lit("a"))
        .when(said == pl.col("model_b")).then(pl.lit("b"))
    )
    word = spelled(pl.col("verdict")).replace_strict(dict(known), default=None, return_dtype=pl.String)
    return frame.select(pl.coalesce(word, named).alias("outcome"))["outcome"]


def unknown_verdict(ids: pl.Series, field: str, verdicts: pl.Series, where: str | pl.Series = "") -> pl.DataFrame:
    """Problems for verdicts that no spelling covers."""
    expected = f"; expected {ACCEPTED}, or a word from `outcomes:`"
    found = pl.select(pl.lit(where) + "found " + verdicts.str.slice(0, 60) + expected).to_series()
    return problem(ids, "unknown_verdict", field, found)


def shared_columns(task: Task, *, sided: bool) -> pl.DataFrame:
    """The columns of RAW_JUDGEMENT that depend on neither answers nor verdict, one row per id.

    Args:
        task: the batch.
        sided: whether models and order are told per a and b (else per chosen and rejected).
    """
    texts = task.texts(*_TEXT_SLOTS, "strength", "shown_first")
    strength = pl.col("strength").cast(pl.Float32, strict=False)
    known = verdict_words(task) if sided else {"chosen": "a", "rejected": "b", "a": "a", "b": "b"}
    shown = spelled(pl.col("shown_first")).replace_strict(known, default=None, return_dtype=pl.String)
    frame = texts.select(
        id=pl.int_range(pl.len(), dtype=pl.Int64),
        tools=_json_or_null(task.fragments("tools"), task.json),
        model_a="model_a" if sided else "model_chosen",
        model_b="model_b" if sided else "model_rejected",
        strength=pl.when(strength.is_between(0, 1)).then(strength),
        shown_first=pl.when(shown.is_in(["a", "b"])).then(shown),
        annotator="annotator",
        annotator_kind=pl.lit(task.source.annotator_kind),
        criterion=pl.col("criterion").fill_null(task.criterion),
        context="context",
        rationale="rationale",
        source=pl.lit(task.source.name),
        source_uri=pl.lit(task.name),
        source_row=task.rows.frame["source_row"],
        source_split="split",
        judged_at="judged_at",
    )
    unread = {slot: task.fragments(slot).is_not_null() & frame[slot].is_null() for slot in ("strength", "shown_first")}
    return frame.with_columns(extra=extra(task, unread))


def _json_or_null(fragments: pl.Series, json: Json) -> pl.Series:
    texts = json.texts(fragments.to_frame("x"))
    return texts.select(pl.when(~pl.col("x").str.strip_chars().is_in(["", "[]", "{}"])).then("x"))["x"]


def extra_members(task: Task, unread: Mapping[str, pl.Series]) -> dict[str, pl.Series]:
    """Field name -> fragments, of what no slot took; `unread` marks values of a slot that could not be understood."""
    used = used_fields(task.layout.slots)
    members = {name: task.rows.frame[column] for name, column in task.rows.fields.items() if name not in used}
    for slot, kept in unread.items():
        path = task.path(slot)
        if isinstance(path, str) and path in task.rows.fields:
            column = task.rows.frame[task.rows.fields[path]]
            members[path] = pl.select(pl.when(kept).then(column)).to_series()
    return members


def extra(task: Task, unread: Mapping[str, pl.Series]) -> pl.Series:
    """JSON of what no slot took."""
    return objects(extra_members(task, unread), task.height)


def raw_rows(rows: Rows) -> pl.Series:
    """The rows' own text, or what their fragments make of it."""
    if "raw" in rows.frame.columns:
        return rows.frame["raw"]
    members = {name: rows.frame[column] for name, column in rows.fields.items()}
    return objects(members, rows.frame.height)


def batch(task: Task, judgements: pl.DataFrame, problems: pl.DataFrame, ratings: pl.DataFrame | None = None) -> Batch:
    """Judgements and ratings in file order, and the problems and broken rows as quarantined ones.

    Args:
        task: the batch.
        judgements: the columns of RAW_JUDGEMENT.
        problems: schema PROBLEM; ids are rows of the batch.
        ratings: the columns of RAW_RATING.
    """
    ids = pl.DataFrame({"id": problems["id"].unique().sort()})
    at_fault = Rows(task.rows.frame.select(pl.all().gather(ids["id"])), task.rows.fields, task.rows.broken, task.rows.cells)
    raw = ids.with_columns(source_row=at_fault.frame["source_row"], raw=raw_rows(at_fault))
    found = problems.join(raw, on="id", how="left", maintain_order="left")
    quarantined = pl.concat([found.drop("id").select(task.rows.broken.columns), task.rows.broken]).with_columns(
        pl.col("raw").str.slice(0, RAW_CHARACTERS), source=pl.lit(task.source.name), source_uri=pl.lit(task.name)
    )
    rated = RAW_RATING.to_frame() if ratings is None else ratings
    return Batch(
        judgements.match_to_schema(RAW_JUDGEMENT, extra_columns="ignore").select(RAW_JUDGEMENT.names()),
        rated.match_to_schema(RAW_RATING, extra_columns="ignore").select(RAW_RATING.names()),
        quarantined.sort("source_row", "reason", maintain_order=True).match_to_schema(QUARANTINED).select(QUARANTINED.names()),
        task.rows.count,
    )


