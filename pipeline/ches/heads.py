"""From hidden states to log-probabilities of given tokens."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Factors by which families of models scale their logits, by the name in their config.
_FACTORS = ("logit_scale", "logits_scaling", "lm_head_multiplier", "output_multiplier")
_CHUNK_BYTES = {"cpu": 32 << 20, "cuda": 512 << 20}  # of float32 logits at once, of which some three copies are held
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.03, torch.float16: 0.01}  # of the largest logit


class LanguageHead:
    """The projection onto the vocabulary, a constant number of states at a time.

    Args:
        projection: states (n, d) -> logits (n, V), before scaling.
        factor: that logits are multiplied by.
        cap: soft cap of the scaled logits, cap * tanh(logits / cap); None: none.
        vocabulary: V.
        device: type of the device.
    """

    def __init__(
        self, projection: Callable[[torch.Tensor], torch.Tensor], factor: float, cap: float | None, vocabulary: int, device: str
    ) -> None:
        self._projection, self._factor, self._cap = projection, factor, cap
        room = _CHUNK_BYTES["cuda" if device == "cuda" else "cpu"] // (4 * vocabulary)
        self.at_once = max(8, min(1 << room.bit_length() >> 1, 4096))

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Logits, float32 (n, V), of states (n, d)."""
        logits: torch.Tensor = self._projection(states).float() * self._factor
        return logits if self._cap is None else torch.tanh(logits / self._cap) * self._cap

    def logps(self, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Log-probabilities, float64 (n,), nats, of the tokens `targets`, int64 (n,), after states (n, d)."""
        found = torch.empty(targets.shape, dtype=torch.float64, device=states.device)
        for first in range(0, targets.shape[0], self.at_once):
            some, wanted = states[first : first + self.at_once], targets[first : first + self.at_once]
            if some.shape[0] < self.at_once:  # rounding may depend on the shape
                some = torch.cat([some, some.new_zeros((self.at_once - some.shape[0], some.shape[1]))])
            logits = self.logits(some)
            normal = torch.logsumexp(logits, dim=-1)[: wanted.shape[0]]
            of_targets = logits[: wanted.shape[0]].gather(1, wanted.unsqueeze(1)).squeeze(1)
            found[first : first + wanted.shape[0]] = of_targets.double() - normal.double()
        return found


def find_head(model: "PreTrainedModel", states: torch.Tensor, logits: torch.Tensor) -> LanguageHead | None:
    """The head that gives a model's own logits.

    How a model scales its logits is told by its config under several names: what fits is taken.

    Args:
        model: a causal model of transformers.
        states: (n, d), final states of a probe.
        logits: (n, V), what the model itself makes of the probe.

    Returns:
        None where none fits.
    """
    projection: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call, unused-ignore]
    if projection is None:
        return None
    config, dtype = model.config.get_text_config(), states.dtype
    told = [getattr(config, name, None) for name in _FACTORS]
    factors = [float(one) for one in told if isinstance(one, int | float) and one > 0]
    cap, expected = getattr(config, "final_logit_softcapping", None), logits.float()
    for factor in (1.0, *factors, *(1 / one for one in factors)):
        head = LanguageHead(projection, factor, cap, int(logits.shape[-1]), states.device.type)
        found = head.logits(states)
        error = float((found - expected).abs().max()) if found.shape == expected.shape else math.inf
        if error <= _TOLERANCE[dtype] * float(expected.abs().max()):
            return head
    return None
