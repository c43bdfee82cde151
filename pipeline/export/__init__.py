"""Published pairs in the form that a trainer reads: one module a format.

A format is a pure function of the rows it is handed, so that shards are exported one after the other, each in parts of any size.
"""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from pipeline.export.trl import reads_of_trl, schema_of_trl, to_trl
from pipeline.stage import StageResult


@dataclass(frozen=True)
class Format:
    """What a format needs and gives.

    Attributes:
        reads: columns of PAIR.
        schema: of the rows it gives.
        convert: pairs with those columns, in any order -> `kept` of that schema, in the same order, and `dropped` with `reason`.
    """

    reads: tuple[str, ...]
    schema: pa.Schema
    convert: Callable[[pl.DataFrame], StageResult]


def trl(reference_logps: bool = False) -> Format:
    """TRL's explicit preference format; see `pipeline.export.trl`."""
    return Format(reads_of_trl(reference_logps), schema_of_trl(reference_logps), lambda pairs: to_trl(pairs, reference_logps))


FORMATS: dict[str, Callable[[bool], Format]] = {"trl": trl}
