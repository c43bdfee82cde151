"""What servers say, in their own words, and what follows from it."""

import json
from typing import Any

import pytest

from pipeline.llm.failures import REASONS, of_status
from pipeline.llm.wire import AttemptFailed, read

SAID: list[tuple[int, Any, str, dict[str, Any]]] = [
    (429, {"error": {"message": "Rate limit reached for gpt-4o", "code": "rate_limit_exceeded"}}, "rate_limited", {"again": True}),
    (429, {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}, "rate_limited", {"again": False}),
    (402, {"error": {"message": "Insufficient credits"}}, "rate_limited", {"again": False}),
    (500, "<html>Internal Server Error</html>", "server_error", {"again": True}),
    (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "server_error", {"again": True}),
    (401, {"error": {"message": "Incorrect API key provided"}}, "unauthorised", {"again": False}),
    (403, {"error": {"message": "Key limit exceeded"}}, "unauthorised", {"again": False}),
    (403, {"error": {"message": "This model requires moderation and your input was flagged"}}, "content_filter", {"todo": None}),
    (404, {"detail": "Not Found"}, "unknown_model", {"again": False}),
    (404, {"object": "error", "message": "The model `x` does not exist.", "code": 404}, "unknown_model", {"again": False}),
    (400, {"detail": "Server is pinned to 'a', model 'b' not found"}, "unknown_model", {"again": False}),
    (301, "", "bad_request", {"again": False}),
    (413, "Request Entity Too Large", "context_too_long", {"todo": None}),
    (
        400,
        {"error": {"message": "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens", "code": None}},
        "context_too_long",
        {"todo": None, "refused": None},
    ),
    (
        400,
        {"message": "'max_tokens' or 'max_completion_tokens' is too large: 700. This model's maximum context length is 512 tokens"},
        "context_too_long",
        {"refused": None},
    ),
    (400, {"error": {"code": "content_filter", "message": "The response was filtered"}}, "content_filter", {"todo": None}),
    (400, {"error": {"message": "Invalid value", "param": "response_format"}}, "bad_request", {"refused": "response_format"}),
    (
        422,
        {"detail": [{"loc": ["body", "response_format"], "msg": "extra fields not permitted"}]},
        "bad_request",
        {"refused": "response_format"},
    ),
    (400, {"error": {"message": "Use 'max_completion_tokens' instead."}}, "bad_request", {"refused": "max_tokens"}),
    (400, {"error": {"message": "Unknown parameter: 'colour'"}}, "bad_request", {"refused": None, "todo": None, "again": False}),
    (400, '"\\ud800 half a pair"', "bad_request", {"detail": "HTTP 400: ? half a pair"}),
    (400, "[" * 100_000, "bad_request", {"todo": None}),
]


@pytest.mark.parametrize(("status", "body", "reason", "more"), SAID)
def test_a_status_and_its_words_have_a_reason(status: int, body: Any, reason: str, more: dict[str, Any]) -> None:
    said = (body if isinstance(body, str) else json.dumps(body)).encode()
    failed = of_status(status, said, {})
    assert failed.reason == reason
    assert reason in REASONS
    assert {name: getattr(failed, name) for name in more} == more
    assert len(failed.detail) <= 300


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "Retry-After": "9"}, 0.25),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:10 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 10.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:27:00 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"retry-after-ms": "-5"}, 0.0),
        ({}, None),
    ],
)
def test_the_wait_that_a_server_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert of_status(429, b"", headers).wait_seconds == seconds


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "bad_body"),
        (b"[1]", "bad_body"),
        (b'{"choices": [{"mess', "bad_body"),
        (b"\xff\xfe", "bad_body"),
        (b"[" * 100_000, "bad_body"),
        (b"{}", "empty"),
        (b'{"choices": []}', "empty"),
        (b'{"choices": [null]}', "empty"),
        (b'{"choices": [{"finish_reason": "stop"}]}', "empty"),
        (b'{"error": {"code": 429, "message": "slow down"}}', "rate_limited"),
        (b'{"error": "no provider"}', "server_error"),
    ],
)
def test_a_body_without_an_answer_has_a_reason(body: bytes, reason: str) -> None:
    with pytest.raises(AttemptFailed) as failed:
        read(body)
    assert failed.value.reason == reason
    assert failed.value.again
