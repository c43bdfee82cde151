"""What a model must be like is tried out on a few random tokens when it is loaded, not assumed from its name."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.ches.batches import Shapes
from pipeline.ches.sequences import Sequences, offsets
from pipeline.ches.work import fits_window
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.ches.heads import LanguageHead
    from pipeline.ches.network import Network

_LOG = logging.getLogger(__name__)

_PROBE_TOKENS = 24
_PROBE_BATCH = 64
# Of the norm of what is compared. States have much in common, so what a wrong position or a lost token makes is a small part of them:
# a difference up to the first is rounding, and so is one up to three times what another width makes.
_ROUNDING = {"float32": 1e-4, "float16": 2e-3, "bfloat16": 0.015}

# What to do about numbers that are not finite.
ADVICE = {
    "float16": "float16 ends at 65,504: set `dtype: bfloat16` or `dtype: float32`.",
    "bfloat16": "Try `dtype: float32`; if that does not help, the weights are broken.",
    "float32": "The weights are broken: get the model anew.",
}


def dimensions_of(network: "Network", name: str) -> int:
    """The dimensions of a state, once a probe shows that a state depends on what comes before it alone.

    Raises:
        ConfigError: it depends on what comes after it, is not finite, or the model cannot be run.
    """
    import torch

    ids = _probe(network, 2)
    same = ids.shape[1] // 2
    ids[1, :same] = ids[0, :same]
    try:
        with torch.inference_mode():  # one row at a time: then equal beginnings have equal bits
            passes = [network.whole(network.to_device(row[np.newaxis])).float().cpu().numpy()[0] for row in ids]
    except (TypeError, ValueError, RuntimeError, AttributeError, LookupError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise ConfigError(
            f"signals.ches.model: {name!r} cannot read plain tokens: {error}. Name a causal language model."
        ) from error
    states = np.stack(passes)
    if not np.isfinite(states).all():
        raise ConfigError(
            f"signals.ches.model: {name!r} gives states that are not finite numbers, in {network.dtype_name}. {ADVICE[network.dtype_name]}"
        )
    before, again = states[0, :same], states[1, :same]
    # Experts work on all tokens that come to them at once, so that rounding goes by what comes after.
    if _differ(network, before, again) if network.mixes_rows else not np.array_equal(before, again):
        raise ConfigError(
            f"signals.ches.model: in {name!r} a token's state depends on the tokens after it: it is no causal language model, "
            "which CHES is defined for. Name the model that training starts from."
        )
    return int(states.shape[2])


def can_share(network: "Network", name: str, run: Callable[[Sequences, Shapes], npt.NDArray[np.float32]]) -> bool:
    """Whether answers after a prefix that is held have the states they have after the same prefix read with them.

    Args:
        network: the model.
        name: for messages.
        run: the sums of sequences, computed in batches of these shapes.
    """
    ids = _probe(network, 3).astype(np.int32)
    tokens = ids.shape[1]
    if tokens < _PROBE_TOKENS:
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
    wider = np.concatenate([ids, ids[:, : min(_PROBE_TOKENS // 2, network.longest - tokens)]], axis=1)
    alone, apart = (
        Sequences(
            np.empty(0, np.int32), np.zeros(1, np.int64), np.full(3, -1), rows.ravel(), rows.shape[1] * np.arange(4), start, shared.stop
        )
        for rows in (ids, wider)
    )
    shapes = Shapes(_PROBE_BATCH, network.longest, network.mixes_rows)
    if not fits_window(network, np.array([max(ends)]), np.array([tokens]), shapes).all():
        return False
    try:
        found = run(shared, shapes)
    except (TypeError, ValueError, RuntimeError, AttributeError, LookupError) as error:
        _LOG.info("signals.ches: %s cannot go on from a held prompt (%s); prompts are read with each answer.", name, error)
        return False
    expected, again = (run(whole, shapes) for whole in (alone, apart))
    noise = np.linalg.norm(again - expected, axis=1)
    if any(_differ(network, *row) for row in zip(found, expected, noise, strict=True)):
        _LOG.info("signals.ches: %s reads an answer differently after a held prompt; prompts are read with each.", name)
        return False
    return True


def head_of(network: "Network", name: str) -> "LanguageHead":
    """The projection onto the vocabulary, once it gives a probe the model's own logits.

    Raises:
        ConfigError: the model's logits are not a projection of its last states, scaled as its config says.
    """
    import torch

    from pipeline.ches.heads import find_head

    with torch.inference_mode():
        ids = network.to_device(_probe(network, 2))
        logits = network.model(input_ids=ids, use_cache=False).logits
        head = find_head(network.model, network.whole(ids).flatten(0, 1), logits.flatten(0, 1))
    if head is None:
        raise ConfigError(
            f"signals.ches.model: the logits of {name!r} are not a projection of its last states in a way known here, so "
            "log-probabilities cannot be computed. Set `logps: false` and name no weak model and no follow-ups."
        )
    return head


def _probe(network: "Network", count: int) -> npt.NDArray[np.int64]:
    tokens = min(_PROBE_TOKENS, network.longest)
    return np.random.default_rng(0).integers(0, network.vocabulary, (count, tokens))


def _differ(
    network: "Network", one: npt.NDArray[np.floating[Any]], other: npt.NDArray[np.floating[Any]], noise: float = 0.0
) -> bool:
    """Whether two results differ by more than rounding; `noise`: how far two that should be equal are apart."""
    return float(np.linalg.norm(one - other)) > max(_ROUNDING[network.dtype_name] * float(np.linalg.norm(other)), 3 * noise)
