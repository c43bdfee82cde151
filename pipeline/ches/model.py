"""A causal language model that reads each answer once: the states that predict its tokens, summed, and what the same pass tells.

What is computed for an answer depends on its prompt and itself alone, bit for bit: its batch has the shape that its own lengths
call for, whatever else is in it, and a prompt's states are computed once for all its answers only where that does not change with
the number of answers.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.ches.batches import Counts, Round, Shapes, Step, plan_shared, plan_whole
from pipeline.ches.sequences import Sequences, offsets, ranges
from pipeline.embed.arithmetic import fixed_arithmetic, workers
from pipeline.errors import ConfigError, PrefineError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from pipeline.ches.heads import LanguageHead
    from pipeline.ches.network import Held

_LOG = logging.getLogger(__name__)

# Tokens of a batch. On a core small batches are as fast as large ones and leave less of the last one empty; a GPU needs
# enough work to hide the time its kernels take to start: for a model of a billion weights these are 25 ms of an H200's.
BATCH_TOKENS = {"cpu": 128, "cuda": 8192}

_AT_ONCE = {"cpu": 2048, "cuda": 65_536}  # continuations: enough that the last, partly filled batches do not count

_HELD_BYTES = {"cpu": 1 << 30, "cuda": 8 << 30}  # keys and values of prefixes
_HELD_BATCHES = (2, 64)  # at least, at most; in tokens of a batch

_PROBE_TOKENS = 24
_PROBE_BATCH = 64
# Of the norm of what is compared. States have much in common, so what a wrong position or a lost token makes is a small part of them:
# a difference up to the first is rounding, and so is one up to three times what another width makes.
_ROUNDING = {"float32": 1e-4, "float16": 2e-3, "bfloat16": 0.015}

_EXHAUSTED = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")  # of a RuntimeError


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


class CausalModel:
    """A causal model of transformers, of any family: what sharing prompts needs of it is tried out, not assumed.

    Args:
        model: in evaluation mode, on its device.
        name: for messages.
        batch_tokens: of a batch, padding included; None: what suits the device.
        threads: batches worked on at once, on the processor.

    Raises:
        ConfigError: a token's state depends on what comes after it, or is not finite.
    """

    def __init__(self, model: "PreTrainedModel", name: str, batch_tokens: int | None = None, threads: int = 1) -> None:
        from pipeline.ches.network import Network

        self._network, self._name = Network(model), name
        self._kind = self._network.device.type
        if self._kind == "cuda":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is not deterministic without
        self._passes = threads if self._kind == "cpu" and not self._network.keeps_state else 1
        self._shapes = Shapes(batch_tokens or BATCH_TOKENS[self._kind], self._network.longest, self._network.mixes_rows)
        self.device, self.dtype = str(self._network.device), str(self._network.dtype).removeprefix("torch.")
        self.longest, self.vocabulary = self._network.longest, self._network.vocabulary
        self.responses_at_once = _AT_ONCE[self._kind]
        self.stepped_down_from: int | None = None
        self._head: LanguageHead | None = None
        with fixed_arithmetic(self._kind), self._one_pass():
            self.dimensions = self._try_out()
            self._layers = self._network.layers() if self._network.window else None
            self.shares_prefix = self._layers is not None
            self.shares_prefix = self._can_share()
        self._weights = _weights_digest(model)

    @property
    def batch_tokens(self) -> int:
        """Tokens of a batch now."""
        return self._shapes.batch_tokens

    @property
    def fingerprint(self) -> str:
        """Everything that a result depends on besides the tokens, 32 hex digits; where the files lie does not matter."""
        config = self._network.model.config.to_dict()
        about = {
            "weights": self._weights,
            "network": {key: value for key, value in config.items() if key not in ("_name_or_path", "transformers_version")},
            "attention": self._network.config._attn_implementation,
            "shares_prefix": self.shares_prefix,
            "shapes": self._shapes.described(),
            "dtype": self.dtype,
            "device": self._kind,
            "version": 1,
        }
        return hashlib.blake2b(json.dumps(about, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()

    def step_down(self) -> None:
        """Halve the tokens of a batch, and with them the memory that it takes; the fingerprint is another then."""
        before = self.batch_tokens
        self.stepped_down_from = self.stepped_down_from or before
        self._shapes = Shapes(max(1, before // 2), self._shapes.longest, self._shapes.one_row)

    def require_logps(self) -> None:
        """Make sure that log-probabilities can be computed; done at their first use otherwise.

        Raises:
            ConfigError: the model's logits are not a projection of its last states, scaled as its config says.
        """
        from pipeline.ches.heads import find_head

        if self._head is not None:
            return
        with fixed_arithmetic(self._kind), self._one_pass() as run:
            self._head = run(self._compare_head, find_head)

    def score(self, sequences: Sequences, wanted: Wanted = Wanted(), on_progress: Callable[[int], None] | None = None) -> Scored:
        """Run continuations through the model.

        Where memory runs out, the batches are made smaller, which changes `fingerprint`, and all is done again: one call's results
        are all of one shape.

        Args:
            sequences: R continuations.
            wanted: what is given besides sums and counts.
            on_progress: gets the number of continuations done since its last call.

        Returns:
            R rows, in the order of `sequences`.

        Raises:
            PrefineError: a sequence is longer than `longest`, does not fit into memory alone, has a token the model does not know,
                or a result that is not finite.
            ConfigError: log-probabilities are wanted and cannot be had.
            ValueError: the parts of `sequences` do not fit each other.
        """
        self._check(sequences)
        if wanted.logps:
            self.require_logps()
        reported = 0

        def report(done: int) -> None:
            nonlocal reported
            if on_progress is not None and done > reported:
                on_progress(done - reported)
                reported = done

        with fixed_arithmetic(self._kind):
            while (scored := self._attempt(sequences, wanted, report)) is None:
                pass  # in another shape
        self._check_finite(scored)
        return scored

    def _attempt(self, sequences: Sequences, wanted: Wanted, report: Callable[[int], None]) -> Scored | None:
        """None where it cannot be done in this way, and another was chosen."""
        import torch

        try:
            return self._run(sequences, wanted, self._shapes, report)
        except (torch.OutOfMemoryError, MemoryError):
            reason = ""
        except RuntimeError as error:
            reason = "" if any(sign in str(error) for sign in _EXHAUSTED) else str(error)
            if reason and not self.shares_prefix:
                raise
        if not reason:  # here, where the error holds nothing any more
            self._make_room(sequences)
            return None
        # Some families have tables that are too short for a held prompt and its padding.
        _LOG.warning("signals.ches: %s cannot go on from a held prompt (%s); prompts are read with each answer.", self._name, reason)
        self.shares_prefix = False
        return None

    def _make_room(self, sequences: Sequences) -> None:
        import torch

        longest = int(sequences.lengths.max())
        if self._shapes.one_row or self.batch_tokens <= int(self._shapes.padded(np.array([longest]))[0]):
            raise PrefineError(
                f"signals.ches.model: {self._name!r}: one sequence of {longest} tokens does not fit into the memory of {self.device} "
                f"beside the model. Set signals.ches.max_length below {longest}, or name a smaller model."
            )
        self.step_down()
        if self._kind == "cuda":
            torch.cuda.empty_cache()
        _LOG.warning(
            "signals.ches: %s ran out of memory; batches have %d tokens now. Set signals.ches.batch_tokens to %d to begin with that.",
            self.device,
            self.batch_tokens,
            self.batch_tokens,
        )

    def _run(self, sequences: Sequences, wanted: Wanted, shapes: Shapes, report: Callable[[int], None]) -> Scored:
        work = _Work(self, sequences, wanted, shapes)
        done = 0
        with workers(self._passes) as threads:
            for plan in work.plan():
                for count in self._steps(threads, work, plan):
                    done += count
                    report(done)
        return work.result()

    def _steps(self, threads: ThreadPoolExecutor, work: "_Work", plan: Round) -> Iterator[int]:
        """Continuations of each step, as it is done."""
        held, futures = work.room(plan), list[Future[int]]()

        def run(step: Step) -> int:
            for number in step.after:  # begun before this one, so none waits for a thread
                futures[number].result()
            return work.run(step, held)

        for step in plan.steps:
            futures.append(threads.submit(run, step))
        for future in as_completed(futures):
            yield future.result()

    def _check(self, sequences: Sequences) -> None:
        before, lengths, suffixes = sequences.before, sequences.lengths, np.diff(sequences.suffix_offsets)
        if sequences.start.size == 0:
            return
        if not (
            (sequences.start >= np.maximum(before, 1)).all()
            and (sequences.start < sequences.stop).all()
            and (sequences.stop <= lengths).all()
            and (suffixes > 0).all()
        ):
            raise ValueError("expected 1 <= start < stop <= length, start at or after the prefix's end, and suffixes of at least one token")
        if int(lengths.max()) > self.longest:
            raise PrefineError(
                f"signals.ches.model: a sequence has {int(lengths.max())} tokens, {self._name!r} reads {self.longest} at most. "
                f"Set signals.ches.max_length to {self.longest} or less."
            )
        for ids in (sequences.prefix_ids, sequences.suffix_ids):
            if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < self.vocabulary:
                raise PrefineError(
                    f"signals.ches.model: the tokenizer of {self._name!r} gives token {int(ids.max())}, its model knows {self.vocabulary}: "
                    "they do not belong together. Save both from one checkpoint."
                )

    def _check_finite(self, scored: Scored) -> None:
        finite = np.isfinite(scored.sums).all(axis=1)
        for more in (scored.last, None if scored.logps is None else scored.logps[:, np.newaxis]):
            if more is not None:
                finite &= np.isfinite(more).all(axis=1)
        if not finite.all():
            raise PrefineError(
                f"signals.ches.model: {self._name!r} gave {np.count_nonzero(~finite)} of {finite.size} answers a result that is not a "
                f"finite number, in {self.dtype}. {_ADVICE[self.dtype]}"
            )

    @contextmanager
    def _one_pass(self) -> "Iterator[Callable[..., Any]]":
        """A thread with the arithmetic that passes have, to call functions in."""
        with workers(1) as thread:
            yield lambda function, *args: thread.submit(function, *args).result()

    def _probe(self, count: int) -> npt.NDArray[np.int64]:
        tokens = min(_PROBE_TOKENS, self.longest)
        return np.random.default_rng(0).integers(0, self.vocabulary, (count, tokens))

    def _try_out(self) -> int:
        """The dimensions of a state, once a probe shows that a state depends on what comes before it alone."""
        import torch

        ids = self._probe(2)
        same = ids.shape[1] // 2
        ids[1, :same] = ids[0, :same]
        try:
            with torch.inference_mode():  # one row at a time: then equal beginnings have equal bits
                passes = [self._network.whole(self._network.to_device(row[np.newaxis])).float().cpu().numpy()[0] for row in ids]
        except (TypeError, ValueError, RuntimeError, AttributeError, LookupError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise ConfigError(
                f"signals.ches.model: {self._name!r} cannot read plain tokens: {error}. Name a causal language model."
            ) from error
        states = np.stack(passes)
        if not np.isfinite(states).all():
            raise ConfigError(
                f"signals.ches.model: {self._name!r} gives states that are not finite numbers, in {self.dtype}. {_ADVICE[self.dtype]}"
            )
        before, again = states[0, :same], states[1, :same]
        # Experts work on all tokens that come to them at once, so that rounding goes by what comes after.
        if self._differ(before, again) if self._network.mixes_rows else not np.array_equal(before, again):
            raise ConfigError(
                f"signals.ches.model: in {self._name!r} a token's state depends on the tokens after it: it is no causal language model, "
                "which CHES is defined for. Name the model that training starts from."
            )
        return int(states.shape[2])

    def _differ(self, one: npt.NDArray[np.floating[Any]], other: npt.NDArray[np.floating[Any]], noise: float = 0.0) -> bool:
        """Whether two results differ by more than rounding; `noise`: how far two that should be equal are apart."""
        return float(np.linalg.norm(one - other)) > max(_ROUNDING[self.dtype] * float(np.linalg.norm(other)), 3 * noise)

    def _can_share(self) -> bool:
        """Whether answers after a prefix that is held have the states they have after the same prefix read with them."""
        ids = self._probe(3).astype(np.int32)
        tokens = ids.shape[1]
        if not self.shares_prefix or tokens < _PROBE_TOKENS:
            return False
        ends = (7, 11)  # two prefixes of one batch, the first with two answers
        of = np.array([0, 1, 0])
        ids[2, : ends[0]] = ids[0, : ends[0]]
        start = np.array(ends)[of]
        shared = Sequences(
            prefix_ids=np.concatenate([ids[0, : ends[0]], ids[1, : ends[1]]]),
            prefix_offsets=offsets(np.array(ends)),
            prefix=of,
            suffix_ids=np.concatenate([row[first:] for row, first in zip(ids, start, strict=True)]),
            suffix_offsets=offsets(tokens - start),
            start=start,
            stop=np.full(3, tokens),
        )
        wider = np.concatenate([ids, ids[:, : min(_PROBE_TOKENS // 2, self.longest - tokens)]], axis=1)
        alone, apart = (
            Sequences(
                np.empty(0, np.int32), np.zeros(1, np.int64), np.full(3, -1), rows.ravel(), rows.shape[1] * np.arange(4), start, shared.stop
            )
            for rows in (ids, wider)
        )
        shapes = Shapes(_PROBE_BATCH, self.longest, self._shapes.one_row)
        if not self._fits_window(np.array([max(ends)]), np.array([tokens]), shapes).all():
            return False
        try:
            found = self._run(shared, Wanted(), shapes, lambda _: None)
        except (TypeError, ValueError, RuntimeError, AttributeError, LookupError) as error:
            _LOG.info("signals.ches: %s cannot go on from a held prompt (%s); prompts are read with each answer.", self._name, error)
            return False
        expected, again = (self._run(whole, Wanted(), shapes, lambda _: None).sums for whole in (alone, apart))
        noise = np.linalg.norm(again - expected, axis=1)
        if any(self._differ(*row) for row in zip(found.sums, expected, noise, strict=True)):
            _LOG.info("signals.ches: %s reads an answer differently after a held prompt; prompts are read with each.", self._name)
            return False
        return True

    def _fits_window(self, before: Counts, suffixes: Counts, shapes: Shapes) -> npt.NDArray[np.bool_]:
        """Whether every token attends to all before it, the padding between prefix and suffix counted in."""
        fits: npt.NDArray[np.bool_] = shapes.held(before) + shapes.padded(suffixes) <= self._network.window
        return fits

    def _compare_head(self, find: "Callable[..., LanguageHead | None]") -> "LanguageHead":
        import torch

        network = self._network
        with torch.inference_mode():
            ids = network.to_device(self._probe(2))
            logits = network.model(input_ids=ids, use_cache=False).logits
            head = find(network.model, network.whole(ids).flatten(0, 1), logits.flatten(0, 1))
        if head is None:
            raise ConfigError(
                f"signals.ches.model: the logits of {self._name!r} are not a projection of its last states in a way known here, so "
                "log-probabilities cannot be computed. Set `logps: false` and name no weak model and no follow-ups."
            )
        return head


_ADVICE = {
    "float16": "float16 ends at 65,504: set `dtype: bfloat16` or `dtype: float32`.",
    "bfloat16": "Try `dtype: float32`; if that does not help, the weights are broken.",
    "float32": "The weights are broken: get the model anew.",
}


class _Work:
    """One call: its tokens, the plan, and the results as they come."""

    def __init__(self, owner: CausalModel, sequences: Sequences, wanted: Wanted, shapes: Shapes) -> None:
        import torch

        self._owner, self._network, self._wanted, self._shapes, self._sequences = owner, owner._network, wanted, shapes, sequences
        before, suffixes = sequences.before, np.diff(sequences.suffix_offsets)
        is_shared = (sequences.prefix >= 0) & owner.shares_prefix & owner._fits_window(np.maximum(before, 1), suffixes, shapes)
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
        if not owner._layers:
            return 0
        bytes_each = int(sum(layer.numbers for layer in owner._layers) * self._network.dtype.itemsize)
        share = tokens / (owner.stepped_down_from or tokens)
        least, most = (batches * tokens for batches in _HELD_BATCHES)
        return min(max(int(_HELD_BYTES[owner._kind] * share) // bytes_each, least), most)

    def room(self, plan: Round) -> "Held | None":
        """Where a round's prefixes are held."""
        from pipeline.ches.network import Held

        if not plan.slots:
            return None
        return Held(self._owner._layers or [], plan.slots, plan.held, self._network, self._owner.dimensions)

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
        if self._logps is not None and self._owner._head is not None:
            row, column = np.nonzero(scored)
            each = torch.zeros(ids.shape, dtype=torch.float64, device=self._network.device)
            found = self._owner._head.logps(states[to(row), to(column - 1)], to(ids[row, column]))
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


def _weights_digest(model: "PreTrainedModel") -> str:
    import torch

    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
