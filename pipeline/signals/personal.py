"""How much personal data, and how many secrets, prompt and answers hold."""

import polars as pl

from pipeline import sensitive

_TEXTS = ("prompt", "chosen", "rejected")


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
    kinds = {name: pl.col(f"_{name}").fill_null(pl.lit([], pl.List(pl.String))) for name in _TEXTS}
    secrets = {name: some.list.count_matches("secret").cast(pl.Int64) for name, some in kinds.items()}
    personal = {name: some.list.len().cast(pl.Int64) - secrets[name] for name, some in kinds.items()}
    every = pl.concat_list(kinds.values()).list.unique().list.sort().alias("sensitive_kinds")
    counts = [count.alias(f"{name}_personal") for name, count in personal.items()]
    counts += [count.alias(f"{name}_secrets") for name, count in secrets.items()]
    return pl.concat([pairs, held.select(*counts, every)], how="horizontal")


def _held(messages: str) -> pl.Expr:
    fields = [pl.element().struct.field(name).fill_null("") for name in ("content", "reasoning_content", "tool_calls")]
    return pl.col(messages).list.eval(pl.concat_str(fields, separator="\n")).list.join("\n").fill_null("")
