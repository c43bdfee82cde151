"""How much of a server's slots the client keeps busy: answers take 50 ms, 64 at once, so the slots allow 1,280 requests a second.

Peers, in the same run and against the same server: the loop that everybody writes first (`asyncio.gather` over `AsyncOpenAI` with a
semaphore of 64; nothing is kept, counted or limited), the same with the SDK's fastest transport and raw answers, and a bare aiohttp loop,
which is what this machine can do at all with server and client on it. They take turns; the best round counts. Prints one JSON line each:
`share_of_slots` (0 to 1), `cpu_ms` of the client a request, `ratio` to ours.

    python -m tests.benchmarks.bench_llm --requests 6000 --rounds 3
"""

import argparse
import asyncio
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import httpx2
import polars as pl
from openai import AsyncOpenAI, DefaultAioHttpClient

from pipeline.config import BudgetConfig, EndpointConfig
from pipeline.llm.budget import Budget
from pipeline.llm.client import LanguageModel
from pipeline.llm.tables import REQUESTS, Form
from pipeline.store import Store

SLOTS, LATENCY_MS, PROMPT_CHARS, MOST_TOKENS = 64, 50.0, 2_500, 500
FREE = asyncio.Semaphore(SLOTS)
SAID = {"index": 0, "message": {"role": "assistant", "content": "a" * 200}, "finish_reason": "stop"}
ANSWER = json.dumps({"model": "m", "choices": [SAID], "usage": {"prompt_tokens": 700, "completion_tokens": 60}}).encode()
FORM = Form("bench", 1, {"type": "object", "properties": {"answer": {"type": "string"}}}, MOST_TOKENS)


def requests(count: int) -> pl.DataFrame:
    ids = [hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest() for number in range(count)]
    said = [[{"role": "system", "content": "Which is better?"}, {"role": "user", "content": f"{one} {'x' * PROMPT_CHARS}"}] for one in ids]
    return pl.DataFrame({"bucket": [int(one[:2], 16) for one in ids], "key": ids, "pair_id": ids, "messages": said}, schema=REQUESTS)


def ours(url: str, asked: pl.DataFrame) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = LanguageModel(
            EndpointConfig(name="bench", base_url=url, model="scripted", concurrency=SLOTS), Store(folder), "d", Budget(BudgetConfig())
        )
        answered = model.ask(FORM, asked, lambda _: None).answered
        model.close()
        assert answered == asked.height


def looped(one: Callable[[list[dict[str, str]]], Awaitable[Any]], asked: pl.DataFrame) -> Awaitable[Any]:
    semaphore = asyncio.Semaphore(SLOTS)

    async def bounded(messages: list[dict[str, str]]) -> None:
        async with semaphore:
            await one(messages)

    return asyncio.gather(*(bounded(messages) for messages in asked["messages"].to_list()))


def body(messages: list[dict[str, str]]) -> dict[str, Any]:
    return {"model": "scripted", "messages": messages, "temperature": 0.0, "max_tokens": MOST_TOKENS}


def naive(url: str, asked: pl.DataFrame) -> None:
    async def run() -> None:
        async with AsyncOpenAI(base_url=url, api_key="k") as client:
            await looped(lambda messages: client.chat.completions.create(**body(messages)), asked)

    asyncio.run(run())


def fastest_of_sdk(url: str, asked: pl.DataFrame) -> None:
    async def run() -> None:
        http = DefaultAioHttpClient(limits=httpx2.Limits(max_connections=SLOTS, max_keepalive_connections=SLOTS))
        async with http, AsyncOpenAI(base_url=url, api_key="k", max_retries=0, http_client=http) as client:

            async def one(messages: list[dict[str, str]]) -> Any:
                reply = await client.post("/chat/completions", cast_to=httpx2.Response, body=body(messages))
                return json.loads(reply.content)

            await looped(one, asked)

    asyncio.run(run())


def bare(url: str, asked: pl.DataFrame) -> None:
    async def run() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=SLOTS)) as session:

            async def one(messages: list[dict[str, str]]) -> Any:
                headers = {"content-type": "application/json"}
                async with session.post(f"{url}/chat/completions", data=json.dumps(body(messages)).encode(), headers=headers) as reply:
                    return json.loads(await reply.read())

            await looped(one, asked)

    asyncio.run(run())


async def serve(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    """The least that a server can do: it shares the machine with those that are measured."""
    if scope["type"] == "http":
        while (await receive()).get("more_body"):
            continue
        async with FREE:
            await asyncio.sleep(LATENCY_MS / 1e3)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": ANSWER})


@contextmanager
def server() -> Iterator[str]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(1024)
    code = f"import socket, sys, uvicorn; from {__spec__.name} import serve; sock = socket.socket(fileno=int(sys.argv[1])); "
    code += "uvicorn.Server(uvicorn.Config(serve, log_level='critical', lifespan='off')).run([sock])"
    process = subprocess.Popen([sys.executable, "-c", code, str(listening.fileno())], pass_fds=[listening.fileno()])
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"  # it listens already: the first request waits for the server
    finally:
        process.kill()
        process.wait()
        listening.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=6_000)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    asked = requests(wanted.requests)
    ways = {"prefine": ours, "AsyncOpenAI in a loop": naive, "AsyncOpenAI on aiohttp, raw": fastest_of_sdk, "bare aiohttp": bare}
    best: dict[str, tuple[float, float]] = {}
    with server() as url:
        bare(url, asked.head(SLOTS))  # it is up
        for _ in range(wanted.rounds):
            for name, way in ways.items():
                began, cpu = time.perf_counter(), sum(os.times()[:2])
                way(url, asked)
                took = time.perf_counter() - began, (sum(os.times()[:2]) - cpu) / wanted.requests * 1e3
                best[name] = min(best.get(name, took), took)
    allowed = SLOTS / LATENCY_MS * 1e3
    for name, (seconds, cpu_ms) in best.items():
        rate = wanted.requests / seconds
        told = {"way": name, "requests": wanted.requests, "per_second": round(rate), "share_of_slots": round(rate / allowed, 3)}
        print(json.dumps(told | {"cpu_ms": round(cpu_ms, 3), "ratio": round(best["prefine"][0] / seconds, 3)}))


if __name__ == "__main__":
    main()
