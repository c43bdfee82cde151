"""CHES from sums of hidden states, and what else a pair's states and log-probabilities give.

Unintentional Unalignment: Likelihood Displacement in Direct Preference Optimization (2024). Letters: N pairs, D dimensions.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_BLOCK_VALUES: Final = 1 << 20  # of one side of a block of pairs: 8 MB in float64


def row_blocks(rows: int, dimensions: int) -> Iterator[slice]:
    """Runs of rows that bound what is held of (rows, dimensions) at once; at least one row each."""
    step = max(1, _BLOCK_VALUES // max(1, dimensions))
    yield from (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def ches(
    chosen: npt.NDArray[np.floating],
    rejected: npt.NDArray[np.floating],
    chosen_tokens: npt.NDArray[np.integer],
    rejected_tokens: npt.NDArray[np.integer],
) -> tuple[Floats, Floats]:
    """CHES of pairs, raw and length-normalised; higher: more displacement expected.

    CHES = <s+, s-> - ||s+||^2; CHES_ln = <s+, s-> / (|y+| |y-|) - ||s+||^2 / |y+|^2. Both grow with the square of the states'
    lengths, so they compare within one model only. Raw CHES favours pairs with a long chosen answer: filter with CHES_ln.

    Args:
        chosen: s+, (N, D): sums of the final states that predict each chosen answer's tokens.
        rejected: s-, (N, D), likewise.
        chosen_tokens: |y+|, (N,): how many states were summed; 1 and up.
        rejected_tokens: |y-|, (N,), likewise.

    Returns:
        CHES and CHES_ln, float64 (N,), summed in float64. A row's result depends on its own sums alone, bit for bit; equal answers
        give exactly 0 and 0.

    Raises:
        ValueError: the shapes do not fit, a row has no tokens, or sums that are not finite; says which.
    """
    _require_rows(chosen, rejected, chosen_tokens, rejected_tokens)
    raw, normalised = np.empty(len(chosen)), np.empty(len(chosen))
    for block in row_blocks(*chosen.shape):
        own, other = chosen[block].astype(np.float64), rejected[block].astype(np.float64)
        n, m = chosen_tokens[block].astype(np.float64), rejected_tokens[block].astype(np.float64)
        cross, square = _dots(own, other), _dots(own, own)
        raw[block], normalised[block] = cross - square, cross / (n * m) - square / (n * n)
    return _finite(raw, "ches"), normalised


def last_hidden_inner(chosen: npt.NDArray[np.floating], rejected: npt.NDArray[np.floating]) -> Floats:
    """Inner product of the final states at both answers' last tokens, which CHES leaves out; the paper's baseline, not indicative.

    Args:
        chosen: (N, D).
        rejected: (N, D).

    Returns:
        float64 (N,), summed in float64.

    Raises:
        ValueError: the shapes differ, or a row is not finite; says which.
    """
    _require_shapes(chosen, rejected)
    inner = np.empty(len(chosen))
    for block in row_blocks(*chosen.shape):
        inner[block] = _dots(chosen[block].astype(np.float64), rejected[block].astype(np.float64))
    return _finite(inner, "last_hidden_inner")


def density_ratio(strong: Floats, weak: Floats) -> Floats:
    """How much likelier answers are under a strong model than under a weak one: r = logp_strong - logp_weak; higher: better (CDR 2024).

    Args:
        strong: log-probabilities summed over each answer's tokens, nats, (N,).
        weak: those of the very same tokens under the weaker model: both need one tokenizer.

    Returns:
        float64 (N,), nats. A sum over tokens: it grows with the answer's length.
    """
    return strong - weak


def _require_shapes(chosen: npt.NDArray[np.floating], rejected: npt.NDArray[np.floating]) -> None:
    if chosen.ndim != 2 or chosen.shape != rejected.shape:
        raise ValueError(f"ches: chosen is {chosen.shape}, rejected is {rejected.shape}; expected two equal shapes (pairs, dimensions)")


def _require_rows(
    chosen: npt.NDArray[np.floating],
    rejected: npt.NDArray[np.floating],
    chosen_tokens: npt.NDArray[np.integer],
    rejected_tokens: npt.NDArray[np.integer],
) -> None:
    _require_shapes(chosen, rejected)
    for name, tokens in (("chosen", chosen_tokens), ("rejected", rejected_tokens)):
        if tokens.shape != chosen.shape[:1]:
            raise ValueError(f"ches: {name} has {tokens.shape} token counts for {len(chosen)} pairs; expected one a pair")
        none = np.flatnonzero(tokens < 1)
        if none.size:
            raise ValueError(f"ches: {name} answer {none[0]} has {tokens[none[0]]} tokens ({none.size} such answers); expected 1 and up")


def _finite(values: Floats, name: str) -> Floats:
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        raise ValueError(f"{name}: the states of pair {wrong[0]} are not finite ({wrong.size} such pairs)")
    return values


def _dots(a: Floats, b: Floats) -> Floats:
    # Not einsum or matmul: they choose the order of summation by the number of rows.
    dots: Floats = np.add.reduce(np.multiply(a, b, order="C"), axis=1)
    return dots
