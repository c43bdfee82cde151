"""How questions are sent: in their order, so many at once, so many a minute, again where that helps, and never above the budget."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import tenacity

from pipeline.config import EndpointConfig
from pipeline.llm import wire
from pipeline.llm.budget import Budget
from pipeline.llm.failures import AttemptFailed
from pipeline.llm.journal import Journal
from pipeline.llm.limits import Pace
from pipeline.llm.tables import Form
from pipeline.llm.transport import Reply, Transport
from pipeline.llm.usage import Spent, cost_of, stated

_OPEN_PER_SLOT: Final = 8  # questions begun, those that wait for another try among them: bounds memory
_DOWN_AFTER: Final = 4  # so many slots' worth of questions given up in a row, at least 64: nothing more will be answered
_BYTES_PER_TOKEN: Final = 3  # for pacing alone, where too low is mended by the server's 429
_WAIT: Final = tenacity.wait_exponential_jitter(multiplier=0.5, max=60.0, jitter=0.5)


@dataclass
class Question:
    """One row of REQUESTS, and what asking it has taken so far."""

    bucket: int
    key: str
    messages: list[dict[str, str]]
    most_input: int  # tokens
    worst: Spent
    reserved: bool = False  # for the first request, when the question was admitted
    attempts: int = 0
    cost: float = 0.0
    began: float = 0.0


@dataclass
class Turn:
    """One ask: its form, where it writes, and what came of it so far.

    Attributes:
        answered: questions; read by the thread that waits.
        sent: requests.
        failures: by key: reason, detail.
        ended: why nothing more can be answered; None while there is hope.
        closed: set when no more questions are admitted.
    """

    form: Form
    journal: Journal
    answered: int = 0
    sent: int = 0
    cost: float = 0.0
    failures: dict[str, tuple[str, str]] = field(default_factory=dict)
    ended: AttemptFailed | None = None
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    head: tuple[int, bytes] = (-1, b"")  # version of the dialect, start of the body

    def end(self, why: AttemptFailed) -> None:
        """Send nothing more."""
        self.ended = self.ended or why
        self.closed.set()
        self.stop.set()


class Sender:
    """Everything that all asks of one endpoint share; belongs to one event loop."""

    def __init__(self, endpoint: EndpointConfig, key: str | None, budget: Budget, dialect: wire.Dialect, servers: set[str]) -> None:
        """Connect to nothing yet.

        Args:
            endpoint: whom to ask.
            key: its key; whatever the server sends back is stored without it.
            budget: of the whole run.
            dialect: learns what the server refuses.
            servers: gets the model names and fingerprints that the server states.
        """
        self._endpoint, self._key, self._budget, self._dialect, self._servers = endpoint, key, budget, dialect, servers
        self._transport, self._pace = Transport(endpoint, key), Pace(endpoint)
        self._slots = asyncio.Semaphore(endpoint.concurrency)
        self._open = asyncio.Semaphore(endpoint.concurrency * _OPEN_PER_SLOT)
        self._first = asyncio.Lock()  # one request alone finds out how the server wants to be asked, and whether it takes the key
        self._known = False
        self._heard = 0.0  # when the server last said anything
        self._given_up = 0  # questions in a row

    async def ask(self, turn: Turn, questions: Iterable[Question]) -> None:
        """Ask all, in their order; returns when each is answered, has failed, or was not admitted."""
        left = iter(questions)
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._endpoint.concurrency):
                    tasks.create_task(self._work(turn, left, tasks))
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _work(self, turn: Turn, questions: Iterator[Question], tasks: asyncio.TaskGroup) -> None:
        """Ask one question after the other.

        The next one as soon as an answer is there: answers come in waves, and slots must not wait until all of one are read.
        """
        for question in questions:
            await self._open.acquire()
            handed_on = False
            try:
                if not await self._reserves(question, first=False, unless=turn.closed):
                    turn.closed.set()  # what a cap leaves out is the end of the order
                    return
                question.reserved, question.began = True, asyncio.get_running_loop().time()
                try:
                    row = await self._try(turn, question)
                except AttemptFailed as failed:
                    tasks.create_task(self._go_on(turn, question, failed))
                    handed_on = True
                else:
                    await self._keep(turn, question, row)
            finally:
                if not handed_on:
                    self._open.release()

    async def _reserves(self, question: Question, *, first: bool, unless: asyncio.Event) -> bool:
        """Take a slot and reserve the worst case of one request; or neither."""
        await self._slots.acquire()
        reserved = False
        try:
            if not unless.is_set() and await self._budget.reserve(question.worst, first=first):
                reserved = not unless.is_set()  # set while this one waited?
                if not reserved:
                    self._budget.settle(question.worst, Spent())
        finally:
            if not reserved:
                self._slots.release()
        return reserved

    async def _go_on(self, turn: Turn, question: Question, failed: AttemptFailed) -> None:
        """What follows a first try that failed."""
        try:
            row = await self._again(turn, question, failed)
        except AttemptFailed as last:
            turn.failures[question.key] = (last.reason, last.detail)
            turn.cost += question.cost
            self._give_up(turn, question, last)
        else:
            await self._keep(turn, question, row)
        finally:
            self._open.release()

    async def _keep(self, turn: Turn, question: Question, row: dict[str, Any]) -> None:
        await turn.journal.answered(row)
        turn.answered += 1
        turn.cost += question.cost
        self._given_up = 0

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def _again(self, turn: Turn, question: Question, failed: AttemptFailed) -> dict[str, Any]:
        """More tries. The first one stays outside: what tenacity does around a call costs as much as all else does."""
        failures = [failed]

        async def another() -> dict[str, Any]:
            if failures:
                raise failures.pop()
            return await self._try(turn, question)

        async def rest(seconds: float) -> None:
            await _first_of(turn.stop.wait(), asyncio.sleep(seconds))

        row: dict[str, Any] = await tenacity.AsyncRetrying(
            sleep=rest,
            stop=tenacity.stop_after_attempt(self._endpoint.retries + 1),
            wait=_wait,
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, AttemptFailed) and error.again and turn.ended is None),
            reraise=True,
        )(another)
        return row

    def _give_up(self, turn: Turn, question: Question, failed: AttemptFailed) -> None:
        """End the ask where no other question would fare better."""
        if failed.reason in ("budget", "context_too_long", "content_filter"):
            return
        self._given_up += 1
        refused = failed.reason == "connection" and not failed.charged and self._heard < question.began
        if failed.todo is None and refused:
            failed.todo = "Check that the server runs and that base_url is right."
        elif failed.todo is None and self._given_up >= max(64, _DOWN_AFTER * self._endpoint.concurrency):
            failed.todo = f"{self._given_up} questions in a row were given up: run again when the server works, or mend the settings."
        if failed.todo is not None:
            turn.end(failed)

    async def _try(self, turn: Turn, question: Question) -> dict[str, Any]:
        """One try: a request, or as many as it takes to learn how the server wants to be asked."""
        while True:
            # The slot comes before the lock below: its holder must not wait for the slots of those behind it.
            if not question.reserved and not await self._reserves(question, first=True, unless=turn.stop):
                if turn.ended is not None:
                    raise AttemptFailed(turn.ended.reason, turn.ended.detail)
                raise AttemptFailed("budget", self._budget.exhausted or "")
            question.reserved = False
            actual = [Spent()]  # nothing, if it is not even sent
            try:
                if not self._known:
                    async with self._first:
                        if not self._known:  # or another request has found out meanwhile
                            row = await self._send(turn, question, actual)
                            self._known = True
                            return row
                return await self._send(turn, question, actual)
            except AttemptFailed as failed:
                if failed.refused is None or failed.todo is not None:
                    raise
            finally:
                question.cost += actual[0].cost
                self._budget.settle(question.worst, actual[0])
                self._slots.release()

    async def _send(self, turn: Turn, question: Question, actual: list[Spent]) -> dict[str, Any]:
        """One request; `actual[0]` becomes what it took. Returns a row of ANSWERS."""
        await self._pace.wait(question.most_input // _BYTES_PER_TOKEN + turn.form.max_output_tokens)
        if turn.ended is not None:
            raise AttemptFailed(turn.ended.reason, turn.ended.detail)
        if turn.head[0] != self._dialect.version:
            turn.head = self._dialect.version, self._dialect.head(turn.form)
        version, head = turn.head
        question.attempts += 1
        turn.sent += 1
        actual[0] = question.worst  # unless it is known better, whatever happens from now on
        turn.journal.sent(question.bucket, question.key, question.attempts, question.worst)
        try:
            row, actual[0] = self._read(turn, question, await self._transport.post(wire.body(head, question.messages)))
            return row
        except AttemptFailed as failed:
            actual[0] = self._charge(question, failed, turn.form)
            turn.journal.failed(question.key, question.attempts, actual[0])
            failed.detail = self._without_key(failed.detail)
            if failed.refused is not None and not self._dialect.learn(failed.refused, version):
                failed.todo = f"The server refuses {failed.refused}: change the endpoint's settings (structured, extra)."
            if failed.todo is not None:
                turn.end(failed)
            self._pace.heard(turned_away=failed.reason == "rate_limited", wait_seconds=failed.wait_seconds)
            raise

    def _read(self, turn: Turn, question: Question, reply: Reply) -> tuple[dict[str, Any], Spent]:
        self._heard = asyncio.get_running_loop().time()
        said = wire.read(reply.body)
        self._pace.heard(turned_away=False)
        self._servers.update(name for name in (said.model, said.system_fingerprint) if name is not None and len(self._servers) < 100)
        counts = stated(said.usage, question.most_input, turn.form.max_output_tokens)
        tokens = counts or (question.most_input, turn.form.max_output_tokens)
        actual = Spent(1, sum(tokens), cost_of(self._endpoint, *tokens))
        row = {
            "bucket": question.bucket,
            "key": question.key,
            "text": None if said.text is None else self._without_key(said.text),
            "finish_reason": said.finish_reason,
            "refusal": said.refusal,
            "input_tokens": tokens[0],
            "output_tokens": tokens[1],
            "usage_stated": counts is not None,
            "attempts": question.attempts,
            "cost": question.cost + actual.cost,
            "latency_ms": reply.latency_ms,
            "raw": self._without_key(reply.body.decode("utf-8", "replace")),
        }
        return row, actual

    def _charge(self, question: Question, failed: AttemptFailed, form: Form) -> Spent:
        """What a request that brought nothing did cost: what the server states, else the worst if it may have been answered."""
        if failed.reason not in ("connection", "timeout"):
            self._heard = asyncio.get_running_loop().time()
        counts = stated(failed.usage, question.most_input, form.max_output_tokens)
        if counts is not None:
            return Spent(1, sum(counts), cost_of(self._endpoint, *counts))
        return question.worst if failed.charged else Spent(1, 0, 0.0)

    def _without_key(self, text: str) -> str:
        """A server may send the key back, in an error or in an echo."""
        return text.replace(self._key, "[key]") if self._key and self._key in text else text


def _wait(state: tenacity.RetryCallState) -> float:
    """As long as the server asks for; else longer each time, and never the same for all."""
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.wait_seconds if isinstance(error, AttemptFailed) else None
    return _WAIT(state) if asked is None else asked


async def _first_of(*waits: Any) -> None:  # noqa: ANN401 - coroutines
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
