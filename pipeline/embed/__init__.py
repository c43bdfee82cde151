"""Texts -> unit vectors, through the Encoder protocol.

A text's vector depends on that text alone, bit for bit: token lengths are padded to a fixed ladder, each rung has one
constant batch shape (filled with dummies), and every forward pass on a processor runs on one thread; parallelism comes
from several passes at once. The choice of kernels and the order of every sum follow from the shape, so neighbours, row
order and thread count cannot change a result. A text longer than the model's input is read in windows.

Where a vector is the mean of token states, its length before it was scaled to 1 is kept as its norm: with both and the number
of tokens, the sum of the states is known again (`pipeline.ches.encoder`).
"""

from pipeline.embed.loading import BUNDLED, load_encoder, load_fast_tokenizer, load_tokenizer, precision
from pipeline.embed.tables import Encoded, Encoder, embedding_schema, encode_table, missing_texts, vectors_of
from pipeline.embed.windows import BareTokenizer

__all__ = [
    "BUNDLED",
    "BareTokenizer",
    "Encoded",
    "Encoder",
    "embedding_schema",
    "encode_table",
    "load_encoder",
    "load_fast_tokenizer",
    "load_tokenizer",
    "missing_texts",
    "precision",
    "vectors_of",
]
