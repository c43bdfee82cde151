"""What a rationale must be, told without another model: long enough, about these answers, in its own words, quoting what is there."""

from typing import Final

import polars as pl

from pipeline.config import RationalesConfig
from pipeline.prompts import answer_text, conversation_text
from pipeline.rationale.copies import containment, missing_quotes
from pipeline.rationale.label import names_label, without_label
from pipeline.rationale.sides import names_place

MAX_COPIED_SHARE: Final = 0.8  # of a rationale's word 5-grams, in the prompt or one answer
MIN_COPIES: Final = 3  # other prompts whose rationale says the same
ARGUED: Final = ("general", "detailed", "stated")  # kinds that argue for a side in prose
UNCHECKED: Final = ("factors",)  # measured, so there is nothing to check

# Reasons for which another answer to the same question may be better. That a rationale argues for the other side is none of them:
# asking until it argues for the label would select for saying what one wants to hear.
REPAIRABLE: Final = (
    "cut_off",
    "not_json",
    "wrong_schema",
    "too_short",
    "too_long_text",
    "names_a_side",
    "boilerplate",
    "copies_prompt",
    "copies_answer",
    "quote_not_found",
    "only_the_label",
)

# At the start alone: a rationale may well say of an answer that "I cannot help with that" is all it says.
_REFUSAL: Final = (
    r"(?i)\A\W*(?:(?:i['’]?m |i am |we are )?(?:sorry|afraid|unable to|not able to|apolog)|as an? (?:ai|language model|large language)"  # noqa: RUF001
    r"|(?:i|we) (?:cannot|can['’]?t|won['’]?t|will not|must decline to|am unable to|am not able to)"  # noqa: RUF001
    r" (?:help|assist|compare|evaluate|judge|provide|comply|fulfill?|answer|engage|write|continue)|抱歉|对不起|很抱歉)"
)
_BOILERPLATE: Final = (
    r"(?i)<<<DATA [0-9a-f]{16}|DATA [0-9a-f]{16}>>>|\[(?:rationale|reasons?|explanation)(?: here)?\]"
    r"|\A\W*(?:rationale|reasons?|explanation|n/?a|none|string|text)\W*\z|\b(?:rationale|reasons?) goe?s? here\b|\blorem ipsum\b"
)
# Letters of a script, and what share of the letters makes a text one of it.
_SCRIPTS: Final = (
    r"\p{Latin}",
    r"\p{Han}\p{Hiragana}\p{Katakana}",
    r"\p{Hangul}",
    r"\p{Cyrillic}",
    r"\p{Arabic}",
    r"\p{Devanagari}",
    r"\p{Greek}",
)
_MAIN_SHARE: Final = 0.5
_SCRIPT_CHARS: Final = 500  # of a text, which tell


def check(drafts: pl.DataFrame, pairs: pl.DataFrame, config: RationalesConfig) -> pl.DataFrame:
    """Look at the accepted rationales, whoever wrote them.

    Args:
        drafts: schema RATIONALE, in any order. Rows that are not accepted, and `factors`, stay as they are.
        pairs: PAIR's pair_id, prompt, chosen and rejected, of at least their pairs.
        config: min_chars and max_chars of a text.

    Returns:
        The rows in their order with `accepted`, `reason`, `detail` and `leaks_label`. The first reason that applies, of: refused,
        boilerplate, too_short, too_long_text, names_a_side (by place; order cannot be undone), only_the_label (no sentence gives
        another reason), copies_prompt and copies_answer (at least 80 % of the word 5-grams), quote_not_found (a quote of at least 4
        words stands neither in the answers nor in the prompt). `leaks_label`: some sentence names the label. `detail` of an accepted
        one says where it is written in another script than the answers; nothing else comes of that.
    """
    rows = drafts.with_row_index("_row")
    looked = rows.filter(pl.col("accepted") & ~pl.col("kind").is_in(UNCHECKED)).select("_row", "pair_id", "kind", "text")
    texts = pairs.select("pair_id", prompt=conversation_text("prompt"), chosen=answer_text("chosen"), rejected=answer_text("rejected"))
    looked = looked.join(texts, on="pair_id", how="left", maintain_order="left").with_columns(pl.col("text").fill_null(""))
    argued, said = pl.col("kind").is_in(ARGUED), pl.col("text")
    looked = looked.with_columns(
        _leaks=pl.when(argued).then(names_label(said)),
        _left=~argued | without_label(said).is_not_null(),
        _script=(_script(said) != _script(pl.col("chosen"))).fill_null(False),
    )
    for found in (containment(looked), missing_quotes(looked)):
        looked = looked.join(found, on="_row", how="left", maintain_order="left")
    in_answer = pl.max_horizontal("in_chosen", "in_rejected")
    length = said.str.len_chars()
    reasons = {
        "refused": (said.str.contains(_REFUSAL), pl.lit(None)),
        "boilerplate": (said.str.contains(_BOILERPLATE), pl.lit(None)),
        "too_short": (length < config.min_chars, pl.format("{} characters", length)),
        "too_long_text": (length > config.max_chars, pl.format("{} characters", length)),
        "names_a_side": (names_place(said), pl.lit("by its place")),
        "only_the_label": (~pl.col("_left"), pl.lit(None)),
        "copies_prompt": (pl.col("in_prompt") >= MAX_COPIED_SHARE, _share("in_prompt")),
        "copies_answer": (in_answer >= MAX_COPIED_SHARE, pl.format("{} of its word 5-grams", in_answer.round(2))),
        "quote_not_found": (pl.col("missing").is_not_null(), pl.col("missing")),
    }
    told = looked.select(
        "_row",
        "_leaks",
        _reason=pl.coalesce([*(pl.when(applies).then(pl.lit(name)) for name, (applies, _) in reasons.items()), pl.lit(None, pl.String)]),
        _detail=pl.coalesce(
            [
                *(pl.when(applies).then(pl.coalesce(detail.cast(pl.String), pl.lit(""))) for applies, detail in reasons.values()),
                pl.when("_script").then(pl.lit("another script than the answers")),
                pl.lit(None, pl.String),
            ]
        ),
    )
    joined = rows.join(told, on="_row", how="left", maintain_order="left")
    return joined.with_columns(
        accepted=pl.col("accepted") & pl.col("_reason").is_null(),
        reason=pl.coalesce("reason", "_reason"),
        detail=pl.coalesce("detail", pl.when(pl.col("_detail") != "").then("_detail")),
        leaks_label=pl.coalesce("_leaks", "leaks_label"),
    ).select(drafts.columns)


def near_copies_texts(drafts: pl.DataFrame) -> pl.DataFrame:
    """The texts whose near copies are looked for: rationale_id, prompt_id, text of those accepted that argue in prose, sorted."""
    argued = drafts.filter(pl.col("accepted") & pl.col("kind").is_in(ARGUED))
    return argued.select("rationale_id", "prompt_id", "text").sort("rationale_id")


def settle_copies(drafts: pl.DataFrame, counts: pl.DataFrame, most: int = MIN_COPIES) -> pl.DataFrame:
    """Refuse what is said of many prompts.

    Args:
        drafts: schema RATIONALE, in any order.
        counts: rationale_id, near_copies (Int64): other prompts with a rationale that says the same, over the whole dataset. Those that
            are not there have none.
        most: from so many other prompts on, a rationale is refused.

    Returns:
        The rows in their order with `near_copies`, and the reason `near_copy` where there were none before.
    """
    rows = drafts.drop("near_copies").join(
        counts.select("rationale_id", "near_copies"), on="rationale_id", how="left", maintain_order="left"
    )
    rows = rows.with_columns(pl.col("near_copies").fill_null(0).cast(pl.Int64))
    copied = pl.col("accepted") & (pl.col("near_copies") >= most)
    return rows.with_columns(
        accepted=pl.col("accepted") & ~copied,
        reason=pl.when(copied).then(pl.lit("near_copy")).otherwise("reason"),
        detail=pl.when(copied).then(pl.format("the same is said of {} other prompts", "near_copies")).otherwise("detail"),
    ).select(drafts.columns)


def _share(column: str) -> pl.Expr:
    return pl.format("{} of its word 5-grams", pl.col(column).round(2))


def _script(text: pl.Expr) -> pl.Expr:
    """The script (its place in `_SCRIPTS`) that has at least half of the letters; null: none has."""
    start = text.str.slice(0, _SCRIPT_CHARS)
    letters = start.str.count_matches(r"\p{L}")
    found = [
        pl.when((letters > 0) & (start.str.count_matches(f"[{signs}]") >= letters * _MAIN_SHARE)).then(pl.lit(place))
        for place, signs in enumerate(_SCRIPTS)
    ]
    return pl.coalesce(found)
