"""Flows run against one temporary Prefect server for all tests of this folder."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows import cli, steps
from flows.curate import Outcome, run_flow
from tests.fakes import WordEncoder
from tests.flows.asked import follow
from tests.llm.scripted import Server, scripted_server

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(scope="session", autouse=True)
def _server(prefect_server: None) -> None:
    """A run outside a test, in a fixture, must not start a server of its own."""


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> Outcome:
    """The sample data, curated once with the real model."""
    folder = tmp_path_factory.mktemp("demo")
    shutil.copytree(DATA / "raw", folder / "raw")
    shutil.copyfile(DATA / "prefine.yaml", folder / "prefine.yaml")
    return run_flow(str(folder / "prefine.yaml"), None, threads=2)


@pytest.fixture(scope="module")
def encoder() -> Iterator[WordEncoder]:
    """A model that tells texts apart by their words, in place of the real one."""
    fake = WordEncoder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "encoder", lambda config: fake)
        yield fake


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    """A language model's server that does what a script says."""
    with scripted_server() as server:
        yield server


@pytest.fixture
def scripted(running: Server) -> Callable[..., Server]:
    """The server, with the script of a test and nothing counted yet."""
    return lambda **script: follow(running, **script)


@pytest.fixture
def prefine(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process: exit code, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["prefine", *map(str, arguments)])
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else int(left.code is not None)
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return code, said.out, said.err

    return run
