"""Conversations as a tokenizer's chat template writes them, and whether it wrote all of them."""

import json
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Some templates write today's date, which would change results from one day to the next. For them it is always the day that
# Llama's templates name when they cannot know.
_CLOCK: Final = {
    "%A": "Friday", "%a": "Fri", "%B": "July", "%b": "Jul", "%d": "26", "%-d": "26", "%e": "26", "%F": "2024-07-26", "%H": "12",
    "%I": "12", "%j": "208", "%M": "00", "%m": "07", "%-m": "7", "%p": "PM", "%S": "00", "%T": "12:00:00", "%Y": "2024", "%y": "24",
    "%Z": "UTC", "%z": "+0000",
}  # fmt: skip
# A macro hides the function of that name that transformers gives to templates; functions cannot be handed over. The plus sign
# keeps a line end that the template begins with.
_STOPPED: Final = (
    "{% macro strftime_now(format) %}{{ format"
    + "".join(f"|replace({directive!r}, {value!r})" for directive, value in _CLOCK.items())
    + " }}{% endmacro +%}"
)
_HIDDEN: Final = "\0"
_ANSWER: Final = {"role": "assistant", "content": "Yes, it is."}


class NotRenderedError(Exception):
    """A conversation that cannot become text; `reason` is one short name."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ChatForm:
    """The chat template of a tokenizer.

    The date is always 26 July 2024 in templates that write one. Tool calls and their arguments are handed over as objects, as
    transformers documents it; where a template fails on that, arguments that the source wrote as text are handed over as text.

    Some templates end the generation prompt with what no complete answer goes on from, such as a `<think>` that they drop from answers
    without reasoning. One question and its answer tell. Their prompts then end where the generation prompt and the prompt with a certain
    answer part, as long as all turns of the prompt lie before.

    Args:
        tokenizer: with a chat template.
        name: the model's, for messages.

    Raises:
        ConfigError: the template fails on a single user turn, or leaves out what it says.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", name: str) -> None:
        self._tokenizer: Any = tokenizer
        self.definition = json.dumps(
            [self._tokenizer.chat_template, self._tokenizer.special_tokens_map, _STOPPED, _ANSWER], sort_keys=True, default=str
        )
        probe: dict[str, Any] = {"role": "user", "content": "How is it?"}
        try:
            told = self._applied([probe], None, opens_answer=True)
        except Exception as error:  # a template is a program: it may raise anything
            first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            raise ConfigError(_unusable(name, f"fails on a single user turn: {first}")) from error
        if not shows(told, [probe], None, 0):
            raise ConfigError(_unusable(name, f"leaves out what the user says: it makes {told!r} of {probe['content']!r}"))
        try:
            self._parts = not self.whole([probe, _ANSWER], None).startswith(told)
        except NotRenderedError:
            self._parts = False  # every answer is refused, and says so

    def prompt(self, messages: Sequence[dict[str, Any]], tools: str | None) -> str:
        """Text up to where the assistant's turn begins; "" where there is no message. Any answer has the same.

        Raises:
            NotRenderedError: `template_refused`.
        """
        if not messages:
            return ""
        opened = self._rendered(messages, tools, opens_answer=True)
        if not self._parts:
            return opened
        common = os.path.commonprefix([opened, self.whole([*messages, _ANSWER], tools)])  # noqa: RUF071 (characters are meant)
        return common if common.startswith(self.whole(messages, tools)) else opened

    def whole(self, messages: Sequence[dict[str, Any]], tools: str | None) -> str:
        """All turns, the last one complete.

        Raises:
            NotRenderedError: `template_refused`.
        """
        return self._rendered(messages, tools, opens_answer=False)

    def _rendered(self, messages: Sequence[dict[str, Any]], tools: str | None, *, opens_answer: bool) -> str:
        forms = (_objects, list) if any(one.get("tool_calls") for one in messages) else (list,)
        failed: Exception | None = None
        for form in forms:
            try:
                given = None if tools is None else json.loads(tools)
                return self._applied([_with_calls(one, form) for one in messages], given, opens_answer=opens_answer)
            except MemoryError:
                raise
            except Exception as error:
                failed = error
        raise NotRenderedError("template_refused") from failed

    def _applied(self, messages: list[dict[str, Any]], tools: Any, *, opens_answer: bool) -> str:  # noqa: ANN401
        template = self._tokenizer.get_chat_template(None, tools)
        if "strftime_now" in template:
            template = _STOPPED + template
        return str(
            self._tokenizer.apply_chat_template(
                messages, tools=tools, chat_template=template, add_generation_prompt=opens_answer, tokenize=False
            )
        )


def _unusable(name: str, why: str) -> str:
    return f"signals.ches.template: the chat template of {name!r} {why}. Mend the template, or set `template: plain`."


def shows(text: str, messages: Sequence[dict[str, Any]], tools: str | None, since: int) -> bool:
    """Whether a text has what messages say, and the names of the tools they define and call.

    Templates may trim, break lines otherwise, write a turn as a JSON string, and put turns in another order. Reasoning is no part of it:
    templates leave out that of earlier turns by design.

    Args:
        text: a rendered conversation.
        messages: some of its turns.
        tools: definitions, as JSON.
        since: the character from which on they are looked for. The first turn may begin before (a template can put its beginning into the
            prompt), but has to end after.
    """
    wanted = [part for part in [*_names(tools), *(part for one in messages for part in _parts(one))] if part]
    if not wanted:
        return True
    since = max(0, since - len(wanted[0]) + 1)
    place = since
    for part in wanted:
        place = text.find(part, place)
        if place < 0:
            return _shows_otherwise(text[since:], wanted)
        place += len(part)
    return True


def _shows_otherwise(text: str, wanted: list[str]) -> bool:
    """In any order and with any white space. Long parts take their place first, so that none is found inside another."""
    left = _squeezed(text)
    for part in sorted(wanted, key=len, reverse=True):
        for form in (part, json.dumps(part, ensure_ascii=False)[1:-1]):
            squeezed = _squeezed(form)
            if squeezed in left:
                left = left.replace(squeezed, _HIDDEN, 1)
                break
        else:
            return False
    return True


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _parts(message: dict[str, Any]) -> list[str]:
    return [(message.get("content") or "").strip(), *_names(message.get("tool_calls"))]


def _names(tools: str | None) -> list[str]:
    """The names of functions in JSON: definitions or calls."""
    listed = json.loads(tools) if tools else []
    listed = listed if isinstance(listed, list) else [listed]
    functions = [one.get("function", one) for one in listed if isinstance(one, dict)]
    return [one["name"] for one in functions if isinstance(one, dict) and isinstance(one.get("name"), str)]


def _with_calls(message: dict[str, Any], form: Callable[[list[Any]], list[Any]]) -> dict[str, Any]:
    """A message with its tool calls as a list, and without empty fields."""
    given = {field: value for field, value in message.items() if value is not None}
    calls = given.pop("tool_calls", None)
    listed = json.loads(calls) if calls else None
    if not listed:
        return given
    return given | {"tool_calls": form(listed if isinstance(listed, list) else [listed])}


def _objects(calls: list[Any]) -> list[Any]:
    return [_object(call) for call in calls]


def _object(call: object) -> dict[str, Any]:
    """A call whose arguments are an object, where they are JSON of one."""
    if not isinstance(call, dict):
        raise TypeError(f"a tool call is {type(call).__name__}, not an object")
    if isinstance(call.get("function"), dict):
        return call | {"function": _object(call["function"])}
    arguments = call.get("arguments")
    if not isinstance(arguments, str):
        return call
    try:
        read = json.loads(arguments)
    except ValueError:
        return call
    return call | {"arguments": read} if isinstance(read, dict) else call
