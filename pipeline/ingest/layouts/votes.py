"""Layout votes: several annotators' verdicts on one pair, a row each, in a list, or a field each."""

import re

import polars as pl

from pipeline.config import FieldPath, paths
from pipeline.ingest.aliases import VOTE_COLUMN, VOTE_SLOTS, plain
from pipeline.ingest.conversations.messages import problem
from pipeline.ingest.fragments import fragment, objects, pointer
from pipeline.ingest.layouts import ab
from pipeline.ingest.layouts.sample import Proposal, Sample, side_names
from pipeline.ingest.layouts.slots import Task, answers, batch, extra_members, no_verdict, outcomes, shared_columns, unknown_verdict
from pipeline.ingest.layouts.verdicts import degree, spelled, words
from pipeline.ingest.records import Batch, Encoding

_SLOTS = {"vote_winner": "verdict", "vote_annotator": "voter", "vote_rationale": "why", "vote_strength": "force", "vote_judged_at": "when"}
_VOTE = pl.Schema({"id": pl.Int64, "n": pl.Int64, **dict.fromkeys(_SLOTS.values(), pl.String), "rest": pl.String})


def propose(sample: Sample) -> Proposal:
    """Read the file as several annotators' verdicts on two answers."""
    slots, lacks = sample.answers()
    votes = sample.find("votes")
    if isinstance(votes, str) and "votes" not in sample.configured and not sample.mostly(votes, r"^\["):
        votes = None
    columns = votes if isinstance(votes, list) else _vote_columns(sample) if votes is None else []
    winner = ab.winner(sample)
    if isinstance(votes, str):
        slots["votes"] = votes
        inside = _vote_slots(sample, votes)
        slots |= inside
        if "vote_winner" not in inside and _holds_objects(sample, votes):
            lacks.append(f"vote_winner (the verdict inside each element of {votes!r})")
        why = f"a list of votes in {votes!r}"
    elif columns:
        slots["votes"] = columns
        why = f"one vote in each of {', '.join(columns)}"
    else:
        said = ", ".join(winner) if isinstance(winner, list) else winner
        why = f"one vote a row: the verdict {said!r} by {slots.get('annotator')!r}"
        if winner is not None:
            ab.take_winner(sample, slots, winner)
        if winner is None or "annotator" not in slots:
            lacks.append(
                "votes (a list such as 'votes'; two fields such as 'annotator1' and 'annotator2'; or a verdict such as 'winner' with "
                "a field such as 'annotator')"
            )
    if slots.get("annotator") is not None and "votes" in slots and "annotator" not in sample.configured:
        del slots["annotator"]
    return Proposal("votes", slots, lacks, why, lambda: _encoding(sample, slots))


def _vote_columns(sample: Sample) -> list[str]:
    names = [field for field in sample.rows.fields if re.match(VOTE_COLUMN, field)]
    known = list(words(Encoding("one_based"), side_names(sample.sides()[0]), sample.source.outcomes))
    values = [sample.verdicts(field) for field in names]
    verdict = spelled(pl.col("x")).is_in(known) | pl.col("x").str.contains(r"^-?[\d.]+$")
    voting = [field for field, one in zip(names, values, strict=True) if one.len() and one.to_frame("x").select(verdict.all()).item()]
    return voting if len(voting) >= 2 else []


def _listed_elements(sample: Sample, votes: str) -> pl.Series:
    return sample.json.elements(fragment(sample.rows, votes, sample.json))["element"].drop_nulls()


def _holds_objects(sample: Sample, votes: str) -> bool:
    return bool(_listed_elements(sample, votes).str.starts_with("{").any())


def _vote_slots(sample: Sample, votes: str) -> dict[str, FieldPath]:
    elements = _listed_elements(sample, votes)
    keys = sample.json.keys(elements.filter(elements.str.starts_with("{")))
    by_alias = {plain(key): key for key in reversed(keys)}
    found: dict[str, FieldPath] = {}
    for slot, aliases in VOTE_SLOTS.items():
        name = sample.configured.get(slot) or next((by_alias[alias] for alias in aliases if alias in by_alias), None)
        if name is not None:
            found[slot] = name
    strength = found.get("vote_strength")
    if strength is not None and "vote_strength" not in sample.configured:
        numbers = sample.texts(sample.json.extract(elements, [pointer(str(strength))])[0]).cast(pl.Float64, strict=False).drop_nulls()
        if strength == found.get("vote_winner") or not numbers.is_between(0, 1).all():
            del found["vote_strength"]
    return found


def _encoding(sample: Sample, slots: dict[str, FieldPath]) -> Encoding:
    votes, winner = slots.get("votes"), slots.get("winner")
    if isinstance(votes, str):
        elements = _listed_elements(sample, votes)
        inside = str(slots.get("vote_winner", "value"))
        nested = elements.str.starts_with("{")
        found = sample.json.extract(elements.filter(nested), [pointer(inside)])[0]
        return sample.encoding(sample.texts(pl.concat([found, elements.filter(~nested)])), f"{votes}.{inside}", slots)
    if votes is not None:
        return sample.encoding(pl.concat([sample.verdicts(field) for field in votes]), ", ".join(votes), slots)
    return ab.encoding(sample, winner or [], slots)


def adapt(task: Task) -> Batch:
    """Rows with votes -> one judgement per vote.

    Args:
        task: a batch whose layout is votes.

    Returns:
        For each row its usable votes as judgements and its unusable ones as quarantined records; one record for a row
        of which nothing is usable.
    """
    if task.layout.vote_form == "rows":
        return ab.adapt(task, vote_layout=True)
    compared = answers(task, "response_a", "response_b")
    votes, problems = _listed(task) if task.layout.vote_form == "listed" else _columns(task)
    shared = shared_columns(task, sided=True)
    votes = votes.filter(pl.col("verdict").str.strip_chars() != "").sort("id", "n")
    votes = votes.join(shared.select("id", "model_a", "model_b"), on="id", maintain_order="left")
    votes = votes.with_columns(outcomes(task, votes["verdict"], votes).rename({"strength": "grade"}))
    fields = task.path("votes")
    where = fields if isinstance(fields, str) else None
    silent = shared.select("id").join(votes.select("id").unique(), on="id", how="anti")["id"]
    problems = pl.concat(
        [compared.problems, problems, problem(silent, "no_votes", where, "no annotator's verdict; expected at least one")]
    ).unique("id", keep="first", maintain_order=True)
    votes = votes.join(problems.select("id"), on="id", how="anti", maintain_order="left")
    usable = pl.col("outcome").is_not_null() & (pl.col("outcome") != "none")
    good = votes.filter(usable)
    bad = _unusable(task, votes.filter(~usable), fields if isinstance(fields, list) else None, where)
    hopeless = bad.join(good.select("id").unique(), on="id", how="anti").unique("id", keep="first", maintain_order=True)
    problems = pl.concat([problems, hopeless, bad.join(good.select("id").unique(), on="id", how="semi")])
    judgements = (
        good.drop("model_a", "model_b")
        .rename({"outcome": "vote"})
        .join(compared.frame, on="id", maintain_order="left")
        .join(shared.drop("extra"), on="id", maintain_order="left")
        .with_columns(
            *ab.decided(pl.col("vote")),
            extra=_extra(task, good),
            annotator=pl.coalesce("voter", "annotator"),
            rationale=pl.coalesce("why", "rationale"),
            strength=pl.coalesce(_strength(pl.col("force")), "grade", "strength"),
            judged_at=pl.coalesce("when", "judged_at"),
            vote_layout=pl.lit(True),
        )
    )
    return batch(task, judgements, problems)


def _strength(text: pl.Expr) -> pl.Expr:
    """A number from 0 to 1 or a degree in words; null for anything else."""
    force = pl.coalesce(text.cast(pl.Float32, strict=False), degree(spelled(text)).cast(pl.Float32))
    return pl.when(force.is_between(0, 1)).then(force)


def _unusable(task: Task, votes: pl.DataFrame, columns: list[str] | None, where: str | None) -> pl.DataFrame:
    unknown = votes.filter(pl.col("outcome").is_null())
    votes = pl.concat([unknown, votes.filter(pl.col("outcome").is_not_null())])
    number = votes.select(pl.lit("vote ") + (pl.col("n") + 1).cast(pl.String) + ": ")["literal"]
    i = unknown.height
    first = unknown_verdict(task, votes["id"][:i], where or "", votes["verdict"][:i], number[:i])
    problems = pl.concat([first, no_verdict(votes["id"][i:], where or "", votes["verdict"][i:], number[i:])])
    if columns is not None:
        problems = problems.with_columns(field=votes["n"].replace_strict(dict(enumerate(columns)), return_dtype=pl.String))
    return problems.with_columns(n=votes["n"]).sort("id", "n").drop("n")


def _listed(task: Task) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Votes in one list a row, and the rows whose list is none."""
    path, fragments = str(task.path("votes")), task.fragments("votes")
    elements = task.json.elements(fragments)
    objects_ = elements["element"].str.starts_with("{").fill_null(False)
    names = {column: str(task.path(slot)) for slot, column in _SLOTS.items() if task.path(slot) is not None}
    members = elements.filter(objects_)
    keys = task.json.keys(members["element"])
    found = dict(zip(keys, task.json.extract(members["element"], [pointer(key) for key in keys]), strict=True))
    taken = pl.DataFrame({column: found[name] for column, name in names.items() if name in found})
    kept = {key: column for key, column in found.items() if key not in names.values()}
    if "force" in taken.columns:  # a strength that could not be understood is not lost
        unread = task.json.texts(taken.select("force")).select(_strength(pl.col("force")).is_null())["force"]
        kept[names["force"]] = taken.select(pl.when(unread).then("force"))["force"]
    rest = objects(kept, members.height)
    nested = pl.concat([members.select("id", "n"), task.json.texts(taken)], how="horizontal").with_columns(rest=rest)
    scalars = elements.filter(~objects_).drop_nulls("element")
    plain = scalars.select("id", "n").with_columns(verdict=task.json.texts(scalars.select("element"))["element"])
    votes = pl.concat([one.match_to_schema(_VOTE, missing_columns="insert").select(_VOTE.names()) for one in (nested, plain)])
    blank = pl.col("voter", "why", "when")
    votes = votes.with_columns(pl.when(blank.str.strip_chars() != "").then(blank))
    absent = fragments.is_null().arg_true()
    strange = (~fragments.str.starts_with("[")).fill_null(False).arg_true()
    found_ = "found " + fragments.gather(strange).str.slice(0, 40) + "; expected a list of votes"
    return votes, pl.concat(
        [problem(absent, "missing_field", path, "absent or null; expected a list of votes"), problem(strange, "wrong_type", path, found_)]
    )


def _columns(task: Task) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Votes in a field each; the field's name is the annotator's."""
    paths = task.path("votes")
    assert isinstance(paths, list)
    texts = task.json.texts(pl.DataFrame({f"v{i}": fragment(task.rows, path, task.json) for i, path in enumerate(paths)}))
    ids = pl.int_range(task.height, dtype=pl.Int64, eager=True)
    empty = pl.DataFrame(schema=_VOTE)
    votes = [
        pl.DataFrame({"id": ids, "verdict": texts[f"v{i}"]}).with_columns(n=pl.lit(i, pl.Int64), voter=pl.lit(path))
        for i, path in enumerate(paths)
    ]
    lined = [one.match_to_schema(_VOTE, missing_columns="insert").select(_VOTE.names()) for one in votes]
    return pl.concat([empty, *lined]), problem(ids.clear(), "no_votes", None, "")


def _extra(task: Task, votes: pl.DataFrame) -> pl.Series:
    """The row's unmapped fields with what is left of the vote under `vote`."""
    key = "vote"
    members = extra_members(task, {"rationale": pl.repeat(True, task.height, eager=True)})
    while key in members:
        key += "_"
    each = {name: column.gather(votes["id"]) for name, column in members.items()}
    for path in paths(task.path("rationale") or []):  # of a vote with a reason of its own, the row's is not the rationale
        if path in each:
            each[path] = votes.select(pl.when(pl.col("why").is_not_null()).then(each[path]).alias("x"))["x"]
    return objects(each | {key: votes["rest"]}, votes.height)
