"""A file whose layout is unknown: the run stops before any work, or the source says that it may go on without such files."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from flows import ingesting, steps
from flows.curate import Outcome, run_flow
from pipeline.errors import LayoutError
from tests.fakes import WordEncoder

GOOD = [{"prompt": f"q {i}", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(4)]
UNKNOWN = [{"colour": "red", "size": i} for i in range(3)]


@pytest.fixture(autouse=True)
def _letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "encoder", lambda config: WordEncoder())


def write(folder: Path, share: float, files: dict[str, list[Any]]) -> str:
    (folder / "raw").mkdir()
    for name, rows in files.items():
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (folder / "raw" / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = {"dataset": "d", "sources": [{"name": "s", "uri": "raw", "max_quarantine_share": share}]}
    (folder / "prefine.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return str(folder / "prefine.yaml")


def table(outcome: Outcome, name: str) -> list[dict[str, Any]]:
    folder = Path(outcome.dataset_root) / outcome.version / name
    return [row for file in sorted(folder.glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


def test_a_file_without_a_known_layout_stops_the_run_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[str] = []
    monkeypatch.setattr(ingesting, "ingest_files", lambda *given: began.append("ingest"))
    config = write(tmp_path, 0.05, {"a.jsonl": GOOD, "b.jsonl": UNKNOWN})

    said = r"raw/b\.jsonl: no known layout fits these records\.\n  Columns found:\n    colour: text"
    with pytest.raises(LayoutError, match=said) as caught:
        run_flow(config)

    assert caught.value.exit_code == 2
    assert began == []
    assert not (tmp_path / "workspace" / "datasets" / "d" / "v000001").exists()


def test_where_a_share_of_files_may_be_refused_every_row_of_one_is_quarantined(tmp_path: Path) -> None:
    outcome = run_flow(write(tmp_path, 0.5, {"a.jsonl": GOOD, "b.jsonl": [*UNKNOWN, "{broken"]}))

    ledger = [row for row in table(outcome, "ledger") if row["source_uri"] == "raw/b.jsonl"]
    assert sorted((row["source_row"], row["fate"], row["reason"]) for row in ledger) == [
        (0, "quarantined", "unknown_layout"),
        (1, "quarantined", "unknown_layout"),
        (2, "quarantined", "unknown_layout"),
        (3, "quarantined", "unparsable_row"),
    ]
    assert {row["detail"] for row in ledger if row["reason"] == "unknown_layout"} == {"no known layout fits these records."}
    assert [row["raw"] for row in table(outcome, "quarantine") if row["source_row"] == 1] == ['{"colour": "red", "size": 1}']
    assert len(table(outcome, "data")) == 4
    manifest = json.loads((Path(outcome.dataset_root) / outcome.version / "manifest.json").read_text(encoding="utf-8"))
    told = ("source_uri", "layout", "rows_counted", "rows", "quarantined_rows")
    assert [tuple(row[name] for name in told) for row in manifest["inputs"]] == [
        ("raw/a.jsonl", "chosen_rejected", 4, 4, 0),
        ("raw/b.jsonl", None, 4, 4, 4),
    ]


def test_a_source_of_nothing_but_a_refused_file_may_be_allowed(tmp_path: Path) -> None:
    outcome = run_flow(write(tmp_path, 1.0, {"b.jsonl": UNKNOWN}))

    assert [row["fate"] for row in table(outcome, "ledger")] == ["quarantined"] * 3
    assert table(outcome, "judgements") == []


def test_a_refused_file_is_read_no_further_than_the_limit(tmp_path: Path) -> None:
    outcome = run_flow(write(tmp_path, 1.0, {"b.jsonl": UNKNOWN}), limit=2)

    assert sorted(row["source_row"] for row in table(outcome, "ledger")) == [0, 1]
