"""What a version tells of one record, rating, pair or row."""

import shutil
from pathlib import Path

import pytest

from pipeline import storage
from pipeline.errors import NotFoundError
from pipeline.stories import explain, render_story
from pipeline.stories.trials import tried
from tests.versions import COUNTS, FILE, INPUTS, fated, judged, paired, sample, write


def test_explain_tells_a_records_story_by_its_id(root: str) -> None:
    story = explain(root, "j3")
    assert [(r["source_row"], r["fate"]) for r in story.ledger] == [(3, "published")]
    assert [r["judgement_id"] for r in story.judgements] == ["j3"]
    assert [(r["pair_id"], r["fate"]) for r in story.pairs] == [("p2", "published")]
    assert story.quarantined == []


def test_explain_shows_the_copies_of_a_record(root: str) -> None:
    story = explain(root, "j1")
    assert [(r["source_row"], r["fate"]) for r in story.ledger] == [(0, "published"), (1, "merged")]
    assert [r["is_copy"] for r in story.judgements] == [False, True]


def test_explain_tells_a_pairs_story_with_all_its_records(root: str) -> None:
    story = explain(root, "p1")
    assert [r["source_row"] for r in story.ledger] == [0, 1, 2]
    assert [r["pair_id"] for r in story.pairs] == ["p1"]


def test_explain_tells_a_ratings_story_with_every_pair_it_fed(rated_root: str) -> None:
    story = explain(rated_root, "r1")
    assert [(r["record_id"], r["fate"]) for r in story.ledger] == [("r1", "published")]
    assert [(r["response"][0]["content"], r["score"]) for r in story.ratings] == [("Hello!", 5.0)]
    assert [r["judgement_id"] for r in story.judgements] == ["d1", "d1", "d2"]
    assert [(r["pair_id"], r["fate"]) for r in story.pairs] == [("p1", "published"), ("p4", "dropped")]


def test_explain_tells_a_pairs_story_with_the_ratings_whose_best_fate_is_in_another(rated_root: str) -> None:
    story = explain(rated_root, "p4")
    assert [r["record_id"] for r in story.ledger] == ["r1", "r3"]
    assert [r["rating_id"] for r in story.ratings] == ["r1", "r3"]


def test_a_rendered_rating_names_its_score_scale_flags_and_what_was_derived_from_it(rated_root: str) -> None:
    text = render_story(explain(rated_root, "r1"))
    assert "score    5 on a scale of 1 to 5" in text
    assert "derived  from ratings r1, r2" in text
    assert "response assistant: Hello!" in text
    unused = render_story(explain(rated_root, "r4"))
    assert "fate     dropped at pair_up: not_selected" in unused
    assert "detail   overall_score_doubtful" in unused
    assert "flags    overall_score_doubtful" in unused
    assert "(a copy)" in unused


@pytest.mark.parametrize("place", [f"{FILE}:4", "arena.jsonl:4"])
def test_explain_tells_a_rows_story_by_file_and_row(root: str, place: str) -> None:
    story = explain(root, place)
    assert [r["record_id"] for r in story.ledger] == ["j4"]
    assert [(r["reason"], r["fate"]) for r in story.pairs] == [("tie", "dropped")]


def test_explain_tells_why_a_row_is_in_quarantine(root: str) -> None:
    story = explain(root, "arena.jsonl:5")
    assert [r["reason"] for r in story.quarantined] == ["unparsable_row"]
    assert story.judgements == story.pairs == []


@pytest.mark.parametrize("asked", ["nobody", "arena.jsonl:6", "rena.jsonl:4", "x' or 1=1 --", "arena.jsonl:²", ""])
def test_what_is_not_there_is_not_found(root: str, asked: str) -> None:
    with pytest.raises(NotFoundError, match="nothing is known as"):
        explain(root, asked)


def test_a_rendered_story_names_verdict_fate_reason_and_signals(root: str) -> None:
    text = render_story(explain(root, "j4"))
    for fact in (
        "j4 in version v000001",
        "from     arena: raw/arena.jsonl row 4",
        "fate     dropped at rules: tie",
        "verdict  tie",
        "by       human ann-j4, criterion overall",
        "dropped  at rules: tie - p_tie 0.5",
        "votes    0 chosen, 0 rejected, 1 tie",
        "prompt   user: Hi?",
        "chosen_chars 6",
    ):
        assert fact in text
    copy = render_story(explain(root, "arena.jsonl:1"))
    assert "fate     merged at pair_up: copy (score 1, threshold 1)" in copy
    assert "witness  p1" in copy
    quarantined = render_story(explain(root, "q1"))
    assert "reason   unparsable_row" in quarantined
    assert "raw      {oops" in quarantined


def test_a_rendered_story_shows_no_control_characters_of_the_data(root: str) -> None:
    text = render_story(explain(root, "arena.jsonl:0"))
    assert "\x1b" not in text
    assert 'extra     {"lang": "en?[31m"}' in text
    assert "changed  prompt.line_ends by normalisation" in text


def two_versions(root: str) -> None:
    """The sample; then p1 is dropped by a rule and j9 on p9 is new. The manifest names four rules of every kind."""
    rows = sample()
    rows["judgements"].append(judged("j9", "p9", 6, "a"))
    rows["train"] = [paired("train", "p9", ["j9"], (1, 0, 0), prompt_id="q9", chosen_id="r9", agreement=1.0)]
    low = {"stage": "rules", "reason": "low_agreement", "score": 0.5, "threshold": 0.65}
    rows["dropped"].append(paired("dropped", "p1", ["j1", "j2"], (1, 1, 0), split="train", agreement=0.5, **low))
    rows["ledger"][0] = fated("j1", 0, "dropped", "low_agreement", stage="rules", score=0.5, threshold=0.65, pair_id="p1")
    rows["ledger"][2] = fated("j2", 2, "dropped", "low_agreement", stage="rules", score=0.5, threshold=0.65, pair_id="p1")
    rows["ledger"].append(fated("j9", 6, "published", "train", pair_id="p9"))
    rules = [
        {"name": "tie", "kind": "drop_if", "columns": ["tie"], "sql": "tie", "share": "0"},
        {"name": "low_agreement", "kind": "drop_if", "columns": ["agreement"], "sql": "agreement < 0.65", "share": "0"},
        {"name": "longest", "kind": "drop_top_share", "columns": ["chosen_chars"], "sql": "", "share": "0.2"},
        {"name": "read", "kind": "drop_if", "columns": ["tie"], "sql": "tie or read_csv('x')", "share": "0"},
    ]
    for name, told in (("v000001", sample()), ("v000002", rows)):
        manifest = {"files": write(root, told, name), "inputs": INPUTS, "counts": COUNTS, "rules": rules}
        storage.write_json(f"{root}/{name}/manifest.json", manifest)
    storage.write_bytes(f"{root}/CURRENT", b"v000002\n")


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = str(tmp_path_factory.mktemp("twice") / "demo")
    two_versions(root)
    return root


def test_every_rule_is_tried_in_order_until_one_drops_the_pair(twice: str) -> None:
    trials = explain(twice, "p1").rules["p1"]

    assert [(one.rule, one.outcome, one.values) for one in trials] == [
        ("tie", "does not apply", {"tie": False}),
        ("low_agreement", "applies", {"agreement": 0.5}),
        ("longest", "not tried", {}),
        ("read", "not tried", {}),
    ]


def test_a_condition_that_could_reach_files_is_not_evaluated(twice: str) -> None:
    trials = explain(twice, "p9").rules["p9"]

    assert [(one.rule, one.outcome) for one in trials[:3]] == [(name, "does not apply") for name in ("tie", "low_agreement", "longest")]
    assert trials[3].outcome == "cannot be told"
    assert "'read_csv'" in str(trials[3].detail)


def test_a_story_tells_what_became_of_it_in_every_version(twice: str) -> None:
    assert [(one.version, one.current, one.id, one.fate) for one in explain(twice, "p1").fates] == [
        ("v000001", False, "p1", "published"),
        ("v000002", True, "p1", "dropped"),
    ]
    records = [one for one in explain(twice, "j9").fates if one.kind == "record"]
    assert [(one.version, one.fate) for one in records] == [("v000001", "absent"), ("v000002", "published")]
    text = render_story(explain(twice, "p1"))
    assert "  v000001  pair p1: published, in train, chosen ra, 2 vote(s), p_chosen 0.5" in text
    assert "  v000002* pair p1: dropped, at rules: low_agreement, chosen ra, 2 vote(s), p_chosen 0.75" in text
    assert "  rule     low_agreement: applies (agreement 0.5) - agreement < 0.65" in text


def test_the_version_that_knows_it_is_told_unless_one_is_named(twice: str) -> None:
    Path(twice, "CURRENT").write_text("v000001\n", encoding="utf-8")
    try:
        assert explain(twice, "p9").version == "v000002"
        assert explain(twice, "p2").version == "v000001"
        with pytest.raises(NotFoundError, match="v000001: nothing is known as 'p9'"):
            explain(twice, "p9", "v000001")
    finally:
        Path(twice, "CURRENT").write_text("v000002\n", encoding="utf-8")


def test_a_response_or_a_prompt_is_told_by_its_pairs(twice: str, rated_root: str) -> None:
    assert {row["pair_id"] for row in explain(twice, "r9").pairs} == {"p9"}
    assert {row["pair_id"] for row in explain(twice, "q9").pairs} == {"p9"}
    assert {row["pair_id"] for row in explain(twice, "ra").pairs} == {"p1", "p2", "p3"}
    assert [row["rating_id"] for row in explain(rated_root, "r-Hm.").ratings] == ["r4", "r4"]


def test_a_version_that_cannot_be_read_has_a_line_of_its_own(twice: str, tmp_path: Path) -> None:
    root = str(shutil.copytree(twice, tmp_path / "demo"))
    next(Path(root, "v000001", "data").iterdir()).unlink()

    first, second = explain(root, "p1").fates

    assert (first.kind, first.fate, second.fate) == ("version", "unreadable", "dropped")
    assert "is missing" in first.told


def test_pairs_that_left_before_the_rules_were_tried_by_none_and_those_not_selected_by_all() -> None:
    near = {**paired("dropped", "near", [], (1, 0, 0), stage="deduplicate", reason="near_duplicate"), "fate": "dropped"}
    capped = {**paired("dropped", "capped", [], (1, 0, 0), stage="select", reason="cap_source"), "fate": "dropped"}
    flagged = {"name": "tie", "kind": "drop_if", "columns": ["tie"], "sql": "tie"}
    shares = {"name": "top", "kind": "drop_top_share", "columns": ["chosen_chars"], "share": "0.5"}

    found = tried([near, capped], [flagged, shares, "tie"], lambda rule: 9.0)

    assert list(found) == ["capped"]
    assert [(one.rule, one.outcome, one.detail) for one in found["capped"]] == [
        ("tie", "does not apply", None),
        ("top", "does not apply", "cut at 9"),
    ]
