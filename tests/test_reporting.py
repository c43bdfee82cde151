"""Reports of published versions: written with them, and again by command."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from flows import cli
from pipeline import reporting, storage
from pipeline.errors import NotFoundError, PrefineError
from pipeline.publish import finish, next_version
from pipeline.queries import read_manifest
from tests.report.pages import Page
from tests.versions import paired, publish, sample, write


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two versions: the second has one more pair."""
    root = str(tmp_path_factory.mktemp("reporting") / "workspace" / "datasets" / "demo")
    publish(root, sample())
    more = sample()
    more["train"].append(paired("train", "p9", ["j9"], (1, 0, 0)))
    manifest = read_manifest(root, "v000001")
    assert next_version(root) == "v000002"
    assert finish(root, "v000002", write(root, more, "v000002"), manifest).version == "v000002"
    return root


def page_of(root: str, version: str) -> str:
    return storage.read_bytes(storage.join(root, version, "report.html")).decode()


def test_a_version_is_compared_with_the_one_before_as_it_is_published(root: str) -> None:
    assert "Compared with the version before" not in Page(page_of(root, "v000001")).text
    assert '<th scope="row">train</th><td class="n">1</td><td class="n">2</td><td class="n">+1</td>' in page_of(root, "v000002")
    assert '<th scope="row">added</th>' in page_of(root, "v000002")


def test_a_version_before_that_cannot_be_read_is_named_and_hinders_nothing(root: str, tmp_path: Path) -> None:
    copy = tmp_path / "datasets" / "demo"
    for place in Path(root).rglob("*"):
        if place.is_file():
            (copy / place.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
            (copy / place.relative_to(root)).write_bytes(place.read_bytes())
    shard = next((copy / "v000001" / "data").glob("train-*"))
    shard.unlink()
    text = Page(reporting.report_of(str(copy))[1]).text

    assert "Not compared pair by pair: " in text
    assert shard.name in text
    with pytest.raises(PrefineError, match=shard.name):
        reporting.report_of(str(copy), "v000001")
    with pytest.raises(NotFoundError, match="no version 'v000009'"):
        reporting.report_of(str(copy), against="v000009")


def test_the_command_makes_the_published_report_again_and_prints_where(root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "prefine.yaml"
    given = {"dataset": "demo", "workspace": root.removesuffix("/datasets/demo"), "sources": [{"name": "arena", "uri": "raw/*.jsonl"}]}
    config.write_text(yaml.safe_dump(given))
    monkeypatch.chdir(tmp_path)
    run = CliRunner()

    found = run.invoke(cli.app, ["report", "--config", str(config)], catch_exceptions=False)
    assert found.stdout.strip() == "demo-v000002-report.html"
    assert (tmp_path / "demo-v000002-report.html").read_text(encoding="utf-8") == page_of(root, "v000002")

    with pytest.raises(PrefineError, match=r"nowhere/report\.html: cannot be written, .*--output"):
        run.invoke(cli.app, ["report", "--config", str(config), "--output", "nowhere/report.html"], catch_exceptions=False)
