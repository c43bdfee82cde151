"""Shapes of prompt and answers, against TRL's own functions: explicit and implicit prompts, text, chat templates, weights."""

import warnings
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.chat_templates import load_renderer
from pipeline.errors import ConfigError
from pipeline.export import FORMATS, Options
from pipeline.export.sides import repeated
from pipeline.export.trl import to_trl
from pipeline.schemas import PAIR, conform
from tests.builders import says
from tests.export.rows import pair, table

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what these libraries say about each other while they are imported
    from transformers import PreTrainedTokenizerFast
    from trl.data_utils import apply_chat_template, extract_prompt

HISTORY = [*says("user", "Hi"), *says("assistant", "Hello."), *says("user", "Capital?")]


def shaped(*rows: dict[str, Any], **options: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """What is kept, and the reasons of what is not."""
    asked = Options(**options)
    form = FORMATS["trl"](asked)
    done = form.convert(table(PAIR, *rows).select(form.reads))
    conform(done.kept, form.schema, "trl")
    assert set(done.dropped.columns) == {*form.reads, "reason"}
    return done.kept.to_dicts(), done.dropped["reason"].to_list()


def test_trl_finds_the_prompt_of_an_implicit_one_again() -> None:
    pairs = [pair("p0"), pair("p1", prompt=HISTORY)]
    implicit, _ = shaped(*pairs, prompt="implicit")
    explicit, _ = shaped(*pairs)
    assert [set(row) for row in implicit] == [{"chosen", "rejected"}] * 2
    assert [extract_prompt(row) for row in implicit] == explicit


def test_a_text_has_no_messages_and_only_one_turn() -> None:
    kept, reasons = shaped(pair("p0"), pair("p1", prompt=HISTORY), form="text")
    assert kept == [{"prompt": "Capital of France?\n\n", "chosen": "Paris.", "rejected": "Lyon."}]
    assert reasons == ["history"]


def test_answers_that_begin_alike_have_no_implicit_prompt_as_text() -> None:
    alike = pair("p1", chosen="It is Paris.", rejected="It is Lyon.")
    kept, reasons = shaped(pair("p0"), alike, form="text", prompt="implicit")
    assert reasons == ["shared_opening"]
    assert extract_prompt(kept[0]) == {"prompt": "Capital of France?\n\n", "chosen": "Paris.", "rejected": "Lyon."}
    swallowed = extract_prompt({side: f"Capital of France?\n\n{alike[side][0]['content']}" for side in ("chosen", "rejected")})
    assert swallowed["prompt"] == "Capital of France?\n\nIt is"  # what would have been trained on
    assert shaped(alike, prompt="implicit")[1] == []  # messages are whole


def test_a_chat_template_writes_what_trl_does(tokenizer: PreTrainedTokenizerFast, tmp_path: Any) -> None:
    tokenizer.save_pretrained(tmp_path / "chat")
    render = load_renderer(str(tmp_path / "chat"))
    kept, reasons = shaped(pair("p0"), pair("p1", prompt=HISTORY), form="text", template="chat", render=render)
    messages, _ = shaped(pair("p0"), pair("p1", prompt=HISTORY))
    assert (kept, reasons) == ([apply_chat_template(row, tokenizer) for row in messages], [])


def test_a_pair_that_the_template_refuses_is_left_out(tokenizer: PreTrainedTokenizerFast, tmp_path: Any) -> None:
    tokenizer.save_pretrained(tmp_path / "chat")
    strict = "{% if messages[0]['content'] == 'no' %}{{ raise_exception('no') }}{% endif %}" + str(tokenizer.chat_template)
    (tmp_path / "chat" / "chat_template.jinja").write_text(strict)
    kept, reasons = shaped(pair("p0"), pair("p1", prompt="no"), form="text", render=load_renderer(str(tmp_path / "chat")))
    assert (len(kept), reasons) == (1, ["template_refused"])
    (tmp_path / "chat" / "chat_template.jinja").unlink()
    with pytest.raises(ConfigError, match="its tokenizer has no chat template"):
        load_renderer(str(tmp_path / "chat"))


def test_a_pair_of_weight_3_stands_there_3_times() -> None:
    rows, reasons = shaped(pair("p0", weight=3.0), pair("p1", weight=1.0), pair("p2", weight=0.0), weights="repeat")
    assert (len(rows), rows[0] == rows[1] == rows[2], reasons) == (4, True, ["weight_rounds_to_0"])
    column, _ = shaped(pair("p0", weight=3.0), weights="column")
    assert column[0]["weight"] == 3.0
    assert any("drop a column" in note for note in FORMATS["trl"](Options(weights="column")).advice({}))  # type: ignore[misc]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_repeated_rows_are_in_order_and_as_many_as_asked(copies: list[int]) -> None:
    rows = repeated(pl.DataFrame({"at": range(len(copies))}), pl.Series(copies, dtype=pl.Int64))
    assert rows["at"].to_list() == [at for at, count in enumerate(copies) for _ in range(count)]


def test_definitions_of_tools_are_a_column_where_they_are_asked_for() -> None:
    kept, reasons = shaped(pair("p0", tools='[{"name": "f"}]'), pair("p1"), tools=True)
    assert ([row["tools"] for row in kept], reasons) == (['[{"name": "f"}]', None], [])


def test_no_pair_is_lost() -> None:
    pairs = [pair("p0"), pair("p1", prompt=HISTORY), pair("p2", chosen=""), pair("p3", tools="[]"), pair("p4", chosen="Lyon.")]
    for options in (Options(), Options(form="text"), Options(prompt="implicit"), Options(form="text", prompt="implicit", tools=True)):
        done = to_trl(table(PAIR, *pairs), options)
        assert done.kept.height + done.dropped.height == len(pairs)
