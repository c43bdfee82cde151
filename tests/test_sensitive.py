"""What is found by its form, what is not, and texts with placeholders instead."""

import gzip
import json
import socket
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sensitive import KINDS, find, masks

RAW = Path(__file__).resolve().parents[2] / "shared" / "data" / "raw"


def masked(text: str, *kinds: str, is_json: bool = False) -> tuple[str, list[str]]:
    change = masks(pl.Series([text]), kinds or KINDS, is_json=is_json)  # type: ignore[arg-type]
    return (text, []) if change.is_empty() else change.select("masked", "found").row(0)


# Keys in two parts, so that no scanner takes this file for a leak.
GITHUB = "ghp" + "_16C7e42F292c6912E7710c838347Ae178B4a"
AWS_ID, AWS_SECRET = "AKIA" + "IOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY"
WEB_TOKEN = "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0" + ".dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
KEY = "-----BEGIN RSA PRIVATE" + " KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIEowIBAAKCAQEA0Z\nabc=\n-----END RSA PRIVATE" + " KEY-----"
CUT_KEY = "-----BEGIN OPENSSH PRIVATE" + " KEY-----\nb3BlbnNzaC1rZXktdjEAAAA\nAAAABG5vbmUAAAAEbm9uZQ"

FOUND = [
    ("Write to jane.o'doe+news@mail.example.co.uk.", "Write to <EMAIL>."),
    ("邮箱bob@example.com，谢谢", "邮箱<EMAIL>，谢谢"),  # noqa: RUF001
    ("<mailto:a_b%c@x-y.org>", "<mailto:<EMAIL>>"),
    ("Call +49 30 901820 or +86 138 0013 8000.", "Call <PHONE> or <PHONE>."),
    ("tel:+33 1 42 68 53 00, +44 20 7946 0958, +91 98765 43210, +55 11 91234-5678", "tel:<PHONE>, <PHONE>, <PHONE>, <PHONE>"),
    ("(415) 555-2671, 415-555-2671, 415.555.2671 and 1-415-555-2671", "<PHONE>, <PHONE>, <PHONE> and <PHONE>"),
    ("电话13800138000。", "电话<PHONE>。"),
    ("Visa 4111 1111 1111 1111, 5555-5555-5555-4444, 378282246310005", "Visa <CARD>, <CARD>, <CARD>"),
    ("Pay to GB29 NWBK 6016 1331 9268 19 AND DE89370400440532013000.", "Pay to <IBAN> AND <IBAN>."),
    ("from 93.184.216.34 and http://203.0.113.7:8080/x", "from <IP> and http://<IP>:8080/x"),
    ("2001:db8::8a2e:370:7334 and 2001:0db8:85a3:0000:0000:8a2e:0370:7334", "<IP> and <IP>"),
    (f"token {GITHUB}", "token <SECRET>"),
    (f"id {AWS_ID}, aws_secret_access_key = '{AWS_SECRET}'", "id <SECRET>, aws_secret_access_key = '<SECRET>'"),
    (f"Authorization: Bearer {WEB_TOKEN}", "Authorization: Bearer <SECRET>"),
    (f"Here:\n{KEY}\nKeep it.", "Here:\n<SECRET>\nKeep it."),
    (f"Here:\n{CUT_KEY}", "Here:\n<SECRET>"),
    ("postgres://admin:hunter22@db.example.org/x", "postgres://admin:<SECRET>@db.example.org/x"),
    ("sk-proj-" + "a1B2" * 8 + " sk-ant-" + "a1B2" * 8 + " hf_" + "aBcD" * 8 + "ef", "<SECRET> <SECRET> <SECRET>"),
    ("AIza" + "a1B2_" * 7 + " github_pat_" + "a1B2" * 10 + " xoxb-123456789012-" + "abcd1234", "<SECRET> <SECRET> <SECRET>"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), FOUND, ids=[text[:24] for text, _ in FOUND])
def test_what_identifies_a_person_or_opens_a_door_is_found_whole(text: str, expected: str) -> None:
    changed, found = masked(text)
    assert changed == expected
    assert found == [word.lower() for word in expected.replace(">", "<").split("<") if word.lower() in KINDS]


NOTHING = [
    "Version 1.2.3.4 came out on 2024-05-01 at 12:30:45; v10.20.30.40 and Chrome/114.0.0.0 followed.",
    "See section 2.4.10.12, 192.168.1.1, 127.0.0.1, 10.0.0.8, ::1, fe80::1 and 300.1.1.1.",
    "3 * 4 + 5 = 17, 1 + 14155552671, 12+4915112345678, 3600000000000 + 62426244000, 2.718281828459045",
    "4111 1111 1111 1112 fails the check; so does DE89370400440532013001; 4212883012996 has 13 digits.",
    "file@2x.png, @dataclass, a@b.transpose(), lodash@4.17.21, git@github.com:a/b.git, user@localhost",
    "std::vector<int> x; y = z[1::2]; dead::beef; 00:1A:2B:3C:4D:5E; 3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    "Call 911, 555-1234 or 1234567890; order 123-456-7890-1; ISBN 978-3-16-148410-0; +5 points",
    "ftp://username:password@ftp.example.com/pub, https://bob@example.com/x",
    "postgres://user:password@localhost/x and https://user:<token>@host/x; task-sk-learn; ask-a-question-about-anything-at-all",
    "<EMAIL> <PHONE> <CARD> <IBAN> <IP> <SECRET>",
    "def f(x):\n    return {'key': 'value', 'n': 10_000_000}  # sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "",
]


@pytest.mark.parametrize("text", NOTHING, ids=[text[:24] for text in NOTHING])
def test_versions_dates_sums_and_code_are_not_taken_for_personal_data(text: str) -> None:
    assert masked(text) == (text, [])


def test_only_the_kinds_asked_for_are_masked() -> None:
    text = "bob@example.com, +49 30 901820"
    assert masked(text, "phone") == ("bob@example.com, <PHONE>", ["phone"])


def test_each_text_is_told_once_with_one_entry_a_finding_and_null_holds_nothing() -> None:
    text = "a@example.com b@example.com +49 30 901820"
    assert find(pl.Series([text, None, "nothing", text])).rows() == [(text, ["email", "email", "phone"])]


def test_values_inside_json_are_masked_and_its_shape_stays() -> None:
    text = '{"n": 4111111111111111, "n": 1.5, "u": "a\\u0040example.com", "t": "x\\nbob@example.com", "ids": [12, true]}'
    expected = '{"n": "<CARD>", "n": 1.5, "u": "<EMAIL>", "t": "x\\n<EMAIL>", "ids": [12, true]}'
    assert masked(text, is_json=True) == (expected, ["card", "email", "email"])
    json.loads(expected)


def test_what_was_meant_to_be_json_is_masked_all_the_same() -> None:
    assert masked('{"a": bob@example.com, "b": "al@example.com', is_json=True)[0] == '{"a": <EMAIL>, "b": "<EMAIL>'


PIECES = [text for text, _ in FOUND] + NOTHING + ["\r\n", " ", "e\u0301", "@", "+", "://u:", '"', "\\", "{", "1", "-", "."]


@given(st.lists(st.sampled_from(PIECES), max_size=6).map("".join), st.booleans())
def test_masking_again_changes_nothing(text: str, is_json: bool) -> None:
    once, _ = masked(text, is_json=is_json)
    assert masked(once, is_json=is_json) == (once, [])


@given(st.lists(st.sampled_from(PIECES), max_size=6).map("".join))
def test_what_a_mask_leaves_has_nothing_to_find(text: str) -> None:
    assert find(pl.Series([masked(text)[0]])).is_empty()


@pytest.mark.skipif(not RAW.is_dir(), reason="../shared/data is not there: the real files do not ship with the repository")
def test_on_500_real_rows_only_addresses_and_phone_numbers_are_found() -> None:
    packed = (RAW / "medicalgpt_dpo_zh" / "dpo_zh_500.jsonl.gz").read_bytes()
    rows = [json.loads(line) for line in gzip.decompress(packed).splitlines()]
    texts = pl.Series([text for row in rows for text in (row["chosen"], row["rejected"], *(m["value"] for m in row["conversations"]))])

    found = find(texts)

    # One person's address and number, in three answers: all six are right.
    assert Counter(kind for kinds in found["found"] for kind in kinds) == {"email": 3, "phone": 3}


def test_nothing_that_is_found_leaves_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a finder opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)

    assert find(pl.Series([text for text, _ in FOUND])).height == len(FOUND)


@pytest.mark.parametrize("piece", ["sk-", "eyJ", '\\"', "+1(", "a@b.", "://a:", "1-"])
def test_a_long_text_without_findings_is_read_to_its_end(piece: str) -> None:
    assert masked(piece * 20_000, is_json=True)[0].startswith(piece[:3])
