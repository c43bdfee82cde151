"""A model's chat template, for exports as plain text."""

import json
from collections.abc import Callable
from typing import Any

import polars as pl

from pipeline.errors import ConfigError

Renderer = Callable[[pl.Series, pl.Series], tuple[pl.Series, pl.Series]]


def load_renderer(model: str) -> Renderer:
    """What writes prompts and answers as a model's chat template does.

    Args:
        model: a folder or a name that transformers finds.

    Returns:
        A function: prompts and answers (lists of messages) -> the prompts as text, up to where the answer begins, and what the answer
        adds to it. Both are null where the template refuses, or writes the prompt otherwise once there is an answer. Templates are
        programs of their own: there is no way around one call a row.

    Raises:
        ConfigError: there is no such tokenizer, or it has no chat template.
    """
    from jinja2 import TemplateError
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(model)  # type: ignore[no-untyped-call, unused-ignore]
    except (OSError, ValueError) as error:
        raise ConfigError(f"--template {model}: no tokenizer can be loaded from there ({str(error).splitlines()[0]}).") from None
    if not tokenizer.chat_template:
        raise ConfigError(f"--template {model}: its tokenizer has no chat template. Name a chat model, or leave --template out.")

    def text_of(prompt: list[dict[str, Any]], answer: list[dict[str, Any]]) -> tuple[str | None, str | None]:
        try:
            head = str(tokenizer.apply_chat_template(_plain(prompt), tokenize=False, add_generation_prompt=True))
            whole = str(tokenizer.apply_chat_template(_plain([*prompt, *answer]), tokenize=False))
        except (TemplateError, TypeError, ValueError, KeyError):
            return None, None
        return (head, whole[len(head) :]) if whole.startswith(head) else (None, None)

    def render(prompts: pl.Series, answers: pl.Series) -> tuple[pl.Series, pl.Series]:
        told = [text_of(prompt, answer) for prompt, answer in zip(prompts.to_list(), answers.to_list(), strict=True)]
        heads, tails = ([one[at] for one in told] for at in (0, 1))
        return pl.Series(prompts.name, heads, dtype=pl.String), pl.Series(answers.name, tails, dtype=pl.String)

    return render


def _plain(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages without fields that hold nothing; calls as templates read them."""
    told = [{key: value for key, value in message.items() if value is not None} for message in messages]
    return [{**one, "tool_calls": json.loads(one["tool_calls"])} if "tool_calls" in one else one for one in told]
