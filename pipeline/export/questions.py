"""What a judge that is trained on exported rows is asked: a conversation and its answers, under labels, and a task.

Data goes between tags in one pass, and nothing in it is looked for: a prompt that holds tags or tasks changes no other part. What a
tokenizer would read as the end of a turn is broken (`pipeline.prompts.shown`), in questions alone.
"""

from typing import Final

import polars as pl

from pipeline.prompts import answer_text, conversation_text, shown
from pipeline.prompts import chosen_first as drawn
from pipeline.rationale.sides import A, B

VERDICT: Final = "Verdict: "
DECIDE: Final = f"Which response is better, {A} or {B}? Explain, then end with one line: {VERDICT}{A}, {VERDICT}{B}, or {VERDICT}tie."
SCORES: Final = f"Scores: {A} {{}}, {B} {{}}"
READS: Final = ("pair_id", "prompt", "chosen", "rejected", "chosen_id", "rejected_id", "criterion", "context", "weight")


def with_texts(pairs: pl.DataFrame) -> pl.DataFrame:
    """Pairs and what the questions need: `_conversation`, `_chosen`, `_rejected` (texts), `_about`, `chosen_first`.

    Args:
        pairs: with the columns of READS.

    Returns:
        All columns, and `chosen_first`: whether the chosen answer is Response A. It follows from the pair's id and the answers' ids, in
        about half of the pairs, and not from which of them won.
    """
    overall = pl.col("criterion") == "overall"
    about = pl.concat_str(
        pl.when(~overall).then(pl.format("\n\nJudge by this criterion alone: {}", "criterion")).otherwise(pl.lit("")),
        pl.when(pl.col("context").is_not_null()).then(pl.format("\n\nBear in mind: {}", "context")).otherwise(pl.lit("")),
    )
    return pairs.with_columns(
        _conversation=shown(conversation_text("prompt")),
        _chosen=shown(answer_text("chosen")),
        _rejected=shown(answer_text("rejected")),
        _about=shown(about),
        chosen_first=drawn(pairs, "export"),
    )


def compared(task: pl.Expr, chosen_first: pl.Expr) -> pl.Expr:
    """A conversation, both answers as Response A and Response B, and a task about them; of a table `with_texts`."""
    a = pl.when(chosen_first).then("_chosen").otherwise("_rejected")
    b = pl.when(chosen_first).then("_rejected").otherwise("_chosen")
    conversation, first, second = _tagged("conversation", pl.col("_conversation")), _tagged("response_a", a), _tagged("response_b", b)
    return pl.concat_str(conversation, pl.lit("\n\n"), first, pl.lit("\n\n"), second, pl.col("_about"), pl.lit("\n\n"), task)


def scoring() -> pl.Expr:
    """A task: score both answers by a rubric; of a table with `criterion`, `levels` (five texts) and `reference`."""
    levels = [pl.format(f"\n{place + 1}: {{}}", pl.col("levels").list.get(place, null_on_oob=True)) for place in range(5)]
    reference = pl.when(pl.col("reference").is_not_null()).then(pl.format("\n\nA response that deserves a 5:\n{}", "reference"))
    told = f"\n\nExplain, then end with one line, with numbers for n: {SCORES.format('n', 'n')}."
    return pl.concat_str(
        pl.lit(f"Score {A} and {B} from 1 to 5 by this rubric: "), "criterion", *levels, reference.fill_null(""), pl.lit(told)
    )


def ended(text: pl.Expr, last: pl.Expr) -> pl.Expr:
    """What a judge wrote, and its last line."""
    return pl.concat_str(text.str.strip_chars(), pl.lit("\n\n"), last)


def _tagged(tag: str, text: pl.Expr) -> pl.Expr:
    return pl.concat_str(pl.lit(f"<{tag}>\n"), text, pl.lit(f"\n</{tag}>"))
