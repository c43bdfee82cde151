"""A writer, a reader and a judge for the scripted server: `Script(answer="tests.flows.scripted_answers:everything")`.

They prefer the longer answer, unless told which one people preferred.
"""

import json
import re
from typing import Any

from tests.judging.replying import direct
from tests.judging.scripted_judges import shown

_LABEL = re.compile(r"preferred Response ([AB])|Response ([AB]) (?:was|is) (?:the )?preferred")


def everything(body: dict[str, Any]) -> str:
    """An answer to whatever is asked, by the fields that its schema names."""
    texts = shown(body)
    longer = "A" if len(texts["A"]) >= len(texts["B"]) else "B"
    fields = body["response_format"]["json_schema"]["schema"]["properties"]
    if "critique" in fields:
        return direct(longer)
    if "rationale" in fields:
        told = _LABEL.search(body["messages"][-1]["content"])
        for_ = next(name for name in told.groups() if name) if told else longer
        other = "B" if for_ == "A" else "A"
        words = " ".join(texts[for_].split()[:12])  # so many that no two rationales are near copies
        reasons = f"Response {for_} speaks of {words} where Response {other} leaves it out, and goes into what was asked in more depth."
        said = {"rationale": reasons}
        return json.dumps(said | ({"verdict": for_} if "verdict" in fields else {}))
    if set(fields) == {"verdict"}:
        named = re.search(r"Response ([AB]) speaks", body["messages"][-1]["content"])
        return json.dumps({"verdict": named[1] if named else "tie"})
    raise AssertionError(f"nothing is scripted for {sorted(fields)}")
