"""Columns that cost time and follow from a text or a pair alone: kept in the store, so that a run works out those of new content only.

Kept is what takes much longer to work out than to read back: MinHash bands of texts, BMAS and token counts of pairs. The key is
the content's id; the fingerprint says what else the values depend on.
"""

import hashlib
import importlib.metadata
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import polars as pl
import pyarrow as pa

from pipeline.dedup import lexical
from pipeline.signals import equivalence, truncation
from pipeline.similarity import tokens
from pipeline.stage import bucket_of
from pipeline.store import KEY_SCHEMA, Store

BANDS, BMAS, TOKENS = "minhash", "bmas", "token-counts"

Fields = list["pa.Field[Any]"]


class Tokenizer(truncation.Tokenizer, Protocol):
    """A tokenizer that equal fingerprints (32 hex digits) tell to give equal tokens."""

    fingerprint: str


class TokenEncoder(equivalence.TokenEncoder, Protocol):
    """An encoder that equal fingerprints (32 hex digits) tell to have equal tokens and embeddings."""

    fingerprint: str


def signatures(store: str, texts: pl.DataFrame, shingles: lexical.Shingles) -> pl.DataFrame:
    """`lexical.signatures` of texts (bucket, text_id, text), one row a text."""

    def work_out(new: pl.DataFrame) -> list[pl.Series]:
        keys = lexical.signatures(new, shingles).get_column("key").to_numpy().reshape(-1, lexical.BANDS)
        return [pl.Series("keys", keys, dtype=pl.Array(pl.UInt64, lexical.BANDS))]

    fields: Fields = [pa.field("keys", pa.list_(pa.uint64(), lexical.BANDS))]
    known = _remembered(store, BANDS, signatures_about(shingles), texts, "text_id", fields, work_out)
    keys = known.get_column("keys").to_numpy().reshape(-1, lexical.BANDS)
    return pl.DataFrame(
        {
            "text_id": known.get_column("text_id").gather(np.repeat(np.arange(known.height), lexical.BANDS)),
            "band": np.tile(np.arange(lexical.BANDS, dtype=np.uint8), known.height),
            "key": keys.ravel(),
        }
    )


def signatures_about(shingles: lexical.Shingles) -> str:
    """The fingerprint of signatures."""
    return _fingerprint(shingles, lexical.SHINGLE_SIZE, lexical.BANDS, lexical.BAND_ROWS, importlib.metadata.version("rensa"))


def add_bmas(store: str, pairs: pl.DataFrame, encoder: TokenEncoder) -> pl.DataFrame:
    """`equivalence.add_bmas`. A pair's id says what both answers are, and BMAS is the same when they swap."""
    if encoder.token_table() is None:
        return equivalence.add_bmas(pairs, None)

    def work_out(new: pl.DataFrame) -> list[pl.Series]:
        return [equivalence.add_bmas(new, encoder).get_column("bmas")]

    about = _fingerprint(encoder.fingerprint, tokens.MAX_TOKENS)
    return _remembered(store, BMAS, about, pairs, "pair_id", [pa.field("bmas", pa.float64())], work_out)


def add_token_counts(store: str, pairs: pl.DataFrame, tokenizer: Tokenizer) -> pl.DataFrame:
    """`truncation.add_token_counts`. They are those of both answers, whichever is which."""
    columns = ["prompt_tokens", "common_prefix_tokens"]

    def work_out(new: pl.DataFrame) -> list[pl.Series]:
        return truncation.add_token_counts(new, tokenizer).select(columns).get_columns()

    about = _fingerprint(tokenizer.fingerprint)
    return _remembered(store, TOKENS, about, pairs, "pair_id", [pa.field(name, pa.int64()) for name in columns], work_out)


def compact(store: str, encoder: TokenEncoder, tokenizer: Tokenizer, shingles: lexical.Shingles) -> int:
    """Join the small files that every run adds. Returns how many."""
    about = {
        BANDS: signatures_about(shingles),
        BMAS: _fingerprint(encoder.fingerprint, tokens.MAX_TOKENS),
        TOKENS: _fingerprint(tokenizer.fingerprint),
    }
    return sum(Store(store).compact(kind, fingerprint) for kind, fingerprint in about.items())


def _fingerprint(*about: object) -> str:
    """Of what values depend on besides their key; the number in front changes when the way they are worked out does."""
    return hashlib.blake2b("\n".join(map(str, (1, *about))).encode(), digest_size=16).hexdigest()


def _remembered(
    place: str,
    kind: str,
    fingerprint: str,
    rows: pl.DataFrame,
    key: str,
    fields: Fields,
    work_out: Callable[[pl.DataFrame], Sequence[pl.Series]],
) -> pl.DataFrame:
    """Rows with more columns: read where the store has them, else worked out and stored.

    Args:
        place: the store.
        kind: of the values.
        fingerprint: what they depend on besides the key.
        rows: one a key, with `bucket`, or else with prompt_id, which has it.
        key: the column with the key.
        fields: of the columns.
        work_out: gives the columns of some rows, in their order.
    """
    store, schema = Store(place), pa.schema([*KEY_SCHEMA, *fields])
    names = [field.name for field in fields]
    bucket = pl.col("bucket").cast(pl.UInt8) if "bucket" in rows.columns else bucket_of("prompt_id")
    keys = rows.select(bucket=bucket, key=pl.col(key))
    if keys.is_empty():
        return pl.concat([rows, pl.DataFrame(pl.from_arrow(schema.empty_table())).select(names)], how="horizontal")
    first, last = keys.select(first=pl.col("bucket").min(), last=pl.col("bucket").max()).row(0)
    known = pl.DataFrame(pl.from_arrow(store.read(kind, fingerprint, first, last, schema, keys=keys.get_column("key"))))
    at = keys.join(known.select("bucket", "key").with_row_index("at"), on=["bucket", "key"], how="left", maintain_order="left")
    missing = at.get_column("at").is_null()
    if missing.any():
        found = pl.DataFrame([*keys.filter(missing).get_columns(), *work_out(rows.filter(missing))])
        store.write(kind, fingerprint, found.to_arrow().cast(schema), durable=False)
        known = pl.concat([known, found.select(known.columns)])
        at = keys.join(known.select("bucket", "key").with_row_index("at"), on=["bucket", "key"], how="left", maintain_order="left")
    return pl.concat([rows, known.select(names)[at.get_column("at")]], how="horizontal")
