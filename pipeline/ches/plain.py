"""Conversations as plain text, for models without a chat template.

    System: Be brief.

    User: Why is the sky blue?

    Assistant: Rayleigh scattering.

The prompt ends with "Assistant:", the response goes on with a space. Turns are one blank line apart; tool definitions stand first
("Tools: " and their JSON), a turn's tool calls on its last lines, both as the source wrote them.
"""

from collections.abc import Sequence
from typing import Any, Final

VERSION: Final = "plain 1"

_NAMES: Final = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Tool"}


class PlainForm:
    """The form above. It refuses nothing and leaves nothing out but reasoning and the names of turns."""

    definition = VERSION

    def prompt(self, messages: Sequence[dict[str, Any]], tools: str | None) -> str:
        """What an assistant's turn goes on from; "" where there is neither a message nor a tool."""
        told = self.whole(messages, tools)
        return f"{told}\n\n{_NAMES['assistant']}:" if told else ""

    def whole(self, messages: Sequence[dict[str, Any]], tools: str | None) -> str:
        """All turns, the last one complete."""
        turns = [f"{_NAMES.get(one['role'], one['role'])}: {_said(one)}" for one in messages]
        return "\n\n".join([f"Tools: {tools}", *turns] if tools else turns)


def _said(message: dict[str, Any]) -> str:
    return "\n".join(part for part in (message.get("content"), message.get("tool_calls")) if part)
