"""`prefine export` and `prefine formats` as typed."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from flows import cli
from pipeline.export import FORMATS
from tests.export.rows import pair
from tests.export.test_exporting import write_version


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A config and what it published: three pairs, one of them with tools."""
    (tmp_path / "prefine.yaml").write_text("dataset: d\nworkspace: ./w\nsources: [{name: s, uri: x.jsonl}]\n")
    rows = {"train": [{**pair(f"p{at}"), "split": "train"} for at in range(3)], "other": [{**pair("t0", tools="[]"), "split": "train"}]}
    write_version(str(tmp_path / "w" / "datasets" / "d"), rows, 100)
    return tmp_path


def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["prefine", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    said = capsys.readouterr()
    return int(stopped.value.code or 0), said.out, said.err


def test_an_export_says_what_it_wrote_what_it_left_out_and_what_to_set(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ("--config", home / "prefine.yaml")
    code, out, err = typed(monkeypatch, capsys, "export", home / "out", "--weights", "column", *place)
    assert (code, f"v000001 exported to {home / 'out'}: train 3, validation 0, test 0" in out) == (0, True)
    assert "drop a column `weight` without a word" in err
    assert json.loads((home / "out" / "export.json").read_text())["options"] == {"weights": "column"}
    code, out, _ = typed(monkeypatch, capsys, "export", home / "out", "--weights", "column", *place)
    assert (code, "of its shards, 1 were there already" in out) == (0, True)
    code, _, err = typed(monkeypatch, capsys, "export", home / "tools", "--split", "other", *place)
    assert (code, "1 define tools" in err) == (2, True)
    code, out, _ = typed(monkeypatch, capsys, "export", home / "tools", "--split", "train", "--split", "other", "--allow-loss", *place)
    assert (code, "left out, tools: 1 (tools are defined)" in out) == (0, True)
    code, _, err = typed(monkeypatch, capsys, "export", home / "x", "--format", "reward", "--policy", "all", *place)
    assert (code, "--format reward takes no --policy; --format listwise or list-pairs does" in err) == (2, True)
    code, _, err = typed(monkeypatch, capsys, "export", home / "y", "--format", "unpaired", "--threshold", "0.5", *place)
    assert (code, "no prompt of a published pair has ratings" in err) == (1, True)


def test_formats_lists_every_format_with_its_flags(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = typed(monkeypatch, capsys, "formats")
    assert code == 0
    shown = "".join(out.split())
    assert all(name in shown for name in FORMATS)
    assert "--threshold" in shown
