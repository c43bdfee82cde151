"""Endpoints in whole runs: what cannot work is said once, keys stay secret, what the data says comes first, and rules see it all."""

import json
import re
import socket
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from prefect.settings import PREFECT_API_URL

from tests.flows.asked import EVERYTHING, case, endpoint, explained, places_with, published, rows_of, start, words, write
from tests.flows.test_promises import Row
from tests.flows.test_voting import Published
from tests.llm.real_server import real_server
from tests.llm.scripted import Script, Server

Command = Callable[..., tuple[int, str, str]]
KEY, WRONG_KEY = "sk-planted-0123456789abcdef", "sk-another-fedcba9876543210"

pytestmark = pytest.mark.usefixtures("encoder")


def nobody() -> str:
    """An address that nobody listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


# What cannot work.


@pytest.mark.parametrize(
    ("changed", "code", "message", "requests"),
    [
        ({"key_env": "NOT_SET_ANYWHERE"}, 2, "the environment variable NOT_SET_ANYWHERE (key_env) is not set", 0),
        ({"key_env": "WRONG_KEY"}, 1, "HTTP 401: Incorrect API key provided", 1),
        ({"model": "gpt-0", "key_env": "PLANTED_KEY"}, 1, "Check model: it must be spelt as the server lists it under /models.", 1),
        ({"base_url": "/v1", "key_env": "PLANTED_KEY"}, 1, "Check base_url (it usually ends in /v1)", 0),
        ({"base_url": None, "retries": 0}, 1, "Check that the server runs and that base_url is right.", 0),
    ],
    ids=["no key", "wrong key", "unknown model", "wrong path", "nobody there"],
)
def test_an_endpoint_that_cannot_answer_is_told_once_and_nothing_is_published(
    changed: Row,
    code: int,
    message: str,
    requests: int,
    scripted: Callable[..., Server],
    prefine: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = scripted(key=KEY)
    monkeypatch.setenv("PLANTED_KEY", KEY)
    monkeypatch.setenv("WRONG_KEY", WRONG_KEY)
    if "base_url" in changed:
        changed = changed | {"base_url": server.url.removesuffix("/v1") if changed["base_url"] else nobody()}

    left, said, told = prefine("run", write(case(rows_of(6), [endpoint(server, **changed)]), tmp_path))

    assert left == code
    (line,) = (line for line in told.splitlines() if line.startswith("prefine: "))
    assert line.startswith("prefine: endpoint local")
    assert told.count(message) == line.count(message) == 1
    assert "published" not in said
    assert not list((tmp_path / "workspace" / "datasets").rglob("v00*"))
    assert len(server.log()) == requests
    assert KEY not in said + told
    assert WRONG_KEY not in said + told
    assert places_with(KEY, tmp_path) == places_with(WRONG_KEY, tmp_path) == []


# One run whose server sends the key back, of pairs of every kind.

PLAIN, AGAINST, SILENT, LEAKY, STATED = range(20), range(20, 24), range(24, 27), range(27, 29), range(29, 33)


def kinds() -> list[Row]:
    """Pairs by number, as above: what a writer that does not know the label says of them."""
    rows = rows_of(33)
    for n in AGAINST:  # it prefers the longer answer
        rows[n] |= {"chosen": rows[n]["rejected"], "rejected": rows[n]["chosen"]}
    for n in SILENT:
        rows[n]["prompt"] += " Silence!"
    for n in LEAKY:
        rows[n]["prompt"] += " Whisper!"
    for n in STATED:
        rows[n]["rationale"] = f"Response 1 speaks of {words(10_000 + n, 6)}, which was asked for, and Response 2 says little of it."
    return rows


@dataclass(frozen=True)
class Told:
    """A run in a process of its own: what it published, said, and was asked."""

    home: Path
    found: Published
    said: str
    log: list[Row]

    def of(self, numbers: range) -> pl.DataFrame:
        """The pairs of these numbers."""
        wanted = [f"topic{n}:" for n in numbers]
        prompt = pl.col("prompt").list.first().struct.field("content")
        return self.found.pairs().filter(prompt.str.contains_any(wanted))


@pytest.fixture(scope="module")
def told(running: Server, encoder: object, tmp_path_factory: pytest.TempPathFactory) -> Told:
    home = tmp_path_factory.mktemp("told")
    running.rewrite(Script(answer=EVERYTHING, key=KEY, where={"Silence!": ["prose"] * 9, "Whisper!": ["leak"] * 9}))
    running.forget()
    rules = [
        {"name": "argues_against", "drop_if": "rationale_against"},
        {"name": "unexplained", "drop_if": "rationale_missing is not null"},
    ]
    given = case(
        kinds(),
        [endpoint(running, key_env="PLANTED_KEY")],
        partitions=3,
        rules={"preset": "none", "add": rules},
        rationales={"endpoint": "local", "labels": "hidden"},
    )
    process = start("run", write(given, home), "--debug", PLANTED_KEY=KEY, PREFECT_LOGGING_TO_API_ENABLED="true")
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return Told(home, published(home), said, running.log())


def test_a_key_is_found_nowhere_but_in_requests(told: Told) -> None:
    assert {row["outcome"] for row in told.log} == {"ok", "prose", "leak"}
    assert {row["authorization"] for row in told.log} == {f"Bearer {KEY}"}
    assert KEY not in told.said
    assert places_with("Silence!", told.home)
    assert places_with("you are Bearer [key]", told.home)  # it came back, and was taken out
    assert places_with(KEY, told.home) == []
    kept = prefect_log()
    assert "ask rationales" in kept
    assert KEY not in kept


def prefect_log() -> str:
    """What Prefect's server keeps of all runs of this session."""
    told: list[str] = []
    while True:
        body = json.dumps({"limit": 200, "offset": 200 * len(told), "sort": "TIMESTAMP_ASC"}).encode()
        request = urllib.request.Request(f"{PREFECT_API_URL.value()}/logs/filter", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as reply:
            page = reply.read().decode()
        told.append(page)
        if len(json.loads(page)) < 200:
            return "".join(told)


def test_rules_on_rationales_drop_what_is_argued_against_and_what_nobody_can_explain(told: Told) -> None:
    dropped = told.found.table("dropped").select("pair_id", "reason")

    assert dict(dropped["reason"].value_counts().iter_rows()) == {"argues_against": len(AGAINST), "unexplained": len(SILENT) + len(LEAKY)}
    against, silent = told.of(AGAINST), pl.concat([told.of(SILENT), told.of(LEAKY)])
    assert against["rationale_against"].to_list() == [True] * len(AGAINST)
    assert set(against["rationale_missing"]) == {"other_verdict"}
    assert set(silent["rationale_missing"]) == {"not_json"}
    assert explained(told.found) == set(told.of(PLAIN)["pair_id"]) | set(told.of(STATED)["pair_id"])
    lines = [line["stage"].split(" (")[0].split(",")[0] for line in told.found.manifest()["counts"]]
    assert lines.index("explain") < lines.index("rule argues_against") < lines.index("rule unexplained")


def test_what_the_data_says_is_preferred_and_nothing_else_is_asked_for(told: Told) -> None:
    stated = told.of(STATED)["rationale"].struct.unnest()
    written = told.found.table("rationales").filter(pl.col("pair_id").is_in(told.of(STATED)["pair_id"].implode()))

    assert set(stated["kind"]) == {"stated"}
    assert stated["text"].str.contains("^(?i:the chosen response) speaks of .* and the rejected response says little of it").all()
    assert set(written["kind"]) == {"stated"}
    assert written["recovered_first"].to_list() == written["recovered_second"].to_list() == ["chosen"] * len(STATED)
    asked = len(PLAIN) + len(AGAINST) + 2 * (len(SILENT) + len(LEAKY))  # a repair each
    assert len(told.log) == asked + 2 * (len(PLAIN) + len(STATED))


def test_explain_shows_rationales_and_what_readers_make_of_them(told: Told, prefine: Command) -> None:
    pair = told.of(PLAIN).row(0, named=True)
    against = told.of(AGAINST).row(0, named=True)

    code, said, _ = prefine("explain", pair["pair_id"], "--config", told.home / "prefine.yaml")
    assert (code, pair["rationale"]["text"] in said, "by scripted" in said) == (0, True, True)
    code, said, _ = prefine("explain", against["pair_id"], "--config", told.home / "prefine.yaml")
    assert (code, "other_verdict" in said) == (0, True)


# Before anything is spent.


def test_a_plan_asks_nothing_and_a_run_asks_what_it_says(scripted: Callable[..., Server], prefine: Command, tmp_path: Path) -> None:
    server = scripted()
    judges = [{"name": "panel", "endpoint": "local", "probes": 2}]
    place = write(case(rows_of(8), [endpoint(server)], judges=judges, budget={"max_cost": 0.02}), tmp_path)

    code, said, _ = prefine("plan", place, "--quick")
    assert (code, (tmp_path / "workspace/store/embeddings").exists()) == (0, False)
    assert "Input files, no version yet: 1 new (8 rows)." in said
    assert "Requests: not counted (--quick)." in said

    code, said, _ = prefine("plan", place, "--format", "json")
    plan = json.loads(said)
    assert (code, server.log()) == (0, [])
    assert plan["reuse"]["texts_to_embed"] == plan["reuse"]["texts"] == plan["reuse"]["texts_to_compare"] == 24
    assert plan["reuse"]["seconds"] is None
    assert not list((tmp_path / "workspace" / "datasets").rglob("v00*"))
    requests = {line["purpose"]: line["requests"] for line in plan["lines"]}
    assert requests == {"judges": 2 * (8 + 2), "rationales": 3 * 8}
    assert all(0 < line["cost"] < line["most_cost"] for line in plan["lines"])
    assert plan["caps"] == {"cost": 0.02}
    assert plan["admitted"]["rationales"] < 8

    code, said, _ = prefine("plan", place)
    assert "The budget has room for 0.02 cost." in said
    assert "at the most that they can cost; a run goes on while there is room." in said

    write(case(rows_of(8), [endpoint(server)], judges=judges), tmp_path)
    code, _, _ = prefine("run", place)
    assert (code, len(server.log())) == (0, sum(requests.values()))
    code, said, _ = prefine("plan", place)
    assert "Input files, since v000001: 1 unchanged (8 rows)." in said
    assert "Texts: 24; 24 are embedded already, 0 are to be embedded." in said
    assert "Near duplicates: 0 texts are to be compared" in said
    assert re.search(r"Time, without requests: about \d+ s \(from the times of v000001\)", said)
    assert "Nothing is to be asked" in said


# A server that is not ours.


def test_a_run_against_transformers_serve(tmp_path: Path) -> None:
    told = "Response A names the river and the stone that were asked for, while Response B leaves both out of it."
    with real_server(tmp_path, json.dumps({"rationale": told, "verdict": "A"})) as server:
        of = {"name": "local", "base_url": server.url, "model": server.model, "context_tokens": 4096, "concurrency": 2}
        folder = tmp_path / "run"
        folder.mkdir()
        read = case(rows_of(3), [of]).run(folder)
        unread = case(rows_of(3), [of], rationales={"endpoint": "local", "verify": False}).run(folder)

    assert (read.outcome.asked, unread.outcome.asked) == (9, 0)
    # It names the same letter whatever is shown there: nothing that a reader could be told by.
    assert set(read.table("data")["rationale_missing"]) == {"order_changes_verdict"}
    assert len(explained(unread)) == 3
    rows = unread.table("rationales")
    assert (rows["input_tokens"].min(), rows["output_tokens"].to_list()) > (0, [0] * 3)
    sides = rows["text"].str.extract("(?i)the (chosen|rejected) response names")
    assert (sides == rows["shown_first"]).all()
    assert read.manifest()["endpoints"][0]["structured"] == "json_schema"
