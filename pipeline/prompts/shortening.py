"""Questions longer than a model's context: shortened so that both answers stay comparable, or refused.

The rule: texts that are no prompt and no answer stay whole. The prompt loses its middle, down to a quarter of the room or `LEAST`
bytes, whichever is more. If that is not enough, the answers are cut to one common length: each keeps its beginning, L bytes with the
note, with the largest L at which they fit; an answer within L stays whole. The place says `[... 1200 characters left out ...]`. Where L
would be below `LEAST` bytes, the question is refused. A token is taken for three bytes of UTF-8, an estimate: a server may still refuse.
"""

from collections.abc import Sequence
from typing import Final, Literal

import polars as pl

from pipeline.prompts.rendering import FENCE_BYTES
from pipeline.prompts.template import Slot, Template
from pipeline.stage import StageResult

BYTES_PER_TOKEN: Final = 3
LEAST: Final = 300  # bytes of an answer below which there is nothing to compare
_NOTE: Final = 48  # bytes of the note about what is left out, at most
_MESSAGE: Final = 32  # bytes that a server puts around a message, about


def shorten(
    rows: pl.DataFrame,
    template: Template,
    *,
    prompt: str,
    answers: Sequence[str],
    others: Sequence[str] = (),
    context_tokens: int | None,
    max_output_tokens: int,
    too_long: Literal["shorten", "refuse"] = "shorten",
) -> StageResult:
    """Make questions fit a context.

    Args:
        rows: one question a row; the columns named below are texts as `data.conversation_text` gives them. Nulls count as empty.
        template: its own text takes room too.
        prompt: column of the prompt.
        answers: columns of the answers, one or two (of any orientation).
        others: columns of what else is put into the template; never cut.
        context_tokens: of the model, question and answer together; null: no limit.
        max_output_tokens: of an answer.
        too_long: refuse: nothing is cut.

    Returns:
        Kept: the rows with those columns cut, and `shortened` (Boolean). Dropped: the rows, whole, with `reason` too_long and
        `detail`, a sentence with the numbers.
    """
    size = rows.select(_bytes(prompt).alias("prompt"), *(_bytes(name).alias(f"answer_{i}") for i, name in enumerate(answers)),
                       others=pl.sum_horizontal([pl.lit(0, pl.Int64), *map(_bytes, others)]))  # fmt: skip
    each = pl.concat_list("^answer_.*$").list
    size = size.with_columns(answers=each.sum(), least=each.min(), most=each.max(), text=pl.sum_horizontal(pl.all()))
    # Without a limit there is room for whatever is there.
    space = None if context_tokens is None else (context_tokens - max_output_tokens) * BYTES_PER_TOKEN - _taken(template)
    size = size.with_columns(room=pl.col("text") - pl.col("others") if space is None else space - pl.col("others"))
    floor = pl.min_horizontal("prompt", pl.max_horizontal(pl.col("room") // 4, LEAST))
    size = size.with_columns(keep=(pl.col("room") - pl.col("answers")).clip(floor, pl.col("prompt")))
    size = size.with_columns(left=pl.col("room") - pl.col("keep"), fits=pl.col("prompt") + pl.col("answers") <= pl.col("room"))
    cut = pl.col("answers") > pl.col("left")
    share = pl.col("left") // len(answers)
    common = pl.when(pl.col("least") <= share).then(pl.col("left") - (len(answers) - 1) * pl.col("least")).otherwise(share)
    size = size.with_columns(limit=pl.when(cut).then(common).otherwise("most"))
    refused = size.select(~pl.col("fits") & (pl.lit(too_long == "refuse") | (cut & (pl.col("limit") < LEAST)))).to_series()
    told = pl.format(
        "{} bytes of text beside {} of the template; {} tokens less {} for the answer take about {} in all",
        size["text"], _taken(template), pl.lit(context_tokens), max_output_tokens, (space or 0) + _taken(template),
    )  # fmt: skip
    dropped = rows.with_columns(reason=pl.lit("too_long"), detail=told).filter(refused)
    limits = size.select("keep", "limit").rename(lambda name: f"_{name}")
    kept = rows.with_columns(~size["fits"].alias("shortened"), *limits).filter(~refused)
    texts = [_without_middle(prompt, pl.col("_keep")), *(_beginning(name, pl.col("_limit")) for name in answers)]
    return StageResult(kept.with_columns(texts).drop("_keep", "_limit"), dropped)


def _bytes(text: str) -> pl.Expr:
    return pl.col(text).str.len_bytes().cast(pl.Int64).fill_null(0)


def _taken(template: Template) -> int:
    """Bytes of a question beside its data and their captions."""
    slots = [part for _, parts in template.messages for part in parts if isinstance(part, Slot)]
    return template.literal_bytes + len(template.messages) * _MESSAGE + len(slots) * FENCE_BYTES


def _beginning(text: str, most: pl.Expr) -> pl.Expr:
    raw = pl.col(text).cast(pl.Binary)
    head = raw.bin.slice(0, _boundary(raw, most - _NOTE, -1)).cast(pl.String)
    return pl.when(_bytes(text) > most).then(pl.concat_str(head, pl.lit("\n"), _note(text, head))).otherwise(pl.col(text)).alias(text)


def _without_middle(text: str, most: pl.Expr) -> pl.Expr:
    raw, half = pl.col(text).cast(pl.Binary), (most - _NOTE) // 2
    head = raw.bin.slice(0, _boundary(raw, half, -1)).cast(pl.String)
    tail = raw.bin.slice(_boundary(raw, _bytes(text) - half, 1)).cast(pl.String)
    short = pl.concat_str(head, pl.lit("\n"), _note(text, head, tail), pl.lit("\n"), tail)
    return pl.when(_bytes(text) > most).then(short).otherwise(pl.col(text)).alias(text)


def _note(text: str, *kept: pl.Expr) -> pl.Expr:
    gone = pl.col(text).str.len_chars().cast(pl.Int64) - pl.sum_horizontal(part.str.len_chars().cast(pl.Int64) for part in kept)
    return pl.format("[... {} characters left out ...]", gone)


def _boundary(raw: pl.Expr, at: pl.Expr, step: int) -> pl.Expr:
    """The place nearest to `at`, going by `step`, where a character begins or the text ends; one has four bytes at most."""
    inside = at.clip(0, raw.bin.size().cast(pl.Int64))
    places = [inside + step * k for k in range(4)]
    begins = [~raw.bin.slice(place, 1).is_between(pl.lit(b"\x80"), pl.lit(b"\xbf")) for place in places]
    return pl.coalesce([pl.when(here).then(place) for here, place in zip(begins, places, strict=True)])
