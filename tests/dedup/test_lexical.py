"""Near duplicates by words: shingles by hand, the banding against its formula, Jaccard against sets."""

import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.dedup import lexical
from pipeline.dedup.lexical import BAND_ROWS, BANDS, candidate_probability, candidates, jaccard, signatures, words_ids
from pipeline.errors import PrefineError

SENTENCE = "The quick brown fox jumps over the lazy dog"


def texts_of(*texts: str) -> pl.DataFrame:
    ids = [f"{i:03}" for i in range(len(texts))]
    return pl.DataFrame({"text_id": ids, "text": texts}, schema={"text_id": pl.String, "text": pl.String})


def similarity(left: str, right: str) -> float:
    value: float = jaccard(pl.DataFrame({"left": ["000"], "right": ["001"]}), texts_of(left, right))["jaccard"][0]
    return value


def slow_jaccard(left: str, right: str) -> float:
    """Over sets of tuples, for texts of ASCII words."""

    def grams(text: str) -> set[tuple[str, ...]]:
        words = re.findall(r"[a-z0-9]+", text.lower())
        return {tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4))}

    a, b = grams(left), grams(right)
    return len(a & b) / len(a | b)


def test_jaccard_counts_shared_runs_of_five_words() -> None:
    # 5 runs each; the last word is in one run: 4 shared of 6.
    assert similarity(SENTENCE, SENTENCE.replace("dog", "cat")) == pytest.approx(4 / 6)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("Hello, World!", "hello   world", 1.0),  # short texts are one run
        ("hello world", "hello there world", 0.0),
        ("one two three four five", "one two three four five", 1.0),
        ("one two three four five", "one two three four five six", 0.5),
        ("don't stop", "Don’t stop", 1.0),  # noqa: RUF001
        ("say 'yes' now", 'say "yes" now', 1.0),
        ("_very_ **nice**", "very nice", 1.0),
        ("ＡＢＣ def", "abc def", 1.0),  # noqa: RUF001
        ("", " \n", 1.0),
        ("", "word", 0.0),
        ("👍", "👍👍", 0.0),  # a text without words is compared whole
        ("👍 👍", "👍👍", 1.0),
        ("今天天气很好", "今天天气很坏", 1 / 3),  # each sign is a word
        ("a b", "ab", 0.0),
        ("a b c d e f", "b c d e f a", 1 / 3),  # order counts
        ("а б в г д", "а б в г д е", 0.5),  # noqa: RUF001
        ("a b a b a b a b a b", "a b a b a b", 1.0),  # sets, not counts
    ],
)  # fmt: skip
def test_what_counts_as_the_same_words(left: str, right: str, expected: float) -> None:
    assert similarity(left, right) == pytest.approx(expected)
    assert similarity(right, left) == pytest.approx(expected)


def test_texts_of_the_same_words_share_an_id() -> None:
    ids = words_ids(pl.Series(["Hello, World!", "hello   world", "hello word", "Hello", "👍"]))

    assert ids[0] == ids[1]
    assert ids.n_unique() == 4


def test_a_short_text_is_not_the_beginning_of_a_longer_one() -> None:
    assert similarity("one two three four", "one two three four five") == 0.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="ab cd", max_size=60).filter(str.strip), min_size=2, max_size=6))
def test_jaccard_equals_that_of_sets(texts: list[str]) -> None:
    table = texts_of(*texts)
    pairs = table.select(left="text_id").join(table.select(right="text_id"), how="cross")

    got = jaccard(pairs, table)["jaccard"].to_list()

    assert got == pytest.approx([slow_jaccard(a, b) for a in texts for b in texts])


def test_jaccard_does_not_depend_on_how_the_work_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    table = texts_of(*(" ".join(map(str, rng.integers(0, 3, rng.integers(1, 60)))) for _ in range(40)))
    pairs = table.select(left="text_id").join(table.select(right="text_id"), how="cross").sample(fraction=1, shuffle=True, seed=1)
    whole = jaccard(pairs, table)

    monkeypatch.setattr(lexical, "_SLICE_BYTES", 100)
    monkeypatch.setattr(lexical, "_SLICE_SHINGLES", 50)

    assert_frame_equal(jaccard(pairs, table.reverse()), whole)
    assert_frame_equal(candidates([signatures(table)]), candidates([signatures(table[:7]), signatures(table[7:].reverse())]))


def test_a_missing_text_is_named() -> None:
    with pytest.raises(PrefineError, match="1 texts of pairs are missing, the first is 007"):
        jaccard(pl.DataFrame({"left": ["000"], "right": ["007"]}), texts_of("a"))


def test_a_signature_is_14_bands_and_that_of_its_text_alone() -> None:
    table = texts_of(SENTENCE, "short", "", "👍")

    all_at_once = signatures(table)

    assert all_at_once.schema == {"text_id": pl.String, "band": pl.UInt8, "key": pl.UInt64}
    assert all_at_once["band"].to_list() == list(range(BANDS)) * 4
    assert_frame_equal(all_at_once, pl.concat(signatures(table[i : i + 1]) for i in range(4)))


def test_signatures_stay_as_they_are() -> None:
    # Stored signatures meet new ones: another hash would part them in silence.
    assert signatures(texts_of(SENTENCE))["key"][:2].to_list() == [5307452541365318483, 17280388070973568642]


def test_candidates_are_all_pairs_of_a_bucket_once() -> None:
    table = texts_of("one two three four five six", "Nothing like it", "One, two, three: four five six.", "ONE TWO THREE FOUR FIVE SIX")

    found = candidates([signatures(table[:2]), signatures(table[2:]), signatures(table[:1])])

    assert found.rows() == [("000", "002"), ("000", "003"), ("002", "003")]


def test_no_texts_and_no_pairs_are_no_error() -> None:
    nothing = texts_of()

    assert candidates([signatures(nothing)]).rows() == []
    assert jaccard(candidates([signatures(nothing)]), nothing).schema == {"left": pl.String, "right": pl.String, "jaccard": pl.Float64}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=BANDS, max_size=BANDS), max_size=12))
def test_candidates_are_the_texts_that_share_a_band(keys: list[list[int]]) -> None:
    rows = [(f"{i:02}", band, key) for i, row in enumerate(keys) for band, key in enumerate(row)]
    bands = pl.DataFrame(rows, schema={"text_id": pl.String, "band": pl.UInt8, "key": pl.UInt64}, orient="row")

    found = candidates([bands.sample(fraction=1, shuffle=True, seed=0)])

    pairs = [(i, j) for i in range(len(keys)) for j in range(i + 1, len(keys))]
    sharing = [(f"{i:02}", f"{j:02}") for i, j in pairs if any(a == b for a, b in zip(keys[i], keys[j], strict=True))]
    assert found.rows() == sharing


def test_too_many_candidates_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexical, "MAX_PAIRS", 5)
    alike = texts_of("a b", "A b", "a B", "A B")
    rows = [(str(i), band, 0 if band == 3 else i) for i in range(4) for band in range(BANDS)]
    one_bucket = pl.DataFrame(rows, schema=signatures(alike).schema, orient="row")

    with pytest.raises(PrefineError, match="6 candidate pairs, at most 5 are compared; 4 texts share most of their words with 000"):
        candidates([signatures(alike)])
    with pytest.raises(PrefineError, match="6 candidate pairs, at most 5 are compared; 4 texts share one bucket"):
        candidates([one_bucket])


@pytest.mark.parametrize(("share", "probability"), [(0.5, 0.0533), (0.7, 0.5645), (0.8, 0.9235), (0.0, 0.0), (1.0, 1.0)])
def test_the_probability_of_becoming_a_candidate(share: float, probability: float) -> None:
    assert candidate_probability(share) == pytest.approx(probability, abs=5e-5)


def test_the_bend_of_the_curve() -> None:
    bend = (1 / BANDS) ** (1 / BAND_ROWS)

    assert bend == pytest.approx(0.7190, abs=5e-5)


@pytest.mark.parametrize(("shared", "own"), [(100, 50), (140, 30), (160, 20), (180, 10)])  # Jaccard 0.5, 0.7, 0.8, 0.9
def test_banding_follows_its_formula(shared: int, own: int) -> None:
    """On 1,500 pairs of texts of 5-grams that never repeat: within 4 standard errors and a fiftieth.

    The sketch fills its 112 places from fewer draws than as many independent hashes would, so places agree a little more
    evenly than at random: at sets near 112 elements 2 points more pairs are found than the formula says, never fewer.
    """
    rng = np.random.default_rng(7)
    pairs = 1500
    # Each text is a chain of words of its own, of which two texts have the first part in common.
    words = rng.integers(0, 1 << 62, (pairs, shared + 4 + 2 * own)).astype(str)
    left = [" ".join(row[: shared + 4 + own]) for row in words]
    right = [" ".join([*row[: shared + 4], *row[shared + 4 + own :]]) for row in words]
    table = texts_of(*left, *right).with_columns(text_id=pl.Series([f"{i}{side}" for side in "ab" for i in range(pairs)]))

    found = candidates([signatures(table)])

    expected = candidate_probability(shared / (shared + 2 * own))
    error = 4 * (expected * (1 - expected) / pairs) ** 0.5 + 0.02
    assert found.filter(pl.col("left").str.head(-1) != pl.col("right").str.head(-1)).is_empty()
    assert found.height / pairs == pytest.approx(expected, abs=error)
