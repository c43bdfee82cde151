"""Topics of prompts."""

import numpy as np
import polars as pl

from pipeline.selection.topics import WITHOUT, assign, fit, name_of, sample
from tests.selection.rows import ids


def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Three directions with 60, 30 and 10 vectors around each, in mixed order."""
    rng = np.random.default_rng(0)
    truth = rng.permutation(np.repeat([0, 1, 2], [60, 30, 10]))
    return (np.eye(3)[truth] + rng.normal(scale=0.05, size=(100, 3))).astype(np.float16), truth


def test_topics_are_the_clusters_there_are_the_largest_first() -> None:
    vectors, truth = blobs()
    assert assign(vectors, fit(vectors, 3)).tolist() == truth.tolist()


def test_there_are_no_more_topics_than_different_prompts() -> None:
    assert len(fit(np.ones((5, 4), dtype=np.float16), 20)) == 1
    assert len(fit(np.eye(3, dtype=np.float16), 20)) == 3


def test_the_sample_is_drawn_by_hash_without_repetitions() -> None:
    texts = pl.concat([ids(50), ids(50), pl.Series("pair_id", [None], dtype=pl.String)])
    drawn = sample(texts, 0, 10)
    assert drawn.n_unique() == 10
    assert drawn.to_list() == sample(texts.reverse(), 0, 10).to_list()
    assert drawn.to_list() != sample(texts, 1, 10).to_list()
    assert sample(texts, 0).len() == 50


def test_a_topic_has_a_name_and_so_have_prompts_without_a_text() -> None:
    table = pl.DataFrame({"number": [0, 12, None]})
    assert table.select(name_of(pl.col("number"))).to_series().to_list() == ["topic-00", "topic-12", WITHOUT]
