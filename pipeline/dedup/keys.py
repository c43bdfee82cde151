"""What near duplicates are looked for among: pairs by the ids of their texts, without the texts."""

import polars as pl

_SHOWN = {"prompt": "prompt_id", "turn": "prompt_id", "low": "low_id", "high": "high_id"}


def keys_of(tally: pl.DataFrame) -> pl.DataFrame:
    """Pairs by the ids of their texts.

    Args:
        tally: rows of `pairing.pair_up` with the columns of `texts.add_text_ids`.

    Returns:
        One row a pair: pair_id, criterion, context, tools, prompt_text, turn_text, low_text, high_text (text ids; of messages with tool
        calls, and of blank ones, the message ids: no text says all that they say, so they are only equal or not; "" for no prompt at
        all, which all pairs without one share), n_votes, best_kind, votes_low, votes_high.
    """
    message = pl.element().struct

    def calls(messages: str) -> pl.Expr:
        used = message.field("tool_calls").is_not_null() | message.field("tool_call_id").is_not_null()
        return pl.col(messages).list.eval(used).list.any()

    def key(name: str) -> pl.Expr:
        messages = "prompt" if name == "turn" else name
        told = pl.when(calls(messages)).then(pl.col(_SHOWN[name])).otherwise(pl.coalesce(f"{name}_text", _SHOWN[name]))
        return pl.when(pl.col(messages).list.len() == 0).then(pl.lit("")).otherwise(told)

    return tally.select(
        "pair_id",
        "criterion",
        "context",
        "tools",
        *(key(name).alias(f"{name}_text") for name in _SHOWN),
        "n_votes",
        "best_kind",
        "votes_low",
        "votes_high",
    )
