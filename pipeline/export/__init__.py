"""Published pairs in the form that a trainer reads: one module a format.

A format is a pure function of the rows it is handed, so that shards are exported one after the other, each in parts of any size.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.export import critique, questions, rationale, self_rationalization
from pipeline.export.trl import reads_of_trl, schema_of_trl, to_trl
from pipeline.stage import StageResult


@dataclass(frozen=True)
class Options:
    """What a format may be asked for.

    Attributes:
        reference_logps: log-probabilities of both answers under the reference model.
        kinds: of rationales; those that the format takes by itself when empty.
    """

    reference_logps: bool = False
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Format:
    """What a format needs and gives.

    Attributes:
        reads: columns of PAIR.
        schema: of the rows it gives.
        convert: pairs with those columns, in any order, and one table for each of `beside` -> `kept` of that schema, in the order of the
            pairs, and `dropped` pairs with `reason`.
        beside: other parts of a version and their columns; the rows of the pairs handed over.
        kinds: of rationales that may be asked for.
        reference_logps: whether they may be asked for.
    """

    reads: tuple[str, ...]
    schema: pa.Schema
    convert: Callable[..., StageResult]
    beside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()
    reference_logps: bool = False


def trl(options: Options) -> Format:
    """TRL's explicit preference format; see `pipeline.export.trl`."""
    reference = options.reference_logps
    return Format(reads_of_trl(reference), schema_of_trl(reference), lambda pairs: to_trl(pairs, reference), reference_logps=True)


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
    )  # fmt: skip


def among_judgements(options: Options) -> Format:
    """Preference pairs among judgements; see `pipeline.export.self_rationalization`."""
    beside = {"judgements": self_rationalization.READS_OF_JUDGEMENTS, "rationales": self_rationalization.READS_OF_RATIONALES}
    return Format(questions.READS, self_rationalization.SCHEMA, self_rationalization.to_self_rationalization, beside)


FORMATS: dict[str, Callable[[Options], Format]] = {
    "trl": trl,
    "rationale": with_rationale,
    "critique": critiques,
    "self-rationalization": among_judgements,
}
