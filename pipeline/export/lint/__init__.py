"""Which rows a trainer would drop, cut or misread, before anyone wastes a GPU on them.

`check` looks at pairs that an export writes; a profile says what their trainer does. What the export itself leaves out is the format's
`dropped`. The command is `prefine lint`.
"""

import polars as pl

from pipeline.export.lint.counting import COUNTS, Rendering, count
from pipeline.export.lint.findings import Finding, Tally
from pipeline.export.lint.profiles import PROFILES, Profile
from pipeline.export.messages import SIDES
from pipeline.signals.truncation import Tokenizer

__all__ = ["PROFILES", "READS", "Finding", "Profile", "Rendering", "Tally", "check"]

READS = ("pair_id", *SIDES, "tools", "weight", "margin", "p_soft")
_SLACK = 16  # tokens that some tokenizers and trainers put to a text
_CERTAIN = 0.9  # P(label right) below which a verdict is not called certain


def check(
    pairs: pl.DataFrame, profile: Profile, rendering: Rendering, tokenizer: Tokenizer, max_length: int | None, *,
    may_shrink: bool = False,
) -> tuple[pl.DataFrame, int]:  # fmt: skip
    """Flag pairs.

    Args:
        pairs: with the columns READS, that the export writes; in any order.
        profile: of the trainer.
        rendering: how it writes conversations.
        tokenizer: what counts tokens.
        max_length: the window, tokens; None: there is none.
        may_shrink: the tokenizer may make fewer bytes of a text than it has tokens (it normalises), so that all are counted.

    Returns:
        `pair_id`, and one Boolean column a reason; and the tokens of the longest conversation counted, 0 when none was.
    """
    texts = rendering.texts(pairs, prompts_only=profile.prompt_alone)
    counts = count(texts, tokenizer, None if may_shrink else max(0, max_length - _SLACK)) if max_length is not None else None
    table = pl.concat([pairs.select(READS), texts, *([] if counts is None else [counts])], how="horizontal")
    rules = _structure(profile, rendering)
    if max_length is not None:
        rules |= profile.window(max_length)
    longest = 0 if counts is None else counts.select(pl.max_horizontal(pl.max(*COUNTS[2:4]))).item() or 0
    flags = table.select("pair_id", *(applies.fill_null(False).alias(reason) for reason, applies in rules.items()))
    return flags, int(longest)


def _structure(profile: Profile, rendering: Rendering) -> dict[str, pl.Expr]:
    """Rules that need no count of tokens."""
    prompt, chosen, rejected = (pl.col(f"{side}_text") for side in SIDES)
    roles = pl.col("prompt").list.eval(pl.element().struct.field("role"))
    twice = roles.list.eval((pl.element() == pl.element().shift(1)) & pl.element().is_in(["user", "assistant"])).list.any()
    refused = prompt.is_null() if profile.prompt_alone else pl.any_horizontal(one.is_null() for one in (prompt, chosen, rejected))
    system = (pl.col("lost") == "system").fill_null(False)
    rules = {
        "template_refused": refused & ~system,
        "system_turn_unsupported": system,
        "turn_lost": pl.col("lost") == "turn",
        "tools_lost": pl.col("lost") == "tools",
        "roles_do_not_alternate": twice & ~refused,
        "weight_ignored": (pl.col("weight") - 1).abs() > 1e-6,
        "margin_ignored": pl.col("margin") < 1,
        "soft_label_ignored": pl.col("p_soft") < _CERTAIN,
    }
    if profile.prompt_alone:
        return {name: rules[name] for name in ("template_refused", "system_turn_unsupported", "turn_lost", "tools_lost")}
    for name, column in {"weight_ignored": "weight", "margin_ignored": "margin", "soft_label_ignored": "soft"}.items():
        if column in profile.reads:
            del rules[name]
    if rendering.is_exact:
        rules["prompt_end_lost"] = ~(chosen.str.starts_with(prompt) & rejected.str.starts_with(prompt))
    if profile.finds_answer and (found := rendering.before_answer()) is not None:
        rules["answer_cut_wrongly"] = _misfound(*found)
    return rules


def _misfound(before: str, trims: bool) -> pl.Expr:
    """axolotl: an answer that also stands in what comes before it, or whose white space the template takes away."""
    said = [pl.col(side).list.first().struct.field("content").fill_null("") for side in SIDES[1:]]
    early = [pl.lit(before).str.contains(one, literal=True) for one in said]
    padded = [one.str.strip_chars() != one for one in said] if trims else []
    return pl.any_horizontal(*early, *padded)
