"""A story as plain text for a terminal."""

from typing import Any

from pipeline.schemas import SIGNALS
from pipeline.stage import UNNAMED
from pipeline.stories.told import Story, Trial


def render_story(story: Story) -> str:
    """A story as plain text for a terminal; control characters of the data are shown as `?`."""
    lines = [f"{story.asked} in version {story.version}"]
    for r in story.ledger:
        lines += ["", f"record {r['record_id']}", f"  from     {r['source']}: {r['source_uri']} row {r['source_row']}"]
        lines += [f"  fate     {r['fate']} at {r['stage']}: {r['reason']}{_threshold(r)}"]
        named = (("detail", "detail"), ("pair", "pair_id"), ("witness", "witness_pair_id"))
        lines += [f"  {name:<9}{r[key]}" for name, key in named if r[key]]
    for r in story.judgements:
        verdict = {"a": "A is better", "b": "B is better", "tie": "tie"}[r["outcome"]] + (" (both bad)" if r["both_bad"] else "")
        lines += ["", f"judgement {r['judgement_id']}{' (a copy)' if r['is_copy'] else ''}", f"  verdict  {verdict}{_side(r, story.pairs)}"]
        lines += [f"  shown    {r['shown_first'].upper()} first"] if r["shown_first"] else []
        lines += [f"  derived  from ratings {', '.join(r['derived_from'])}"] if r["derived_from"] else []
        lines += [f"  by       {r['annotator_kind']} {r['annotator_id']}, criterion {r['criterion']}"]
        lines += [f"  who      {_reliable(one)}" for one in story.annotators if _is(one, r)]
        lines += [f"  changed  {', '.join(r['normalised']) or 'nothing'} by normalisation"]
        told = ("model_a", "model_b", "strength", "context", "rationale", "extra")
        lines += [f"  {key:<9} {r[key]}" for key in told if r[key] is not None]
    for r in story.ratings:
        lines += ["", f"rating {r['rating_id']}{' (a copy)' if r['is_copy'] else ''}"]
        lines += [f"  score    {_short(r['score'])} on a scale of {_short(r['score_min'])} to {_short(r['score_max'])}"]
        lines += [f"  by       {r['annotator_kind']} {r['annotator_id']}, criterion {r['criterion']}"]
        lines += [f"  flags    {', '.join(r['flags'])}"] if r["flags"] else []
        lines += [f"  changed  {', '.join(r['normalised']) or 'nothing'} by normalisation"]
        lines += [f"  {key:<9} {r[key]}" for key in ("model", "context", "rationale", "extra") if r[key] is not None]
        lines += [_messages("response", r["response"])]
    for r in story.pairs:
        lines += ["", f"pair {r['pair_id']} ({r['fate']})"]
        if r["fate"] == "dropped":
            lines += [f"  dropped  at {r['stage']}: {r['reason']}{_threshold(r)}{' - ' + r['detail'] if r['detail'] else ''}"]
            lines += [f"  witness  {r['witness_pair_id']}"] if r["witness_pair_id"] else []
        lines += [f"  near     counts the votes of {r['near_duplicates']} near duplicates"] if r["near_duplicates"] else []
        if r["near_duplicate_conflict"]:
            lines += [f"  conflict near duplicate {r['near_duplicate_of']} says something else, or was judged the other way"]
        lines += [f"  held     {r['contaminated_by']} (score {_short(r['contamination'])})"] if r["contaminated_by"] else []
        lines += [f"  split    {r['split']}, sources {', '.join(r['sources'])}"]
        lines += [f"  votes    {r['votes_chosen']} chosen, {r['votes_rejected']} rejected, {r['votes_tie']} tie"]
        told = ("p_chosen", "p_tie", "margin", "noise_score", "p_soft", "weight")
        lines += ["  " + ", ".join(f"{name} {_short(r[name])}" for name in told)]
        lines += [_messages(name, r[name]) for name in ("prompt", "chosen", "rejected")]
        lines += ["  signals  " + ", ".join(f"{s.name} {_short(r[s.name])}" for s in SIGNALS)]
        for rationale in (one for one in story.rationales if one["pair_id"] == r["pair_id"]):
            lines += ["", *_rationale(rationale)]
        lines += [line for trial in story.rules.get(r["pair_id"], ()) for line in _trial(trial)]
    for r in story.quarantined:
        lines += ["", f"quarantined {r['record_id']}", f"  reason   {r['reason']}{', field ' + r['field'] if r['field'] else ''}"]
        lines += [f"  {key:<9}{_cut(r[key])}" for key in ("detail", "raw") if r[key]]
    lines += ["", f"{story.left_out} more pairs are not told: `prefine explain` has each by its id"] if story.left_out else []
    lines += ["", "in every version"] if story.fates else []
    lines += [f"  {one.version}{'*' if one.current else ' '} {one.kind} {one.id}: {one.fate}, {one.told}" for one in story.fates]
    return "\n".join("".join(c if c.isprintable() else "?" for c in line) for text in lines for line in text.splitlines() or [""])


def _trial(trial: Trial) -> list[str]:
    """A rule, what it looked at, and what it found."""
    values = ", ".join(f"{name} {_short(value)}" for name, value in trial.values.items())
    told = "; ".join(part for part in (values, trial.detail) if part)
    return [f"  rule     {trial.rule}: {trial.outcome}{f' ({told})' if told else ''} - {trial.condition}"]


def _rationale(row: dict[str, Any]) -> list[str]:
    """Who wrote what, whether it counts, and what readers made of it."""
    refused = f"not accepted: {row['reason']}{' - ' + row['detail'] if row['detail'] else ''}"
    lines = [f"rationale {row['rationale_id']}", f"  kind     {row['kind']}, by {row['generator']}"]
    lines += [f"  fate     {'accepted' if row['accepted'] else refused}"]
    told = {None: "", True: "told which answer was preferred", False: "not told which answer was preferred"}[row["label_shown"]]
    own = f"prefers {_named(row['own_verdict'])}" if row["own_verdict"] else ""
    first = f"saw the {row['shown_first']} answer first" if row["shown_first"] else ""
    lines += [f"  writer   {', '.join(said for said in (told, first, own) if said)}"] if told or own or first else []
    if row["recovered_first"] or row["recovered_second"]:
        lines += [
            f"  readers  from the rationale alone: {_named(row['recovered_first'])} with the chosen answer shown first, "
            f"{_named(row['recovered_second'])} with it second"
        ]
    lines += ["  leaks    names the better answer outright"] if row["leaks_label"] else []
    lines += [f"  copies   says the same of {row['near_copies']} other prompts"] if row["near_copies"] else []
    shares = [f"{name} {_short(row[name])}" for name in ("precision", "recall") if row[name] is not None]
    lines += [f"  checked  {', '.join(shares)}"] if shares else []
    spent = f"{row['input_tokens']} tokens read, {row['output_tokens']} written, {_short(row['cost'])} paid"
    lines += [f"  cost     {spent}, template {row['template']}"] if row["template"] else []
    said = [(key, row[key].splitlines()) for key in ("text", "items") if row[key]]
    return lines + [f"  {key if i == 0 else '':<9}{text}" for key, texts in said for i, text in enumerate(texts)]


def _named(verdict: str | None) -> str:
    return {"chosen": "the chosen answer", "rejected": "the rejected answer", "tie": "neither", None: "nothing said"}[verdict]


def _side(judgement: dict[str, Any], pairs: list[dict[str, Any]]) -> str:
    """Which answer of its pair a verdict is for."""
    won = {"a": judgement["response_a_id"], "b": judgement["response_b_id"]}.get(judgement["outcome"])
    for pair in pairs:
        if won and pair["pair_id"] == judgement["pair_id"]:
            return {pair["chosen_id"]: ", the chosen answer", pair["rejected_id"]: ", the rejected answer"}.get(won, "")
    return ""


def voter(judgement: dict[str, Any]) -> str:
    """Whom the vote model takes for the annotator: all whom a source does not name are one."""
    named = judgement["annotator_id"] != UNNAMED
    return str(judgement["annotator_id"]) if named else f"{UNNAMED} {judgement['source']}"


def _is(annotator: dict[str, Any], judgement: dict[str, Any]) -> bool:
    return (annotator["annotator_id"], annotator["annotator_kind"]) == (voter(judgement), judgement["annotator_kind"])


def _reliable(annotator: dict[str, Any]) -> str:
    """How far an annotator's votes are to be trusted, in words."""
    accuracy, low, high = (annotator[f"accuracy{end}"] for end in ("", "_low", "_high"))
    known = "accuracy not known" if accuracy is None else f"accuracy {_short(accuracy)} ({_short(low)} to {_short(high)})"
    gate = "" if annotator["admitted"] else f"; not admitted: {annotator['reason']}"
    return f"{known}, {annotator['votes']} votes{gate}"


def _threshold(row: dict[str, Any]) -> str:
    return "" if row["score"] is None else f" (score {_short(row['score'])}, threshold {_short(row['threshold'])})"


def _short(value: object) -> str:
    return f"{value + 0.0:.4g}" if isinstance(value, float) else "-" if value is None else str(value)


def _cut(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 300 else f"{flat[:300]} [... {len(flat) - 300} more characters]"


def _messages(name: str, messages: list[dict[str, Any]]) -> str:
    said = [f"{m['role']}: {_cut(m['content'])}{' + tool calls ' + _cut(m['tool_calls']) if m['tool_calls'] else ''}" for m in messages]
    return "\n".join(f"  {name if i == 0 else '':<9}{text}" for i, text in enumerate(said or ["(none)"]))
