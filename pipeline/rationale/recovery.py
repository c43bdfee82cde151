"""Whether a reader who is not told the label can tell it from the rationale.

After GPT Self-Supervision (2023), which scores a summary by how well the original can be recovered from it.

Asked twice, each answer standing first once: a reader that names the same place both times has told nothing of the rationale.
"""

from typing import Any, Final

import polars as pl

from pipeline.config import EndpointConfig, RationalesConfig
from pipeline.llm.tables import Form
from pipeline.prompts import fields, form_of, load_template, read_json, render, requests
from pipeline.rationale.asking import VERDICT, fit, letters, slots_of
from pipeline.rationale.checks import ARGUED
from pipeline.rationale.label import without_label
from pipeline.rationale.reading import verdict_side
from pipeline.rationale.sides import show_sides
from pipeline.stage import StageResult

_TEMPLATE: Final = "recover-verdict"
_MAX_OUTPUT_TOKENS: Final = 64
SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"verdict": VERDICT},
    "required": ["verdict"],
    "additionalProperties": False,
}


def form() -> Form:
    """How verdicts are asked for: always at temperature 0, whatever the rationales were written at."""
    return form_of(load_template(_TEMPLATE), SCHEMA, temperature=0.0, max_output_tokens=_MAX_OUTPUT_TOKENS)


def ask(drafts: pl.DataFrame, pairs: pl.DataFrame, config: RationalesConfig, endpoint: EndpointConfig, chosen_first: bool) -> StageResult:
    """Ask which answer each accepted rationale speaks for.

    The label is hidden: the answers are Response A and B again, and sentences that name the label are left out.

    Args:
        drafts: schema RATIONALE, in any order; those accepted that argue in prose (general, detailed, stated) are asked about, as
            `checks.check` left them.
        pairs: PAIR rows of at least their pairs, with the columns that `asking.ask` takes.
        config: what to do with long texts.
        endpoint: the reader's.
        chosen_first: whether the chosen answer is shown as Response A.

    Returns:
        kept: REQUESTS plus rationale_id, chosen_first, sorted by rationale_id. dropped: rationale_id, pair_id, `reason` (too_long),
        `detail`.
    """
    asked = drafts.filter(pl.col("accepted") & pl.col("kind").is_in(ARGUED)).select("rationale_id", "pair_id", "text")
    rows = asked.join(pairs, on="pair_id").sort("rationale_id").with_columns(chosen_first=pl.lit(chosen_first))
    rows = rows.with_columns(text=show_sides(without_label(pl.col("text")), pl.col("chosen_first")))
    template = load_template(_TEMPLATE)
    fitting = fit(letters(rows.filter(pl.col("text").is_not_null())), template, config, endpoint, _MAX_OUTPUT_TOKENS, ["text"])
    said = render(fitting.kept, template, {**slots_of(), "rationale": pl.col("text")})
    told = requests(fitting.kept, form(), template, said)
    return StageResult(
        told.hstack(fitting.kept.select("rationale_id", "chosen_first").get_columns()),
        fitting.dropped.select("rationale_id", "pair_id", "reason", "detail"),
    )


def read(drafts: pl.DataFrame, asked: pl.DataFrame, answers: pl.DataFrame) -> pl.DataFrame:
    """Put the verdicts that readers gave beside their rationales.

    Args:
        drafts: schema RATIONALE, in any order.
        asked: what `ask` kept, of one order.
        answers: ANSWERS, at most one for each key; more than are asked for may be there.

    Returns:
        The rows in their order with `recovered_first` or `recovered_second` (chosen, rejected or tie; as it was where there is no
        answer, or none that can be read), and the readers' tokens and cost added to the writer's.
    """
    heard = asked.select("rationale_id", "key", "chosen_first").join(answers.drop("bucket", strict=False), on="key", maintain_order="left")
    valid = read_json(heard["text"], SCHEMA)
    verdict = fields(valid["value"], SCHEMA)["verdict"]
    told = heard.with_columns(_verdict=verdict_side(pl.lit(verdict), pl.col("chosen_first")))
    spent = ["input_tokens", "output_tokens", "cost"]
    told = told.select("rationale_id", "chosen_first", "_verdict", *(pl.col(name).alias(f"_{name}") for name in spent))
    joined = drafts.join(told, on="rationale_id", how="left", maintain_order="left")
    first, second = pl.when("chosen_first").then("_verdict"), pl.when(~pl.col("chosen_first")).then("_verdict")
    return joined.with_columns(
        recovered_first=pl.coalesce(first, "recovered_first"),
        recovered_second=pl.coalesce(second, "recovered_second"),
        **{name: pl.col(name) + pl.col(f"_{name}").fill_null(0) for name in spent},
    ).select(drafts.columns)


def settle(drafts: pl.DataFrame) -> pl.DataFrame:
    """Refuse the rationales from which readers do not recover the label in both orders.

    Args:
        drafts: schema RATIONALE, in any order, after both calls of `read`.

    Returns:
        The rows in their order. Of those accepted that argue in prose get a `reason`: not_verified (a verdict is missing),
        order_changes_verdict (the two differ), verdict_not_recovered (both are for the rejected answer, or ties, which are no
        agreement). Others stay as they are: a rubric and a checklist were scored without the label.
    """
    first, second = pl.col("recovered_first"), pl.col("recovered_second")
    open_ = pl.col("accepted") & pl.col("kind").is_in(ARGUED)
    reason = (
        pl.when(~open_).then("reason")
        .when(first.is_null() | second.is_null()).then(pl.lit("not_verified"))
        .when(first != second).then(pl.lit("order_changes_verdict"))
        .when(first != "chosen").then(pl.lit("verdict_not_recovered"))
    )  # fmt: skip
    detail = pl.format("readers say {} and {}", first.fill_null("nothing"), second.fill_null("nothing"))
    settled = drafts.with_columns(_reason=reason)
    changed = open_ & pl.col("_reason").is_not_null()
    return settled.with_columns(
        accepted=pl.col("accepted") & ~changed, reason="_reason", detail=pl.when(changed).then(detail).otherwise("detail")
    ).select(drafts.columns)
