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
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.ches.batches import Round, Shapes, Step
from pipeline.ches.probing import ADVICE, can_share, dimensions_of, head_of
from pipeline.ches.sequences import Sequences
from pipeline.ches.work import Scored, Wanted, Work
from pipeline.embed.arithmetic import fixed_arithmetic, weights_digest, workers
from pipeline.errors import PrefineError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline.ches.heads import LanguageHead

SUMS_ONLY = Wanted()
_LOG = logging.getLogger(__name__)

# Tokens of a batch. On a core small batches are as fast as large ones and leave less of the last one empty; a GPU needs
# enough work to hide the time its kernels take to start: for a model of a billion weights these are 25 ms of an H200's.
BATCH_TOKENS = {"cpu": 256, "cuda": 8192}

_AT_ONCE = {"cpu": 2048, "cuda": 65_536}  # continuations: enough that the last, partly filled batches do not count

_EXHAUSTED = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")  # of a RuntimeError


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

        self.network, self._name = Network(model), name
        self.kind = self.network.device.type
        if self.kind == "cuda":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is not deterministic without
        self._passes = threads if self.kind == "cpu" and not self.network.keeps_state else 1
        self._shapes = Shapes(batch_tokens or BATCH_TOKENS[self.kind], self.network.longest, self.network.mixes_rows)
        self.device, self.dtype = str(self.network.device), self.network.dtype_name
        self.longest, self.vocabulary = self.network.longest, self.network.vocabulary
        self.responses_at_once = _AT_ONCE[self.kind]
        self.stepped_down_from: int | None = None
        self.head: LanguageHead | None = None
        with fixed_arithmetic(self.kind), self._one_pass():
            self.dimensions = dimensions_of(self.network, name)
            self.layers = self.network.layers() if self.network.window else None
            self.shares_prefix = self.layers is not None  # for the probe
            self.shares_prefix = self.shares_prefix and can_share(self.network, name, lambda *told: self._run(*told).sums)
        self._weights = weights_digest(model).hexdigest()

    @property
    def batch_tokens(self) -> int:
        """Tokens of a batch now."""
        return self._shapes.batch_tokens

    @property
    def fingerprint(self) -> str:
        """Everything that a result depends on besides the tokens, 32 hex digits; where the files lie does not matter."""
        config = self.network.model.config.to_dict()
        about = {
            "weights": self._weights,
            "network": {key: value for key, value in config.items() if key not in ("_name_or_path", "transformers_version")},
            "attention": self.network.config._attn_implementation,
            "shares_prefix": self.shares_prefix,
            "shapes": self._shapes.described(),
            "dtype": self.dtype,
            "device": self.kind,
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
        if self.head is not None:
            return
        with fixed_arithmetic(self.kind), self._one_pass() as run:
            self.head = run(head_of, self.network, self._name)

    def score(self, sequences: Sequences, wanted: Wanted = SUMS_ONLY, on_progress: Callable[[int], None] | None = None) -> Scored:
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

        with fixed_arithmetic(self.kind):
            while (scored := self._attempt(sequences, wanted, report)) is None:
                pass  # in another shape
        self._check_finite(scored)
        return scored

    def _attempt(self, sequences: Sequences, wanted: Wanted, report: Callable[[int], None]) -> Scored | None:
        """None where it cannot be done in this way, and another was chosen."""
        import torch

        try:
            return self._run(sequences, self._shapes, wanted, report)
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
        if self.kind == "cuda":
            torch.cuda.empty_cache()
        _LOG.warning(
            "signals.ches: %s ran out of memory; batches have %d tokens now. Set signals.ches.batch_tokens to %d to begin with that.",
            self.device,
            self.batch_tokens,
            self.batch_tokens,
        )

    def _run(
        self, sequences: Sequences, shapes: Shapes, wanted: Wanted = SUMS_ONLY, report: Callable[[int], None] = lambda _: None
    ) -> Scored:
        work = Work(self, sequences, wanted, shapes)
        done = 0
        with workers(self._passes) as threads:
            for plan in work.plan():
                for count in self._steps(threads, work, plan):
                    done += count
                    report(done)
        return work.result()

    def _steps(self, threads: ThreadPoolExecutor, work: Work, plan: Round) -> Iterator[int]:
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
                f"finite number, in {self.dtype}. {ADVICE[self.dtype]}"
            )

    @contextmanager
    def _one_pass(self) -> "Iterator[Callable[..., Any]]":
        """A thread with the arithmetic that passes have, to call functions in."""
        with workers(1) as thread:
            yield lambda function, *args: thread.submit(function, *args).result()
