"""What TRL is handed, and what its DPOTrainer makes of log-probabilities that were computed before, with a tiny random model."""

import math
import warnings
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.export import FORMATS, Options
from pipeline.export.trl import to_trl
from pipeline.schemas import MESSAGES_PL, PAIR, conform
from tests.builders import message, says

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what these libraries say about each other while they are imported
    import datasets  # type: ignore[import-untyped]
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer

COLUMNS: dict[str, Any] = {
    **dict.fromkeys(("prompt", "chosen", "rejected"), MESSAGES_PL),
    "tools": pl.String,
    "chosen_logp": pl.Float64,
    "rejected_logp": pl.Float64,
}
TEXTS = [
    ("hello", "fine, you?", "no"),
    ("how are you", "at all", "hello hello world"),
    ("nothing", "w", "you"),
    ("world?", "yes it is", "it is not so, is it?"),
]


def pair(prompt: Any = "q", chosen: Any = "x", rejected: Any = "y", **fields: Any) -> dict[str, Any]:
    sides = {"prompt": says("user", prompt), "chosen": says("assistant", chosen), "rejected": says("assistant", rejected)}
    return {**sides, "tools": None, "chosen_logp": -1.0, "rejected_logp": -2.5, **fields}


def table(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=COLUMNS)


def spoken(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]


def test_messages_have_a_role_and_a_content_and_nothing_else() -> None:
    done = to_trl(table(pair("q", "x", "y"), pair("p", " w", "z")))
    assert done.kept.to_dicts() == [
        {"prompt": spoken("user", "q"), "chosen": spoken("assistant", "x"), "rejected": spoken("assistant", "y")},
        {"prompt": spoken("user", "p"), "chosen": spoken("assistant", " w"), "rejected": spoken("assistant", "z")},
    ]
    assert done.dropped.height == 0


def test_log_probabilities_of_the_reference_have_the_names_that_trl_reads() -> None:
    kept = to_trl(table(pair()), Options(reference_logps=True)).kept
    assert kept.select("ref_chosen_logps", "ref_rejected_logps").rows() == [(-1.0, -2.5)]


def test_pairs_that_trl_would_stop_at_or_mangle_are_dropped_with_a_reason() -> None:
    call = [message("assistant", "", tool_calls="[]")]
    rows = {
        "no_prompt": pair(prompt=[]),
        "tools": pair(tools="[]", chosen="y"),
        "tool_calls-call": pair(chosen=call),
        "tool_calls-answer": pair(prompt=[message("user", "q"), *call, message("tool", "1"), message("user", "r")]),
        "other_fields-name": pair(prompt=[message("user", "q", name="ann")]),
        "other_fields-reasoning": pair(rejected=[message("assistant", "y", reasoning_content="Hm.")]),
        "several_turns": pair(chosen=[*says("assistant", "x"), *says("user", "z")]),
        "several_turns-none": pair(rejected=[]),
        "several_turns-user": pair(rejected=says("user", "y")),
        "prompt_not_users": pair(prompt=says("assistant", "q")),
        "prompt_not_users-system": pair(prompt=says("system", "q")),
        "empty_answer": pair(chosen=" \u200b\n"),
        "empty_answer-second": pair(rejected=""),
        "identical_answers": pair(chosen="y"),
        "no_reference_logps": pair(chosen_logp=None),
        "no_reference_logps-second": pair(rejected_logp=None),
        "no_reference_logps-nan": pair(rejected_logp=math.nan),
        "no_reference_logps-infinite": pair(chosen_logp=-math.inf),
    }
    done = to_trl(table(*rows.values(), pair()), Options(reference_logps=True))
    assert done.dropped["reason"].to_list() == [name.split("-")[0] for name in rows]
    assert done.dropped.columns == [*COLUMNS, "reason"]
    assert done.kept.height == 1
    assert to_trl(table(pair(chosen_logp=None))).kept.height == 1  # not asked for


@pytest.mark.parametrize("reference", [False, True])
def test_a_format_reads_columns_of_pairs_and_gives_its_schema_for_any_rows(reference: bool) -> None:
    form = FORMATS["trl"](Options(reference_logps=reference))
    assert set(form.reads) <= set(PAIR.names)
    for rows in ([], [pair()], [pair(prompt=[])]):
        done = form.convert(table(*rows).select(form.reads))
        assert conform(done.kept, form.schema, "trl").num_rows + done.dropped.height == len(rows)
    assert form.schema.names == ["prompt", "chosen", "rejected", *(["ref_chosen_logps", "ref_rejected_logps"] if reference else [])]


def logp(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompt: str, answer: str) -> float:
    """The answer's summed log-probability, one text at a time, without a batch, a mask or padding."""
    asked = tokenizer.apply_chat_template(spoken("user", prompt), add_generation_prompt=True, return_dict=False)
    whole = tokenizer.apply_chat_template(spoken("user", prompt) + spoken("assistant", answer), return_dict=False)
    assert whole[: len(asked)] == asked
    with torch.no_grad():
        predicted = model(torch.tensor([whole])).logits[0].double().log_softmax(-1)
    return float(sum(predicted[at - 1, whole[at]] for at in range(len(asked), len(whole))))


@pytest.fixture(scope="module")
def train(model: str, tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    """Four exported pairs, read from their file as a user would."""
    policy = LlamaForCausalLM.from_pretrained(model).eval()
    texts = pl.DataFrame(TEXTS, schema=["prompt", "chosen", "rejected"], orient="row").to_dicts()
    known = [{f"{side}_logp": logp(policy, tokenizer, row["prompt"], row[side]) for side in ("chosen", "rejected")} for row in texts]
    rows = [pair(**row, **numbers) for row, numbers in zip(texts, known, strict=True)]
    form, folder = FORMATS["trl"](Options(reference_logps=True)), tmp_path_factory.mktemp("exported")
    pl.DataFrame(pl.from_arrow(conform(form.convert(table(*rows)).kept, form.schema, "trl"))).write_parquet(folder / "train.parquet")
    return datasets.load_dataset("parquet", data_files={"train": str(folder / "train.parquet")}, cache_dir=str(folder / "cache"))["train"]


def trainer(model: str, tokenizer: PreTrainedTokenizerFast, train: datasets.Dataset, folder: Path, **settings: Any) -> DPOTrainer:
    args = DPOConfig(
        output_dir=str(folder), max_steps=2, per_device_train_batch_size=4, max_length=256, logging_steps=1, learning_rate=1e-3,
        save_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True, bf16=False, activation_checkpointing=False,
        dataloader_pin_memory=False, **settings,
    )  # fmt: skip
    return DPOTrainer(model, args=args, train_dataset=train, eval_dataset=train, processing_class=tokenizer)


# TRL asks transformers by the old name
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_the_first_loss_with_exported_log_probabilities_is_log_2_and_no_reference_model_runs(
    model: str, tokenizer: PreTrainedTokenizerFast, train: datasets.Dataset, tmp_path: Path
) -> None:
    made = trainer(model, tokenizer, train, tmp_path)
    made.precompute_ref_logps = True
    made.ref_model = None

    made.train()

    first, second = [line for line in made.state.log_history if "loss" in line]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert [first[f"rewards/{side}"] for side in ("chosen", "rejected")] == pytest.approx([0, 0], abs=1e-5)
    assert first["logps/chosen"] == pytest.approx(sum(train["ref_chosen_logps"]) / 4, abs=1e-4)
    assert second["loss"] < first["loss"] - 0.001
    assert made.evaluate()["eval_loss"] < second["loss"]


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_trl_asked_to_precompute_stops_at_the_names_that_are_taken(
    model: str, tokenizer: PreTrainedTokenizerFast, train: datasets.Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="duplicated columns but columns \\['ref_chosen_logps', 'ref_rejected_logps'\\]"):
        trainer(model, tokenizer, train, tmp_path, precompute_ref_log_probs=True)
