import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import SourceConfig
from pipeline.errors import LayoutError
from pipeline.ingest import Layout, detect

AB = {"prompt": "q", "response_a": "x", "response_b": "y", "winner": "a"}
Detect = Callable[..., Layout]


@pytest.fixture
def found(tmp_path: Path) -> Detect:
    def run(*rows: dict[str, Any], **source: object) -> Layout:
        path = tmp_path / "ab-votes-chosen.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in rows))
        layout = detect(str(path), "raw/x.jsonl", SourceConfig.model_validate({"name": "s", "uri": "x", **source}))
        assert layout is not None
        return layout

    return run


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"chosen": "a", "rejected": "b"}, "chosen_rejected"),
        ({"chosen": "a", "rejected": "b", "annotator": "x"}, "chosen_rejected"),
        ({"question": "q", "chosen_response": "a", "rejected_response": "b", "label": 1}, "chosen_rejected"),
        (AB, "ab"),
        ({"instruction": "q", "input": "i", "output_1": "x", "output_2": "y", "label": 1}, "ab"),
        (AB | {"worker_id": 3}, "votes"),
        (AB | {"votes": [{"worker": "w", "value": "a"}]}, "votes"),
        (AB | {"votes": 17}, "ab"),
        ({"prompt": "q", "response1": "x", "response2": "y", "annotator1": 1, "annotator2": 2}, "votes"),
        (AB | {"worker_1": "Ann", "worker_2": "Bob"}, "ab"),
    ],
)
def test_the_layout_comes_from_names_and_types(found: Detect, row: dict[str, Any], name: str) -> None:
    assert found(row).name == name


def test_a_layout_says_what_it_uses_and_what_it_leaves(found: Detect) -> None:
    layout = found(AB | {"id": 1, "model_a": "m", "model_b": "n"})
    assert layout.slots == {
        "prompt": "prompt", "response_a": "response_a", "response_b": "response_b", "winner": "winner", "model_a": "model_a",
        "model_b": "model_b",
    }  # fmt: skip
    assert layout.unmapped == ["id"]
    assert layout.why == "fields 'response_a', 'response_b' and the verdict 'winner'"


def test_an_unknown_layout_shows_columns_candidates_and_the_config_to_write(found: Detect) -> None:
    with pytest.raises(LayoutError) as caught:
        found({"text": "x", "score": 3, "tags": ["a"]})
    assert str(caught.value) == (
        "raw/x.jsonl: no known layout fits these records.\n"
        "  Columns found:\n    text: text\n    score: number\n    tags: list\n"
        "  Candidates:\n"
        "    chosen_rejected: lacks chosen (a field such as 'chosen' or 'chosen_response'); rejected (a field such as 'rejected' "
        "or 'rejected_response')\n"
        "    ab: lacks response_a and response_b (two fields such as 'response_a' and 'response_b', 'output_1' and 'output_2'); winner (a "
        "field such as 'winner', 'label' or 'preference')\n"
        "    votes: lacks response_a and response_b (two fields such as 'response_a' and 'response_b', 'output_1' and 'output_2'); votes "
        "(a list such as 'votes'; two fields such as 'annotator1' and 'annotator2'; or a verdict such as 'winner' with a field such as "
        "'annotator')\n"
        "    ratings: lacks response (a field such as 'response' or 'completion', or 'messages' that end with an answer)\n"
        "    candidates: lacks candidates (a list such as 'completions', 'responses' or 'answers', or fields such as 'response_1' to "
        "'response_4')\n"
        "  Say it in the config, under the source:\n"
        "    layout: ratings\n    fields:\n      prompt: <field>\n      response: <field>\n      scores: score"
    )


def test_two_layouts_that_fit_are_ambiguous_until_the_config_settles_it(found: Detect) -> None:
    row = AB | {"chosen": "x", "rejected": "y"}
    with pytest.raises(LayoutError, match=r"more than one layout fits: chosen_rejected .* and ab"):
        found(row)
    assert found(row, layout="ab").name == "ab"


def test_two_pairs_of_answers_are_ambiguous(found: Detect) -> None:
    with pytest.raises(LayoutError, match="there are several: response_a, response_b; output_1, output_2"):
        found(AB | {"output_1": "x", "output_2": "y"})


def test_numbers_are_no_answers(found: Detect) -> None:
    with pytest.raises(LayoutError, match=r"chosen as text or messages \(field 'chosen' holds number\)"):
        found({"prompt": "q", "chosen": 1, "rejected": 2})


def test_texts_to_compare_need_a_prompt_unless_the_config_names_the_layout(found: Detect) -> None:
    row = {"response_a": "x", "response_b": "y", "winner": "a"}
    with pytest.raises(LayoutError, match=r"ab: lacks prompt \(a field such as 'prompt' or 'instruction'"):
        found(row)
    assert "prompt" not in found(row, layout="ab").slots


def test_configured_fields_win_over_aliases(found: Detect) -> None:
    assert found(AB | {"topic": "t"}, fields={"prompt": "topic"}).slots["prompt"] == "topic"


def test_a_configured_field_that_is_not_there_names_the_nearest(found: Detect) -> None:
    with pytest.raises(LayoutError, match=r"`fields: prompt: promt` is not in the first 1 records; did you mean 'prompt'\?"):
        found(AB, fields={"prompt": "promt"})
    with pytest.raises(LayoutError, match=r"`fields: response_a: zzz.text` is not in .* records; fields found: prompt, response_a"):
        found(AB, fields={"response_a": "zzz.text"})


def test_only_the_first_records_decide(found: Detect) -> None:
    assert found(*[AB] * 200, AB | {"votes": ["a"], "annotator": "late"}).name == "ab"
