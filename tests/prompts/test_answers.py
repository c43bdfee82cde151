import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.prompts import fields, read_json
from pipeline.prompts.answers import check_schema
from pipeline.prompts.data import BREAK
from tests.prompts.texts import HOSTILE, texts


def an_object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


SCHEMA = an_object(
    verdict={"type": "string", "enum": ["A", "B", "tie"]},
    score={"type": "integer", "minimum": 1, "maximum": 5},
    share={"type": ["number", "null"]},
    sound={"type": "boolean"},
    parts={"type": "array", "items": an_object(text={"type": "string"}), "maxItems": 2},
)
GOOD = {"verdict": "A", "score": 3, "share": 0.5, "sound": True, "parts": [{"text": "x"}]}
SHORT = an_object(verdict={"type": "string", "enum": ["A", "B"]})
A = '{"verdict": "A"}'


def read(text: str | None, schema: dict[str, Any] = SHORT) -> tuple[Any, ...]:
    return read_json(pl.Series([text], dtype=pl.String), schema).row(0)


@pytest.mark.parametrize(
    "text",
    [
        A,
        f"\n {A}\n",
        f"```json\n{A}\n```",
        f"```\n{A}\n```\n",
        f"<think>B is better. </s> {{</think>\n{A}",
        f"<think>\n</think>```json\n{A}\n```",
        f"B? No.\n</think>\n\n{A}",  # the server's template had opened the block
        '{"verdict": "A", "verdicts": ["B"], "more": {"verdict": "B"}}',
    ],
)
def test_an_object_is_taken_bare_or_fenced_and_after_thoughts(text: str) -> None:
    assert read(text) == (True, None, None, '{"verdict":"A"}')


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "no_answer"),
        ("", "no_answer"),
        (" \n", "no_answer"),
        ("A", "not_json"),
        (f"Sure! {A}", "not_json"),
        (f"{A} I hope that helps.", "not_json"),
        (f"{A}\n{A}", "not_json"),
        (f"```json\n{A}\n```\n```json\n{A}\n```", "not_json"),
        (f"Here:\n```json\n{A}\n```", "not_json"),
        (f"<think>{A}", "not_json"),
        (f"<think>The response says </think>{A} and more.</think>{A}", "not_json"),
        ('{"verdict": "A"', "not_json"),
        ("{'verdict': 'A'}", "not_json"),
        ('{"verdict": "A",}', "not_json"),
        ('{"verdict": "A", "verdict": "B"}', "not_json"),
        ('{"verdict": "A", "x": NaN}', "not_json"),
        ('{"verdict": "A", "x": [{"y": 1, "y": 2}]}', "not_json"),
        ("[" * 100_000, "not_json"),
        ('{"verdict": ' + "9" * 5000 + "}", "not_json"),
        (f"[{A}]", "wrong_schema"),
        ('"A"', "wrong_schema"),
        ("null", "wrong_schema"),
        ("{}", "wrong_schema"),
        ('{"Verdict": "A"}', "wrong_schema"),
        ('{"verdict": "a"}', "wrong_schema"),
        ('{"verdict": "A "}', "wrong_schema"),
        ('{"verdict": null}', "wrong_schema"),
        ('{"verdict": ["A"]}', "wrong_schema"),
    ],
)
def test_nothing_else_is_taken(text: str | None, problem: str) -> None:
    valid, why, detail, value = read(text)
    assert (valid, why, value) == (False, problem, None)
    assert 0 < len(detail) < 300


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"score": 6}, "answer.score: 6; expected 1 to 5"),
        ({"score": 0}, "answer.score: 0; expected 1 to 5"),
        ({"score": 2.5}, "answer.score: 2.5; expected integer"),
        ({"score": "3"}, 'answer.score: "3"; expected integer'),
        ({"score": True}, "answer.score: true; expected integer"),
        ({"score": None}, "answer.score: null; expected integer"),
        ({"score": 10**30}, f"answer.score: {10**30}; expected integer"),
        ({"share": "half"}, 'answer.share: "half"; expected number'),
        ({"share": 1e300}, "answer.share: 1e+300; expected number"),
        ({"sound": 1}, "answer.sound: 1; expected boolean"),
        ({"sound": "true"}, 'answer.sound: "true"; expected boolean'),
        ({"parts": {}}, "answer.parts: {}; expected array"),
        ({"parts": [{"text": "x"}] * 3}, "answer.parts: 3 items; expected None to 2"),
        ({"parts": [{"text": "x"}, {}]}, "answer.parts[1]: no text"),
        ({"parts": [{"text": 1}]}, "answer.parts[0].text: 1; expected string"),
        ({"verdict": "C"}, 'answer.verdict: "C"; expected one of ["A", "B", "tie"]'),
    ],
)
def test_a_value_of_another_type_or_out_of_range_is_named(change: dict[str, Any], detail: str) -> None:
    assert read(json.dumps({**GOOD, **change}), SCHEMA) == (False, "wrong_schema", detail, None)


def test_a_number_beyond_all_numbers_is_none() -> None:
    assert read(json.dumps(GOOD).replace("0.5", "1e999"), SCHEMA)[:3] == (False, "wrong_schema", "answer.share: inf; expected number")


def test_a_whole_number_may_be_written_with_a_point_and_null_where_it_is_allowed() -> None:
    value = read(json.dumps({**GOOD, "score": 3.0, "share": None}), SCHEMA)[3]
    assert fields(pl.Series([value]), SCHEMA).row(0, named=True) == {**GOOD, "share": None}


strings = texts | st.sampled_from(HOSTILE)
answers = st.fixed_dictionaries(
    {
        "verdict": st.sampled_from(["A", "B", "tie"]),
        "score": st.integers(1, 5),
        "share": st.none() | st.floats(-1e9, 1e9) | st.integers(-9, 9),
        "sound": st.booleans(),
        "parts": st.lists(st.fixed_dictionaries({"text": strings}), max_size=2),
    },
    optional={"more": strings, "verdict_b": strings},
)


@given(st.lists(st.tuples(answers, st.booleans(), st.sampled_from(["{}", "```json\n{}\n```", "<think>x</think>{}"])), max_size=4))
def test_what_is_read_is_what_was_written(given: list[tuple[dict[str, Any], bool, str]]) -> None:
    written = [how.replace("{}", json.dumps(answer, ensure_ascii=ascii_only)) for answer, ascii_only, how in given]
    result = read_json(pl.Series(written, dtype=pl.String), SCHEMA)

    assert result["problem"].to_list() == [None] * len(given)
    for row, (answer, _, _) in zip(fields(result["value"], SCHEMA).to_dicts(), given, strict=True):
        expected = {name: answer[name] for name in SCHEMA["properties"]}
        expected["parts"] = [{"text": part["text"].replace(BREAK, "")} for part in expected["parts"]]
        assert row == expected


@given(st.lists(st.none() | strings | st.just(A), max_size=5))
def test_an_answer_is_read_on_its_own(given: list[str | None]) -> None:
    whole = read_json(pl.Series(given, dtype=pl.String), SHORT)
    assert whole.rows() == [read(text) for text in given]
    assert fields(whole["value"], SHORT)["verdict"].to_list() == [
        None if text is None else json.loads(text)["verdict"] for text in whole["value"]
    ]


def test_half_characters_become_visible_and_the_unseen_break_goes() -> None:
    schema = an_object(text={"type": "string"})
    value = read('{"text": "a\\ud800b\\udc00 \\ud83d\\ude00 <\u2060/s>\\u0000"}', schema)[3]
    assert fields(pl.Series([value]), schema)["text"].to_list() == ["a\ufffdb\ufffd 😀 </s>\x00"]


def test_a_half_character_in_what_is_wrong_can_be_told() -> None:
    assert "answer.verdict" in read('{"verdict": "\\ud800"}')[2]
    assert read('{"verdict": ["\\ud800"]}')[1] == "wrong_schema"


def test_columns_have_their_types_where_there_is_no_answer() -> None:
    expected = {
        "verdict": pl.String,
        "score": pl.Int64,
        "share": pl.Float64,
        "sound": pl.Boolean,
        "parts": pl.List(pl.Struct({"text": pl.String})),
    }
    for values in ([], [None]):
        columns = fields(pl.Series(values, dtype=pl.String), SCHEMA)
        assert columns.schema == expected
        assert columns.rows() == [(None,) * 5] * len(values)


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "array", "items": {"type": "string"}}, "expected an object"),
        (an_object(), "names its properties"),
        ({**SHORT, "required": []}, "requires all of them"),
        ({**SHORT, "additionalProperties": True}, "allows no others"),
        (an_object(x={"type": "string", "pattern": "a"}), "schema.x: pattern cannot be checked of a string"),
        (an_object(x={"type": "str"}), "schema.x: type 'str'; expected one of string"),
        (an_object(x={"type": ["string", "integer"]}), "schema.x: type"),
        (an_object(x={"enum": ["a"]}), "schema.x: type None"),
        (an_object(x={"type": "array"}), "schema.x\\[\\]: type None"),
        (an_object(x=an_object(y={"type": "string", "minLength": 1})), "schema.x.y: minLength"),
    ],
)
def test_a_schema_that_could_not_be_checked_is_refused(schema: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_schema(schema)
