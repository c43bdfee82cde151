"""EDGE: can an endpoint be used? Found out without asking a question."""

import asyncio
import difflib
import json
from typing import Final

from pipeline.config import EndpointConfig
from pipeline.errors import ConfigError
from pipeline.llm.client import key_of, needs_packages
from pipeline.llm.failures import AttemptFailed

_SECONDS: Final = 10.0
_NAMED: Final = 5  # models at most
_PLACE: Final = "Check base_url (it usually ends in /v1). A server that lists no models cannot be checked like this."


def reach(endpoint: EndpointConfig) -> tuple[bool, str]:
    """Whether the server is there, takes the key and lists the model; and that in words, never with the key.

    One free request: GET `<base_url>/models`. Only a question would tell a server that has no such list from a wrong address, so it counts
    as not reached.
    """
    try:
        key = key_of(endpoint)
        needs_packages(endpoint)
    except ConfigError as error:
        return False, str(error).removeprefix(f"endpoint {endpoint.name}: ")
    try:
        works, told = _found(endpoint, _listed(asyncio.run(_asked(endpoint, key))))
    except AttemptFailed as failed:
        todo = _PLACE if failed.reason == "unknown_model" else failed.todo
        works, told = False, f"{endpoint.base_url}: {failed.detail}. {todo or 'Try again later.'}"
    told = "".join(c if c.isprintable() else "?" for c in told)  # some of it the server said
    return works, told.replace(key, "[key]") if key else told


def _found(endpoint: EndpointConfig, listed: list[str]) -> tuple[bool, str]:
    if endpoint.model not in listed:
        near = difflib.get_close_matches(endpoint.model, listed, n=1)
        some = ", ".join(listed[:_NAMED]) + (f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else "")
        hint = f"did you mean {near[0]!r}?" if near else f"it lists {some or 'none'}."
        return False, f"{endpoint.base_url} does not list the model {endpoint.model!r}; {hint}"
    said = "no key" if endpoint.key_env is None else f"key from {endpoint.key_env}"
    return True, f"{endpoint.base_url} lists the model {endpoint.model}; {said}; structured: {endpoint.structured}"


async def _asked(endpoint: EndpointConfig, key: str | None) -> bytes:
    from pipeline.llm.transport import Transport

    transport = Transport(endpoint.model_copy(update={"timeout_seconds": min(_SECONDS, endpoint.timeout_seconds)}), key)
    try:
        return (await transport.models()).body
    finally:
        await transport.close()


def _listed(body: bytes) -> list[str]:
    """The names in a list of models.

    Raises:
        AttemptFailed: it is none.
    """
    try:
        told = json.loads(body)
        return [str(model["id"]) for model in told["data"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise AttemptFailed("bad_body", "what it answers is no list of models", todo="Check base_url (it usually ends in /v1).") from None
