"""Each record as a narrow row of hashes and flags: a few dozen bytes and no text."""

from collections.abc import Iterable
from typing import Final

import polars as pl

LONG_CHARACTERS: Final = 32_000  # about 8,000 tokens, more than most trainers take
_ECHOED_CHARACTERS: Final = 30  # a shorter prompt may well be quoted
_NO_TEXT: Final = r"^(?i:true|false|nan|null|none|undefined|n/a|#(name|value|ref|n/a|div/0)[?!]?)$"

# One row = one judgement. Hashes are polars' own and hold within one process.
JUDGEMENT_FACTS: Final = pl.Schema(
    {
        "file": pl.Int32,  # position among the files looked at
        "row": pl.Int64,
        "pair": pl.UInt64,  # prompt, criterion, context and both answers, whichever comes first
        "record": pl.UInt64,  # pair, verdict and who gave it
        "swapped": pl.Boolean,  # which of the pair's two answers is side a
        "side": pl.Int8,  # 1: a is better, -1: b is better, 0: a tie
        "named": pl.Boolean,
        "vote": pl.Boolean,  # equal rows of unnamed annotators are separate votes
        "longer_won": pl.Boolean,  # null for ties and answers of one length
        "empty_answer": pl.Boolean,
        "identical_answers": pl.Boolean,
        "no_text": pl.Boolean,
        "empty_prompt": pl.Boolean,
        "no_prompt": pl.Boolean,
        "prompt_in_both": pl.Boolean,
        "dialogues_differ": pl.Boolean,
        "replacement_characters": pl.Boolean,
        "very_long": pl.Boolean,
    }
)

# One row = one rating.
RATING_FACTS: Final = pl.Schema(
    {  # type: ignore[arg-type]
        "file": pl.Int32,
        "row": pl.Int64,
        "prompt": pl.UInt64,
        "response": pl.UInt64,
        "record": pl.UInt64,
        "criterion": pl.String,
        "score": pl.Float64,
        "named": pl.Boolean,
        "ranked": pl.Boolean,
        "empty_answer": pl.Boolean,
        "no_text": pl.Boolean,
        "empty_prompt": pl.Boolean,
        "replacement_characters": pl.Boolean,
        "very_long": pl.Boolean,
        "flags": pl.List(pl.String),
    }
)

# One row = one quarantined row or vote.
QUARANTINE_FACTS: Final = pl.Schema(
    {"file": pl.Int32, "row": pl.Int64, "reason": pl.String, "field": pl.String, "detail": pl.String}
)


def judgement_facts(judgements: pl.DataFrame, file: int) -> pl.DataFrame:
    """Hashes and flags of each judgement.

    Args:
        judgements: schema RAW_JUDGEMENT of `pipeline.ingest`.
        file: position of their file among those looked at.

    Returns:
        Schema JUDGEMENT_FACTS, in the order given.
    """
    texts = judgements.with_columns(
        prompt_text=_text("prompt"),
        asked=_content("prompt").list.last().fill_null(""),
        a=_text("response_a"),
        b=_text("response_b"),
        calls=_calls("response_a") | _calls("response_b"),
        turns=pl.max_horizontal(pl.col("response_a", "response_b").list.len()) > 1,
    ).with_columns(hash_a=pl.col("a").hash(), hash_b=pl.col("b").hash())
    low, high = pl.min_horizontal("hash_a", "hash_b"), pl.max_horizontal("hash_a", "hash_b")
    side = pl.col("outcome").replace_strict({"a": 1, "b": -1, "tie": 0}, default=None, return_dtype=pl.Int8)
    swapped = pl.col("hash_a") > pl.col("hash_b")
    length_a, length_b = pl.col("a").str.len_chars(), pl.col("b").str.len_chars()
    identity = pl.struct(pl.col("prompt_text"), low.alias("low"), high.alias("high"), "criterion", "context", "tools").hash()
    answers = ("a", "b")
    facts = texts.with_columns(side=side, swapped=swapped, pair=identity).with_columns(
        better=pl.when("swapped").then(-pl.col("side")).otherwise("side")
    )
    return facts.select(
        file=pl.lit(file, pl.Int32),
        row="source_row",
        pair="pair",
        record=pl.struct("pair", "better", "both_bad", "strength", "annotator", "rationale", "judged_at").hash(),
        swapped="swapped",
        side="side",
        named=pl.col("annotator").is_not_null(),
        vote="vote_layout",
        longer_won=pl.when((pl.col("side") != 0) & (length_a != length_b)).then((length_a > length_b) == (pl.col("side") == 1)),
        empty_answer=pl.any_horizontal(pl.col(one).str.strip_chars() == "" for one in answers) & ~pl.col("calls"),
        identical_answers=(pl.col("a") == pl.col("b")) & ~pl.col("calls"),
        no_text=pl.any_horizontal(pl.col(one).str.strip_chars().str.contains(_NO_TEXT) for one in answers),
        empty_prompt=(pl.col("prompt").list.len() > 0) & (pl.col("prompt_text").str.strip_chars() == ""),
        no_prompt=pl.col("prompt").list.len() == 0,
        prompt_in_both=(pl.col("asked").str.len_chars() >= _ECHOED_CHARACTERS)
        & pl.all_horizontal(pl.col(one).str.contains(pl.col("asked"), literal=True) for one in answers),
        dialogues_differ=pl.col("turns") & ~pl.col("calls"),
        replacement_characters=_any_contains(("prompt_text", *answers), "\ufffd"),
        very_long=pl.max_horizontal(pl.col(one).str.len_chars() for one in ("prompt_text", *answers)) > LONG_CHARACTERS,
    ).match_to_schema(JUDGEMENT_FACTS)


def rating_facts(ratings: pl.DataFrame, file: int) -> pl.DataFrame:
    """Hashes and flags of each rating.

    Args:
        ratings: schema RAW_RATING of `pipeline.ingest`.
        file: position of their file among those looked at.

    Returns:
        Schema RATING_FACTS, in the order given.
    """
    texts = ratings.with_columns(asked=_text("prompt"), answer=_text("response"), calls=_calls("response"))
    return texts.select(
        file=pl.lit(file, pl.Int32),
        row="source_row",
        prompt=pl.struct("asked", "context", "tools").hash(),
        response=pl.col("answer").hash(),
        record=pl.struct("asked", "answer", "context", "tools", "criterion", "score", "annotator", "rationale", "model").hash(),
        criterion="criterion",
        score="score",
        named=pl.col("annotator").is_not_null(),
        ranked=pl.col("ranked").fill_null(False),
        empty_answer=(pl.col("answer").str.strip_chars() == "") & ~pl.col("calls"),
        no_text=pl.col("answer").str.strip_chars().str.contains(_NO_TEXT),
        empty_prompt=pl.col("asked").str.strip_chars() == "",
        replacement_characters=_any_contains(("asked", "answer"), "\ufffd"),
        very_long=pl.max_horizontal(pl.col("asked", "answer").str.len_chars()) > LONG_CHARACTERS,
        flags="flags",
    ).match_to_schema(RATING_FACTS)


def quarantine_facts(quarantined: pl.DataFrame, file: int) -> pl.DataFrame:
    """What `findings` needs of schema QUARANTINED: schema QUARANTINE_FACTS."""
    detail = pl.col("detail").str.slice(0, 300)
    return quarantined.select(file=pl.lit(file, pl.Int32), row="source_row", reason="reason", field="field", detail=detail)


def _content(side: str) -> pl.Expr:
    return pl.col(side).list.eval(pl.element().struct.field("content").fill_null(""))


def _text(side: str) -> pl.Expr:
    """The messages' texts, as the run compares them: NFC, plain line ends, no white space at the end."""
    joined = _content(side).list.eval(pl.element().str.strip_chars_end()).list.join("\n")
    return joined.str.replace_all("\r\n?", "\n").str.normalize("NFC")


def _calls(side: str) -> pl.Expr:
    return pl.col(side).list.eval(pl.element().struct.field("tool_calls").is_not_null()).list.any().fill_null(False)


def _any_contains(columns: Iterable[str], text: str) -> pl.Expr:
    return pl.any_horizontal(pl.col(one).str.contains(text, literal=True) for one in columns)
