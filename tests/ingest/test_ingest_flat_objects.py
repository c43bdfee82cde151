"""The fast way gives what the careful way gives, or leaves the rows to it."""

import json
from collections.abc import Iterator
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.config import SourceConfig
from pipeline.ingest.files.flat_objects import plain_fields
from pipeline.ingest.fragments import Json, in_fragments, pointer
from pipeline.ingest.layouts.slots import Task, answers
from pipeline.ingest.records import BROKEN, Layout, Rows

CHARACTERS = st.sampled_from('ab"\\:{}[], \n\r\t/\u00e9\u201c\U0001f600\x00')
TEXTS = st.text(CHARACTERS, max_size=8)
ESCAPED = st.lists(st.sampled_from(["\\ud83d", "\\ude00", "\\ud83d\\uDE00", "\\\\", "ud83d", "a"]), max_size=4).map(
    lambda parts: f'"{"".join(parts)}"'
)
FRACTIONS = ("1.0", "-0.0", "0.25", "1.10", "0.1234567890123456", "0.00000012", "123456789012345.6")
NUMBERS = st.sampled_from(["0", "-0", "7", "-12", *FRACTIONS, "1e3", "1" * 30, "true", "false", "null", "[]", '{"a": "b"}'])
NAMES = st.sampled_from(["chosen", "label", "a b", "pr.mpt", "n\u00e9"])


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A JSON object as some writer may spell it."""
    value = TEXTS.map(lambda text: json.dumps(text, ensure_ascii=draw(st.booleans()))) | NUMBERS
    colon, comma = draw(st.sampled_from([(":", ","), (": ", ", "), (" : ", ",\n  ")]))
    members = draw(st.lists(st.tuples(NAMES, value), max_size=3))
    return "{" + comma.join(json.dumps(name) + colon + text for name, text in members) + "}"


@st.composite
def alike(draw: st.DrawFn) -> list[str]:
    """Objects of equal fields, now and then with another one among them."""
    kinds = {"chosen": TEXTS.map(json.dumps) | ESCAPED, "label": NUMBERS | TEXTS.map(json.dumps), "pr.mpt": TEXTS.map(json.dumps)}
    row = st.fixed_dictionaries(kinds).map(lambda one: "{" + ", ".join(f'"{name}": {text}' for name, text in one.items()) + "}")
    return draw(st.lists(row | row | row | documents(), min_size=1, max_size=4))


@pytest.fixture(scope="module")
def session() -> Iterator[Json]:
    json_ = Json()
    yield json_
    json_.close()


@settings(deadline=None)
@given(texts=alike() | st.lists(documents(), max_size=3))
def test_plain_fields_are_the_fields_and_values_that_the_careful_way_finds(session: Json, texts: list[str]) -> None:
    objects = pl.Series(texts, dtype=pl.String)

    plain = plain_fields(objects)

    if plain is not None:
        assert list(plain) == session.keys(objects)
        expected = session.extract(objects, [pointer(name) for name in plain])
        for (column, is_text), fragments in zip(plain.values(), expected, strict=True):
            assert (session.quote(column.to_frame("x"))["x"] if is_text else column).to_list() == fragments.to_list()


def test_numbers_and_nulls_of_any_kind_among_texts_are_plain() -> None:
    rows = pl.Series(['{"chosen": "\\ud83d\\ude00", "score": 1.5}', '{"chosen": "b", "score": null}', '{"chosen": "c", "score": -2}'])

    plain = plain_fields(rows)

    assert plain is not None
    assert {name: (column.to_list(), is_text) for name, (column, is_text) in plain.items()} == {
        "chosen": (["\U0001f600", "b", "c"], True),
        "score": (["1.5", None, "-2"], False),
    }


def test_texts_whole_numbers_and_booleans_are_plain() -> None:
    rows = pl.Series(['{"chosen": "a \\"b\\" \\\\", "label": 1, "tie": false}', '{"label":20,"tie":true,"chosen":""}'])

    plain = plain_fields(rows)

    assert plain is not None
    assert {name: (column.to_list(), is_text) for name, (column, is_text) in plain.items()} == {
        "chosen": (['a "b" \\', ""], True),
        "label": (["1", "20"], False),
        "tie": (["false", "true"], False),
    }


@pytest.mark.parametrize(
    "other",
    [
        '{"chosen": 5, "label": 1}',
        '{"chosen": null, "label": 1}',
        '{"chosen": "x", "label": "1"}',
        '{"chosen": "x", "label": 1.10}',
        '{"chosen": "x", "label": 1e3}',
        '{"chosen": "x", "label": -0}',
        '{"chosen": "x"}',
        '{"chosen": "x", "label": 1, "more": 2}',
        '{"chosen": "x", "chosen": "y", "label": 1}',
        '{"\\u0063hosen": 5, "x": {"chosen": "x"}, "label": 1}',
        '{"x": {"chosen": "x", "label": 1}}',
        '{"chosen": "\\u0000", "label": 1}',
        '{"chosen": "\\ud800", "label": 1}',
        '{"chosen": "\\ud83d\\ud83d\\ude00\\ude00", "label": 1}',
        '{"chosen": "\\\\ud83d\\ude00", "label": 1}',
        '{"chosen": "x", "label": 1} {}',
        '{"chosen": "x", "label": 1',
        "[1]",
        "null",
    ],
)
def test_one_row_that_needs_care_sends_its_batch_the_careful_way(other: str) -> None:
    assert plain_fields(pl.Series(['{"chosen": "x", "label": 1}'])) is not None
    assert plain_fields(pl.Series(['{"chosen": "x", "label": 1}', other])) is None


MARKS = st.sampled_from(["\n\nHuman:", "\n\nAssistant:", "Human:", "\n\n Human:"])
TALK = st.lists(st.tuples(MARKS, st.sampled_from([" hi", "", " ", "a\n"]))).map(lambda turns: "".join(mark + text for mark, text in turns))
SAID = TALK | st.sampled_from(["plain", "", " \n", '["a", "b"]', "[x", "{}"])
PARTED = st.tuples(TALK, SAID, SAID).map(lambda one: ("q", one[0] + one[1], one[0] + one[2]))


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.tuples(SAID, SAID, SAID) | PARTED, min_size=1, max_size=4),
    prompted=st.booleans(),
    cells=st.booleans(),
)
def test_answers_that_came_as_texts_are_those_that_came_as_fragments(
    session: Json, rows: list[tuple[str, str, str]], prompted: bool, cells: bool
) -> None:
    frame = pl.DataFrame(rows, schema=["f0", "f1", "f2"], orient="row").with_row_index("source_row")
    fields = {"prompt": "f0", "chosen": "f1", "rejected": "f2"}
    texts = Rows(frame, fields, BROKEN.to_frame(), cells=cells, texts=frozenset(fields))
    slots = {name: name for name in fields if prompted or name != "prompt"}
    task = Task(texts, Layout("chosen_rejected", dict(slots), ""), session, SourceConfig(name="s", uri="u"), "f", "overall")

    quick = answers(task, "chosen", "rejected")
    careful = answers(replace(task, rows=in_fragments(texts, session)), "chosen", "rejected")

    assert_frame_equal(quick.frame, careful.frame)
    assert_frame_equal(quick.problems.sort("id"), careful.problems.sort("id"))
