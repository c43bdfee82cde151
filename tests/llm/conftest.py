"""One scripted server for all tests of a module."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.llm.scripted import Script, Server, scripted_server


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def scripted(running: Server) -> Callable[..., Server]:
    """The server, with the script of a test and nothing counted yet."""

    def rewrite(**script: Any) -> Server:
        running.rewrite(Script(**script))
        running.forget()
        return running

    return rewrite
