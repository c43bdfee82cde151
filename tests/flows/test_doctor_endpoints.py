"""`prefine doctor` on language models: whether each that the config asks can be used, found out for nothing."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.config import EndpointConfig
from pipeline.llm.reaching import reach
from tests.llm.scripted import Script, Server, scripted_server

Prefine = Callable[..., tuple[int, str, str]]

KEY = "sk-planted-0123456789abcdef"
CONFIG = """
dataset: small
sources:
  - {{name: arena, uri: arena.jsonl}}
endpoints:
  - {{name: local, base_url: "{url}", model: {model}, key_env: PLANTED_KEY}}
  - {{name: unused, base_url: "http://nowhere.invalid/v1", model: scripted, key_env: NEVER_SET}}
judges:
  - {{name: panel, endpoint: local}}
"""


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server that wants a key, which is set."""
    monkeypatch.setenv("PLANTED_KEY", KEY)
    running.rewrite(Script(key=KEY, models=["another", "scripted-7b"]))
    running.forget()
    return running


def endpoint(url: str, **changed: object) -> EndpointConfig:
    return EndpointConfig.model_validate({"name": "local", "base_url": url, "model": "scripted-7b", "key_env": "PLANTED_KEY"} | changed)


def test_one_that_can_be_used_and_asks_nothing(server: Server) -> None:
    works, told = reach(endpoint(server.url, structured="json_object"))
    assert works, told
    assert told == f"{server.url} lists the model scripted-7b; key from PLANTED_KEY; structured: json_object"
    assert server.log() == []


def test_one_that_needs_no_key_is_sent_none(server: Server) -> None:
    server.rewrite(Script(models=["scripted-7b"]))
    assert reach(endpoint(server.url, key_env=None)) == (True, f"{server.url} lists the model scripted-7b; no key; structured: auto")
    server.rewrite(Script(key=KEY))
    works, told = reach(endpoint(server.url, key_env=None))
    assert not works
    assert "HTTP 401: Incorrect API key provided: None" in told


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "the environment variable PLANTED_KEY (key_env) is not set; it must hold the key."),
        ("two words", "what the environment variable PLANTED_KEY holds cannot be a key."),
    ],
)
def test_a_key_that_is_not_there(value: str | None, said: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLANTED_KEY")
    if value is not None:
        monkeypatch.setenv("PLANTED_KEY", value)
    assert reach(endpoint(server.url)) == (False, said)


def test_a_wrong_key_is_told_but_not_shown(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_KEY", "sk-wrong-key-9")
    works, told = reach(endpoint(server.url))
    assert not works
    assert "Incorrect API key provided: Bearer [key]" in told  # the server says it back
    assert "Check the key in the environment variable that key_env names" in told
    assert "sk-wrong-key-9" not in told


def test_a_model_that_is_not_listed_is_told_with_the_nearest(server: Server) -> None:
    works, told = reach(endpoint(server.url, model="scripted-7B"))
    assert not works
    assert told.endswith("does not list the model 'scripted-7B'; did you mean 'scripted-7b'?")
    server.rewrite(Script(key=KEY, models=[f"m{n}" for n in range(8)]))
    assert reach(endpoint(server.url, model="zzz"))[1].endswith("it lists m0, m1, m2, m3, m4 and 3 more.")
    server.rewrite(Script(key=KEY, models=[]))
    assert reach(endpoint(server.url, model="zzz"))[1].endswith("it lists none.")


def test_what_a_server_says_cannot_command_a_terminal(server: Server) -> None:
    server.rewrite(Script(key=KEY, models=["\x1b[31mred", "\u202eback", "half \ud83d"]))
    told = reach(endpoint(server.url, model="zzz"))[1]
    assert told.endswith("it lists ?[31mred, ?back, half ?.")


def test_a_wrong_address_is_told(server: Server) -> None:
    works, told = reach(endpoint(server.url.removesuffix("/v1")))
    assert not works
    assert "HTTP 404: Not Found. Check base_url (it usually ends in /v1)." in told


def test_an_answer_that_is_no_list_is_told(server: Server) -> None:
    page = endpoint(server.url.removesuffix("/v1") + "/page")
    assert reach(page) == (False, f"{page.base_url}: what it answers is no list of models. Check base_url (it usually ends in /v1).")


def test_where_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_KEY", KEY)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listening
        works, told = reach(endpoint(f"http://127.0.0.1:{taken.getsockname()[1]}/v1"))
    assert not works
    assert "no connection: " in told


class TestDoctor:
    @pytest.fixture
    def config(self, server: Server, tmp_path: Path) -> Callable[[str], Path]:
        def write(model: str) -> Path:
            row = '{"prompt": "Name a fruit.", "response_a": "An apple.", "response_b": "A brick.", "winner": "model_a"}\n'
            (tmp_path / "arena.jsonl").write_text(row)
            place = tmp_path / "prefine.yaml"
            place.write_text(CONFIG.format(url=server.url, model=model))
            return place

        return write

    def test_checks_the_endpoints_that_are_asked_and_no_others(
        self, config: Callable[[str], Path], server: Server, prefine: Prefine
    ) -> None:
        code, out, err = prefine("doctor", "--config", config("scripted-7b"))
        assert code == 0, out + err
        assert f"ok   endpoint local: {server.url} lists the model scripted-7b; key from PLANTED_KEY; structured: auto" in out
        assert "unused" not in out
        assert KEY not in out + err

    def test_fails_where_one_cannot_be_used(self, config: Callable[[str], Path], server: Server, prefine: Prefine) -> None:
        code, out, err = prefine("doctor", "--config", config("scripted-8b"))
        assert code == 1
        assert "FAIL endpoint local: " in out
        assert "did you mean 'scripted-7b'?" in out
        assert "1 check(s) failed" in err
        assert KEY not in out + err
