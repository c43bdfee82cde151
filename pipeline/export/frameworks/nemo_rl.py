"""Pairs as NeMo RL's PreferenceDataset reads them: `context`, and two `completions` of which the better one has the lower rank.

Loader: NVIDIA-NeMo/RL, nemo_rl/data/datasets/preference_datasets/preference_dataset.py. Rows are read by `preference_preprocessor` of
nemo_rl/data/processors.py, which stops at a tie, takes two completions, hands no tools to the chat template, and masks out every pair
with a side longer than the window. Its binary form (prompt, chosen, rejected as strings) can say less.
"""

from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.export.form import Facts, Format, Options
from pipeline.export.frameworks.files import held_out, paths, yaml_text
from pipeline.export.messages import SIDES, SPOKEN
from pipeline.export.sides import shaped
from pipeline.stage import StageResult

READS: Final = (*SIDES, "tools", "pair_id", "weight")
_COMPLETION: Final = pa.struct([("rank", pa.int64()), ("completion", SPOKEN)])
SCHEMA: Final = pa.schema([pa.field("context", SPOKEN, nullable=False), pa.field("completions", pa.list_(_COMPLETION), nullable=False)])


def nemo_rl(options: Options) -> Format:
    """Preference pairs for NeMo RL's DPO and reward models; see the module."""
    return Format(READS, SCHEMA, lambda pairs: to_nemo_rl(pairs, options), takes={"weights"}, file="jsonl", beside_files=data_keys)


def to_nemo_rl(pairs: pl.DataFrame, options: Options = Options()) -> StageResult:  # noqa: B008  # frozen
    """Pairs in NeMo RL's rank format.

    Args:
        pairs: with the columns READS, in any order.
        options: weights.

    Returns:
        `kept`, of SCHEMA, in the order of the pairs, and `dropped` with the first reason of `pipeline.export.sides.shaped`.
    """
    done = shaped(pairs, options)
    ranked = [pl.struct(pl.lit(rank, pl.Int64).alias("rank"), pl.col(side).alias("completion")) for rank, side in enumerate(SIDES[1:])]
    return StageResult(done.kept.select(context="prompt", completions=pl.concat_list(ranked)), done.dropped)


def data_keys(facts: Facts) -> dict[str, bytes]:
    """`nemo_rl.yaml`: the `data:` part of a configuration."""
    train = paths(facts, "train")
    held = paths(facts, held_out(facts))
    tree = {"train": [_entry(path) for path in train], "validation": [_entry(path) for path in held]}
    told = {"data": {key: value if len(value) > 1 else value[0] for key, value in tree.items() if value}}
    return {"nemo_rl.yaml": yaml_text(facts, "Paths are relative to this folder. For run_dpo.py and run_rm.py.", told)}


def _entry(path: str) -> dict[str, str]:
    return {"dataset_name": "PreferenceDataset", "data_path": path}
