"""Templates: package files in `templates/`, with a version, of literal text and named slots.

A file starts with lines `name: value` between two lines `---` (version, max_output_tokens), then has one section a message: a line
`# system` or `# user`, and below it the text. A slot is `{{name}}`, or `{{name|caption}}`: the caption stands on a line above the data.
Where there is no data the caption goes too, and so does the line, if the slot had one of its own. `{{mark}}` is the row's own mark (see
`rendering`), for the sentence that says what is data.
"""

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

MARK: Final = "mark"
_NAME: Final = re.compile(r"[a-z][a-z0-9-]*")
_ONE: Final = r"\{\{[a-z][a-z0-9_]*(?:\|[^{}\n]+)?\}\}"
_SLOT: Final = re.compile(rf"(^{_ONE}\n|{_ONE})", re.MULTILINE)
_SECTION: Final = re.compile(r"^# (system|user)$", re.MULTILINE)
_SETTINGS: Final = ("version", "max_output_tokens")


@dataclass(frozen=True)
class Slot:
    """A place for data: `name` as callers give it, the caption above it, if any, and the line's end, where the line is its own."""

    name: str
    caption: str | None = None
    end: str = ""

    @property
    def around(self) -> str:
        """What stands there only with data."""
        return (f"{self.caption}\n" if self.caption else "") + self.end


@dataclass(frozen=True)
class Template:
    """How a question is worded.

    Attributes:
        name: e.g. rationale-detailed.
        version: 1 and up; raised whenever the file changes in meaning.
        digest: 32 hex digits of the file's bytes: no change goes unnoticed, raised version or not.
        max_output_tokens: of an answer, where the config does not say it.
        messages: role and parts of each message; a part is literal text or a slot.
    """

    name: str
    version: int
    digest: str
    max_output_tokens: int
    messages: tuple[tuple[str, tuple[str | Slot, ...]], ...]

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots that a caller fills, sorted; `mark` is not one of them."""
        found = {part.name for _, parts in self.messages for part in parts if isinstance(part, Slot)}
        return tuple(sorted(found - {MARK}))

    @property
    def literal_bytes(self) -> int:
        """Length of all that is not data, in UTF-8 bytes."""
        return sum(len((part if isinstance(part, str) else part.around).encode()) for _, parts in self.messages for part in parts)


def load_template(name: str) -> Template:
    """A template of the package.

    Args:
        name: the file's name without `.md`.

    Raises:
        ValueError: no such template, or its file is not what the module says; a mistake in the package, never in data.
    """
    file = files("pipeline.prompts") / "templates" / f"{name}.md"
    if not _NAME.fullmatch(name) or not file.is_file():
        raise ValueError(f"no template {name!r} in pipeline/prompts/templates")
    return parse_template(name, file.read_text(encoding="utf-8"))


def parse_template(name: str, text: str) -> Template:
    """A template from its file's text; as `load_template`.

    Raises:
        ValueError: as there.
    """
    head, settings_text, body = (
        ("", *text.split("---\n", 2)[1:]) if text.startswith("---\n") and text.count("---\n") > 1 else (text, "", "")
    )
    settings = dict(line.split(": ", 1) for line in settings_text.splitlines() if ": " in line)
    if head or sorted(settings) != sorted(_SETTINGS) or not all(value.isdecimal() and int(value) > 0 for value in settings.values()):
        raise ValueError(
            f"template {name}: starts with {settings}; expected {' and '.join(_SETTINGS)}, numbers of 1 and up, between two ---"
        )
    before, *sections = _SECTION.split(body)
    if before.strip() or not sections:
        raise ValueError(f"template {name}: text before the first `# system` or `# user`, or none of them")
    messages = tuple((role, _parts(said.strip())) for role, said in zip(sections[::2], sections[1::2], strict=True))
    literals = "".join(part for _, parts in messages for part in parts if isinstance(part, str))
    if "{{" in literals or "}}" in literals:
        raise ValueError(f"template {name}: {{{{ or }}}} that is no slot; a slot is {{{{name}}}} or {{{{name|caption}}}} in small letters")
    digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return Template(name, int(settings["version"]), digest, int(settings["max_output_tokens"]), messages)


def _parts(text: str) -> tuple[str | Slot, ...]:
    # Split by a pattern in brackets: literals and slots take turns.
    return tuple(_slot(part) if i % 2 else part for i, part in enumerate(_SLOT.split(text)) if part)


def _slot(text: str) -> Slot:
    name, _, caption = text.strip()[2:-2].partition("|")
    return Slot(name, caption or None, "\n" if text.endswith("\n") else "")
