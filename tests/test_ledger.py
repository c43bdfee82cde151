"""Every record that came in has exactly one row that says what became of it."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline import ledger as ledgers
from pipeline.config import RatingsConfig
from pipeline.identity import identify_derived, quarantine_ids
from pipeline.ingest import QUARANTINED
from pipeline.pairing import mark_moved
from pipeline.rating_pairs import judgements_from_ratings
from pipeline.schemas import JUDGEMENT, LEDGER, conform
from pipeline.stage import bucket_of
from tests import builders
from tests.builders import rated, rating, row

DROPPED = {
    "pair_id": pl.String,
    "stage": pl.String,
    "reason": pl.String,
    "score": pl.Float64,
    "threshold": pl.Float64,
    "detail": pl.String,
    "witness_pair_id": pl.String,
}
MOVED = ("judgement_id", "merged_into", "response_a_id", "merged_a", "merged_b")
WHAT = ["fate", "stage", "reason", "score", "threshold", "detail"]


def judged(*rows: dict[str, Any]) -> pl.DataFrame:
    """Judgements that were merged into no other pair."""
    return builders.judged(*rows).with_columns(merged_into=pl.lit(None, pl.String), merged_a=pl.lit(None, pl.String))


def fates(published: pl.DataFrame, dropped: pl.DataFrame) -> pl.DataFrame:
    """What the ledger is told of all partitions."""
    return ledgers.fates_of(published, dropped)


def write_up(judgements: pl.DataFrame, published: pl.DataFrame, dropped: pl.DataFrame, quarantined: pl.DataFrame) -> pl.DataFrame:
    """The ledger where nothing is rated."""
    unused = pl.DataFrame(schema={"rating_id": pl.String, "detail": pl.String})
    return ledgers.write_up(judgements, rated(), unused, published, dropped, quarantined, fates(published, dropped))


def gone(*pair_ids: str, **fields: Any) -> pl.DataFrame:
    why = {"stage": "rules", "reason": "tie", "score": 1.0, "threshold": 1.0, "detail": None, "witness_pair_id": None}
    return pl.DataFrame([{"pair_id": i, **why, **fields} for i in pair_ids], schema=DROPPED)


def stays(*pair_ids: str) -> pl.DataFrame:
    return pl.DataFrame({"pair_id": pair_ids}, schema={"pair_id": pl.String})


def broken(*raws: str, **fields: Any) -> pl.DataFrame:
    common = {"source": "src", "source_uri": "f.jsonl", "reason": "wrong_type", "field": "a.b", "detail": "found 3, expected text"}
    rows = [{**common, "source_row": 100 + i, "raw": raw, **fields} for i, raw in enumerate(raws)]
    return quarantine_ids(pl.DataFrame(rows, schema=QUARANTINED))


def test_every_vote_of_a_published_pair_is_published() -> None:
    judgements = judged(row(annotator="w"), row(annotator="v", outcome="b"))
    pair = judgements["pair_id"][0]

    ledger = write_up(judgements, stays(pair), gone(), broken())

    assert ledger.select(WHAT).rows() == [("published", "publish", "published", None, None, None)] * 2
    assert ledger["pair_id"].to_list() == [pair] * 2
    assert ledger["witness_pair_id"].to_list() == [None, None]


def test_the_votes_of_a_dropped_pair_carry_its_rule_score_threshold_and_witness() -> None:
    judgements = judged(row())
    pair = judgements["pair_id"][0]

    ledger = write_up(judgements, stays(), gone(pair, reason="low", score=0.4, threshold=0.6, detail="d", witness_pair_id="w"), broken())

    assert ledger.select(*WHAT, "pair_id", "witness_pair_id").rows() == [("dropped", "rules", "low", 0.4, 0.6, "d", pair, "w")]


def test_a_copy_is_merged_into_the_pair_of_its_original_even_when_that_was_dropped() -> None:
    judgements = judged(row(), row(source_uri="g.jsonl"))
    pair = judgements["pair_id"][0]

    ledger = write_up(judgements, stays(), gone(pair), broken())

    assert ledger.select("source_uri", *WHAT, "pair_id", "witness_pair_id").rows() == [
        ("f.jsonl", "dropped", "rules", "tie", 1.0, 1.0, None, pair, None),
        ("g.jsonl", "merged", "pair_up", "copy", 1.0, 1.0, None, pair, pair),
    ]


def test_a_quarantined_row_says_which_field_was_wrong() -> None:
    rows = pl.concat([broken("{}"), broken("[]", field=None, source_row=5), broken("x", detail=None, source_row=6)])

    ledger = write_up(judged(), stays(), gone(), rows).sort("source_row")

    assert ledger.select("source_row", *WHAT, "pair_id").rows() == [
        (5, "quarantined", "ingest", "wrong_type", None, None, "found 3, expected text", None),
        (6, "quarantined", "ingest", "wrong_type", None, None, "a.b: ", None),
        (100, "quarantined", "ingest", "wrong_type", None, None, "a.b: found 3, expected text", None),
    ]


def test_equal_rows_that_cannot_be_read_have_a_row_each() -> None:
    ledger = write_up(judged(), stays(), gone(), broken("{}", "{}"))

    assert ledger["record_id"].n_unique() == 1
    assert ledger["source_row"].to_list() == [100, 101]


def test_a_ledger_of_nothing_is_empty_and_conforms() -> None:
    assert conform(write_up(judged(), stays(), gone(), broken()), LEDGER, "ledger").num_rows == 0


def compared(*rows: dict[str, Any], pairs: Any = "best_vs_worst") -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Ratings, the judgements derived from them, and those that fed none."""
    ratings = rated(*rows)
    derived = judgements_from_ratings(ratings, {"src": RatingsConfig(pairs=pairs)}, "overall")
    judgements = mark_moved(identify_derived(derived.judgements), pl.DataFrame(schema=dict.fromkeys(MOVED, pl.String)))
    return ratings, judgements.select(JUDGEMENT.names), derived.unused


def told(ledger: pl.DataFrame, ratings: pl.DataFrame, *columns: str) -> dict[str, tuple[Any, ...]]:
    """Columns of the ledger by the text of the rated answer."""
    texts = ratings.unique("rating_id").select(record_id="rating_id", text=pl.col("response").list.first().struct.field("content"))
    rows = ledger.filter(pl.col("reason") != "copy").join(texts, on="record_id").select("text", *columns)
    return {text: tuple(values) for text, *values in rows.iter_rows()}


def test_a_rating_has_the_best_fate_of_the_pairs_that_it_fed() -> None:
    ratings, derived, unused = compared(rating("x", 1), rating("y", 2), rating("z", 3), pairs="all")
    rows = derived.select("response_a", "response_b", "pair_id").rows()
    pair_of = {frozenset(said[0]["content"] for said in sides): pair for *sides, pair in rows}
    x_y, x_z, y_z = (pair_of[frozenset(names)] for names in ("xy", "xz", "yz"))

    dropped = pl.concat([gone(x_y, reason="low"), gone(x_z, reason="tie")])
    ledger = ledgers.write_up(derived, ratings, unused, stays(y_z), dropped, broken(), fates(stays(y_z), dropped))

    first, reason = min((x_y, "low"), (x_z, "tie"))
    assert told(ledger, ratings, "fate", "reason", "pair_id") == {
        "x": ("dropped", reason, first),
        "y": ("published", "published", y_z),
        "z": ("published", "published", y_z),
    }


def test_a_rating_that_fed_no_pair_is_not_selected_and_says_why() -> None:
    rows = [rating("x", 1), rating("y", 2), rating("z", 3), rating("alone", 3, "other prompt"), rating("f", 3, flags=["doubtful"])]
    ratings, derived, unused = compared(*rows)

    ledger = ledgers.write_up(
        derived, ratings, unused, stays(*derived["pair_id"]), gone(), broken(), fates(stays(*derived["pair_id"]), gone())
    )

    nowhere = ("dropped", "pair_up", "not_selected")
    assert told(ledger, ratings, "fate", "stage", "reason", "detail", "pair_id") == {
        "x": ("published", "publish", "published", None, derived["pair_id"][0]),
        "y": (*nowhere, "in no pair of best_vs_worst with a gap of 0 or at least 0", None),
        "z": ("published", "publish", "published", None, derived["pair_id"][0]),
        "alone": (*nowhere, "no other response to compare with", None),
        "f": (*nowhere, "doubtful", None),
    }
    conform(ledger, LEDGER, "ledger")


def test_a_copy_of_a_rating_is_merged_and_its_witness_is_the_pair_of_the_original() -> None:
    ratings, derived, unused = compared(rating("x", 1), rating("z", 3), rating("x", 1), rating("q", 1, "p"), rating("q", 1, "p"))
    pair = derived["pair_id"][0]

    ledger = ledgers.write_up(derived, ratings, unused, stays(), gone(pair), broken(), fates(stays(), gone(pair))).filter(
        pl.col("fate") == "merged"
    )

    assert ledger.select("source_row", "reason", "witness_pair_id").sort("source_row").rows() == [(2, "copy", pair), (4, "copy", None)]


def test_ratings_whose_judgement_a_published_version_holds_are_merged_into_it() -> None:
    ratings, derived, unused = compared(rating("x", 1), rating("z", 3))
    stated = derived.with_columns(derived_from=pl.lit([], pl.List(pl.String)))
    judgements = pl.concat([stated, derived.with_columns(is_copy=pl.lit(True))])
    pair = derived["pair_id"][0]

    ledger = ledgers.write_up(judgements, ratings, unused, stays(pair), gone(), broken(), fates(stays(pair), gone())).sort("reason")

    assert ledger.select(*WHAT, "witness_pair_id").rows() == [
        ("merged", "pair_up", "derived_before", 1.0, 1.0, None, pair),
        ("merged", "pair_up", "derived_before", 1.0, 1.0, None, pair),
        ("published", "publish", "published", None, None, None, None),
    ]


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["a", "b", "tie"]), st.sampled_from(["f", "g"])), max_size=12),
    st.sets(st.integers(0, 5)),
    st.lists(st.sampled_from(["{}", "[]", "x"]), max_size=4),
    st.randoms(use_true_random=False),
)
@settings(max_examples=25, deadline=None)
def test_all_records_are_accounted_for_once_in_an_order_that_input_does_not_change(
    votes: list[tuple[int, str, str]], kept: set[int], unread: list[str], random: Any
) -> None:
    judgements = judged(*[row(f"q{q}", outcome=o, source_uri=f, vote_layout=True) for q, o, f in votes])
    published_prompts = judged(*[row(f"q{q}") for q in kept])["pair_id"].to_list()
    pair_ids = judgements["pair_id"].unique().sort().to_list()
    published = [i for i in pair_ids if i in published_prompts]
    dropped = [i for i in pair_ids if i not in published_prompts]
    quarantined = broken(*unread)

    ledger = write_up(judgements, stays(*published), gone(*dropped), quarantined)

    conform(ledger, LEDGER, "ledger")
    place = ["record_id", "source", "source_uri", "source_row"]
    came_in = pl.concat([judgements.select(pl.col("judgement_id").alias("record_id"), *place[1:]), quarantined.select(place)])
    assert sorted(ledger.select(place).rows()) == sorted(came_in.rows())
    fates = dict(ledger["fate"].value_counts().rows())
    votes_of = judgements.filter(~pl.col("is_copy"))["pair_id"].is_in(published)
    expected = {
        "published": votes_of.sum(),
        "dropped": (~votes_of).sum(),
        "merged": judgements["is_copy"].sum(),
        "quarantined": len(unread),
    }
    assert fates == {fate: n for fate, n in expected.items() if n}

    shuffled = [frame.sample(fraction=1.0, shuffle=True, seed=random.randint(0, 99)) for frame in (judgements, quarantined)]
    again = write_up(shuffled[0], stays(*published[::-1]), gone(*dropped[::-1]), shuffled[1])
    assert_frame_equal(again, ledger)
    buckets = ledger.filter(pl.col("fate") == "quarantined").select(bucket_of("record_id")).to_series()
    assert buckets.is_sorted()


def absorbed(pair: str, into: str) -> pl.DataFrame:
    why = {"stage": "deduplicate", "reason": "near_duplicate", "score": 0.97, "threshold": 0.95, "detail": "cosine"}
    return gone(pair, **why, witness_pair_id=into)


def two_pairs() -> tuple[pl.DataFrame, str, str]:
    """A vote on each of two pairs, and a copy of the second's; the second is merged into the first."""
    rows = judged(row("q"), row("near"), row("near", source_uri="g.jsonl"))
    pair, near = (rows.filter(pl.col("prompt").list.first().struct["content"] == text)["pair_id"][0] for text in ("q", "near"))
    return rows.with_columns(merged_into=pl.when(pl.col("pair_id") == near).then(pl.lit(pair))), pair, near


COPY = ("merged", "pair_up", "copy", 1.0, 1.0, None)


def test_the_records_of_an_absorbed_pair_are_merged_into_its_published_representative() -> None:
    rows, pair, near = two_pairs()

    ledger = write_up(rows, stays(pair), absorbed(near, pair), broken()).filter(pl.col("pair_id") == near)

    assert sorted(ledger.select(*WHAT, "pair_id", "witness_pair_id").rows()) == [
        ("merged", "deduplicate", "near_duplicate", 0.97, 0.95, "cosine", near, pair),
        (*COPY, near, pair),
    ]


@pytest.mark.parametrize(("detail", "said"), [(None, ""), ("rank cut", ": rank cut")])
def test_where_the_representative_was_dropped_so_are_the_records_of_what_it_absorbed(detail: str | None, said: str) -> None:
    rows, pair, near = two_pairs()
    left = pl.concat([gone(pair, reason="low", score=0.4, threshold=0.6, detail=detail), absorbed(near, pair)])

    ledger = write_up(rows, stays(), left, broken()).filter((pl.col("pair_id") == near) & (pl.col("reason") != "copy"))

    told = f"merged into {pair}, which was dropped{said}"
    assert ledger.select(*WHAT, "pair_id", "witness_pair_id").rows() == [("dropped", "rules", "low", 0.4, 0.6, told, near, pair)]


def test_the_representative_may_be_in_another_partition() -> None:
    rows, pair, near = two_pairs()
    here = rows.filter(pl.col("pair_id") == near)
    unused = pl.DataFrame(schema={"rating_id": pl.String, "detail": pl.String})

    ledger = ledgers.write_up(here, rated(), unused, stays(), absorbed(near, pair), broken(), fates(stays(pair), gone()))

    assert sorted(ledger["fate"]) == ["merged", "merged"]
    assert ledger["witness_pair_id"].to_list() == [pair, pair]


def test_a_rating_that_fed_an_absorbed_pair_is_merged_unless_it_fed_a_published_one() -> None:
    ratings, derived, unused = compared(rating("x", 1), rating("y", 2), rating("z", 3), rating("x", 1), pairs="all")
    pair_of = {
        frozenset(m[0]["content"] for m in sides): pair for *sides, pair in derived.select("response_a", "response_b", "pair_id").rows()
    }
    x_y, x_z, y_z = (pair_of[frozenset(names)] for names in ("xy", "xz", "yz"))
    derived = derived.with_columns(merged_into=pl.when(pl.col("pair_id") == x_y).then(pl.lit("elsewhere")))
    dropped = pl.concat([absorbed(x_y, "elsewhere"), gone(x_z)])

    ledger = ledgers.write_up(derived, ratings, unused, stays(y_z), dropped, broken(), fates(stays("elsewhere", y_z), dropped))

    assert told(ledger, ratings, "fate", "reason", "pair_id", "witness_pair_id") == {
        "x": ("merged", "near_duplicate", x_y, "elsewhere"),
        "y": ("published", "published", y_z, None),
        "z": ("published", "published", y_z, None),
    }
    assert ledger.filter(pl.col("reason") == "copy")["witness_pair_id"].to_list() == ["elsewhere"]


def test_a_copy_of_a_vote_that_a_version_counts_in_another_pair_names_that_pair() -> None:
    rows = judged(row()).with_columns(is_copy=pl.lit(True), merged_into=pl.lit("elsewhere"))

    ledger = write_up(rows, stays(), gone(), broken())

    assert ledger.select(*WHAT, "witness_pair_id").rows() == [(*COPY, "elsewhere")]
