"""Single answers with a label: from pairs, against TRL's own function; from ratings, with thresholds; and how classes balance."""

import warnings
from typing import Any

import polars as pl
import pytest

from pipeline.errors import ConfigError
from pipeline.export import FORMATS, Options
from pipeline.export.trl import to_trl
from pipeline.export.unpaired import balance, classes, weight_bounds
from pipeline.schemas import PAIR, RATING, conform
from tests.builders import says
from tests.export.rows import pair, table
from tests.versions import rated

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what these libraries say about each other while they are imported
    import datasets  # type: ignore[import-untyped]
    from trl.data_utils import unpair_preference_dataset


def converted(
    pairs: list[dict[str, Any]], ratings: list[dict[str, Any]] | None = None, **options: Any
) -> tuple[pl.DataFrame, pl.DataFrame]:
    form = FORMATS["unpaired"](Options(**options))
    beside = [] if ratings is None else [table(RATING, *ratings).select(form.beside["ratings"])]
    done = form.convert(table(PAIR, *pairs).select(form.reads), *beside)
    conform(done.kept, form.schema, "unpaired")
    assert done.dropped.columns == [*form.reads, "reason"]
    return done.kept, done.dropped


def text(rows: pl.DataFrame) -> list[tuple[str, bool]]:
    return [(row["completion"][0]["content"], row["label"]) for row in rows.to_dicts()]


def test_two_pairs_are_four_rows_as_trl_makes_them() -> None:
    pairs = [pair("p0"), pair("p1", chosen="Rome.", rejected="Milan.")]
    kept, dropped = converted(pairs)
    trl = unpair_preference_dataset(datasets.Dataset.from_list(to_trl(table(PAIR, *pairs)).kept.to_dicts()))
    key = lambda row: row["completion"][0]["content"]  # noqa: E731
    assert sorted(kept.to_dicts(), key=key) == sorted(trl.to_list(), key=key)
    assert sorted(kept["label"]) == [False, False, True, True]
    assert dropped.height == 0


def test_an_answer_of_several_pairs_is_one_row_and_one_with_both_labels_is_left_out() -> None:
    one = {"prompt_id": "q"}
    kept, dropped = converted(
        [
            pair("p0", **one, chosen="a", chosen_id="a", rejected="b", rejected_id="b"),
            pair("p1", **one, chosen="a", chosen_id="a", rejected="c", rejected_id="c"),
            pair("p2", **one, chosen="c", chosen_id="c", rejected="d", rejected_id="d"),
        ]
    )
    assert text(kept) == [("a", True), ("b", False), ("d", False)]
    assert dropped["reason"].to_list() == ["conflicting_labels"]


def test_a_pair_that_cannot_be_said_is_dropped_once() -> None:
    kept, dropped = converted([pair("p0"), pair("p1", tools="[]")])
    assert (kept.height, dropped["reason"].to_list()) == (2, ["tools"])


def rates(*scores: float, source: str = "arena", prompt_id: str = "q-p0") -> list[dict[str, Any]]:
    """Answers r1, r2, ... with these scores on a scale of 1 to 5."""
    prompts = {"prompt": says("user", "Capital of France?"), "prompt_id": prompt_id, "source": source}
    return [{**rated(f"{source}{at}", f"r{at}", score, at), **prompts} for at, score in enumerate(scores)]


def test_ratings_are_good_at_and_above_the_threshold_and_the_middle_band_is_left_out() -> None:
    kept, _ = converted([pair("p0")], rates(5, 4, 3, 2, 1), thresholds={"": 0.5})
    assert text(kept) == [("r0", True), ("r1", True), ("r2", True), ("r3", False), ("r4", False)]
    kept, dropped = converted([pair("p0")], rates(5, 4, 3, 2, 1), thresholds={"": 0.5}, drop_band=0.25)
    assert text(kept) == [("r0", True), ("r1", True), ("r3", False), ("r4", False)]
    assert dropped["reason"].to_list() == ["middle_band"]


def test_each_source_has_its_own_threshold() -> None:
    ratings = [*rates(4), *[{**row, "response": says("assistant", "other"), "response_id": "o"} for row in rates(4, source="strict")]]
    kept, _ = converted([pair("p0")], ratings, thresholds={"": 0.5, "strict": 0.9})
    assert sorted(text(kept)) == [("other", False), ("r0", True)]
    _, dropped = converted([pair("p0")], ratings, thresholds={"strict": 0.9})
    assert dropped["reason"].to_list() == ["no_threshold"]


def test_an_answer_that_two_sources_disagree_on_is_left_out_and_so_is_a_prompt_without_ratings() -> None:
    kept, dropped = converted([pair("p0"), pair("p1")], [*rates(5), *rates(1, source="strict")], thresholds={"": 0.5})
    assert kept.height == 0
    assert dropped.select("pair_id", "reason").sort("pair_id").rows() == [("p0", "conflicting_labels"), ("p1", "no_rating")]


def test_copies_and_flagged_ratings_do_not_count() -> None:
    odd = [{**rates(5)[0], "is_copy": True}, {**rates(1)[0], "flags": ["overall_score_misread"]}]
    assert converted([pair("p0")], odd, thresholds={"": 0.5})[1]["reason"].to_list() == ["no_rating"]


def test_the_bounds_of_the_check() -> None:
    (low, high), (lowest, highest) = weight_bounds(300, 100)
    assert (low, high, lowest, highest) == pytest.approx((0.3333, 0.4433, 2.2556, 3.0), abs=1e-4)
    assert [round(bound, 2) for bound in (low, high, lowest, highest)] == [0.33, 0.44, 2.26, 3.0]


def test_advice_is_given_where_classes_do_not_count_the_same() -> None:
    told = balance({"desirable": 300, "undesirable": 100})
    assert told == [
        "300 desirable and 100 undesirable answers: set desirable_weight from 0.33 to 0.44, or undesirable_weight from 2.26 to 3.00."
    ]
    assert balance({"desirable": 120, "undesirable": 100}) == balance({}) == []
    assert balance({"desirable": 3, "undesirable": 0}) == ["There is no undesirable answer: KTO and BCO learn nothing from one class."]
    advice = FORMATS["llama-factory-kto"](Options()).advice
    assert advice is not None
    assert "set kto_chosen_weight from 0.33 to 0.44, or kto_rejected_weight from" in advice({"desirable": 300, "undesirable": 100})[0]
    assert classes(pl.DataFrame({"label": [True, False, True]})) == {"desirable": 2, "undesirable": 1}


def test_thresholds_that_split_nothing_are_config_errors() -> None:
    with pytest.raises(ConfigError, match=r"--threshold 1.5: expected a share of the scale above 0, at most 1"):
        FORMATS["unpaired"](Options(thresholds={"": 1.5}))
    with pytest.raises(ConfigError, match=r"--drop-band 0.6: no rating lies below 0.5 - 0.6"):
        FORMATS["unpaired"](Options(thresholds={"": 0.5}, drop_band=0.6))
    with pytest.raises(ConfigError, match="--drop-band: there is no band without a --threshold"):
        FORMATS["unpaired"](Options(drop_band=0.1))
