"""Message contents in typed parts, as multimodal chat formats have them -> text."""

from typing import Final

import polars as pl

from pipeline.ingest.fragments import Json, pointer

_TEXT_TYPES: Final = ["text", "input_text", "output_text"]
_TEXTS: Final = ("text", "value", "content")


def joined_parts(json: Json, frame: pl.DataFrame) -> pl.DataFrame:
    """Contents in typed parts as the text of their parts, one after the other, as chat templates write them.

    Args:
        json: the reader's session.
        frame: one row = one message; `content` is a fragment: text, a list of parts or one part.

    Returns:
        The same rows with every such content as a text fragment, and `refused`: how many parts of which types are not
        text (`1 image_url part, 2 audio parts`); null where all are.
    """
    frame = frame.with_columns(refused=pl.lit(None, pl.String)).with_row_index("m")
    nested = frame.filter(pl.col("content").str.contains(r"^[\[{]")).select("m", "content")
    if nested.is_empty():
        return frame.drop("m")
    listed = json.elements(nested["content"])
    parts = pl.concat(
        [
            listed.select(pl.Series("m", nested["m"].gather(listed["id"])), "n", x="element"),
            nested.filter(pl.col("content").str.starts_with("{")).select("m", pl.lit(0, pl.Int64).alias("n"), x="content"),
        ]
    )
    names = ("type", *_TEXTS)
    inside = pl.DataFrame(dict(zip(names, json.extract(parts["x"], [pointer(name) for name in names]), strict=True)))
    bare = parts["x"].str.starts_with('"').fill_null(False)
    text = inside.select(pl.when(bare).then(parts["x"]).otherwise(pl.coalesce(_TEXTS)).alias("text"))
    decoded = json.texts(pl.concat([text, inside.select("type")], how="horizontal"))
    typed = pl.col("type").is_null() | pl.col("type").str.to_lowercase().is_in(_TEXT_TYPES)
    said = pl.concat([parts.select("m", "n"), decoded, text.select(quoted="text")], how="horizontal").with_columns(
        readable=(typed & pl.col("quoted").str.starts_with('"')).fill_null(False)
    )
    kind = pl.when(typed).then(pl.lit("unreadable")).otherwise(pl.col("type").str.slice(0, 40))
    others = said.filter(~pl.col("readable")).group_by("m", kind.alias("kind")).len().sort("m", "kind")
    noun = pl.when(pl.col("len") == 1).then(pl.lit(" part")).otherwise(pl.lit(" parts"))
    counted = pl.col("len").cast(pl.String) + " " + pl.col("kind") + noun
    refused = others.group_by("m", maintain_order=True).agg(refused_=counted.str.join(", "))
    whole = said.filter("readable").sort("m", "n").group_by("m", maintain_order=True).agg(text=pl.col("text").str.join(""))
    whole = nested.select("m").join(whole, on="m", how="left").with_columns(pl.col("text").fill_null(""))
    whole = whole.select("m", json.quote(whole.select("text"))["text"])
    joined = frame.join(whole, on="m", how="left", maintain_order="left").join(refused, on="m", how="left", maintain_order="left")
    return joined.with_columns(content=pl.coalesce("text", "content"), refused=pl.col("refused_")).drop("m", "text", "refused_")
