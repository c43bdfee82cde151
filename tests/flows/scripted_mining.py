"""A model that finds rules and criteria: `Script(answer="tests.flows.scripted_mining:answer")`.

Answers are good, to it, that name a source; that they are polite tells nothing.
"""

import json
from typing import Any

from pipeline.judging import criteria_forms as criteria
from pipeline.rationale import mined as rules
from tests.rationale.model import data, numbered

SOURCED, POLITE = "The response names a source.", "The response is polite."
BY_WORD = {"Sources": "source", "Guesses": "guess"}


def answer(body: dict[str, Any]) -> str:
    """JSON, by the form of the question."""
    asked, form = body["messages"][-1]["content"], body["response_format"]["json_schema"]["name"]
    return json.dumps(FORMS[form](asked))


def _rules(asked: str) -> Any:
    return {"rules": [SOURCED, POLITE]}


def _verified(asked: str) -> Any:
    response, lines = data(asked, "The response:"), numbered(data(asked, "The rules, by number:"))
    return {"rules": [{"number": number, "satisfied": ("source" if rule == SOURCED else "please") in response} for number, rule in lines]}


def _proposed(asked: str) -> Any:
    return {"criteria": [{"name": name, "description": f"Which has more {name}?"} for name in BY_WORD if f"- {name}" not in asked]}


def _judged(asked: str) -> Any:
    word = BY_WORD[data(asked, "The criterion:").split(":")[0]]
    a, b = (word in data(asked, caption) for caption in ("Response A:", "Response B:"))
    return {"thought": "", "verdict": criteria.CANNOT_SAY if a == b else "A" if a else "B"}


def _refined(asked: str) -> Any:
    raise AssertionError("both criteria are always right, or always wrong")


FORMS = {
    rules.EXTRACT_FORM.name: _rules,
    rules.MERGE_FORM.name: _rules,
    rules.VERIFY_FORM.name: _verified,
    criteria.PROPOSE_FORM.name: _proposed,
    criteria.JUDGE_FORM.name: _judged,
    criteria.REFINE_FORM.name: _refined,
}


def bold(body: dict[str, Any]) -> str:
    """Proposes a criterion that would write backwards and in colour, and finds it met by the first answer."""
    if body["response_format"]["json_schema"]["name"] == criteria.PROPOSE_FORM.name:
        return json.dumps({"criteria": [{"name": "Bold\x1b[31m", "description": "Which is bold\u202e?"}]})
    asked = body["messages"][-1]["content"]
    return json.dumps({"thought": "", "verdict": "A" if "Hello!" in data(asked, "Response A:") else "B"})
