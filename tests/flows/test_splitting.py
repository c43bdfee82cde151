"""Data is added to a dataset twice: what is known keeps its split, held out stays held out, and `diff` and `explain` tell what moved."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows import splitting
from flows.curate import Outcome, run_flow
from flows.steps import Run
from pipeline import queries, storage
from pipeline.config import parse_config
from pipeline.errors import PrefineError
from tests.flows.asked import rows_of
from tests.flows.test_promises import Row, as_lines
from tests.versions import paired, write

pytestmark = pytest.mark.usefixtures("encoder")
Command = Callable[..., tuple[int, str, str]]


def curated(folder: Path, files: dict[str, list[Row]], **publish: Any) -> Outcome:
    for name, rows in files.items():
        (folder / name).write_bytes(as_lines(rows))
    config: Row = {"dataset": "grown", "sources": [{"name": "pairs", "uri": "*.jsonl"}], "rules": {"preset": "none"}, "partitions": 2}
    config |= {"publish": {"split_by": "equal_prompts", **publish}, "content": {"language": False, "personal": False}}
    (folder / "prefine.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return run_flow(str(folder / "prefine.yaml"))


def splits(outcome: Outcome) -> dict[str, str]:
    """Prompt text -> split, over published and dropped pairs."""
    opened = queries.open_version(outcome.dataset_root, outcome.version)
    sql = "select prompt[1].content as said, split from pairs union select prompt[1].content, split from dropped"
    return {row["said"]: row["split"] for row in opened.query(sql).to_pylist()}


def test_what_is_added_moves_only_what_it_must_and_diff_and_explain_say_why(tmp_path: Path, prefine: Command) -> None:
    rows = rows_of(8)
    rows[7]["split"] = "test"
    first = curated(tmp_path, {"a.jsonl": rows}, validation_share=0.0)
    before = splits(first)
    assert before == {row["prompt"]: row.get("split", "train") for row in rows}

    joins, joined = ({**rows_of(1, 100)[0], "prompt": rows[n]["prompt"].upper(), **more} for n, more in ((0, {"split": "dev"}), (7, {})))
    against = {**rows[1], "chosen": rows[1]["rejected"], "rejected": rows[1]["chosen"]}
    new = rows_of(3, 20)
    second = curated(tmp_path, {"b.jsonl": [joins, joined, against, *new]}, validation_share=0.9999)
    after = splits(second)

    held_out = {rows[0]["prompt"]: "validation", joins["prompt"]: "validation", joined["prompt"]: "test"}
    assert after == before | held_out | {row["prompt"]: "validation" for row in new}
    told = [row for row in second.counts if row["stage"] == "keep splits (prompts)"]
    assert [(row["rows_in"], row["dropped"], row["reasons"]) for row in told] == [(8, 1, {"train to validation": 1})]

    code, said, _ = prefine("diff", "--config", tmp_path / "prefine.yaml", "--format", "json")
    found = json.loads(said)
    assert (code, found["before"], found["now"], found["pairs_before"], found["pairs_now"]) == (0, "v000001", "v000002", 8, 12)
    assert [tuple(row.values()) for row in found["totals"]] == [
        ("added", "new file", 5),
        ("removed", "dropped: tie", 1),
        ("moved", "held out by a source", 1),
    ]
    moved = found["rows"][-1]
    assert (moved["before"], moved["now"], moved["detail"]) == ("train", "validation", "b.jsonl")
    code, text, _ = prefine("diff", "v000001", "v000002", "--config", tmp_path / "prefine.yaml", "--change", "moved")
    assert code == 0
    assert f"moved  {moved['pair_id']}  train -> validation" in text
    assert f"  prompt   {rows[0]['prompt']}"[:60] in text
    code, csv, _ = prefine("diff", "--config", tmp_path / "prefine.yaml", "--format", "csv", "--change", "removed")
    assert (code, len(csv.splitlines())) == (0, 2)

    code, said, _ = prefine("explain", moved["pair_id"], "--config", tmp_path / "prefine.yaml", "--format", "json")
    story = json.loads(said)
    assert code == 0
    assert [(one["version"], one["told"].split(",")[0]) for one in story["fates"]] == [
        ("v000001", "in train"),
        ("v000002", "in validation"),
    ]
    assert [one["rule"] for one in story["rules"][moved["pair_id"]]] == ["identical_answers", "no_vote_counts", "tie"]

    again = curated(tmp_path, {}, validation_share=0.5)  # other shares are for new prompts only
    assert (again.version, again.unchanged) == ("v000002", True)


def earlier(root: Path, sources: list[str]) -> list[tuple[str, ...]]:
    """What `read_earlier` finds, over both partitions."""
    config = parse_config({"dataset": "d", "sources": [{"name": "s", "uri": "x"}]}, "c")
    run = Run(config, "d", str(root / "scratch"), str(root / "store"), partitions=2)
    known = splitting.read_earlier(run, str(root), sources)
    parts = [storage.read_table(run.place("earlier-splits", partition)).rows() for partition in (0, 1)]
    assert all(prompt < "8" for prompt, *_ in parts[0])
    assert all(prompt >= "8" for prompt, *_ in parts[1])
    assert known == len(parts[0]) + len(parts[1])
    return sorted(parts[0] + parts[1])


def test_earlier_splits_are_those_of_the_current_version_and_of_versions_that_are_sources(tmp_path: Path) -> None:
    def version(root: Path, name: str, **parts: list[tuple[str, str]]) -> str:
        rows = {
            part: [paired(part, f"{prompt}-{split}", [], (1, 0, 0), prompt_id=prompt * 16, split=split) for prompt, split in pairs]
            for part, pairs in parts.items()
        }
        storage.write_json(str(root / name / "manifest.json"), {"files": write(str(root), rows, name)})
        return str(root / name)

    assert earlier(tmp_path / "own", []) == []
    version(tmp_path / "own", "v000001", train=[("0a", "train"), ("0b", "train")], dropped=[("f0", "validation")])
    version(tmp_path / "own", "v000002", test=[("0a", "test")])  # later, but readers do not get it
    (tmp_path / "own" / "CURRENT").write_text("v000001\n", encoding="utf-8")
    source = version(tmp_path / "other", "v000001", validation=[("0b", "validation")], other=[("e0", "train")])

    assert earlier(tmp_path / "own", [source]) == [
        ("0a" * 16, "train", "train"),
        ("0b" * 16, "validation", "train"),
        ("e0" * 16, "train", None),
        ("f0" * 16, "validation", "validation"),
    ]
    next((tmp_path / "own" / "v000001" / "data").iterdir()).unlink()
    with pytest.raises(PrefineError, match=r"train-00000-of-00001\.parquet is missing"):
        earlier(tmp_path / "own", [source])


def test_versions_that_are_not_there_are_named_and_so_are_those_that_are(tmp_path: Path, prefine: Command) -> None:
    config = {"dataset": "none", "sources": [{"name": "pairs", "uri": "*.jsonl"}]}
    (tmp_path / "prefine.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    for arguments, message in (
        ((), "nothing is published there yet"),
        (("v000001", "v000002"), "no version 'v000001'"),
        (("--format", "xml"), "--format xml: expected text, json, csv"),
        (("--change", "lost"), "--change lost: expected added, removed, relabelled, moved"),
    ):
        code, _, said = prefine("diff", *arguments, "--config", tmp_path / "prefine.yaml")
        assert code in (1, 2)
        assert message in said
