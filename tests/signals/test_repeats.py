"""Answers that come back: exactly, nearly, and from models that say nothing else."""

from collections import defaultdict
from random import Random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.schemas import MESSAGE_FIELDS, MESSAGES_PL, SIGNALS
from pipeline.signals.repeats import (
    add_distinct_shares,
    add_near_repeats,
    add_repeats,
    reduce_given,
    reduce_repeats,
    summarise_given,
    summarise_repeats,
)

LONG = " and so on and so on"  # makes an answer one of at least six words
NO_EDGES = pl.DataFrame(schema={"left": pl.String, "right": pl.String, "cosine": pl.Float64})

Given = tuple[str, list[str], str, str]  # prompt (its cluster too), sources, chosen, rejected


def message(content: str, tool_calls: str | None = None) -> dict[str, str | None]:
    return dict.fromkeys(MESSAGE_FIELDS) | {"role": "assistant", "content": content, "tool_calls": tool_calls}


def answered(*rows: Given, models: tuple[list[str], list[str]] = (["m"], ["n"])) -> pl.DataFrame:
    """One pair a row; an answer's ids are its text, and the id of a blank text is null."""
    sides = {"chosen": [r[2] for r in rows], "rejected": [r[3] for r in rows]}
    strings = pl.List(pl.String)
    columns = {"prompt_id": [r[0] for r in rows], "prompt_cluster_id": [r[0] for r in rows]}
    for side, said in sides.items():
        columns |= {f"{side}_id": said, f"{side}_text": [text or None for text in said]}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)).with_columns(
        pl.Series("sources", [r[1] for r in rows], dtype=strings),
        *(pl.Series(side, [[message(text)] for text in said], dtype=MESSAGES_PL) for side, said in sides.items()),
        *(pl.Series(f"{side}_models", [names for _ in rows], dtype=strings) for side, names in zip(sides, models, strict=True)),
    )


def edges(*ends: tuple[str, str]) -> pl.DataFrame:
    return pl.DataFrame([(a, b, 0.96) for a, b in ends], schema=NO_EDGES.schema, orient="row")


REPEATED = answered(
    ("q1", ["s"], "same", "r1"),
    ("q1", ["s"], "same", "r2"),  # the same prompt counts once
    ("q2", ["s", "t"], "r3", "same"),
    ("q3", ["s"], "same", ""),
    ("q4", ["t"], "same", ""),
    ("q5", ["s"], "r4", ""),
)


def test_repeats_count_prompts_of_one_source_and_leave_empty_answers_out() -> None:
    repeats = reduce_repeats([summarise_repeats(REPEATED)])

    assert repeats.rows() == [("s", "same", 3)]  # t has two prompts only
    result = add_repeats(REPEATED, repeats)
    assert result["chosen_repeated_prompts"].to_list() == [3, 3, 0, 3, 0, 0]
    assert result["rejected_repeated_prompts"].to_list() == [0, 0, 3, 0, 0, 0]


def test_tool_calls_without_text_are_answers_that_repeat() -> None:
    call = pl.Series([[message("", '[{"name": "f"}]')]] * 3, dtype=MESSAGES_PL)
    rows = answered(*[(f"q{n}", ["s"], "", f"r{n}") for n in range(3)]).with_columns(chosen=call)

    assert reduce_repeats([summarise_repeats(rows)]).rows() == [("s", "", 3)]
    assert summarise_given(rows)["text_id"].unique().sort().to_list() == ["r0", "r1", "r2"]  # no text, no vector, no near copies


@given(st.lists(st.integers(0, 3), min_size=5, max_size=5))
@settings(max_examples=30)
def test_nothing_depends_on_how_prompts_are_partitioned(places: list[int]) -> None:
    prompts = ["q1", "q2", "q3", "q4", "q5"]
    parts = [
        REPEATED.filter(pl.col("prompt_id").is_in([q for q, p in zip(prompts, places, strict=True) if p == place])) for place in range(4)
    ]
    near = edges(("r3", "same"))

    parted_repeats = reduce_repeats([summarise_repeats(part) for part in parts])
    assert_frame_equal(parted_repeats, reduce_repeats([summarise_repeats(REPEATED)]))
    parted = reduce_given([summarise_given(part) for part in parts], near)
    for one, other in zip(parted, reduce_given([summarise_given(REPEATED)], near), strict=True):
        assert_frame_equal(one, other)


def test_an_answer_is_repeated_where_a_near_copy_is_given() -> None:
    rows = answered(("q1", ["s"], "a", "x"), ("q2", ["s"], "b", "y"), ("q3", ["s"], "z", "c"), ("q4", ["t"], "a", "w"))
    near, _ = reduce_given([summarise_given(rows)], edges(("b", "a"), ("b", "c")))

    assert near.rows() == [("s", "b", 3)]  # a and c are near to b, but not to each other: two prompts each
    result = add_near_repeats(rows, near)
    assert result["chosen_near_repeated_prompts"].to_list() == [0, 3, 0, 0]
    assert result["rejected_near_repeated_prompts"].to_list() == [0, 0, 0, 0]


def test_prompts_of_one_cluster_are_one_prompt() -> None:
    rows = answered(*[(prompt, ["s"], "same", f"r{n}") for n, prompt in enumerate(["q0", "j", "j", "q3"])])

    near, _ = reduce_given([summarise_given(rows)], NO_EDGES)

    assert near.rows() == reduce_repeats([summarise_repeats(rows)]).rows() == [("s", "same", 3)]


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["q1", "q2", "q3", "q4", "q5"]),
        st.lists(st.sampled_from(["s", "t"]), min_size=1, max_size=2, unique=True),
        st.sampled_from("abcdef"),
        st.sampled_from(["a", "b", "c", ""]),
    ),
    max_size=12,
)
ENDS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("cdef")).filter(lambda ends: ends[0] < ends[1]), unique=True)


@given(ROWS, ENDS)
@settings(max_examples=60)
def test_near_repeats_are_those_of_a_count_by_hand(rows: list[Given], ends: list[tuple[str, str]]) -> None:
    table = answered(*rows)
    prompts: dict[tuple[str, str], set[str]] = defaultdict(set)
    for prompt, sources, *answers in rows:
        for source in sources:
            for answer in filter(None, answers):
                prompts[source, answer].add(prompt)
    expected = {}
    for source, text in prompts:
        alike = {text} | {b if a == text else a for a, b in ends if text in (a, b)}
        counted = set[str]().union(*(prompts.get((source, one), set()) for one in alike))
        if len(counted) >= 3:
            expected[source, text] = len(counted)

    near, _ = reduce_given([summarise_given(table)], edges(*ends))

    assert {(source, text): n for source, text, n in near.rows()} == expected
    added = add_near_repeats(table, near)
    for side, at in (("chosen", 2), ("rejected", 3)):
        largest = [max(expected.get((source, row[at]), 0) for source in row[1]) for row in rows]
        assert added[f"{side}_near_repeated_prompts"].to_list() == largest


@given(ROWS, ENDS, st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_the_order_of_rows_and_edges_does_not_matter(rows: list[Given], ends: list[tuple[str, str]], rng: Random) -> None:
    shuffled, turned = rng.sample(rows, len(rows)), [rng.choice([(a, b), (b, a)]) for a, b in rng.sample(ends, len(ends))]

    near, _ = reduce_given([summarise_given(answered(*rows))], edges(*ends))
    again, _ = reduce_given([summarise_given(answered(*shuffled))], edges(*turned))

    assert_frame_equal(near, again)


def test_a_text_is_counted_whole_however_the_work_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = answered(*[(f"q{n}", ["s"], f"a{n % 4}", f"b{n % 3}") for n in range(24)])
    ends = edges(("a0", "a1"), ("a1", "a2"), ("b0", "b1"), ("a3", "b2"))
    whole, _ = reduce_given([summarise_given(rows)], ends)

    monkeypatch.setattr("pipeline.signals.repeats._AT_ONCE", 7)
    parted, _ = reduce_given([summarise_given(rows)], ends)

    assert whole.height == 7
    assert_frame_equal(whole, parted)


def shares_of(*tables: pl.DataFrame) -> dict[tuple[str, str | None], float]:
    _, shares = reduce_given([summarise_given(table) for table in tables], NO_EDGES)
    return {(source, model): share for source, model, share in shares.rows()}


def test_one_answer_for_805_prompts_is_a_constant_source() -> None:
    constant, other = "I will not tell." + LONG, [f"An answer, number {n}." + LONG for n in range(805)]
    rows = answered(*[(f"q{n}", ["bench"], constant, other[n]) for n in range(805)])

    assert reduce_repeats([summarise_repeats(rows)]).rows() == [("bench", constant, 805)]
    assert shares_of(rows) == {("bench", "m"): 1 / 805, ("bench", "n"): 1.0}
    assert round(1 / 805, 5) == 0.00124
    result = add_distinct_shares(rows, reduce_given([summarise_given(rows)], NO_EDGES)[1])
    assert result["chosen_distinct_share"].unique().to_list() == [1 / 805]
    assert result["rejected_distinct_share"].unique().to_list() == [1.0]


def test_a_source_of_questions_asked_before_is_not_constant() -> None:
    """Three in a hundred answers are ones that were given before."""
    rows = answered(*[(f"q{n}", ["faq"], f"Answer {n % 970}." + LONG, "") for n in range(1000)])

    assert shares_of(rows) == {("faq", "m"): 0.97}


def test_labels_and_short_answers_say_nothing_about_a_model() -> None:
    rows = answered(*[(f"q{n}", ["quiz"], "Yes." if n % 2 else "No, it isn't so.", "") for n in range(100)])

    _, shares = reduce_given([summarise_given(rows)], NO_EDGES)

    assert shares.height == 0
    assert add_distinct_shares(rows, shares)["chosen_distinct_share"].null_count() == 100


@pytest.mark.parametrize(("n", "expected"), [(19, {}), (20, {("s", "m"): 0.05})])
def test_a_share_needs_twenty_answers(n: int, expected: dict[tuple[str, str], float]) -> None:
    assert shares_of(answered(*[(f"q{k}", ["s"], "same" + LONG, "") for k in range(n)])) == expected


def test_an_answer_in_several_pairs_of_a_prompt_is_one_answer() -> None:
    rows = answered(*[(f"q{n}", ["s"], f"Answer {n}" + LONG, f"Other {n} {k}" + LONG) for n in range(10) for k in range(4)])

    assert shares_of(rows) == {("s", "n"): 1.0}  # m gave 10 answers, not 40


def test_where_no_model_is_named_the_source_alone_counts() -> None:
    rows = answered(*[(f"q{n}", ["s"], "same" + LONG, "same" + LONG) for n in range(40)], models=([], []))
    named = answered(*[(f"p{n}", ["s"], f"Answer {n}" + LONG, "") for n in range(40)])
    both = pl.concat([rows, named])
    near_and_shares = reduce_given([summarise_given(both)], NO_EDGES)

    assert shares_of(both) == {("s", None): 1 / 40, ("s", "m"): 1.0}
    assert add_distinct_shares(both, near_and_shares[1])["chosen_distinct_share"].to_list() == [1 / 40] * 40 + [1.0] * 40


def test_the_least_share_of_a_side_s_sources_and_models_is_shown() -> None:
    shares = pl.DataFrame([("s", "m", 0.5), ("t", "k", 0.1), ("u", "m", 0.01)], schema=["source", "model", "distinct_share"], orient="row")
    rows = answered(("q", ["s", "t"], "a", "b"), models=(["k", "m"], ["n"]))

    result = add_distinct_shares(rows, shares)

    assert result.select("chosen_distinct_share", "rejected_distinct_share").rows() == [(0.1, None)]


def test_no_pairs_give_no_repeats_and_no_signals() -> None:
    none = REPEATED.clear()
    near, shares = reduce_given([summarise_given(none)], NO_EDGES)

    assert reduce_repeats([]).height == reduce_repeats([summarise_repeats(none)]).height == 0
    assert near.height == shares.height == 0
    assert reduce_given([], NO_EDGES)[1].schema == {"source": pl.String, "model": pl.String, "distinct_share": pl.Float64}
    assert add_distinct_shares(add_near_repeats(add_repeats(none, reduce_repeats([])), near), shares).height == 0


def test_every_signal_of_the_schema_is_added_in_its_type() -> None:
    endings = ("_repeated_prompts", "_distinct_share")
    declared = {field.name: field.type for field in SIGNALS if field.name.endswith(endings)}
    near, shares = reduce_given([summarise_given(REPEATED)], NO_EDGES)

    added = add_distinct_shares(add_near_repeats(add_repeats(REPEATED, reduce_repeats([])), near), shares).to_arrow()

    assert {field.name: field.type for field in added.schema if field.name.endswith(endings)} == declared
    assert len(declared) == 6
