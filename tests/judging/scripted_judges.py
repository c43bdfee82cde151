"""Judges for the scripted server: `Script(answer="tests.judging.scripted_judges:longer")`."""

import json
import re
from typing import Any

from tests.judging.replying import direct

_SHOWN = re.compile(r"Response ([AB]):\n<<<DATA ([0-9a-f]{16})\n(.*?)\nDATA \2>>>", re.DOTALL)


def shown(body: dict[str, Any]) -> dict[str, str]:
    """The answers in a request, by letter."""
    return {letter: said for letter, _, said in _SHOWN.findall(body["messages"][-1]["content"])}


def longer(body: dict[str, Any]) -> str:
    """Names the longer answer."""
    one, two = (len(shown(body)[letter]) for letter in "AB")
    return direct("A" if one > two else "B" if two > one else "tie")


def first_shown(body: dict[str, Any]) -> str:
    """Names the place, never the answer."""
    return direct("A")


def sound(body: dict[str, Any]) -> str:
    """A meta judge that finds nothing wrong."""
    return json.dumps({"problem": "none", "sound": True})
