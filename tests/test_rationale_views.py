"""What a small version says of its rationales and of the models that were asked."""

from typing import Any

import pytest
from scipy.stats import binomtest

from pipeline.queries import PARTS, Catalogue, open_version
from pipeline.stories import explain, render_story
from tests.versions import fated, judged, paired, publish, row, sample

LONG = "The rejected response is right. " * 20


def written(rationale_id: str, pair_id: str, kind: str = "detailed", **given: Any) -> dict[str, Any]:
    given = {"generator": "gpt", "accepted": True, **given}
    return row(PARTS["rationales"][1], rationale_id=rationale_id, pair_id=pair_id, prompt_id=f"q-{pair_id}", kind=kind, **given)


def read(first: str | None, second: str | None, leaks: bool | None = None) -> dict[str, Any]:
    return {"recovered_first": first, "recovered_second": second, "leaks_label": leaks}


def of_judge(statistic: str, value: float | None, n: int, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    about = {"subject_kind": "judge", "subject": "panel (gpt)", "value": value, "low": low, "high": high, "n": n}
    return row(PARTS["statistics"][1], statistic=statistic, **about)


def sample_with_rationales() -> dict[str, list[dict[str, Any]]]:
    """The sample, with p1 explained by a model and by two people, p2 refused twice and argued against, and p3 (a tie) refused."""
    rows = sample()
    asked = {"template": "rationale-detailed-1", "label_shown": True, "shown_first": "rejected"}
    cost = {"input_tokens": 100, "output_tokens": 20, "cost": 0.5, **asked}
    against = {"rationale_against": True, "rationale_verdict": 0.0, "noise_score": 0.5, "rationale_noise_score": 0.9}
    rows["validation"] = [paired("validation", "p2", ["j3"], (1, 0, 0), **against)]
    rows["rationales"] = [
        written("r1", "p1", text="The chosen response greets.\nIt is kind.", near_copies=2, **read("chosen", "chosen", True), **cost),
        written("r2", "p2", text="Hm.", accepted=False, reason="too_short", detail="3 characters", **cost),
        written("r3", "p2", text=LONG, accepted=False, reason="verdict_not_recovered", **read("rejected", "rejected", False), **cost),
        written("r4", "p3", text="x", accepted=False, reason="too_short", **read("chosen", "rejected", False), **cost),
        written("r5", "p1", "general", text="y", own_verdict="chosen", items='{"a": 1}', precision=0.75, **cost | {"label_shown": False}),
        written("r6", "p1", "stated", generator="ann", text="It is kind."),
        written("r7", "p1", "stated", generator="bob", text="No.", accepted=False, reason="other_verdict", own_verdict="rejected"),
    ]
    asks = {"annotator_id": "panel (gpt)", "annotator_kind": "judge", "source": "judge:panel", "source_uri": "llm:local/gpt"}
    rows["judgements"] += [
        {**judged("j8", "p1", 0, "b", shown_first="a", rationale="Response B is short."), **asks},
        {**judged("j9", "p2", 1, "tie"), **asks},
    ]
    rows["annotators"] = [
        row(PARTS["annotators"][1], annotator_id="panel (gpt)", annotator_kind="judge", votes=2, reason="too few gold pairs")
    ]
    rows["statistics"] += [
        of_judge("judge_answered", 0.75, 80, 0.65, 0.83),
        of_judge("judge_first_share", 0.625, 40, 0.5, 0.75),
        of_judge("judge_consistent_share", 0.5, 20, 0.3, 0.7),
        of_judge("judge_self_consistency", None, 0),
        of_judge("judge_key_wins", 0.1, 10, 0.0, 0.4),
        of_judge("judge_failed:cut_off", 5.0, 80),
        of_judge("judge_failed:not_json", 15.0, 80),
        of_judge("judge_cost", 3.0, 80),
        of_judge("judge_input_tokens", 8000.0, 80),
        of_judge("judge_output_tokens", 800.0, 80),
        {**of_judge("judge_key_wins", 1.0, 1), "subject_kind": "judge_key", "subject": "panel (gpt) ':'"},
    ]
    return rows


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = str(tmp_path_factory.mktemp("rationales"))
    publish(root, sample_with_rationales())
    return root


@pytest.fixture(scope="module")
def explained(place: str) -> Catalogue:
    return open_version(place)


def wilson(hits: int, trials: int) -> tuple[Any, Any]:
    found = binomtest(hits, trials).proportion_ci(method="wilson")
    return pytest.approx(found.low, abs=1e-9), pytest.approx(found.high, abs=1e-9)


FACTS: dict[str, list[tuple[Any, ...]]] = {
    "rationale_coverage": [
        ("detailed", 3, 1, 1 / 3, *wilson(1, 3), 1, 0.5),
        ("general", 1, 1, 1.0, *wilson(1, 1), 1, 0.5),
        ("stated", 1, 1, 1.0, *wilson(1, 1), 1, 0.5),
    ],
    "rationale_reasons": [
        ("detailed", "gpt", "too_short", 2, 0.5, "p2", "3 characters"),
        ("detailed", "gpt", "verdict_not_recovered", 1, 0.25, "p2", None),
        ("stated", "stated", "other_verdict", 1, 0.5, "p1", None),
    ],
    "rationale_recovery": [
        ("detailed", "gpt", 3, 1 / 3, *wilson(1, 3), 2 / 3, 1 / 3, 0, None, 1 / 3),
        ("general", "gpt", 0, None, None, None, None, None, 1, 1.0, None),
    ],
    "rationales_against": [("p2", True, 0.75, 0.5, 0.9, 0.0, "detailed", "gpt", LONG[:300] + " ...", ["arena"])],
    "judge_behaviour": [
        ("panel (gpt)", 80, 0.75, 0.625, 0.5, 0.75, 0.5, 0.3, 0.7, None, None, None, 0.1, 0.0, 0.4, None, "not_json 15, cut_off 5"),
    ],
    "llm_cost": [
        ("judge", "panel (gpt)", 80, 60, 8000, 800, 3.0, 0.05),
        ("rationale-detailed-1", "gpt", 5, 2, 500, 100, 2.5, 1.25),
    ],
}  # fmt: skip


@pytest.mark.parametrize("view", FACTS)
def test_a_view_tells_of_rationales_and_of_models_that_were_asked(explained: Catalogue, view: str) -> None:
    assert [tuple(r.values()) for r in explained.query(view).to_pylist()] == FACTS[view]


def test_a_version_without_rationales_has_nothing_to_tell(root: str) -> None:
    catalogue = open_version(root)
    assert {view: catalogue.query(view).num_rows for view in FACTS} == dict.fromkeys(FACTS, 0)


def test_a_rendered_pair_shows_its_rationales_what_became_of_them_and_what_readers_say(place: str) -> None:
    text = render_story(explain(place, "p1"))
    for fact in (
        "rationale r1\n  kind     detailed, by gpt\n  fate     accepted\n",
        "  writer   told which answer was preferred, saw the rejected answer first\n",
        "  readers  from the rationale alone: the chosen answer with the chosen answer shown first, the chosen answer with it second\n",
        "  leaks    names the better answer outright\n",
        "  copies   says the same of 2 other prompts\n",
        "  cost     100 tokens read, 20 written, 0.5 paid, template rationale-detailed-1\n",
        "  text     The chosen response greets.\n           It is kind.\n",
        "  writer   not told which answer was preferred, saw the rejected answer first, prefers the chosen answer\n",
        "  checked  precision 0.75\n",
        '  items    {"a": 1}\n',
        "rationale r6\n  kind     stated, by ann\n  fate     accepted\n  text     It is kind.\n",
        "  fate     not accepted: other_verdict\n",
    ):
        assert fact in text + "\n"
    refused = render_story(explain(place, "p2"))
    assert "fate     not accepted: too_short - 3 characters" in refused
    assert "rationale alone: the rejected answer with the chosen answer shown first, the rejected answer with it second" in refused


def test_a_pairs_story_has_the_verdicts_that_judges_were_asked_for(place: str) -> None:
    story = explain(place, "p1")
    assert [r["judgement_id"] for r in story.judgements] == ["j1", "j1", "j2", "j8"]
    text = render_story(story)
    assert (
        "judgement j8\n  verdict  B is better, the rejected answer\n  shown    A first\n  by       judge panel (gpt), criterion overall\n"
        in text
    )
    assert "  rationale Response B is short." in text
    assert "not admitted: too few gold pairs" in text
    assert [r["judgement_id"] for r in explain(place, "p2").judgements] == ["j3", "j9"]


def test_a_judges_verdict_on_a_merged_pair_stands_with_the_pair_that_counts_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    rows = sample_with_rationales()
    rows["judgements"][-1] |= {"pair_id": "p9", "merged_into": "p2", "merged_a": "ra"}
    rows["ledger"].append(fated("other", 9, "dropped", "tie"))
    root = str(tmp_path_factory.mktemp("merged"))
    publish(root, rows)
    assert [r["judgement_id"] for r in explain(root, "p2").judgements] == ["j3", "j9"]
