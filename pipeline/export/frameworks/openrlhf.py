"""Pairs as OpenRLHF reads them: JSON lines with `prompt`, `chosen` and `rejected` as messages, and `margin`.

Its loader (OpenRLHF/OpenRLHF, openrlhf/datasets/reward_dataset.py) writes `prompt` + `chosen` and `prompt` + `rejected` with the
tokenizer's chat template, and takes what follows the text of the prompt as the answer. The reward model reads `margin`, if told to; DPO
does not. Checked against openrlhf 0.11, which has no KTO.
Flags are those of openrlhf/cli/train_dpo.py and train_rm.py since they have dots in their names; before, they had none.
"""

from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.export.form import Facts, Format, Options
from pipeline.export.frameworks.files import held_out, shell
from pipeline.export.messages import SIDES, SPOKEN
from pipeline.export.sides import shaped
from pipeline.stage import StageResult

READS: Final = (*SIDES, "tools", "pair_id", "weight", "margin")
SCHEMA: Final = pa.schema([*(pa.field(name, SPOKEN, nullable=False) for name in SIDES), pa.field("margin", pa.float32(), nullable=False)])


def openrlhf(options: Options) -> Format:
    """Preference pairs for train_dpo and train_rm; see the module."""
    return Format(READS, SCHEMA, lambda pairs: to_openrlhf(pairs, options), takes={"weights"}, file="jsonl", beside_files=flags)


def to_openrlhf(pairs: pl.DataFrame, options: Options = Options()) -> StageResult:  # noqa: B008  # frozen
    """Pairs in OpenRLHF's preference format.

    Args:
        pairs: with the columns READS, in any order.
        options: weights.

    Returns:
        `kept`, of SCHEMA, in the order of the pairs, and `dropped` with the first reason of `pipeline.export.sides.shaped`.
    """
    done = shaped(pairs, options)
    return StageResult(done.kept.select(*SIDES, "margin"), done.dropped)


def flags(facts: Facts) -> dict[str, bytes]:
    """`openrlhf.sh`: arguments for openrlhf.cli.train_dpo and train_rm."""
    told = {"--data.dataset": ".", "--data.dataset_split": "train", "--data.apply_chat_template": ""}
    told |= {f"--data.{side}_key": side for side in SIDES}
    held = held_out(facts)
    if held:
        told |= {"--eval.dataset": ".", "--eval.split": held}
    return {"openrlhf.sh": shell(facts, "openrlhf.cli.train_dpo or train_rm (there --model.margin_loss_enable reads margin)", told)}
