"""Prompts alone, and solutions with labels of their steps."""

import json
import warnings
from typing import Any

import polars as pl
import pytest

from pipeline.export import FORMATS, Options
from pipeline.schemas import PAIR, RATING, conform
from tests.builders import says
from tests.export.rows import pair, table
from tests.versions import rated

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what these libraries say about each other while they are imported
    from transformers import PreTrainedTokenizerFast
    from trl.data_utils import is_conversational, maybe_apply_chat_template


def converted(name: str, pairs: list[dict[str, Any]], *ratings: dict[str, Any], **options: Any) -> tuple[pl.DataFrame, list[str]]:
    form = FORMATS[name](Options(**options))
    beside = [table(RATING, *ratings).select(columns) for columns in form.beside.values()]
    done = form.convert(table(PAIR, *pairs).select(form.reads), *beside)
    conform(done.kept, form.schema, name)
    assert set(done.dropped.columns) == {*form.reads, "reason"}
    return done.kept, done.dropped["reason"].to_list()


def test_a_prompt_is_one_row_that_grpo_renders(tokenizer: PreTrainedTokenizerFast) -> None:
    same = {"prompt_id": "q"}
    kept, reasons = converted("prompts", [pair("p0", **same), pair("p1", **same), pair("p2", prompt="Of Italy?"), pair("p3", tools="[]")])
    assert (kept["prompt_id"].to_list(), reasons) == (["q", "q-p2"], ["tools", "same_prompt"])
    first = kept.to_dicts()[0]
    assert is_conversational(first)
    assert maybe_apply_chat_template({"prompt": first["prompt"]}, tokenizer) == {
        "prompt": "<|user|>Capital of France?<|end|>\n<|assistant|>"
    }


def test_the_reference_is_the_answer_that_is_surest_to_be_good() -> None:
    pairs = [
        pair("p0", prompt_id="q", p_soft=0.6),
        pair("p1", prompt_id="q", p_soft=0.9, chosen="Paris, of course."),
        pair("p2", chosen=" "),
    ]
    kept, reasons = converted("prompts", pairs, references=True)
    assert (kept["reference"].to_list(), sorted(reasons)) == (["Paris, of course."], ["empty_answer", "same_prompt"])


def test_a_prompt_as_text_is_one_turn() -> None:
    history = [*says("user", "Hi"), *says("assistant", "Hello."), *says("user", "Capital?")]
    kept, reasons = converted("prompts", [pair("p0"), pair("p1", prompt=history)], form="text")
    assert (kept["prompt"].to_list(), reasons) == (["Capital of France?\n\n"], ["history"])


def stated(rating_id: str, prompt_id: str, **extra: Any) -> dict[str, Any]:
    return {**rated(rating_id, rating_id, 3, 0), "prompt_id": prompt_id, "extra": json.dumps(extra)}


def test_steps_are_those_that_a_source_states_with_a_label_each() -> None:
    steps = ["2 + 2 = 4.", "So it is 5."]
    kept, reasons = converted(
        "stepwise",
        [pair("p0"), pair("p1"), pair("p2"), pair("p3")],
        stated("r0", "q-p0", completions=steps, labels=[True, False]),
        stated("r1", "q-p0", completions=steps[:1], labels=[1]),
        {**stated("r2", "q-p0", completions=["copy"], labels=[1]), "is_copy": True},
        stated("r3", "q-p1", completions=steps, labels=[True]),  # not as many
        stated("r4", "q-p2", completions=steps, labels=["good", "bad"]),  # no labels
        stated("r5", "q-p2", completions=["", "x"], labels=[True, True]),
    )
    assert kept.select("completions", "labels").rows() == [(steps[:1], [True]), (steps, [True, False])]
    assert [message["content"] for message in kept["prompt"][0]] == ["Capital of France?"]
    assert reasons == ["no_steps"] * 3


@pytest.mark.parametrize("form", ["messages", "text"])
def test_a_process_rewards_prompt_may_be_text(form: str) -> None:
    kept, _ = converted("stepwise", [pair("p0")], stated("r0", "q-p0", completions=["a"], labels=[-1]), form=form)
    assert kept["labels"].to_list() == [[False]]
    assert (kept["prompt"].dtype == pl.String) == (form == "text")
