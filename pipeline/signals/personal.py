"""How much personal data, and how many secrets, prompt and answers hold."""

import polars as pl

from pipeline import sensitive

_TEXTS = ("prompt", "chosen", "rejected")
COLUMNS: dict[str, pl.DataType] = {f"{name}_{what}": pl.Int64() for name in _TEXTS for what in ("personal", "secrets")} | {
    "sensitive_kinds": pl.List(pl.String)
}


def add_personal(pairs: pl.DataFrame) -> pl.DataFrame:
    """Add counts of findings for prompt, chosen and rejected, and `sensitive_kinds`, the kinds found in any of the three.

    `*_personal`: e-mail addresses, phone, card and account numbers, IP addresses. `*_secrets`: keys, tokens, passwords in URLs.

    Args:
        pairs: PAIR rows, of any order. Contents, reasoning and tool calls are searched.
    """
    held = pairs.select(_held(name).alias(name) for name in _TEXTS)
    found = sensitive.find(pl.concat([held.get_column(name) for name in _TEXTS]))
    for name in _TEXTS:
        held = held.join(found.rename({"text": name, "found": f"_{name}"}), on=name, how="left", maintain_order="left")
    kinds = [pl.col(f"_{name}").fill_null(pl.lit([], pl.List(pl.String))) for name in _TEXTS]
    counts = [
        column
        for name, found_kinds in zip(_TEXTS, kinds, strict=True)
        for column in (
            found_kinds.list.eval(pl.element() != "secret").list.sum().cast(pl.Int64).alias(f"{name}_personal"),
            found_kinds.list.count_matches("secret").cast(pl.Int64).alias(f"{name}_secrets"),
        )
    ]
    every = pl.concat_list(kinds).list.unique().list.sort().alias("sensitive_kinds")
    return pl.concat([pairs, held.select(*counts, every)], how="horizontal")


def _held(messages: str) -> pl.Expr:
    fields = [pl.element().struct.field(name).fill_null("") for name in ("content", "reasoning_content", "tool_calls")]
    return pl.col(messages).list.eval(pl.concat_str(fields, separator="\n")).list.join("\n").fill_null("")
