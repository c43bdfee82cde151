"""TRL's trainers make a step on exported files: KTO on single answers, a reward model with margins."""

import warnings
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.export import FORMATS, Options
from pipeline.schemas import PAIR, conform
from tests.export.rows import pair, table

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what these libraries say about each other while they are imported
    import datasets  # type: ignore[import-untyped]
    from transformers import LlamaForSequenceClassification, PreTrainedTokenizerFast
    from trl.trainer.kto_config import KTOConfig
    from trl.trainer.kto_trainer import KTOTrainer
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

TEXTS = [
    ("hello", "fine, you?", "no"),
    ("how are you", "at all", "hello world"),
    ("nothing", "w", "you"),
    ("world?", "yes it is", "is it?"),
]


def exported(name: str, folder: Path, **given: Any) -> datasets.Dataset:
    """Four pairs in a format, read from their file as a user would."""
    form = FORMATS[name](Options())
    pairs = [
        pair(f"p{at}", prompt=prompt, chosen=chosen, rejected=rejected, **given) for at, (prompt, chosen, rejected) in enumerate(TEXTS)
    ]
    rows = conform(form.convert(table(PAIR, *pairs).select(form.reads)).kept, form.schema, name)
    pl.DataFrame(pl.from_arrow(rows)).write_parquet(folder / "train.parquet")
    return datasets.load_dataset("parquet", data_files={"train": str(folder / "train.parquet")}, cache_dir=str(folder / "cache"))["train"]


def settings(folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder), "max_steps": 1, "per_device_train_batch_size": 4, "max_length": 256, "logging_steps": 1,
        "save_strategy": "no", "report_to": [], "use_cpu": True, "disable_tqdm": True, "bf16": False, "activation_checkpointing": False,
        "dataloader_pin_memory": False,
    }  # fmt: skip


def first(trainer: Any) -> dict[str, float]:
    trainer.train()
    told: dict[str, float] = next(line for line in trainer.state.log_history if "loss" in line)
    return told


# TRL asks transformers by the old name
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_kto_takes_single_answers(model: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    train = exported("unpaired", tmp_path)
    assert (train.num_rows, train.column_names) == (8, ["prompt", "completion", "label"])
    told = first(KTOTrainer(model, args=KTOConfig(**settings(tmp_path)), train_dataset=train, processing_class=tokenizer))
    assert told["loss"] == pytest.approx(0.5, abs=0.01)  # policy and reference are one model


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_a_reward_model_reads_the_margin(model: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    losses = []
    for margin in (0.0, 1.0):
        (folder := tmp_path / str(margin)).mkdir()
        train = exported("reward", folder, margin=margin)
        scorer = LlamaForSequenceClassification.from_pretrained(model, num_labels=1)
        scorer.score.weight.data.zero_()  # every reward is 0
        args = RewardConfig(**settings(folder))
        losses.append(first(RewardTrainer(scorer, args=args, train_dataset=train, processing_class=tokenizer))["loss"])
    assert losses == pytest.approx([0.693147, 1.313262], abs=1e-4)
