"""From pairs of a table to the peers that review them."""

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from pipeline.identity import content_hash
from pipeline.noise import review
from pipeline.schemas import MESSAGES_PL

DIMENSIONS = 6
Vectors = npt.NDArray[np.float16]


def said(text: str) -> list[dict[str, str | None]]:
    return [{"role": "assistant", "content": text, "name": None, "tool_calls": None, "tool_call_id": None, "reasoning_content": None}]


def world(count: int = 400, flips: float = 0.1) -> tuple[pl.DataFrame, pl.DataFrame, Vectors]:
    """Pairs, four to a prompt; the chosen answer lies further along one direction, but for the flipped ones. Index and vectors of texts."""
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(count // 4 + 2 * count, DIMENSIONS))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    first, second = count // 4 + np.arange(count), count // 4 + count + np.arange(count)
    flipped = rng.random(count) < flips
    right = vectors[first, 0] > vectors[second, 0]
    chosen = np.where(right != flipped, first, second)
    rejected = first + second - chosen
    prompt = np.arange(count) // 4
    pairs = pl.DataFrame(
        {
            "pair_id": content_hash(pl.Series([str(n) for n in range(count)]), "pair"),
            "prompt_id": [f"p{n:04d}" for n in prompt],
            "prompt_cluster_id": [f"c{n:04d}" for n in prompt],
            "prompt_text": [f"t{n}" for n in prompt],
            "chosen_text": [f"t{n}" for n in chosen],
            "rejected_text": [f"t{n}" for n in rejected],
            "p_chosen": 0.8,
            "p_tie": 0.1,
            "tie": False,
            "left_stage": pl.Series([None] * count, dtype=pl.String),
            "sources": [["s"]] * count,
            "flipped": flipped,
            "chosen": pl.Series([said(f"answer {n % 7}") for n in chosen], dtype=MESSAGES_PL),
            "rejected": pl.Series([said(f"answer {n % 7}") for n in rejected], dtype=MESSAGES_PL),
        }
    )
    index = pl.DataFrame({"text_id": [f"t{n}" for n in range(len(vectors))], "index": np.arange(len(vectors), dtype=np.uint32)})
    return pairs, index, vectors


PAIRS, INDEX, VECTORS = world()


def sampled(pairs: pl.DataFrame = PAIRS) -> pl.DataFrame:
    rows = review.rows_of(pairs, INDEX)
    return review.sample(review.add_siblings(pairs, VECTORS, rows), VECTORS, rows, pairs.height)


@pytest.fixture(scope="module")
def models() -> review.Review:
    found = review.fit(sampled(), DIMENSIONS)
    assert found is not None
    return found


def reviewed(pairs: pl.DataFrame, models: review.Review | None) -> pl.DataFrame:
    rows = review.rows_of(pairs, INDEX)
    return review.add_noise(review.add_siblings(pairs, VECTORS, rows), VECTORS, rows, models)


def test_rows_are_places_in_the_index_and_blank_texts_have_none() -> None:
    pairs = pl.DataFrame({"prompt_text": ["b", None], "chosen_text": ["a", "gone"], "rejected_text": ["c", "b"]})
    index = pl.DataFrame({"text_id": ["c", "a", "b"], "index": pl.Series([2, 0, 1], dtype=pl.UInt32)})

    assert [rows.tolist() for rows in review.rows_of(pairs, index)] == [[1, -1], [0, -1], [2, 1]]


def test_confidence_is_how_much_likelier_chosen_is_better_and_0_for_ties() -> None:
    pairs = pl.DataFrame({"p_chosen": [0.9, 0.9, 0.5, 0.6], "p_tie": [0.0, 0.5, 0.2, 0.7], "tie": [False, False, False, True]})

    assert review.confidence(pairs).tolist() == pytest.approx([0.8, 0.4, 0.0, 0.0])


def test_the_sample_leaves_out_ties_and_pairs_that_left_but_they_stay_siblings() -> None:
    marked = PAIRS.with_row_index("n").with_columns(
        tie=pl.col("n") == 0, left_stage=pl.when(pl.col("n") == 5).then(pl.lit("decontaminate"))
    )
    found = sampled(marked)

    assert set(PAIRS["pair_id"]) - set(found["pair_id"]) == {PAIRS["pair_id"][0], PAIRS["pair_id"][5]}
    assert found["weight"].to_list() == pytest.approx([0.54] * 398)
    assert found["sibling_mass"].min() > 0


def test_about_as_many_are_sampled_as_may_be_and_by_id_alone() -> None:
    ids = pl.DataFrame({"pair_id": content_hash(pl.Series([str(n) for n in range(20_000)]), "pair")})
    drawn = ids.filter(review.is_sampled(200_000))

    assert ids.filter(review.is_sampled(50_000)).height == 20_000
    assert drawn.height / 20_000 == pytest.approx(0.25, abs=0.02)
    assert_frame_equal(ids[::-1].filter(review.is_sampled(200_000)), drawn[::-1])


def test_too_few_pairs_teach_nothing_and_all_columns_are_null() -> None:
    few = sampled()[: review.LEAST_PAIRS - 1]
    found = reviewed(PAIRS[:4], review.fit(few, DIMENSIONS))

    assert found.select(review.COLUMNS).null_count().row(0) == (4,) * 5
    assert found.drop(review.COLUMNS).equals(PAIRS[:4])
    assert review.fit(sampled()[: review.LEAST_PAIRS], DIMENSIONS) is not None


def test_flipped_labels_have_higher_scores(models: review.Review) -> None:
    found = reviewed(PAIRS, models)
    flipped, kept = (found.filter(pl.col("flipped") == is_flipped)["noise_score"] for is_flipped in (True, False))

    assert found.columns == [*PAIRS.columns, "noise_score", *(name for name in found.columns if name in review.COLUMNS[1:])]
    assert found["noise_score"].is_between(0, 1).all()
    assert flipped.median() > 0.5 > kept.median()
    assert set(found["peer_verdict"]) <= {"keep", "ambiguous", "suspect"}


def test_the_order_of_rows_and_the_cut_into_partitions_change_nothing(models: review.Review) -> None:
    shuffled = review.fit(sampled().sample(fraction=1.0, shuffle=True, seed=1), DIMENSIONS)
    assert shuffled is not None
    for table, same in zip(shuffled.to_tables(), models.to_tables(), strict=True):
        assert_frame_equal(table, same, check_exact=True)

    whole = reviewed(PAIRS, models)
    parts = pl.concat([reviewed(PAIRS[:100], models), reviewed(PAIRS[100:], models)])

    assert_frame_equal(parts, whole, check_exact=True)


def test_models_travel_as_tables(models: review.Review) -> None:
    back = review.Review.from_tables(*models.to_tables())

    assert_frame_equal(reviewed(PAIRS, back), reviewed(PAIRS, models), check_exact=True)


def test_a_pair_never_taught_the_peers_that_review_it(models: review.Review) -> None:
    """Another label for the pairs of one prompt cluster changes what peers say of other clusters, never of these."""
    cluster = PAIRS["prompt_cluster_id"][0]
    sides = ("chosen", "rejected", "chosen_text", "rejected_text")
    other = {side: side.replace("chosen", "!").replace("rejected", "chosen").replace("!", "rejected") for side in sides}
    mine = pl.col("prompt_cluster_id") == cluster
    turned = PAIRS.with_columns(pl.when(mine).then(other[side]).otherwise(side).alias(side) for side in sides)
    retaught = review.fit(sampled(turned), DIMENSIONS)
    assert retaught is not None

    before, after = (reviewed(turned, one).filter(mine)["peer_probability"] for one in (models, retaught))
    others = [reviewed(turned, one).filter(~mine)["peer_probability"] for one in (models, retaught)]

    assert before.to_list() == after.to_list()
    assert others[0].to_list() != others[1].to_list()


def test_each_source_is_reviewed_by_how_often_its_own_labels_are_wrong() -> None:
    """A source whose votes leave no doubt must not vouch for another's."""
    clean, noisy = world(1200, flips=0.0)[0], world(1200, flips=0.35)[0]
    renamed = noisy.with_columns(
        pair_id=content_hash(noisy.get_column("pair_id"), "pair"), sources=pl.lit(["noisy"]), p_chosen=pl.lit(0.65),
        prompt_id="n" + pl.col("prompt_id"), prompt_cluster_id="n" + pl.col("prompt_cluster_id"),
    )  # fmt: skip
    few = renamed[:100].with_columns(pair_id=content_hash(renamed[:100].get_column("pair_id"), "few"), sources=pl.lit(["few"]))
    both = pl.concat([clean.with_columns(p_chosen=pl.lit(0.99)), renamed, few])
    index, vectors = world(1200)[1:]
    rows = review.rows_of(both, index)
    both = review.add_siblings(both, vectors, rows)
    models = review.fit(review.sample(both, vectors, rows, both.height), DIMENSIONS)
    assert models is not None
    assert sorted(models.reviewers) == ["", "noisy", "s"]

    found = review.add_noise(both, vectors, rows, models).group_by(pl.col("sources").list.first()).agg(pl.col("noise_score").mean())
    means = dict(found.iter_rows())
    assert means["s"] < 0.08
    assert means["noisy"] == pytest.approx(0.35, abs=0.08)
    assert means["s"] < means["few"] < means["noisy"]
