"""One budget for all endpoints of a run: nothing is sent before its worst case is reserved, so no cap is ever exceeded."""

import asyncio
import math
import threading
from collections import deque
from dataclasses import dataclass

from pipeline.config import BudgetConfig
from pipeline.llm.usage import Spent


@dataclass
class _Waiting:
    worst: Spent
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[bool]"
    granted: bool = False

    def tell(self, granted: bool) -> None:
        self.granted = granted
        self.loop.call_soon_threadsafe(self._set, granted)

    def _set(self, granted: bool) -> None:
        if not self.future.done():  # whoever waited was cancelled
            self.future.set_result(granted)


class Budget:
    """Caps on requests, tokens and money; may be used from any thread and any event loop.

    Attributes:
        exhausted: which cap turned a request away first, in words; None while none did.
    """

    def __init__(self, config: BudgetConfig) -> None:
        """Start with nothing spent."""
        self._caps = {"requests": config.max_requests, "tokens": config.max_tokens, "cost": config.max_cost}
        self._used, self._held, self._in_flight = Spent(), Spent(), 0
        self._waiting: deque[_Waiting] = deque()
        self._lock = threading.Lock()
        self.exhausted: str | None = None

    def spent(self, requests: int, tokens: int, cost: float) -> None:
        """Count what earlier runs spent on answers that this one wants."""
        with self._lock:
            self._used += Spent(requests, tokens, cost)

    @property
    def used(self) -> Spent:
        """What is spent, what is in flight left out."""
        return self._used

    def room(self) -> dict[str, float]:
        """What is left of requests, tokens and cost; infinite where nothing is capped."""
        with self._lock:
            taken = self._used + self._held
            return {name: math.inf if cap is None else max(0.0, cap - getattr(taken, name)) for name, cap in self._caps.items()}

    def told(self) -> str:
        """What is spent and what the caps are, in words."""
        caps = ", ".join(f"max_{name} {cap:,}" for name, cap in self._caps.items() if cap is not None) or "no caps"
        return f"{caps}; spent: {self._used.requests:,} requests, {self._used.tokens:,} tokens, cost {self._used.cost:,.4f}"

    async def reserve(self, worst: Spent, *, first: bool = False) -> bool:
        """Set aside what a request can cost at most; `settle` must follow.

        Where it does not fit, it waits: what is in flight may cost less than was set aside for it.

        Args:
            worst: of one request.
            first: before all that wait; for a second try, whose pair came earlier than theirs.

        Returns:
            False when it does not fit though nothing is in flight.
        """
        with self._lock:
            waiting = _Waiting(worst, loop := asyncio.get_running_loop(), loop.create_future())
            if first or not self._waiting:
                if self._fits(worst):
                    self._hold(worst)
                    return True
                self._waiting.appendleft(waiting)
            else:
                self._waiting.append(waiting)
            self._serve()
        try:
            return await waiting.future
        except asyncio.CancelledError:
            with self._lock:
                if waiting in self._waiting:
                    self._waiting.remove(waiting)
                elif waiting.granted:
                    self._release(worst, Spent())
                self._serve()
            raise

    def take(self, worst: Spent) -> bool:
        """As `reserve`, without waiting: for a whole batch file."""
        with self._lock:
            if fits := self._fits(worst):
                self._hold(worst)
            else:
                self._refuse(worst)
            return fits

    def settle(self, reserved: Spent, actual: Spent) -> None:
        """Give back what was set aside, and count what it did cost."""
        with self._lock:
            self._release(reserved, actual)
            self._serve()

    def _fits(self, worst: Spent) -> bool:
        return self._broken_by(worst) is None

    def _broken_by(self, worst: Spent) -> str | None:
        total = self._used + self._held + worst
        return next((name for name, cap in self._caps.items() if cap is not None and getattr(total, name) > cap), None)

    def _hold(self, worst: Spent) -> None:
        self._held += worst
        self._in_flight += 1

    def _release(self, reserved: Spent, actual: Spent) -> None:
        self._in_flight -= 1
        self._held = self._held - reserved if self._in_flight else Spent()  # no rounding error outlives what it came from
        self._used += actual

    def _refuse(self, worst: Spent) -> None:
        name = self._broken_by(worst)
        if self.exhausted is None and name is not None:
            cap, used, more = self._caps[name], getattr(self._used, name), getattr(worst, name)
            self.exhausted = f"budget.max_{name} is {cap:,}: {used:,} are spent, and the next request can take {more:,}"

    def _serve(self) -> None:
        """Grant or refuse those that wait, in their order, until one has to go on waiting."""
        while self._waiting:
            head = self._waiting[0]
            if fits := self._fits(head.worst):
                self._hold(head.worst)
            elif self._in_flight:
                return
            else:
                self._refuse(head.worst)
            self._waiting.popleft()
            head.tell(fits)
