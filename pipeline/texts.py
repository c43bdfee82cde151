"""What the text of a message list is, what a word is, and which texts a table of pairs holds."""

import polars as pl

from pipeline.errors import SchemaError
from pipeline.identity import content_hash
from pipeline.stage import bucket_of

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
# Scripts written without spaces count one word a character; elsewhere a word is a run of letters, digits and apostrophes.
WORD = rf"[{_UNSPACED}]|[[\p{{L}}\p{{N}}\p{{M}}_'’]--[{_UNSPACED}]]+"  # noqa: RUF001

_SHOWN = {"prompt": "prompt_id", "low": "low_id", "high": "high_id"}


def text_of(messages: str) -> pl.Expr:
    """The text of a list of messages: their contents, one a line; "" when there are none."""
    contents = pl.col(messages).list.eval(pl.element().struct.field("content").fill_null(""))
    return contents.list.join("\n").fill_null("")


def last_user_turn(prompt: str) -> pl.Expr:
    """What the user said last; "" when the prompt has no turn of a user."""
    said = pl.element().filter(pl.element().struct.field("role") == "user").struct.field("content")
    return pl.col(prompt).list.eval(said).list.last().fill_null("")


def is_blank(text: pl.Expr) -> pl.Expr:
    """Whether a text has no visible character: only white space, controls, format characters and fillers."""
    visible = r"[^\s\p{Z}\p{Cc}\p{Cf}\x{034F}\x{115F}\x{1160}\x{2800}\x{3164}\x{FFA0}\x{FE00}-\x{FE0F}]"
    return ~text.str.contains(visible)


def add_text_ids(tally: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Name the texts of pairs by their content, so that equal texts are one, whoever says them.

    Args:
        tally: rows of `pairing.pair_up`.

    Returns:
        The rows with `prompt_text`, `turn_text` (the last user turn; the prompt where there is none), `low_text` and `high_text`
        (text ids, BLAKE2b 16 bytes hex; null where the text is blank); and the texts that are not blank: bucket (the prompt's), text_id,
        text, one row for each bucket and text, sorted.
    """
    turn = last_user_turn("prompt")
    told = {name: text_of(name) for name in _SHOWN}
    texts = tally.select("prompt_id", **told, turn=pl.when(is_blank(turn)).then(told["prompt"]).otherwise(turn))
    names = ["prompt", "turn", "low", "high"]
    texts = texts.with_columns(pl.when(~is_blank(pl.col(name))).then(name) for name in names)
    ids = [content_hash(texts.get_column(name), "text").alias(f"{name}_text") for name in names]
    every = pl.concat(
        pl.DataFrame([texts.select(bucket=bucket_of("prompt_id")).to_series(), one.alias("text_id"), texts.get_column(name).alias("text")])
        for name, one in zip(names, ids, strict=True)
    )
    distinct = every.drop_nulls("text_id").unique(["bucket", "text_id"], keep="any").sort("bucket", "text_id")
    return tally.with_columns(ids), distinct


def rows_of_texts(pairs: pl.DataFrame, name: str, index: pl.DataFrame, vectors: int) -> pl.DataFrame:
    """What is known of one text of each pair, in the order of the pairs; null where it is blank.

    Args:
        pairs: with `<name>_text`, a text id (null: the text is blank).
        name: prompt, chosen or rejected.
        index: text_id, index (row of its vector) and more; one row a text.
        vectors: how many there are.

    Raises:
        SchemaError: a text that is not blank has no vector, or a text has two.
    """
    if index.get_column("text_id").is_duplicated().any():
        raise SchemaError("vectors: a text_id has more than one vector; expected one row a text.")
    found = pairs.select(text_id=f"{name}_text").join(index, on="text_id", how="left", maintain_order="left")
    lost = found.filter(pl.col("text_id").is_not_null() & pl.col("index").is_null()).get_column("text_id")
    if len(lost):
        raise SchemaError(
            f"vectors: {len(lost)} {name} texts have no vector, the first is {lost.sort()[0]}; expected one for every text that is not "
            "blank. Embed all texts of the pairs first."
        )
    beyond = found.filter(pl.col("index") >= vectors)
    if beyond.height:
        raise SchemaError(
            f"vectors: text {beyond.get_column('text_id').sort()[0]} points past the last of {vectors} vectors; `index` and `vectors` do "
            "not belong together."
        )
    return found
