"""An OpenAI-compatible server that answers by script, misbehaves by script, and keeps count.

    with scripted_server(Script(answer="echo", mixed=["429", "500", "drop"], share=0.1)) as server:
        ... base_url=server.url ...
        assert server.counts()[question(messages)] == 2

It runs in a process of its own (uvicorn) on 127.0.0.1 and a free port. What it answers comes from a function by name: one of ANSWERS, or
`package.module:function`, called with the request's body.
"""

import asyncio
import datetime
import hashlib
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from email.utils import format_datetime
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]
START_SECONDS = 60
# What can become of a request. `ok` and what is paid for answer with HTTP 200; of `drop` and `slow` nobody knows.
ANSWERED = frozenset(
    {
        "ok",
        "prose",
        "wrong_schema",
        "length",
        "refusal",
        "parts",
        "surrogate",
        "nul",
        "filtered",
        "leak",
        "no_usage",
        "negative_usage",
        "zero_usage",
        "huge_usage",
        "low_usage",
    }
)
PASSING = ("429", "500", "503", "drop", "slow", "cut_json", "cut_transfer", "empty", "error_200")  # faults that another try mends


def echo(body: dict[str, Any]) -> str:
    """An answer that depends on the question alone."""
    return json.dumps({"answer": question(body["messages"])})


def letters(body: dict[str, Any]) -> str:
    """200 characters, for measuring."""
    return json.dumps({"answer": "a" * 200})


ANSWERS: dict[str, Callable[[dict[str, Any]], str]] = {"echo": echo, "letters": letters}


@dataclass(frozen=True)
class Script:
    """How the server behaves.

    Attributes:
        answer: what it says.
        each: what becomes of the first, second ... request for every question; `ok` after that.
        where: the same for questions with a text in them, before `each`.
        mixed: one of these becomes of the first request for `share` of the questions, by their hash.
        share: 0 to 1, of the questions that `mixed` is for.
        latency_ms: of an answer.
        slots: requests worked on at once; the others wait.
        slow_seconds: how long `slow` takes.
        retry_after: header of `429`; empty for none.
        supports: the strongest response_format that is not refused: json_schema, json_object or none.
        max_field: the one of `max_tokens` and `max_completion_tokens` that is taken; any when empty.
        model: the one that is known.
        models: those that are listed.
        key: the one that is accepted; any when empty.
        usage: [prompt tokens, completion tokens] of every answer; by the length of the texts when left out.
        certificate: files of a certificate and its key, for TLS.
    """

    answer: str = "echo"
    each: list[str] = field(default_factory=list)
    where: dict[str, list[str]] = field(default_factory=dict)
    mixed: list[str] = field(default_factory=list)
    share: float = 0.1
    latency_ms: float = 0.0
    slots: int | None = None
    slow_seconds: float = 30.0
    retry_after: str = "1"
    supports: str = "json_schema"
    max_field: str = ""
    model: str = "scripted"
    models: list[str] = field(default_factory=lambda: ["another", "scripted"])
    key: str = ""
    usage: list[int] | None = None
    certificate: list[str] = field(default_factory=list)


def question(messages: list[dict[str, str]]) -> str:
    """What the server takes for one question: the messages."""
    return hashlib.blake2b(json.dumps(messages, sort_keys=True).encode(), digest_size=8).hexdigest()


@dataclass
class Server:
    """A server that runs."""

    url: str
    process: "subprocess.Popen[bytes]"

    def log(self) -> list[dict[str, Any]]:
        """One row a request, in order of arrival: question, outcome, at (seconds), open (requests at work), body, authorization."""
        return list(self._control("log"))

    def counts(self) -> Counter[str]:
        """Requests by question."""
        return Counter(row["question"] for row in self.log())

    def outcomes(self) -> Counter[str]:
        """Requests by what became of them."""
        return Counter(row["outcome"] for row in self.log())

    def rewrite(self, script: Script) -> None:
        """Go on by another script; counts stay."""
        self._control("script", json.dumps(asdict(script)).encode())

    def forget(self) -> None:
        """Start counting anew."""
        self._control("forget")

    def _control(self, what: str, data: bytes | None = None) -> Any:
        with urllib.request.urlopen(self.url.replace("https", "http").removesuffix("/v1") + f"/control/{what}", data, timeout=30) as reply:
            return json.load(reply)


@contextmanager
def scripted_server(script: Script | None = None) -> Iterator[Server]:
    """Run one while the block lasts."""
    told = json.dumps(asdict(script or Script()))
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([sys.executable, "-m", "tests.llm.scripted", told], cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=said)
        assert process.stdout is not None
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(process.stdout, selectors.EVENT_READ)
                ready = selector.select(START_SECONDS)
            port = process.stdout.readline().decode().strip() if ready else ""
            if not port:
                said.seek(0)
                raise RuntimeError(f"the scripted server did not start: {said.read().decode()}")
            yield Server(f"{'https' if script and script.certificate else 'http'}://127.0.0.1:{port}/v1", process)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


class _App:
    """The server itself, as an ASGI application."""

    def __init__(self, script: Script) -> None:
        self.rows: list[dict[str, Any]] = []
        self.seen: Counter[str] = Counter()
        self.open = 0
        self.take(script)

    def take(self, script: Script) -> None:
        self.script = script
        module, _, name = script.answer.rpartition(":")
        self.answer = getattr(importlib.import_module(module), name) if module else ANSWERS[name]
        self.slots = asyncio.Semaphore(script.slots or 1 << 20)

    async def __call__(self, scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        if scope["type"] != "http":
            return
        content = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            content += message.get("body", b"")
            if not message.get("more_body"):
                break
        match scope["path"]:
            case "/control/log":
                await _reply(send, 200, self.rows)
            case "/control/forget":
                self.rows, self.seen = [], Counter()
                await _reply(send, 200, {})
            case "/control/script":
                self.take(Script(**json.loads(content)))
                await _reply(send, 200, {})
            case "/page/models":  # any address answers where a web page is
                await _reply(send, 200, b"<html>")
            case "/v1/models":
                headers = {name.decode(): value.decode() for name, value in scope["headers"]}
                await self.list_models(headers, send)
            case "/v1/chat/completions":
                headers = {name.decode(): value.decode() for name, value in scope["headers"]}
                await self.complete(json.loads(content), headers, receive, send)
            case _:
                await _reply(send, 404, {"detail": "Not Found"})

    async def list_models(self, headers: dict[str, str], send: Callable[[Any], Any]) -> None:
        if self.script.key and headers.get("authorization") != f"Bearer {self.script.key}":
            status, error = REFUSALS["401"]
            told = error | {"message": f"Incorrect API key provided: {headers.get('authorization')}"}
            await _reply(send, status, {"error": told})
        else:
            await _reply(send, 200, {"object": "list", "data": [{"id": name, "object": "model"} for name in self.script.models]})

    async def complete(self, body: dict[str, Any], headers: dict[str, str], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        self.open += 1
        try:
            await self.work(body, headers, receive, send)
        finally:
            self.open -= 1

    async def work(self, body: dict[str, Any], headers: dict[str, str], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        asked = question(body["messages"])
        outcome = self.refuses(body, headers) or self.becomes(asked, body)
        kept = {
            "question": asked,
            "outcome": outcome,
            "at": time.monotonic(),
            "open": self.open,
            "authorization": headers.get("authorization"),
        }
        self.rows.append(kept | {"body": {name: value for name, value in body.items() if name != "messages"}})
        async with self.slots:
            await asyncio.sleep(self.script.slow_seconds if outcome == "slow" else self.script.latency_ms / 1000)
        if outcome == "drop":
            receive.__self__.transport.abort()  # type: ignore[attr-defined]  # uvicorn's request, which owns the connection
        elif outcome in REFUSALS:
            status, error = REFUSALS[outcome]
            await _reply(send, status, {"error": error | {"param": None}}, self.waits(outcome))
        elif outcome == "error_200":
            await _reply(send, 200, {"error": {"code": 503, "message": "no provider answers"}})
        else:
            told = json.dumps(self.completion(outcome, body)).encode()
            cut = {"cut_json": told[: len(told) // 2], "cut_transfer": told[: len(told) // 2]}.get(outcome, told)
            await _reply(send, 200, cut, length=len(told) if outcome == "cut_transfer" else len(cut))

    def refuses(self, body: dict[str, Any], headers: dict[str, str]) -> str | None:
        if self.script.key and headers.get("authorization") != f"Bearer {self.script.key}":
            return "401"
        if body["model"] != self.script.model:
            return "404"
        ladder = ["none", "json_object", "json_schema"]
        if ladder.index(body.get("response_format", {}).get("type", "none")) > ladder.index(self.script.supports):
            return "format"
        return "max_tokens" if self.script.max_field and self.script.max_field not in body else None

    def becomes(self, asked: str, body: dict[str, Any]) -> str:
        number, self.seen[asked] = self.seen[asked], self.seen[asked] + 1
        said = " ".join(message["content"] for message in body["messages"])
        plan = next((plan for text, plan in self.script.where.items() if text in said), self.script.each)
        at = int(asked, 16)
        if not plan and self.script.mixed and at % 10_000 < self.script.share * 10_000:
            plan = [self.script.mixed[at // 10_000 % len(self.script.mixed)]]
        return plan[number] if number < len(plan) else "ok"

    def waits(self, outcome: str) -> dict[str, str]:
        after = self.script.retry_after
        if outcome != "429" or not after:
            return {}
        if after.startswith("date "):
            moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=float(after[5:]))
            return {"retry-after": format_datetime(moment, usegmt=True)}
        return {"retry-after-ms": after[3:]} if after.startswith("ms ") else {"retry-after": after}

    def completion(self, outcome: str, body: dict[str, Any]) -> dict[str, Any]:
        text: Any = self.answer(body)
        stop, refusal = {"length": "length", "filtered": "content_filter"}.get(outcome, "stop"), None
        match outcome:
            case "prose":
                text = "Well, it depends."
            case "wrong_schema":
                text = '{"something": "else"}'
            case "length":
                text = text[: len(text) // 2]
            case "refusal":
                text, refusal = None, "I cannot help with that."
            case "parts":
                text = [{"type": "text", "text": text}]
            case "surrogate":
                text = "half a pair: \ud83d, a whole one: \U0001f600"
            case "nul":
                text = "a\x00b"
            case "leak":
                text = f"you are {self.rows[-1]['authorization']}"
        choice = {"index": 0, "message": {"role": "assistant", "content": text, "refusal": refusal}, "finish_reason": stop}
        counts = self.script.usage or [sum(len(m["content"]) for m in body["messages"]) // 4 + 1, len(str(text)) // 4 + 1]
        counts = {
            "negative_usage": [-5, -5], "zero_usage": [0, 0], "huge_usage": [10**9, 10**9], "low_usage": [1, 1],
        }.get(outcome, counts)  # fmt: skip
        usage = dict(zip(("prompt_tokens", "completion_tokens", "total_tokens"), [*counts, sum(counts)], strict=True))
        told = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": f"{self.script.model}-2024",
            "system_fingerprint": "fp_1",
        }
        return told | {"choices": [] if outcome == "empty" else [choice]} | ({} if outcome == "no_usage" else {"usage": usage})


REFUSALS: dict[str, tuple[int, dict[str, Any]]] = {
    "429": (429, {"message": "Rate limit reached", "code": "rate_limit_exceeded"}),
    "quota": (429, {"message": "You exceeded your current quota", "code": "insufficient_quota"}),
    "500": (500, {"message": "The server had an error", "code": None}),
    "503": (503, {"message": "Overloaded", "code": None}),
    "400": (400, {"message": "Unknown parameter: 'colour'.", "code": "unknown_parameter"}),
    "401": (401, {"message": "Incorrect API key provided.", "code": "invalid_api_key"}),
    "403": (403, {"message": "Not allowed in your region", "code": None}),
    "404": (404, {"message": "The model `x` does not exist", "code": "model_not_found"}),
    "model_400": (400, {"message": "Model 'x' not found. The server is pinned to 'y'.", "code": None}),
    "context": (400, {"message": "This model's maximum context length is 512 tokens.", "code": "context_length_exceeded"}),
    "filter": (400, {"message": "The response was filtered by our content management policy.", "code": "content_filter"}),
    "format": (400, {"message": "Invalid parameter: 'response_format' of this type is not supported.", "code": None}),
    "max_tokens": (400, {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "code": None}),
    "temperature": (400, {"message": "Unsupported value: 'temperature' does not support 0.0 with this model.", "code": None}),
}  # fmt: skip


async def _reply(
    send: Callable[[Any], Any], status: int, told: Any, headers: dict[str, str] | None = None, length: int | None = None
) -> None:
    body = told if isinstance(told, bytes) else json.dumps(told).encode()
    fields = {"content-type": "application/json", "content-length": str(len(body) if length is None else length)} | (headers or {})
    await send({"type": "http.response.start", "status": status, "headers": [(k.encode(), v.encode()) for k, v in fields.items()]})
    await send({"type": "http.response.body", "body": body})


def serve(script: Script) -> None:
    """Listen on a free port, and print it."""
    import uvicorn

    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(1024)
    tls = dict(zip(("ssl_certfile", "ssl_keyfile"), script.certificate, strict=False))
    config = uvicorn.Config(_App(script), log_level="critical", access_log=False, lifespan="off", **tls)  # type: ignore[arg-type]
    parent = os.getppid()

    async def run() -> None:
        async def watch() -> None:  # a test run that is killed must not leave servers behind
            while os.getppid() == parent:
                await asyncio.sleep(1.0)
            os.kill(os.getpid(), signal.SIGKILL)

        watching = asyncio.create_task(watch())
        sys.stdout.write(f"{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        await uvicorn.Server(config).serve(sockets=[listening])
        watching.cancel()

    asyncio.run(run())


if __name__ == "__main__":
    serve(Script(**json.loads(sys.argv[1])))
