"""Rationales of whole runs: whatever goes wrong each pair has one or a reason, and no answer is paid for twice, nor above a cap."""

import signal
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.flows.asked import case, content, endpoint, explained, follow, places_with, published, rows_of, start, write
from tests.flows.test_promises import Row
from tests.flows.test_voting import Case, Published
from tests.llm.scripted import ANSWERED, PASSING, Server

Command = Callable[..., tuple[int, str, str]]
KEY = "sk-planted-0123456789abcdef"
MANY, FEW = 300, 30
# One question each: what another try mends, and what comes as an answer.
MIXED = ["429", "500", "503", "drop", "cut_json", "cut_transfer", "empty", "error_200", "wrong_schema", "prose", "length"]
USAGE = ["no_usage", "negative_usage", "zero_usage", "huge_usage"]
SPOILT = ["not_json", "wrong_schema", "cut_off"]  # what becomes of those that are answers
READER = "What was written about them:"

pytestmark = pytest.mark.usefixtures("encoder")


def by_question(server: Server) -> dict[str, list[str]]:
    """What became of the requests for each question, in order."""
    told: dict[str, list[str]] = defaultdict(list)
    for row in server.log():
        told[row["question"]].append(row["outcome"])
    return told


# Faults of every kind.


@dataclass(frozen=True)
class Faulty:
    """A run against a server with faults, what the server saw of it, and the same run once more."""

    found: Published
    asked: dict[str, list[str]]
    again: Published
    asked_again: int


@pytest.fixture(scope="module")
def faulty(running: Server, encoder: object, tmp_path_factory: pytest.TempPathFactory) -> Faulty:
    """One in ten questions meets a fault; one pair in a hundred is answered too late."""
    rows, home = rows_of(MANY), tmp_path_factory.mktemp("faulty")
    late = [row | {"prompt": f"Slowly. {row['prompt']}"} if n % 100 == 0 else row for n, row in enumerate(rows)]
    # A reader's question has the prompt in it too, and is not to be late.
    follow(running, mixed=[*MIXED, *USAGE], share=0.1, where={READER: [], "Slowly.": ["slow"]}, slow_seconds=60.0)
    given = case(late, [endpoint(running, concurrency=64, timeout_seconds=8.0)], partitions=2)
    found = given.run(home)
    asked = by_question(running)
    again = given.run(home)
    return Faulty(found, asked, again, len(running.log()) - sum(map(len, asked.values())))


def test_faults_of_every_kind_were_met(faulty: Faulty) -> None:
    assert {outcome for outcomes in faulty.asked.values() for outcome in outcomes} == {*MIXED, *USAGE, "slow", "ok"}
    assert sum(outcomes != ["ok"] for outcomes in faulty.asked.values()) > 0.08 * len(faulty.asked)


def test_each_pair_has_a_rationale_or_a_reason(faulty: Faulty) -> None:
    pairs = faulty.found.pairs()

    assert pairs.height == MANY
    assert (pairs["rationale"].is_not_null() ^ pairs["rationale_missing"].is_not_null()).all()
    # A writer's answer in the wrong form is asked for again, once; a reader's is not.
    assert "not_verified" in set(pairs["rationale_missing"]) <= {None, "not_verified", *SPOILT}
    assert 0.95 * MANY < len(explained(faulty.found)) < MANY


def test_every_request_is_a_question_a_repair_or_follows_a_failure(faulty: Faulty) -> None:
    written = faulty.found.table("rationales").filter(pl.col("kind") == "detailed")
    repairs = written.height - MANY
    put_to_readers = written.filter(pl.col("accepted") | (pl.col("reason") == "not_verified")).height

    spoilt = written.filter(pl.col("reason").is_in(SPOILT))
    assert repairs == spoilt.n_unique("pair_id") > 0
    assert len(faulty.asked) == MANY + repairs + 2 * put_to_readers
    for outcomes in faulty.asked.values():
        assert outcomes[-1] in ANSWERED, outcomes
        assert set(outcomes[:-1]) <= set(PASSING), outcomes  # nothing is asked again once it is answered
    assert faulty.found.outcome.asked == sum(map(len, faulty.asked.values()))


def test_the_funnel_tells_what_has_no_rationale_and_what_all_cost(faulty: Faulty) -> None:
    (line,) = (line for line in faulty.found.outcome.counts if line["stage"].startswith("explain"))
    missing = faulty.found.pairs()["rationale_missing"].drop_nulls()

    assert (line["rows_in"], line["dropped"], sum(line["reasons"].values())) == (MANY, len(missing), len(missing))
    assert set(line["reasons"]) == set(missing)
    assert "label recovered 100% of" in line["stage"]
    assert "cost" in line["stage"]


def test_a_second_run_asks_nothing_and_publishes_nothing(faulty: Faulty) -> None:
    assert faulty.asked_again == faulty.again.outcome.asked == 0
    assert (faulty.again.outcome.unchanged, faulty.again.outcome.version) == (True, faulty.found.outcome.version)


# Few pairs, no faults: what a kill, a cap and partitions (one here, three there) must not change.


def few(server: Server, partitions: int = 1, budget: Row | None = None, **changed: Any) -> Case:
    return case(rows_of(FEW), [endpoint(server, **{"concurrency": 8, **changed})], partitions, budget=budget or {})


@pytest.fixture(scope="module")
def whole(running: Server, encoder: object, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Nothing goes wrong, and nothing is capped: three requests a pair."""
    follow(running, usage=[1000, 50])
    found = few(running).run(tmp_path_factory.mktemp("whole"))
    assert len(explained(found)) == FEW
    assert running.outcomes() == {"ok": 3 * FEW}
    return found


def test_killed_in_the_middle_only_what_was_under_way_is_asked_again(
    whole: Published, scripted: Callable[..., Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = scripted(usage=[1000, 50], latency_ms=100.0, key=KEY)
    given = few(server, partitions=3, key_env="PLANTED_KEY")
    place = write(given, tmp_path)
    process = start("run", place, PLANTED_KEY=KEY)
    while len(server.log()) < FEW and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    said, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, said
    before = server.counts()
    assert FEW <= len(before) < 3 * FEW, "it was killed while it asked"
    assert not (tmp_path / "workspace" / "datasets" / "votes" / "v000001").exists()
    assert places_with(KEY, tmp_path) == []  # in what a killed run leaves

    monkeypatch.setenv("PLANTED_KEY", KEY)
    finished = given.run(tmp_path)

    repeated = [question for question, times in server.counts().items() if times > 1]
    assert len(repeated) <= 8 < len(before)
    assert set(repeated) <= set(before)
    assert len(server.counts()) == 3 * FEW
    assert content(finished) == content(whole)
    assert KEY not in said


# Caps.

CAPS: list[tuple[Row, float]] = [({"max_requests": 50}, 1.0), ({"max_cost": 0.02}, 1050 / 1e6)]


@pytest.mark.parametrize(("budget", "each"), CAPS, ids=["requests", "cost"])
def test_a_cap_is_never_exceeded_and_a_higher_one_goes_on(
    budget: Row, each: float, whole: Published, scripted: Callable[..., Server], prefine: Command, tmp_path: Path
) -> None:
    ((name, cap),) = budget.items()
    server = scripted(usage=[1000, 50])

    code, said, told = prefine("run", write(few(server, 3, budget), tmp_path))

    found, sent = published(tmp_path), len(server.log())
    assert code == 3
    assert "votes published v000001" in said
    assert f"published, but incomplete: rationales: {FEW - len(explained(found))} pairs were not asked about" in told
    assert f"{name} {cap:,}; spent: {sent} requests" in told
    assert "Raise `budget:` and run again" in told
    assert sent * each <= cap
    assert sent == 48 or name != "max_requests"  # it is used as far as whole pairs go
    missing = found.table("data").filter(pl.col("rationale").is_null())
    assert set(missing["rationale_missing"]) == {"budget"}
    assert 0 < len(explained(found)) < FEW

    if name == "max_requests":  # a run that is started again and again cannot spend more
        code, _, told = prefine("run", tmp_path / "prefine.yaml")
        assert (code, len(server.log())) == (3, sent), told

        (tmp_path / "other").mkdir()
        one_by_one = few(server, 1, budget, concurrency=1).run(tmp_path / "other")
        assert (explained(one_by_one), content(one_by_one)) == (explained(found), content(found))
        return

    code, _, _ = prefine("run", write(few(server, 3, {name: 1000 * cap}), tmp_path))
    assert (code, len(server.log())) == (0, 3 * FEW)
    assert set(server.counts().values()) == {1}
    assert content(published(tmp_path)) == content(whole)


def test_a_cap_counts_failures_and_holds_where_every_question_fails_once(
    scripted: Callable[..., Server], prefine: Command, tmp_path: Path
) -> None:
    server = scripted(each=["500"])

    code, _, told = prefine("run", write(few(server, 2, {"max_requests": 50}), tmp_path))
    assert (code, "max_requests 50" in told, len(server.log()) <= 50) == (3, True, True)
    assert len(explained(published(tmp_path))) < FEW

    code, _, _ = prefine("run", write(few(server, 2), tmp_path))
    assert (code, len(explained(published(tmp_path)))) == (0, FEW)
    assert set(map(tuple, by_question(server).values())) == {("500", "ok")}
