"""Small versions written out row by row: one of judgements alone, one with ratings."""

from typing import Any

import pyarrow as pa

from pipeline.publish import VersionWriter, finish
from pipeline.queries import PARTS

FILE = "raw/arena.jsonl"


def row(schema: pa.Schema, **given: Any) -> dict[str, Any]:
    """A row with the values given, null where allowed, and nothing (0, False, "", []) elsewhere."""
    nothing = {"string": "", "bool": False, "int64": 0, "double": 0.0, "float": 0.0}
    blank = {f.name: None if f.nullable else [] if pa.types.is_list(f.type) else nothing[str(f.type)] for f in schema}
    assert set(given) <= set(blank)
    return {**blank, **given}


def said(role: str, content: str) -> list[dict[str, Any]]:
    return [{"role": role, "content": content}]


def judged(judgement_id: str, pair_id: str, source_row: int, outcome: str, **given: Any) -> dict[str, Any]:
    given = {"annotator_id": f"ann-{judgement_id}", "annotator_kind": "human", "normalised": [], "is_copy": False, **given}
    texts = {"prompt": said("user", "Hi?"), "response_a": said("assistant", "Hello!"), "response_b": said("assistant", "No.")}
    ids = {"judgement_id": judgement_id, "pair_id": pair_id, "response_a_id": "ra", "response_b_id": "rb"}
    place = {"source": "arena", "source_uri": FILE, "source_row": source_row}
    return row(PARTS["judgements"][1], **texts, **ids, **place, outcome=outcome, criterion="overall", **given)


def paired(part: str, pair_id: str, records: list[str], votes: tuple[int, int, int], **given: Any) -> dict[str, Any]:
    chosen, rejected, tie = votes
    texts = {"prompt": said("user", "Hi?"), "chosen": said("assistant", "Hello!"), "rejected": said("assistant", "No.")}
    counts = {"n_votes": sum(votes), "n_annotators": sum(votes), "votes_chosen": chosen, "votes_rejected": rejected, "votes_tie": tie}
    given = {"p_chosen": 0.75, "weight": 1.0, "split": part, "chosen_chars": 6, "rejected_chars": 3, "chars_gap": 3, **given}
    ids = {"pair_id": pair_id, "chosen_id": "ra", "rejected_id": "rb", "prompt_cluster_id": f"cluster-{pair_id}", "criterion": "overall"}
    return row(PARTS[part][1], **{**texts, **counts, **ids, "sources": ["arena"], "records": records, **given})


def fated(record_id: str, source_row: int, fate: str, reason: str, **given: Any) -> dict[str, Any]:
    place = {"source": "arena", "source_uri": FILE, "source_row": source_row}
    return row(PARTS["ledger"][1], record_id=record_id, **place, fate=fate, reason=reason, **{"stage": "publish", **given})


def estimated(statistic: str, **given: Any) -> dict[str, Any]:
    about = {"subject_kind": "source", "subject": "arena", "value": 0.1, "low": 0.05, "high": 0.2, "n": 100, "unit": "share"}
    return row(PARTS["statistics"][1], statistic=statistic, **about, **given)


def sample() -> dict[str, list[dict[str, Any]]]:
    """Six rows of one file: two votes on p1 and a copy of the first, one on p2, a tie on p3, an unreadable row."""
    copied = {"stage": "pair_up", "score": 1.0, "threshold": 1.0, "pair_id": "p1", "witness_pair_id": "p1"}
    return {
        "train": [paired("train", "p1", ["j1", "j2"], (1, 1, 0), p_chosen=0.5, conflict=True, agreement=0.5)],
        "validation": [paired("validation", "p2", ["j3"], (1, 0, 0), chosen_injected=True, agreement=1.0, cosine_chosen_rejected=0.25)],
        "dropped": [paired("dropped", "p3", ["j4"], (0, 0, 1), split="train", tie=True, stage="rules", reason="tie", detail="p_tie 0.5")],
        "judgements": [
            judged("j1", "p1", 0, "a", normalised=["prompt.line_ends"], extra='{"lang": "en\x1b[31m"}'),
            judged("j1", "p1", 1, "a", is_copy=True),
            judged("j2", "p1", 2, "b"),
            judged("j3", "p2", 3, "a"),
            judged("j4", "p3", 4, "tie"),
        ],
        "quarantine": [
            row(PARTS["quarantine"][1], record_id="q1", source="arena", source_uri=FILE, source_row=5, reason="unparsable_row", raw="{oops")
        ],
        "statistics": [estimated("label_noise_repeated"), estimated("epsilon", note="rests on repeated judgements")],
        "ledger": [
            fated("j1", 0, "published", "train", pair_id="p1"),
            fated("j1", 1, "merged", "copy", **copied),
            fated("j2", 2, "published", "train", pair_id="p1"),
            fated("j3", 3, "published", "validation", pair_id="p2"),
            fated("j4", 4, "dropped", "tie", stage="rules", pair_id="p3"),
            fated("q1", 5, "quarantined", "unparsable_row", stage="ingest"),
        ],
    }


def rated(rating_id: str, response: str, score: float, source_row: int, **given: Any) -> dict[str, Any]:
    place = {"source": "arena", "source_uri": FILE, "source_row": source_row}
    texts = {"prompt": said("user", "Hi?"), "response": said("assistant", response), "response_id": f"r-{response}"}
    given = {"annotator_id": "rater", "annotator_kind": "human", "criterion": "help", **given}
    return row(PARTS["ratings"][1], rating_id=rating_id, score=score, score_min=1.0, score_max=5.0, **texts, **place, **given)


def sample_with_ratings() -> dict[str, list[dict[str, Any]]]:
    """The sample and, instead of its first row, four ratings and a copy: r1 over r2 is pair p1's vote, r1 over r3 dropped."""
    rows = sample()
    rows["ratings"] = [
        rated("r1", "Hello!", 5.0, 0),
        rated("r2", "No.", 2.0, 0),
        rated("r3", "Er.", 1.0, 0),
        rated("r4", "Hm.", 3.0, 0, flags=["overall_score_doubtful"]),
        rated("r4", "Hm.", 3.0, 1, is_copy=True),
    ]
    rows["judgements"][:2] = [
        judged("d1", "p1", 0, "a", derived_from=["r1", "r2"], strength=0.75),
        judged("d1", "p1", 0, "a", derived_from=["r1", "r2"], strength=0.75, is_copy=True, model_a="m"),
        judged("d2", "p4", 0, "a", derived_from=["r1", "r3"], strength=1.0),
    ]
    rows["train"][0]["records"] = ["j2", "r1", "r2"]
    rows["dropped"].append(paired("dropped", "p4", ["r1", "r3"], (1, 0, 0), split="train", stage="rules", reason="low", detail="d"))
    unused = {"stage": "pair_up", "detail": "overall_score_doubtful"}
    rows["ledger"][:2] = [
        fated("r1", 0, "published", "published", pair_id="p1"),
        fated("r2", 0, "published", "published", pair_id="p1"),
        fated("r3", 0, "dropped", "low", stage="rules", pair_id="p4"),
        fated("r4", 0, "dropped", "not_selected", **unused),
        fated("r4", 1, "merged", "copy", stage="pair_up", score=1.0, threshold=1.0),
    ]
    return rows


def sample_with_merges() -> dict[str, list[dict[str, Any]]]:
    """The sample and two pairs merged as near duplicates: p5 (two votes, one with its answers exchanged) into p2, p6 (a tie) into p3."""
    rows = sample()
    near = {"prompt": said("user", "Hi there?"), "prompt_id": "near", "response_a": said("assistant", "Hello!!"), "response_a_id": "rc"}
    near |= {"response_b": said("assistant", "No!"), "response_b_id": "rd"}
    away = {f"response_{side}{part}": near[f"response_{other}{part}"] for side, other in ("ab", "ba") for part in ("", "_id")}
    rows["judgements"] += [
        {**judged("j5", "p5", 6, "a", merged_into="p2", merged_a="ra", shown_first="b", model_a="m"), **near},
        {**judged("j6", "p5", 7, "b", merged_into="p2", merged_a="rb"), **near, **away},
        {**judged("j7", "p6", 8, "tie", merged_into="p3", merged_a="ra"), **near},
    ]
    rows["validation"] = [paired("validation", "p2", ["j3", "j5", "j6"], (3, 0, 0), near_duplicates=1, chosen_injected=True, agreement=1.0)]
    why = {"stage": "deduplicate", "reason": "near_duplicate", "score": 0.97, "threshold": 0.95, "detail": "cosine"}
    answers = {"chosen_id": "rc", "rejected_id": "rd"}
    tie = {"split": "train", "tie": True, "stage": "rules", "reason": "tie", "detail": "p_tie 0.5"}
    rows["dropped"] = [
        paired("dropped", "p3", ["j4", "j7"], (0, 0, 2), near_duplicates=1, **tie),
        {**paired("dropped", "p5", ["j5", "j6"], (2, 0, 0), split="validation", **why, witness_pair_id="p2"), **answers},
        {**paired("dropped", "p6", ["j7"], (0, 0, 1), split="train", **why, witness_pair_id="p3"), **answers},
    ]
    merged = {**why, "pair_id": "p5", "witness_pair_id": "p2"}
    merged.pop("reason")
    after = "merged into p3, which was dropped: p_tie 0.5"
    rows["ledger"] += [
        fated("j5", 6, "merged", "near_duplicate", **merged),
        fated("j6", 7, "merged", "near_duplicate", **merged),
        fated("j7", 8, "dropped", "tie", stage="rules", detail=after, pair_id="p6", witness_pair_id="p3"),
    ]
    return rows


INPUTS = [
    {
        "source": "arena", "source_uri": FILE, "layout": "ab", "bytes": 99, "sha256": "0" * 64,
        "rows_counted": 6, "rows": 6, "records": 6, "quarantined_rows": 1, "unreadable": None,
    }
]  # fmt: skip
COUNTS: list[dict[str, Any]] = [
    {"stage": "ingest", "rows_in": 6, "kept": 5, "dropped": 1, "reasons": {"unparsable_row": 1}},
    {"stage": "pair_up", "rows_in": 5, "kept": 3, "dropped": 2, "reasons": {"copy": 1, "same_pair": 1}},
    {"stage": "split", "rows_in": 2, "kept": 2, "dropped": 0, "reasons": {}},
]


def write(root: str, rows: dict[str, list[dict[str, Any]]], version: str = "v000001") -> list[dict[str, Any]]:
    writer = VersionWriter(root, version, {part: len(r) for part, r in rows.items()}, rows_per_shard=10)
    for part, part_rows in rows.items():
        writer.write(part, pa.Table.from_pylist(part_rows, schema=PARTS[part][1]))
    return writer.close()


def publish(root: str, rows: dict[str, list[dict[str, Any]]]) -> str:
    parts: dict[str, Any] = {"inputs": INPUTS, "counts": COUNTS, "config": {"sources": []}, "rules": ["tie"]}
    parts |= {"packages": {}, "models": {}, "causal_models": [], "endpoints": [], "seeds": {}, "timings": {}}
    return finish(root, "v000001", write(root, rows), parts).version
