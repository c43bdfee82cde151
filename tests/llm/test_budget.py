"""No cap is ever exceeded, whatever happens at once; and what waits is served in its order."""

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import BudgetConfig
from pipeline.llm.budget import Budget
from pipeline.llm.usage import Spent
from tests.llm.asking import FORM, PRICE, ask, language_model, many
from tests.llm.scripted import PASSING, Server

Scripted = Callable[..., Server]


@settings(max_examples=60)
@given(
    caps=st.tuples(st.integers(0, 40), st.integers(0, 900), st.floats(0, 9)),
    asked=st.lists(st.tuples(st.integers(0, 60), st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.integers(0, 3)), max_size=80),
)
def test_what_is_used_and_reserved_is_never_above_a_cap(caps: tuple[int, int, float], asked: list[tuple[int, float, float, int]]) -> None:
    budget = Budget(BudgetConfig(max_requests=caps[0], max_tokens=caps[1], max_cost=caps[2]))

    def within() -> None:
        assert all(left >= 0 for left in budget.room().values())
        used = budget.used
        assert used.requests <= caps[0]
        assert used.tokens <= caps[1]
        assert used.cost <= caps[2] + 1e-9

    async def one(tokens: int, cost: float, share: float, steps: int) -> bool:
        worst = Spent(1, tokens, cost)
        if not await budget.reserve(worst):
            return False
        within()
        for _ in range(steps):
            await asyncio.sleep(0)
        budget.settle(worst, Spent(1, int(tokens * share), cost * share))
        within()
        return True

    async def run() -> list[bool]:
        return await asyncio.gather(*(one(*each) for each in asked))

    granted = asyncio.run(run())
    assert all(granted) or budget.exhausted is not None
    assert budget.used.requests == sum(granted)


def test_a_request_waits_for_what_is_in_flight_and_is_refused_when_nothing_is() -> None:
    async def run() -> list[bool]:
        budget = Budget(BudgetConfig(max_tokens=100))
        assert await budget.reserve(Spent(1, 80, 0.0))
        waiting = asyncio.create_task(budget.reserve(Spent(1, 70, 0.0)))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        budget.settle(Spent(1, 80, 0.0), Spent(1, 20, 0.0))
        granted = await waiting
        budget.settle(Spent(1, 70, 0.0), Spent(1, 70, 0.0))
        refused = await budget.reserve(Spent(1, 11, 0.0))
        assert budget.exhausted == "budget.max_tokens is 100: 90 are spent, and the next request can take 11"
        return [granted, refused, await budget.reserve(Spent(1, 10, 0.0))]

    assert asyncio.run(run()) == [True, False, True]


def test_a_small_request_does_not_overtake_a_large_one_but_a_second_try_does() -> None:
    async def run() -> list[str]:
        budget, order = Budget(BudgetConfig(max_tokens=100)), list[str]()

        async def take(name: str, tokens: int, first: bool) -> None:
            assert await budget.reserve(Spent(1, tokens, 0.0), first=first)
            order.append(name)

        await take("in flight", 90, False)
        tasks = [asyncio.create_task(take(*each)) for each in (("large", 80, False), ("small", 5, False), ("again", 20, True))]
        await asyncio.sleep(0.01)
        budget.settle(Spent(1, 90, 0.0), Spent(1, 0, 0.0))
        await asyncio.sleep(0.01)
        budget.settle(Spent(1, 20, 0.0), Spent(1, 0, 0.0))
        await asyncio.gather(*tasks)
        return order

    assert asyncio.run(run()) == ["in flight", "again", "large", "small"]


def test_who_stops_waiting_leaves_nothing_reserved() -> None:
    async def run() -> dict[str, float]:
        budget = Budget(BudgetConfig(max_tokens=100))
        assert await budget.reserve(Spent(1, 100, 0.0))
        waiting = [asyncio.create_task(budget.reserve(Spent(1, 60, 0.0))) for _ in range(2)]
        await asyncio.sleep(0.01)
        waiting[0].cancel()
        budget.settle(Spent(1, 100, 0.0), Spent(1, 0, 0.0))
        waiting[1].cancel()  # granted, but not yet told so
        await asyncio.gather(*waiting, return_exceptions=True)
        return budget.room()

    assert asyncio.run(run()) == {"requests": math.inf, "tokens": 100.0, "cost": math.inf}


def test_what_earlier_runs_spent_counts() -> None:
    budget = Budget(BudgetConfig(max_requests=10, max_cost=1.0))
    budget.spent(4, 1000, 0.25)
    assert budget.room() == {"requests": 6.0, "tokens": math.inf, "cost": 0.75}
    assert budget.told() == "max_requests 10, max_cost 1.0; spent: 4 requests, 1,000 tokens, cost 0.2500"
    assert not budget.take(Spent(7, 0, 0.0))
    assert budget.take(Spent(6, 0, 0.75))
    assert budget.room()["requests"] == 0.0


@pytest.mark.parametrize("caps", [{"max_requests": 150}, {"max_tokens": 12_000}, {"max_cost": 0.05}])
def test_a_cap_holds_with_64_at_once_and_faults_and_raising_it_goes_on(caps: dict[str, Any], scripted: Scripted, tmp_path: Path) -> None:
    server = scripted(mixed=list(PASSING), share=0.2, retry_after="0", slow_seconds=3.0, latency_ms=5)
    asked, budget = many(300), Budget(BudgetConfig(**caps))
    with language_model(server.url, tmp_path, budget, concurrency=64, timeout_seconds=1.0, retries=5) as model:
        told = ask(model, asked)
        spent = model.spent_before(FORM, asked)
    sent = len(server.log())

    used = budget.used
    assert used.requests == told.sent == sent
    assert used.requests <= caps.get("max_requests", math.inf)
    assert used.tokens <= caps.get("max_tokens", math.inf)
    assert used.cost <= caps.get("max_cost", math.inf) + 1e-12
    assert 0 < told.answered < 300
    assert set(told.failures["reason"]) == {"budget"}
    assert told.answered + told.failures.height == 300
    assert budget.exhausted is not None
    assert (spent.requests, spent.tokens, pytest.approx(spent.cost)) == (used.requests, used.tokens, used.cost)  # a later run knows

    with language_model(server.url, tmp_path, concurrency=64, timeout_seconds=1.0, retries=5) as model:
        more = ask(model, asked)
    assert more.answered == 300 - told.answered
    assert server.outcomes()["ok"] == 300  # none twice


def test_what_a_cap_leaves_out_is_the_end_of_the_order(scripted: Scripted, tmp_path: Path) -> None:
    asked, left = many(60), list[list[str]]()
    for concurrency in (1, 7, 64):
        server = scripted(usage=[30, 20], latency_ms=concurrency % 5)
        budget = Budget(BudgetConfig(max_cost=30 * (30 * PRICE["input"] + 20 * PRICE["output"]) / 1e6))
        with language_model(server.url, tmp_path / str(concurrency), budget, concurrency=concurrency) as model:
            left.append(sorted(ask(model, asked).failures["key"]))
    assert left[0] == left[1] == left[2]
    assert 20 < len(left[0]) < 60
