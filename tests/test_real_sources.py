"""tests/real/shared.yaml over files that nobody here wrote: what is known about them is found again in the ledger."""

import importlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import WordEncoder

RAW = Path(__file__).resolve().parents[2] / "shared" / "data" / "raw"
CONFIG = Path(__file__).parent / "real" / "shared.yaml"
pytestmark = pytest.mark.skipif(not RAW.is_dir(), reason="../shared/data is not there: the real files do not ship with the repository")


@pytest.fixture(scope="module")
def prefect_server() -> Iterator[None]:
    with tempfile.TemporaryDirectory() as home:
        # Prefect reads its settings once; a home that another test chose before stays.
        os.environ.setdefault("PREFECT_HOME", home)
        importlib.import_module("flows")  # sets the rest of Prefect's settings
        from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
        from prefect.testing.utilities import prefect_test_harness

        if PREFECT_API_URL.value() and "PREFECT_API_URL" not in os.environ:  # other tests' server
            yield
            return
        with prefect_test_harness(server_startup_timeout=120), temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            yield


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> Any:
    """Every row of every source, with an encoder that counts letters."""
    from flows import steps
    from flows.curate import run_flow
    from pipeline import queries

    folder = tmp_path_factory.mktemp("real")
    text = CONFIG.read_text(encoding="utf-8").replace("../../../shared", str(RAW.parents[1])).replace("../../workspace", "workspace")
    (folder / "shared.yaml").write_text(text, encoding="utf-8")
    letters = WordEncoder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "encoder", lambda embed: letters)
        outcome = run_flow(str(folder / "shared.yaml"))
    return queries.open_version(outcome.dataset_root)


def fates(curated: Any, source: str) -> dict[str, int]:
    """Records of a source by fate, dropped and quarantined ones by reason."""
    rows = curated.query("select source, fate, reason, count(*) as n from ledger group by all").to_pylist()
    return {row["fate"] if row["fate"] in ("published", "merged") else row["reason"]: row["n"] for row in rows if row["source"] == source}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("hh_rlhf", {"published": 2307, "empty_answer": 4, "unreadable_text": 1}),
        ("llmfao", {"published": 5323, "merged": 309, "empty_answer": 1170, "tie": 2129}),
        ("llmfao_judges", {"published": 2391, "merged": 517, "empty_answer": 375, "tie": 995}),
        ("pandalm", {"published": 2312, "merged": 394, "empty_answer": 72, "tie": 201, "wrong_type": 6}),
        ("pandalm_gpt", {"published": 791, "merged": 80, "empty_answer": 30, "tie": 68, "wrong_type": 6, "no_verdict": 24}),
        ("pandalm_7b", {"published": 796, "merged": 99, "empty_answer": 29, "tie": 69, "wrong_type": 6}),
        ("ukp_convarg1", {"published": 51085, "tie": 11938, "identical_answers": 75}),
        ("ukp_ranking", {"published": 44, "not_selected": 712}),
        ("squality", {"unknown_layout": 20}),
        ("fine_grained_rlhf", {"published": 2616, "tie": 384}),
        ("llama_factory", {"published": 596, "merged": 16, "not_selected": 294, "tie": 4}),
        ("medicalgpt_dpo_zh", {"published": 477, "merged": 23}),
        ("alpaca_eval", {"published": 6379, "merged": 830, "empty_answer": 2, "identical_answers": 32, "missing_field": 2}),
        ("llmbar", {"published": 732, "merged": 2}),
    ],
)
def test_every_record_has_the_fate_that_its_source_lets_expect(curated: Any, source: str, told: dict[str, int]) -> None:
    assert fates(curated, source) == told


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
        "where fate = 'merged' and source in ('llama_factory', 'medicalgpt_dpo_zh') group by all"
    )
    told = {row["file"]: row["n"] for row in rows.to_pylist()}
    assert told == {"dpo_en_demo.json.gz": 5, "dpo_zh_demo.json.gz": 11, "dpo_zh_500.jsonl.gz": 23}
    both = curated.query("select count(*) as n from pairs where len(list_intersect(sources, ['llama_factory', 'medicalgpt_dpo_zh'])) = 2")
    assert both.to_pylist() == [{"n": 23}]


def test_twin_files_with_opposite_labels_keep_both(curated: Any) -> None:
    rows = curated.query("select count(*) as n from dropped where list_contains(sources, 'llmbar')")
    assert rows.to_pylist() == [{"n": 0}]


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
