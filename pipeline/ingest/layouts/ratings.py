"""Layout ratings: one response a row, with scores on one or several criteria, or a thumb."""

from typing import Final

import polars as pl

from pipeline.config import FieldPath
from pipeline.ingest.aliases import SLOTS, THUMBS, WRITERS, plain
from pipeline.ingest.fragments import fragment, objects
from pipeline.ingest.layouts.replies import replies
from pipeline.ingest.layouts.sample import Proposal, Sample
from pipeline.ingest.layouts.scores import criteria_of, numeric, read_scores, scorelike, stated, thumbs, unscored
from pipeline.ingest.layouts.slots import Task, batch, extra_members, shared_columns
from pipeline.ingest.records import PROBLEM, RAW_JUDGEMENT, Batch, Encoding
from pipeline.schemas import ROLES

_WHO: Final = pl.concat_str("annotator", "who", separator="/", ignore_nulls=True)
_SCORES_LACK = "scores (fields such as 'helpfulness', 'score' or a thumb such as 'label')"
UNRATED = ("strength", "judged_at")  # no columns of a rating: these fields stay in `extra`


def propose(sample: Sample) -> Proposal:
    """Read the file as one response a row with its scores."""
    slots = {slot: path for slot, path in sample.shared("response").items() if slot not in UNRATED}
    lacks: list[str] = []
    scores = _scores(sample)
    if scores:
        slots["scores"] = scores if len(scores) > 1 else scores[0]
    else:
        lacks.append(_SCORES_LACK)
    _find_response(sample, slots, lacks)
    writer = sample.configured.get("candidate_model") or _writer(sample, slots.get("response"))
    if writer is not None:
        slots["candidate_model"] = writer
    used = [*scores, slots.get("response")]
    given = ("scores", "response", *sample.configured)
    slots = {slot: path for slot, path in slots.items() if slot in given or path not in used}
    if "prompt" not in slots and "response" in slots and sample.source.layout is None and not sample.spoken(str(slots["response"])):
        lacks.append("prompt (a field such as 'prompt' or 'instruction'; a `layout:` in the config says that there is none)")
    why = f"the response {slots.get('response')!r} with scores in {', '.join(scores)}"
    return Proposal("ratings", slots, lacks, why, lambda: _encoding(sample, scores))


def _find_response(sample: Sample, slots: dict[str, FieldPath], lacks: list[str]) -> None:
    if "response" in sample.configured:
        return
    if sample.source.layout is None and (not sample.sides()[1] or {"chosen", "rejected"} <= {plain(field) for field in sample.rows.fields}):
        lacks.append("a single response (there are two answers a row)")
    named = [sample.by_alias[name] for name in SLOTS["response"] if name in sample.by_alias]
    named = [field for field in dict.fromkeys(named) if sample.textual(field)]
    if named and plain(named[0]).startswith("orig_"):  # the others are what a judge of it was asked and said
        named = named[:1]
    if len(named) > 1:
        lacks.append(f"one response (there are several: {', '.join(named)})")
    elif named:
        slots["response"] = sample.text_of(named[0])
    else:
        slots.pop("response", None)
        talks = [sample.by_alias[name] for name in ("messages", "conversations", "conversation") if name in sample.by_alias]
        answered = next((field for field in talks if _answered(sample, field)), None)
        if answered is not None:
            slots["response"] = answered
        else:
            lacks.append("response (a field such as 'response' or 'completion', or 'messages' that end with an answer)")


def _writer(sample: Sample, response: FieldPath | None) -> str | None:
    """The field that names who wrote the response: beside its text in one object, or in the row."""
    outer, dot, _ = str(response).rpartition(".")
    inside = [f"{outer}.{name}" for name in WRITERS if dot]
    found = next((path for path in inside if fragment(sample.rows, path, sample.json).drop_nulls().len()), None)
    return found or next((sample.by_alias[name] for name in WRITERS if name in sample.by_alias), None)


def _answered(sample: Sample, field: str) -> bool:
    """Whether most conversations of a field end with what an assistant says."""
    turns = sample.json.elements(sample.rows.frame[sample.rows.fields[field]])
    last = turns.sort("id", "n").unique("id", keep="last")["element"]
    roles = sample.json.texts(pl.DataFrame(dict(zip("ab", sample.json.extract(last, ["/role", "/from"]), strict=True))))
    said = roles.select(pl.coalesce("a", "b").str.strip_chars().str.to_lowercase().replace(ROLES) == "assistant")
    return not turns.is_empty() and 2 * int(said.sum().item()) >= said.height


def _scores(sample: Sample) -> list[str]:
    """The fields with scores: as configured, else those with a criterion's name, else the one with a thumb's."""
    if "scores" in sample.configured:
        given: FieldPath = sample.configured["scores"]
        return [given] if isinstance(given, str) else given
    used = {path for slot, path in sample.configured.items() if isinstance(path, str)}
    fields = [field for field in sample.rows.fields if field not in used]
    scores = [field for field in fields if scorelike(field) and _scored(sample, field)]
    if not scores:
        holders = [field for field in fields if plain(field) in ("scores", "ratings", "annotations", "attributes")]
        beside = [f"{field}.axes" for field in fields if plain(field) in SLOTS["response"]]
        holders += [path for path in beside if not _objects(sample, path).is_empty()]
        inside = [f"{field}.{key}" for field in holders for key in sample.json.keys(_objects(sample, field))]
        scores = [path for path in inside if _scored(sample, path)]
        numbers = [path for path in scores if numeric(_stated(sample, path))]
        scores = numbers or scores  # a yes or no beside numbers is another thing
    if not scores:
        named = [sample.by_alias[name] for name in THUMBS if name in sample.by_alias and sample.by_alias[name] in fields]
        scores = [field for field in named if thumbs(sample.verdicts(field), named=True) is not None][:1]
    return scores


def _objects(sample: Sample, field: str) -> pl.Series:
    values = fragment(sample.rows, field, sample.json)
    return values.filter(values.str.starts_with("{").fill_null(False))


def _scored(sample: Sample, path: str) -> bool:
    texts = _stated(sample, path)
    return numeric(texts) or thumbs(texts, named=False) is not None


def _stated(sample: Sample, path: str) -> pl.Series:
    """The score texts of a field; of lists with a score by each annotator, all of them."""
    listed = sample.json.elements(fragment(sample.rows, path, sample.json))
    return sample.verdicts(path) if listed.is_empty() else sample.texts(listed["element"])


def _encoding(sample: Sample, scores: list[str]) -> Encoding:
    found = [thumbs(_stated(sample, path), named=plain(path) in THUMBS) for path in scores]
    kinds = [one for one in found if one is not None]
    if len(kinds) < len(found):
        return Encoding()
    return next((one for one in kinds if one.kind == "signed_thumbs"), kinds[0])


def adapt(task: Task) -> Batch:
    """Rows with one response and its scores -> one rating per score.

    Args:
        task: a batch whose layout is ratings.

    Returns:
        For each row its usable scores as ratings and its unusable ones as quarantined records; one record for a row of
        which nothing is usable.
    """
    paths = task.path("scores")
    fields = [paths] if isinstance(paths, str) else list(paths or [])
    field = str(task.path("response"))
    ids = pl.int_range(task.height, dtype=pl.Int64, eager=True)
    answers = pl.DataFrame({"id": ids, "n": pl.zeros(task.height, pl.Int64, eager=True), "text": task.fragments("response")})
    spoken = replies(task, answers, field, several=False)
    problems = pl.concat([spoken.rows, spoken.problems])
    texts = task.json.texts(pl.DataFrame({f"s{i}": fragment(task.rows, path, task.json) for i, path in enumerate(fields)}))
    model = task.texts("candidate_model")["candidate_model"]
    shared = shared_columns(task, sided=True).with_columns(extra=_extra(task, fields, texts), model=model)
    criteria = criteria_of(fields)
    columns = [
        _by_annotator(task, texts[f"s{i}"], path).with_columns(field=pl.lit(path), named=pl.lit(criteria[i], pl.String))
        for i, path in enumerate(fields)
    ]
    scores, unread = read_scores(task, pl.concat(columns))
    wrong = unread.select(PROBLEM.names())
    known = pl.concat([scores.select("id"), wrong.select("id"), problems.select("id")])
    silent = pl.DataFrame({"id": ids}).join(known, on="id", how="anti", maintain_order="left")["id"]
    wrong = wrong.join(problems.select("id"), on="id", how="anti", maintain_order="left")
    ratings = (
        scores.sort("id", maintain_order=True)
        .join(spoken.frame.drop("n"), on="id", maintain_order="left")
        .join(shared, on="id", maintain_order="left")
        .with_columns(
            annotator=pl.when(pl.any_horizontal(pl.col("annotator", "who").is_not_null())).then(_WHO),
            criterion=pl.coalesce("named", "criterion"), ranked=pl.lit(False), flags=pl.lit([], dtype=pl.List(pl.String))
        )
    )
    return batch(task, RAW_JUDGEMENT.to_frame(), pl.concat([problems, wrong, unscored(silent, ", ".join(fields))]), ratings)


def _by_annotator(task: Task, texts: pl.Series, path: str) -> pl.DataFrame:
    """id, text, `who` and label (which annotator, in a list with a score by each; null and nothing otherwise)."""
    rows = pl.DataFrame({"id": pl.int_range(task.height, dtype=pl.Int64, eager=True), "text": texts})
    listed = task.json.elements(fragment(task.rows, path, task.json))
    if listed.is_empty():
        return rows.with_columns(who=pl.lit(None, pl.String), label=pl.lit(""))
    place = (pl.col("n") + 1).cast(pl.String)
    each = listed.select("id", who=place, label="annotator " + place + ": ").with_columns(
        text=task.json.texts(listed.select("element"))["element"]
    )
    alone = rows.join(each.select("id"), on="id", how="anti", maintain_order="left")
    return pl.concat([alone.with_columns(who=pl.lit(None, pl.String), label=pl.lit("")), each.select("id", "text", "who", "label")])


def _extra(task: Task, fields: list[str], texts: pl.DataFrame) -> pl.Series:
    """The row's unmapped fields, and those of the scores that state none, such as "N/A"."""
    members = extra_members(task, {})
    for i, path in enumerate(fields):
        if path in task.rows.fields:
            column = pl.DataFrame({"text": texts[f"s{i}"], "x": fragment(task.rows, path, task.json)})
            unread = ~stated(pl.col("text")) & (pl.col("text").str.strip_chars() != "")
            members[path] = column.select(pl.when(unread).then("x").alias("x"))["x"]
    return objects(members, task.height)
