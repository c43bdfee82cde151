"""Batch files against a server that executes them, loses them, lets them expire, and counts what is paid for."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config import BudgetConfig
from pipeline.errors import EndpointError
from pipeline.llm.batch import BatchClient, Limits
from pipeline.llm.batch_files import Notes
from pipeline.llm.budget import Budget
from pipeline.llm.client import LanguageModel
from pipeline.store import Store
from tests.llm.asking import FORM, KEY, PRICE, answers, ask, language_model, many, messages, requests, server_counts
from tests.llm.batch_server import BatchServer, batch_server
from tests.llm.scripted import CHECKOUT, question

START_SECONDS = 60
FAST = Limits(poll_seconds=0.01)
COST = (40 * PRICE["input"] + 9 * PRICE["output"]) / 1e6 / 2  # of an answer: half of what it costs otherwise


@contextmanager
def batch_model(url: str, folder: Path, budget: Budget | None = None, limits: Limits = FAST, **changed: Any) -> Iterator[LanguageModel]:
    """A model that is asked by batch files and looks often."""
    with language_model(url, folder, budget, batch=True, **changed) as model:
        of = model.endpoint, model._key, model._store, model._dataset, model._budget
        model._batch_client = BatchClient(*of, model._dialect, model._servers, limits)
        yield model


def failing(model: LanguageModel, asked: pl.DataFrame) -> str:
    """What an ask that cannot go on says."""
    with pytest.raises(EndpointError) as raised:
        ask(model, asked)
    return str(raised.value)


def notes(folder: Path) -> Notes:
    return Notes(Store(str(folder)), "demo")


def test_questions_go_as_one_file_and_their_answers_are_kept_for_half_the_price(tmp_path: Path) -> None:
    asked, told = many(30), list[int]()
    with batch_server() as server, batch_model(server.url, tmp_path) as model:
        result = model.ask(FORM, asked, told.append)
        rows, about = answers(model, asked), model.about()

    assert (result.answered, result.sent, result.failures.height, sum(told)) == (30, 30, 0, 30)
    assert len(server.batches) == 1
    assert rows["text"].to_list() == [json.dumps({"answer": one}) for one in server_counts(asked)]
    assert rows.select("input_tokens", "output_tokens", "usage_stated", "finish_reason", "attempts", "latency_ms").unique().rows() == [
        (40, 9, True, "stop", 1, 7000)
    ]
    assert rows["cost"].to_list() == pytest.approx([COST] * 30)
    assert result.cost == pytest.approx(30 * COST)
    assert about["server_says"] == ["scripted-2024"]
    assert json.loads(rows["raw"][0])["usage"]["prompt_tokens"] == 40


def test_a_line_is_what_one_request_would_be(tmp_path: Path) -> None:
    asked = requests("one")
    with batch_server() as server, batch_model(server.url, tmp_path, extra={"seed": 3}) as model:
        ask(model, asked)
    assert server.lines() == [
        {
            "custom_id": asked["key"][0],
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {
                "model": "scripted",
                "max_tokens": 100,
                "stream": False,
                "temperature": 0.0,
                "response_format": {"type": "json_schema", "json_schema": {"name": "test", "strict": True, "schema": dict(FORM.schema)}},
                "seed": 3,
                "messages": messages("one"),
            },
        }
    ]


def test_a_second_ask_sends_nothing_and_no_note_is_left(tmp_path: Path) -> None:
    with batch_server() as server:
        for more, sent in (([], 5), ([], 0), (["another"], 1)):
            with batch_model(server.url, tmp_path) as model:
                assert ask(model, pl.concat([many(5), requests(*more)])).sent == sent
    assert set(server.paid.values()) == {1}
    assert notes(tmp_path).all() == []


@pytest.mark.parametrize(
    ("limits", "files"), [(Limits(questions=7, poll_seconds=0.01), 3), (Limits(file_bytes=2000, poll_seconds=0.01), 5)]
)
def test_a_file_holds_no_more_than_the_provider_takes(limits: Limits, files: int, tmp_path: Path) -> None:
    with batch_server() as server, batch_model(server.url, tmp_path, limits=limits) as model:
        assert ask(model, many(20)).answered == 20
    inputs = [server.files[batch["input_file_id"]] for batch in server.batches.values()]
    assert len(inputs) == files
    assert all(len(one) <= limits.file_bytes and one.count(b"\n") <= limits.questions for one in inputs)
    assert len({line["custom_id"] for line in server.lines()}) == 20


@pytest.mark.parametrize(
    ("fate", "reason", "paid"),
    [
        ("context", "context_too_long", 0.0),
        ("500", "server_error", 0.0),
        ("expired", "batch_expired", 0.0),
        ("cancelled", "batch_cancelled", 0.0),
        ("timeout", "timeout", 1.0),
        ("nothing", "batch_lost", 1.0),
        ("garbage", "batch_lost", 1.0),
        ("empty", "empty", COST),
    ],
)
def test_a_question_without_an_answer_has_a_reason_and_the_others_are_answered(fate: str, reason: str, paid: float, tmp_path: Path) -> None:
    budget, asked = Budget(BudgetConfig()), requests("one", "bad", "two")
    with batch_server(fates={"bad": [fate] * 9}) as server, batch_model(server.url, tmp_path, budget, retries=0) as model:
        result = ask(model, asked)
        worst = model.worst_case(FORM, requests("bad"))["cost"][0]
        spent = model.spent_before(FORM, asked)

    assert result.answered == 2
    assert result.failures.select("pair_id", "reason").rows() == [(asked["pair_id"][1], reason)]
    assert result.failures["detail"][0]
    assert result.cost == pytest.approx(2 * COST + (worst if paid == 1.0 else paid))
    # What this run counts is what the next one finds.
    assert (budget.used.requests, budget.used.tokens) == (spent.requests, spent.tokens)
    assert budget.used.cost == pytest.approx(spent.cost)


@pytest.mark.parametrize("fate", ["500", "timeout", "empty"])
def test_a_fault_that_passes_is_asked_again_in_the_next_file(fate: str, tmp_path: Path) -> None:
    with batch_server(fates={"bad": [fate]}) as server, batch_model(server.url, tmp_path) as model:
        assert ask(model, requests("one", "bad")).answered == 2
    assert [batch["request_counts"]["total"] for batch in server.batches.values()] == [2, 1]


def test_a_fault_that_stays_is_given_up_after_three_files(tmp_path: Path) -> None:
    with batch_server(fates={"bad": ["500"] * 99}) as server, batch_model(server.url, tmp_path, retries=9) as model:
        assert ask(model, requests("one", "bad")).failures["reason"].to_list() == ["server_error"]
    assert len(server.batches) == 3


@pytest.mark.parametrize(("end", "reason"), [("expired", "batch_expired"), ("cancelled", "batch_cancelled"), ("completed", "batch_lost")])
def test_a_batch_that_ended_early_keeps_what_it_answered(end: str, reason: str, tmp_path: Path) -> None:
    with batch_server(ends=[end], fates={"late": ["nothing"]}) as server, batch_model(server.url, tmp_path) as model:
        result = ask(model, requests("one", "late"))
        assert (result.answered, result.failures["reason"].to_list()) == (1, [reason])
        assert ask(model, requests("one", "late")).answered == 1  # another ask tries anew
    assert len(server.batches) == 2


def test_a_batch_that_the_provider_refuses_costs_nothing_and_says_why(tmp_path: Path) -> None:
    budget = Budget(BudgetConfig())
    with (
        batch_server(ends=["failed"], errors=[{"code": "odd", "message": "Odd file", "line": 1}]) as server,
        batch_model(server.url, tmp_path, budget) as model,
    ):
        result = ask(model, many(2))
    assert result.failures["reason"].to_list() == ["batch_failed"] * 2
    assert "Odd file" in result.failures["detail"][0]
    assert (result.sent, budget.used.requests, budget.used.cost) == (0, 0, 0.0)
    assert notes(tmp_path).all() == []


def test_a_batch_that_had_to_wait_for_others_is_handed_in_again(tmp_path: Path) -> None:
    full = [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}]
    with batch_server(ends=["failed"], errors=full) as server, batch_model(server.url, tmp_path) as model:
        assert ask(model, many(2)).answered == 2
    assert len(server.batches) == 2


@pytest.mark.parametrize("supports", ["json_object", "none"])
def test_a_server_without_schemas_is_asked_for_less(supports: str, tmp_path: Path) -> None:
    with batch_server(supports=supports) as server, batch_model(server.url, tmp_path) as model:
        assert ask(model, many(3)).answered == 3
        assert model.about()["structured"] == supports
    assert set(server.paid.values()) == {1}


def test_a_server_that_refuses_what_is_configured_ends_the_ask(tmp_path: Path) -> None:
    with batch_server(supports="none") as server, batch_model(server.url, tmp_path, structured="json_schema") as model:
        told = failing(model, many(3))
    assert "refuses response_format: change the endpoint's settings" in told


def test_an_unknown_model_ends_the_ask(tmp_path: Path) -> None:
    with batch_server(fates={"question": ["model"]}) as server, batch_model(server.url, tmp_path) as model:
        told = failing(model, many(3))
    assert re.search("does not exist.*Check model", told)
    assert len(server.batches) == 1


def test_absurd_usage_is_charged_at_the_most_it_can_be(tmp_path: Path) -> None:
    asked = requests("one")
    with batch_server(fates={"one": ["usage"]}) as server, batch_model(server.url, tmp_path) as model:
        worst = model.worst_case(FORM, asked)
        assert ask(model, asked).cost == pytest.approx(worst["cost"][0])
        assert answers(model, asked)["usage_stated"].to_list() == [False]


def test_other_line_ends_within_an_answer_and_half_characters_do_no_harm(tmp_path: Path) -> None:
    asked = requests("one", "odd")
    with batch_server(fates={"odd": ["lines"]}) as server, batch_model(server.url, tmp_path) as model:
        ask(model, asked)
        assert answers(model, asked)["text"][1] == "a\u2028b\u0085c\u000bd\re ?"


@pytest.mark.parametrize("fault", ["500", "lost"])
@pytest.mark.parametrize("place", ["POST /files", "POST /batches", "GET /batches", "GET /files"])
def test_what_is_lost_on_the_way_is_asked_for_again_and_no_batch_is_made_twice(place: str, fault: str, tmp_path: Path) -> None:
    with batch_server(faults={place: [fault]}) as server, batch_model(server.url, tmp_path) as model:
        assert ask(model, many(3)).answered == 3
    assert len(server.batches) == 1
    assert not server.faults[place]


@pytest.mark.parametrize("place", ["POST /files", "POST /batches", "GET /batches", "GET /files"])
def test_a_server_that_is_down_ends_the_ask_and_the_next_run_goes_on_with_the_same_batch(place: str, tmp_path: Path) -> None:
    with batch_server(faults={place: ["500", "500"]}) as server:
        with (
            batch_model(server.url, tmp_path, retries=1) as model,
            pytest.raises(EndpointError, match=r"HTTP 500.*waited for, not paid again"),
        ):
            ask(model, many(3))
        budget = Budget(BudgetConfig())
        with batch_model(server.url, tmp_path, budget) as model:
            assert ask(model, many(3)).answered == 3
            assert budget.used.requests == 3
    assert set(server.paid.values()) == {1}
    assert notes(tmp_path).all() == []


def test_a_batch_that_the_server_does_not_know_is_not_paid_again_unasked(tmp_path: Path) -> None:
    with batch_server(faults={"GET /batches": ["500", "500"]}) as server:
        with batch_model(server.url, tmp_path, retries=1) as model, pytest.raises(EndpointError):
            ask(model, many(3))
        (note,) = notes(tmp_path).all()
        server.batches.clear()
        with (
            batch_model(server.url, tmp_path) as model,
            pytest.raises(EndpointError, match=rf"does not know batch batch_0.*{note.token}\.json"),
        ):
            ask(model, many(3))
        assert not server.batches


def test_an_answer_file_that_is_gone_leaves_reasons_and_is_charged(tmp_path: Path) -> None:
    budget = Budget(BudgetConfig())
    with batch_server(faults={"GET /files": ["404"]}) as server, batch_model(server.url, tmp_path, budget) as model:
        worst = model.worst_case(FORM, many(2))["cost"].sum()
        assert ask(model, many(2)).failures["reason"].to_list() == ["batch_lost"] * 2
        assert budget.used.cost == pytest.approx(worst)


def test_a_wrong_key_and_a_wrong_place_are_said_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED", KEY)
    with batch_server(key="another") as server, batch_model(server.url, tmp_path, key_env="PLANTED") as model:
        assert re.search("401.*Check the key", failing(model, many(1)))
    with batch_model("http://127.0.0.1:9/v1", tmp_path, retries=0) as model:
        assert re.search("no connection.*base_url", failing(model, many(1)))


def test_the_key_stays_out_of_everything_that_is_kept_or_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PLANTED", KEY)
    caplog.set_level(0)
    faults = {"GET /batches": ["500"], "POST /batches": ["400"]}
    leaking = {"fates": {"one": ["leak"]}, "faults": faults}
    with batch_server(key=KEY, **leaking) as server, batch_model(server.url, tmp_path, key_env="PLANTED") as model:
        refused = failing(model, requests("one"))
        asked = ask(model, requests("one"))
        told = [refused, str(asked), str(model.about()), answers(model, requests("one"))["text"][0], caplog.text]
    assert asked.answered == 1
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert kept
    assert not [text for text in told if KEY in text]
    assert not [content for content in kept if KEY.encode() in content]


# Budget.


def test_a_file_holds_what_the_budget_has_room_for_and_later_ones_what_it_gave_back(tmp_path: Path) -> None:
    asked = many(10)
    with batch_server() as server:
        with batch_model(server.url, tmp_path) as model:
            worst = model.worst_case(FORM, asked)["cost"].max()
        assert isinstance(worst, float)
        with batch_model(server.url, tmp_path, budget := Budget(BudgetConfig(max_cost=3.5 * worst))) as model:
            assert ask(model, asked).answered == 10

    assert [batch["request_counts"]["total"] for batch in server.batches.values()][:2] == [3, 3]
    assert budget.used.cost == pytest.approx(10 * COST)


def test_what_a_cap_leaves_out_is_the_end_of_the_order(tmp_path: Path) -> None:
    asked = many(12)
    with batch_server() as server:
        with batch_model(server.url, tmp_path / "all") as model:
            ask(model, asked)
        order = [line["custom_id"] for line in server.lines()]
        with batch_model(server.url, tmp_path / "some", Budget(BudgetConfig(max_requests=5))) as model:
            result = ask(model, asked.sample(fraction=1.0, shuffle=True, seed=1))
            assert set(model.missing(FORM, asked)["key"]) == set(order[5:])
        with batch_model(server.url, tmp_path / "some", Budget(BudgetConfig(max_requests=20))) as model:
            assert ask(model, asked).answered == 7
    assert "budget.max_requests is 5" in result.failures["detail"][0]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cap=st.fixed_dictionaries(
        {}, optional={"max_requests": st.integers(0, 12), "max_tokens": st.integers(0, 6000), "max_cost": st.floats(0, 0.02)}
    ),
    fates=st.lists(st.sampled_from(["ok", "500", "timeout", "nothing", "empty", "usage", "expired"]), min_size=8, max_size=8),
    size=st.integers(1, 8),
)
def test_no_cap_is_ever_exceeded_and_every_question_is_accounted_for(
    cap: dict[str, Any], fates: list[str], size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    budget, asked = Budget(BudgetConfig(**cap)), many(8)
    script = {f"question {number}": [fate] for number, fate in enumerate(fates)}
    limits = Limits(questions=size, poll_seconds=0.001)
    with batch_server(fates=script) as server, batch_model(server.url, tmp_path_factory.mktemp("store"), budget, limits) as model:
        result = ask(model, asked)
        spent = model.spent_before(FORM, asked)

    assert result.answered + result.failures.height == 8
    used = budget.used
    assert used.requests <= cap.get("max_requests", 10**9)
    assert used.tokens <= cap.get("max_tokens", 10**9)
    assert used.cost <= cap.get("max_cost", 1e9)
    assert (used.requests, used.tokens) == (spent.requests, spent.tokens)
    assert used.cost == pytest.approx(spent.cost)
    assert sum(server.paid.values()) <= used.requests


def test_threads_that_ask_at_once_pay_for_each_question_once(tmp_path: Path) -> None:
    parts = [many(40)[start : start + 10] for start in range(0, 40, 10)]
    with batch_server() as server, batch_model(server.url, tmp_path, budget := Budget(BudgetConfig())) as model:
        sent: list[int] = []
        threads = [threading.Thread(target=lambda part=part: sent.append(ask(model, part).sent)) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert model.missing(FORM, many(40)).is_empty()
    assert sorted(sent) == [10] * 4
    assert budget.used.requests == 40
    assert set(server.paid.values()) == {1}


# Runs that are killed.

_RUN = """
import sys
from pathlib import Path
from tests.llm.asking import ask, many
from tests.llm.test_batch import batch_model
with batch_model(sys.argv[1], Path(sys.argv[2])) as model:
    ask(model, many(6))
"""


def killed(server: BatchServer, folder: Path, when: Callable[[float], bool]) -> None:
    """Run an ask in a process of its own, and kill it."""
    process = subprocess.Popen([sys.executable, "-c", _RUN, server.url, str(folder)], cwd=CHECKOUT, env=os.environ)
    try:
        assert when(START_SECONDS)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()


def test_a_run_that_was_killed_while_it_waited_waits_for_the_same_batch_again(tmp_path: Path) -> None:
    with batch_server() as server:
        server.open.clear()
        killed(server, tmp_path, server.polled.wait)
        server.open.set()
        budget = Budget(BudgetConfig())
        with batch_model(server.url, tmp_path, budget) as model:
            worst = model.worst_case(FORM, many(6))["cost"].sum()
            assert budget.used.cost == pytest.approx(worst)  # it may have been spent, so it counts until it is known
            result = ask(model, pl.concat([many(6), requests("more")]))
            spent = model.spent_before(FORM, pl.concat([many(6), requests("more")]))
    assert (result.answered, result.failures.height) == (7, 0)
    assert len(server.batches) == 2
    assert set(server.paid.values()) == {1}
    assert (budget.used.requests, spent.requests) == (7, 7)
    assert budget.used.cost == pytest.approx(spent.cost) == pytest.approx(7 * COST)


def test_a_run_that_was_killed_while_it_made_a_batch_finds_it(tmp_path: Path) -> None:
    with batch_server(faults={"POST /batches": ["hang"]}) as server:
        killed(server, tmp_path, server.made.wait)
        assert [note.batch for note in notes(tmp_path).all()] == [None]
        with batch_model(server.url, tmp_path) as model:
            assert ask(model, many(6)).answered == 6
    assert len(server.batches) == 1


def test_a_run_that_was_killed_before_it_made_a_batch_makes_one(tmp_path: Path) -> None:
    with batch_server(faults={"POST /files": ["hang"]}) as server:
        killed(server, tmp_path, lambda seconds: _until(lambda: bool(server.files), seconds))
        with batch_model(server.url, tmp_path, budget := Budget(BudgetConfig())) as model:
            assert ask(model, many(6)).answered == 6
    assert len(server.batches) == 1
    assert budget.used.requests == 6


def _until(holds: Callable[[], bool], seconds: float) -> bool:
    pause = threading.Event()
    return any(holds() or pause.wait(0.02) for _ in range(round(seconds / 0.02)))


def test_a_note_whose_answers_are_all_there_is_forgotten(tmp_path: Path) -> None:
    """The run was killed after it had stored them, and before it deleted the note."""
    with batch_server(faults={"GET /batches": ["500", "500"]}) as server:
        with batch_model(server.url, tmp_path, retries=1) as model, pytest.raises(EndpointError):
            ask(model, many(3))
        (note,) = notes(tmp_path).all()
        with batch_model(server.url, tmp_path) as model:
            ask(model, many(3))
        notes(tmp_path).keep(note)
        with batch_model(server.url, tmp_path, budget := Budget(BudgetConfig())) as model:
            assert ask(model, many(3)).sent == 0
    assert budget.used.requests == 0
    assert notes(tmp_path).all() == []


def test_other_data_sets_and_servers_do_not_take_a_batch_over(tmp_path: Path) -> None:
    with batch_server(faults={"GET /batches": ["500", "500"]}) as server:
        with batch_model(server.url, tmp_path, retries=1) as model, pytest.raises(EndpointError):
            ask(model, many(3))
        with batch_model(server.url, tmp_path, model="scripted-2") as model:
            assert ask(model, many(3)).answered == 3
        assert Notes(Store(str(tmp_path)), "dem").all() == []
        assert len(notes(tmp_path).all()) == 1
    assert len(server.batches) == 2
    assert question(messages("question 0")) in server.paid
