"""What a version tells of one record, rating, pair or row."""


import pytest

from pipeline.errors import NotFoundError
from pipeline.stories import explain, render_story
from tests.versions import FILE


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
