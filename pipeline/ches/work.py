"""One call of the model: its tokens, its batches, and what is taken from their states."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.ches.batches import Counts, Round, Shapes, Step, plan_shared, plan_whole
from pipeline.ches.sequences import Sequences, offsets, ranges

if TYPE_CHECKING:
    import torch

    from pipeline.ches.model import CausalModel
    from pipeline.ches.network import Held, Network

_HELD_BYTES = {"cpu": 1 << 30, "cuda": 8 << 30}  # keys and values of prefixes
_HELD_BATCHES = (2, 64)  # at least, at most; in tokens of a batch


@dataclass(frozen=True)
class Wanted:
    """What a pass gives besides sums and counts."""

    logps: bool = False
    last: bool = False


@dataclass(frozen=True)
class Scored:
    """What a pass gives, a row a continuation.

    Attributes:
        sums: float32 (R, d), of the states that predict the scored tokens; added up in double precision.
        tokens: int32 (R,), the scored tokens.
        logps: float64 (R,), their log-probabilities, summed, nats, at most 0; None unless wanted.
        last: float32 (R, d), the state at the last scored token; None unless wanted.
    """

    sums: npt.NDArray[np.float32]
    tokens: npt.NDArray[np.int32]
    logps: npt.NDArray[np.float64] | None
    last: npt.NDArray[np.float32] | None


class Work:
    """One call: its tokens, the plan, and the results as they come."""

    def __init__(self, owner: "CausalModel", sequences: Sequences, wanted: Wanted, shapes: Shapes) -> None:
        import torch

        self._owner, self._network, self._wanted, self._shapes, self._sequences = owner, owner.network, wanted, shapes, sequences
        before, suffixes = sequences.before, np.diff(sequences.suffix_offsets)
        is_shared = (sequences.prefix >= 0) & owner.shares_prefix & fits_window(owner.network, np.maximum(before, 1), suffixes, shapes)
        self._shared, self._whole = np.flatnonzero(is_shared), np.flatnonzero(~is_shared)
        self._before, self._suffixes = before, suffixes
        self._whole_offsets = offsets(sequences.lengths[self._whole])
        self._whole_ids = _joined(sequences, self._whole, self._whole_offsets)
        count, device = sequences.start.size, self._network.device
        self._sums = torch.zeros((count, owner.dimensions), dtype=torch.float32, device=device)
        self._last = torch.zeros_like(self._sums) if wanted.last else None
        self._logps = torch.zeros(count, dtype=torch.float64, device=device) if wanted.logps else None

    def plan(self) -> list[Round]:
        """Rounds of steps; those over prefixes first, as their last batches wait for each other."""
        lengths = np.diff(self._sequences.prefix_offsets)
        shared = plan_shared(lengths, self._sequences.prefix[self._shared], self._suffixes[self._shared], self._shapes, self._slot_tokens())
        return [*shared, plan_whole(np.diff(self._whole_offsets), self._shapes)]

    def _slot_tokens(self) -> int:
        """What may be held at once; what is computed does not depend on it."""
        owner, tokens = self._owner, self._shapes.batch_tokens
        if not owner.layers:
            return 0
        bytes_each = int(sum(layer.numbers for layer in owner.layers) * self._network.dtype.itemsize)
        share = tokens / (owner.stepped_down_from or tokens)
        least, most = (batches * tokens for batches in _HELD_BATCHES)
        return min(max(int(_HELD_BYTES[owner.kind] * share) // bytes_each, least), most)

    def room(self, plan: Round) -> "Held | None":
        """Where a round's prefixes are held."""
        from pipeline.ches.network import Held

        if not plan.slots:
            return None
        return Held(self._owner.layers or [], plan.slots, plan.held, self._network, self._owner.dimensions)

    def run(self, step: Step, held: "Held | None") -> int:
        """One batch; how many continuations it had."""
        import torch

        with torch.inference_mode():
            if step.kind == "whole":
                self._read_whole(step)
            elif held is not None and step.kind == "prefixes":
                self._hold(step, held)
                return 0
            elif held is not None:
                self._go_on(step, held)
        return len(step.members)

    def _hold(self, step: Step, held: "Held") -> None:
        starts, sizes = _spans(self._sequences.prefix_offsets, step.members)
        ids = _padded(step, self._sequences.prefix_ids, starts, sizes)
        to = self._network.to_device
        self._network.hold(to(ids), to(sizes), to(step.slots), held)

    def _read_whole(self, step: Step) -> None:
        starts, sizes = _spans(self._whole_offsets, step.members)
        ids, rows = _padded(step, self._whole_ids, starts, sizes), self._whole[step.members]
        states = self._network.whole(self._network.to_device(ids))
        self._keep(rows, states, ids, self._sequences.start[rows], self._sequences.stop[rows])

    def _go_on(self, step: Step, held: "Held") -> None:
        rows = self._shared[step.members]
        starts, sizes = _spans(self._sequences.suffix_offsets, rows)
        ids = _padded(step, self._sequences.suffix_ids, starts, sizes)
        slots, before = np.zeros(step.rows, np.int64), np.ones(step.rows, np.int64)
        slots[: rows.size], before[: rows.size] = step.slots, self._before[rows]
        to = self._network.to_device
        states = self._network.go_on(to(ids), to(before), to(slots), held)
        first = self._before[rows] - 1  # the state before the suffix is in front
        ids = np.pad(ids, ((0, 0), (1, 0)))
        self._keep(rows, states, ids, self._sequences.start[rows] - first, self._sequences.stop[rows] - first)

    def _keep(self, rows: npt.NDArray[np.int64], states: "torch.Tensor", ids: npt.NDArray[np.int64], start: Counts, stop: Counts) -> None:
        """Take what is wanted from a batch's states, (B, W, d), of tokens `ids`, (B, W), of which start to stop - 1 are scored."""
        import torch

        from pipeline.ches.sums import predicting, sums_at

        to, place = self._network.to_device, np.arange(ids.shape[1])
        scored = np.zeros(ids.shape, dtype=bool)
        scored[: rows.size] = (place >= start[:, np.newaxis]) & (place < stop[:, np.newaxis])
        into = to(rows)
        predictors = predicting(to(scored))
        self._sums.index_copy_(0, into, sums_at(states, predictors)[: rows.size].float())
        if self._last is not None:
            self._last.index_copy_(0, into, states[to(np.arange(rows.size)), to(stop - 1)].float())
        if self._logps is not None and self._owner.head is not None:
            row, column = np.nonzero(scored)
            each = torch.zeros(ids.shape, dtype=torch.float64, device=self._network.device)
            found = self._owner.head.logps(states[to(row), to(column - 1)], to(ids[row, column]))
            each[to(row), to(column)] = found
            self._logps.index_copy_(0, into, each.sum(dim=1)[: rows.size])

    def result(self) -> Scored:
        """Everything, on the processor."""
        tokens = (self._sequences.stop - self._sequences.start).astype(np.int32)
        last, logps = (None if one is None else one.cpu().numpy() for one in (self._last, self._logps))
        return Scored(self._sums.cpu().numpy(), tokens, logps, last)


def _joined(sequences: Sequences, rows: npt.NDArray[np.intp], into: Counts) -> npt.NDArray[np.int32]:
    """Tokens of whole sequences end to end, each from its place in `into`."""
    ids = np.empty(into[-1], dtype=np.int32)
    before, suffixes = sequences.before[rows], np.diff(sequences.suffix_offsets)[rows]
    prefixes = sequences.prefix_offsets[np.maximum(sequences.prefix[rows], 0)]  # nothing is taken from where there is none
    ids[ranges(into[:-1], before)] = sequences.prefix_ids[ranges(prefixes, before)]
    ids[ranges(into[:-1] + before, suffixes)] = sequences.suffix_ids[ranges(sequences.suffix_offsets[rows], suffixes)]
    return ids


def _spans(places: Counts, members: npt.NDArray[np.intp]) -> tuple[Counts, Counts]:
    return places[members], places[members + 1] - places[members]


def _padded(step: Step, ids: npt.NDArray[np.int32], starts: Counts, sizes: Counts) -> npt.NDArray[np.int64]:
    """A batch's tokens, (B, W), padded on the right; rows without a member are padding alone."""
    place = np.arange(step.width)
    filled = np.zeros((step.rows, step.width), dtype=np.int64)
    inside = place < sizes[:, np.newaxis]
    filled[: sizes.size][inside] = ids[(starts[:, np.newaxis] + place)[inside]]
    return filled


def fits_window(network: "Network", before: Counts, suffixes: Counts, shapes: Shapes) -> npt.NDArray[np.bool_]:
    """Whether every token attends to all before it, the padding between prefix and suffix counted in."""
    fits: npt.NDArray[np.bool_] = shapes.held(before) + shapes.padded(suffixes) <= network.window
    return fits
