"""Random numbers that belong to ids: the same for the same id, seed and purpose, wherever and whenever they are drawn."""

from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import polars as pl

Doubles = npt.NDArray[np.float64]
_Bits = npt.NDArray[np.uint64]

_GOLDEN, _FIRST, _SECOND = (np.array([n], dtype=np.uint64) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_CHARS = 32  # of an id


def uniform(ids: pl.Series, seed: int, purpose: str = "") -> Doubles:
    """A number strictly between 0 and 1 for each id.

    The finaliser of SplitMix64 (Fast Splittable Pseudorandom Number Generators, 2014) mixes in, one after the other, the seed and the
    four words of eight characters that an id has. The 52 highest bits, and half a step, make the number: neither end can be met.

    Args:
        ids: (N,), not null; 32 hex digits each, or any text, which is hashed to so many first.
        seed: any integer.
        purpose: numbers for different purposes are independent.

    Returns:
        float64 (N,).
    """
    salt = int.from_bytes(blake2b(f"{seed}\n{purpose}".encode(), digest_size=8).digest(), "big")
    mixed = np.full(len(ids), salt, dtype=np.uint64)
    for word in _words(ids).T:
        mixed = _mix(mixed ^ word)
    return ((mixed >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def gumbel(ids: pl.Series, seed: int, purpose: str = "") -> Doubles:
    """A standard Gumbel number for each id, float64 (N,): -log(-log(u)) of `uniform`'s u."""
    return np.asarray(-np.log(-np.log(uniform(ids, seed, purpose))), dtype=np.float64)


def _words(ids: pl.Series) -> _Bits:
    """The characters of each id as four numbers, uint64 (N, 4)."""
    usual = ids.str.len_bytes() == _CHARS
    if not usual.all():
        hashed = ids.map_elements(lambda one: blake2b(one.encode(), digest_size=_CHARS // 2).hexdigest(), return_dtype=pl.String)
        ids = pl.select(pl.when(usual).then(ids).otherwise(hashed)).to_series()
    text = ids.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, ends_held, characters_held = text.buffers()
    if not len(text) or ends_held is None or characters_held is None:
        return np.zeros((0, _CHARS // 8), dtype=np.uint64)
    ends = np.frombuffer(memoryview(ends_held), dtype=np.int64)[text.offset : text.offset + len(text) + 1]
    characters = np.frombuffer(memoryview(characters_held), dtype=np.uint8)[ends[0] : ends[-1]]
    return characters.reshape(len(text), _CHARS).copy().view("<u8").astype(np.uint64)


def _mix(bits: _Bits) -> _Bits:
    bits = bits + _GOLDEN
    bits = (bits ^ (bits >> np.uint64(30))) * _FIRST
    bits = (bits ^ (bits >> np.uint64(27))) * _SECOND
    return bits ^ (bits >> np.uint64(31))
