"""Near duplicates by letters: shingles by hand, the banding against its formula, Jaccard against sets."""

import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.dedup import lexical
from pipeline.dedup.lexical import BAND_ROWS, BANDS, Shingles, candidate_probability, candidates, jaccard, signatures
from pipeline.errors import PrefineError

KINDS: list[Shingles] = ["words", "characters"]
SENTENCE = "The quick brown fox jumps over the lazy dog"


def texts_of(*texts: str) -> pl.DataFrame:
    ids = [f"{i:03}" for i in range(len(texts))]
    return pl.DataFrame({"text_id": ids, "text": texts}, schema={"text_id": pl.String, "text": pl.String})


def similarity(left: str, right: str, shingles: Shingles = "words") -> float:
    value: float = jaccard(pl.DataFrame({"left": ["000"], "right": ["001"]}), texts_of(left, right), shingles)["jaccard"][0]
    return value


def slow_jaccard(left: str, right: str, shingles: Shingles) -> float:
    """Over sets of tuples, for texts of ASCII words."""

    def grams(text: str) -> set[tuple[str, ...]]:
        words: list[str] | str = re.findall(r"[a-z0-9]+", text.lower())
        if shingles == "characters":
            words = f" {' '.join(words)} "
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


def test_jaccard_counts_shared_runs_of_five_characters() -> None:
    # With a space at both ends it has 41 runs, " the " twice; the last word is in the last 4: 36 of 44 are shared.
    assert similarity(SENTENCE, SENTENCE.replace("dog", "cat"), "characters") == pytest.approx(36 / 44)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("Hello, World!", "hello   world", 1.0),
        ("hello world", "hello worlds", 8 / 11),  # " hello world " is 9 runs, of which the last is "orld "
        ("Don’t", "'don't'", 1.0),  # noqa: RUF001
        ("_very_ **nice**", "very nice", 1.0),
        ("ＡＢＣ def", "abc def", 1.0),  # noqa: RUF001
        ("", " \n", 1.0),
        ("", "word", 0.0),
        ("a", "b", 0.0),  # shorter than a run
        ("no", "not", 0.0),
        ("👍", "👍👍", 0.0),
        ("👍 👍", "👍👍", 1.0),
        ("今天，天气很好。", "今天天气很好", 1.0),  # noqa: RUF001 (each sign is a word)
        ("今天天气很好", "今天天气很坏", 7 / 11),  # 9 runs each of signs and spaces, the last 2 with the last sign
        ("𝒳𐍈", "𝒳𐍉", 0.0),
        ("abcabcabcabc", "abcabcabc", 1.0),  # sets, not counts
    ],
)  # fmt: skip
def test_what_counts_as_the_same_characters(left: str, right: str, expected: float) -> None:
    assert similarity(left, right, "characters") == pytest.approx(expected)
    assert similarity(right, left, "characters") == pytest.approx(expected)


def test_a_slip_parts_texts_by_their_words_and_not_by_their_characters() -> None:
    text = "Rinse the rice in cold water until it runs clear, then let it soak for half an hour before you cook it."

    assert similarity(text, text.replace("clear", "claer"), "words") < 0.6
    assert similarity(text, text.replace("clear", "claer"), "characters") > 0.85


def test_a_short_text_is_not_the_beginning_of_a_longer_one() -> None:
    assert similarity("one two three four", "one two three four five") == 0.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="ab cd", max_size=60).filter(str.strip), min_size=2, max_size=6), st.sampled_from(KINDS))
def test_jaccard_equals_that_of_sets(texts: list[str], shingles: Shingles) -> None:
    table = texts_of(*texts)
    pairs = table.select(left="text_id").join(table.select(right="text_id"), how="cross")

    got = jaccard(pairs, table, shingles)["jaccard"].to_list()

    assert got == pytest.approx([slow_jaccard(a, b, shingles) for a in texts for b in texts])


@pytest.mark.parametrize("shingles", KINDS)
def test_jaccard_does_not_depend_on_how_the_work_is_cut(shingles: Shingles, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    table = texts_of(*(" ".join(map(str, rng.integers(0, 3, rng.integers(1, 60)))) for _ in range(40)))
    pairs = table.select(left="text_id").join(table.select(right="text_id"), how="cross").sample(fraction=1, shuffle=True, seed=1)
    whole, bands = jaccard(pairs, table, shingles), signatures(table, shingles)

    monkeypatch.setattr(lexical, "_SLICE_BYTES", 100)
    monkeypatch.setattr(lexical, "_HELD_BYTES", 900)
    monkeypatch.setattr(lexical, "_SLICE_SHINGLES", 50)

    assert_frame_equal(jaccard(pairs, table.reverse(), shingles), whole)
    assert_frame_equal(candidates([bands]), candidates([signatures(table[:7], shingles), signatures(table[7:].reverse(), shingles)]))


def test_a_missing_text_is_named() -> None:
    with pytest.raises(PrefineError, match="1 texts of pairs are missing, the first is 007"):
        jaccard(pl.DataFrame({"left": ["000"], "right": ["007"]}), texts_of("a"))


@pytest.mark.parametrize("shingles", KINDS)
def test_a_signature_is_14_bands_and_that_of_its_text_alone(shingles: Shingles) -> None:
    table = texts_of(SENTENCE, "short", "", "👍")

    all_at_once = signatures(table, shingles)

    assert all_at_once.schema == {"text_id": pl.String, "band": pl.UInt8, "key": pl.UInt64}
    assert all_at_once["band"].to_list() == list(range(BANDS)) * 4
    assert_frame_equal(all_at_once, pl.concat(signatures(table[i : i + 1], shingles) for i in range(4)))


@pytest.mark.parametrize(
    ("shingles", "keys"),
    [("words", [5307452541365318483, 17280388070973568642]), ("characters", [4842530606736825525, 4220042488661443237])],
)
def test_signatures_stay_as_they_are(shingles: Shingles, keys: list[int]) -> None:
    # Another hash would change which texts are compared, on another version of a library without a word.
    assert signatures(texts_of(SENTENCE), shingles)["key"][:2].to_list() == keys


def test_candidates_are_all_pairs_of_a_bucket_once() -> None:
    table = texts_of("one two three four five six", "Nothing like it", "One, two, three: four five six.", "ONE TWO THREE FOUR FIVE SIX")

    found = candidates([signatures(table[:2]), signatures(table[2:]), signatures(table[:1])])

    assert found.rows() == [("000", "002"), ("000", "003"), ("002", "003")]


@pytest.mark.parametrize("shingles", KINDS)
def test_no_texts_and_no_pairs_are_no_error(shingles: Shingles) -> None:
    none_found = candidates([signatures(texts_of(), shingles)])

    assert none_found.rows() == []
    assert jaccard(none_found, texts_of(), shingles).schema == {"left": pl.String, "right": pl.String, "jaccard": pl.Float64}


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
