"""From pairs to responses, from a pass to the store's rows, and back to the columns of pairs."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from random import Random

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.ches import score
from pipeline.ches.follow_up import follow_up_table
from pipeline.ches.tables import CHES, add_ches, missing_responses, responses_of, sums_fingerprint, sums_schema, table_of, without_ches
from pipeline.ches.work import Scored
from pipeline.errors import PrefineError, SchemaError
from pipeline.schemas import CHES_SIGNALS, MESSAGES_PL
from pipeline.store import Store

Pair = tuple[str, str | None, str, str]  # prompt id, tools, chosen id, rejected id
IDS = {"prompt_id": pl.String, "tools": pl.String, "chosen_id": pl.String, "rejected_id": pl.String}
Said = dict[str, tuple[list[float], int]]  # response id -> sum, tokens

X, Y = "00" * 16, "ff" * 16
# methods 3.1.
PLUS: tuple[list[float], int] = ([2, 1], 2)
MINUS: tuple[list[float], int] = ([3, 2], 3)


def pairs_of(*told: Pair) -> pl.DataFrame:
    pairs = pl.DataFrame(told, schema=IDS, orient="row")

    def said(who: str, column: str) -> pl.Expr:
        fields = {name: pl.lit(None, pl.String) for name in ("name", "tool_calls", "tool_call_id", "reasoning_content")}
        return pl.concat_list(pl.struct(role=pl.lit(who), content=column, **fields)).cast(MESSAGES_PL)

    texts = {"prompt": said("user", "prompt_id"), "chosen": said("assistant", "chosen_id"), "rejected": said("assistant", "rejected_id")}
    return pairs.with_columns(**texts)


def said_of(responses: pl.DataFrame) -> list[str]:
    """Ids of responses: here they are their texts."""
    return responses["response"].list.first().struct.field("content").to_list()


def stored(responses: pl.DataFrame, said: Said, *, logps: Sequence[float] | None = None, last: bool = False) -> pa.Table:
    """A table of what each response's sum is; one that nothing is said of has the reason `empty_answer`."""
    ids = said_of(responses)
    rows = [row for row, name in enumerate(ids) if name in said]
    sums = np.array([said[ids[row]][0] for row in rows], np.float32).reshape(len(rows), -1 if rows else 2)
    tokens = np.array([said[ids[row]][1] for row in rows], np.int32)
    scored = Scored(sums, tokens, None if logps is None else np.array(logps), sums[:, ::-1] if last else None)
    reasons = [None if name in said else "empty_answer" for name in ids]
    return table_of(responses, np.array(rows, np.int64), reasons, np.zeros(len(ids), bool), scored)


def test_each_answer_of_a_prompt_is_computed_once() -> None:
    pairs = pairs_of((Y, None, "a", "b"), (X, None, "a", "b"), (X, None, "c", "a"), (X, None, "b", "c"))

    responses = responses_of(pairs)

    assert responses.columns == ["bucket", "key", "prompt_id", "tools", "prompt", "response"]
    assert responses.select("bucket", "prompt_id").rows() == [(0, X)] * 3 + [(255, Y)] * 2
    assert responses["bucket"].dtype == pl.UInt8
    assert sorted(zip(responses["prompt_id"], said_of(responses), strict=True)) == [(X, "a"), (X, "b"), (X, "c"), (Y, "a"), (Y, "b")]
    assert responses["key"].n_unique() == 5
    assert responses["key"].str.contains("^[0-9a-f]{32}$").all()
    assert_frame_equal(responses, responses.sort("bucket", "prompt_id", "key"))
    assert responses["prompt"].list.first().struct.field("content").equals(responses["prompt_id"], null_equal=True)


def test_tools_are_part_of_what_a_response_answers() -> None:
    told = [(X, None, "a", "a"), (X, "", "a", "a"), (X, "[]", "a", "a")]
    assert responses_of(pairs_of(*told))["key"].n_unique() == 3


def test_keys_stay_as_they_are_stored() -> None:
    responses = responses_of(pairs_of((X, None, "a", "a"), (X, "[]", "a", "a")))
    assert responses.sort("tools", nulls_last=False)["key"].to_list() == [
        "5479d4410bdb3abcbbe36b8dfeb8444b",
        "d576a8c0288db34603489a67aefe98d4",
    ]


def test_no_pairs_have_no_responses() -> None:
    responses = responses_of(pairs_of())
    assert responses.is_empty()
    assert responses.schema == responses_of(pairs_of((X, None, "a", "b"))).schema


def test_only_what_the_store_lacks_is_computed(tmp_path: Path) -> None:
    responses = responses_of(pairs_of((X, None, "a", "b"), (Y, None, "a", "b"), (Y, None, "c", "a")))
    store = Store(str(tmp_path))
    first = responses.head(3)
    store.write("hidden-sums", "m", stored(first, {"a": PLUS}))  # the others have a reason, which is a result too

    missing = missing_responses(responses, store.keys("hidden-sums", "m", 0, 255))

    assert_frame_equal(missing, responses.tail(2))
    assert missing_responses(responses, responses.select("bucket", "key")).is_empty()


def test_the_pass_becomes_rows_of_the_store_and_back(tmp_path: Path) -> None:
    responses = responses_of(pairs_of((X, None, "a", "b"), (X, None, "c", "d")))
    ids = said_of(responses)
    rows = np.array([ids.index("d"), ids.index("a")])  # in the order of the pass
    scored = Scored(
        np.array([[1, 2], [3, 4]], np.float32), np.array([5, 6], np.int32), np.array([-7.0, -8.0]), np.array([[9, 8], [7, 6]], np.float32)
    )
    reasons = [{"b": "turn_lost", "c": "empty_answer"}.get(name) for name in ids]
    schema = sums_schema(2, logps=True, last=True)

    table = table_of(responses, rows, reasons, np.array([True, False, False, False]), scored)

    assert table.schema.equals(schema)
    assert table["key"].to_pylist() == responses["key"].to_list()
    told = dict(zip(ids, table.drop_columns(["bucket", "key"]).to_pylist(), strict=True))
    assert told == {
        "a": {"reason": None, "tokens": 6, "cut": True, "sum": [3, 4], "last": [7, 6], "logp": -8.0},
        "b": {"reason": "turn_lost", "tokens": None, "cut": None, "sum": None, "last": None, "logp": None},
        "c": {"reason": "empty_answer", "tokens": None, "cut": None, "sum": None, "last": None, "logp": None},
        "d": {"reason": None, "tokens": 5, "cut": False, "sum": [1, 2], "last": [9, 8], "logp": -7.0},
    }
    store = Store(str(tmp_path))
    store.write("hidden-sums", "m", table)
    assert store.read("hidden-sums", "m", 0, 255, schema).to_pylist() == sorted(
        table.to_pylist(), key=lambda row: (row["bucket"], row["key"])
    )


def test_a_response_has_either_values_or_a_reason() -> None:
    responses = responses_of(pairs_of((X, None, "a", "b")))
    one, two = (Scored(np.ones((n, 2), np.float32), np.ones(n, np.int32), None, None) for n in (1, 2))
    for rows, reasons, scored, message in (
        ([0], [None, None], one, "response 1 has values 0 times and the reason None"),
        ([0], ["empty_answer"] * 2, one, "response 0 has values 1 times and the reason 'empty_answer'"),
        ([0, 0], [None, "empty_answer"], two, "response 0 has values 2 times and the reason None"),
        ([0], [None], one, "2 responses, 1 reasons"),
        ([5], [None, None], one, "values up to row 5"),
    ):
        with pytest.raises(ValueError, match=message):
            table_of(responses, np.array(rows), reasons, np.zeros(responses.height, bool), scored)


def test_rows_of_other_columns_have_another_fingerprint() -> None:
    told = product((("m", "t"), ("m", "u"), ("n", "t")), (False, True), (False, True))
    found = {sums_fingerprint(*names, logps=logps, last=last) for names, logps, last in told}
    assert len(found) == 12
    assert sums_fingerprint("m", "t") in found
    assert {len(one) for one in found} == {32}


@pytest.mark.parametrize(("sums", "logp", "name"), [([[np.inf, 1], [1, 1]], [-1, -1], "sum"), ([[1, 1], [1, 1]], [-1, np.nan], "logp")])
def test_nothing_that_is_no_number_is_stored(sums: list[list[float]], logp: list[float], name: str) -> None:
    responses = responses_of(pairs_of((X, None, "a", "b")))
    scored = Scored(np.array(sums, np.float32), np.array([1, 1], np.int32), np.array(logp), None)
    with pytest.raises(PrefineError, match=rf"`{name}` of 1 of 2 responses is not finite.*Set signals\.ches\.dtype: float32"):
        table_of(responses, np.arange(2), [None, None], np.zeros(2, bool), scored)


def test_a_pair_gets_the_worked_numbers() -> None:
    pairs = pairs_of((X, None, "a", "b"), (X, None, "b", "a"), (X, None, "a", "a"))
    table = stored(responses_of(pairs), {"a": PLUS, "b": MINUS})

    told = add_ches(pairs, table)

    assert told["ches"].to_list() == [3.0, -5.0, 0.0]
    assert told["ches_ln"].to_list() == pytest.approx([1 / 12, -1 / 9, 0.0])
    assert told.select("chosen_lm_tokens", "rejected_lm_tokens").rows() == [(2, 3), (3, 2), (2, 2)]
    assert told["ches_missing"].to_list() == [None] * 3
    assert_frame_equal(told.select(pairs.columns), pairs)
    given_columns = {"ches", "ches_ln", "chosen_lm_tokens", "rejected_lm_tokens", "ches_cut"}
    assert {name for name in CHES if told[name].null_count() < 3} == given_columns  # what was not asked for is null, not zero


def test_the_columns_are_those_the_pairs_table_declares() -> None:
    declared = [field for key, fields in CHES_SIGNALS.items() if key != "backend: encoder" for field in fields]
    told = add_ches(pairs_of((X, None, "a", "b")), stored(responses_of(pairs_of((X, None, "a", "b"))), {"a": PLUS, "b": MINUS}))
    assert list(CHES) == [field.name for field in declared]
    assert told.select(CHES.names()).to_arrow().cast(pa.schema(declared)).num_rows == 1
    assert told.select(CHES.names()).schema == CHES


def test_everything_that_was_asked_for() -> None:
    pairs = pairs_of((X, None, "a", "b"), (X, None, "b", "a"))
    responses = responses_of(pairs)
    a_first = said_of(responses) == ["a", "b"]
    strong, weak = ([-10.0, -9.0], [-14.0, -11.0]) if a_first else ([-9.0, -10.0], [-11.0, -14.0])
    said: Said = {"a": PLUS, "b": MINUS}
    liked = follow_up_table(responses, np.array([0]), np.array([1.5]), [None, "prompt_fills_window"])

    told = add_ches(pairs, stored(responses, said, logps=strong, last=True), stored(responses, said, logps=weak), liked)

    first = told.select(CHES.names()).row(0, named=True)
    assert first == {
        "ches": 3.0,
        "ches_ln": pytest.approx(1 / 12),
        "ches_missing": None,
        "chosen_lm_tokens": 2,
        "rejected_lm_tokens": 3,
        "ches_cut": False,
        "last_hidden_inner": 8.0,
        "chosen_logp": -10.0,
        "rejected_logp": -9.0,
        "chosen_logp_mean": -5.0,
        "rejected_logp_mean": -3.0,
        "difficulty": 1.0,
        "reference_ranks_right": False,
        "chosen_density_ratio": 4.0,
        "rejected_density_ratio": 2.0,
        "chosen_follow_up": 1.5 if a_first else None,
        "rejected_follow_up": None if a_first else 1.5,
    }
    assert told.select("difficulty", "reference_ranks_right", "last_hidden_inner").row(1) == (-1.0, True, 8.0)


def test_a_pair_with_an_answer_that_cannot_be_scored_says_why_and_has_no_score() -> None:
    pairs = pairs_of((X, None, "a", "b"), (X, None, "b", "a"), (X, None, "a", "c"), (X, None, "c", "b"), (X, None, "c", "c"))
    responses = responses_of(pairs)
    ids = said_of(responses)
    table = stored(responses, {"c": PLUS}, logps=[-1.0])
    reasons = pa.array([{"a": "turn_lost", "b": "empty_answer", "c": None}[name] for name in ids])
    table = table.set_column(2, table.schema.field("reason"), reasons)

    told = add_ches(pairs, table, table, follow_up_table(responses.filter(pl.Series(ids) == "c"), np.array([0]), np.array([0.5]), [None]))

    assert told["ches_missing"].to_list() == ["turn_lost", "empty_answer", "turn_lost", "empty_answer", None]
    others = [name for name in CHES if name not in ("ches_missing", "last_hidden_inner", "reference_ranks_right")]
    assert told.select(others).null_count().row(0) == (4,) * len(others)
    assert told.select("ches", "ches_ln", "chosen_logp", "chosen_density_ratio", "chosen_follow_up").row(4) == (0.0, 0.0, -1.0, 0.0, 0.5)


def test_pairs_that_left_earlier_need_no_results() -> None:
    pairs = pairs_of((X, None, "z", "a"), (X, None, "a", "b"), (Y, None, "y", "z"), (X, None, "c", "a"), (X, None, "b", "a"))
    left = pl.Series([True, False, True, None, False])
    table = stored(responses_of(pairs.filter(~left.fill_null(False))), {"a": PLUS, "b": MINUS})

    told = add_ches(pairs, table, left=left)

    assert told["ches_missing"].to_list() == ["left_earlier", None, "left_earlier", "empty_answer", None]
    assert told["ches"].to_list() == [None, 3.0, None, None, -5.0]
    assert add_ches(pairs, table.slice(0, 0), left=pl.repeat(True, 5, eager=True))["ches_missing"].to_list() == ["left_earlier"] * 5


def test_where_none_was_asked_for_all_columns_are_null() -> None:
    pairs = pairs_of((X, None, "a", "b"), (X, None, "a", "c"))
    told = without_ches(pairs)
    assert_frame_equal(told.select(pairs.columns), pairs)
    assert told.select(CHES.names()).schema == CHES
    assert told.select(CHES.names()).null_count().row(0) == (2,) * len(CHES)


def test_where_no_answer_can_be_scored_all_is_null() -> None:
    pairs = pairs_of((X, None, "a", "b"))
    told = add_ches(pairs, stored(responses_of(pairs), {}, logps=[], last=True))
    assert told["ches_missing"].to_list() == ["empty_answer"]
    assert told.select(name for name in CHES if name != "ches_missing").null_count().sum_horizontal().item() == len(CHES) - 1


def test_rows_without_values_take_no_place_of_others_wherever_the_table_comes_from(tmp_path: Path) -> None:
    pairs = pairs_of(*((X, None, a, b) for a in "abc" for b in "def"))
    table = stored(responses_of(pairs), {"a": PLUS, "c": MINUS, "e": MINUS, "f": PLUS}, last=True)  # b and d lack values
    direct = add_ches(pairs, table)
    assert direct["ches"].to_list() == [None, 3.0, 0.0, None, None, None, None, 0.0, -5.0]

    store = Store(str(tmp_path))
    store.write("hidden-sums", "m", table)
    assert_frame_equal(add_ches(pairs, store.read("hidden-sums", "m", 0, 255, table.schema)), direct)
    for pieces in ([table.slice(0, 2), table.slice(2)], [table.slice(3), table.slice(0, 3)]):
        assert_frame_equal(add_ches(pairs, pa.concat_tables(pieces)), direct)
    more = pa.concat_tables([table.slice(0, 1).set_column(1, table.schema.field("key"), pa.array(["0" * 32])), table]).combine_chunks()
    assert_frame_equal(add_ches(pairs, more.slice(1)), direct)


def test_no_pairs_have_all_columns() -> None:
    told = add_ches(pairs_of(), sums_schema(3, last=True).empty_table())
    assert told.select(CHES.names()).schema == CHES


def test_an_answer_that_the_store_lost_is_named() -> None:
    pairs = pairs_of((X, None, "a", "b"))
    responses = responses_of(pairs)
    said: Said = {"a": PLUS, "b": MINUS}
    with pytest.raises(PrefineError, match=rf"hidden-sums: 1 responses lost .*{responses['key'][1]}.*Run again"):
        add_ches(pairs, stored(responses.head(1), said))
    with pytest.raises(PrefineError, match=r"follow-ups: 1 responses lost"):
        add_ches(pairs, stored(responses, said), None, follow_up_table(responses.tail(1), np.array([0]), np.array([1.0]), [None]))
    with pytest.raises(PrefineError, match=r"hidden-sums: 1 responses lost"):
        add_ches(pairs, stored(responses, said, logps=[-1.0, -2.0]), stored(responses.head(1), said, logps=[-1.0]))


def test_a_response_that_is_there_twice_is_refused() -> None:
    pairs = pairs_of((X, None, "a", "b"))
    table = stored(responses_of(pairs), {"a": PLUS, "b": MINUS})
    with pytest.raises(SchemaError, match="a response is in the table twice"):
        add_ches(pairs, pa.concat_tables([table, table]))


def test_models_that_read_other_tokens_do_not_compare() -> None:
    pairs = pairs_of((X, None, "a", "b"))
    responses = responses_of(pairs)
    strong = stored(responses, {"a": PLUS, "b": MINUS}, logps=[-1.0, -2.0])
    for said, logps in (({"a": PLUS, "b": PLUS}, [-1.0, -1.0]), ({"a": PLUS}, [-1.0])):
        with pytest.raises(PrefineError, match=r"weak_model: 1 rejected answers have other numbers of tokens.*the same tokenizer"):
            add_ches(pairs, strong, stored(responses, said, logps=logps))
    with pytest.raises(SchemaError, match=r"no `logp` of signals\.ches\.weak_model"):
        add_ches(pairs, strong, stored(responses, {"a": PLUS, "b": MINUS}))
    with pytest.raises(SchemaError, match=r"no `logp` of signals\.ches\.model"):
        add_ches(pairs, stored(responses, {"a": PLUS, "b": MINUS}), strong)


PROMPTS = [f"{first:02x}" + "0" * 30 for first in (0, 100, 101, 255)]
drawn_pairs = st.lists(
    st.tuples(st.sampled_from(PROMPTS), st.sampled_from([None, "[]"]), st.sampled_from("abcd"), st.sampled_from("abcd")), max_size=12
)


def tables_of(pairs: pl.DataFrame, seed: int) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Random results of all answers, of which some have a reason; in the store's order."""
    responses = responses_of(pairs).sort("bucket", "key")
    rng, count = np.random.default_rng(seed), responses.height
    rows = np.flatnonzero(rng.random(count) < 0.8)
    reasons = ["turn_lost" if one else None for one in ~np.isin(np.arange(count), rows)]
    sums, last = (rng.normal(0, 50, (len(rows), 33)).astype(np.float32) for _ in range(2))
    tokens = rng.integers(1, 300, len(rows)).astype(np.int32)
    strong, weak = (Scored(sums, tokens, rng.normal(-50, 9, len(rows)), last) for _ in range(2))
    both = [table_of(responses, rows, reasons, np.zeros(responses.height, bool), one) for one in (strong, weak)]
    return both[0], both[1], follow_up_table(responses, rows, rng.normal(0, 1, len(rows)), reasons)


@settings(max_examples=25)
@given(drawn_pairs, st.integers(0, 2**32), st.randoms(use_true_random=False))
def test_a_pair_s_columns_depend_neither_on_other_pairs_nor_on_any_order(told: list[Pair], seed: int, random: Random) -> None:
    pairs = pairs_of(*told).with_row_index("n")
    tables = tables_of(pairs, seed)
    whole = add_ches(pairs, *tables)

    order = list(range(pairs.height))
    random.shuffle(order)
    shuffled = [table.take(np.random.default_rng(seed).permutation(table.num_rows)) for table in tables]
    assert_frame_equal(add_ches(pairs[order], *shuffled).sort("n"), whole, check_exact=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score, "_BLOCK_VALUES", 2 * 33)
        assert_frame_equal(add_ches(pairs, *tables), whole, check_exact=True)
    for prompt in PROMPTS:  # each a partition with its own part of the store
        mine = pairs.filter(prompt_id=prompt)
        parts = [table.filter(pa.compute.equal(table["bucket"], int(prompt[:2], 16))) for table in tables]
        assert_frame_equal(add_ches(mine, *parts), whole.filter(prompt_id=prompt), check_exact=True)


@settings(max_examples=40)
@given(drawn_pairs, st.integers(0, 2**32))
def test_pairs_with_their_sides_exchanged_have_everything_the_other_way_round(told: list[Pair], seed: int) -> None:
    pairs = pairs_of(*told)
    tables = tables_of(pairs, seed)
    swapped = pairs.rename({"chosen_id": "rejected_id", "rejected_id": "chosen_id"})

    one, other = add_ches(pairs, *tables), add_ches(swapped, *tables)

    for name in ("lm_tokens", "logp", "logp_mean", "density_ratio", "follow_up"):
        assert one[f"chosen_{name}"].equals(other[f"rejected_{name}"], null_equal=True)
    assert one["last_hidden_inner"].equals(other["last_hidden_inner"], null_equal=True)
    assert one["difficulty"].equals(-other["difficulty"], null_equal=True)
    assert one["reference_ranks_right"].equals(~other["reference_ranks_right"], null_equal=True)
    assert one["ches_missing"].is_null().equals(other["ches_missing"].is_null())
    by_key = {row["key"]: row["sum"] for row in tables[0].to_pylist()}
    responses = responses_of(pairs)
    names = zip(responses["prompt_id"], responses["tools"], said_of(responses), strict=True)
    square = {name: np.square(by_key[key] or 0.0).sum() for name, key in zip(names, responses["key"], strict=True)}
    for (prompt, tools, a, b), forth, back in zip(told, one["ches"], other["ches"], strict=True):
        if forth is not None:
            sizes = square[prompt, tools, a], square[prompt, tools, b]
            assert forth - back == pytest.approx(sizes[1] - sizes[0], abs=1e-12 * sum(sizes))
