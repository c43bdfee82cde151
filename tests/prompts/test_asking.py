from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.llm.tables import REQUESTS, Form
from pipeline.prompts import form_of, render, requests
from pipeline.prompts.template import Template, parse_template
from tests.prompts.texts import texts

TEXT = "---\nversion: 3\nmax_output_tokens: 9\n---\n# system\n{{mark}}\n# user\n{{a}}\n{{b}}"
TEMPLATE = parse_template("ask", TEXT)
SCHEMA = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"], "additionalProperties": False}
FORM = form_of(TEMPLATE, SCHEMA)
ROWS = pl.DataFrame({"pair_id": ["p1", "p2"], "prompt_id": ["00aa", "ff01"], "a": ["x", "y"], "b": ["y", "x"]})


def asked(rows: pl.DataFrame = ROWS, form: Form = FORM, template: Template = TEMPLATE, sample: int = 0) -> pl.DataFrame:
    return requests(rows, form, template, render(rows, template, {"a": pl.col("a"), "b": pl.col("b")}), sample)


def test_a_form_has_the_templates_settings_where_the_config_has_none() -> None:
    assert Form("ask", 3, SCHEMA, 9, 0.0) == FORM
    assert form_of(TEMPLATE, SCHEMA, 0.7, 20) == Form("ask", 3, SCHEMA, 20, 0.7)


def test_a_schema_that_cannot_be_read_makes_no_form() -> None:
    with pytest.raises(ValueError, match="expected an object"):
        form_of(TEMPLATE, {"type": "string"})


def test_a_request_has_its_prompts_bucket_and_a_key() -> None:
    rows = asked()
    assert rows.schema == REQUESTS
    assert rows.select("bucket", "pair_id").rows() == [(0, "p1"), (255, "p2")]
    assert rows["key"].str.contains("^[0-9a-f]{32}$").all()
    assert asked(ROWS.clear()).schema == REQUESTS


CHANGES: list[dict[str, Any]] = [
    {"form": replace(FORM, name="asked")},
    {"form": replace(FORM, version=4)},
    {"form": replace(FORM, max_output_tokens=10)},
    {"form": replace(FORM, temperature=0.5)},
    {"form": replace(FORM, schema={**SCHEMA, "description": "x"})},
    {"template": parse_template("ask", TEXT + "!")},
    {"sample": 1},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_whatever_an_answer_depends_on_changes_the_key(change: dict[str, Any]) -> None:
    assert not set(asked(**change)["key"]) & set(asked()["key"])


def test_the_order_of_a_schemas_keys_does_not() -> None:
    assert asked(form=replace(FORM, schema=dict(reversed(SCHEMA.items()))))["key"].equals(asked()["key"])


def test_equal_questions_of_other_pairs_have_one_key() -> None:
    assert asked(ROWS.with_columns(pair_id=pl.lit("p9")))["key"].equals(asked()["key"])


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5, unique=True))
def test_other_questions_have_other_keys_whatever_rows_are_beside_them(given: list[tuple[str, str]]) -> None:
    frame = pl.DataFrame(given, schema=["a", "b"], orient="row").with_columns(pair_id=pl.lit("p"), prompt_id=pl.lit("0a"))
    rows = asked(frame)
    # What cannot be seen apart is one question.
    assert rows["key"].n_unique() == rows["messages"].n_unique()
    assert asked(frame[::-1])["key"].to_list() == rows["key"].to_list()[::-1]
    assert asked(frame[-1:])["key"].to_list() == rows["key"].to_list()[-1:]
