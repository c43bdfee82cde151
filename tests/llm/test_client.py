"""Every way in which a request can fail, told by a server that counts what it was asked."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.config import BudgetConfig
from pipeline.errors import EndpointError
from pipeline.llm.budget import Budget
from pipeline.llm.tables import Form
from tests.llm.asking import FORM, PRICE, answers, ask, language_model, many, messages, requests, server_counts
from tests.llm.scripted import PASSING, Server, question

Scripted = Callable[..., Server]


def test_answers_are_kept_as_received_with_usage_and_cost(scripted: Scripted, tmp_path: Path) -> None:
    server, asked = scripted(usage=[40, 9]), requests("one", "two")
    with language_model(server.url, tmp_path) as model:
        told = ask(model, asked)
        rows = answers(model, asked)
        about = model.about()

    assert (told.answered, told.sent, told.failures.height) == (2, 2, 0)
    assert rows["text"].to_list() == [json.dumps({"answer": question(messages(text))}) for text in ("one", "two")]
    assert rows.select("finish_reason", "input_tokens", "output_tokens", "usage_stated", "attempts").unique().rows() == [
        ("stop", 40, 9, True, 1)
    ]
    assert rows["cost"].to_list() == pytest.approx([(40 * PRICE["input"] + 9 * PRICE["output"]) / 1e6] * 2)
    assert told.cost == pytest.approx(rows["cost"].sum())
    assert json.loads(rows["raw"][0])["choices"][0]["message"]["content"] == rows["text"][0]
    assert about["server_says"] == ["fp_1", "scripted-2024"]


def test_a_second_ask_sends_nothing_and_a_new_question_alone_is_sent(scripted: Scripted, tmp_path: Path) -> None:
    server, asked = scripted(), many(20)
    with language_model(server.url, tmp_path) as model:
        ask(model, asked)
        assert ask(model, asked).sent == 0
    with language_model(server.url, tmp_path) as model:
        assert model.missing(FORM, asked).is_empty()
        assert ask(model, pl.concat([asked, requests("another")])).sent == 1
    assert set(server.counts().values()) == {1}


def test_the_body_has_the_schema_the_limits_and_what_is_configured_besides(scripted: Scripted, tmp_path: Path) -> None:
    server = scripted()
    with language_model(server.url, tmp_path, extra={"reasoning_effort": "low"}) as model:
        ask(model, requests("one"))

    assert server.log()[0]["body"] == {
        "model": "scripted",
        "temperature": 0.0,
        "max_tokens": 100,
        "stream": False,
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "test", "strict": True, "schema": dict(FORM.schema)}},
    }


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_is_followed_by_one_more_request(fault: str, scripted: Scripted, tmp_path: Path) -> None:
    server, asked = scripted(each=[fault], slow_seconds=30.0, retry_after="0"), requests("one")
    with language_model(server.url, tmp_path, timeout_seconds=1.5) as model:
        told = ask(model, asked)
        rows = answers(model, asked)
    assert (told.answered, told.sent, server.log()[-1]["outcome"]) == (1, 2, "ok")
    assert rows["attempts"].to_list() == [2]


# Of what is not answered: nothing is paid where the server says so; where nobody knows, or the usage is not told, the most it can be.
@pytest.mark.parametrize(
    ("fault", "reason", "paid"),
    [
        ("429", "rate_limited", False),
        ("500", "server_error", False),
        ("503", "server_error", False),
        ("error_200", "server_error", False),
        ("slow", "timeout", True),
        ("drop", "connection", True),
        ("cut_json", "bad_body", True),
        ("cut_transfer", "bad_body", True),
    ],
)
def test_a_fault_that_stays_is_a_reason_after_the_retries_and_charged_as_it_should(
    fault: str, reason: str, paid: bool, scripted: Scripted, tmp_path: Path
) -> None:
    server, asked = scripted(each=[fault] * 9, slow_seconds=30.0, retry_after="0"), requests("one")
    budget = Budget(BudgetConfig())
    with language_model(server.url, tmp_path, budget, timeout_seconds=1.0, retries=1) as model:
        told = ask(model, asked)
        worst = model.worst_case(FORM, asked).row(0, named=True)
        before = model.spent_before(FORM, asked)

    assert told.failures.select("pair_id", "reason").rows() == [(asked["pair_id"][0], reason)]
    assert (told.sent, len(server.log()), budget.used.requests) == (2, 2, 2)
    assert budget.used.tokens == (2 * worst["tokens"] if paid else 0)
    assert budget.used.cost == pytest.approx(2 * worst["cost"] if paid else 0.0)
    assert (before.requests, before.tokens) == (2, budget.used.tokens)


def test_an_answer_without_choices_costs_what_the_server_states(scripted: Scripted, tmp_path: Path) -> None:
    server, asked, budget = scripted(each=["empty"] * 9, usage=[40, 9]), requests("one"), Budget(BudgetConfig())
    with language_model(server.url, tmp_path, budget, retries=1) as model:
        told = ask(model, asked)
    assert told.failures["reason"].to_list() == ["empty"]
    assert (budget.used.requests, budget.used.tokens) == (2, 98)
    assert len(server.log()) == 2


@pytest.mark.parametrize(("fault", "reason"), [("400", "bad_request"), ("context", "context_too_long"), ("filter", "content_filter")])
def test_what_another_try_would_not_mend_is_sent_once(fault: str, reason: str, scripted: Scripted, tmp_path: Path) -> None:
    server, asked = scripted(where={"bad": [fault] * 9}), requests("a bad one", "a good one")
    with language_model(server.url, tmp_path) as model:
        told = ask(model, asked)
    assert told.failures.select("pair_id", "reason").rows() == [(asked["pair_id"][0], reason)]
    assert "HTTP 400" in told.failures["detail"][0]
    assert (told.answered, told.sent, len(server.log())) == (1, 2, 2)


@pytest.mark.parametrize(
    ("outcome", "text", "finish"),
    [
        ("prose", "Well, it depends.", "stop"),
        ("wrong_schema", '{"something": "else"}', "stop"),
        ("length", json.dumps({"answer": question(messages("one"))})[:15], "length"),
        ("filtered", json.dumps({"answer": question(messages("one"))}), "content_filter"),
        ("refusal", None, "stop"),
        ("parts", json.dumps({"answer": question(messages("one"))}), "stop"),
        ("surrogate", "half a pair: \ufffd, a whole one: \U0001f600", "stop"),
        ("nul", "a\x00b", "stop"),
    ],
)
def test_whatever_a_model_says_is_an_answer_and_paid_once(
    outcome: str, text: str | None, finish: str, scripted: Scripted, tmp_path: Path
) -> None:
    server, asked = scripted(each=[outcome] * 9), requests("one")
    with language_model(server.url, tmp_path) as model:
        assert ask(model, asked).answered == 1
        assert ask(model, asked).sent == 0
        row = answers(model, asked).row(0, named=True)
    assert (row["text"], row["finish_reason"]) == (text, finish)
    assert json.loads(row["raw"])["object"] == "chat.completion"
    assert row["refusal"] == ("I cannot help with that." if outcome == "refusal" else None)
    assert len(server.log()) == 1


@pytest.mark.parametrize(
    ("outcome", "believed"),
    [("no_usage", False), ("negative_usage", False), ("zero_usage", False), ("huge_usage", False), ("low_usage", True)],
)
def test_usage_that_cannot_be_is_charged_at_its_most(outcome: str, believed: bool, scripted: Scripted, tmp_path: Path) -> None:
    server, asked, budget = scripted(each=[outcome]), requests("one"), Budget(BudgetConfig())
    with language_model(server.url, tmp_path, budget) as model:
        ask(model, asked)
        row, worst = answers(model, asked).row(0, named=True), model.worst_case(FORM, asked).row(0, named=True)
    assert row["usage_stated"] is believed
    assert row["input_tokens"] + row["output_tokens"] == (2 if believed else worst["tokens"])
    assert row["cost"] == pytest.approx(sum(PRICE.values()) / 1e6 if believed else worst["cost"])
    assert budget.used.cost == pytest.approx(row["cost"])


@pytest.mark.parametrize("text", ["plain", "漢字かな交じり文", "🧑‍🚀" * 9, "", "\u202eright to left", "</s><|im_end|>{{prompt}}"])
def test_no_token_has_less_than_a_byte_so_the_bound_holds_for_any_text(text: str, scripted: Scripted, tmp_path: Path) -> None:
    server, asked = scripted(usage=[len(text.encode()) + len(b"Answer."), 100]), requests(text)
    with language_model(server.url, tmp_path) as model:
        ask(model, asked)
        assert answers(model, asked)["usage_stated"].to_list() == [True]
    assert server.log()[0]["question"] == question(messages(text))  # it came through as it was


@pytest.mark.parametrize(
    ("supports", "settles_on", "sent"), [("json_schema", "json_schema", 30), ("json_object", "json_object", 31), ("none", "none", 32)]
)
def test_a_server_without_structured_output_is_found_out_by_one_request_alone(
    supports: str, settles_on: str, sent: int, scripted: Scripted, tmp_path: Path
) -> None:
    server, asked, budget = scripted(supports=supports, latency_ms=20), many(30), Budget(BudgetConfig())
    with language_model(server.url, tmp_path, budget) as model:
        told = ask(model, asked)
        assert model.about()["structured"] == settles_on
    assert (told.answered, told.sent, len(server.log()), budget.used.requests) == (30, sent, sent, sent)


def test_a_form_that_the_config_demands_and_the_server_refuses_ends_the_ask(scripted: Scripted, tmp_path: Path) -> None:
    server = scripted(supports="none")
    with (
        language_model(server.url, tmp_path, structured="json_schema") as model,
        pytest.raises(EndpointError, match="refuses response_format"),
    ):
        ask(model, many(30))
    assert len(server.log()) == 1


@pytest.mark.parametrize(
    ("script", "field", "gone"),
    [
        ({"max_field": "max_completion_tokens"}, "max_completion_tokens", "max_tokens"),
        ({"each": ["temperature"]}, "max_tokens", "temperature"),
    ],
)
def test_a_field_that_the_server_wants_otherwise_is_put_otherwise(
    script: dict[str, Any], field: str, gone: str, scripted: Scripted, tmp_path: Path
) -> None:
    server = scripted(**script)
    with language_model(server.url, tmp_path) as model:
        assert (told := ask(model, requests("one"))).answered == 1
    body = server.log()[-1]["body"]
    assert (told.sent, body[field], gone in body) == (2, 100, False)


def test_questions_are_sent_in_the_order_of_a_hash_of_their_pairs(scripted: Scripted, tmp_path: Path) -> None:
    server, asked = scripted(), many(40)
    with language_model(server.url, tmp_path, concurrency=1) as model:
        ask(model, asked)
    ordered = sorted(zip(asked["pair_id"], server_counts(asked), strict=True), key=lambda one: hashlib.blake2b(one[0].encode()).hexdigest())
    assert [row["question"] for row in server.log()] == [name for _, name in ordered]


@pytest.mark.parametrize(("header", "seconds"), [("1", 1.0), ("ms 700", 0.7), ("date 2", 0.5)])  # a date has whole seconds
def test_no_request_comes_again_before_the_server_wants_it(header: str, seconds: float, scripted: Scripted, tmp_path: Path) -> None:
    server = scripted(each=["429"], retry_after=header)
    with language_model(server.url, tmp_path, concurrency=4) as model:
        assert ask(model, many(2)).answered == 2
    first: dict[str, float] = {}
    waits = [row["at"] - first[row["question"]] for row in server.log() if first.setdefault(row["question"], row["at"]) < row["at"]]
    assert len(waits) == 2
    assert min(waits) >= seconds  # on the server's clock


def test_a_server_that_asks_for_an_hour_is_not_waited_for(scripted: Scripted, tmp_path: Path) -> None:
    server = scripted(each=["429"] * 9, retry_after="3600")
    with language_model(server.url, tmp_path) as model:
        told = ask(model, requests("one"))
    assert told.failures["reason"].to_list() == ["rate_limited"]
    assert "3600 s" in told.failures["detail"][0]
    assert len(server.log()) == 1


def test_the_rate_is_kept(scripted: Scripted, tmp_path: Path) -> None:
    server = scripted()
    with language_model(server.url, tmp_path, requests_per_minute=600) as model:  # ten a second
        ask(model, many(30))
    at = [row["at"] for row in server.log()]
    assert at[-1] - at[0] >= 1.8  # 30, of which the first ten may come at once
    assert all(sum(start <= one < start + 1.0 for one in at) <= 22 for start in at)


def test_tokens_are_paced_too_and_one_request_may_be_more_than_a_second_is_given(scripted: Scripted, tmp_path: Path) -> None:
    server = scripted()
    with language_model(server.url, tmp_path, tokens_per_minute=6000) as model:  # 100 a second; a request is some 200
        ask(model, requests("one", "two", "three"))
    at = [row["at"] for row in server.log()]
    assert at[-1] - at[0] >= 3.0


def test_2000_questions_with_a_tenth_of_faults_are_all_answered_and_paid_once(scripted: Scripted, tmp_path: Path) -> None:
    server = scripted(mixed=list(PASSING), share=0.1, slow_seconds=8.0, retry_after="0.2")
    asked = many(2000)
    with language_model(server.url, tmp_path, timeout_seconds=4.0, concurrency=64, retries=6) as model:
        told = ask(model, asked)
        rows = answers(model, asked)
    outcomes, counts = server.outcomes(), server.counts()
    failed = sum(outcomes[fault] for fault in PASSING)
    assert 100 < failed < 300
    assert all(outcomes[fault] for fault in PASSING)
    assert (told.answered, told.failures.height, rows.height) == (2000, 0, 2000)
    assert told.sent == sum(counts.values()) == 2000 + failed
    assert rows["attempts"].to_list() == [counts[name] for name in server_counts(asked)]
    assert outcomes["ok"] == 2000  # nothing was asked again once it was answered


def test_what_is_asked_otherwise_has_another_fingerprint_and_the_server_is_no_part_of_it(tmp_path: Path) -> None:
    def named(form: Form = FORM, **changed: Any) -> str:
        with language_model(changed.pop("url", "http://127.0.0.1:1/v1"), tmp_path, **changed) as model:
            return model.fingerprint(form)

    mine = named()
    assert mine == named(url="https://elsewhere.example/v1", name="other", concurrency=2, price={"input": 9.0})
    others = [
        named(model="a/b"),
        named(model="a-b"),
        named(extra={"reasoning_effort": "low"}),
        named(structured="none"),
        named(Form("test", 2, FORM.schema, 100)),
        named(Form("other", 1, FORM.schema, 100)),
        named(Form("test", 1, {"type": "object"}, 100)),
        named(Form("test", 1, FORM.schema, 101)),
        named(Form("test", 1, FORM.schema, 100, temperature=0.5)),
    ]
    assert len({mine, *others}) == 10


def test_equal_questions_of_two_pairs_are_sent_once(scripted: Scripted, tmp_path: Path) -> None:
    server, one = scripted(), requests("one")
    twice = pl.concat([one, one.with_columns(pair_id=pl.lit("another"))])
    with language_model(server.url, tmp_path) as model:
        told = ask(model, twice)
        assert model.worst_case(FORM, twice)["requests"].to_list() == [1, 1]
    assert (told.answered, told.failures.height, len(server.log())) == (1, 0, 1)


def test_nothing_to_ask_is_nothing_sent(scripted: Scripted, tmp_path: Path) -> None:
    server, nothing = scripted(), many(1).clear()
    with language_model(server.url, tmp_path) as model:
        assert ask(model, nothing).sent == 0
        assert model.answers(FORM, nothing).is_empty()
        assert model.spent_before(FORM, nothing).requests == 0
        assert model.worst_case(FORM, nothing).is_empty()


def test_progress_adds_up_to_the_questions(scripted: Scripted, tmp_path: Path) -> None:
    server, told = scripted(where={"question 7": ["400"] * 9}), list[int]()
    with language_model(server.url, tmp_path) as model:
        model.ask(FORM, many(50), told.append)
    assert sum(told) == 50
    assert len(server.log()) == 50


def test_a_caller_that_fails_ends_the_ask_and_leaves_nothing_taken(scripted: Scripted, tmp_path: Path) -> None:
    server, asked, budget = scripted(latency_ms=20), many(200), Budget(BudgetConfig(max_requests=1000))

    def fails(_: int) -> None:
        raise RuntimeError("the screen is gone")

    with language_model(server.url, tmp_path, budget, concurrency=2) as model:
        for _ in range(3):  # more often than there are slots
            with pytest.raises(RuntimeError, match="the screen is gone"):
                model.ask(FORM, asked, fails)
        kept = model.answers(FORM, asked).height
        assert 0 < kept < 200
        assert ask(model, asked).answered == 200 - kept
        assert model.spent_before(FORM, asked).requests == len(server.log())
    assert budget.room()["requests"] == 1000 - len(server.log())
    assert server.outcomes()["ok"] <= 200 + 3 * 2  # what was under way when it ended
