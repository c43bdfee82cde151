"""Questions to a model that writes rationales: four kinds, each with a template, a schema, and an order of the answers per pair.

general and detailed: the two published kinds (Data-Centric Human Preference Optimization with Rationales, 2024). rubric: criterion, five
levels and a reference, 1 to 5 for each answer (Prometheus, 2023). checklist: yes or no questions (TICK, 2024). The first two are told
which answer was preferred where `labels: shown`; the last two never are, since they score, and a score given with the label in view
tells nothing.
"""

from typing import Any, Final

import polars as pl

from pipeline.config import EndpointConfig, RationalesConfig
from pipeline.llm.tables import Form
from pipeline.prompts import Template, answer_text, chosen_first, conversation_text, form_of, load_template, render, requests, shorten
from pipeline.rationale.checks import REPAIRABLE
from pipeline.rationale.sides import has_letters
from pipeline.stage import StageResult

PROSE: Final = ("general", "detailed")
VERDICT: Final[dict[str, Any]] = {"type": "string", "enum": ["A", "B", "tie"]}
_TEXT: Final[dict[str, Any]] = {"type": "string"}
_SCORE: Final[dict[str, Any]] = {"type": "integer", "minimum": 1, "maximum": 5}
_ITEMS: Final[dict[str, Any]] = {"type": "array", "minItems": 5, "maxItems": 10}
_YES_NO: Final[dict[str, Any]] = {**_ITEMS, "items": {"type": "string", "enum": ["yes", "no"]}}
_PROPERTIES: Final[dict[str, dict[str, Any]]] = {
    "general": {"rationale": _TEXT},
    "detailed": {"rationale": _TEXT},
    "rubric": {"feedback": _TEXT, "score_a": _SCORE, "score_b": _SCORE},
    "checklist": {"questions": {**_ITEMS, "items": _TEXT}, "answers_a": _YES_NO, "answers_b": _YES_NO},
}
_HIDDEN: Final = '- "verdict": going by these reasons, "A" or "B", the better response, or "tie" where neither is better.'
RUBRIC: Final[dict[str, pl.DataType]] = {"criterion": pl.String(), "levels": pl.List(pl.String), "reference": pl.String()}
# What a second attempt is told of the first.
_NOTES: Final = {
    "cut_off": "it was cut off: be shorter",
    "not_json": "it was not one JSON object and nothing else",
    "wrong_schema": "it did not have exactly the fields that are asked for",
    "too_short": "it was too short",
    "too_long_text": "it was too long",
    "names_a_side": 'it did not always call the responses "Response A" and "Response B"',
    "boilerplate": "it said nothing about these two responses",
    "copies_prompt": "it repeated the conversation",
    "copies_answer": "it repeated a response",
    "quote_not_found": "it quoted what is written nowhere in the texts: quote word for word, or not at all",
    "only_the_label": "it said which response is better and gave no reason besides",
}
# What `ask` adds to a request, so that its answer can be read without the pair.
ASKED: Final = pl.Schema(
    {
        "prompt_id": pl.String,
        "kind": pl.String,
        "template": pl.String,
        "shown_first": pl.String,  # chosen or rejected
        "label_shown": pl.Boolean,
        "lettered": pl.Boolean,  # the data has options of its own that are called A or B
        "rubric": pl.String,  # JSON: criterion, levels, reference; null but for rubrics
    }
)


def form(kind: str, config: RationalesConfig) -> Form:
    """How a kind is asked for: its template and schema, at the config's temperature and length."""
    return form_of(load_template(f"rationale-{kind}"), schema_of(kind, config), config.temperature, config.max_output_tokens)


def schema_of(kind: str, config: RationalesConfig) -> dict[str, Any]:
    """JSON schema of a kind's answer; a writer of general or detailed ones that is not told the label also says its own verdict."""
    properties = dict(_PROPERTIES[kind])
    if kind in PROSE and config.labels == "hidden":
        properties["verdict"] = VERDICT
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def ask(
    pairs: pl.DataFrame,
    kind: str,
    config: RationalesConfig,
    endpoint: EndpointConfig,
    sample: int = 0,
    again: pl.DataFrame | None = None,
) -> StageResult:
    """Ask for rationales of one kind.

    Which answer is Response A follows from the content of the pair: either one about half of the time, and the same one if the label
    were the other way round.

    Args:
        pairs: PAIR's pair_id, prompt_id, criterion, context, prompt, chosen, rejected, chosen_id, rejected_id, in any order.
        kind: general, detailed, rubric or checklist.
        config: labels, rubrics, what to do with long texts, max_output_tokens.
        endpoint: the writer's.
        sample: 0 and up; another number asks again.
        again: schema RATIONALE, what earlier samples gave, the last one last: only those whose last reason is one of
            `checks.REPAIRABLE`, where nothing was accepted, are asked again, and told why.

    Returns:
        kept: REQUESTS plus ASKED, sorted by pair_id: one row a pair, or one a pair and rubric. dropped: the pairs' pair_id, prompt_id,
        kind, template, rubric, `reason` (too_long) and `detail`.
    """
    template = load_template(f"rationale-{kind}")
    shown = kind in PROSE and config.labels == "shown"
    first = pl.when("chosen_first").then(pl.lit("chosen")).otherwise(pl.lit("rejected"))
    rows = pairs.with_columns(chosen_first(pairs, f"rationale-{kind}")).sort("pair_id")
    rows = letters(rows).with_columns(
        kind=pl.lit(kind), template=pl.lit(f"{template.name}-{template.version}"), shown_first=first, label_shown=pl.lit(shown)
    )  # fmt: skip
    rows = rows.join(rubrics(kind, config), how="cross", maintain_order="left")
    rows = rows.with_columns(note=pl.lit("")) if again is None else _repaired(rows, again)
    fitting = fit(rows, template, config, endpoint, config.max_output_tokens, ["rubric_text"])
    preferred = pl.when("chosen_first").then(pl.lit("A")).otherwise(pl.lit("B"))
    label = pl.format("People who compared the two preferred Response {}.\n\n", preferred) if shown else pl.lit("")
    words: dict[str, pl.Expr | str] = {"note": pl.col("note")}
    if kind in PROSE:
        words |= {"label": label, "verdict": "" if shown else _HIDDEN}
    slots = {**slots_of(), **({"rubric": pl.col("rubric_text")} if kind == "rubric" else {})}
    told = requests(fitting.kept, form(kind, config), template, render(fitting.kept, template, slots, words), sample)
    left = fitting.dropped.select("pair_id", "prompt_id", "kind", "template", "rubric", "reason", "detail")
    return StageResult(told.hstack(fitting.kept.select(ASKED.names()).cast(ASKED).get_columns()), left)  # type: ignore[arg-type, unused-ignore]


def letters(pairs: pl.DataFrame) -> pl.DataFrame:
    """Add the texts that a model gets to see: prompt_text, response_a, response_b, by `chosen_first`; and `lettered`."""
    texts = pairs.with_columns(prompt_text=conversation_text("prompt"), _chosen=answer_text("chosen"), _rejected=answer_text("rejected"))
    return texts.with_columns(
        response_a=pl.when("chosen_first").then("_chosen").otherwise("_rejected"),
        response_b=pl.when("chosen_first").then("_rejected").otherwise("_chosen"),
        lettered=pl.any_horizontal(has_letters(pl.col(name)) for name in ("prompt_text", "_chosen", "_rejected")),
        criterion_text=pl.when(pl.col("criterion") != "overall").then("criterion"),
    ).drop("_chosen", "_rejected")


def slots_of() -> dict[str, pl.Expr]:
    """The slots that every template here has, from the columns that `letters` adds."""
    named = {name: name for name in ("response_a", "response_b", "context")} | {"prompt": "prompt_text", "criterion": "criterion_text"}
    return {slot: pl.col(column) for slot, column in named.items()}


def fit(
    rows: pl.DataFrame, template: Template, config: RationalesConfig, endpoint: EndpointConfig, max_output_tokens: int, others: list[str]
) -> StageResult:
    """Make the rows of `letters` fit a model's context, as the config says."""
    return shorten(
        rows, template, prompt="prompt_text", answers=["response_a", "response_b"], others=["context", "criterion_text", *others],
        context_tokens=endpoint.context_tokens, max_output_tokens=max_output_tokens, too_long=config.too_long,
    )  # fmt: skip


def rubrics(kind: str, config: RationalesConfig) -> pl.DataFrame:
    """One row a rubric: rubric (JSON of criterion, levels, reference) and rubric_text; one row of nulls for other kinds."""
    if kind != "rubric":
        return pl.DataFrame({"rubric": [None], "rubric_text": [None]}, schema={"rubric": pl.String, "rubric_text": pl.String})
    table = pl.DataFrame([one.model_dump() for one in config.rubrics], schema=RUBRIC)
    levels = pl.concat_str([pl.format("{}: {}", pl.lit(i + 1), pl.col("levels").list.get(i)) for i in range(5)], separator="\n")
    reference = pl.when(pl.col("reference").is_not_null()).then(pl.format("\n\nA response that deserves a 5:\n{}", "reference"))
    return table.select(
        rubric=pl.struct(*RUBRIC).struct.json_encode(),
        rubric_text=pl.concat_str("criterion", pl.lit("\n"), levels, reference.fill_null("")),
    )


def _repaired(rows: pl.DataFrame, drafts: pl.DataFrame) -> pl.DataFrame:
    """The rows whose attempts were refused for what another attempt may mend, with a `note` that says why."""
    by = ["pair_id", "kind", "rubric"]
    tried = drafts.with_columns(rubric=pl.when(pl.col("kind") == "rubric").then(rubric_of(pl.col("items"))))
    done = tried.group_by(by).agg(pl.col("accepted").any(), pl.col("reason").last())
    open_ = done.filter(~pl.col("accepted") & pl.col("reason").is_in(REPAIRABLE)).drop("accepted")
    note = pl.format("An earlier answer could not be used: {}.\n\n", pl.col("reason").replace_strict(_NOTES, return_dtype=pl.String))
    return rows.join(open_.with_columns(note=note).drop("reason"), on=by, nulls_equal=True, maintain_order="left")


def rubric_of(items: pl.Expr) -> pl.Expr:
    """The rubric in the `items` of a rationale, as `rubrics` writes it."""
    return items.str.json_decode(pl.Struct(RUBRIC)).struct.json_encode()
