"""Every reason to leave a pair out has words."""

import re
from pathlib import Path

import pipeline.export
from pipeline.export.messages import mangled
from pipeline.export.reasons import LEFT_OUT


def test_reasons_that_formats_give_have_words() -> None:
    folder = Path(pipeline.export.__file__).parent
    text = "\n".join(path.read_text() for path in folder.rglob("*.py") if path.parent.name != "lint" and path.name != "reasons.py")
    unused = [reason for reason in LEFT_OUT if f'"{reason}"' not in text and reason != "tie"]
    blocks = re.findall(r"split_by_reason\((.*?)\)\n", text, re.DOTALL)
    given = {name for block in blocks for name in re.findall(r'"([a-z_0-9]+)":', block)} | set(mangled())
    assert unused == []
    assert {"history", "no_margin", "same_prompt", "tools"} <= given
    assert given - set(LEFT_OUT) == set()
