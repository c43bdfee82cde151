"""Exports through the loaders of the frameworks themselves, where those are installed; what lint says of each row against what they do.

None of the packages is a dependency: their requirements contradict each other and ours. Without it a test is skipped and says so;
tests/export/frameworks/test_formats.py holds the rules that were read in these loaders.
"""

import json
import os
import types
import warnings
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.export import FORMATS, Options
from pipeline.export.form import Facts
from pipeline.export_files import Output
from pipeline.schemas import PAIR
from tests.builders import message
from tests.ches.tokenizers import tokenizer as made_tokenizer
from tests.export.rows import pair, table
from tests.export.texts import TEXTS, WINDOW, around_the_window, flagged

os.environ.setdefault("DISABLE_VERSION_CHECK", "1")  # LLaMA-Factory's, of packages that its loader does not use
pytestmark = pytest.mark.filterwarnings("ignore")
CALL = '[{"type": "function", "function": {"name": "weather", "arguments": "{\\"city\\": \\"Bern\\"}"}}]'
TOOLS = '[{"type": "function", "function": {"name": "weather", "parameters": {}}}]'


def loader(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(
            name, reason=f"{name.split('.')[0]} is not installed: its requirements contradict ours", exc_type=ImportError
        )


def exported(form: str, pairs: pl.DataFrame, folder: Path, split: str = "train") -> list[dict[str, Any]]:
    """Writes an export's file and what belongs beside it; returns the rows."""
    wanted = FORMATS[form](Options())
    result = wanted.convert(pairs)
    output = Output(str(folder), f"{split}-00000-of-00001", wanted.schema, wanted.file)
    output.write(result.kept)
    file = {**output.close(), "split": split}
    facts = Facts("some-set", "v000001", form, [file], {split: result.kept.height})
    for name, content in (wanted.beside_files(facts) if wanted.beside_files else {}).items():
        (folder / name).write_bytes(content)
    return result.kept.to_dicts()


@pytest.mark.parametrize("template", ["chatml", "bare"])
def test_openrlhf_loads_the_export_and_drops_and_cuts_what_lint_names(tmp_path: Path, template: str) -> None:
    datasets_module = loader("openrlhf.datasets.reward_dataset")
    from datasets import load_dataset  # type: ignore[import-untyped]

    pairs, tokenizer = around_the_window(), made_tokenizer("bytes", template)
    exported("openrlhf", pairs, tmp_path)
    flags = dict(line.split() for line in (tmp_path / "openrlhf.sh").read_text().splitlines() if line.count(" ") == 3)
    keys = {name: flags[f"--data.{name}_key"] for name in ("prompt", "chosen", "rejected")}
    data = types.SimpleNamespace(**{f"{name}_key": key for name, key in keys.items()}, apply_chat_template=True)
    strategy = types.SimpleNamespace(args=types.SimpleNamespace(data=data))
    rows = load_dataset(str(tmp_path), cache_dir=str(tmp_path / "cache"))["train"]

    made = datasets_module.RewardDataset(rows, tokenizer, WINDOW, strategy, is_dpo=True, num_processors=1)

    told = flagged(pairs, "openrlhf", tokenizer)
    left = [name for name in TEXTS if name not in told["prompt_over_window"]]
    assert len(made) == len(left)
    items = dict(zip(left, (made[at] for at in range(len(made))), strict=True))
    same = {name for name, (chosen, _, rejected, *_) in items.items() if chosen.tolist() == rejected.tolist()}
    assert told["identical_after_truncation"] == same
    assert {"05"} <= same


def test_axolotl_makes_of_the_export_what_lint_says(tmp_path: Path) -> None:
    strategy, rl = loader("axolotl.prompt_strategies.dpo.chat_template"), loader("axolotl.utils.data.rl")
    pairs = table(
        PAIR,
        *(pair(name, **texts) for name, texts in TEXTS.items()),
        pair("20", chosen="user"),
        pair("21", rejected="m"),
        pair("22", chosen=" Lyon"),
    )
    for template, trims in (("chatml", False), ("ignores_system", True)):
        tokenizer = made_tokenizer("bytes", template)
        rows = exported("axolotl", pairs, tmp_path / template)
        config = {"datasets": [{"type": "chat_template.default"}], "chat_template": "tokenizer_default"}
        transform, _ = strategy.default(_Dict(config))

        made = [transform(dict(row), tokenizer=tokenizer) for row in rows]

        told = flagged(pairs, "axolotl", tokenizer, WINDOW)
        names = pairs["pair_id"].to_list()
        wrong = {
            name
            for name, row, seen in zip(names, rows, made, strict=True)
            for side in ("chosen", "rejected")
            if not seen[side].startswith(row[side]["content"].rstrip()) or len(seen[side]) > len(row[side]["content"]) + 20
        }
        assert told["answer_cut_wrongly"] == wrong
        assert {"20", "21"} <= wrong
        assert ("22" in wrong) == trims
        fine = {name: seen for name, seen in zip(names, made, strict=True) if name not in wrong}  # it stops at an empty answer
        kept = {name for name, seen in fine.items() if rl._drop_long_sequences(seen, rl.RLType.DPO, tokenizer, WINDOW)}
        assert (told["prompt_over_window"] | told["pair_over_window"]) - wrong == set(fine) - kept


class _Dict(dict[str, Any]):
    """Keys as attributes, None where there is none, as axolotl's configuration."""

    def __getattr__(self, name: str) -> Any:
        return self.get(name)


def test_llama_factory_reads_dataset_info_and_every_row_of_the_export(tmp_path: Path) -> None:
    parser, converter = loader("llamafactory.data.parser"), loader("llamafactory.data.converter")
    talk = [message("system", "Be brief."), message("user", "Hi"), message("assistant", "Yes?"), message("user", "Weather?")]
    called = [message("assistant", "", tool_calls=CALL)]
    pairs = table(PAIR, pair("01"), pair("02", prompt=talk, tools=TOOLS, chosen=called))
    rows = exported("llama-factory", pairs, tmp_path)
    (name,) = json.loads((tmp_path / "dataset_info.json").read_text())
    (about,) = parser.get_dataset_list([name], str(tmp_path))

    made = [converter.SharegptDatasetConverter(about, None)(row) for row in rows]

    assert about.ranking
    assert Path(about.dataset_name).name == "train-00000-of-00001.jsonl"
    assert [[turn["role"] for turn in row["_prompt"]] for row in made] == [["user"], ["user", "assistant", "user"]]
    assert [[turn["role"] for turn in row["_response"]] for row in made] == [["assistant", "assistant"], ["function", "assistant"]]
    assert [row["_system"] for row in made] == ["", "Be brief."]
    assert json.loads(made[1]["_response"][0]["content"]) == [{"name": "weather", "arguments": {"city": "Bern"}}]
    assert json.loads(made[1]["_tools"])[0]["name"] == "weather"

    told = exported("llama-factory-kto", pairs.head(1), tmp_path / "kto")
    (name,) = json.loads((tmp_path / "kto" / "dataset_info.json").read_text())
    (about,) = parser.get_dataset_list([name], str(tmp_path / "kto"))
    answers = [converter.SharegptDatasetConverter(about, None)(row)["_response"] for row in told]
    assert [[turn["content"] for turn in answer] for answer in answers] == [["Paris.", ""], ["", "Lyon."]]


def test_llama_factory_cuts_as_lint_says() -> None:
    cut = loader("llamafactory.data.processor.processor_utils").infer_seqlen
    sizes = pl.DataFrame(
        [(p, a, b) for p in (5, 40, 200) for a in (3, 39, 90, 400) for b in (3, 60, 120)], schema=["p", "a", "b"], orient="row"
    )
    counts = sizes.select(
        prompt_tokens="p",
        kept_prompt_tokens="p",
        chosen_tokens=pl.col("p") + pl.col("a"),
        rejected_tokens=pl.col("p") + pl.col("b"),
        shared_tokens="p",
    )
    from pipeline.export.lint.windows import cuts_both

    for window in (50, 80, 256):
        told = counts.select(**cuts_both(window))
        for row, (p, a, b) in zip(told.to_dicts(), sizes.rows(), strict=True):
            source, target = cut(p, max(a, b), window)
            assert (row["prompt_truncated"], row["chosen_truncated"], row["rejected_truncated"]) == (source < p, target < a, target < b)


def test_verl_loads_the_prompts_and_filters_what_lint_names(tmp_path: Path) -> None:
    rl, omegaconf = loader("verl.utils.dataset.rl_dataset"), loader("omegaconf")
    pairs, tokenizer = around_the_window(), made_tokenizer("bytes", "chatml")
    pairs = pairs.with_columns(prompt_id=pl.concat_str(pl.lit("abc0"), "pair_id"))
    exported("verl", pairs, tmp_path)
    config = omegaconf.OmegaConf.create(
        {"prompt_key": "prompt", "max_prompt_length": WINDOW, "filter_overlong_prompts": True, "filter_overlong_prompts_workers": 1}
    )

    made = rl.RLHFDataset([str(tmp_path / "train-00000-of-00001.parquet")], tokenizer, config)

    told = flagged(pairs, "verl", tokenizer)
    names = pairs["prompt_id"].to_list()
    assert [made[at]["extra_info"]["prompt_id"] for at in range(len(made))] == [
        name for name in names if name[-2:] not in told["prompt_over_window"]
    ]
    assert told["prompt_over_window"] == {"04", "09"}
    assert all(made[at]["index"] == int(made[at]["extra_info"]["prompt_id"], 16) for at in range(len(made)))


def test_verls_reward_data_set_cuts_what_lint_names(tmp_path: Path) -> None:
    rm = loader("verl.utils.dataset.rm_dataset")
    pairs, tokenizer = around_the_window().filter(pl.col("prompt").list.len() == 1), made_tokenizer("bytes", None)
    exported("verl-reward", pairs, tmp_path)

    made = rm.RMDataset(str(tmp_path / "train-00000-of-00001.parquet"), tokenizer, max_length=WINDOW, cache_dir=str(tmp_path))

    told = flagged(pairs, "verl-reward", tokenizer)
    same = {
        name
        for name, at in zip(pairs["pair_id"], range(len(made)), strict=True)
        if made[at]["input_ids"][0].equal(made[at]["input_ids"][1])
    }
    assert same == told["identical_after_truncation"] | told["answers_cut_away"]


def test_argilla_takes_the_records(tmp_path: Path) -> None:
    argilla = loader("argilla")
    exported("argilla", around_the_window(), tmp_path)

    lines = (tmp_path / "train-00000-of-00001.jsonl").read_text().splitlines()
    records = [argilla.Record.from_dict(json.loads(line)) for line in lines]

    assert [record.id for record in records] == list(TEXTS)
    assert {record.suggestions["preference"].value for record in records} == {"response_1", "response_2"}
    assert records[0].fields["prompt"] == [{"role": "user", "content": "Capital of France?"}]
    compile((tmp_path / "argilla_load.py").read_text(), "argilla_load.py", "exec")
