"""Rules: what they drop, with which score and threshold, and what they refuse to be."""

import pickle
import re
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.conditions import COLUMNS
from pipeline.config import ChesConfig, ContentConfig, PipelineConfig, RuleConfig, RulesConfig, ShareConfig
from pipeline.errors import ConfigError, SchemaError
from pipeline.rules import (
    PRESETS,
    Rule,
    apply_local,
    apply_share,
    check,
    check_weights,
    compile_rules,
    not_computed,
    reduce_share,
    rounds,
    summarise_share,
)

WHY = ["pair_id", "reason", "score", "threshold", "detail"]


def pairs_of(**columns: list[Any]) -> pl.DataFrame:
    n = len(next(iter(columns.values())))
    harmless = {
        "chosen_empty": [False] * n,
        "rejected_empty": [False] * n,
        "identical_answers": [False] * n,
        "votes_admitted": [1] * n,
        "tie": [False] * n,
        "chosen_unreadable_share": [0.0] * n,
        "rejected_unreadable_share": [0.0] * n,
    }
    return pl.DataFrame({"pair_id": [f"p{i}" for i in range(n)]} | harmless | columns)


def local(sql: str, name: str = "mine") -> list[Rule]:
    return compile_rules(RulesConfig(preset="none", add=[RuleConfig(name=name, drop_if=sql)]))[-1:]


def share_rule(kind: str, signal: str, share: float) -> Rule:
    added = RuleConfig.model_validate({"name": "ranked", kind: {"signal": signal, "share": share}})
    return compile_rules(RulesConfig(preset="none", add=[added]))[-1]


def test_the_safe_preset_drops_what_is_certainly_useless_and_names_the_first_reason() -> None:
    pairs = pairs_of(
        chosen_empty=[False, True, False, False, False, False],
        rejected_empty=[False, False, False, True, False, False],
        identical_answers=[False, False, True, True, False, False],
        tie=[False, False, True, False, True, False],
        chosen_unreadable_share=[0.2, 0.0, 0.0, 0.0, 0.0, 0.25],
    )

    result = apply_local(pairs, compile_rules(RulesConfig()))

    assert result.kept["pair_id"].to_list() == ["p0"]
    assert result.kept.columns == pairs.columns
    assert result.dropped.select(WHY).rows() == [
        ("p1", "empty_answer", None, None, "chosen_empty=true, rejected_empty=false"),
        ("p2", "identical_answers", 1.0, 1.0, None),
        ("p3", "empty_answer", None, None, "chosen_empty=false, rejected_empty=true"),
        ("p4", "tie", 1.0, 1.0, None),
        ("p5", "unreadable_text", None, None, "chosen_unreadable_share=0.25, rejected_unreadable_share=0.0"),
    ]
    assert result.dropped["stage"].unique().to_list() == ["rules"]
    assert result.dropped["witness_pair_id"].to_list() == [None] * 5
    text, number = pl.String(), pl.Float64()
    assert result.dropped.schema == {
        **pairs.schema,
        "stage": text,
        "reason": text,
        "score": number,
        "threshold": number,
        "detail": text,
        "witness_pair_id": text,
    }


STRICT = {
    "chosen_degenerate": False, "chosen_injected": False, "chosen_garbled_start": False, "chosen_repetitive": False,
    "chosen_role_marker": False, "chosen_truncated_tail": False, "answers_equivalent": False, "p_chosen": 0.7, "peer_verdict": "keep",
    "noise_score": 0.1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "found"),
    [
        ("empty_answer", {"chosen_empty": True, "chosen_degenerate": True}),  # what preset safe drops goes first
        ("tie", {"tie": True}),
        ("chosen_degenerate", {"chosen_degenerate": True}),
        ("chosen_injected", {"chosen_injected": True}),
        ("chosen_garbled", {"chosen_garbled_start": True}),
        ("chosen_repetitive", {"chosen_repetitive": True}),
        ("chosen_runs_on", {"chosen_role_marker": True}),
        ("chosen_cut_off", {"chosen_truncated_tail": True}),
        ("answers_equivalent", {"answers_equivalent": True}),
        ("contested", {"votes_admitted": 2, "p_chosen": 0.59}),
        (None, {"votes_admitted": 2, "p_chosen": 0.6}),
        (None, {"votes_admitted": 1, "p_chosen": 0.51}),  # one vote: its annotator may be a poor one, the pair is not contested
        ("suspect_label", {"peer_verdict": "suspect", "noise_score": 0.51}),
        (None, {"peer_verdict": "suspect", "noise_score": 0.5}),
        (None, {"peer_verdict": "ambiguous", "noise_score": 0.9}),
        (None, {"peer_verdict": None, "noise_score": None}),  # too few pairs for peers
        (None, {}),
    ],
)
def test_the_strict_preset_drops_likely_defects_too(reason: str | None, found: dict[str, Any]) -> None:
    pairs = pairs_of(**{name: [value] for name, value in (STRICT | found).items()})
    pairs = pairs.cast({"peer_verdict": pl.String, "noise_score": pl.Float64})

    dropped = apply_local(pairs, compile_rules(RulesConfig.model_construct(preset="strict", add=[]))).dropped

    assert dropped["reason"].to_list() == ([] if reason is None else [reason])


def test_only_one_rule_of_the_strict_preset_rests_on_consensus() -> None:
    rules = compile_rules(RulesConfig.model_construct(preset="strict", add=[]))

    assert [rule.name for rule in rules if rule.rests_on_consensus] == ["contested"]
    assert [rule.name for rule in rules][: len(PRESETS["safe"])] == [name for name, _ in PRESETS["safe"]]


def test_preset_none_drops_only_ties_and_identical_answers() -> None:
    assert [rule.name for rule in compile_rules(RulesConfig(preset="none"))] == ["identical_answers", "no_vote_counts", "tie"]


def test_safety_dpo_keeps_the_lowest_twentieth_by_ches_ln_of_what_is_safe() -> None:
    rules = compile_rules(RulesConfig(preset="safety-dpo"))

    assert [rule.name for rule in rules] == [*(name for name, _ in PRESETS["safe"]), "no_ches", "lowest_ches"]
    assert (rules[-1].kind, rules[-1].signal, rules[-1].share) == ("keep_lowest_share", "ches_ln", Decimal("0.05"))
    assert [rule.name for group in rounds(rules)[1:] for rule in group] == ["lowest_ches"]


@pytest.mark.parametrize(("share", "kept"), [(0.05, 19), (0.15, 57), (0.0, 0), (1.0, 382)])
def test_of_382_pairs_the_lowest_share_is_rounded_down_and_ties_go_by_pair_id(share: float, kept: int) -> None:
    lowest = RuleConfig(name="c", keep_lowest_share=ShareConfig(signal="ches_ln", share=share))
    rule = compile_rules(RulesConfig(preset="none", add=[lowest]))[-1]
    pairs = pairs_of(pair_id=[f"{i:03d}" for i in range(382)], ches_ln=[0.0] * 382)

    result = apply_share(pairs, rule, reduce_share([summarise_share(pairs, rule)], rule))

    assert result.kept["pair_id"].to_list() == [f"{i:03d}" for i in range(kept)]


def test_safety_dpo_drops_a_pair_without_a_score_and_says_so() -> None:
    pairs = pairs_of(pair_id=["a", "b"], ches_ln=[None, -1.0])
    local = compile_rules(RulesConfig(preset="safety-dpo"))[:-1]

    dropped = apply_local(pairs, local).dropped

    assert dropped.select("pair_id", "reason").rows() == [("a", "no_ches")]


@pytest.mark.parametrize(
    ("ches", "rules", "message"),
    [
        ({}, {"preset": "safety-dpo"}, "preset 'safety-dpo', rule 'no_ches': 'ches_ln' is not computed; it needs `signals.ches.backend: c"),
        ({"backend": "none"}, "ches_encoder_ln > 0", "'ches_encoder_ln' is not computed; it needs `signals.ches.backend: encoder`"),
        ({"backend": "causal_lm", "model": "m"}, "difficulty > 9", "'difficulty' is not computed; it needs `signals.ches.logps: true`"),
    ],
)
def test_a_rule_on_a_score_that_nobody_asked_for_is_a_config_error(ches: dict[str, str], rules: Any, message: str) -> None:
    chosen = rules if isinstance(rules, dict) else {"add": [{"name": "x", "drop_if": rules}]}
    config = PipelineConfig.model_validate(
        {"dataset": "d", "sources": [{"name": "s", "uri": "x"}], "signals": {"ches": ches}, "rules": chosen}
    )

    with pytest.raises(ConfigError, match=re.escape(message)):
        check(config)


def test_added_rules_follow_the_preset_in_order() -> None:
    config = RulesConfig(add=[RuleConfig(name="z", drop_if="tie"), RuleConfig(name="a", drop_if="tie")])

    assert [rule.name for rule in compile_rules(config)][-2:] == ["z", "a"]


def test_no_rules_drop_nothing_and_the_dropped_table_keeps_its_columns() -> None:
    pairs = pairs_of(p_chosen=[0.5, 0.9])

    result = apply_local(pairs, [])

    assert_frame_equal(result.kept, pairs)
    assert (result.dropped.height, result.dropped.columns[-1]) == (0, "witness_pair_id")


@pytest.mark.parametrize(
    ("sql", "threshold"),
    [("p_chosen < 0.6", 0.6), ("0.6 > p_chosen", 0.6), ("(p_chosen <= .6)", 0.6), ('"p_chosen" < 6e-1', 0.6), ("p_chosen - 0 > -1", None)],
)
def test_a_comparison_with_a_number_gives_score_and_threshold(sql: str, threshold: float | None) -> None:
    dropped = apply_local(pairs_of(p_chosen=[0.55]), local(sql)).dropped

    expected = (0.55, threshold, None) if threshold is not None else (None, None, "p_chosen=0.55")
    assert dropped.select("score", "threshold", "detail").rows() == [expected]


def test_a_negative_number_is_a_threshold() -> None:
    dropped = apply_local(pairs_of(chars_gap=[-200]), local("chars_gap < -100")).dropped

    assert dropped.select("score", "threshold").rows() == [(-200.0, -100.0)]


def test_a_compound_rule_puts_every_value_in_detail_nulls_too() -> None:
    pairs = pairs_of(n_votes=[3], cosine_chosen_rejected=[None], criterion=["overall"])
    pairs = pairs.cast({"cosine_chosen_rejected": pl.Float64})

    dropped = apply_local(pairs, local("n_votes > 2 and (cosine_chosen_rejected > 0.9 or criterion = 'overall')")).dropped

    assert dropped["detail"].to_list() == ["n_votes=3, cosine_chosen_rejected=null, criterion=overall"]


def test_a_null_does_not_apply() -> None:
    pairs = pairs_of(cosine_chosen_rejected=[None, 0.99, 0.1])

    result = apply_local(pairs, local("cosine_chosen_rejected > 0.95"))

    assert result.kept["pair_id"].to_list() == ["p0", "p2"]


def test_a_float32_counts_as_the_decimal_it_was_written_as() -> None:
    pairs = pairs_of(margin=[0.3, 0.2]).cast({"margin": pl.Float32})

    result = apply_local(pairs, local("margin between 0.1 and 0.3"))

    assert result.dropped["pair_id"].to_list() == ["p0", "p1"]
    assert apply_local(pairs, local("margin >= 0.3")).dropped.select("score", "threshold").rows() == [(0.3, 0.3)]
    assert result.dropped.schema["margin"] == pl.Float32


@pytest.mark.parametrize("column", sorted(COLUMNS))
def test_every_column_can_be_named_without_quotes(column: str) -> None:
    assert local(f"{column} is null")[0].columns == (column,)


@pytest.mark.parametrize(
    "sql",
    [
        "not tie", "n_votes in (1, 2)", "n_votes not in (1)", "criterion like 'help%'", "criterion = 'it''s'", "abs(chars_gap) > 1",
        "coalesce(cosine_chosen_rejected, 0) > 1", "greatest(chosen_chars, 9) > 10", "case when tie then true else conflict end",
        "chosen_chars / rejected_chars > 2", "upper(criterion) <> 'X'", "round(p_chosen, 1) = 0.5", "nullif(n_votes, 1) > 2",
        "sqrt(n_votes) > 2 or ln(n_votes) > 2 or exp(p_tie) > 2", "floor(p_tie) = 0 and ceil(p_tie) = 1 and sign(chars_gap) = 1",
        "least(p_tie, p_chosen) % 2 = 1", "lower(criterion) = 'x' AND NOT tie", "tie = true", "p_soft is not null",
    ],
)  # fmt: skip
def test_conditions_made_of_allowed_parts_compile(sql: str) -> None:
    assert local(sql)[0].sql == sql


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("p_chosne < 0.6", "unknown column 'p_chosne'; did you mean 'p_chosen'"),
        ("P_CHOSEN < 0.6", "unknown column 'P_CHOSEN'; did you mean"),
        ('"nope" > 1', "unknown column 'nope'"),
        ("weight > 0.5", "unknown column 'weight'"),  # made from what the rules leave
        ("pair_id = 'x'", "unknown column 'pair_id'"),
        ("p_chosen", "gives Float64; expected true or false"),
        ("p_chosen + 1", "gives Float64; expected true or false"),
        ("criterion", "gives String; expected true or false"),
        ("criterion > 1", "not a valid condition"),
        ("p_chosen <", "not a valid condition"),
        ("p_chosen < 0.6 0.7", "not a valid condition"),
        ("", "uses no column"),
        ("true", "uses no column"),
        ("1 = 1", "uses no column"),
        ("(select 1)", "unknown column 'select'"),
        ("n_votes in (select 1)", "unknown column 'select'"),
        ("exists (select 1)", "calls 'exists'"),
        ("read_csv('x')", "calls 'read_csv'"),
        ("read_parquet('x') is null or tie", "calls 'read_parquet'"),
        ("random() > 0.5 or tie", "calls 'random'"),
        ("now() is null or tie", "calls 'now'"),
        ("current_date is null or tie", "unknown column 'current_date'"),
        ("sum(n_votes) > 3", "calls 'sum'"),
        ("count(*) > 3 or tie", "calls 'count'"),
        ("first(n_votes) > 3", "calls 'first'"),
        ("row_number() over () > 1 or tie", "calls 'row_number'"),
        ("lag(n_votes) over (order by n_votes) > 1", "calls 'lag'"),
        ("columns('.*')", "calls 'columns'"),
        ("tie; drop table x", "has '; drop table x'"),
        ("tie -- hidden", "has '-- hidden'"),
        ("tie /* hidden */", "has '/\\* hidden"),
        ("tie as other", "unknown column 'as'"),
        ("n_votes::int > 1", "has '::int > 1'"),
        ("cast(n_votes as int) > 1", "calls 'cast'"),
        ("df.tie", "unknown column 'df'"),
        ("`tie`", "has '`tie`'"),
        ("criterion = 'a\\' or tie", "has "),
        ("criterion = 'open", "has "),
        ("criterion = $$x$$", "has "),
        ("tie(1)", "not a valid condition"),
        ("n_votes > 3days", "has "),
        (" or ".join(["tie"] * 10_000), "has 69996 characters; expected at most 4000"),
        ("(" * 200 + "tie" + ")" * 200, "not a valid condition"),
    ],
)
def test_a_condition_that_is_wrong_or_not_allowed_is_a_config_error(sql: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"rule 'mine': drop_if .*{message}|rule 'mine': {message}"):
        local(sql)


PARTS = ["tie", "n_votes", " ", "(", ")", "'", '"', "<", "1", " and ", " not ", "\n", ",", "-", ".", "case when ", "select ", "/*"]


@given(st.lists(st.sampled_from(PARTS), max_size=12).map("".join))
@settings(max_examples=200, deadline=None)
def test_any_text_compiles_or_is_a_config_error(sql: str) -> None:
    try:
        rule = local(sql)[0]
    except ConfigError:
        return
    assert set(rule.columns) <= {"tie", "n_votes"}


def test_a_rule_may_not_take_a_name_of_the_preset() -> None:
    with pytest.raises(ConfigError, match=r"rule 'tie' has the name of a rule of preset 'safe'"):
        compile_rules(RulesConfig(add=[RuleConfig(name="tie", drop_if="tie")]))


def test_two_added_rules_may_not_share_a_name() -> None:
    with pytest.raises(ConfigError, match=r"rule 'x' has the name of another rule"):
        compile_rules(RulesConfig(add=[RuleConfig(name="x", drop_if="tie"), RuleConfig(name="x", drop_if="conflict")]))


@pytest.mark.parametrize(
    ("signal", "message"), [("tokens_gp", "did you mean 'tokens_gap'"), ("tie", "is no number"), ("criterion", "is no number")]
)
def test_a_share_rule_ranks_by_a_known_number(signal: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"rule 'ranked': .*{message}"):
        share_rule("drop_top_share", signal, 0.1)


def test_pairs_without_a_column_that_a_rule_names_are_an_error() -> None:
    with pytest.raises(SchemaError, match=re.escape("the pairs lack the columns ['p_chosen']")):
        apply_local(pairs_of(n_votes=[1]), local("p_chosen < 0.6"))


def test_rules_travel_to_worker_processes_unchanged() -> None:
    rules = [*compile_rules(RulesConfig()), share_rule("keep_lowest_share", "p_tie", 0.5)]

    assert pickle.loads(pickle.dumps(rules)) == rules


def test_rounds_put_share_rules_by_themselves() -> None:
    config = RulesConfig.model_validate(
        {
            "preset": "none",
            "add": [
                {"name": "a", "drop_if": "conflict"},
                {"name": "b", "drop_top_share": {"signal": "p_tie", "share": 0.1}},
                {"name": "c", "keep_lowest_share": {"signal": "p_tie", "share": 0.1}},
                {"name": "d", "drop_if": "conflict"},
            ],
        }
    )

    grouped = [[rule.name for rule in group] for group in rounds(compile_rules(config))]

    assert grouped == [["identical_answers", "no_vote_counts", "tie", "a"], ["b"], ["c"], ["d"]]
    assert rounds([]) == []


def ranked(values: list[float | None]) -> pl.DataFrame:
    return pl.DataFrame({"pair_id": [f"{i:04}" for i in range(len(values))], "p_tie": values}, schema_overrides={"p_tie": pl.Float64})


def run(pairs: list[pl.DataFrame], rule: Rule) -> tuple[pl.DataFrame, pl.DataFrame]:
    cutoff = reduce_share([summarise_share(part, rule) for part in pairs], rule)
    results = [apply_share(part, rule, cutoff) for part in pairs]
    return pl.concat([r.kept for r in results]).sort("pair_id"), pl.concat([r.dropped for r in results]).sort("pair_id")


def test_drop_top_share_drops_the_highest_and_says_where_the_cut_was() -> None:
    kept, dropped = run([ranked([0.1, 0.9, 0.5, 0.7, None])], share_rule("drop_top_share", "p_tie", 0.5))

    assert kept["pair_id"].to_list() == ["0000", "0002", "0004"]  # a pair without a value stays and is not counted
    assert dropped.select(WHY).rows() == [
        ("0001", "ranked", 0.9, 0.7, "rank cut: 2 of 4 dropped"),
        ("0003", "ranked", 0.7, 0.7, "rank cut: 2 of 4 dropped"),
    ]
    assert kept.columns == ["pair_id", "p_tie"]


def test_keep_lowest_share_keeps_the_lowest_and_pairs_without_a_value() -> None:
    kept, dropped = run([ranked([0.1, 0.9, 0.5, 0.7, None])], share_rule("keep_lowest_share", "p_tie", 0.25))

    assert kept["pair_id"].to_list() == ["0000", "0004"]
    assert dropped["score"].to_list() == [0.9, 0.5, 0.7]
    assert dropped["threshold"].to_list() == [0.5] * 3


def test_equal_values_go_by_pair_id_first_dropped_and_first_kept() -> None:
    equal = ranked([0.5] * 4)

    assert run([equal], share_rule("drop_top_share", "p_tie", 0.5))[1]["pair_id"].to_list() == ["0000", "0001"]
    assert run([equal], share_rule("keep_lowest_share", "p_tie", 0.5))[0]["pair_id"].to_list() == ["0000", "0001"]


def test_minus_zero_ranks_as_zero() -> None:
    assert run([ranked([0.0, -0.0])], share_rule("drop_top_share", "p_tie", 0.5))[1]["pair_id"].to_list() == ["0000"]


@pytest.mark.parametrize(
    ("n", "share", "count"), [(382, 0.05, 19), (380, 0.05, 19), (100, 0.29, 29), (10, 0.0, 0), (10, 1.0, 10), (3, 0.3, 0), (0, 0.5, 0)]
)
def test_a_share_is_rounded_down_as_the_decimal_it_is_written_as(n: int, share: float, count: int) -> None:
    pairs = [ranked([float(i) for i in range(n)])]

    assert run(pairs, share_rule("keep_lowest_share", "p_tie", share))[0].height == count
    assert run(pairs, share_rule("drop_top_share", "p_tie", share))[1].height == count


def test_a_share_rule_without_partitions_cuts_nothing() -> None:
    assert reduce_share([], share_rule("drop_top_share", "p_tie", 0.5)) is None


def expected_drops(values: list[float | None], kind: str, share: float) -> list[str]:
    """The definition, by plain sorting in memory."""
    known = [(v, f"{i:04}") for i, v in enumerate(values) if v is not None]
    if kind == "drop_top_share":
        return sorted(p for _, p in sorted(known, key=lambda x: (-x[0], x[1]))[: int(round(share * 100) * len(known)) // 100])
    return sorted(p for _, p in sorted(known)[int(round(share * 100) * len(known)) // 100 :])


@given(
    st.lists(st.tuples(st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(0, 3)), max_size=20),
    st.sampled_from(["drop_top_share", "keep_lowest_share"]),
    st.integers(0, 100),
)
@settings(max_examples=60, deadline=None)
def test_share_rules_do_not_depend_on_the_partitions(rows: list[tuple[float | None, int]], kind: str, percent: int) -> None:
    values = [value for value, _ in rows]
    rule = share_rule(kind, "p_tie", percent / 100)
    whole = ranked(values)
    place = pl.Series([p for _, p in rows], dtype=pl.Int64)
    parts = [whole.filter(place == p).reverse() for p in range(4)]

    kept, dropped = run([whole], rule)
    kept_in_parts, dropped_in_parts = run(parts, rule)

    assert dropped["pair_id"].to_list() == expected_drops(values, kind, percent / 100)
    assert sorted([*kept["pair_id"], *dropped["pair_id"]]) == whole["pair_id"].to_list()
    assert_frame_equal(kept_in_parts, kept)
    assert_frame_equal(dropped_in_parts, dropped)


@given(st.lists(st.tuples(st.booleans() | st.none(), st.booleans(), st.floats(0.5, 1.0)), max_size=10))
@settings(max_examples=40, deadline=None)
def test_local_rules_lose_no_pair_and_treat_each_by_itself(rows: list[tuple[bool | None, bool, float]]) -> None:
    pairs = pairs_of(tie=[r[0] for r in rows], conflict=[r[1] for r in rows], p_chosen=[r[2] for r in rows]).cast(
        {
            "tie": pl.Boolean,
            "conflict": pl.Boolean,
            "p_chosen": pl.Float64,
            "pair_id": pl.String,
            "identical_answers": pl.Boolean,
            "votes_admitted": pl.Int64,
        }
    )
    rules = compile_rules(RulesConfig(preset="none", add=[RuleConfig(name="c", drop_if="conflict and p_chosen < 0.7")]))

    result = apply_local(pairs, rules)

    assert sorted([*result.kept["pair_id"], *result.dropped["pair_id"]]) == pairs["pair_id"].to_list()
    alone = [apply_local(pairs[i], rules).dropped for i in range(pairs.height)]
    assert_frame_equal(pl.concat([result.dropped.clear(), *alone]), result.dropped)


@pytest.mark.parametrize(
    ("balance", "message"),
    [
        ("chars_gpa", "rule 'weights.balance': unknown column 'chars_gpa'; did you mean 'chars_gap'"),
        ("conflict", "rule 'weights.balance': balance ranks by 'conflict', which is no number"),
        ("chosen_personal", "'chosen_personal' is not computed; it needs `content.personal: true`"),
    ],
)
def test_what_weights_balance_is_checked_before_any_work(balance: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_weights(balance, not_computed(ContentConfig(personal=False), ChesConfig()))
    check_weights("chars_gap")
    check_weights(None)
