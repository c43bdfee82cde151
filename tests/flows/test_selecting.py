"""Whole runs that select: what leaves is explained, counted and measured, and partitions change nothing.

The model is a stand-in that tells texts apart by their words.
"""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from pipeline import queries
from tests.flows.asked import words
from tests.flows.test_promises import Row
from tests.flows.test_voting import Case, Published

pytestmark = pytest.mark.usefixtures("encoder")

PROMPTS = 40


def votes() -> list[Row]:
    """Two named people and nobody on three answers to each prompt, about rivers or about lamps."""
    return [
        {
            "prompt": f"{('river ' if n % 4 else 'lamp ') * 6}{words(n, 2)}?",
            "response_a": f"Well: {words(1000 + 10 * n + m, 12)}.",
            "response_b": f"No: {words(5000 + 10 * n + m, 8)}!",
            "winner": "a",
            "annotator": ("ann", "bob", None)[n % 3],
        }
        for n in range(PROMPTS)
        for m in range(3)
    ]


@pytest.fixture(scope="module")
def given() -> Case:
    selection: Row = {
        "seed": 7,
        "caps": {"prompt_cluster": 2, "annotator": 20},
        "sample": {"by": "p_soft", "share": 0.4, "spread": 0.5},
        "mixture": {"by": "topic", "weights": "equal"},
        "topics": 2,
        "vendi_sample": 30,
    }
    weights = {"per_prompt": True, "semantic": 5.0, "curriculum": {"easiness": "agreement", "progress": 0.5}}
    settings: Row = {"partitions": 1, "selection": selection, "weights": weights, "publish": {"split_by": "equal_prompts"}}
    settings["content"] = {"language": False, "personal": False}  # the slow ones
    return Case({"people.jsonl": votes()}, [{"name": "people", "uri": "people.jsonl"}], settings)


@pytest.fixture(scope="module")
def selected(given: Case, tmp_path_factory: pytest.TempPathFactory) -> Published:
    return given.run(tmp_path_factory.mktemp("selected"))


def test_caps_hold_and_the_draw_follows(selected: Published) -> None:
    kept, dropped = selected.table("data"), selected.table("dropped").filter(pl.col("stage") == "select")
    reasons = dict(dropped["reason"].value_counts().iter_rows())

    # Two people judged 28 and 26 of the pairs that clusters leave, and may have 20 each; nobody judged 26.
    assert reasons["cap_prompt_cluster"] + reasons["cap_annotator"] == 120 - 66
    assert reasons["cap_annotator"] >= 14
    assert kept.height == 26 == 3 * PROMPTS - sum(reasons.values())
    assert kept["prompt_cluster_id"].value_counts()["count"].max() <= 2
    assert dropped.filter(pl.col("detail").is_null() | pl.col("threshold").is_null() | (pl.col("score") > pl.col("threshold"))).is_empty()


def test_topics_have_equal_parts_and_both_shares_are_told(selected: Published) -> None:
    catalogue = queries.open_version(selected.outcome.dataset_root, selected.outcome.version)
    mixture = catalogue.query("selection_mixture").to_pylist()

    assert [(row["group_name"], row["pairs_before"], row["share_requested"]) for row in mixture] == [
        ("topic-00", 90, 0.5),
        ("topic-01", 30, 0.5),
    ]
    assert [row["pairs_after"] for row in mixture] == [13, 13]
    topics = selected.table("data").select(pl.col("prompt").list.first().struct.field("content").str.starts_with("lamp")).to_series()
    assert topics.sum() == 13


def test_diversity_is_measured_at_each_stage_on_as_many_texts(selected: Published) -> None:
    catalogue = queries.open_version(selected.outcome.dataset_root, selected.outcome.version)
    rows = catalogue.query("selection_diversity").to_pylist()

    assert [row["stage"] for row in rows] == ["before rules", "before selection", "after selection"] * 2
    assert {row["sampled_count"] for row in rows} == {26}
    assert all(1 <= row["vendi_qinf"] <= row["vendi_q1"] <= row["vendi_q0_1"] <= 26 for row in rows)
    lamps = [row["vendi_qinf"] for row in rows if row["texts"] == "prompts"]
    assert lamps[2] > lamps[1]  # topics in equal parts are more diverse than three of one to one of the other


def test_the_funnel_the_ledger_and_the_manifest_tell_of_it(selected: Published) -> None:
    lines = {line["stage"]: line for line in selected.outcome.counts}
    ledger = selected.table("ledger").filter(pl.col("stage") == "select")

    assert (lines["select: caps (pairs)"]["rows_in"], lines["select: caps (pairs)"]["kept"]) == (120, 66)
    assert set(lines["select: caps (pairs)"]["reasons"]) == {"cap_prompt_cluster", "cap_annotator"}
    assert (lines["select: draw (pairs)"]["rows_in"], lines["select: draw (pairs)"]["kept"]) == (66, 26)
    assert lines["publish (pairs)"]["rows_in"] == 26
    assert ledger.height == 120 - 26
    assert set(ledger["fate"]) == {"dropped"}
    assert selected.manifest()["seeds"]["selection"] == 7


def test_weights_are_1_on_average_and_prompts_count_alike(selected: Published) -> None:
    kept = selected.table("data")
    assert kept["weight"].mean() == pytest.approx(1.0, abs=1e-6)
    alone = kept.with_columns(n=pl.len().over("prompt_id")).group_by("n").agg(pl.col("weight").mean()).sort("n")
    assert alone["weight"].to_list() == sorted(alone["weight"], reverse=True)


def test_partitions_change_nothing(given: Case, selected: Published, tmp_path: Path) -> None:
    again = replace(given, settings={**given.settings, "partitions": 3}).run(tmp_path)
    assert again.manifest()["content_sha256"] == selected.manifest()["content_sha256"]
