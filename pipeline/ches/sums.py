"""Which hidden states count for a response, and their sum."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def response_sums(
    hidden: "torch.Tensor", attention_mask: "torch.Tensor", response_mask: "torch.Tensor"
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Sums of the states that predict each response's tokens (Unintentional Unalignment, 2024).

    A token is predicted by the state before it: the sum begins with the state of the last prompt token and ends with that of
    the last response token but one. Padding, on whichever side, is left out by the masks, never by its place.

    Args:
        hidden: (B, T, d), final-layer states, after the final norm.
        attention_mask: (B, T), true where a token is; a row's tokens are side by side.
        response_mask: (B, T), true at the response's tokens, the end-of-turn token included.

    Returns:
        float64 (B, d), the sums, taken in double precision; and int64 (B,), tokens of each response.

    Raises:
        ValueError: a response token has no token before it.
    """
    attended, scored = attention_mask.bool(), response_mask.bool()
    if bool((scored & ~attended).any()) or bool(scored[:, 0].any()) or bool((scored[:, 1:] & ~attended[:, :-1]).any()):
        raise ValueError("a response token is padding or has no token before it; expected a prompt of at least one token before it")
    return sums_at(hidden, predicting(scored)), scored.sum(dim=1)


def predicting(response_mask: "torch.Tensor") -> "torch.Tensor":
    """The places one before the response's tokens, bool (B, T)."""
    import torch

    return torch.nn.functional.pad(response_mask[:, 1:], (0, 1))


def sums_at(hidden: "torch.Tensor", places: "torch.Tensor") -> "torch.Tensor":
    """Sums over (B, T, d) at true `places`, (B, T), as float64 (B, d); what other places hold, NaN too, does not matter."""
    import torch

    return torch.where(places.unsqueeze(-1), hidden, hidden.new_zeros(())).sum(dim=1, dtype=torch.float64)
