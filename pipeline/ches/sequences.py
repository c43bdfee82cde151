"""What the model reads: continuations of prefixes, as tokens, and which of their tokens are scored."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Tokens of a prompt from which on its states are computed once for all that goes on from it. A shorter one is read anew each time.
SHARE_FROM = 16


@dataclass(frozen=True)
class Sequences:
    """R continuations of P prefixes, as tokens.

    The tokens start to stop - 1 of a whole sequence (prefix and suffix) are scored. The states at start - 1 to stop - 2
    predict them; the first of these may be the prefix's last.

    Attributes:
        prefix_ids: int32 (T,), tokens of all prefixes, end to end.
        prefix_offsets: int64 (P + 1,), where each begins, and the end of the last.
        prefix: int64 (R,), which prefix a continuation goes on from; -1: none, its suffix is the whole sequence.
        suffix_ids: int32 (U,), tokens of all suffixes, end to end.
        suffix_offsets: int64 (R + 1,), likewise; a suffix has at least one token.
        start: int64 (R,), the first scored token, counted in the whole sequence; at least 1 and at least the prefix's length.
        stop: int64 (R,), one past the last scored token; more than start, at most the whole length.
    """

    prefix_ids: npt.NDArray[np.int32]
    prefix_offsets: npt.NDArray[np.int64]
    prefix: npt.NDArray[np.int64]
    suffix_ids: npt.NDArray[np.int32]
    suffix_offsets: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    stop: npt.NDArray[np.int64]

    @property
    def before(self) -> npt.NDArray[np.int64]:
        """Tokens of the prefix that each continuation goes on from, (R,); 0 where it stands alone."""
        # The last length serves for prefix -1, and there may be no prefix at all.
        return np.append(np.diff(self.prefix_offsets), 0)[self.prefix]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each whole sequence, (R,)."""
        return self.before + np.diff(self.suffix_offsets)

    def whole(self, row: int) -> npt.NDArray[np.int32]:
        """One whole sequence's tokens."""
        suffix = self.suffix_ids[self.suffix_offsets[row] : self.suffix_offsets[row + 1]]
        shared = int(self.prefix[row])
        if shared < 0:
            return suffix
        return np.concatenate([self.prefix_ids[self.prefix_offsets[shared] : self.prefix_offsets[shared + 1]], suffix])


def ranges(starts: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """starts[i], starts[i] + 1, ... (sizes[i] of them) for each i, end to end."""
    ends = np.cumsum(sizes)
    return np.arange(int(sizes.sum()), dtype=np.int64) + np.repeat(starts - ends + sizes, sizes)


def offsets(sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where parts of these sizes begin when they lie end to end, and the end of the last: (N + 1,)."""
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
