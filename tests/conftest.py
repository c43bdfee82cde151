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
