"""What holds for every test: nothing reaches for the network, and property tests do not depend on the machine's speed."""

import os

import pytest
from hypothesis import settings

# Before anything imports them: the libraries read these once.
for name, value in {
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}.items():
    os.environ.setdefault(name, value)

settings.register_profile("default", deadline=None)  # a shared machine is slow now and then; that is no failure
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with a Prefect server come last: its threads live on to the end of the session, beside every test after them."""
    items.sort(key=lambda item: "flows" in item.path.parts or item.path.name == "test_real_sources.py")


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
