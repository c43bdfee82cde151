"""Shapes of batches, and which sequence goes into which: a row's shape follows from its own lengths alone."""

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]

# Widths are eight tokens apart, then so many to a doubling: with small batches 8, with large ones 4, as every pair of widths, of a
# prefix and what follows, leaves a batch that is partly filled. On 2,000 real pairs padding and dummies come to a tenth of the work.
_LARGE_BATCH = 4096

# A row of few tokens after a long prefix is short to compute and long to hold: a batch holds at most so many keys a token,
# and beyond so many keys it has fewer tokens, because the mask has a place for each of them.
_KEYS_PER_TOKEN, _MASK_WIDTH = 16, 8192


@dataclass(frozen=True)
class Shapes:
    """The shapes of a model's batches.

    Attributes:
        batch_tokens: of a batch, padding included; a row wider than that stands alone.
        longest: tokens of the model's longest sequence.
        one_row: whether every batch has one row, because the model mixes them.
    """

    batch_tokens: int
    longest: int
    one_row: bool = False
    widths: Counts = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        parts = 8 if self.batch_tokens < _LARGE_BATCH else 4
        octaves = 1 << np.arange(parts.bit_length() + 3, max(8, self.longest.bit_length()))
        ladder = np.concatenate([np.arange(8, 16 * parts, 8), (octaves[:, np.newaxis] * np.arange(parts, 2 * parts) // parts).ravel()])
        object.__setattr__(self, "widths", np.append(ladder[ladder < self.longest], self.longest).astype(np.int64))

    def described(self) -> list[object]:
        """All that shapes follow from, for the fingerprint of results."""
        rows = [self.rows(width) for width in self.widths.tolist()]
        return [self.widths.tolist(), rows, self.one_row, self.batch_tokens, _KEYS_PER_TOKEN, _MASK_WIDTH]

    def padded(self, lengths: Counts) -> Counts:
        """The widths, int64 of that shape, that sequences of `lengths` tokens are padded to."""
        return self.widths[np.searchsorted(self.widths, lengths)]

    def held(self, lengths: Counts) -> Counts:
        """The widths that keys and values of prefixes are held at, int64 of that shape: coarser, as padding costs little there."""
        return np.left_shift(np.int64(1), np.ceil(np.log2(np.maximum(lengths, 32))).astype(np.int64))

    def rows(self, width: int, held: int = 0) -> int:
        """Rows of a batch of sequences `width` tokens wide that go on from prefixes held at `held`; 0: from none."""
        if self.one_row:
            return 1
        tokens = self.batch_tokens * min(1.0, _MASK_WIDTH / (held + width)) if held else self.batch_tokens
        return max(1, int(min(tokens // width, self.batch_tokens * _KEYS_PER_TOKEN // (held + width))))


@dataclass(frozen=True)
class Step:
    """One batch.

    Attributes:
        kind: whole sequences, prefixes, or what follows prefixes.
        rows: of the batch; those without a member are dummies.
        width: tokens of a row.
        members: numbers of the prefixes or continuations in it.
        slots: where each member's prefix is held, empty for whole sequences.
        after: numbers of the steps of the same plan that must be done before.
    """

    kind: Literal["whole", "prefixes", "rests"]
    rows: int
    width: int
    members: Places
    slots: Places
    after: tuple[int, ...] = ()


@dataclass(frozen=True)
class Round:
    """Steps over prefixes held at one width, so many at once; whole sequences have no slots."""

    held: int
    slots: int
    steps: list[Step]


def plan_whole(lengths: Counts, shapes: Shapes) -> Round:
    """Deal whole sequences out to batches, widest first, so that what is left at the end is quick.

    Args:
        lengths: int64 (R,), tokens of each; at most `shapes.longest`.
        shapes: of the batches; each is full but for the last of its width.
    """
    steps, none = [], np.empty(0, np.intp)
    for width, members in _by_width(shapes.padded(lengths), np.arange(lengths.size)):
        rows = shapes.rows(width)
        steps += [Step("whole", rows, width, members[first : first + rows], none) for first in range(0, members.size, rows)]
    return Round(0, 0, steps)


def plan_shared(prefix_lengths: Counts, prefix: Counts, lengths: Counts, shapes: Shapes, slot_tokens: int) -> list[Round]:
    """Deal prefixes, and what follows each, out to batches.

    Prefixes are computed longest first and held until all that follows them is done. What follows waits until its batch is
    full; where there is no slot for another prefix, the fullest batch goes as it is.

    Args:
        prefix_lengths: int64 (P,), tokens of each prefix.
        prefix: int64 (R,), the prefix of each continuation.
        lengths: int64 (R,), tokens of each continuation.
        shapes: of the batches.
        slot_tokens: what may be held at once, in padded tokens; one batch of prefixes is held in any case.

    Returns:
        A round for each width that prefixes are held at; prefixes without a continuation are in none.
    """
    order = np.argsort(prefix, kind="stable")
    starts = np.searchsorted(prefix[order], np.arange(prefix_lengths.size + 1))
    used = np.flatnonzero(np.diff(starts))
    widths, rests, rounds = shapes.padded(prefix_lengths), shapes.padded(lengths), []
    for held, group in _by_width(shapes.held(prefix_lengths[used]), used):
        batches = []
        for width, members in _by_width(widths[group], group):
            rows = shapes.rows(width)
            batches += [(rows, width, members[first : first + rows]) for first in range(0, members.size, rows)]
        slots = max(slot_tokens // held, max(members.size for _, _, members in batches))
        dealer = _Dealer(held, min(slots, group.size), shapes, prefix, rests)
        for batch in batches:
            dealer.add(*batch, starts=starts, order=order)
        rounds.append(dealer.finish())
    return rounds


class _Dealer:
    """The steps of one round, and what is held after each."""

    def __init__(self, held: int, slots: int, shapes: Shapes, prefix: Counts, rests: Counts) -> None:
        self._held, self._slots, self._shapes, self._prefix, self._rests = held, slots, shapes, prefix, rests
        self._free = list(range(slots))[::-1]
        self._slot: dict[int, int] = {}  # of a prefix that is held
        self._left: dict[int, int] = {}  # continuations of it that are not in a step yet
        self._written, self._read = [-1] * slots, [list[int]() for _ in range(slots)]  # by which steps
        self._waiting: dict[int, list[int]] = defaultdict(list)  # continuations, by width
        self._steps: list[Step] = []

    def add(self, rows: int, width: int, members: Places, starts: Places, order: Places) -> None:
        while len(self._free) < members.size:
            self._deal(max(self._waiting, key=lambda rest: (len(self._waiting[rest]), rest)))
        slots = [self._free.pop() for _ in range(members.size)]
        number = len(self._steps)
        after = sorted({step for slot in slots for step in self._read[slot]})
        self._steps.append(Step("prefixes", rows, width, members, np.array(slots, np.intp), tuple(after)))
        for member, slot in zip(members.tolist(), slots, strict=True):
            self._slot[member], self._left[member] = slot, int(starts[member + 1] - starts[member])
            self._written[slot], self._read[slot] = number, []
            for row in order[starts[member] : starts[member + 1]].tolist():
                waiting = self._waiting[int(self._rests[row])]
                waiting.append(row)
        for rest in sorted(self._waiting, reverse=True):
            while len(self._waiting.get(rest, ())) >= self._shapes.rows(rest, self._held):
                self._deal(rest)

    def finish(self) -> Round:
        for rest in sorted(self._waiting, reverse=True):
            while self._waiting.get(rest):
                self._deal(rest)
        return Round(self._held, self._slots, self._steps)

    def _deal(self, rest: int) -> None:
        """Make a step of the continuations of one width that wait longest."""
        rows, waiting = self._shapes.rows(rest, self._held), self._waiting[rest]
        members, self._waiting[rest] = waiting[:rows], waiting[rows:]
        if not self._waiting[rest]:
            del self._waiting[rest]
        owners = [int(self._prefix[row]) for row in members]
        slots, number = [self._slot[owner] for owner in owners], len(self._steps)
        after = sorted({self._written[slot] for slot in slots})
        self._steps.append(Step("rests", rows, rest, np.array(members, np.intp), np.array(slots, np.intp), tuple(after)))
        for owner, slot in zip(owners, slots, strict=True):
            if self._read[slot][-1:] != [number]:
                self._read[slot].append(number)
            self._left[owner] -= 1
            if self._left[owner] == 0:
                self._free.append(slot)
                del self._slot[owner], self._left[owner]


def _by_width(widths: Counts, members: Places) -> list[tuple[int, Places]]:
    """Members of each width, widest first, in their order; `widths` is of each member."""
    order = np.argsort(-widths, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(widths[order])) + 1, widths.size)
    return [(int(widths[order[first]]), members[order[first:last]]) for first, last in pairwise([0, *ends.tolist()]) if last > first]
