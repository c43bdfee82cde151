"""Layout candidates: several responses to one prompt in a row, with scores, ranks, an order, the best, or a verdict on each two."""

from collections.abc import Callable

import polars as pl

from pipeline.config import FieldPath, paths
from pipeline.errors import LayoutError
from pipeline.ingest.aliases import BEST, SLOTS
from pipeline.ingest.fragments import fragment
from pipeline.ingest.layouts import judged_lists, rated_lists, rated_turns, trees
from pipeline.ingest.layouts.containers import Holder, beside, candidate_slot, find_holder, hidden_answers, inner, score_paths, spread
from pipeline.ingest.layouts.ratings import UNRATED
from pipeline.ingest.layouts.sample import Proposal, Sample
from pipeline.ingest.layouts.scores import thumbs
from pipeline.ingest.layouts.slots import Task
from pipeline.ingest.records import Batch, Encoding

_INSIDE = ("candidate_text", "candidate_model", "candidate_rationale")
_MANY = 10


def propose(sample: Sample) -> Proposal:
    """Read the file as several responses a row."""
    tree = trees.propose(sample) or rated_turns.propose(sample)
    if tree is not None:
        return tree
    holder = find_holder(sample)
    slots = sample.shared("prefix")
    if holder is None:
        lacks = ["candidates (a list such as 'completions', 'responses' or 'answers', or fields such as 'response_1' to 'response_4')"]
        hidden = None if "prompt" in slots else hidden_answers(sample)
        return Proposal("candidates", slots, lacks, "several responses", refusal=None if hidden is None else _no_prompt(sample, hidden))
    slots |= _inside(sample, holder)
    slots["candidates"] = holder.path
    stated = _statement(sample, holder)
    lacks = []
    if isinstance(holder.path, str) and sample.source.layout is None and "candidates" not in sample.configured and not sample.sides()[1]:
        lacks.append("candidates alone (there are two answers in fields of their own)")
    if stated is None:
        lacks.append(
            "scores of the candidates (inside them, or a list beside them), their ranks ('rank', 'ranks'), their 'order', the index of the "
            "best ('choice', 'best'), or a verdict on each two ('preference')"
        )
        slot, path = "candidate_scores", None
    else:
        slot, path = stated
        slots[slot] = path
    if slot not in ("winner", "pair_verdicts"):
        slots = {name: one for name, one in slots.items() if name not in UNRATED}
    where = holder.path if isinstance(holder.path, str) else ", ".join(holder.path)
    refusal = _steps(sample, holder)
    if refusal is not None:
        lacks.append("answers to choose from (these are the steps of one)")
    whole = bool(holder.found["element"].str.contains(r'^\[|^"(\\n|\s)*(Human|Assistant):').any())
    if "prompt" not in slots and sample.source.layout is None and not whole:
        lacks.append("prompt (a field such as 'prompt' or 'instruction'; a `layout:` in the config says that there is none)")
        refusal = _no_prompt(sample, f"{where}.*")
    why = f"several responses in {where!r}, compared by {path!r}"
    return Proposal("candidates", slots, lacks, why, _encoding(sample, holder, slots), refusal)


def _steps(sample: Sample, holder: Holder) -> str | None:
    """Why the elements are no alternatives, where they are the labelled steps of one answer (TRL's stepwise format)."""
    labels = sample.by_alias.get("labels")
    if holder.path != sample.by_alias.get("completions") or labels is None or {"candidate_scores", "candidates"} & set(sample.configured):
        return None
    said = sample.texts(sample.json.elements(fragment(sample.rows, labels, sample.json))["element"])
    if thumbs(said, named=True) is None:
        return None
    return (
        f"{sample.name}: {holder.path!r} with a label for each in {labels!r} is the format of stepwise supervision: the steps of one "
        "answer, not several answers, so there is nothing to compare. Leave this file out; or, if they are alternatives, write\n"
        f"  fields: {{candidates: {holder.path}, candidate_scores: {labels}}}"
    )


def _no_prompt(sample: Sample, path: str) -> str:
    return (
        f"{sample.name}: there are answers below {path!r}, but no field holds the question or the text they answer, so the prompts "
        f"cannot be rebuilt from this file; fields found: {', '.join(sample.rows.fields)}. Join a file that has the prompts, one row a "
        "prompt (`join:` in the config, under the source), and name their field under `fields: prompt:`; or leave this file out."
    )


def _inside(sample: Sample, holder: Holder) -> dict[str, FieldPath]:
    found = {slot: candidate_slot(sample, holder, slot) for slot in _INSIDE}
    if found["candidate_text"] is not None and {"role", "from"} & set(holder.keys) and "candidate_text" not in sample.configured:
        del found["candidate_text"]  # the candidate is a message
    return {slot: path for slot, path in found.items() if path is not None}


def _statement(sample: Sample, holder: Holder) -> tuple[str, FieldPath] | None:
    """The slot that says how the candidates compare: as configured, else what says most."""
    finders: dict[str, Callable[[], FieldPath | None]] = {
        "pair_verdicts": lambda: _pair_verdicts(sample, holder),
        "candidate_scores": lambda: score_paths(sample, holder) or None,
        "candidate_rank": lambda: candidate_slot(sample, holder, "candidate_rank"),
        "order": lambda: next(iter([*beside(sample, SLOTS["order"]), *_written_orders(sample)]), None),
        "winner": lambda: _best(sample),
    }
    for slot in sorted(finders, key=lambda slot: slot not in sample.configured):
        if slot in sample.configured and slot not in ("candidate_scores", "candidate_rank"):
            return slot, sample.configured[slot]
        path = finders[slot]()
        if path is not None:
            return slot, path
    return None


def _pair_verdicts(sample: Sample, holder: Holder) -> str | None:
    counts = holder.found.group_by("id").len("n")
    for field in beside(sample, SLOTS["pair_verdicts"]):
        sizes = sample.json.elements(sample.rows.frame[sample.rows.fields[field]]).group_by("id").len("m").join(counts, on="id")
        fitting = sizes.filter((pl.col("n") > 2) & (pl.col("m") * 2 == pl.col("n") * (pl.col("n") - 1))).height
        if fitting and fitting * 2 >= sizes.height:
            return field
    return None


def _written_orders(sample: Sample) -> list[str]:
    named = [sample.by_alias[name] for name in SLOTS["order"] if name in sample.by_alias]
    return [field for field in named if sample.mostly(field, '^".+>.+"$')]


def _best(sample: Sample) -> str | None:
    named = [sample.by_alias[name] for name in BEST if name in sample.by_alias]
    return next((field for field in named if set(sample.type(field).split(" or ")) <= {"number", "text"}), None)


def _encoding(sample: Sample, holder: Holder, slots: dict[str, FieldPath]) -> Callable[[], Encoding]:
    def encoding() -> Encoding:
        if "pair_verdicts" in slots:
            path = str(slots["pair_verdicts"])
            verdicts = sample.json.elements(fragment(sample.rows, path, sample.json))["element"]
            return sample.encoding(sample.texts(verdicts), path, {})
        if "candidate_scores" in slots:
            return _thumbs(sample, holder, slots["candidate_scores"])
        if "order" in slots:
            path = str(slots["order"])
            return _base(sample, rated_lists.order_entries(sample.json, fragment(sample.rows, path, sample.json)), holder, path)
        if "winner" in slots:
            path = str(slots["winner"])
            texts = sample.json.texts(fragment(sample.rows, path, sample.json).to_frame("word")).with_row_index("id")
            return _base(sample, texts.with_columns(pl.col("id").cast(pl.Int64)), holder, path)
        return Encoding()

    return encoding


def _thumbs(sample: Sample, holder: Holder, path: FieldPath) -> Encoding:
    kinds = []
    for one in paths(path):
        keys = inner(one)
        fragments = holder.values(sample, *keys) if keys else spread(sample.rows, sample.json, one)["element"]
        kinds.append(thumbs(sample.texts(fragments), named=False))
    return kinds[0] if kinds[0] is not None and None not in kinds else Encoding()


def _base(sample: Sample, words: pl.DataFrame, holder: Holder, field: str) -> Encoding:
    """Whether numbers count the candidates from 0 or from 1."""
    numbers = words.select("id", at=pl.col("word").str.strip_chars().cast(pl.Int64, strict=False)).drop_nulls()
    said = {text: outcome for text, outcome in sample.source.outcomes.items() if text in ("0", "1")}
    if numbers.is_empty():
        return Encoding()
    if said:
        return Encoding("one_based" if said.get("1") == "a" else "zero_based")
    counted = numbers.join(holder.found.group_by("id").len("n"), on="id")
    zeros, lasts = (counted.filter(pl.col("at") == one).get_column("id").n_unique() for one in (0, pl.col("n")))
    if max(zeros, lasts) > _MANY * min(zeros, lasts):  # a few that contradict the rest are facts about their rows
        return Encoding("zero_based" if zeros > lasts else "one_based")
    found = ", ".join(map(str, numbers["at"].unique().sort().head(8).to_list()))
    raise LayoutError(
        f"{sample.name}: the numbers in {field!r} are {found}, which can count the candidates from 0 or from 1; expected a 0, or the "
        "number of the last of them. Say in the config which one is the first:\n  outcomes: {'0': a}   # or {'1': a}"
    )


def adapt(task: Task) -> Batch:
    """Rows with several responses -> ratings, or judgements where the file states verdicts about two or names the best.

    Args:
        task: a batch whose layout is candidates.

    Returns:
        For each row what is usable as ratings or judgements, and each candidate, score or verdict that is not as a
        quarantined record; one record for a row of which nothing is usable.
    """
    if trees.is_tree(task.layout):
        return trees.adapt(task)
    if rated_turns.holds_turns(task.layout):
        return rated_turns.adapt(task)
    if task.path("pair_verdicts") is not None:
        return judged_lists.verdicts(task)
    if task.path("candidate_scores") is not None:
        return rated_lists.scored(task)
    if task.path("winner") is not None:
        return judged_lists.best(task)
    return rated_lists.ranked(task)
