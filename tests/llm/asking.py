"""Questions, an endpoint and a model for tests of the client."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.config import BudgetConfig, EndpointConfig
from pipeline.llm.budget import Budget
from pipeline.llm.client import Asked, LanguageModel
from pipeline.llm.tables import REQUESTS, Form
from pipeline.store import Store
from tests.llm.scripted import question

FORM = Form("test", 1, {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}, max_output_tokens=100)
KEY = "sk-planted-0123456789abcdef"
PRICE = {"input": 2.0, "output": 10.0}


def messages(text: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": "Answer."}, {"role": "user", "content": text}]


def requests(*texts: str) -> pl.DataFrame:
    """One question a text, each about a pair of its own."""
    ids = [hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in texts]
    rows = {"bucket": [int(one[:2], 16) for one in ids], "key": ids, "pair_id": ids, "messages": [messages(text) for text in texts]}
    return pl.DataFrame(rows, schema=REQUESTS)


def many(count: int) -> pl.DataFrame:
    return requests(*(f"question {number}" for number in range(count)))


def server_counts(asked: pl.DataFrame) -> list[str]:
    """What the server calls the questions, in their order."""
    return [question(one) for one in asked["messages"].to_list()]


@contextmanager
def language_model(url: str, folder: Path, budget: Budget | None = None, **changed: Any) -> Iterator[LanguageModel]:
    settings = {"name": "local", "base_url": url, "model": "scripted", "timeout_seconds": 20.0, "retries": 3, "price": PRICE} | changed
    model = LanguageModel(EndpointConfig(**settings), Store(str(folder)), "demo", budget or Budget(BudgetConfig()))
    try:
        yield model
    finally:
        model.close()


def ask(model: LanguageModel, asked: pl.DataFrame, form: Form = FORM) -> Asked:
    return model.ask(form, asked, lambda _: None)


def answers(model: LanguageModel, asked: pl.DataFrame, form: Form = FORM) -> pl.DataFrame:
    """ANSWERS in the order of the questions."""
    return asked.select("key").join(model.answers(form, asked), on="key", maintain_order="left")
