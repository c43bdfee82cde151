"""What no retry mends ends the whole ask with one message; and the key is nowhere but in the request."""

import datetime
import ipaddress
import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pipeline.errors import ConfigError, EndpointError
from tests.llm.asking import FORM, KEY, answers, ask, language_model, many, requests
from tests.llm.scripted import Script, Server, scripted_server

Scripted = Callable[..., Server]


@pytest.mark.parametrize(
    ("fault", "todo"),
    [
        ("401", "environment variable that key_env names"),
        ("403", "environment variable that key_env names"),
        ("404", "spelt as the server lists it"),
        ("model_400", "spelt as the server lists it"),
        ("quota", "credit is used up"),
    ],
)
def test_what_would_meet_every_question_is_sent_once(fault: str, todo: str, scripted: Scripted, tmp_path: Path) -> None:
    server = scripted(each=[fault] * 9)
    with language_model(server.url, tmp_path) as model, pytest.raises(EndpointError, match=todo) as error:
        ask(model, many(30))
    assert f"endpoint local ({server.url}, model scripted): HTTP 4" in str(error.value)
    assert len(server.log()) == 1


def test_what_was_answered_before_the_end_is_kept(scripted: Scripted, tmp_path: Path) -> None:
    server, asked = scripted(where={"question 7": ["401"]}), many(30)
    with language_model(server.url, tmp_path, concurrency=1) as model:
        with pytest.raises(EndpointError):
            ask(model, asked)
        kept = model.answers(FORM, asked).height
        assert 0 < kept < 30
        assert ask(model, asked).sent == 30 - kept
    assert server.outcomes() == {"ok": 30, "401": 1}


def test_a_wrong_path_names_the_url(scripted: Scripted, tmp_path: Path) -> None:
    server = scripted()
    with (
        language_model(server.url.removesuffix("/v1"), tmp_path) as model,
        pytest.raises(EndpointError, match=r"Not Found.*base_url \(it usually ends in /v1\)"),
    ):
        ask(model, many(3))


def test_where_nobody_listens_the_retries_are_made_and_the_ask_ends(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not listening
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with language_model(url, tmp_path, retries=1) as model:
            with pytest.raises(EndpointError, match=r"no connection: .*Check that the server runs"):
                ask(model, many(1000))
            spent = model.spent_before(FORM, many(1000))
    assert 2 <= spent.requests < 400  # they count, and are free
    assert (spent.tokens, spent.cost) == (0, 0.0)


def test_a_name_that_no_dns_knows_ends_the_ask(tmp_path: Path) -> None:
    with language_model("http://nowhere.invalid/v1", tmp_path, retries=0) as model, pytest.raises(EndpointError, match="no connection"):
        ask(model, many(3))


def test_a_server_that_goes_down_ends_the_ask_and_keeps_the_answers(tmp_path: Path) -> None:
    with scripted_server(Script(latency_ms=20)) as server, language_model(server.url, tmp_path, concurrency=2, retries=1) as model:
        gone = threading.Timer(0.5, server.process.kill)
        gone.start()
        with pytest.raises(EndpointError, match="answers of this step are kept"):
            ask(model, many(2000))
        gone.join()
        assert model.answers(FORM, many(2000)).height > 0


def test_a_server_that_fails_every_time_is_given_up(scripted: Scripted, tmp_path: Path) -> None:
    server = scripted(each=["500"] * 9)
    with language_model(server.url, tmp_path, retries=0) as model, pytest.raises(EndpointError, match="questions in a row"):
        ask(model, many(1000))
    assert 64 <= len(server.log()) < 200


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate that nobody has signed."""
    folder = tmp_path_factory.mktemp("tls")
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=1))
    built = built.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
    (folder / "cert.pem").write_bytes(built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*form))
    return str(folder / "cert.pem"), str(folder / "key.pem")


def test_a_certificate_that_cannot_be_trusted_ends_the_ask_at_once(certificate: tuple[str, str], tmp_path: Path) -> None:
    with scripted_server(Script(certificate=list(certificate))) as server, language_model(server.url, tmp_path) as model:
        with pytest.raises(EndpointError, match=r"no TLS connection: .*certificate.*SSL_CERT_FILE"):
            ask(model, many(3))
        assert model.spent_before(FORM, many(3)).requests == 1


def test_tls_with_a_server_that_speaks_none_ends_the_ask(scripted: Scripted, tmp_path: Path) -> None:
    url = scripted().url.replace("http://", "https://")
    with language_model(url, tmp_path) as model, pytest.raises(EndpointError, match="http or https"):
        ask(model, many(3))


def test_a_key_that_is_not_there_is_a_config_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_KEY", raising=False)
    with pytest.raises(ConfigError, match="TEST_KEY"), language_model("http://127.0.0.1:1/v1", tmp_path, key_env="TEST_KEY"):
        pass
    monkeypatch.setenv("TEST_KEY", "two\nlines")
    with (
        pytest.raises(ConfigError, match="cannot be a key") as error,
        language_model("http://127.0.0.1:1/v1", tmp_path, key_env="TEST_KEY"),
    ):
        pass
    assert "two" not in str(error.value)


def test_the_key_goes_to_the_server_and_is_nowhere_else(
    scripted: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    server = scripted(key=KEY, where={"leaks": ["leak"], "fails": ["400"] * 9, "drops": ["drop"] * 9})
    asked = requests("leaks", "fails", "drops", "works")
    with language_model(server.url, tmp_path, key_env="TEST_KEY", retries=0) as model:
        told = ask(model, asked)
        assert answers(model, asked.head(1))["text"].to_list() == ["you are Bearer [key]"]
        said = [str(told), str(model.about()), repr(model), model.fingerprint(FORM), str(model.answers(FORM, asked).rows())]
    assert {row["authorization"] for row in server.log()} == {f"Bearer {KEY}"}

    monkeypatch.setenv("TEST_KEY", wrong := KEY[::-1])
    with language_model(server.url, tmp_path, key_env="TEST_KEY") as model, pytest.raises(EndpointError) as error:
        ask(model, requests("another"))
    said += [str(error.value), repr(error.value), caplog.text, *capfd.readouterr()]
    said += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert len(said) > 8
    assert not [one for one in said if KEY in one or wrong in one]


def test_the_url_is_told_without_its_query_and_user(tmp_path: Path) -> None:
    with language_model("http://127.0.0.1:1/v1", tmp_path) as model:
        object.__setattr__(model.endpoint, "base_url", f"http://user:{KEY}@127.0.0.1:1/v1?key={KEY}")  # which the config refuses
        assert KEY not in str(model.about())
