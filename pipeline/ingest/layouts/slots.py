"""From slots to columns: what every adapter does the same way."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from pipeline.config import FieldPath, SourceConfig, paths
from pipeline.ingest.conversations.earlier import continued, remembered
from pipeline.ingest.conversations.messages import Compared, Conversations, compare, follow, parse, problem
from pipeline.ingest.conversations.parallel_turns import interleaved
from pipeline.ingest.conversations.usual_answers import compare_texts
from pipeline.ingest.fragments import Json, fragment, in_fragments, nulls, objects, raw_rows
from pipeline.ingest.layouts.model_scores import model_scores
from pipeline.ingest.layouts.verdicts import accepted, degree, read, spelled, words
from pipeline.ingest.records import PROBLEM, QUARANTINED, RAW_CHARACTERS, RAW_JUDGEMENT, RAW_RATING, Batch, Layout, Rows

PARAGRAPH: Final = "\n\n"  # between the parts of a prompt that stands in several fields
_BESIDE: Final = ("system", "prompt_a", "history", "prefix")  # what is more than a prompt and two answers
_TEXT_SLOTS: Final = (
    "annotator", "model_a", "model_b", "model_chosen", "model_rejected", "criterion", "context", "split", "judged_at",
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
        first = {slot: path if isinstance(path := self.path(slot), str) or path is None else path[0] for slot in slots}
        known = {slot: self.rows.frame[self.rows.fields[path]] for slot, path in first.items() if path in self.rows.texts}
        other = self.json.texts(pl.DataFrame({slot: self.fragments(slot) for slot in slots if slot not in known}))
        frame = pl.DataFrame({slot: known[slot] if slot in known else other[slot] for slot in slots})
        return frame.select(pl.when(pl.all().str.strip_chars() != "").then(pl.all()))


def joined(task: Task, slot: str) -> pl.Series:
    """A slot's texts; where it has several fields, what they say, a blank line between."""
    path = task.path(slot)
    if not path:
        return nulls(task.height)
    texts = task.json.texts(pl.DataFrame({f"p{i}": fragment(task.rows, one, task.json) for i, one in enumerate(paths(path))}))
    texts = texts.select(pl.when(pl.all().str.strip_chars() != "").then(pl.all()))
    there = pl.any_horizontal(pl.all().is_not_null())
    return texts.select(pl.when(there).then(pl.concat_str(pl.all(), separator=PARAGRAPH, ignore_nulls=True)).alias("x"))["x"]


def used_fields(slots: Mapping[str, FieldPath]) -> set[str]:
    """The top-level fields that slots use up; an object of which a path uses a part is not used up."""
    taken = [path for slot, path in slots.items() if not slot.startswith("vote_")]  # a path inside a candidate holds a `*`
    return {one for path in taken for one in paths(path)}


def prompt_messages(task: Task, bare: pl.Series, fragments: pl.Series | None = None) -> Conversations | None:
    """The prompt field (or these fragments of it), or several joined by blank lines; None when the layout has none."""
    prompt, history = _asked(task, bare, fragments), task.path("history")
    if prompt is None or not isinstance(history, str):
        return prompt
    return remembered(task.json, task.fragments("history"), history, prompt)


def _asked(task: Task, bare: pl.Series, fragments: pl.Series | None) -> Conversations | None:
    path = task.path("prompt")
    if path is None:
        return None
    if isinstance(path, str):
        asked = task.fragments("prompt") if fragments is None else fragments
        return parse(task.json, asked, path, "user", cells=task.rows.are_cells(path), bare_marker=bare)
    parts = pl.DataFrame({f"p{i}": fragment(task.rows, one, task.json) for i, one in enumerate(path)})
    texts = task.json.texts(parts).select(pl.when(pl.all().str.strip_chars() != "").then(pl.all()))
    joined = texts.select(pl.concat_str(pl.all(), separator=PARAGRAPH, ignore_nulls=True).alias("x"))
    there = parts.select(pl.any_horizontal(pl.all().is_not_null()).alias("x"))["x"]
    quoted = task.json.quote(joined)["x"].to_frame("x").select(pl.when(there).then("x"))["x"]
    parsed = parse(task.json, quoted, path[0], "user", cells=False)
    bad = [_not_text(parts[f"p{i}"], one) for i, one in enumerate(path) if not task.rows.are_cells(one)]
    return Conversations(parsed.messages, pl.concat([parsed.problems, *bad]), parsed.present)


def _not_text(fragments: pl.Series, field: str) -> pl.DataFrame:
    ids = (~fragments.str.starts_with('"')).fill_null(False).arg_true()
    return problem(ids, "wrong_type", field, "found " + fragments.gather(ids).str.slice(0, 40) + "; expected text")


def system_texts(task: Task) -> tuple[pl.Series | None, pl.DataFrame]:
    """The system messages of the rows, None when the layout has none, and the problems of those that are no text."""
    field = task.path("system")
    fragments = task.fragments("system")
    problems = _not_text(fragments.clear() if field is None or task.rows.are_cells(str(field)) else fragments, str(field))
    return (None if field is None else task.texts("system")["system"]), problems


def answers(task: Task, slot_a: str, slot_b: str) -> Compared:
    """Prompt and both sides of every row; rows with a problem are named in `problems`."""
    taken = {slot: task.path(slot) for slot in ("prompt", slot_a, slot_b, *_BESIDE) if task.path(slot) is not None}
    plain = {slot: path for slot, path in taken.items() if isinstance(path, str) and path in task.rows.texts}
    columns = {slot: task.rows.frame[task.rows.fields[path]] for slot, path in plain.items()}
    if not {slot_a, slot_b} <= set(columns) <= {"prompt", slot_a, slot_b} or len(columns) != len(taken):
        return _answers(task, slot_a, slot_b)
    usual = compare_texts(columns.get("prompt"), columns[slot_a], columns[slot_b])
    if usual.height == task.height:
        return Compared(usual, PROBLEM.to_frame())
    others = pl.int_range(task.height, dtype=pl.Int64, eager=True)
    others = others.filter(~others.is_in(usual["id"].implode()))
    some = _answers(replace(task, rows=replace(task.rows, frame=task.rows.frame[others])), slot_a, slot_b)
    frame, problems = (one.with_columns(id=others.gather(one["id"])) for one in (some.frame, some.problems))
    return Compared(pl.concat([usual, frame.select(usual.columns)]).sort("id"), problems)


def _answers(task: Task, slot_a: str, slot_b: str) -> Compared:
    everywhere = pl.repeat(True, task.height, eager=True)
    asked, given_a, given_b = (task.fragments(slot) for slot in ("prompt", slot_a, slot_b))
    field = task.path("prompt")
    problem_turns = PROBLEM.to_frame()
    if isinstance(field, str):
        cells = task.rows.are_cells(field)
        asked, given_a, given_b, problem_turns = interleaved(task.json, asked, given_a, given_b, field, cells=cells)
    prompt = prompt_messages(task, everywhere, asked)
    start = task.path("prefix")
    if isinstance(start, str):
        cells = task.rows.are_cells(start)
        prompt, unread = continued(task.json, task.fragments("prefix"), start, prompt, cells=cells)
        problem_turns = pl.concat([problem_turns, unread])
    joint = task.path("prompt_a") is not None
    bare = ~everywhere if joint else everywhere if prompt is None else ~prompt.present
    sides = []
    problems = [problem_turns]
    for slot, own, fragments in ((slot_a, "prompt_a", given_a), (slot_b, "prompt_b", given_b)):
        field = str(task.path(slot))
        side = parse(task.json, fragments, field, "assistant", cells=task.rows.are_cells(field), bare_marker=bare)
        if joint:
            named = str(task.path(own))
            begun = parse(task.json, task.fragments(own), named, "user", cells=task.rows.are_cells(named), bare_marker=everywhere)
            side = follow(begun, side, named)
        problems.append(problem((~side.present).arg_true(), "missing_field", field, "absent or null; expected text or messages"))
        sides.append(side)
    system, untold = system_texts(task)
    problems.append(untold)
    compared = compare(prompt, system, sides[0], sides[1], str(task.path("prompt")))
    problems = [*problems, compared.problems]
    return Compared(compared.frame, pl.concat(problems).unique("id", keep="first", maintain_order=True))


def verdict_words(task: Task) -> dict[str, str]:
    """Spelling -> outcome, for this file."""
    a, b = task.path("response_a"), task.path("response_b")
    sides = (a, b) if isinstance(a, str) and isinstance(b, str) else None
    return words(task.layout.encoding, sides, task.source.outcomes)


def outcomes(task: Task, verdicts: pl.Series, models: pl.DataFrame) -> pl.DataFrame:
    """What verdict texts say: `outcome` (a, b, tie, both_bad, none; null when unknown) and `strength` (0 to 1, or null).

    Args:
        task: the batch; its layout and config say what words and numbers mean.
        verdicts: texts.
        models: `model_a` and `model_b` of each; the name of one side's model is a verdict too.
    """
    frame = models.select("model_a", "model_b").with_columns(verdict=verdicts.cast(pl.String))
    said = pl.col("verdict").str.strip_chars()
    named = (
        pl.when(pl.col("model_a") == pl.col("model_b")).then(None)
        .when(said == pl.col("model_a")).then(pl.lit("a"))
        .when(said == pl.col("model_b")).then(pl.lit("b"))
    )
    told = read(frame["verdict"], task.layout.encoding, verdict_words(task))
    return frame.select(outcome=pl.coalesce(told["outcome"], named), strength=told["strength"])


def unknown_verdict(task: Task, ids: pl.Series, field: str, verdicts: pl.Series, where: str | pl.Series = "") -> pl.DataFrame:
    """Problems for verdicts that no spelling covers."""
    expected = f"; expected {accepted(task.layout.encoding)}"
    found = pl.select(pl.lit(where) + "found " + verdicts.str.slice(0, 60) + expected).to_series()
    return problem(ids, "unknown_verdict", field, found)


def no_verdict(ids: pl.Series, field: str, verdicts: pl.Series, where: str | pl.Series = "") -> pl.DataFrame:
    """Problems for values that say that nothing was preferred."""
    said = "found " + verdicts.str.slice(0, 60) + ", which says that there is no verdict; expected a preference or a tie"
    return problem(ids, "no_verdict", field, pl.select(pl.lit(where) + said).to_series())


def shared_columns(task: Task, *, sided: bool, kept: Mapping[str, pl.Series] | None = None) -> pl.DataFrame:
    """The columns of RAW_JUDGEMENT that depend on neither answers nor verdict, one row per id.

    Args:
        task: the batch.
        sided: whether models and order are told per a and b (else per chosen and rejected).
        kept: slot -> rows whose values there stay in `extra` all the same.
    """
    texts = task.texts(*_TEXT_SLOTS, "strength", "shown_first").with_columns(rationale=joined(task, "rationale"))
    strength = pl.coalesce(pl.col("strength").cast(pl.Float32, strict=False), degree(spelled(pl.col("strength"))).cast(pl.Float32))
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
    scores, no_numbers = model_scores(task.rows, task.layout.slots, task.json)
    return frame.with_columns(scores, extra=extra(task, unread | no_numbers | dict(kept or {})))


def _json_or_null(fragments: pl.Series, json: Json) -> pl.Series:
    texts = json.texts(fragments.to_frame("x"))
    return texts.select(pl.when(~pl.col("x").str.strip_chars().is_in(["", "[]", "{}"])).then("x"))["x"]


def extra_members(task: Task, unread: Mapping[str, pl.Series]) -> dict[str, pl.Series]:
    """Field name -> fragments, of what no slot took; `unread` marks values of a slot that could not be understood."""
    used = used_fields(task.layout.slots)
    members = {name: fragment(task.rows, name, task.json) for name in task.rows.fields if name not in used}
    for slot, kept in unread.items():
        for path in paths(task.path(slot) or []):
            if path in task.rows.fields:
                members[path] = pl.select(pl.when(kept).then(fragment(task.rows, path, task.json))).to_series()
    return members


def extra(task: Task, unread: Mapping[str, pl.Series]) -> pl.Series:
    """JSON of what no slot took."""
    return objects(extra_members(task, unread), task.height)


def batch(task: Task, judgements: pl.DataFrame, problems: pl.DataFrame, ratings: pl.DataFrame | None = None) -> Batch:
    """Judgements and ratings in file order, and the problems and broken rows as quarantined ones.

    Args:
        task: the batch.
        judgements: the columns of RAW_JUDGEMENT.
        problems: schema PROBLEM; ids are rows of the batch.
        ratings: the columns of RAW_RATING.
    """
    rated = RAW_RATING.to_frame() if ratings is None else ratings
    return Batch(
        judgements.match_to_schema(RAW_JUDGEMENT, extra_columns="ignore").select(RAW_JUDGEMENT.names()),
        rated.match_to_schema(RAW_RATING, extra_columns="ignore").select(RAW_RATING.names()),
        quarantine(task.rows, task.json, task.source.name, task.name, problems),
        task.rows.count,
    )


def quarantine(rows: Rows, json: Json, source: str, name: str, problems: pl.DataFrame) -> pl.DataFrame:
    """Rows with problems, and broken ones, of schema QUARANTINED, in file order.

    Args:
        rows: the batch.
        json: the reader's session.
        source: its name.
        name: the file as published.
        problems: schema PROBLEM; ids are rows of the batch.
    """
    ids = pl.DataFrame({"id": problems["id"].unique().sort()})
    at_fault = in_fragments(replace(rows, frame=rows.frame.select(pl.all().gather(ids["id"]))), json)
    raw = ids.with_columns(source_row=at_fault.frame["source_row"], raw=raw_rows(at_fault))
    found = problems.join(raw, on="id", how="left", maintain_order="left")
    quarantined = pl.concat([found.drop("id").select(rows.broken.columns), rows.broken]).with_columns(
        pl.col("raw").str.slice(0, RAW_CHARACTERS), source=pl.lit(source), source_uri=pl.lit(name)
    )
    return quarantined.sort("source_row", "reason", maintain_order=True).match_to_schema(QUARANTINED).select(QUARANTINED.names())
