"""tests/real/shared.yaml over files that nobody here wrote: what is known about them is found again in the ledger."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import WordEncoder

RAW = Path(__file__).resolve().parents[2] / "shared" / "data" / "raw"
CONFIG = Path(__file__).parent / "real" / "shared.yaml"
pytestmark = pytest.mark.skipif(not RAW.is_dir(), reason="../shared/data is not there: the real files do not ship with the repository")


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> Any:
    """Every row of every source, with an encoder that tells texts apart by their words."""
    from flows import steps
    from flows.curate import run_flow
    from pipeline import queries

    folder = tmp_path_factory.mktemp("real")
    text = CONFIG.read_text(encoding="utf-8").replace("../../../shared", str(RAW.parents[1])).replace("../../workspace", "workspace")
    # With votes merely counted, by whomever they are, the files alone say what is a tie.
    (folder / "shared.yaml").write_text(f"{text}\nconsensus: {{method: majority, judges: all}}\n", encoding="utf-8")
    letters = WordEncoder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "encoder", lambda embed: letters)
        outcome = run_flow(str(folder / "shared.yaml"))
    return queries.open_version(outcome.dataset_root)


def fates(curated: Any, source: str) -> dict[tuple[str, str], int]:
    """Records of a source by fate and reason."""
    rows = curated.query("select source, fate, reason, count(*) as n from ledger group by all").to_pylist()
    return {(row["fate"], row["reason"]): row["n"] for row in rows if row["source"] == source}


# Each record has one fate, and each of these reasons belongs to one. Copies are equal votes of one annotator; a near duplicate's vote
# counts in the pair that it repeats, or leaves with it.
FATES = {
    "published": "published",
    **dict.fromkeys(("copy", "near_duplicate"), "merged"),
    **dict.fromkeys(("empty_answer", "identical_answers", "not_selected", "tie", "unreadable_text"), "dropped"),
    **dict.fromkeys(("missing_field", "no_verdict", "unknown_layout", "wrong_type"), "quarantined"),
}


@pytest.mark.parametrize(
    ("source", "records", "told"),
    [
        ("hh_rlhf", 2312, {"published": 2307, "empty_answer": 4, "unreadable_text": 1}),
        ("llmfao", 8931, {"published": 4974, "copy": 309, "near_duplicate": 350, "empty_answer": 1170, "tie": 2128}),
        ("llmfao_judges", 4278, {"published": 2277, "copy": 517, "near_duplicate": 116, "empty_answer": 375, "tie": 993}),
        ("pandalm", 2985, {"published": 2213, "copy": 394, "near_duplicate": 102, "empty_answer": 72, "tie": 198, "wrong_type": 6}),
        (
            "pandalm_gpt", 999,
            {"published": 757, "copy": 80, "near_duplicate": 36, "empty_answer": 30, "no_verdict": 24, "tie": 66, "wrong_type": 6},
        ),
        ("pandalm_7b", 999, {"published": 761, "copy": 99, "near_duplicate": 36, "empty_answer": 29, "tie": 68, "wrong_type": 6}),
        ("ukp_convarg1", 63098, {"published": 51085, "identical_answers": 75, "tie": 11938}),
        ("ukp_ranking", 756, {"published": 42, "not_selected": 712, "tie": 2}),
        ("squality", 20, {"unknown_layout": 20}),
        ("fine_grained_rlhf", 3000, {"published": 2521, "near_duplicate": 99, "tie": 380}),
        ("llama_factory", 910, {"published": 595, "copy": 16, "near_duplicate": 1, "not_selected": 294, "tie": 4}),
        ("medicalgpt_dpo_zh", 500, {"published": 477, "copy": 23}),
        (
            "alpaca_eval", 7245,
            {"published": 6366, "copy": 830, "near_duplicate": 13, "empty_answer": 2, "identical_answers": 32, "missing_field": 2},
        ),
        ("llmbar", 734, {"published": 732, "copy": 2}),
    ],
)  # fmt: skip
def test_every_record_has_the_fate_that_its_source_lets_expect(curated: Any, source: str, records: int, told: dict[str, int]) -> None:
    assert fates(curated, source) == {(FATES[reason], reason): n for reason, n in told.items()}
    assert sum(told.values()) == records


def test_every_row_is_accounted_for_as_a_second_reader_counts_them(curated: Any) -> None:
    rows = curated.query(
        "select i.source_uri, i.rows_counted, count(distinct l.source_row) as lines from inputs as i "
        "join ledger as l using (source, source_uri) where i.role = 'records' group by all"
    ).to_pylist()
    assert len(rows) == 56
    assert [row for row in rows if row["rows_counted"] != row["lines"]] == []


def test_three_encodings_of_a_tie_are_one_thing(curated: Any) -> None:
    rows = curated.query("select source, count(*) as n from judgements where outcome = 'tie' group by all").to_pylist()
    ties = {row["source"]: row["n"] for row in rows}
    assert (ties["pandalm"], ties["pandalm_gpt"], ties["pandalm_7b"]) == (322, 38, 102)
    assert ties["llmfao"] == 3471  # 38.9 % of 8,931
    assert ties["fine_grained_rlhf"] == 384  # 12.8 % of 3,000
    assert ties["ukp_convarg1"] == 14713  # 23.3 % of 63,098
    assert ties["alpaca_eval"] == 50  # 0 in one version of the format, 1.5 in another


def test_the_same_file_under_two_names_counts_once(curated: Any) -> None:
    rows = curated.query(
        "select fate, count(*) as n from ledger where source = 'alpaca_eval' and contains(source_uri, '/falcon-7b-instruct/') group by all"
    )
    assert rows.to_pylist() == [{"fate": "merged", "n": 805}]


def test_copies_inside_a_file_and_across_two_sources_are_merged(curated: Any) -> None:
    rows = curated.query(
        "select regexp_extract(source_uri, '[^/]*$') as file, count(*) as n from ledger "
        "where fate = 'merged' and reason = 'copy' and source in ('llama_factory', 'medicalgpt_dpo_zh') group by all"
    )
    told = {row["file"]: row["n"] for row in rows.to_pylist()}
    assert told == {"dpo_en_demo.json.gz": 5, "dpo_zh_demo.json.gz": 11, "dpo_zh_500.jsonl.gz": 23}
    both = curated.query("select count(*) as n from pairs where len(list_intersect(sources, ['llama_factory', 'medicalgpt_dpo_zh'])) = 2")
    assert both.to_pylist() == [{"n": 23}]


def test_twin_files_with_opposite_labels_keep_both(curated: Any) -> None:
    rows = curated.query("select count(*) as n from dropped where list_contains(sources, 'llmbar')")
    assert rows.to_pylist() == [{"n": 0}]


@pytest.mark.parametrize(("one", "other", "equal"), [("Normal", "Negation", 59), ("Base_9", "Base_10", 0)])
def test_twins_with_opposite_labels_are_two_pairs(one: str, other: str, equal: int, curated: Any) -> None:
    """Equal but for the instruction ("in an unhelpful way"), or but for the base of a sum."""
    place = RAW / "llmbar" / "CaseStudy"
    twins = list(zip(*(json.loads((place / name / "dataset.json").read_text(encoding="utf-8")) for name in (one, other)), strict=True))
    assert sum((a["output_1"], a["output_2"]) == (b["output_1"], b["output_2"]) for a, b in twins) == equal
    assert all(a["label"] != b["label"] for a, b in twins)

    rows = curated.query("select source_uri, source_row, reason, pair_id from ledger where source = 'llmbar'").to_pylist()
    assert {row["reason"] for row in rows} == {"published", "copy"}
    pair_of = {(row["source_uri"].split("/")[-2], row["source_row"]): row["pair_id"] for row in rows}
    both = [(pair_of[one, number], pair_of[other, number]) for number in range(len(twins))]
    assert [pair_id for pair_id, its in both if pair_id == its] == []
    published = curated.query("select pair_id from pairs")["pair_id"].to_pylist()
    assert {pair_id for two in both for pair_id in two} <= set(published)


def test_what_is_merged_as_a_near_duplicate_asks_the_same(curated: Any) -> None:
    rows = curated.query(
        "with every as (select pair_id, prompt from pairs union all select pair_id, prompt from dropped) "
        "select [m.content for m in mine.prompt] as mine, [m.content for m in witness.prompt] as witness "
        "from dropped as mine join every as witness on mine.witness_pair_id = witness.pair_id where mine.reason = 'near_duplicate'"
    ).to_pylist()
    differing = [row for row in rows if row["mine"] != row["witness"]]
    words = [[re.findall(r"\w+", " ".join(row[end]).lower().replace("_", " ")) for end in ("mine", "witness")] for row in differing]
    # One debate under its title and under the name of its file: there is nothing else.
    assert len(rows) == 233
    assert len(differing) == 1
    assert [sorted(one) for one, other in words] == [sorted(other) for one, other in words]


def test_equal_arguments_under_two_ids_are_seen(curated: Any) -> None:
    rows = curated.query("select count(*) as n from dropped where reason = 'identical_answers' and list_contains(sources, 'ukp_convarg1')")
    assert rows.to_pylist() == [{"n": 13}]  # of 15 rows: two of them twice


def test_prompts_that_cannot_be_rebuilt_are_the_reason_of_the_refusal(curated: Any) -> None:
    rows = curated.query("select distinct detail from ledger where source = 'squality'").to_pylist()
    assert len(rows) == 1
    assert "the prompts cannot be rebuilt" in rows[0]["detail"]


def test_texts_that_no_vote_refers_to_are_counted(curated: Any) -> None:
    rows = curated.query("select source, regexp_extract(source_uri, '[^/]*$') as file, unused_rows as n from inputs where role = 'joined'")
    unused = {(row["source"], row["file"]): row["n"] for row in rows.to_pylist()}
    assert unused == {
        ("llmfao", "pairs-crowd.jsonl.gz"): 0,
        ("llmfao_judges", "pairs-crowd.jsonl.gz"): 0,
        ("llmfao_judges", "prompts.jsonl"): 6,
        ("pandalm_gpt", "testset-v1.json.gz"): 0,
        ("pandalm_7b", "testset-v1.json.gz"): 0,
    }


def test_written_reasons_come_along(curated: Any) -> None:
    rows = curated.query("select source, count(rationale) as n from judgements group by all").to_pylist()
    reasons = {row["source"]: row["n"] for row in rows if row["n"]}
    assert reasons == {"alpaca_eval": 804, "pandalm_7b": 993, "pandalm_gpt": 956, "ukp_convarg1": 63098}
