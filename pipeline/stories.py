"""EDGE: the story of one record or pair of a published version: what it was, who judged it, what became of it."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from pipeline.errors import NotFoundError
from pipeline.queries import Catalogue, Table, open_version, session
from pipeline.schemas import SIGNALS
from pipeline.stage import ASKED, UNNAMED


@dataclass(frozen=True)
class Story:
    """All that a version knows about one record or pair; rows as dictionaries, in the schemas' words."""

    asked: str
    version: str
    ledger: list[dict[str, Any]]
    judgements: list[dict[str, Any]]
    ratings: list[dict[str, Any]]
    pairs: list[dict[str, Any]]  # PAIR or DROPPED rows plus `fate`: published or dropped
    quarantined: list[dict[str, Any]]
    annotators: list[dict[str, Any]]  # those whose judgements these are, as the vote model sees them
    rationales: list[dict[str, Any]]  # of the pairs, accepted or not


def explain(dataset_root: str, asked: str, version: str | None = None) -> Story:
    """What became of a record, a pair, or a row of a file.

    Args:
        dataset_root: the dataset's folder or URL.
        asked: a record id, a pair id, or FILE:ROW, where FILE is the published name or its last parts.
        version: the current one when left out.

    Raises:
        NotFoundError: nothing in the version has that id or row.
    """
    catalogue = open_version(dataset_root, version)
    # The id is only ever a value in a filter expression, never text in SQL.
    file, _, row = asked.rpartition(":")
    id_, uri = pc.field("record_id"), pc.field("source_uri")
    matches = (id_ == asked) | (pc.field("pair_id") == asked) | (pc.field("witness_pair_id") == asked)
    if file and row.isascii() and (row.isdigit() or row == "-1") and len(row) < 19:  # -1: a file that could not be read
        matches = ((uri == file) | pc.ends_with(uri, f"/{file}")) & (pc.field("source_row") == int(row))
    place = ["source", "source_uri", "source_row"]
    asked_for = [row for name in ("pairs", "dropped") for row in _rows(catalogue.tables[name], pc.field("pair_id") == asked, ["pair_id"])]
    listed = sorted({record for row in asked_for for record in row["records"]})
    ledger = _rows(catalogue.tables["ledger"], matches | id_.isin(_ids(listed)), [*place, "record_id"])
    records = sorted({r["record_id"] for r in ledger})
    derived = _derived_from(catalogue, records)
    pair_ids = sorted({p for r in ledger for p in (r["pair_id"], r["witness_pair_id"]) if p} | set(derived.values()) | {asked})
    pairs = [
        {**row, "fate": fate}
        for name, fate in (("pairs", "published"), ("dropped", "dropped"))
        for row in _rows(catalogue.tables[name], pc.field("pair_id").isin(_ids(pair_ids)), ["pair_id"])
    ]
    stated = {(r["record_id"], r["source_uri"], r["source_row"]) for r in ledger}
    of_pairs = _ids([row["pair_id"] for row in pairs])
    on_them = pc.field("pair_id").isin(of_pairs) | pc.field("merged_into").isin(of_pairs)
    # What judges say belongs to the story of every record of the pair.
    wanted = pc.field("judgement_id").isin(_ids(sorted({*records, *derived}))) | (pc.starts_with(pc.field("source"), ASKED) & on_them)
    judgements = _rows(catalogue.tables["judgements"], wanted, [*place, "judgement_id"])
    judgements = [
        r
        for r in judgements
        if r["judgement_id"] in derived or r["source"].startswith(ASKED) or (r["judgement_id"], r["source_uri"], r["source_row"]) in stated
    ]
    ratings = _rows(catalogue.tables["ratings"], pc.field("rating_id").isin(_ids(records)), [*place, "rating_id"])
    ratings = [r for r in ratings if (r["rating_id"], r["source_uri"], r["source_row"]) in stated]
    quarantined = _rows(catalogue.tables["quarantine"], id_.isin(_ids(records)), [*place, "record_id"])
    quarantined = [r for r in quarantined if (r["record_id"], r["source_uri"], r["source_row"]) in stated]
    if not ledger and not pairs:
        raise NotFoundError(
            f"{dataset_root} {catalogue.version}: nothing is known as {asked!r}. Give a record id, a pair id, or FILE:ROW "
            "(rows count from 0; `prefine query ledger` lists all)."
        )
    names = _ids(sorted({_voter(r) for r in judgements}))
    annotators = _rows(catalogue.tables["annotators"], pc.field("annotator_id").isin(names), ["annotator_id", "annotator_kind"])
    rationales = _rows(catalogue.tables["rationales"], pc.field("pair_id").isin(of_pairs), ["pair_id", "kind", "rationale_id"])
    return Story(asked, catalogue.version, ledger, judgements, ratings, pairs, quarantined, annotators, rationales)


def _derived_from(catalogue: Catalogue, records: list[str]) -> dict[str, str]:
    """The judgements derived from some of these ratings, and their pairs."""
    sql = "select distinct judgement_id, pair_id from judgements where list_has_any(derived_from, ?::varchar[])"
    with session(catalogue.tables, catalogue.threads, catalogue.memory_limit) as con:
        return dict(con.execute(sql, [records]).fetchall())


def _ids(values: list[str]) -> pa.StringArray:
    return pa.array(values, pa.string())  # an empty list has no type of its own


def _rows(table: Table, matches: pc.Expression, order: list[str]) -> list[dict[str, Any]]:
    source = table if isinstance(table, ds.Dataset) else ds.dataset(table)
    return list(source.to_table(filter=matches).sort_by([(name, "ascending") for name in order]).to_pylist())


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
    for r in story.quarantined:
        lines += ["", f"quarantined {r['record_id']}", f"  reason   {r['reason']}{', field ' + r['field'] if r['field'] else ''}"]
        lines += [f"  {key:<9}{_cut(r[key])}" for key in ("detail", "raw") if r[key]]
    return "\n".join("".join(c if c.isprintable() else "?" for c in line) for text in lines for line in text.splitlines() or [""])


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


def _voter(judgement: dict[str, Any]) -> str:
    """Whom the vote model takes for the annotator: all whom a source does not name are one."""
    named = judgement["annotator_id"] != UNNAMED
    return str(judgement["annotator_id"]) if named else f"{UNNAMED} {judgement['source']}"


def _is(annotator: dict[str, Any], judgement: dict[str, Any]) -> bool:
    return (annotator["annotator_id"], annotator["annotator_kind"]) == (_voter(judgement), judgement["annotator_kind"])


def _reliable(annotator: dict[str, Any]) -> str:
    """How far an annotator's votes are to be trusted, in words."""
    accuracy, low, high = (annotator[f"accuracy{end}"] for end in ("", "_low", "_high"))
    known = "accuracy not known" if accuracy is None else f"accuracy {_short(accuracy)} ({_short(low)} to {_short(high)})"
    gate = "" if annotator["admitted"] else f"; not admitted: {annotator['reason']}"
    return f"{known}, {annotator['votes']} votes{gate}"


def _threshold(row: dict[str, Any]) -> str:
    return "" if row["score"] is None else f" (score {_short(row['score'])}, threshold {_short(row['threshold'])})"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)


def _cut(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 300 else f"{flat[:300]} [... {len(flat) - 300} more characters]"


def _messages(name: str, messages: list[dict[str, Any]]) -> str:
    said = [f"{m['role']}: {_cut(m['content'])}{' + tool calls ' + _cut(m['tool_calls']) if m['tool_calls'] else ''}" for m in messages]
    return "\n".join(f"  {name if i == 0 else '':<9}{text}" for i, text in enumerate(said or ["(none)"]))
