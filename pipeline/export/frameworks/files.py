"""Small files beside an export that show how a framework is pointed at it.

All paths are relative to the export's folder. What comes from the data set (its name) is written as a JSON string, which is YAML too.
"""

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from pipeline.export.form import Facts

HELD_OUT = ("validation", "test")


def held_out(facts: Facts) -> str:
    """The split to evaluate on while training, "" where there is none: test only without a validation, so that it stays unseen."""
    return next((split for split in HELD_OUT if paths(facts, split)), "")


def paths(facts: Facts, split: str) -> list[str]:
    """The export's files of one split, sorted."""
    return sorted(file["path"] for file in facts.files if file["split"] == split)


def first_line(facts: Facts) -> str:
    """A comment that says what was exported."""
    return f"# {json.dumps(facts.dataset)}, {facts.version}, format {facts.form}: " + ", ".join(
        f"{split} {rows:,}" for split, rows in facts.rows.items() if rows
    )


def shell(facts: Facts, what: str, flags: Mapping[str, str]) -> bytes:
    """A shell script's beginning: a comment and an array of arguments.

    Args:
        facts: of the export.
        what: what takes the arguments.
        flags: argument -> value; "" where it takes none. Values are words without quotes, or in quotes already.
    """
    told = "\n".join(f"  {flag} {value}".rstrip() for flag, value in flags.items())
    return f"{first_line(facts)}\n# For {what}; run in this folder, or put it before the paths.\nARGUMENTS=(\n{told}\n)\n".encode()


def yaml_text(facts: Facts, what: str, value: Any) -> bytes:  # noqa: ANN401 (a tree of dicts and lists)
    """A YAML file: a comment and a tree of dicts, lists and plain values."""
    return "\n".join([first_line(facts), f"# {what}", *_lines(value, 0)]).encode() + b"\n"


def json_text(value: Any) -> bytes:  # noqa: ANN401 (a tree of dicts and lists)
    """A JSON file."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def stem(path: str) -> str:
    """A file's name without its ending and with nothing but letters, digits and underscores, for a framework that names data sets."""
    return "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in PurePosixPath(path).stem)


def _lines(value: Any, depth: int) -> list[str]:  # noqa: ANN401
    pad = "  " * depth
    if isinstance(value, dict):
        told = []
        for key, inner in value.items():
            if isinstance(inner, (dict, list)) and inner:
                told += [f"{pad}{key}:", *_lines(inner, depth + 1)]
            else:
                told.append(f"{pad}{key}: {json.dumps(inner, ensure_ascii=False)}")
        return told
    told = []
    for inner in value:
        if isinstance(inner, dict):
            first, *rest = _lines(inner, depth + 1)
            told += [f"{pad}- {first.lstrip()}", *rest]
        else:
            told.append(f"{pad}- {json.dumps(inner, ensure_ascii=False)}")
    return told
