"""Published pairs in the form that a trainer reads: one module a format.

A format is a pure function of the rows it is handed, so that shards are exported one after the other, each in parts of any size.
"""

from collections.abc import Callable

from pipeline.export import critique, questions, rationale, self_rationalization
from pipeline.export.form import Facts, Format, Options
from pipeline.export.frameworks import FORMATS as FRAMEWORKS
from pipeline.export.goals import reward_conditioned
from pipeline.export.listwise import list_pairs, listwise
from pipeline.export.prompts import prompts
from pipeline.export.reward import reward
from pipeline.export.soft import soft
from pipeline.export.stepwise import stepwise
from pipeline.export.trl import trl
from pipeline.export.unpaired import unpaired

__all__ = ["FORMATS", "Facts", "Format", "Options"]


def with_rationale(options: Options) -> Format:
    """Pairs with their rationale; see `pipeline.export.rationale`."""
    return Format(
        rationale.READS_OF_PAIRS, rationale.SCHEMA, lambda pairs, rationales: rationale.to_rationale(pairs, rationales, options.kinds),
        beside={"rationales": rationale.READS_OF_RATIONALES}, kinds=(*rationale.WRITTEN, "factors"),
    )  # fmt: skip


def critiques(options: Options) -> Format:
    """Prompts and completions for a judge; see `pipeline.export.critique`."""
    return Format(
        questions.READS, critique.SCHEMA, lambda pairs, rationales: critique.to_critique(pairs, rationales, options.kinds),
        beside={"rationales": critique.READS_OF_RATIONALES}, kinds=(*rationale.WRITTEN, critique.RUBRIC),
        represents=frozenset({"tools", "tool_calls", "turns", "no_prompt"}),
    )  # fmt: skip


def among_judgements(options: Options) -> Format:
    """Preference pairs among judgements; see `pipeline.export.self_rationalization`."""
    beside = {"judgements": self_rationalization.READS_OF_JUDGEMENTS, "rationales": self_rationalization.READS_OF_RATIONALES}
    return Format(
        questions.READS, self_rationalization.SCHEMA, self_rationalization.to_self_rationalization, beside,
        represents=frozenset({"tools", "tool_calls", "turns", "no_prompt"}),
    )  # fmt: skip


FORMATS: dict[str, Callable[[Options], Format]] = {
    "trl": trl,
    "unpaired": unpaired,
    "reward": reward,
    "prompts": prompts,
    "soft": soft,
    "listwise": listwise,
    "list-pairs": list_pairs,
    "reward-conditioned": reward_conditioned,
    "stepwise": stepwise,
    "rationale": with_rationale,
    "critique": critiques,
    "self-rationalization": among_judgements,
    **FRAMEWORKS,
}
