"""Probes: a real answer against one without content, which no judge should prefer.

The ten keys of One Token to Fool LLM-as-a-Judge (2025) made judges accept answers that say nothing. A probe is no vote: it only tells how
far a judge can be trusted where answers are poor.
"""

from collections.abc import Iterable
from typing import Final

import polars as pl

from pipeline.config import JudgeConfig
from pipeline.identity import content_hash
from pipeline.judging.who import least, least_of
from pipeline.schemas import MESSAGE_FIELDS

KEYS: Final = (
    " ", ".", ",", ":", "Thought process:", "Let's solve this problem step by step.", "Solution", "解", "かいせつ", "Respuesta",
)  # fmt: skip


def summarise_probes(tally: pl.DataFrame, without_content: pl.Series, config: JudgeConfig) -> pl.DataFrame:
    """A partition's candidates for probes.

    Args:
        tally: rows of `pairing.pair_up` with `left_stage`, in any order.
        without_content: ids of pairs with a degenerate answer: beside one, a key may deserve to win.
        config: `probes`.

    Returns:
        pair_id and place (its hash): at most `probes` rows, the least.
    """
    real = tally.filter(pl.col("left_stage").is_null() & ~pl.col("pair_id").is_in(without_content.implode()))
    return least(real.get_column("pair_id"), config.probes, "probe")


def reduce_probes(parts: Iterable[pl.DataFrame], config: JudgeConfig) -> pl.Series:
    """The pairs that probes are made of, from what `summarise_probes` gave: ids, sorted."""
    return least_of(parts, config.probes)


def planted(pairs: pl.DataFrame, chosen: pl.Series) -> pl.DataFrame:
    """Probes: pairs with one answer replaced by a key.

    Args:
        pairs: rows of `pairing.pair_up`.
        chosen: ids of the pairs to make probes of.

    Returns:
        Rows of `pairs`, in their order, with `key` and `key_is_low`. Key and side follow from the pair's id.
    """
    probes = pairs.filter(pl.col("pair_id").is_in(chosen.implode()))
    drawn = content_hash(probes.get_column("pair_id"), "key").str.slice(0, 8).str.to_integer(base=16, dtype=pl.Int64)
    probes = probes.with_columns(_drawn=drawn)
    key = (pl.col("_drawn") // 2 % len(KEYS)).replace_strict(range(len(KEYS)), KEYS, return_dtype=pl.String)
    probes = probes.with_columns(key=key, key_is_low=pl.col("_drawn") % 2 == 0)
    said = {"role": pl.lit("assistant"), "content": pl.col("key")}
    answer = pl.concat_list(pl.struct(said.get(name, pl.lit(None, pl.String)).alias(name) for name in MESSAGE_FIELDS))
    return probes.with_columns(
        low=pl.when("key_is_low").then(answer).otherwise("low"), high=pl.when("key_is_low").then("high").otherwise(answer)
    ).drop("_drawn")
