"""A server with the batch API of OpenAI: files, batches, their fates by script, and a count of what is paid for.

It runs in a thread, so that a test reads and changes what it does directly; clients reach it over HTTP alone.
"""

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.llm.scripted import question

USAGE = {"prompt_tokens": 40, "completion_tokens": 9, "total_tokens": 49}
FORMAT = {"error": {"message": "Invalid parameter: 'response_format' of this type is not supported.", "code": None}}
MODEL = {"error": {"message": "The model `x` does not exist", "code": "model_not_found"}}
CONTEXT = {"error": {"message": "This model's maximum context length is 512 tokens.", "code": "context_length_exceeded"}}


@dataclass
class BatchServer:
    """What the server has, and how it behaves.

    Attributes:
        fates: of questions with a text in them, first time, second time ...; `ok` after that. Others: ok, 500, context, model, expired,
            cancelled, timeout, nothing (in no file), empty (no choices), garbage (a line that is no JSON), usage (absurd numbers), lines
            (an answer with other line ends in it), leak (the key comes back).
        ends: status of the first, second ... batch; completed after that.
        errors: of a batch that failed.
        faults: what becomes of the next requests for a method and path, e.g. {"POST /batches": ["500", "lost"]}. lost: done, and the
            connection closed without an answer. hang: done, and no answer before `go_on` is set.
        open: batches end when it is set.
        supports: json_schema, json_object or none, as `scripted.Script`.
    """

    fates: dict[str, list[str]] = field(default_factory=dict)
    ends: list[str] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    faults: dict[str, list[str]] = field(default_factory=dict)
    supports: str = "json_schema"
    open: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    key: str = ""
    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    polls: Counter[str] = field(default_factory=Counter)
    paid: Counter[str] = field(default_factory=Counter)  # executions by question
    requests: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    polled: threading.Event = field(default_factory=threading.Event)
    made: threading.Event = field(default_factory=threading.Event)

    def lines(self) -> list[dict[str, Any]]:
        """Of all batches, in the order of their making."""
        return [json.loads(line) for batch in self.batches.values() for line in self.files[batch["input_file_id"]].splitlines()]

    def take(self, content: bytes, kind: str) -> str:
        """Take a file."""
        self.files[name := f"file-{kind}-{len(self.files)}"] = content
        return name

    def make(self, told: dict[str, Any]) -> dict[str, Any]:
        """Make a batch, and execute it at once."""
        number = len(self.batches)
        status = self.ends[number] if number < len(self.ends) else "completed"
        lines = [json.loads(line) for line in self.files[told["input_file_id"]].split(b"\n") if line]
        output, failed = b"", b""
        for line in lines if status != "failed" else []:
            good, text = self.execute(line, told["endpoint"])
            output, failed = output + (text if good else b""), failed + (b"" if good else text)
        batch = {
            "id": f"batch_{number}", "object": "batch", "endpoint": told["endpoint"], "completion_window": told["completion_window"],
            "input_file_id": told["input_file_id"], "metadata": told.get("metadata"), "created_at": 100, "end": status,
            "output_file_id": self.take(output, "output") if output else None,
            "error_file_id": self.take(failed, "error") if failed else None,
            "errors": {"object": "list", "data": self.errors} if status == "failed" else None,
            "request_counts": {"total": len(lines), "completed": len(lines), "failed": 0},
        }  # fmt: skip
        self.batches[str(batch["id"])] = batch
        self.made.set()
        return self.shown(batch)

    def shown(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch as it is told: its files are there when it has ended."""
        told = {name: value for name, value in batch.items() if name != "end"}
        if self.open.is_set() and self.polls[batch["id"]] > 1:
            return told | {"status": batch["end"], "completed_at": 107}
        return told | {"status": "in_progress", "output_file_id": None, "error_file_id": None, "errors": None}

    def execute(self, line: dict[str, Any], endpoint: str) -> tuple[bool, bytes]:
        """One question: whether it is for the output file, and its line there."""
        assert (line["method"], line["url"]) == ("POST", endpoint)
        body, key = line["body"], line["custom_id"]
        said = " ".join(message["content"] for message in body["messages"])
        fates = next((fates for text, fates in self.fates.items() if text in said), [])
        fate = fates[self.seen[key]] if self.seen[key] < len(fates) else "ok"
        self.seen[key] += 1
        ladder = ["none", "json_object", "json_schema"]
        if ladder.index(body.get("response_format", {}).get("type", "none")) > ladder.index(self.supports):
            return False, _line(key, response={"status_code": 400, "body": FORMAT})
        match fate:
            case "expired" | "cancelled":
                return False, _line(key, error={"code": f"batch_{fate}", "message": "This request could not be executed in time."})
            case "timeout":
                return False, _line(key, error={"code": "request_timeout", "message": "The model timed out."})
            case "500" | "context" | "model":
                status, told = {"500": (500, {"error": {"message": "Oh"}}), "context": (400, CONTEXT), "model": (404, MODEL)}[fate]
                return False, _line(key, response={"status_code": status, "body": told})
        self.paid[question(body["messages"])] += 1
        text = json.dumps({"answer": question(body["messages"])})
        text = {"lines": "a\u2028b\u0085c\u000bd\re \ud83d", "leak": f"you are {self.key}"}.get(fate, text)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": -1, "completion_tokens": 10**9} if fate == "usage" else USAGE
        told = {"model": "scripted-2024", "choices": [] if fate == "empty" else [choice], "usage": usage}
        if fate == "nothing":
            return True, b""
        if fate == "garbage":
            return True, b'{"custom_id": "' + key.encode() + b'", "resp\n'
        return True, _line(key, response={"status_code": 200, "request_id": "1", "body": told})


def _line(key: str, response: dict[str, Any] | None = None, error: dict[str, Any] | None = None) -> bytes:
    # As providers write it: not ASCII alone.
    told = {"id": f"batch_req_{key}", "custom_id": key, "response": response, "error": error}
    return json.dumps(told, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _handler(state: BatchServer) -> type[BaseHTTPRequestHandler]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            self.serve("GET")

        def do_POST(self) -> None:
            self.serve("POST")

        def serve(self, method: str) -> None:
            content = self.rfile.read(int(self.headers.get("content-length") or 0))
            path = self.path.removeprefix("/v1").partition("?")[0]
            place = f"{method} /{path.split('/')[1]}"
            with lock:
                state.requests.append(f"{method} {path}")
                faults = state.faults.get(place, [])
                fault = faults.pop(0) if faults else ""
                status, told = (
                    (int(fault), {"error": {"message": f"refused: {state.key}"}}) if fault.isdigit() else self.answer(method, path, content)
                )
            if fault == "hang":
                state.go_on.wait(60)
            if fault in ("lost", "hang"):
                self.close_connection = True
                return
            body = told if isinstance(told, bytes) else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def answer(self, method: str, path: str, content: bytes) -> tuple[int, Any]:
            if state.key and self.headers.get("authorization") != f"Bearer {state.key}":
                return 401, {"error": {"message": "Incorrect API key provided.", "code": "invalid_api_key"}}
            name = path.split("/")[2] if path.count("/") > 1 else ""
            match method, path.split("/")[1]:
                case "POST", "files":
                    boundary = re.search(r'boundary="?([^";]+)', self.headers["content-type"])
                    assert boundary is not None
                    parts = content.split(b"--" + boundary[1].encode())
                    fields = {
                        re.search(rb'name="(\w+)"', part)[1]: part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for part in parts[1:-1]
                    }  # type: ignore[index]
                    assert fields[b"purpose"] == b"batch"
                    return 200, {"id": state.take(fields[b"file"], "input"), "object": "file", "purpose": "batch"}
                case "POST", "batches":
                    return 200, state.make(json.loads(content))
                case "GET", "batches" if not name:
                    found = [state.shown(batch) for batch in state.batches.values()]
                    return 200, {"object": "list", "data": found[::-1], "has_more": False}
                case "GET", "batches" if name in state.batches:
                    state.polls[name] += 1
                    state.polled.set()
                    return 200, state.shown(state.batches[name])
                case "GET", "files" if name in state.files:
                    return 200, state.files[name]
            return 404, {"error": {"message": "No such place"}}

    return Handler


@contextmanager
def batch_server(**script: Any) -> Iterator[BatchServer]:
    """Run one while the block lasts; batches end unless the test closes `open`."""
    state = BatchServer(**script)
    state.open.set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()
