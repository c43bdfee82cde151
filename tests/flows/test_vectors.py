"""What the store does not have is embedded, and what was lost since then is named."""

from uuid import uuid4

import polars as pl
import pytest

from flows import vectors
from pipeline import storage
from pipeline.errors import PrefineError
from pipeline.store import Store
from tests.fakes import LetterEncoder

TEXTS = pl.DataFrame({"bucket": [1, 1, 2, 2, 2], "text_id": ["a", "b", "a", "c", "d"], "text": ["ab", "b", "ab", "cc", "d"]})


@pytest.fixture
def store() -> Store:
    return Store(f"memory://{uuid4().hex}")


def segments(store: Store, model: LetterEncoder) -> list[str]:
    folder = storage.join(store.root, vectors.EMBEDDINGS, model.fingerprint)
    return [storage.join(folder, name) for name in storage.children(folder)]


@pytest.mark.parametrize(("most", "wanted", "files"), [(2, 1000, 3), (1000, 2, 3), (1000, 1000, 1)])
def test_texts_are_stored_as_often_as_the_smaller_bound_says(
    store: Store, monkeypatch: pytest.MonkeyPatch, most: int, wanted: int, files: int
) -> None:
    model, seen = LetterEncoder(), list[int]()
    model.texts_at_once = wanted
    monkeypatch.setattr(vectors, "TEXTS_AT_ONCE", most)

    assert vectors.embed_missing(store, model, TEXTS, seen.append) == 5
    assert sum(seen) == 5
    assert len(segments(store, model)) == files
    assert vectors.embed_missing(store, model, TEXTS, seen.append) == 0
    assert sum(seen) == 10


def test_a_text_under_two_prompts_has_one_row_and_others_none(store: Store) -> None:
    model = LetterEncoder()
    vectors.embed_missing(store, model, TEXTS, lambda _: None)

    index, found = vectors.needed(store, model, pl.Series(["d", "a", "a"]))

    assert index.get_column("text_id").sort().to_list() == ["a", "d"]
    rows = dict(index.select("text_id", "index").iter_rows())
    expected = model.encode(["ab", "d"]).vectors
    assert (found[rows["a"]] == expected[0]).all()
    assert (found[rows["d"]] == expected[1]).all()


def test_a_vector_that_was_lost_since_is_an_error_that_says_what_to_do_and_doing_it_helps(store: Store) -> None:
    model = LetterEncoder()
    vectors.embed_missing(store, model, TEXTS, lambda _: None)
    (only,) = segments(store, model)
    storage.write_bytes(only, b"not parquet")

    with pytest.raises(PrefineError, match=r"4 texts lost their vector after they were embedded, the first is a: .*Run again"):
        vectors.needed(store, model, TEXTS.get_column("text_id"))

    assert vectors.embed_missing(store, model, TEXTS, lambda _: None) == 5
    assert vectors.needed(store, model, TEXTS.get_column("text_id"))[0].height == 4


def test_small_files_are_joined(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LetterEncoder()
    monkeypatch.setattr(vectors, "TEXTS_AT_ONCE", 1)
    many = pl.DataFrame({"bucket": range(40), "text_id": [f"{i:03}" for i in range(40)], "text": ["x"] * 40})
    vectors.embed_missing(store, model, many, lambda _: None)

    assert store.compact(vectors.EMBEDDINGS, model.fingerprint) == 40
    assert len(segments(store, model)) == 1
    assert vectors.needed(store, model, many.get_column("text_id"))[0].height == 40
