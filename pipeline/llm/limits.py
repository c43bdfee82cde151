"""How fast an endpoint may be asked: requests and tokens a minute, and pauses that it asks for."""

import asyncio

from aiolimiter import AsyncLimiter

from pipeline.config import EndpointConfig


class Pace:
    """One for all that an endpoint is asked in this process; belongs to one event loop."""

    def __init__(self, endpoint: EndpointConfig) -> None:
        """Read the limits."""
        self._requests = _limiter(endpoint.requests_per_minute)
        self._tokens = _limiter(endpoint.tokens_per_minute)
        self._paused_until, self._turned_away = 0.0, 0

    async def wait(self, tokens: int) -> None:
        """Return when a request of so many tokens may be sent."""
        if self._requests is not None:
            await self._requests.acquire()
        if self._tokens is not None:
            while tokens > 0:  # one request may be more than what is let through at once
                part = min(float(tokens), self._tokens.max_rate)
                await self._tokens.acquire(part)
                tokens -= int(part) or 1
        loop = asyncio.get_running_loop()
        while (left := self._paused_until - loop.time()) > 0:
            await asyncio.sleep(left)

    def heard(self, *, turned_away: bool, wait_seconds: float | None = None) -> None:
        """What the server said to a request.

        One that is turned away for a time waits by itself. Two in a row mean that all would be: nothing is sent for that long.
        """
        self._turned_away = self._turned_away + 1 if turned_away else 0
        if self._turned_away > 1 and wait_seconds is not None:
            self._paused_until = max(self._paused_until, asyncio.get_running_loop().time() + wait_seconds)


def _limiter(per_minute: int | None) -> AsyncLimiter | None:
    """A second's worth at once, so that no minute has much more than its share; one at least."""
    if per_minute is None:
        return None
    burst = max(1.0, per_minute / 60)
    return AsyncLimiter(burst, burst * 60 / per_minute)
