"""Pairs -> questions to a judge, with their answers as Response A and Response B.

Two answers are shown in either order, because judges favour a place (FairEval and DMoERM, 2024). self_reference: the judge answers the
prompt itself and criticises both against that (Self-Reference AI feedback, 2024); checklist: it answers yes or no questions about each
(TICK, 2024). Whatever stands in the data is shown as data.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import polars as pl

from pipeline.config import EndpointConfig, JudgeConfig
from pipeline.judging.tables import ASKED, HIGH, LOW
from pipeline.llm.tables import Form
from pipeline.prompts import answer_text, conversation_text, form_of, load_template, order_first, render, requests, shorten
from pipeline.prompts.replies import strict
from pipeline.prompts.template import Template
from pipeline.stage import StageResult

Order = Literal["low", "high", "drawn"]  # who is shown first; drawn: by a hash of the pair

OVERALL: Final = "overall"
_TEMPLATES: Final = {"direct": "judge-direct", "self_reference": "judge-self-reference", "checklist": "judge-checklist"}
_META: Final = "judge-meta"
_META_TOKENS: Final = 256  # its template asks for 50 words


_TEXT: Final[Mapping[str, Any]] = {"type": "string"}
_YES: Final[Mapping[str, Any]] = {"type": "boolean"}
_VERDICT: Final[Mapping[str, Mapping[str, Any]]] = {
    "score_a": {"type": "integer", "minimum": 1, "maximum": 10},
    "score_b": {"type": "integer", "minimum": 1, "maximum": 10},
    "verdict": {"type": "string", "enum": ["A", "B", "tie"]},
    "strength": {"type": "string", "enum": ["none", "slight", "clear", "strong"]},
}
# Reasons come before the verdict: a model that writes them after it defends it.
SCHEMAS: Final = {
    "direct": strict(critique=_TEXT, **_VERDICT),
    "self_reference": strict(own_answer=_TEXT, critique=_TEXT, **_VERDICT),
    "checklist": strict(questions={"type": "array", "minItems": 1, "items": strict(question=_TEXT, a=_YES, b=_YES)}),
}
META_SCHEMA: Final = strict(problem=_TEXT, sound=_YES)


def form(config: JudgeConfig) -> Form:
    """How a judge is asked; without a stated temperature at 0, and at 1 for several samples, which would else be one."""
    temperature = config.temperature if config.temperature is not None else float(config.samples > 1)
    return form_of(load_template(_TEMPLATES[config.method]), SCHEMAS[config.method], temperature, config.max_output_tokens)


def meta_form() -> Form:
    """How a meta judge is asked."""
    return form_of(load_template(_META), META_SCHEMA, 0.0, _META_TOKENS)


def rounds(config: JudgeConfig) -> list[tuple[Order, int]]:
    """The orders and samples that a judge is asked in: what `ask` is called with, one after the other."""
    orders: list[Order] = ["low", "high"] if config.orders == "both" else ["drawn"]
    return [(order, sample) for sample in range(config.samples) for order in orders]


def ask(pairs: pl.DataFrame, config: JudgeConfig, endpoint: EndpointConfig, order: Order, sample: int) -> StageResult:
    """The questions about pairs, one for each criterion.

    Args:
        pairs: pair_id, prompt_id, prompt, tools, criterion, context, low, high; one row a pair, in any order.
        config: `method`, `criteria` (each pair's own, when empty), `max_output_tokens`.
        endpoint: `context_tokens`; longer questions are shortened by the rule of `prompts.shortening`.
        order: which answer is Response A.
        sample: 0 and up.

    Returns:
        `kept`: ASKED. `dropped`: pair_id, low_first, sample, criterion, reason (too_long), detail; `reading.unasked` makes verdicts of it.
    """
    template, asked = load_template(_TEMPLATES[config.method]), form(config)
    shown = _shown(_by_criterion(pairs, config.criteria), order, config.name)
    fitting = _fit(shown, template, endpoint, asked)
    messages = render(fitting.kept, template, {name: pl.col(f"_{name}") for name in template.slots})
    return StageResult(kept=_asked(fitting.kept, asked, template, messages, sample), dropped=_refused(fitting.dropped, sample))


def ask_meta(verdicts: pl.DataFrame, pairs: pl.DataFrame, endpoint: EndpointConfig) -> StageResult:
    """Questions to a meta judge: whether the words of each verdict hold.

    Args:
        verdicts: VERDICTS; those without a verdict, or without words, are not asked about.
        pairs: as for `ask`.
        endpoint: of the meta judge.

    Returns:
        `kept`: ASKED; samples in the same words are one question, with one key. `dropped`: as for `ask`; those verdicts are not
        reviewed.
    """
    template, asked = load_template(_META), meta_form()
    said = verdicts.filter(pl.col("verdict").is_not_null() & pl.col("rationale").is_not_null())
    said = said.select("pair_id", "low_first", "sample", "verdict", _critique="rationale", _by="criterion")
    first = pl.when("low_first").then(LOW).otherwise(HIGH)
    named = pl.when(pl.col("verdict") == 0).then(pl.lit("a tie")).when(pl.col("verdict") == first)
    spelled = named.then(pl.lit("Response A is better")).otherwise(pl.lit("Response B is better"))
    rows = said.join(pairs, on="pair_id", how="inner", maintain_order="left").with_columns(_verdict=spelled)
    fitting = _fit(_texts(rows), template, endpoint, asked, "_critique")
    data = [name for name in template.slots if name != "verdict"]
    messages = render(fitting.kept, template, {name: pl.col(f"_{name}") for name in data}, {"verdict": pl.col("_verdict")})
    return StageResult(kept=_asked(fitting.kept, asked, template, messages, 0), dropped=_refused(fitting.dropped, 0))


def _by_criterion(pairs: pl.DataFrame, criteria: list[str]) -> pl.DataFrame:
    each: list[str | None] = [*dict.fromkeys(criteria)] or [None]
    named = pl.DataFrame({"_by": each}, schema={"_by": pl.String})
    return pairs.join(named, how="cross", maintain_order="left_right")


def _shown(rows: pl.DataFrame, order: Order, judge: str) -> pl.DataFrame:
    """Rows with `low_first` and the texts of the template's slots, named `_<slot>`."""
    low_first = order_first(rows.get_column("pair_id"), f"judge {judge}") if order == "drawn" else pl.lit(order == "low")
    return _texts(rows.with_columns(low_first=low_first))


def _texts(rows: pl.DataFrame) -> pl.DataFrame:
    own = pl.when(pl.col("criterion") != OVERALL).then("criterion")
    texts = rows.with_columns(
        _prompt=conversation_text("prompt"),
        _low=answer_text("low"),
        _high=answer_text("high"),
        _criterion=pl.coalesce("_by", own),
        _context="context",
        _tools="tools",
    )
    sides = {"_response_a": ("_low", "_high"), "_response_b": ("_high", "_low")}
    return texts.with_columns(**{name: pl.when("low_first").then(one).otherwise(two) for name, (one, two) in sides.items()})


def _fit(rows: pl.DataFrame, template: Template, endpoint: EndpointConfig, asked: Form, *others: str) -> StageResult:
    return shorten(
        rows,
        template,
        prompt="_prompt",
        answers=["_response_a", "_response_b"],
        others=["_criterion", "_context", "_tools", *others],
        context_tokens=endpoint.context_tokens,
        max_output_tokens=asked.max_output_tokens,
    )


def _asked(rows: pl.DataFrame, asked: Form, template: Template, messages: pl.Series, sample: int) -> pl.DataFrame:
    made = requests(rows.select("pair_id", "prompt_id"), asked, template, messages, sample)
    return pl.concat([made, _which(rows, sample)], how="horizontal").select(ASKED.names())


def _refused(dropped: pl.DataFrame, sample: int) -> pl.DataFrame:
    return pl.concat([dropped.select("pair_id", "reason", "detail"), _which(dropped, sample)], how="horizontal")


def _which(rows: pl.DataFrame, sample: int) -> pl.DataFrame:
    """Which question a row is; that of a review has the sample of what it reviews."""
    number = pl.col("sample") if "sample" in rows.columns else pl.lit(sample)
    return rows.select("low_first", number.cast(pl.Int64).alias("sample"), criterion="_by")
