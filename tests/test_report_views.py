"""The views that were made for the report, on a version written out row by row."""

from typing import Any

import pytest
from scipy.stats import binomtest, norm

from pipeline.queries import PARTS, open_version, run_views
from pipeline.schemas import ANNOTATOR, RATIONALE
from tests.versions import fated, paired, publish, row, said, sample_with_merges

LONG = "y" * 1300


def explained(rationale_id: str, pair_id: str, accepted: bool, **given: Any) -> dict[str, Any]:
    about = {"kind": "general", "generator": "gpt", "text": f"text of {rationale_id}", "prompt_id": "q"}
    return row(RATIONALE, rationale_id=rationale_id, pair_id=pair_id, accepted=accepted, **{**about, **given})


def voter(n: int, votes: int, accuracy: float | None) -> dict[str, Any]:
    ends = {} if accuracy is None else {"accuracy": accuracy, "accuracy_low": accuracy - 0.1, "accuracy_high": accuracy + 0.1}
    return row(ANNOTATOR, annotator_id=f"a{n:02}", annotator_kind="human", votes=votes, admitted=True, **ends)


def rows() -> dict[str, list[dict[str, Any]]]:
    """Five published pairs in three clusters, six dropped ones (four merged), an unpaired record, thirty annotators, rationales."""
    rows = sample_with_merges()
    (first,), (second,) = rows["train"], rows["validation"]
    first |= {"tokens_gap": 0, "chars_gap": 10, "weight": 1.0, "noise_score": 0.5, "ches_encoder_ln": 2.0}
    second |= {
        "tokens_gap": 24,
        "chars_gap": -2,
        "weight": 1.0,
        "prompt": [*said("user", "Hi?"), *said("user", LONG)],
        "ches_encoder_ln": 4.0,
    }
    big = {"prompt_cluster_id": "big", "weight": 1.0, "tokens_gap": 1, "chars_gap": 0}
    rows["train"] += [
        paired("train", f"p{n}", [], (2, 0, 0), sources=["crowd"] if n == 70 else ["arena", "crowd"], **big) for n in (70, 71, 72)
    ]
    merged = {"stage": "deduplicate", "reason": "near_duplicate", "threshold": 0.95, "detail": "cosine", "witness_pair_id": "p2"}
    rows["dropped"] += [paired("dropped", name, [], (1, 0, 0), score=score, **merged) for name, score in (("p8", 0.99), ("p9", 0.96))]
    rows["dropped"] += [paired("dropped", "p4", [], (1, 1, 0), conflict=True, stage="rules", reason="tie", chars_gap=-8, tokens_gap=24)]
    rows["ledger"] += [fated("j9", 9, "dropped", "not_selected", stage="pair_up"), fated("j9", 10, "merged", "copy", stage="pair_up")]
    rows["annotators"] = [voter(n, 100 - n, 0.9 if n < 20 else 0.3 + n / 100) for n in range(28)] + [voter(29, 1, None)]
    rows["rationales"] = [explained(f"r{n}", "p1", True) for n in range(4)]
    rows["rationales"] += [explained(f"s{n}", "p3", False, reason="leaks", detail="says so", text=LONG) for n in range(3)]
    rows["rationales"] += [explained("t", "p1", False, reason="no_answer", text=None), explained("u", "elsewhere", False, reason="gone")]
    return rows


VIEWS = (
    "record_exits", "rule_effects", "rule_examples", "near_duplicate_examples", "annotator_extremes", "rationale_examples",
    "conflicts_by_source", "cluster_size_bands", "signal_histograms",
)  # fmt: skip
Answers = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Every view on the version above, asked once."""
    place = str(tmp_path_factory.mktemp("reported"))
    publish(place, rows())
    return run_views(open_version(place).tables, list(VIEWS))


def told(asked: Answers, view: str, *columns: str) -> list[tuple[Any, ...]]:
    return [tuple(found[name] for name in columns or found) for found in asked[view]]


def wilson(hits: int, trials: int) -> tuple[Any, Any, Any]:
    found = binomtest(hits, trials).proportion_ci(method="wilson")
    return tuple(pytest.approx(value, abs=1e-9) for value in (hits / trials, found.low, found.high))


def test_every_record_took_one_way(asked: Answers) -> None:
    assert told(asked, "record_exits") == [
        ("arena", "copy", "copy", 2),
        ("arena", "paired", None, 7),
        ("arena", "quarantined", "unparsable_row", 1),
        ("arena", "unpaired", "not_selected", 1),
    ]
    assert sum(n for *_, n in told(asked, "record_exits")) == len(rows()["ledger"])


def test_a_rule_is_compared_with_the_published_pairs(asked: Answers) -> None:
    columns = ("stage", "reason", "pair_count", "top_source", "top_source_share", "chars_gap_mean", "gap_difference", "differs")
    assert told(asked, "rule_effects", *columns) == [
        (None, "published", 5, "arena", 0.8, 1.6, None, None),
        ("deduplicate", "near_duplicate", 4, "arena", 1.0, 3.0, pytest.approx(1.4), False),
        ("rules", "tie", 2, "arena", 1.0, -2.5, pytest.approx(-4.1), False),
    ]
    shares = told(asked, "rule_effects", "longer_chosen_share", "longer_chosen_low", "longer_chosen_high")
    assert shares == [wilson(1, 2), wilson(4, 4), wilson(1, 2)]
    published, ties = [10, -2, 0, 0, 0], [3, -8]
    variance = sum(sum((x - sum(of) / len(of)) ** 2 for x in of) / (len(of) - 1) / len(of) for of in (published, ties))
    low, high = norm.interval(0.95, loc=-4.1, scale=variance**0.5)
    assert told(asked, "rule_effects", "gap_difference_low", "gap_difference_high")[2] == (pytest.approx(low), pytest.approx(high))
    assert told(asked, "rule_effects", "ches_name", "ches_p50", "noise_mean")[0] == ("ches_encoder_ln", 2.0, 0.5)


def test_every_reason_has_pairs_to_read(asked: Answers) -> None:
    columns = ("stage", "reason", "place", "of_count", "pair_id", "votes_chosen", "votes_rejected", "votes_tie")
    assert told(asked, "rule_examples", *columns) == [
        (None, "published", 1, 5, "p1", 1, 1, 0),
        (None, "published", 2, 5, "p2", 3, 0, 0),
        (None, "published", 3, 5, "p70", 2, 0, 0),
        ("rules", "tie", 1, 2, "p3", 0, 0, 2),
        ("rules", "tie", 2, 2, "p4", 1, 1, 0),
    ]
    assert told(asked, "rule_examples", "prompt")[1] == (LONG[:1200] + " ...",)
    assert told(asked, "rule_examples", "chosen", "rejected", "detail")[3] == ("Hello!", "No.", "p_tie 0.5")


def test_merges_to_read_are_the_least_close_and_others(asked: Answers) -> None:
    columns = ("kind", "merged_count", "pair_id", "witness_pair_id", "score", "chosen", "witness_rejected")
    assert told(asked, "near_duplicate_examples", *columns) == [
        ("least close", 4, "p9", "p2", 0.96, "Hello!", "No."),
        ("least close", 4, "p5", "p2", 0.97, "Hello!", "No."),
        ("least close", 4, "p6", "p3", 0.97, "Hello!", "No."),
        ("sample", 4, "p8", "p2", 0.99, "Hello!", "No."),
    ]


def test_annotators_shown_are_those_with_most_votes_and_those_who_look_worst(asked: Answers) -> None:
    found = told(asked, "annotator_extremes", "kind", "annotator_count", "annotator_id", "votes")
    assert found[:12] == [("most votes", 29, f"a{n:02}", 100 - n) for n in range(12)]
    assert [name for _, _, name, _ in found[12:]] == [f"a{n}" for n in (20, 21, 22, 23, 24, 25, 26, 27, 12, 13, 14, 15)]
    assert {kind for kind, *_ in found[12:]} == {"lowest"}


def test_rationales_to_read_are_two_accepted_of_a_kind_and_one_for_each_refusal(asked: Answers) -> None:
    assert told(asked, "rationale_examples") == [
        ("general", True, None, None, "gpt", "text of r0", "p1", "Hi?", "Hello!", "No."),
        ("general", True, None, None, "gpt", "text of r1", "p1", "Hi?", "Hello!", "No."),
        ("general", False, "leaks", "says so", "gpt", LONG[:1200] + " ...", "p3", "Hi?", "Hello!", "No."),
    ]


def test_conflicts_and_ties_are_counted_by_source(asked: Answers) -> None:
    assert told(asked, "conflicts_by_source") == [
        ("arena", 6, 6, 2, *wilson(2, 6), 1, *wilson(1, 6), 1),
        ("crowd", 3, 3, 0, *wilson(0, 3), 0, *wilson(0, 3), 0),
    ]


def test_clusters_are_counted_in_bands_of_sizes(asked: Answers) -> None:
    assert told(asked, "cluster_size_bands") == [
        (1, 1, 2, 2, 0.4, "cluster-p2"),
        (3, 4, 1, 3, 0.6, "big"),
    ]


def test_a_histogram_counts_every_pair_once_and_splits_published_from_dropped(asked: Answers) -> None:
    found = [row[1:] for row in told(asked, "signal_histograms") if row[0] == "tokens_gap"]
    assert found == [(0, 0.0, 1.0, 1, 1), (1, 1.0, 2.0, 3, 0), (23, 23.0, 24.0, 1, 1)]
    weights = [row[1:] for row in told(asked, "signal_histograms") if row[0] == "weight"]
    assert weights == [(0, 1.0, 1.0, 5, 2)]


def test_the_views_are_empty_where_a_version_is() -> None:
    nothing = {part: schema.empty_table() for part, (_, schema) in PARTS.items()}
    assert run_views({**nothing, "pairs": PARTS["train"][1].empty_table()}, list(VIEWS)) == {view: [] for view in VIEWS}
