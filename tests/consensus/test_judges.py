"""Votes of judges count through gates only, and never over three humans."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.consensus.judges import AUDIT, JUDGES, admit, audit, reduce_audit, unaudited_votes
from pipeline.consensus.votes import VOTES
from pipeline.stage import StageResult

NOBODY = pl.Series([], dtype=pl.String)
LOW, HIGH, TIE = -1, 1, 0
Vote = tuple[str, str, int, bool | None]  # pair, annotator, vote, low shown first; humans are called h...


def votes(*rows: Vote) -> pl.DataFrame:
    """Judgement ids follow the order given."""
    told = [
        {
            "pair_id": p,
            "judgement_id": f"{i:04d}",
            "annotator": who,
            "kind": "human" if who[0] == "h" else "judge",
            "source": "s",
            "vote": v,
            "low_first": o,
        }
        for i, (p, who, v, o) in enumerate(rows)
    ]
    return pl.DataFrame(told, schema=VOTES)


def gold(judge: str, right: int, wrong: int, ties: int = 0) -> list[Vote]:
    """Pairs that three humans decided for `low`, each with a vote of the judge."""
    said = [LOW] * right + [HIGH] * wrong + [TIE] * ties
    return [
        row
        for i, vote in enumerate(said)
        for row in ((f"g{i:03d}", judge, vote, None), *((f"g{i:03d}", f"h{n}", LOW, None) for n in range(3)))
    ]


def judged(table: pl.DataFrame, judge: str = "j", degenerate: pl.Series = NOBODY) -> dict[str, Any]:
    return reduce_audit([audit(table, degenerate)]).row(by_predicate=pl.col("annotator") == judge, named=True)


def passed(*judges: str, refused: tuple[str, ...] = ()) -> pl.DataFrame:
    rows = [{**dict.fromkeys(JUDGES.names()), "annotator": name, "admitted": name not in refused} for name in (*judges, *refused)]
    return pl.DataFrame(rows, schema=JUDGES)


def kept(result: StageResult) -> list[tuple[Any, ...]]:
    return result.kept.select("pair_id", "annotator", "vote", "low_first").rows()


def dropped(result: StageResult) -> list[tuple[Any, ...]]:
    return result.dropped.select("pair_id", "annotator", "reason").rows()


class TestOrders:
    @pytest.mark.parametrize(
        ("first", "second", "wanted"),  # the judge saw low first, then high first
        [
            (LOW, HIGH, []),  # the first place twice: position bias, no label
            (HIGH, LOW, []),  # the second place twice
            (LOW, LOW, [LOW]),  # the first place, then the second: one answer
            (TIE, TIE, [TIE]),
            (TIE, LOW, []),
        ],
    )
    def test_a_judge_that_names_one_answer_in_both_orders_has_one_vote_and_else_none(
        self, first: int, second: int, wanted: list[int]
    ) -> None:
        result = admit(votes(("p", "j", first, True), ("p", "j", second, False)), passed("j"), NOBODY, "audited")

        assert [vote for _, _, vote, _ in kept(result)] == wanted
        assert [reason for _, _, reason in dropped(result)] == (["other_order"] if wanted else ["order_flipped"] * 2)

    def test_the_vote_that_is_kept_has_no_order_any_more(self) -> None:
        result = admit(votes(("p", "j", LOW, True), ("p", "j", LOW, False), ("q", "j", LOW, True)), passed("j"), NOBODY, "audited")

        assert kept(result) == [("p", "j", LOW, None), ("q", "j", LOW, True)]

    def test_several_votes_in_one_order_speak_with_their_majority(self) -> None:
        table = votes(("p", "j", HIGH, True), ("p", "j", LOW, True), ("p", "j", LOW, True), ("p", "j", LOW, False), ("p", "j", LOW, None))
        result = admit(table, passed("j"), NOBODY, "audited")

        assert result.kept["judgement_id"].to_list() == ["0001"]
        assert [reason for _, _, reason in dropped(result)] == ["other_order"] * 4

    def test_a_draw_in_both_orders_that_no_vote_states_is_no_vote(self) -> None:
        table = votes(*[("p", "j", vote, order) for vote in (LOW, HIGH) for order in (True, False)])
        result = admit(table, passed("j"), NOBODY, "audited")

        assert {reason for _, _, reason in dropped(result)} == {"order_flipped"}
        assert judged(table)["consistent"] == 0

    def test_the_orders_of_two_judges_or_two_pairs_are_their_own(self) -> None:
        table = votes(("p", "j", LOW, True), ("p", "k", HIGH, False), ("q", "j", HIGH, False))
        assert dropped(admit(table, passed("j", "k"), NOBODY, "audited")) == []

    def test_humans_seen_in_both_orders_keep_their_votes(self) -> None:
        assert dropped(admit(votes(("p", "h", LOW, True), ("p", "h", HIGH, False)), passed(), NOBODY, "audited")) == []


class TestAudit:
    def test_what_is_counted(self) -> None:
        table = votes(
            ("p", "j", LOW, True), ("p", "j", LOW, False),  # consistent
            ("q", "j", LOW, True), ("q", "j", HIGH, False),  # the first twice
            ("r", "j", HIGH, False), ("s", "j", TIE, True), ("t", "j", LOW, None),
            ("r", "h1", LOW, True),
        )  # fmt: skip
        found = audit(table, pl.Series(["t"])).row(0, named=True)

        assert found == {
            "annotator": "j", "kind": "judge", "votes": 7, "both_orders": 2, "consistent": 1, "ordered": 5, "first": 4, "on_degenerate": 1,
            "gold_votes": 0, "gold_agree": 0,
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("humans", "counts"),
        [
            ([LOW, LOW, LOW], (1, 1)),
            ([LOW, LOW, HIGH], (1, 1)),
            ([HIGH, HIGH, TIE], (1, 0)),
            ([LOW, LOW], (0, 0)),  # two humans are no gold
            ([LOW, HIGH, TIE], (0, 0)),  # not decided
            ([LOW, TIE, TIE], (0, 0)),
        ],
    )
    def test_gold_is_what_three_humans_decided(self, humans: list[int], counts: tuple[int, int]) -> None:
        found = audit(votes(("p", "j", LOW, None), *((("p", f"h{i}", vote, None)) for i, vote in enumerate(humans))), NOBODY)
        assert found.select("gold_votes", "gold_agree").row(0) == counts

    def test_only_votes_that_could_count_are_held_against_gold_a_pair_once(self) -> None:
        humans = [(pair, f"h{i}", LOW, None) for pair in "pqrst" for i in range(3)]
        flipped = [("p", "j", LOW, True), ("p", "j", HIGH, False)]
        twice = [("q", "j", LOW, True), ("q", "j", LOW, False), ("r", "j", HIGH, None), ("r", "j", HIGH, None)]
        found = audit(votes(*humans, *flipped, *twice, ("s", "j", TIE, None), ("t", "j", LOW, None)), pl.Series(["t"]))

        assert found.select("gold_votes", "gold_agree").row(0) == (2, 1)

    @pytest.mark.parametrize(
        ("right", "wrong", "admitted", "said"),
        [
            (15, 5, True, None),  # Wilson 0.531 to 0.888
            (14, 6, False, "agrees with the humans on 14 of 20 pairs: the 95 % interval starts at 0.48, not above 0.5"),
            (19, 0, False, "no gold: 19 of its votes are on pairs that 3 humans decided, 20 needed"),
            (0, 40, False, "agrees with the humans on 0 of 40 pairs: the 95 % interval starts at 0.0, not above 0.5"),
        ],
    )
    def test_the_gold_gate(self, right: int, wrong: int, admitted: bool, said: str | None) -> None:
        judge = judged(votes(*gold("j", right, wrong, ties=3)))

        assert (judge["admitted"], judge["reason"], judge["note"]) == (admitted, said, "never seen in both orders")
        assert (judge["gold_votes"], judge["gold_agreement"]) == (right + wrong, right / (right + wrong))
        assert judge["gold_agreement_low"] < judge["gold_agreement_high"]

    @pytest.mark.parametrize(
        ("same", "flips", "admitted", "note"),
        [(15, 5, True, None), (11, 9, False, None), (5, 9, True, "seen in both orders on 14 pairs only")],
    )
    def test_the_order_gate_needs_twenty_pairs(self, same: int, flips: int, admitted: bool, note: str | None) -> None:
        twice = [
            (f"o{i:03d}", "j", vote, order)
            for i in range(same + flips)
            for vote, order in ((LOW, True), (LOW if i < same else HIGH, False))
        ]
        judge = judged(votes(*gold("j", 30, 0), *twice))

        assert (judge["admitted"], judge["note"], judge["both_orders"], judge["consistent"]) == (admitted, note, same + flips, same)
        wrong = "names the same answer in both orders on 11 of 20 pairs: the 95 % interval starts at 0.34, not above 0.5"
        assert judge["reason"] == (None if admitted else wrong)

    def test_no_judges_make_an_empty_table(self) -> None:
        empty = audit(votes(("p", "h", LOW, None)), NOBODY)
        assert (empty.schema, empty.height) == (AUDIT, 0)
        assert reduce_audit([empty]).schema == reduce_audit([]).schema == JUDGES


class TestAdmission:
    def test_a_judge_counts_beside_two_humans_but_not_three(self) -> None:
        table = votes(
            ("p", "j", LOW, None),
            *(("p", f"h{i}", LOW, None) for i in range(2)),
            ("q", "j", LOW, None),
            *(("q", f"h{i}", LOW, None) for i in range(3)),
        )
        assert dropped(admit(table, passed("j"), NOBODY, "audited")) == [("q", "j", "humans_decided")]

    def test_who_was_not_admitted_counts_only_where_nobody_else_did(self) -> None:
        table = votes(
            ("human", "bad", LOW, None), ("human", "h", LOW, None), ("both", "bad", LOW, None), ("both", "good", LOW, None),
            ("alone", "bad", LOW, None), ("alone", "worse", LOW, None),
        )  # fmt: skip
        judges = passed("good", refused=("bad", "worse"))
        result = admit(table, judges, NOBODY, "audited")

        assert dropped(result) == [("human", "bad", "judge_not_admitted"), ("both", "bad", "judge_not_admitted")]
        assert unaudited_votes(result.kept, judges).rows() == [("alone", 2)]

    def test_an_admitted_judge_whose_own_vote_fell_leaves_room_for_others(self) -> None:
        table = votes(("p", "good", LOW, True), ("p", "good", HIGH, False), ("p", "bad", LOW, None))
        assert kept(admit(table, passed("good", refused=("bad",)), NOBODY, "audited")) == [("p", "bad", LOW, None)]

    def test_no_judge_counts_on_a_degenerate_answer_and_humans_do(self) -> None:
        table = votes(("p", "j", LOW, None), ("p", "h", LOW, None), ("q", "j", LOW, None))
        result = admit(table, passed("j"), pl.Series(["p"]), "audited")

        assert dropped(result) == [("p", "j", "degenerate_answer")]
        assert kept(result) == [("p", "h", LOW, None), ("q", "j", LOW, None)]

    def test_reward_models_are_judges(self) -> None:
        table = votes(("p", "rm", LOW, None), ("p", "h", HIGH, None)).with_columns(kind=pl.col("kind").replace("judge", "reward_model"))
        assert dropped(admit(table, passed(refused=("rm",)), NOBODY, "audited")) == [("p", "rm", "judge_not_admitted")]

    def test_all_and_none_do_as_they_say(self) -> None:
        table = votes(("p", "j", LOW, True), ("p", "j", HIGH, False), ("p", "h", LOW, None))

        assert kept(admit(table, passed(), pl.Series(["p"]), "all")) == kept(StageResult(table, table))
        assert dropped(admit(table, passed("j"), NOBODY, "none")) == [("p", "j", "judges_left_out")] * 2


said = st.tuples(
    st.sampled_from("pqrs"),
    st.sampled_from(["j", "k", "h1", "h2", "h3"]),
    st.sampled_from([LOW, TIE, HIGH]),
    st.sampled_from([True, False, None]),
)


@given(
    rows=st.lists(said, max_size=30), cut=st.sampled_from("pqrst"), random=st.randoms(), policy=st.sampled_from(["audited", "all", "none"])
)
@settings(max_examples=25, deadline=None)
def test_nothing_is_lost_and_neither_order_nor_sides_nor_partitions_matter(rows: list[Vote], cut: str, random: Any, policy: str) -> None:
    table = votes(*rows)
    degenerate = pl.Series(["s"])
    shuffled = table[random.sample(range(table.height), table.height)]
    parts = [table.filter(pl.col("pair_id") < cut), table.filter(pl.col("pair_id") >= cut)]
    turned = table.with_columns(-pl.col("vote"), low_first=~pl.col("low_first"))

    judges = reduce_audit([audit(table, degenerate)])
    for other in ([audit(shuffled, degenerate)], [audit(part, degenerate) for part in parts[::-1]], [audit(turned, degenerate)]):
        assert_frame_equal(reduce_audit(other), judges, check_exact=True)

    result = admit(table, judges, degenerate, policy)
    assert sorted([*result.kept["judgement_id"], *result.dropped["judgement_id"]]) == sorted(table["judgement_id"])
    again = admit(shuffled, judges, degenerate, policy)
    assert_frame_equal(again.kept.sort("judgement_id"), result.kept)
    assert_frame_equal(again.dropped.sort("judgement_id"), result.dropped)
    other_way = admit(turned, judges, degenerate, policy)
    assert other_way.kept.select("judgement_id", -pl.col("vote")).equals(result.kept.select("judgement_id", "vote"))
    halves = [admit(part, judges, degenerate, policy) for part in parts]
    assert_frame_equal(pl.concat([half.kept for half in halves]).sort("judgement_id"), result.kept)
