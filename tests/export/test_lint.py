"""Lint: the rules of windows by numbers, rules that need none, the sums over parts, and the command on a published version."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from flows import cli, linting
from pipeline import storage
from pipeline.config import PipelineConfig
from pipeline.errors import ConfigError
from pipeline.export import FORMATS, Options
from pipeline.export.lint import PROFILES, Tally
from pipeline.export.lint.counting import COUNTS
from pipeline.export.lint.findings import REASONS
from pipeline.export.lint.windows import Window, cuts_both, cuts_start, drops_either, drops_prompt, drops_prompt_and_marks_end, prompts_only
from pipeline.publish import VersionWriter
from pipeline.queries import PARTS
from pipeline.schemas import PAIR
from tests.builders import message
from tests.ches.tokenizers import tokenizer as made_tokenizer
from tests.export.rows import pair, table
from tests.export.texts import TEXTS, flagged


def reasons(window: Window, length: int, prompt: int, chosen: int, rejected: int, shared: int) -> set[str]:
    """What a window does to one pair; chosen and rejected are tokens of the whole conversation."""
    counts = pl.DataFrame([(prompt, prompt, chosen, rejected, shared)], schema=dict.fromkeys(COUNTS, pl.Int64), orient="row")
    told = counts.select(**window(length)).row(0, named=True)
    return {reason for reason, applies in told.items() if applies}


@pytest.mark.parametrize(
    ("window", "counts", "expected"),
    [
        (drops_prompt, (10, 20, 20, 15), set()),
        (drops_prompt, (20, 25, 25, 21), {"prompt_over_window"}),
        (drops_prompt, (19, 20, 21, 20), {"rejected_truncated", "identical_after_truncation"}),
        (drops_prompt, (10, 30, 25, 19), {"chosen_truncated", "rejected_truncated"}),
        (drops_prompt, (10, 30, 25, 20), {"chosen_truncated", "rejected_truncated", "identical_after_truncation"}),
        (drops_prompt_and_marks_end, (17, 18, 18, 17), set()),
        (drops_prompt_and_marks_end, (18, 19, 19, 18), {"prompt_over_window"}),
        (drops_prompt_and_marks_end, (10, 30, 25, 19), {"chosen_truncated", "rejected_truncated", "identical_after_truncation"}),
        (drops_either, (10, 20, 20, 10), set()),
        (drops_either, (10, 20, 21, 10), {"pair_over_window"}),
        (drops_either, (20, 21, 25, 20), {"prompt_over_window"}),
        (prompts_only, (20, 99, 99, 20), set()),
        (prompts_only, (21, 22, 22, 21), {"prompt_over_window"}),
        (cuts_start, (20, 30, 30, 20), {"answers_cut_away"}),
        # LLaMA-Factory: short answers cost the prompt its end, a short prompt the answers; else both, in proportion.
        (cuts_both, (30, 35, 34, 30), {"prompt_truncated"}),
        (cuts_both, (5, 45, 15, 5), {"chosen_truncated"}),
        (cuts_both, (20, 60, 60, 34), {"prompt_truncated", "chosen_truncated", "rejected_truncated", "identical_after_truncation"}),
        (cuts_both, (20, 60, 60, 30), {"prompt_truncated", "chosen_truncated", "rejected_truncated"}),
    ],
)
def test_a_window_of_20_tokens_does_what_its_trainer_does(window: Window, counts: tuple[int, int, int, int], expected: set[str]) -> None:
    assert reasons(window, 20, *counts) == expected


@given(st.integers(1, 60), st.integers(0, 40), st.integers(1, 40), st.integers(1, 40), st.data())
def test_what_trl_cuts_to_one_text_is_what_two_lists_of_tokens_say(
    length: int, prompt: int, chosen: int, rejected: int, data: st.DataObject
) -> None:
    common = data.draw(st.integers(0, min(chosen, rejected)))
    left = [0] * prompt + [1] * common + [2] * (chosen - common)
    right = [0] * prompt + [1] * common + [3] * (rejected - common)

    told = reasons(drops_prompt, length, prompt, len(left), len(right), prompt + common)

    assert ("prompt_over_window" in told) == (prompt >= length)
    if prompt < length and max(len(left), len(right)) > length:
        assert ("identical_after_truncation" in told) == (left[:length] == right[:length])
        assert ("chosen_truncated" in told, "rejected_truncated" in told) == (len(left) > length, len(right) > length)


def test_values_that_a_trainer_does_not_read_are_named_for_that_trainer_alone() -> None:
    rows = table(
        PAIR, pair("01", weight=2.0, margin=1.0, p_soft=1.0), pair("02", margin=0.5, p_soft=0.95), pair("03", margin=1.0, p_soft=0.6)
    )
    tokenizer = made_tokenizer("bytes", "chatml")

    told = flagged(rows, "trl", tokenizer)
    assert (told["weight_ignored"], told["margin_ignored"], told["soft_label_ignored"]) == ({"01"}, {"02"}, {"03"})
    assert "margin_ignored" not in flagged(rows, "reward", tokenizer)
    assert not {"weight_ignored", "margin_ignored", "soft_label_ignored"} & set(flagged(rows, "verl", tokenizer))


def test_a_template_that_refuses_or_loses_is_named() -> None:
    strict = (
        "{% for m in messages %}{% if loop.index0 and m.role == messages[loop.index0 - 1].role %}{{ raise_exception('no') }}{% endif %}"
        "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    )
    last = "{{ messages[-1].role }}: {{ messages[-1].content }}"
    tools = '[{"type": "function", "function": {"name": "weather"}}]'
    rows = table(
        PAIR, pair("01"), pair("02", prompt=[message("user", "a"), message("user", "b")]), pair("03", tools=tools),
        pair("04", prompt=[message("user", "What is it?"), message("assistant", "A fox."), message("user", "Why?")]),
    )  # fmt: skip

    refused = flagged(rows, "trl", made_tokenizer("bytes", strict))
    assert (refused["template_refused"], refused["roles_do_not_alternate"]) == ({"02"}, set())
    assert flagged(rows, "trl", made_tokenizer("bytes", "chatml"))["roles_do_not_alternate"] == {"02"}
    assert flagged(rows, "trl", made_tokenizer("bytes", "chatml"))["tools_lost"] == {"03"}
    assert not flagged(rows, "trl", made_tokenizer("bytes", "calls"))["tools_lost"]
    assert flagged(rows, "trl", made_tokenizer("bytes", last))["turn_lost"] >= {"02", "04"}


def test_axolotl_looks_for_an_answer_where_it_also_stands_elsewhere() -> None:
    rows = table(PAIR, pair("01"), pair("02", chosen="user"), pair("03", rejected=" Lyon."))

    assert flagged(rows, "axolotl", made_tokenizer("bytes", "chatml"))["answer_cut_wrongly"] == {"02"}
    assert flagged(rows, "axolotl", made_tokenizer("bytes", "ignores_system"))["answer_cut_wrongly"] == {"02", "03"}  # it trims answers


def test_sums_over_parts_are_those_of_the_whole() -> None:
    flags = pl.DataFrame(
        {
            "pair_id": [f"{at}" for at in range(9)],
            "chosen_truncated": [True] * 7 + [False] * 2,
            "rejected_truncated": [True, False] * 4 + [True],
            "weight_ignored": [True] * 9,
        }
    )
    whole, parts = Tally(), Tally()
    whole.add(flags, 30)
    for at in range(0, 9, 2):
        parts.add(flags[at : at + 2], 30)

    assert parts.findings() == whole.findings()
    assert (parts.pairs, parts.affected, parts.longest) == (9, 8, 30)
    first = whole.findings()[0]
    assert (first.reason, first.rows, first.share, first.examples) == ("chosen_truncated", 7, 7 / 9, ["0", "1", "2", "3", "4"])
    assert whole.findings()[-1].effect == "ignored"


def test_every_profile_is_of_a_format_and_says_where_its_rules_are_from() -> None:
    assert set(PROFILES) <= set(FORMATS)
    for profile in PROFILES.values():
        assert "/" in profile.source.split(",")[0]
        assert ".py" in profile.source
        assert set(profile.window(100)) <= set(REASONS)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a published version of the pairs around the window and two that no export writes, and a tokenizer beside."""
    folder = tmp_path_factory.mktemp("linting")
    rows: dict[str, list[dict[str, Any]]] = {
        "train": [pair(name, split="train", margin=1.0, p_soft=1.0, **texts) for name, texts in TEXTS.items()],
        "validation": [pair("20", split="validation", margin=0.5, p_soft=1.0)],
        "other": [
            pair("30", split="train", prompt=[]),
            pair("31", split="train", chosen=[message("assistant", "a"), message("user", "b")]),
        ],
    }
    root = str(folder / "datasets" / "some")
    writer = VersionWriter(root, "v000001", {part: len(of_part) for part, of_part in rows.items()}, rows_per_shard=4)
    for part, of_part in rows.items():
        writer.write(part, pa.Table.from_pylist(sorted(of_part, key=lambda one: one["prompt_id"]), schema=PARTS[part][1]))
    storage.write_json(f"{root}/v000001/manifest.json", {"dataset": "some", "inputs": [], "counts": [], "files": writer.close()})
    storage.write_bytes(f"{root}/CURRENT", b"v000001\n")
    made_tokenizer("bytes", "chatml").save_pretrained(folder / "model")
    config = {"dataset": "some", "workspace": str(folder), "sources": [{"name": "a", "uri": "a.jsonl"}]}
    (folder / "prefine.yaml").write_text(yaml.safe_dump(config))
    return folder


def lint(place: Path, *given: str) -> Any:
    return CliRunner().invoke(cli.app, ["lint", "--config", str(place / "prefine.yaml"), *given], catch_exceptions=False)


def test_the_command_counts_rows_with_reasons_shares_and_examples(place: Path) -> None:
    run = lint(place, "--format", "trl", "--tokenizer", str(place / "model"), "--max-length", "60", "--output", "json")

    told = json.loads(run.stdout)
    assert run.exit_code == 0
    assert (told["trainer"], told["pairs"], told["window"], told["exact"]) == ("TRL DPOTrainer", len(TEXTS) + 3, 60, True)
    found = {one["reason"]: one for one in told["findings"]}
    assert found["identical_after_truncation"]["examples"] == ["05"]
    assert found["prompt_over_window"]["rows"] == 2
    assert found["prompt_over_window"]["share"] == pytest.approx(2 / 12)
    assert {name: one["rows"] for name, one in found.items() if one["effect"] == "left_out"} == {"no_prompt": 1, "several_turns": 1}
    assert found["margin_ignored"]["rows"] == 1
    assert any("label_smoothing_ignored" in note for note in told["notes"])


def test_weights_that_are_repeated_are_not_ignored_and_splits_are_those_asked_for(place: Path) -> None:
    model = ("--format", "trl", "--tokenizer", str(place / "model"), "--output", "json")
    plain, repeated = (json.loads(lint(place, *model, *more).stdout) for more in ((), ("--weights", "repeat", "--split", "train")))
    assert not any(one["reason"] == "weight_ignored" for one in repeated["findings"])
    assert 0 < repeated["pairs"] <= plain["pairs"]


def test_strict_exits_1_only_where_rows_are_dropped_cut_or_misread(place: Path) -> None:
    model = ("--tokenizer", str(place / "model"), "--strict")

    assert lint(place, "--format", "trl", *model, "--max-length", "60").exit_code == 1
    run = lint(place, "--format", "trl", *model, "--max-length", "4000")
    assert run.exit_code == 0
    assert "0 of 12 pairs dropped, cut or misread" in run.stdout
    assert "estimates" not in run.stdout


def test_without_a_chat_template_counts_are_called_estimates(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_tokenizer("bytes", None).save_pretrained(place / "bare")

    run = lint(place, "--format", "reward", "--tokenizer", str(place / "bare"), "--max-length", "60")

    assert "pair_over_window" in run.stdout
    assert "Token counts are estimates" in run.stdout


def test_advice_on_classes_is_that_of_the_format(place: Path) -> None:
    config = PipelineConfig.model_validate(yaml.safe_load((place / "prefine.yaml").read_text()))
    asked = linting.Asked("unpaired", Options(), tokenizer=str(place / "model"), max_length=60)

    told = linting.lint(config, str(place / "datasets" / "some"), asked)

    assert told.pairs == len(TEXTS) + 3
    assert told.trainer == "TRL KTOTrainer"


@pytest.mark.parametrize(
    ("given", "message_"),
    [
        (("--format", "argilla"), "--format argilla: nothing to lint: people read it"),
        (("--format", "trll"), "--format trll: nothing to lint: there is no such format"),
        (("--format", "verl", "--max-length", "9"), "--max-length: verl limits prompts alone"),
        (("--format", "trl", "--max-prompt-length", "9"), "--max-prompt-length: TRL DPOTrainer has no limit for prompts alone"),
        (("--tokenizer", "/no/such/folder"), "--tokenizer: '/no/such/folder' cannot be loaded"),
        (("--format", "verl", "--prompt", "implicit"), "--format verl takes no --prompt"),
    ],
)
def test_what_cannot_be_linted_is_said_before_any_work(place: Path, given: tuple[str, ...], message_: str) -> None:
    with pytest.raises(ConfigError, match=message_):
        lint(place, *given)
