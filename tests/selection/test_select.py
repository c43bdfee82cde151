"""Samples, mixtures and least shares of pairs, and what a config may say of them."""

import re
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import parse_config
from pipeline.errors import ConfigError, SchemaError
from pipeline.rules import not_computed
from pipeline.selection import select
from tests.selection.rows import SOURCES, config, hashed, pair_frame, run

Statistics = dict[tuple[str, str], tuple[float, int]]


def told(found: select.Selected) -> Statistics:
    return {(row["statistic"], row["subject"]): (row["value"], row["n"]) for row in found.statistics.iter_rows(named=True)}


def of_sources(**counts: int) -> pl.DataFrame:
    """So many pairs of each source, with scores from 0 up."""
    sources = [[name] for name, count in counts.items() for _ in range(count)]
    return pair_frame(len(sources), sources=sources, p_soft=[n / len(sources) for n in range(len(sources))])


@pytest.mark.parametrize(
    ("sample", "rows"), [({"rows": 7}, 7), ({"share": 0.5}, 10), ({"share": 0.29}, 5), ({"tokens": 100}, 2), ({"tokens": 34}, 0)]
)
def test_a_sample_has_the_size_asked_for(sample: dict[str, Any], rows: int) -> None:
    kept, dropped, found = run(of_sources(arena=20), {"sample": sample})
    assert (kept.height, dropped.height, found.warnings) == (rows, 20 - rows, [])
    assert set(dropped["reason"]) == {"not_sampled"}


def test_more_rows_than_there_are_keep_all_with_a_warning() -> None:
    kept, _, found = run(of_sources(arena=3), {"sample": {"rows": 5}})
    assert kept.height == 3
    assert found.warnings == ["selection: 5 pairs are asked for, and there are 3"]


def test_a_temperature_of_0_keeps_the_highest_and_says_so() -> None:
    kept, dropped, _ = run(of_sources(arena=4), {"sample": {"rows": 2, "by": "p_soft", "temperature": 0}})
    assert sorted(kept["p_soft"]) == [0.5, 0.75]
    assert sorted(dropped["detail"]) == [f"2 of 4 are drawn: by p_soft = {score}, the highest first" for score in (0.0, 0.25)]
    assert (dropped["score"] < dropped["threshold"]).all()


def test_high_scores_are_likelier_and_low_ones_not_left_out() -> None:
    kept, _, _ = run(of_sources(arena=2000), {"sample": {"share": 0.5, "by": "p_soft"}})
    assert 0.54 < kept["p_soft"].mean() < 0.65  # type: ignore[operator]
    assert kept["p_soft"].min() < 0.05  # type: ignore[operator]


def test_a_sample_per_source_keeps_the_mixture() -> None:
    kept, dropped, _ = run(of_sources(arena=60, crowd=30, panel=11), {"sample": {"share": 0.5, "per": "source"}})
    # 50 of 101 in proportion: 29.7, 14.85, 5.45.
    assert dict(kept["sources"].list.first().value_counts().iter_rows()) == {"arena": 30, "crowd": 15, "panel": 5}
    assert "15 of 30 are drawn: at random (seed 0)" in set(dropped["detail"])


def test_only_pairs_above_what_is_usual_are_drawn() -> None:
    pairs = pair_frame(5, prompt_id=[hashed("p")] * 4 + [hashed("q")], rm_mean=[3.0, 1.0, 1.0, None, 9.0])
    kept, dropped, _ = run(pairs, {"sample": {"advantage": {"score": "rm_mean"}}})
    assert kept["rm_mean"].to_list() == [3.0]
    assert set(dropped["reason"]) == {"no_advantage"}
    assert set(dropped["detail"]) == {"rm_mean is not above the mean of its prompt"}
    assert sorted(dropped.drop_nulls("score").select("score", "threshold").rows()) == [(1.0, 5 / 3), (1.0, 5 / 3), (9.0, 9.0)]

    kept, _, _ = run(pairs, {"sample": {"advantage": {"score": "rm_mean", "over": "2"}, "rows": 1}})
    assert kept["rm_mean"].to_list()[0] in (3.0, 9.0)


def test_where_nothing_is_above_what_is_usual_nothing_is_left_with_a_warning() -> None:
    kept, _, found = run(of_sources(arena=3), {"sample": {"advantage": {"score": "p_soft", "over": "1"}}})
    assert kept.is_empty()
    assert found.warnings == ["selection.sample.advantage: no pair has a score above what is usual; nothing is left"]


def test_a_mixture_keeps_the_most_that_have_its_shares_and_tells_both() -> None:
    mixture = {"weights": {"arena": 0.5, "crowd": 0.3, "rest": 0.2}}
    kept, _, found = run(of_sources(arena=100, crowd=30, panel=90), {"mixture": mixture})
    assert kept.height == 100
    assert told(found) == {
        ("mixture_before", "arena"): (100 / 220, 100), ("mixture_before", "crowd"): (30 / 220, 30),
        ("mixture_before", "rest"): (90 / 220, 90),
        ("mixture_after", "arena"): (0.5, 50), ("mixture_after", "crowd"): (0.3, 30), ("mixture_after", "rest"): (0.2, 20),
        ("mixture_requested", "arena"): (0.5, 100), ("mixture_requested", "crowd"): (0.3, 100), ("mixture_requested", "rest"): (0.2, 100),
    }  # fmt: skip


def test_a_mixture_of_a_size_sums_exactly() -> None:
    mixture = {"weights": {"arena": 0.5, "crowd": 0.3, "rest": 0.2}, "rows": 101}
    kept, _, _ = run(of_sources(arena=100, crowd=100, panel=100), {"mixture": mixture})
    assert dict(kept["sources"].list.first().value_counts().iter_rows()) == {"arena": 51, "crowd": 30, "panel": 20}


def test_what_a_mixture_does_not_name_leaves_and_what_is_not_there_is_told() -> None:
    kept, dropped, found = run(of_sources(arena=10, panel=5), {"mixture": {"weights": {"arena": 0.5, "crowd": 0.5}}})
    assert kept.height == 10
    assert set(dropped.select("reason", "detail").rows()) == {("not_in_mixture", "its source is none of arena, crowd")}
    assert found.warnings == ["selection: no pair is left of source 'crowd' of mixture: the others share its part"]


def test_a_group_that_is_too_small_stays_whole_and_nothing_fills_the_gap() -> None:
    kept, _, found = run(of_sources(arena=50, crowd=3), {"mixture": {"weights": {"arena": 0.5, "crowd": 0.5}, "rows": 20}})
    assert kept.height == 13
    assert found.warnings == ["selection.mixture: source 'crowd' has 3 of the 10 pairs asked for; they stay, and nothing fills the gap"]


def test_a_pair_of_several_sources_is_of_the_one_named_first() -> None:
    pairs = pair_frame(4, sources=[["arena", "crowd"]] * 2 + [["arena"]] * 2)
    weights = {"crowd": 0.5, "arena": 0.5}
    assert told(run(pairs, {"mixture": {"weights": weights}})[2])["mixture_before", "crowd"] == (0.5, 2)
    turned = dict(reversed(weights.items()))
    assert ("mixture_before", "crowd") not in told(run(pairs, {"mixture": {"weights": turned}})[2])


def test_languages_may_have_equal_parts() -> None:
    pairs = pair_frame(9, prompt_language=["en"] * 5 + ["de"] * 2 + [None] * 2)
    kept, _, _ = run(pairs, {"mixture": {"by": "language", "weights": "equal"}})
    assert sorted(kept["prompt_language"].to_list(), key=str) == [None, None, "de", "de", "en", "en"]


def test_a_group_has_at_least_its_share_its_best_pairs_first() -> None:
    pairs = of_sources(crowd=5, arena=20)  # crowd has the lowest scores
    sample = {"rows": 10, "by": "p_soft", "temperature": 0}
    kept, _, found = run(pairs, {"min_share": {"shares": {"crowd": 0.2}}, "sample": sample})
    crowd = kept.filter(pl.col("sources").list.contains("crowd"))
    assert kept.height == 10
    assert crowd["p_soft"].sort().to_list() == pytest.approx([3 / 25, 4 / 25])
    assert told(found)["mixture_after", "crowd"] == (0.2, 2)


def test_without_a_size_as_many_stay_as_leave_each_group_its_share() -> None:
    kept, _, _ = run(of_sources(crowd=5, arena=95), {"min_share": {"shares": {"crowd": 0.2}}})
    assert kept.height == 25
    both, _, found = run(of_sources(arena=3, crowd=3), {"min_share": {"shares": {"arena": 0.5, "crowd": 0.5}}, "sample": {"rows": 5}})
    assert both.height == 5
    assert found.warnings == []


def test_caps_come_first_and_the_draw_sees_what_they_leave() -> None:
    pairs = pair_frame(12, prompt_cluster_id=["c"] * 10 + ["d", "e"])
    kept, dropped, _ = run(pairs, {"caps": {"prompt_cluster": 2}, "sample": {"rows": 3}})
    assert kept.height == 3
    assert dict(dropped["reason"].value_counts().iter_rows()) == {"cap_prompt_cluster": 8, "not_sampled": 1}


SELECTIONS = [
    {"sample": {"rows": 9, "by": "p_soft"}},
    {"sample": {"share": 0.4, "by": "p_soft - 0.1 * n_votes", "per": "cluster", "spread": 0.5}},
    {"sample": {"tokens": 300, "per": "source"}},
    {"sample": {"advantage": {"score": "p_soft"}, "rows": 5}},
    {"caps": {"prompt_cluster": 3}, "mixture": {"weights": {"arena": 0.6, "rest": 0.4}}},
    {"caps": {"source": 9}, "sample": {"rows": 8, "by": "p_soft"}, "min_share": {"shares": {"crowd": 0.3}}},
]
ROWS = st.lists(st.tuples(st.integers(0, 5), st.sets(st.sampled_from(SOURCES), min_size=1), st.integers(0, 4)), min_size=1, max_size=40)


@pytest.mark.parametrize("asked", SELECTIONS, ids=str)
@settings(max_examples=6)
@given(ROWS)
def test_no_pair_is_lost_and_neither_rows_nor_partitions_change_what_is_drawn(
    asked: dict[str, Any], rows: list[tuple[int, set[str], int]]
) -> None:
    names = [hashed(group) for group, _, _ in rows]
    pairs = pair_frame(len(rows), prompt_id=names, prompt_cluster_id=names, sources=[sorted(among) for _, among, _ in rows])
    pairs = pairs.with_columns(p_soft=pl.Series([score / 7 for _, _, score in rows]), n_votes=pl.lit(1))
    kept, dropped, found = run(pairs, asked)
    assert sorted([*kept["pair_id"], *dropped["pair_id"]]) == sorted(pairs["pair_id"])
    assert dropped.filter(pl.col("score") > pl.col("threshold")).is_empty()
    for again in (run(pairs, asked, parts=3), run(pairs.reverse(), asked)):
        assert again[0].equals(kept)
        assert again[1].equals(dropped)
        assert again[2].statistics.equals(found.statistics)


def test_other_seeds_draw_other_pairs() -> None:
    pairs = of_sources(arena=40)
    drawn = [run(pairs, {"seed": seed, "sample": {"rows": 20}})[0]["pair_id"].to_list() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_pairs_without_a_column_that_is_named_are_refused() -> None:
    with pytest.raises(SchemaError, match="rm_mean"):
        run(of_sources(arena=3), {"caps": {"source": 1, "by": "rm_mean"}})


def test_no_pairs_are_no_trouble() -> None:
    none = pair_frame(1).head(0)
    for asked in SELECTIONS[::2]:
        kept, dropped, _ = run(none.with_columns(n_votes=pl.lit(1)), asked)
        assert kept.height == dropped.height == 0


# Config


@pytest.mark.parametrize(
    ("selection", "named"),
    [
        ({"caps": {}}, "at least one of prompt_cluster, source, annotator"),
        ({"caps": {"source": 0}}, "selection.caps.source"),
        ({"sample": {}}, "one of rows, share and tokens"),
        ({"sample": {"rows": 3, "share": 0.5}}, "one of rows, share and tokens; has rows and share"),
        ({"sample": {"share": 1.5}}, "selection.sample.share"),
        ({"sample": {"rows": 3, "temperature": -1}}, "selection.sample.temperature"),
        ({"sample": {"rows": 3, "by": "p_soft", "advantage": {"score": "p_soft"}}}, "by or advantage"),
        ({"sample": {"rows": 3, "by": "p_sft"}}, "selection.sample.by: unknown column 'p_sft'; did you mean 'p_soft'"),
        ({"sample": {"rows": 3, "by": "random()"}}, "selection.sample.by: 'random()' calls 'random'"),
        ({"sample": {"rows": 3, "by": "criterion"}}, "gives String; expected a number"),
        ({"sample": {"rows": 3, "by": "p_soft +"}}, "not a valid expression"),
        ({"sample": {"rows": 3, "by": "rationale_verdict"}}, "'rationale_verdict' is not computed; it needs `rationales"),
        ({"sample": {"rows": 3, "advantage": {"score": "rm_mean", "over": "usual"}}}, "selection.sample.advantage.over: unknown column"),
        ({"mixture": {"weights": {"arena": 0.5, "crowd": 0.6}}}, "add up to 1.1; expected 1"),
        ({"mixture": {"weights": {"arena": 0.5}}}, "add up to 0.5; expected 1"),
        ({"mixture": {"weights": {"arena": 1.5}}}, "selection.mixture.weights"),
        ({"mixture": {"weights": {"arna": 0.5, "rest": 0.5}}}, "names the source 'arna', which is not there; sources: arena, crowd, panel"),
        ({"mixture": {"weights": {"rest": 1}, "rows": 5}, "sample": {"rows": 5}}, "leave mixture.rows out"),
        ({"mixture": {"weights": "equal"}, "sample": {"tokens": 5}}, "sample.tokens does not go with mixture"),
        ({"mixture": {"weights": "equal"}, "min_share": {"shares": {"arena": 0.1}}}, "min_share has nothing to add"),
        ({"min_share": {"shares": {"arena": 0.7, "crowd": 0.7}}}, "add up to 1.4; expected at most 1"),
        ({"min_share": {"shares": {"rest": 0.7}}}, "names the source 'rest'"),
        ({"mixture": {"by": "topic", "weights": {"cooking": 0.5, "rest": 0.5}}}, "'cooking' is no topic; expected topic-00"),
        ({"mixtur": {}}, "did you mean 'mixture'"),
    ],
)
def test_a_wrong_selection_is_named_before_any_work(selection: dict[str, Any], named: str) -> None:
    data = {"dataset": "d", "sources": [{"name": name, "uri": "x"} for name in SOURCES], "selection": selection}

    def check() -> None:
        parsed = parse_config(data, "prefine.yaml")
        select.check(parsed, not_computed(parsed.content, parsed.signals.ches, parsed.rationales))

    with pytest.raises(ConfigError, match=re.escape(named)):
        check()


def test_a_language_that_is_not_found_out_is_no_group() -> None:
    asked = config({"mixture": {"by": "language", "weights": "equal"}}, content={"language": False})
    with pytest.raises(ConfigError, match=re.escape("`by: language` needs `content.language: true`")):
        select.check(asked, not_computed(asked.content, asked.signals.ches))


def test_a_rule_may_not_have_the_name_of_a_reason() -> None:
    asked = config({"sample": {"rows": 3}}, rules={"add": [{"name": "not_sampled", "drop_if": "p_soft < 0.5"}]})
    with pytest.raises(ConfigError, match="'not_sampled' is what selection calls a reason"):
        select.check(asked)


def test_nothing_is_selected_unless_asked_for() -> None:
    asked = config({})
    assert select.check(asked) is None
    assert asked.selection.measured == 0
    assert config({"sample": {"rows": 3}}).selection.measured == 2000


def test_sources_of_a_published_version_cannot_be_told_beforehand() -> None:
    asked = config({"mixture": {"weights": {"anything": 1}}}, sources=[{"name": "old", "version": "x"}])
    assert select.check(asked) is not None
