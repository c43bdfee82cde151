"""Counts of personal data and secrets."""

from typing import Any

import polars as pl
import pyarrow as pa

from pipeline.schemas import CONTENT_SIGNALS, MESSAGES_PL
from pipeline.signals.personal import add_personal
from tests.builders import message

COLUMNS = pl.DataFrame(pa.schema(CONTENT_SIGNALS["personal"]).empty_table()).schema


def pairs_of(*rows: tuple[list[Any], list[Any], list[Any]]) -> pl.DataFrame:
    schema = dict.fromkeys(("prompt", "chosen", "rejected"), MESSAGES_PL)
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_findings_are_counted_for_each_text_and_secrets_apart() -> None:
    key = "ghp" + "_" + "a1B2" * 9
    frame = pairs_of(
        (
            [message("user", "Mail a@example.com"), message("user", "or b@example.com")],
            [message("assistant", f"+49 30 901820, {key}")],
            [message("assistant", "No.")],
        ),
        ([message("user", "Hello")], [message("assistant", "Hi")], [message("assistant", "a@example.com")]),
        ([], [message("assistant", "")], [message("assistant", "x")]),
    )

    found = add_personal(frame)

    assert found.columns == [*frame.columns, *COLUMNS]
    assert found.select("prompt_personal", "chosen_personal", "rejected_personal").rows() == [(2, 1, 0), (0, 0, 1), (0, 0, 0)]
    assert found.select("prompt_secrets", "chosen_secrets", "rejected_secrets").rows() == [(0, 1, 0), (0, 0, 0), (0, 0, 0)]
    assert found["sensitive_kinds"].to_list() == [["email", "phone", "secret"], ["email"], []]
    assert {name: found.schema[name] for name in COLUMNS} == COLUMNS


def test_reasoning_and_tool_calls_are_searched_too() -> None:
    call = message(
        "assistant", "", tool_calls='[{"function": {"arguments": "{\\"to\\": \\"a@example.com\\"}"}}]', reasoning_content="b@example.com"
    )

    assert add_personal(pairs_of(([], [call], [])))["chosen_personal"].to_list() == [2]


def test_no_pairs_give_no_rows_with_the_same_columns() -> None:
    assert add_personal(pairs_of()).schema == add_personal(pairs_of(([], [], []))).schema
