"""Prompts and pairs as verl reads them, in Parquet.

`verl` is what its policy trainers (PPO, GRPO ...) take: one row a prompt, answers are sampled by the trainer. Loader: verl-project/verl,
verl/utils/dataset/rl_dataset.py; columns as its example examples/data_preprocess/full_hh_rlhf.py has them. Prompts longer than
`data.max_prompt_length` are filtered.

`verl-reward` is what its reward model data set takes (verl/utils/dataset/rm_dataset.py): prompt, chosen and rejected as plain text, put end
to end without a chat template (the prompt ends with a blank line). A prompt of several turns has no such text, and is left out.
"""

from dataclasses import replace
from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.export.form import Facts, Format, Options
from pipeline.export.frameworks.files import held_out, paths, yaml_text
from pipeline.export.messages import SIDES, SPOKEN, mangled_prompts, spoken
from pipeline.export.sides import shaped
from pipeline.stage import StageResult, split_by_reason

READS: Final = ("pair_id", "prompt_id", *SIDES, "tools", "sources", "split")
REWARD_READS: Final = (*SIDES, "tools", "pair_id", "weight")
SCHEMA: Final = pa.schema(
    [
        pa.field("data_source", pa.string(), nullable=False),  # names the reward function
        pa.field("prompt", SPOKEN, nullable=False),
        pa.field("ability", pa.string(), nullable=False),
        pa.field("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())]), nullable=False),
        pa.field("extra_info", pa.struct([("split", pa.string()), ("index", pa.int64()), ("prompt_id", pa.string())]), nullable=False),
    ]
)
REWARD_SCHEMA: Final = pa.schema([pa.field(name, pa.string(), nullable=False) for name in SIDES])
_DIGITS: Final = 15  # of the prompt's id, hexadecimal: they fit an int64


def verl(options: Options) -> Format:
    """One row a prompt; see the module."""
    return Format(READS, SCHEMA, to_verl, whole_prompts=True, beside_files=data_keys)


def verl_reward(options: Options) -> Format:
    """Pairs of plain texts; see the module."""
    return Format(REWARD_READS, REWARD_SCHEMA, lambda pairs: to_verl_reward(pairs, options), takes={"weights"}, single_turns=True)


def to_verl(pairs: pl.DataFrame) -> StageResult:
    """Prompts in verl's format.

    Args:
        pairs: with the columns READS, in any order; all pairs of a prompt.

    Returns:
        `kept`, of SCHEMA: one row a prompt, in the order of their first pairs by id. `ground_truth` is that pair's chosen answer, which a
        reward model (style `model`) does not use; `index` is made of the prompt's id. `dropped`: pairs with the first reason of
        `pipeline.export.messages.mangled_prompts`, and `same_prompt`: another pair gave the row.
    """
    done = split_by_reason(pairs, mangled_prompts(sides=SIDES))
    first = (pl.col("pair_id") == pl.col("pair_id").min().over("prompt_id")).fill_null(False)
    once = split_by_reason(done.kept, {"same_prompt": ~first})
    kept = once.kept.select(
        data_source=pl.col("sources").list.first().fill_null("prefine"),
        prompt=spoken("prompt"),
        ability=pl.lit("alignment"),
        reward_model=pl.struct(style=pl.lit("model"), ground_truth=pl.col("chosen").list.first().struct.field("content").fill_null("")),
        extra_info=pl.struct(
            "split", pl.col("prompt_id").str.head(_DIGITS).str.to_integer(base=16, strict=False).fill_null(0).alias("index"), "prompt_id"
        ),
    )
    return StageResult(kept, pl.concat([done.dropped, once.dropped]))


def to_verl_reward(pairs: pl.DataFrame, options: Options = Options()) -> StageResult:  # noqa: B008  # frozen
    """Pairs in the form of verl's reward model data set.

    Args:
        pairs: with the columns REWARD_READS, in any order.
        options: weights.

    Returns:
        `kept`, of REWARD_SCHEMA, in the order of the pairs, and `dropped` with the first reason of `pipeline.export.sides.shaped`, of
        which `history` is a prompt of more than one turn.
    """
    done = shaped(pairs, replace(options, form="text"))
    return StageResult(done.kept.select(SIDES), done.dropped)


def data_keys(facts: Facts) -> dict[str, bytes]:
    """`verl.yaml`: the `data:` part of a configuration."""
    held = paths(facts, held_out(facts))
    told = {"train_files": paths(facts, "train"), "val_files": held, "prompt_key": "prompt", "filter_overlong_prompts": True}
    return {"verl.yaml": yaml_text(facts, "Paths are relative to this folder. rewards: reward_model.enable=true", {"data": told})}
