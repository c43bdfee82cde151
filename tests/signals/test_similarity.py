"""Cosines within a pair, on vectors small enough to work out by hand."""

import numpy as np
import polars as pl
import pytest

from pipeline.errors import SchemaError
from pipeline.signals.similarity import add_cosines

INDEX = pl.DataFrame({"text_id": ["q", "a", "b"], "index": [2, 0, 1]})
VECTORS = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], dtype=np.float16)


def pair(prompt: str | None, chosen: str, rejected: str) -> pl.DataFrame:
    def said(text: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": text}]

    messages = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
    return pl.DataFrame(
        {
            "prompt": [said(prompt) if prompt is not None else []],
            "chosen": [said(chosen)],
            "rejected": [said(rejected)],
            "prompt_text": ["q" if prompt is not None else None],
            "chosen_text": ["a" if chosen.strip() else None],
            "rejected_text": ["b"],
        },
        schema_overrides={"prompt": messages} | dict.fromkeys(("prompt_text", "chosen_text"), pl.String),
    )


def cosines(rows: pl.DataFrame) -> list[float | None]:
    return list(rows.select("cosine_chosen_rejected", "cosine_prompt_chosen", "cosine_prompt_rejected").row(0))


def test_cosines_look_vectors_up_by_text_id() -> None:
    assert cosines(add_cosines(pair("hi", "x", "y"), INDEX, VECTORS)) == pytest.approx([0.0, 0.6, 0.8], abs=1e-3)


def test_a_blank_answer_has_no_cosine_even_with_a_vector() -> None:
    assert cosines(add_cosines(pair("hi", " \n", "y"), INDEX, VECTORS)) == [None, None, pytest.approx(0.8, abs=1e-3)]


def test_an_empty_prompt_needs_no_vector_and_has_no_cosine() -> None:
    index = INDEX.filter(pl.col("text_id") != "q")

    assert cosines(add_cosines(pair(None, "x", "y"), index, VECTORS)) == [0.0, None, None]


def test_a_text_without_a_vector_is_an_error() -> None:
    with pytest.raises(SchemaError, match="1 prompt texts have no vector, the first is q"):
        add_cosines(pair("hi", "x", "y"), INDEX.filter(pl.col("text_id") != "q"), VECTORS)


def test_two_vectors_for_a_text_are_an_error() -> None:
    with pytest.raises(SchemaError, match="more than one vector"):
        add_cosines(pair("hi", "x", "y"), pl.concat([INDEX, INDEX]), VECTORS)


def test_an_index_past_the_vectors_is_an_error() -> None:
    with pytest.raises(SchemaError, match="text q points past the last of 2 vectors"):
        add_cosines(pair("hi", "x", "y"), INDEX, VECTORS[:2])
