from pathlib import Path

import pytest

from pipeline.prompts import load_template
from pipeline.prompts.template import Slot, parse_template

FOLDER = Path(__file__).parents[2] / "pipeline" / "prompts" / "templates"
NAMES = sorted(file.stem for file in FOLDER.iterdir())
HEAD = "---\nversion: 2\nmax_output_tokens: 30\n---\n"


@pytest.mark.parametrize("name", NAMES)
def test_every_template_of_the_package_loads_and_tells_data_by_its_mark(name: str) -> None:
    template = load_template(name)
    assert template.slots
    assert [role for role, _ in template.messages] == ["system", "user"]
    system, user = (parts for _, parts in template.messages)
    assert Slot("mark") in system
    # Data stands in the user's message alone.
    assert {part.name for part in system if isinstance(part, Slot)} == {"mark"}
    assert all(part.end or part.name == "mark" or not part.caption for part in user if isinstance(part, Slot))


def test_a_template_is_settings_sections_and_slots() -> None:
    text = HEAD + "# system\nBe {{mark}}.\n# user\n\n{{context|It depends on:}}\n{{a}} and {{b_2}}\n"
    template = parse_template("x", text)

    assert (template.version, template.max_output_tokens, template.slots) == (2, 30, ("a", "b_2", "context"))
    assert template.messages == (
        ("system", ("Be ", Slot("mark"), ".")),
        ("user", (Slot("context", "It depends on:", "\n"), Slot("a"), " and ", Slot("b_2"))),
    )
    assert template.literal_bytes == len("Be . and It depends on:\n\n")


def test_any_change_of_the_file_changes_the_digest() -> None:
    first, second = (parse_template("x", f"{HEAD}# user\n{{{{a}}}}{more}") for more in ("", " "))
    assert first.messages == second.messages
    assert first.digest != second.digest


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("# user\nx", "expected version and max_output_tokens"),
        ("---\nversion: 1\n---\n# user\nx", "expected version and max_output_tokens"),
        ("---\nversion: one\nmax_output_tokens: 3\n---\n# user\nx", "expected version and max_output_tokens"),
        ("---\nversion: 0\nmax_output_tokens: 3\n---\n# user\nx", "expected version and max_output_tokens"),
        (f"{HEAD}x", "text before the first"),
        (f"{HEAD}x\n# user\ny", "text before the first"),
        (f"{HEAD}# user\n{{{{Prompt}}}}", "that is no slot"),
        (f"{HEAD}# user\n{{{{ prompt }}}}", "that is no slot"),
    ],
)
def test_a_file_that_is_no_template_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_template("x", text)


@pytest.mark.parametrize("name", ["no-such", "../template", "judge-direct.md", ""])
def test_only_files_of_the_folder_are_templates(name: str) -> None:
    with pytest.raises(ValueError, match="no template"):
        load_template(name)
