"""Published shards, as they are, in what reads them: duckdb, datasets, and two steps of TRL's trainers with a tiny random model."""

import warnings
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from flows.curate import Outcome

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what these libraries say about each other while they are imported
    import datasets  # type: ignore[import-untyped]
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedModel, PreTrainedTokenizerFast
    from trl.trainer.dpo_config import DPOConfig
    from trl.trainer.dpo_trainer import DPOTrainer
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

STEPS = 2
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"]


@pytest.fixture(scope="module")
def data(demo: Outcome) -> Path:
    """The folder of the published shards."""
    return Path(demo.dataset_root) / demo.version / "data"


@pytest.fixture(scope="module")
def rows(data: Path) -> int:
    return sum(pq.ParquetFile(file).metadata.num_rows for file in data.glob("train-*.parquet"))


@pytest.fixture(scope="module")
def train(data: Path, tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    """The train shards, through `load_dataset`, with a cache of the test's own."""
    files = {"train": str(data / "train-*.parquet"), "validation": str(data / "validation-*.parquet")}
    return datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path_factory.mktemp("cache")))["train"]


@pytest.fixture(scope="module")
def tokenizer(train: datasets.Dataset) -> PreTrainedTokenizerFast:
    """A byte-level BPE learned from a few of the answers."""
    bpe = ByteLevelBPETokenizer()
    texts = [messages[0]["content"] for messages in train[:50]["chosen"]]
    bpe.train_from_iterator(texts, vocab_size=500, special_tokens=SPECIAL, show_progress=False)
    fast: PreTrainedTokenizerFast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=bpe._tokenizer, pad_token="<|pad|>", eos_token="<|end|>"
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


@pytest.fixture
def tiny(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        max_position_embeddings=1024, pad_token_id=tokenizer.pad_token_id, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    config.num_labels = 1
    return config


def random_model(kind: type[PreTrainedModel], config: LlamaConfig, folder: Path) -> str:
    """A folder with a model of random weights: DPO loads its reference model from where the model came."""
    kind(config).save_pretrained(folder)
    return str(folder)


def settings(folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder), "max_steps": STEPS, "per_device_train_batch_size": 2, "max_length": 512, "logging_steps": 1,
        "save_strategy": "no", "report_to": [], "use_cpu": True, "disable_tqdm": True, "bf16": False, "activation_checkpointing": False,
        "dataloader_pin_memory": False,
    }  # fmt: skip


def losses(trainer: DPOTrainer | RewardTrainer) -> list[float]:
    return [line["loss"] for line in trainer.state.log_history if "loss" in line]


def test_plain_duckdb_counts_the_rows_of_the_shards(data: Path, rows: int) -> None:
    count = duckdb.sql(f"select count(*) from '{data}/train-*.parquet'")

    assert count is not None
    assert count.fetchall() == [(rows,)]
    assert rows > 500


def test_datasets_loads_the_shards_with_messages_in_the_three_columns(train: datasets.Dataset, rows: int) -> None:
    first = train[0]

    assert train.num_rows == rows
    assert not {"image", "images"} & set(train.column_names)
    assert first["prompt"][-1]["role"] == "user"
    assert [message["role"] for message in first["chosen"] + first["rejected"]] == ["assistant", "assistant"]
    assert all(margin is not None for margin in train["margin"])


def test_no_answer_or_prompt_of_a_shard_is_empty(train: datasets.Dataset) -> None:
    for row in train.select_columns(["prompt", "chosen", "rejected"]):
        assert all(row[name] and all(message["content"] for message in row[name]) for name in row)


@pytest.mark.parametrize(
    ("model_class", "trainer_class", "config_class"),
    [
        pytest.param(
            LlamaForCausalLM,
            DPOTrainer,
            DPOConfig,
            # TRL asks transformers by the old name
            marks=pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
        ),
        (LlamaForSequenceClassification, RewardTrainer, RewardConfig),
    ],
    ids=["DPO", "reward model"],
)
def test_a_trainer_makes_two_steps_on_a_published_shard(
    model_class: Any, trainer_class: Any, config_class: Any,
    train: datasets.Dataset, tokenizer: PreTrainedTokenizerFast, tiny: LlamaConfig, tmp_path: Path,
) -> None:  # fmt: skip
    model = random_model(model_class, tiny, tmp_path / "model")
    trainer = trainer_class(model, args=config_class(**settings(tmp_path)), train_dataset=train, processing_class=tokenizer)

    trainer.train()

    assert len(losses(trainer)) == STEPS
    assert all(0 < loss < 10 for loss in losses(trainer))
