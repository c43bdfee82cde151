"""What each framework's format looks like, row by row, and the rules of its loader that rows have to keep.

The rules were read in openrlhf 0.11.2 (openrlhf/datasets/reward_dataset.py), axolotl 0.19 (prompt_strategies/dpo/chat_template.py),
llamafactory 0.9.5 (data/converter.py), NVIDIA-NeMo/RL (nemo_rl/data/processors.py), verl 0.9.1 (utils/dataset), argilla 2.8
(records/_resource.py) and Label Studio (label_studio/io_storages/utils.py). test_loaders.py runs them where they are installed.
"""

import json
from typing import Any

import polars as pl
import pytest
import yaml

from pipeline.export import FORMATS, Options
from pipeline.export.form import Facts, Format
from pipeline.export.frameworks import FORMATS as FRAMEWORKS
from pipeline.export.frameworks.turns import named_calls, tool_list
from pipeline.schemas import PAIR, conform
from tests.builders import message
from tests.export.rows import pair, table

CALL = '[{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{\\"city\\": \\"Bern\\"}"}}]'
TOOLS = '[{"type": "function", "function": {"name": "weather", "parameters": {}}}]'
TALK = [message("system", "Be brief."), message("user", "Hi"), message("assistant", "Yes?"), message("user", "Weather?")]
ASKED, PARIS, LYON = (
    {"role": role, "content": text} for role, text in (("user", "Capital of France?"), ("assistant", "Paris."), ("assistant", "Lyon."))
)
NASTY = {
    "odd": {"prompt": [message("user", "a"), message("user", "b")]},
    "same": {"chosen": "Same.", "rejected": "Same."},
    "long": {"chosen": [message("assistant", "a"), message("user", "b"), message("assistant", "c")]},
    "none": {"prompt": []},
    "call": {"prompt": TALK, "tools": TOOLS, "chosen": [message("assistant", "", tool_calls=CALL)]},
    "both": {"prompt": TALK, "tools": TOOLS, "chosen": [message("assistant", "Look:", tool_calls=CALL)]},
    "bad": {"prompt": TALK, "tools": TOOLS, "chosen": [message("assistant", "", tool_calls="weather(Bern)")]},
    "late": {"prompt": [message("user", "a"), message("system", "b"), message("user", "c")]},
}


def made(form: str, *rows: dict[str, Any], **options: Any) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Rows of the format as its schema has them, and why pairs were left out."""
    wanted: Format = FORMATS[form](Options(**options))
    result = wanted.convert(table(PAIR, *rows).select(wanted.reads if "pair_id" in wanted.reads else (*wanted.reads, "pair_id")))
    return conform(result.kept, wanted.schema, form).to_pylist(), dict(result.dropped.select("pair_id", "reason").iter_rows())


def test_openrlhf_has_messages_and_a_margin() -> None:
    rows, _ = made("openrlhf", pair("p1", margin=0.5))

    assert rows == [{"prompt": [ASKED], "chosen": [PARIS], "rejected": [LYON], "margin": 0.5}]


def test_axolotl_has_one_message_a_side() -> None:
    rows, _ = made("axolotl", pair("p1"))

    assert rows == [{"messages": [ASKED], "chosen": PARIS, "rejected": LYON}]


def test_nemo_rl_ranks_the_chosen_answer_lower() -> None:
    rows, _ = made("nemo-rl", pair("p1"))

    assert rows == [{"context": [ASKED], "completions": [{"rank": 0, "completion": [PARIS]}, {"rank": 1, "completion": [LYON]}]}]


def test_llama_factory_names_turns_and_keeps_system_and_tools_apart() -> None:
    rows, _ = made("llama-factory", pair("p1"), pair("p2", **NASTY["call"]))

    turn = {"from": "human", "value": "Capital of France?"}
    answers = {"chosen": {"from": "gpt", "value": "Paris."}, "rejected": {"from": "gpt", "value": "Lyon."}}
    assert rows[0] == {"conversations": [turn], **answers, "system": "", "tools": ""}
    assert [one["from"] for one in rows[1]["conversations"]] == ["human", "gpt", "human"]
    assert rows[1]["system"] == "Be brief."
    assert rows[1]["chosen"] == {"from": "function_call", "value": '[{"name": "weather", "arguments": {"city": "Bern"}}]'}
    assert json.loads(rows[1]["tools"]) == [{"name": "weather", "parameters": {}}]


def test_llama_factory_kto_ends_with_the_answer_and_its_tag() -> None:
    rows, _ = made("llama-factory-kto", pair("p1", prompt=TALK))

    assert [(row["conversations"][-1]["value"], row["kto_tag"], len(row["conversations"])) for row in rows] == [
        ("Paris.", True, 4),
        ("Lyon.", False, 4),
    ]
    assert {row["system"] for row in rows} == {"Be brief."}


def test_verl_has_one_row_a_prompt_and_an_index_that_is_made_of_it() -> None:
    ids = {"prompt_id": "00ff", "sources": ["arena"], "split": "train"}
    rows, left_out = made("verl", pair("p1", **ids), pair("p2", **ids, rejected="Nice."), pair("p3", prompt="Else?", prompt_id="0100"))

    assert [(row["prompt"], row["extra_info"]["index"]) for row in rows] == [([ASKED], 255), ([{"role": "user", "content": "Else?"}], 256)]
    assert rows[0]["data_source"] == "arena"
    assert rows[0]["reward_model"] == {"style": "model", "ground_truth": "Paris."}
    assert left_out == {"p2": "same_prompt"}


def test_verls_reward_model_has_plain_texts_of_one_turn() -> None:
    rows, left_out = made("verl-reward", pair("p1"), pair("p2", prompt=TALK))

    assert [row["chosen"] for row in rows] == ["Paris."]
    assert left_out == {"p2": "history"}


def test_people_see_answers_in_an_order_that_does_not_depend_on_the_label() -> None:
    ids = {"chosen_id": "0a", "rejected_id": "0b"}
    turned = {"chosen": "Lyon.", "rejected": "Paris.", "chosen_id": "0b", "rejected_id": "0a"}
    names = [f"{number:02x}" for number in range(24)]
    one, other = (made("argilla", *(pair(name, **given) for name in names))[0] for given in (ids, turned))

    assert [row["fields"] for row in one] == [row["fields"] for row in other]
    assert all(a["suggestions"]["preference"]["value"] != b["suggestions"]["preference"]["value"] for a, b in zip(one, other, strict=True))
    assert {row["suggestions"]["preference"]["value"] for row in one} == {"response_1", "response_2"}
    for row in one:
        assert row["fields"][row["suggestions"]["preference"]["value"]][0]["content"] == "Paris."


def test_label_studio_has_a_prediction_for_the_interface_that_queue_uses() -> None:
    (row,), _ = made("label-studio", pair("p1", p_chosen=0.75))

    (prediction,) = row["predictions"]
    (result,) = prediction["result"]
    shown = row["data"][{"a": "response_a", "b": "response_b"}[result["value"]["choices"][0]]]
    assert shown == [PARIS]
    assert prediction["score"] == 0.75
    facts = Facts("set", "v000001", "label-studio", [], {})
    interface = FORMATS["label-studio"](Options()).beside_files
    assert interface is not None
    assert b'<Choices name="winner" toName="shown_a"' in interface(facts)["label_studio.xml"]


def test_people_see_calls_of_tools_as_text() -> None:
    (row,), _ = made("argilla", pair("p1", **NASTY["call"]))

    texts = [row["fields"][side][0]["content"] for side in ("response_1", "response_2")]
    assert sum("[tool calls]" in text and "weather" in text for text in texts) == 1


@pytest.mark.parametrize("form", ["openrlhf", "axolotl", "nemo-rl"])
def test_formats_of_messages_leave_out_what_they_cannot_say(form: str) -> None:
    rows, left_out = made(form, *(pair(name, **texts) for name, texts in NASTY.items()))

    assert len(rows) == 2
    assert left_out == {
        "same": "identical_answers",
        "long": "several_turns",
        "none": "no_prompt",
        "call": "tools",
        "both": "tools",
        "bad": "tools",
    }


def test_llama_factory_leaves_out_what_its_loader_would_skip_or_misread() -> None:
    _, left_out = made("llama-factory", *(pair(name, **texts) for name, texts in NASTY.items()))

    assert left_out == {
        "odd": "roles_do_not_alternate", "late": "roles_do_not_alternate", "same": "identical_answers", "long": "several_turns",
        "none": "no_prompt", "both": "text_beside_call", "bad": "unreadable_call",
    }  # fmt: skip


@pytest.mark.parametrize("form", ["openrlhf", "axolotl", "nemo-rl", "llama-factory", "verl-reward"])
def test_a_weight_of_three_is_three_rows(form: str) -> None:
    rows, _ = made(form, pair("p1", weight=3.0), pair("p2", weight=1.0, prompt="Else?"), weights="repeat")

    assert len(rows) == 4
    assert rows[0] == rows[1] == rows[2] != rows[3]


@pytest.mark.parametrize("form", sorted(FRAMEWORKS))
def test_no_rows_make_no_rows(form: str) -> None:
    wanted = FORMATS[form](Options())

    result = wanted.convert(table(PAIR).select(wanted.reads))

    assert conform(result.kept, wanted.schema, form).num_rows == 0


@pytest.mark.parametrize("form", sorted(FRAMEWORKS))
def test_what_lies_beside_an_export_names_its_files_and_reads_as_what_it_is(form: str) -> None:
    names = [f"{split}-00000-of-00001{ending}" for split in ("train", "validation", "test") for ending in (".data",)]
    files = [{"path": name, "split": name.split("-")[0], "rows": 1, "bytes": 1, "sha256": ""} for name in names]
    beside = FORMATS[form](Options()).beside_files
    if beside is None:
        assert form == "verl-reward"
        return

    for name, content in beside(Facts('a"set: {x}', "v000001", form, files, {"train": 1})).items():
        text = content.decode()
        if name.endswith((".yaml", ".json")):
            tree = yaml.safe_load(text)
            told = json.dumps(tree)
            named = [path in told or path.split(".")[0].replace("-", "_") in told for path in names]
            # A configuration to train with keeps the test split unseen.
            assert named == [True, True, name == "dataset_info.json"]
        else:
            assert name in {"openrlhf.sh", "argilla_load.py", "label_studio.xml"}


def test_calls_are_read_in_every_form_that_sources_write() -> None:
    forms = [
        '[{"function": {"name": "f", "arguments": "{\\"a\\": 1}"}}]', '{"name": "f", "arguments": {"a": 1}}', None,
        '[{"name": "f", "arguments": ""}]', "f(a=1)", '[{"arguments": {}}]', '[{"name": "f", "arguments": "[1]"}]',
    ]  # fmt: skip

    told, unreadable = named_calls(pl.Series(forms, dtype=pl.String))

    one = '[{"name": "f", "arguments": {"a": 1}}]'
    assert told.to_list() == [one, one, None, '[{"name": "f", "arguments": {}}]', None, None, None]
    assert unreadable.to_list() == [False, False, False, False, True, True, True]
    assert tool_list(pl.Series([TOOLS, None, "no list"])).to_list() == ['[{"name": "weather", "parameters": {}}]', "", ""]
