"""Pairs as axolotl reads them, `type: chat_template.default` of its DPO, IPO, ORPO and SimPO: `messages`, and one message a side.

Its loader (axolotl-ai-cloud/axolotl, src/axolotl/prompt_strategies/dpo/chat_template.py) reads role and content alone, writes each answer
after a made-up question, and looks for its text there: an answer that also stands in what comes before it is cut wrongly, and one whose
white space the template trims is lost, and preparation may stop there. `prefine lint` counts both.
"""

from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.export.form import Facts, Format, Options
from pipeline.export.frameworks.files import held_out, paths, yaml_text
from pipeline.export.frameworks.turns import turn_type
from pipeline.export.messages import SIDES, SPOKEN
from pipeline.export.sides import shaped
from pipeline.stage import StageResult

READS: Final = (*SIDES, "tools", "pair_id", "weight")
_TURN: Final = turn_type("role", "content")
SCHEMA: Final = pa.schema(
    [
        pa.field("messages", SPOKEN, nullable=False),
        pa.field("chosen", _TURN, nullable=False),
        pa.field("rejected", _TURN, nullable=False),
    ]
)


def axolotl(options: Options) -> Format:
    """Preference pairs for axolotl; see the module."""
    return Format(READS, SCHEMA, lambda pairs: to_axolotl(pairs, options), takes={"weights"}, file="jsonl", beside_files=datasets)


def to_axolotl(pairs: pl.DataFrame, options: Options = Options()) -> StageResult:  # noqa: B008  # frozen
    """Pairs in axolotl's preference format.

    Args:
        pairs: with the columns READS, in any order.
        options: weights.

    Returns:
        `kept`, of SCHEMA, in the order of the pairs, and `dropped` with the first reason of `pipeline.export.sides.shaped`.
    """
    done = shaped(pairs, options)
    kept = done.kept.select(messages="prompt", chosen=pl.col("chosen").list.first(), rejected=pl.col("rejected").list.first())
    return StageResult(kept, done.dropped)


def datasets(facts: Facts) -> dict[str, bytes]:
    """`axolotl.yaml`: the part of a configuration that names the data."""
    tree = {"rl": "dpo", "datasets": [_entry(path) for path in paths(facts, "train")]}
    held = [_entry(path) for path in paths(facts, held_out(facts))]
    told = {**tree, "test_datasets": held} if held else tree
    return {"axolotl.yaml": yaml_text(facts, "Paths are relative to this folder. rl may be dpo, ipo, orpo or simpo.", told)}


def _entry(path: str) -> dict[str, str]:
    fields = {"field_messages": "messages", "field_chosen": "chosen", "field_rejected": "rejected"}
    return {"path": path, "ds_type": "json", "split": "train", "type": "chat_template.default", **fields}
