"""Pairs for people: what annotation tools load, with the published label as a suggestion to confirm or correct.

`argilla`: records as `Record.from_dict` takes them (argilla-io/argilla, argilla/src/argilla/records/_resource.py), one JSON object a line,
and `argilla_load.py`, which makes the data set and sends them. `label-studio`: tasks with a prediction, one a line, which Label Studio
reads from a source storage (HumanSignal/label-studio, label_studio/io_storages/utils.py), for the labelling interface of
`pipeline.routing`; an upload by hand takes a JSON list instead (`jq -s . train-*.jsonl`). Which answer stands first is drawn from the
pair's content, and does not depend on the label.

`prefine queue` picks the pairs that deserve a vote most; these formats are all of a version.
"""

from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.export.form import Content, Facts, Format, Options
from pipeline.export.frameworks.files import first_line
from pipeline.export.messages import SPOKEN, says, spoken
from pipeline.prompts import answer_text, chosen_first, conversation_text
from pipeline.routing import LABEL_STUDIO_CONFIG
from pipeline.stage import StageResult, split_by_reason

READS: Final = (
    "pair_id", "prompt_id", "criterion", "context", "prompt", "tools", "chosen", "rejected", "chosen_id", "rejected_id", "p_chosen",
    "p_tie", "n_votes", "sources", "split",
)  # fmt: skip
EVERYTHING: Final[frozenset[Content]] = frozenset({"tools", "tool_calls", "turns", "no_prompt"})
_TEXT: Final = pa.string()
_SUGGESTION: Final = pa.struct([("value", _TEXT), ("score", pa.float64()), ("agent", _TEXT)])
ARGILLA: Final = pa.schema(
    [
        pa.field("id", _TEXT, nullable=False),  # the pair's
        pa.field("fields", pa.struct([("prompt", SPOKEN), ("response_1", SPOKEN), ("response_2", SPOKEN)]), nullable=False),
        pa.field(
            "metadata",
            pa.struct([("criterion", _TEXT), ("source", _TEXT), ("split", _TEXT), ("votes", pa.int64()), ("p_tie", pa.float64())]),
            nullable=False,
        ),
        pa.field("suggestions", pa.struct([("preference", _SUGGESTION)]), nullable=False),
    ]
)
_TURNS: Final = pa.list_(pa.struct([("role", _TEXT), ("content", _TEXT)]))
_RESULT: Final = pa.struct(
    [("from_name", _TEXT), ("to_name", _TEXT), ("type", _TEXT), ("value", pa.struct([("choices", pa.list_(_TEXT))]))]
)
LABEL_STUDIO: Final = pa.schema(
    [
        pa.field(
            "data",
            pa.struct(
                [("pair_id", _TEXT), ("criterion", _TEXT), ("context", _TEXT), ("tools", _TEXT)]
                + [(name, _TURNS) for name in ("prompt", "response_a", "response_b")]
                + [("shown_first", _TEXT)]
            ),
            nullable=False,
        ),
        pa.field(
            "predictions",
            pa.list_(pa.struct([("model_version", _TEXT), ("score", pa.float64()), ("result", pa.list_(_RESULT))])),
            nullable=False,
        ),
    ]
)


def argilla(options: Options) -> Format:
    """Records for Argilla; see the module."""
    return Format(READS, ARGILLA, to_argilla, represents=EVERYTHING, file="jsonl", beside_files=loading)


def label_studio(options: Options) -> Format:
    """Tasks for Label Studio; see the module."""
    return Format(READS, LABEL_STUDIO, to_label_studio, represents=EVERYTHING, file="jsonl", beside_files=interface)


def to_argilla(pairs: pl.DataFrame) -> StageResult:
    """Records with two answers side by side.

    Args:
        pairs: with the columns READS, in any order.

    Returns:
        `kept`, of ARGILLA, in the order of the pairs: `suggestions.preference` names the chosen answer's field, with p_chosen as score.
        Calls of tools are shown as text. `dropped`: `identical_answers`, which nobody can tell apart.
    """
    drawn, dropped = _drawn(pairs)
    first, second = _sides(drawn)
    kept = drawn.select(
        id="pair_id",
        fields=pl.struct(prompt=_told("prompt", "user"), response_1=first, response_2=second),
        metadata=pl.struct(
            "criterion",
            pl.col("sources").list.first().fill_null("").alias("source"),
            "split",
            pl.col("n_votes").alias("votes"),
            "p_tie",
        ),
        suggestions=pl.struct(
            preference=pl.struct(
                value=pl.when("_chosen_first").then(pl.lit("response_1")).otherwise(pl.lit("response_2")),
                score="p_chosen",
                agent=pl.lit("prefine"),
            )
        ),
    )
    return StageResult(kept, dropped)


def to_label_studio(pairs: pl.DataFrame) -> StageResult:
    """Tasks with the published label as prediction.

    Args:
        pairs: with the columns READS, in any order.

    Returns:
        `kept`, of LABEL_STUDIO, in the order of the pairs; `dropped` as for `to_argilla`.
    """
    drawn, dropped = _drawn(pairs)
    first, second = _sides(drawn)
    choice = pl.when("_chosen_first").then(pl.lit("a")).otherwise(pl.lit("b"))
    result = pl.struct(
        from_name=pl.lit("winner"), to_name=pl.lit("shown_a"), type=pl.lit("choices"), value=pl.struct(choices=pl.concat_list(choice))
    )
    kept = drawn.select(
        data=pl.struct(
            "pair_id",
            "criterion",
            pl.col("context").fill_null(""),
            pl.col("tools").fill_null(""),
            _told("prompt", "user").alias("prompt"),
            first.alias("response_a"),
            second.alias("response_b"),
            pl.lit("a").alias("shown_first"),
        ),
        predictions=pl.concat_list(pl.struct(model_version=pl.lit("prefine"), score="p_chosen", result=pl.concat_list(result))),
    )
    return StageResult(kept, dropped)


def loading(facts: Facts) -> dict[str, bytes]:
    """`argilla_load.py`: makes the data set and sends the records."""
    return {"argilla_load.py": (first_line(facts) + _LOAD).encode()}


def interface(facts: Facts) -> dict[str, bytes]:
    """`label_studio.xml`: the labelling interface."""
    return {"label_studio.xml": LABEL_STUDIO_CONFIG.encode()}


_LOAD: Final = '''
"""Makes a data set in Argilla and sends it the records of this folder. Wants ARGILLA_API_URL and ARGILLA_API_KEY."""

import json
import os
import pathlib

import argilla as rg

here = pathlib.Path(__file__).parent
client = rg.Argilla(api_url=os.environ["ARGILLA_API_URL"], api_key=os.environ["ARGILLA_API_KEY"])
settings = rg.Settings(
    fields=[rg.ChatField(name="prompt"), rg.ChatField(name="response_1"), rg.ChatField(name="response_2")],
    questions=[rg.LabelQuestion(name="preference", labels=["response_1", "response_2", "tie"])],
    metadata=[
        rg.TermsMetadataProperty("criterion"), rg.TermsMetadataProperty("source"), rg.TermsMetadataProperty("split"),
        rg.IntegerMetadataProperty("votes"), rg.FloatMetadataProperty("p_tie"),
    ],
)
dataset = rg.Dataset(name=here.name, settings=settings, client=client)
dataset.create()
for path in sorted(here.glob("*.jsonl")):
    with path.open(encoding="utf-8") as lines:
        dataset.records.log([rg.Record.from_dict(json.loads(line)) for line in lines])
'''


def _drawn(pairs: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    done = split_by_reason(pairs, {"identical_answers": spoken("chosen") == spoken("rejected")})
    return done.kept.with_columns(chosen_first(done.kept, "people").alias("_chosen_first")), done.dropped


def _sides(drawn: pl.DataFrame) -> tuple[pl.Expr, pl.Expr]:
    chosen, rejected = _told("chosen", "assistant"), _told("rejected", "assistant")
    first = pl.col("_chosen_first")
    return pl.when(first).then(chosen).otherwise(rejected), pl.when(first).then(rejected).otherwise(chosen)


def _told(column: str, role: str) -> pl.Expr:
    """Turns as people read them: as they are, or, where they call tools or there are none, as one text."""
    said = pl.element().struct
    odd = pl.col(column).list.eval(said.field("tool_calls").is_not_null()).list.any() | (pl.col(column).list.len() == 0)
    text = conversation_text(column) if column == "prompt" else answer_text(column)
    filled = pl.col(column).list.eval(pl.struct(said.field("role"), said.field("content").fill_null("")))
    return pl.when(odd.fill_null(True)).then(says(role, text)).otherwise(filled)
