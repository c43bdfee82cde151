"""The layers of a causal model, on batches of constant shape; keys and values of prefixes are held and read again."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_UNLIMITED = 1 << 20  # tokens, for models that name no longest sequence
_WINDOWS = ("sliding_window", "attention_chunk_size", "window_size")


def _has_experts(config: dict[str, Any]) -> bool:
    def some(name: str, value: object) -> bool:
        if isinstance(value, dict):
            return _has_experts(value)
        return "expert" in name and isinstance(value, int) and value > 1

    return any(some(str(name), value) for name, value in config.items())


class Network:
    """A causal model without its vocabulary.

    Args:
        model: of transformers, in evaluation mode, on its device.
    """

    def __init__(self, model: "PreTrainedModel") -> None:
        self.model: Any = model
        self.base, self.config = self.model.base_model, self.model.config.get_text_config()
        weights: Any = self.model.get_input_embeddings().weight
        self.device, self.dtype, self.vocabulary = weights.device, weights.dtype, int(weights.shape[0])

    @property
    def dtype_name(self) -> str:
        """Of the weights: float32, bfloat16 or float16."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence: no longer than what all lengths are computed alike for."""
        named = [getattr(self.config, name, None) for name in ("max_position_embeddings", "n_positions", "max_seq_len")]
        longest = min((one for one in named if isinstance(one, int) and one > 0), default=_UNLIMITED)
        rope = getattr(self.config, "rope_parameters", None) or {}
        for one in (rope, *(part for part in rope.values() if isinstance(part, dict))):
            # These change the frequencies of all rows of a batch when one of them is longer than this.
            if one.get("rope_type") in ("dynamic", "longrope"):
                longest = min(longest, one.get("original_max_position_embeddings") or longest)
        return min(longest, _UNLIMITED)

    @property
    def mixes_rows(self) -> bool:
        """Whether a row's rounding depends on the others: experts work on the tokens that come to them from all rows."""
        return _has_experts(self.config.to_dict())

    @property
    def keeps_state(self) -> bool:
        """Whether a pass may leave something behind in the model, so that two at once would mix."""
        return bool(getattr(self.model, "_is_stateful", False))

    @property
    def window(self) -> int:
        """Tokens up to which every token attends to all before it; 0 where some layers do not attend but carry a state on."""
        kinds = set(getattr(self.config, "layer_types", None) or ())
        if not kinds <= {"full_attention", "sliding_attention", "chunked_attention"}:
            return 0
        named = [getattr(self.config, name, None) for name in _WINDOWS]
        return min((one for one in named if isinstance(one, int) and one > 0), default=_UNLIMITED * 2)

    def to_device(self, array: npt.NDArray[Any]) -> torch.Tensor:
        """A copy there, queued without waiting for what runs."""
        tensor = torch.from_numpy(array)
        return tensor.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else tensor

    def whole(self, ids: torch.Tensor) -> torch.Tensor:
        """States (B, W, d) of right-padded sequences, int64 (B, W)."""
        # Without a mask: no token attends to what comes after it, so padding on the right reaches none.
        states: torch.Tensor = self.base(input_ids=ids, use_cache=False).last_hidden_state
        return states

    def hold(self, ids: torch.Tensor, lengths: torch.Tensor, slots: torch.Tensor, held: "Held") -> None:
        """Run right-padded prefixes, int64 (B, W), and hold the first of them at `slots`, int64 (n,), each `lengths`, (n,), long."""
        layers: list[Any] = [_Holding(keys, values, slots) for keys, values in zip(held.keys, held.values, strict=True)]
        states = self.base(input_ids=ids, past_key_values=Cache(layers=layers), use_cache=True).last_hidden_state
        held.last.index_copy_(0, slots, states[torch.arange(slots.shape[0], device=self.device), lengths - 1])

    def go_on(self, ids: torch.Tensor, before: torch.Tensor, slots: torch.Tensor, held: "Held") -> torch.Tensor:
        """States of what follows prefixes that are held.

        Args:
            ids: int64 (B, W), right-padded.
            before: int64 (B,), tokens of each prefix.
            slots: int64 (B,), where each is held.
            held: the prefixes.

        Returns:
            (B, 1 + W, d): the prefix's last state, then those of `ids`.
        """
        rows, width = ids.shape
        place = torch.arange(width, device=self.device)
        # A dummy's positions may lie anywhere, but a table of positions ends.
        positions = torch.clamp(before.unsqueeze(1) + place, max=self.longest - 1)
        mask = torch.ones((rows, held.width + width), dtype=torch.int64, device=self.device)
        mask[:, : held.width] = torch.arange(held.width, device=self.device) < before.unsqueeze(1)
        layers: list[Any] = [_Held(keys, values, slots) for keys, values in zip(held.keys, held.values, strict=True)]
        given = self.base(input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=Cache(layers=layers), use_cache=True)
        return torch.cat([held.last.index_select(0, slots).unsqueeze(1), given.last_hidden_state], dim=1)

    def layers(self) -> "list[Layer] | None":
        """What each layer keeps of a token; None where that is not the keys and values of plain attention."""
        cache = DynamicCache()
        ids = torch.ones((1, 4), dtype=torch.int64, device=self.device)
        try:
            self.base(input_ids=ids, past_key_values=cache, use_cache=True)
        except (TypeError, ValueError, RuntimeError, AttributeError, LookupError):  # it needs a cache of its own kind
            return None
        kept = [(layer.keys, layer.values) for layer in cache.layers if isinstance(layer, DynamicLayer)]
        if not kept or len(kept) != len(cache.layers):
            return None
        if any(one is None or one.ndim != 4 or one.shape[0] != 1 or one.shape[2] != 4 for pair in kept for one in pair):
            return None
        return [Layer(keys.shape[1], keys.shape[3], values.shape[1], values.shape[3]) for keys, values in kept]  # type: ignore[union-attr]


@dataclass(frozen=True)
class Layer:
    """Heads of one layer, and numbers that each keeps of a token."""

    key_heads: int
    key_size: int
    value_heads: int
    value_size: int

    @property
    def numbers(self) -> int:
        """Kept of a token."""
        return self.key_heads * self.key_size + self.value_heads * self.value_size


class Held:
    """Room for the keys, values and last states of prefixes.

    Args:
        layers: what each layer keeps.
        slots: prefixes.
        width: tokens of each.
        network: whose states are kept.
        dimensions: of a state.
    """

    def __init__(self, layers: list[Layer], slots: int, width: int, network: Network, dimensions: int) -> None:
        def room(*shape: int) -> torch.Tensor:
            return torch.zeros(shape, dtype=network.dtype, device=network.device)  # a masked NaN would still be one

        self.width = width
        self.keys = [room(slots, layer.key_heads, width, layer.key_size) for layer in layers]
        self.values = [room(slots, layer.value_heads, width, layer.value_size) for layer in layers]
        self.last = room(slots, dimensions)


class _Slots(DynamicLayer):  # type: ignore[no-untyped-call, unused-ignore]
    """A layer of a cache for one batch, over the room where prefixes are held."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, slots: torch.Tensor, seen: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self._keys, self._values, self._slots, self._seen = keys, values, slots, seen
        self.is_initialized, self.dtype, self.device = True, keys.dtype, keys.device

    def get_seq_length(self) -> int:
        return self._seen


class _Holding(_Slots):  # type: ignore[no-untyped-call, unused-ignore]
    """Puts a batch's keys and values into their slots."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, slots: torch.Tensor) -> None:
        super().__init__(keys, values, slots, 0)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        count, self._seen = self._slots.shape[0], int(key_states.shape[2])
        for room, states in ((self._keys, key_states), (self._values, value_states)):
            room[:, :, : self._seen].index_copy_(0, self._slots, states[:count])
        return key_states, value_states


class _Held(_Slots):  # type: ignore[no-untyped-call, unused-ignore]
    """Puts the keys and values that are held before a batch's own; nothing is kept."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, slots: torch.Tensor) -> None:
        super().__init__(keys, values, slots, int(keys.shape[2]))

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self._seen += int(key_states.shape[2])
        keys = torch.cat([self._keys.index_select(0, self._slots), key_states], dim=2)
        return keys, torch.cat([self._values.index_select(0, self._slots), value_states], dim=2)
