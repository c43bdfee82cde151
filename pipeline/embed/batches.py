"""The ladder of token lengths, and how windows are dealt out to batches of constant shape."""

import numpy as np
import numpy.typing as npt

# Eight tokens apart up to 64, four rungs to a doubling beyond: 4,096 real responses grow by 11 %, dummies included.
_LADDER = (*range(16, 64, 8), *(octave * quarter // 4 for octave in (64 << n for n in range(7)) for quarter in (4, 5, 6, 7)), 8192)

# Tokens of a batch, and of the top rung's. 1024 to 4096 run equally fast on a core; fewer waste less on the last batch of
# each rung, and more on the top rung's empty row. A GPU needs enough work in a batch to hide the time its kernels take to start.
BATCH_TOKENS = {"cpu": (1024, 4096), "cuda": (131_072, 131_072)}


def batch_shapes(longest: int, device: str) -> tuple[tuple[int, int], ...]:
    """The (rows, tokens) of each rung's batches.

    Args:
        longest: tokens of the model's longest input, special ones included; beyond 8192 it is not used.
        device: cpu or cuda.
    """
    budget, top_budget = BATCH_TOKENS[device]
    top = min(longest, _LADDER[-1])
    return (*((max(1, budget // width), width) for width in _LADDER if width < top), (max(2, top_budget // top), top))


def plan_batches(lengths: npt.NDArray[np.int64], shapes: tuple[tuple[int, int], ...]) -> list[tuple[int, npt.NDArray[np.intp]]]:
    """Deal windows out to batches, longest first, so that what is left at the end is quick.

    No batch is without a padded place: attention over a mask of ones alone may take another kernel, and with it other
    rounding. So a window is on the lowest rung that is longer, and the last row of the top rung, where full windows are,
    stays empty.

    Args:
        lengths: int64 (W,), tokens of each window, special ones included; at most the top rung's.
        shapes: `batch_shapes`.

    Returns:
        (rung, rows of `lengths`) of each batch; a rung's batches are full but for the last.
    """
    top = len(shapes) - 1
    rungs = np.minimum(np.searchsorted(np.array([width for _, width in shapes]), lengths, side="right"), top)
    batches = []
    for rung in range(top, -1, -1):
        members, rows = np.flatnonzero(rungs == rung), shapes[rung][0] - (rung == top)
        batches += [(rung, members[start : start + rows]) for start in range(0, members.size, rows)]
    return batches
