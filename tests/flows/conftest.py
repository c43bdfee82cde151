"""Flows run against one temporary Prefect server for all tests of this folder."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_home = tempfile.TemporaryDirectory(prefix="prefine-tests-")
# Prefect reads its settings once, at its own import, so these come before anything imports it.
os.environ["PREFECT_HOME"] = str(Path(_home.name) / "prefect")
Path(os.environ["PREFECT_HOME"]).mkdir()

from flows import cli  # noqa: E402
from flows.curate import Outcome, run_flow  # noqa: E402

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(scope="session", autouse=True)
def prefect_server() -> Iterator[None]:
    """A server with a database of its own; without the heartbeat, whose thread costs each flow up to a second."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120), temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> Outcome:
    """The sample data, curated once with the real model."""
    folder = tmp_path_factory.mktemp("demo")
    shutil.copytree(DATA / "raw", folder / "raw")
    shutil.copyfile(DATA / "prefine.yaml", folder / "prefine.yaml")
    return run_flow(str(folder / "prefine.yaml"), None, threads=2)


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
