"""A model whose answers are a function of what it is asked, as `prompts.replies` asks it."""

import json
import re
from collections.abc import Callable
from typing import Any

import polars as pl

from pipeline.llm.tables import Form
from pipeline.prompts.replies import Ask
from tests.rationale.written import replies


def model(say: Callable[[str, str], Any], seen: list[tuple[str, int]] | None = None) -> Ask:
    """`say` takes a form's name and what the user says, and gives JSON, a text, or None: no answer."""

    def ask(form: Form, requests: pl.DataFrame) -> pl.DataFrame:
        if seen is not None:
            seen.append((form.name, requests.height))
        asked = requests.unique(["bucket", "key"], maintain_order=True)
        said = [say(form.name, messages[-1]["content"]) for messages in asked["messages"].to_list()]
        texts = [one if isinstance(one, str) else json.dumps(one) for one in said]
        return replies(asked, list(texts)).filter(pl.Series([one is not None for one in said], dtype=pl.Boolean))

    return ask


def data(question: str, caption: str) -> str:
    """What stands in the fence below a caption."""
    found = re.search(rf"{re.escape(caption)}\n<<<DATA (\w+)\n(.*?)\nDATA \1>>>", question, re.DOTALL)
    assert found is not None, question
    return found[2]


def numbered(lines: str) -> list[tuple[int, str]]:
    """Numbered lines as numbers and texts."""
    return [(int(number), text) for number, text in (line.split(". ", 1) for line in lines.splitlines())]
