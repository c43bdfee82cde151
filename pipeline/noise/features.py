"""A comparison as numbers that change sign when its sides change places."""

import numpy as np
import numpy.typing as npt

Single = npt.NDArray[np.float32]
_BLOCK_ROWS = 4096


def features(
    prompt: npt.NDArray[np.floating], first: npt.NDArray[np.floating], second: npt.NDArray[np.floating], extra: Single | None = None
) -> Single:
    """Antisymmetric features: `features(p, a, b, e) == -features(p, b, a, -e)` to the last bit.

    Args:
        prompt: (N, D) unit vectors, float16 or float32; a zero row where there is no text.
        first: (N, D), likewise.
        second: (N, D), likewise.
        extra: (N, E) columns that are antisymmetric already, such as a difference of logarithms of lengths; None for none.

    Returns:
        float32 (N, sum(block_sizes(D, E))): a - b; p * (a - b), element by element; a^2 - b^2; cosine(p, a) - cosine(p, b), then `extra`.

    Raises:
        ValueError: the tables differ in shape, or a number is not finite.
    """
    rows, dimensions = prompt.shape
    extra = np.zeros((rows, 0), np.float32) if extra is None else extra
    if not prompt.shape == first.shape == second.shape or len(extra) != rows:
        raise ValueError(f"shapes {prompt.shape}, {first.shape}, {second.shape}, {extra.shape} do not belong together")
    table = np.empty((rows, sum(block_sizes(dimensions, extra.shape[1]))), np.float32)
    for start in range(0, rows, _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        p, a, b = (side[block].astype(np.float32) for side in (prompt, first, second))
        out = table[block]
        np.subtract(a, b, out=out[:, :dimensions])
        np.multiply(p, a - b, out=out[:, dimensions : 2 * dimensions])
        np.subtract(a * a, b * b, out=out[:, 2 * dimensions : 3 * dimensions])
        out[:, 3 * dimensions] = (p * (a - b)).sum(axis=1)
    table[:, 3 * dimensions + 1 :] = extra
    if not np.isfinite(table).all():
        raise ValueError("a feature is not finite")
    return table


def block_sizes(dimensions: int, extra: int) -> tuple[int, ...]:
    """Columns of each family of features in the order of `features`; a family is weighed as a whole."""
    return dimensions, dimensions, dimensions, 1 + extra
