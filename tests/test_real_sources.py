"""Curate files that nobody here wrote, when the shared data lies beside the checkout."""

import importlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fakes import LetterEncoder

RAW = Path(__file__).resolve().parents[2] / "shared" / "data" / "raw"
UKP_FIELDS = {"prompt": ["title", "stance"], "response_a": "argument_1.text", "response_b": "argument_2.text"}
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
    """The four sources, at most 300 rows of each file, with an encoder that counts letters."""
    from flows import steps
    from flows.curate import run_flow
    from pipeline import queries

    folder = tmp_path_factory.mktemp("real")
    sources: list[dict[str, Any]] = [
        {"name": "hh_rlhf", "uri": str(RAW / "hh_rlhf")},
        {"name": "pandalm", "uri": str(RAW / "pandalm" / "testset-v1.json.gz")},
        {"name": "llmbar", "uri": str(RAW / "llmbar")},
        {"name": "ukp_convarg1", "uri": str(RAW / "ukp_convarg1" / "pairs.jsonl.gz"), "fields": UKP_FIELDS},
    ]
    (folder / "prefine.yaml").write_text(yaml.safe_dump({"dataset": "real", "sources": sources}))
    letters = LetterEncoder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "encoder", lambda embed: letters)
        outcome = run_flow(str(folder / "prefine.yaml"), limit=300)
    return queries.open_version(outcome.dataset_root)


def test_every_record_of_every_source_has_one_fate(curated: Any) -> None:
    rows = curated.query("select source, count(*) as records, count(distinct (source_uri, source_row)) as lines from ledger group by all")
    told = {row["source"]: (row["records"], row["lines"]) for row in rows.to_pylist()}
    assert told["hh_rlhf"] == (300, 300)
    assert told["pandalm"] == (3 * 294 + 6, 300)  # three annotators; six rows cannot be read
    assert told["llmbar"] == (734, 734)  # ten files, none longer than 300
    records, lines = told["ukp_convarg1"]
    assert lines == 300
    assert 4 * 300 <= records <= 5 * 300  # four or five workers a pair


def test_nothing_of_them_is_quarantined_but_the_answers_a_spreadsheet_ate(curated: Any) -> None:
    rows = curated.query(
        "select source, count(*) as n, count(distinct source_row) as lines from ledger where fate = 'quarantined' group by all"
    )
    assert {row["source"]: row["lines"] for row in rows.to_pylist()} == {"pandalm": 6}


def test_hh_rlhf_loses_only_its_empty_answer(curated: Any) -> None:
    rows = curated.query("select fate, reason, count(*) as n from ledger where source = 'hh_rlhf' and fate <> 'published' group by all")
    assert {(row["fate"], row["reason"]): row["n"] for row in rows.to_pylist()} == {("dropped", "empty_answer"): 1}


def test_llmbar_keeps_the_opposite_labels_of_its_twin_files(curated: Any) -> None:
    rows = curated.query("select fate, count(*) as n from ledger where source = 'llmbar' group by all")
    told = {row["fate"]: row["n"] for row in rows.to_pylist()}
    assert set(told) <= {"published", "merged"}
    assert sum(told.values()) == 734
    assert curated.query("select count(*) as n from dropped where list_contains(sources, 'llmbar')").to_pylist() == [{"n": 0}]


def test_pandalm_copies_merge_and_its_ties_leave(curated: Any) -> None:
    rows = curated.query("select fate, reason, count(*) as n from ledger where source = 'pandalm' group by all")
    told = {(row["fate"], row["reason"]): row["n"] for row in rows.to_pylist()}
    assert told.get(("dropped", "tie"), 0) > 0
    assert sum(told.values()) == 3 * 294 + 6
