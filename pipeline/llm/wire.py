"""Chat completions as they go over the wire: the body of a request, and what a body that comes back says."""

import json
from dataclasses import dataclass
from typing import Any, Final

from pipeline.config import EndpointConfig
from pipeline.llm.failures import AttemptFailed, error_within
from pipeline.llm.tables import Form

PATH: Final = "/chat/completions"
MODELS: Final = "/models"


class Dialect:
    """How one server wants to be asked; it starts with what is common and learns from refusals.

    Attributes:
        version: grows with each thing learned.
        structured: json_schema, json_object or none: how the form of an answer is asked for now.
    """

    def __init__(self, endpoint: EndpointConfig) -> None:
        """Know nothing but the config."""
        self._endpoint = endpoint
        self._ladder = ["json_schema", "json_object", "none"] if endpoint.structured == "auto" else [endpoint.structured]
        self._max_field, self._temperature = "max_tokens", True
        self.version = 0

    @property
    def structured(self) -> str:
        """The way that was not refused so far."""
        return self._ladder[0]

    def learn(self, refused: str, version: int) -> bool:
        """Put a field otherwise from now on.

        Args:
            refused: `response_format`, `max_tokens` or `temperature`.
            version: with which it was refused.

        Returns:
            Whether it makes sense to ask again.
        """
        if version != self.version:
            return True  # another request has learned since this one was sent
        if refused == "response_format" and len(self._ladder) > 1:
            self._ladder.pop(0)
        elif refused == "max_tokens" and self._max_field == "max_tokens":
            self._max_field = "max_completion_tokens"
        elif refused == "temperature" and self._temperature:
            self._temperature = False
        else:
            return False
        self.version += 1
        return True

    def head(self, form: Form) -> bytes:
        """The JSON of a request up to its messages."""
        return json.dumps(self.fields(form), ensure_ascii=False).encode()[:-1] + b', "messages": '

    def fields(self, form: Form) -> dict[str, Any]:
        """The body of a request but for its messages."""
        fields: dict[str, Any] = {"model": self._endpoint.model, self._max_field: form.max_output_tokens, "stream": False}
        if self._temperature:
            fields["temperature"] = form.temperature
        if self.structured == "json_schema":
            shape = {"name": form.name[:64], "strict": True, "schema": dict(form.schema)}
            fields["response_format"] = {"type": "json_schema", "json_schema": shape}
        elif self.structured == "json_object":
            fields["response_format"] = {"type": "json_object"}
        return fields | self._endpoint.extra


def body(head: bytes, messages: list[dict[str, str]]) -> bytes:
    """The JSON of a request: `Dialect.head`, made once for many, and the messages."""
    return head + json.dumps(messages, ensure_ascii=False).encode() + b"}"


@dataclass(frozen=True)
class Said:
    """What a body says; columns of ANSWERS where they have their names."""

    text: str | None
    finish_reason: str | None
    refusal: str | None
    usage: Any
    model: str | None
    system_fingerprint: str | None


def read(body: bytes) -> Said:
    """Read a body that came with HTTP 200.

    Raises:
        AttemptFailed: it is no JSON (`bad_body`), has no choice (`empty`), or holds an error.
    """
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise AttemptFailed("bad_body", f"the body is no JSON: {error}", again=True, charged=True) from None
    if not isinstance(told, dict):
        raise AttemptFailed("bad_body", f"the body is a JSON {type(told).__name__}, not an object", again=True, charged=True)
    if told.get("error"):
        raise error_within(told)
    choices = told.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise AttemptFailed("empty", "the body has no choices", again=True, charged=True, usage=told.get("usage"))
    return Said(
        text=_text(message.get("content")),
        finish_reason=_text(choice.get("finish_reason")),
        refusal=_text(message.get("refusal")),
        usage=told.get("usage"),
        model=_text(told.get("model")),
        system_fingerprint=_text(told.get("system_fingerprint")),
    )


def _text(value: Any) -> str | None:  # noqa: ANN401 - a server's JSON
    """Text, or the text parts of a list of parts; what is no text is none."""
    if isinstance(value, list):
        parts = [part.get("text") for part in value if isinstance(part, dict)]
        value = "".join(part for part in parts if isinstance(part, str)) or None
    if not isinstance(value, str):
        return None
    # JSON may spell half a surrogate pair, which no UTF-8 can hold.
    return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
