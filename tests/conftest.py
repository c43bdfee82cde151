"""What holds for every test: nothing reaches for the network, and property tests do not depend on the machine's speed."""

import importlib
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

_home = tempfile.TemporaryDirectory(prefix="prefine-tests-")
# Before anything imports them: the libraries read these once.
for name, value in {
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}.items():
    os.environ.setdefault(name, value)
os.environ["PREFECT_HOME"] = _home.name  # each process has its own
if "PYTEST_XDIST_WORKER" in os.environ:  # one process for each core: with threads for every core they would wait for one another
    for name in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS"):
        os.environ.setdefault(name, "1")

settings.register_profile("default", deadline=None)  # a shared machine is slow now and then; that is no failure
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

# One run of the whole sample data serves these.
DEMO = ("tests/flows/test_demo_truth.py", "tests/flows/test_methods_command.py", "tests/flows/test_trainers.py")
# Files with a Prefect server, the slowest first. The order decides nothing but when two processes are done.
SLOWEST = (
    "tests/flows/test_rationales_run.py",
    "tests/flows/test_promises.py",
    "tests/test_real_sources.py",
    "tests/flows/test_asking.py",
    "tests/flows/test_deduplicating.py",
    *DEMO,
    "tests/flows/test_faults.py",
    "tests/flows/test_judges_run.py",
    "tests/flows/test_voting.py",
    "tests/flows/test_hidden.py",
    "tests/flows/test_decontaminating.py",
    "tests/flows/test_cli.py",
    "tests/flows/test_content.py",
    "tests/flows/test_versions_run.py",
    "tests/flows/test_splitting.py",
    "tests/flows/test_selecting.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests with a Prefect server come last: its threads live on to the end of the session, beside every test after them."""

    def key(item: pytest.Item) -> int:
        place = item.path.relative_to(config.rootpath).as_posix()
        if place in SLOWEST:
            return 1 + SLOWEST.index(place)
        return 1 + len(SLOWEST) if "flows" in item.path.parts else 0

    items.sort(key=key)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`: a file's tests, and the files that share a run, stay in one process; files are begun in the order above."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            place = nodeid.partition("::")[0]
            return DEMO[0] if place in DEMO else place

    config.option.loadscopereorder = False
    return ByFile(config, log)


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A server with a database of its own, in which no events are recorded: nobody reads them, and they cost more than the rest.

    Without the heartbeat too, whose thread costs each flow up to a second.
    """
    importlib.import_module("flows")  # Prefect reads its settings once: these come before its own import
    from prefect import settings as names
    from prefect.testing.utilities import prefect_test_harness

    unread = (
        names.PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED,
        names.PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_ENABLED,
        names.PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED,
    )
    changed = {**dict.fromkeys(unread, False), names.PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with names.temporary_settings(changed), prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A dataset with one small version, under a name that is hard to quote."""
    from tests.versions import publish, sample

    place = str(tmp_path_factory.mktemp("workspace") / "datasets" / "it's a=b [1]")
    publish(place, sample())
    return place


@pytest.fixture(scope="module")
def rated_root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A dataset with one small version of ratings."""
    from tests.versions import publish, sample_with_ratings

    place = str(tmp_path_factory.mktemp("rated") / "datasets" / "demo")
    publish(place, sample_with_ratings())
    return place
