"""What can go wrong with a request, and what follows: another try, a reason for the row, or the end of all asking."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

# Why a question has no answer (FAILURES.reason).
REASONS: Final = (
    "budget", "rate_limited", "server_error", "timeout", "connection", "bad_request", "unauthorised", "unknown_model", "context_too_long",
    "content_filter", "empty", "bad_body",
)  # fmt: skip
LONGEST_WAIT_SECONDS: Final = 600.0  # who asks for more is not asked again in this run
_DETAIL_CHARS: Final = 300

_CONTEXT: Final = re.compile(
    r"(?i)context.?(length|window|size)|maximum.{0,20}(context|tokens|length)|(prompt|input).{0,20}too (long|large)|too many.{0,20}tokens"
)
_FILTER: Final = re.compile(r"(?i)content.?(filter|management|policy)|moderation|safety system")
_MODEL: Final = re.compile(
    r"(?i)model.{0,120}?(not found|(does|do) ?n.?o?t exist|unknown|not loaded)|is pinned to|(unknown|invalid|no such) model|model_not_found"
)
_QUOTA: Final = re.compile(r"(?i)insufficient.?(quota|credit|balance|funds)|billing.?(hard.?limit|not.?active)|payment required")
_CREDIT: Final = "The account's credit is used up: top it up and run again; what was answered is kept."
_KEY: Final = "Check the key in the environment variable that key_env names, and what it may use."
_NAME: Final = "Check model: it must be spelt as the server lists it under /models."
_PLACE: Final = "Check base_url (it usually ends in /v1) and model."


@dataclass(eq=False)
class AttemptFailed(Exception):
    """One request that brought no answer.

    Attributes:
        reason: one of REASONS.
        detail: what the server or the network said, short.
        again: whether another try may bring one.
        charged: whether tokens may have been paid for: it was sent, and nobody knows what became of it.
        todo: what the user should do, when no other question can be answered either; None otherwise.
        wait_seconds: not before that long; None: as we think fit.
        refused: the field of the body that this server does not take, which can be put otherwise.
        usage: as the server stated it, of an answer that could not be used.
    """

    reason: str
    detail: str
    again: bool = False
    charged: bool = False
    todo: str | None = None
    wait_seconds: float | None = None
    refused: str | None = None
    usage: Any = None

    def __post_init__(self) -> None:
        """Cut what servers say to what people read, and UTF-8 can hold."""
        self.detail = " ".join(self.detail.encode("utf-8", "replace").decode().split())[:_DETAIL_CHARS]


def of_status(status: int, body: bytes, headers: Mapping[str, str]) -> AttemptFailed:
    """What an HTTP status that is not 200 means."""
    code, message = _error(body)
    detail, said = f"HTTP {status}: {message or code or 'no message'}", f"{code} {message}"
    if status == 402 or (status in (403, 429) and _QUOTA.search(said)):
        return AttemptFailed("rate_limited", detail, todo=_CREDIT)
    if status == 429:
        wait = _retry_after(headers)
        if wait is not None and wait > LONGEST_WAIT_SECONDS:
            return AttemptFailed("rate_limited", f"{detail} (asks to wait {wait:.0f} s)")
        return AttemptFailed("rate_limited", detail, again=True, wait_seconds=wait)
    if status in (408, 409, 425) or status >= 500:
        wait = _retry_after(headers)
        return AttemptFailed("server_error", detail, again=wait is None or wait <= LONGEST_WAIT_SECONDS, wait_seconds=wait)
    if status == 403 and _FILTER.search(said):  # of one question: gateways that moderate say it like that
        return AttemptFailed("content_filter", detail)
    if status in (401, 403):
        return AttemptFailed("unauthorised", detail, todo=_KEY)
    if status in (400, 413, 422) and (status == 413 or code == "context_length_exceeded" or _CONTEXT.search(said)):
        return AttemptFailed("context_too_long", detail)
    if status in (400, 422) and (refused := _refused_field(said)):
        return AttemptFailed("bad_request", detail, refused=refused)
    if status in (400, 404, 422) and _MODEL.search(said):
        return AttemptFailed("unknown_model", detail, todo=_NAME)
    if status == 404:
        return AttemptFailed("unknown_model", detail, todo=_PLACE)
    if status < 400 or status == 405:
        return AttemptFailed("bad_request", detail, todo=_PLACE)
    return AttemptFailed("content_filter" if _FILTER.search(said) else "bad_request", detail)


def _refused_field(said: str) -> str | None:
    """Which field of ours a message complains about, of those that can be put otherwise."""
    if re.search(r"(?i)response_format|json_schema|json.?object|structured output", said):
        return "response_format"
    if "max_completion_tokens" in said:
        return "max_tokens"
    return "temperature" if re.search(r"(?i)temperature.{0,60}(not support|unsupported)|unsupported.{0,40}temperature", said) else None


def _error(body: bytes) -> tuple[str, str]:
    """Code and message of an error body, whatever its shape."""
    text = body.decode("utf-8", "replace")
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return "", text
    told = told.get("error", told) if isinstance(told, dict) else told
    if not isinstance(told, dict):
        return "", told if isinstance(told, str) else text
    # `param` names the field that is wrong where the message may not.
    named = " ".join(str(told[key]) for key in ("code", "type", "param") if told.get(key))
    return str(told.get("code") or ""), f"{told.get('message') or told.get('detail') or text} {named}".strip()


def error_within(told: Mapping[str, Any]) -> AttemptFailed:
    """An `error` in a body that came with HTTP 200: some gateways pass on the failures of others like that."""
    error = told["error"]
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 502
    return of_status(status, json.dumps({"error": error}).encode(), {})


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, as the server asks: `retry-after-ms`, or `Retry-After` in seconds or as a date."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return max(0.0, float(milliseconds) / 1000)
        if (value := headers.get("Retry-After")) is None:
            return None
        if re.fullmatch(r"\s*\d+(\.\d+)?\s*", value):
            return float(value)
        date = headers.get("Date")  # the server's own clock, where it tells it
        now = parsedate_to_datetime(date) if date else datetime.now(UTC)
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (ValueError, TypeError):  # not a number, not a date, a date without a zone
        return None
