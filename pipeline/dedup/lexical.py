"""Near duplicates by their letters: MinHash-LSH proposes pairs of texts, the true Jaccard of their 5-grams decides.

The 5-grams (shingles) are of characters or of words. A slip in one word breaks 5 of either, and a text of 50 words has 46
5-grams of words and 300 of characters: at a Jaccard of 0.8 one other word of five letters is let through in every 15 words
(characters) or every 49 (words). What such a word may say otherwise, `facts` has to notice.

Two texts with Jaccard s become candidates with probability 1 - (1 - s^8)^14 (`candidate_probability`), so this path
finds 92 % of those at 0.8 and 99.9 % of those at 0.9; what it proposes is then measured, not estimated. Texts are
compared in lower case, without punctuation: those that differ only there have Jaccard 1.
"""

import hashlib
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from rensa import RMinHash

from pipeline.errors import PrefineError
from pipeline.stage import runs_of
from pipeline.texts import WORD

Shingles = Literal["characters", "words"]

SHINGLE_SIZE = 5
BANDS, BAND_ROWS = 14, 8  # datatrove's defaults, with its word 5-grams
MAX_PAIRS = 50_000_000  # of one call of `candidates`: about 3 GB

_SEED = 1  # of the hash functions
_SLICE_BYTES = 1 << 22  # of text cut into shingles at once: its numbers take 8 bytes a character, several times over
_HELD_BYTES = 1 << 25  # of text whose sets of shingles are held at once: 8 bytes a character at most
_SLICE_SHINGLES = 1 << 22  # intersected at once

_Hashes = npt.NDArray[np.uint64]
_Offsets = npt.NDArray[np.int64]


def candidate_probability(jaccard: float) -> float:
    """The probability (0 to 1) that two texts with this Jaccard (0 to 1) share a band: 1 - (1 - s^8)^14."""
    return 1.0 - (1.0 - jaccard**BAND_ROWS) ** BANDS


def signatures(texts: pl.DataFrame, shingles: Shingles = "words") -> pl.DataFrame:
    """The bands of each text's MinHash signature, 14 of 8 hashes each, over its 5-grams.

    Texts that share a band's key are candidates. A text too short for a 5-gram is one shingle. Keys depend on the text
    alone, so the signatures of a data set's parts are its signatures.

    Args:
        texts: (text_id, text), one row a text, no nulls.
        shingles: what the 5-grams are of; the same for all texts that are compared.

    Returns:
        (text_id, band: uint8, key: uint64), 14 rows a text, in the order of `texts`.
    """
    keys = [np.empty((0, BANDS), np.uint64)]
    for some in runs_of(texts.get_column("text").str.len_bytes().to_numpy(), _SLICE_BYTES):
        hashes, offsets = _shingles(texts.get_column("text")[some], shingles)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets.astype(np.uint64), BANDS * BAND_ROWS, _SEED)
        digests = np.array(matrix.to_rows(), dtype=np.uint64).reshape(-1, BANDS, BAND_ROWS)
        keys.append(_mixed([digests[:, :, i] for i in range(BAND_ROWS)]))
    return pl.DataFrame(
        {
            "text_id": texts.get_column("text_id").gather(np.repeat(np.arange(texts.height), BANDS)),
            "band": np.tile(np.arange(BANDS, dtype=np.uint8), texts.height),
            "key": np.concatenate(keys).ravel(),
        }
    )


def candidates(bands: list[pl.DataFrame]) -> pl.DataFrame:
    """Pairs of texts that share at least one band.

    All pairs of a bucket are listed, m (m - 1) / 2 of m texts, because any of them may be the one that counts.

    Args:
        bands: what `signatures` returned for the parts of the texts; a text in several parts counts once.

    Returns:
        (left, right), text ids with left < right, distinct, sorted.

    Raises:
        PrefineError: more than `MAX_PAIRS` pairs; says how many texts are alike.
    """
    keys = pl.concat(bands).unique().sort("text_id", "band")
    ids = keys.get_column("text_id").unique(maintain_order=True)
    # Texts with one signature share every bucket: thousands of them are one member of each.
    whole = keys.get_column("key").to_numpy().reshape(-1, BANDS)
    distinct, member_of = np.unique(whole, axis=0, return_inverse=True)
    members, sizes = np.argsort(member_of, kind="stable"), np.bincount(member_of, minlength=len(distinct))
    starts = np.cumsum(sizes) - sizes
    found = np.empty(0, np.uint64)
    for band in range(BANDS):
        found = np.union1d(found, _sharing(distinct[:, band]))
        left, right = (found >> np.uint64(32)).astype(np.int64), (found & np.uint64(0xFFFFFFFF)).astype(np.int64)
        pairs = int((sizes[left] * sizes[right]).sum() + (sizes * (sizes - 1) // 2).sum())
        if pairs > MAX_PAIRS:
            ends, others = np.concatenate([left, right]), np.concatenate([right, left])
            most = np.bincount(ends, weights=sizes[others], minlength=len(sizes)) + sizes
            first = int(np.argmax(most))
            raise PrefineError(
                f"near duplicates: {pairs} candidate pairs, at most {MAX_PAIRS} are compared; {int(most[first])} texts share most of their "
                f"words with {ids[int(members[starts[first]])]}. Leave such texts out, or turn the comparison by words off."
            )
    # Each pair of signatures stands for the pairs of their texts; a signature with itself, for those of its own texts.
    left, right = np.concatenate([left, np.arange(len(sizes))]), np.concatenate([right, np.arange(len(sizes))])
    times = sizes[left] * sizes[right]
    step = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
    left, right = np.repeat(left, times), np.repeat(right, times)
    one, other = members[starts[left] + step // sizes[right]], members[starts[right] + step % sizes[right]]
    kept = (left != right) | (one < other)
    low, high = np.minimum(one, other)[kept], np.maximum(one, other)[kept]
    order = np.lexsort((high, low))
    return pl.DataFrame({"left": ids.gather(low[order]), "right": ids.gather(high[order])})


def _sharing(keys: _Hashes) -> _Hashes:
    """All pairs of rows with equal keys, the smaller row in the upper 32 bits."""
    rows = np.argsort(keys, kind="stable").astype(np.uint64)
    ordered = keys[rows]
    later = np.searchsorted(ordered, ordered, side="right") - np.arange(len(keys)) - 1  # members of its bucket after each row
    if later.sum() > MAX_PAIRS:
        raise PrefineError(
            f"near duplicates: {later.sum()} candidate pairs, at most {MAX_PAIRS} are compared; {later.max() + 1} texts share one bucket. "
            "Leave such texts out, or turn the comparison by words off."
        )
    left = np.repeat(np.arange(len(keys)), later)
    step = np.arange(left.size) - np.repeat(np.cumsum(later) - later, later)
    pairs: _Hashes = rows[left] << np.uint64(32) | rows[left + 1 + step]
    return pairs


def jaccard(pairs: pl.DataFrame, texts: pl.DataFrame, shingles: Shingles = "words") -> pl.DataFrame:
    """Add the Jaccard similarity of the two texts' sets of 5-grams: shared / all distinct ones.

    5-grams are compared by 64-bit hashes. Extra memory does not grow with the texts: a text in many pairs is cut into 5-grams
    again for every 32 MB that the texts of its pairs have together.

    Args:
        pairs: (left, right), text ids, of any order; neighbours with a text in common cost least.
        texts: (text_id, text) of at least those texts, one row a text.
        shingles: what the 5-grams are of.

    Returns:
        The pairs with `jaccard` (float64, 0 to 1), in their order.

    Raises:
        PrefineError: a text of a pair is not in `texts`.
    """
    used = pl.concat([pairs.get_column("left"), pairs.get_column("right")]).unique()
    needed = texts.filter(pl.col("text_id").is_in(used.implode())).select("text_id", "text").with_row_index("number")
    if needed.height < len(used):
        missing = used.filter(~used.is_in(needed.get_column("text_id").implode())).sort()
        raise PrefineError(f"near duplicates: {len(missing)} texts of pairs are missing, the first is {missing[0]}; expected all.")
    left, right = (_places(pairs.get_column(side), needed) for side in ("left", "right"))
    sizes = needed.get_column("text").str.len_bytes().to_numpy().astype(np.int64)
    values = [np.empty(0)]
    for some in runs_of(sizes[left] + sizes[right], _HELD_BYTES):
        held, ends = np.unique(np.concatenate([left[some], right[some]]), return_inverse=True)
        values.append(_jaccard(_sets(needed.get_column("text").gather(held), shingles), *ends.reshape(2, -1)))
    return pairs.with_columns(jaccard=pl.Series(np.concatenate(values), dtype=pl.Float64))


def _sets(texts: pl.Series, shingles: Shingles) -> pl.Series:
    """The distinct shingles of each text: lists of hashes."""
    sets = [pl.Series("set", [], pl.List(pl.UInt64))]
    for some in runs_of(texts.str.len_bytes().to_numpy(), _SLICE_BYTES):
        sets.append(_lists(*_shingles(texts[some], shingles)).list.unique())
    return pl.concat(sets)


def _jaccard(sets: pl.Series, left: _Offsets, right: _Offsets) -> npt.NDArray[np.float64]:
    """Of pairs of rows of `sets`."""
    sizes = sets.list.len().cast(pl.Int64).to_numpy()
    shared = [pl.Series("shared", [], pl.UInt32)]
    for some in runs_of(sizes[left] + sizes[right], _SLICE_SHINGLES):
        both = pl.DataFrame({"left": sets.gather(left[some]), "right": sets.gather(right[some])})
        shared.append(both.select(shared=pl.col("left").list.set_intersection("right").list.len()).to_series())
    common = pl.concat(shared).to_numpy().astype(np.int64)
    return np.asarray(common / (sizes[left] + sizes[right] - common))


def _places(ids: pl.Series, needed: pl.DataFrame) -> npt.NDArray[np.int64]:
    found = ids.to_frame("text_id").join(needed.select("text_id", "number"), on="text_id", how="left", maintain_order="left")
    return found.get_column("number").to_numpy().astype(np.int64)


def _words(texts: pl.Series) -> pl.Series:
    """The words of each text, as far as they count; a text without any, such as one of emoji, is one word itself."""
    plain = texts.str.normalize("NFKC").str.to_lowercase().str.replace_all("’", "'", literal=True).alias("plain")  # noqa: RUF001
    # Quotes and Markdown's underscores hang on to words.
    words = plain.str.extract_all(WORD).list.eval(pl.element().str.strip_chars("'_").filter(pl.element().str.strip_chars("'_") != ""))
    whole = pl.concat_list(pl.col("plain").str.replace_all(r"\s+", ""))
    told = pl.DataFrame([plain, words.alias("words")])
    return told.select(pl.when(pl.col("words").list.len() > 0).then("words").otherwise(whole).alias("words")).to_series()


def _shingles(texts: pl.Series, shingles: Shingles) -> tuple[_Hashes, _Offsets]:
    """Hashes of each text's 5-grams, repeats included, end to end; and where each text's begin, with the end of all."""
    flat, counts = _word_hashes(texts) if shingles == "words" else _characters(texts)
    # A short text is filled up with what no text has, so that every text has a run of 5.
    starts = np.concatenate([[0], np.cumsum(np.maximum(counts, SHINGLE_SIZE))])
    padded = np.zeros(starts[-1], np.uint64)
    place = np.arange(len(flat)) + np.repeat(starts[:-1] - (np.cumsum(counts) - counts), counts)
    padded[place] = flat
    begins = np.ones(padded.size, dtype=bool)
    for back in range(1, SHINGLE_SIZE):
        begins[starts[1:] - back] = False
    runs = padded.size - SHINGLE_SIZE + 1
    columns = [padded[i : i + runs] for i in range(SHINGLE_SIZE)] if padded.size else [padded] * SHINGLE_SIZE
    if shingles == "characters":  # three fit into a number
        columns = [columns[0] | columns[1] << np.uint64(21) | columns[2] << np.uint64(42), columns[3] | columns[4] << np.uint64(21)]
    sizes = np.diff(starts) - SHINGLE_SIZE + 1
    hashes = _mixed(columns)
    return hashes[begins[: hashes.size]], np.concatenate([[0], np.cumsum(sizes)])


def _characters(texts: pl.Series) -> tuple[_Hashes, _Offsets]:
    """The code points of each text's words, with a space before and after each word, end to end; and how many they are."""
    spaced = pl.select(pl.concat_str(pl.lit(" "), _words(texts).list.join(" "), pl.lit(" "))).to_series()
    joined = spaced.str.join("").item().encode("utf-32-le")
    return np.frombuffer(joined, dtype="<u4").astype(np.uint64), spaced.str.len_chars().to_numpy().astype(np.int64)


def _word_hashes(texts: pl.Series) -> tuple[_Hashes, _Offsets]:
    """BLAKE2b (8 bytes) of each text's words, end to end; and how many they are.

    Each distinct word is hashed once. polars' own hashes may change with its version.
    """
    told = _words(texts)
    words = told.explode(empty_as_null=False, keep_nulls=False)
    distinct = words.unique()
    joined = b"".join([hashlib.blake2b(word, digest_size=8).digest() for word in distinct.cast(pl.Binary).to_list()])
    hashes = pl.DataFrame({"word": distinct, "hash": np.frombuffer(joined, dtype="<u8").astype(np.uint64)})
    found = words.to_frame("word").join(hashes, on="word", how="left", maintain_order="left")
    return found.get_column("hash").to_numpy(), told.list.len().cast(pl.Int64).to_numpy()


def _mixed(columns: list[_Hashes]) -> _Hashes:
    """One hash of several, in which their order counts (the finaliser of SplitMix64 after each)."""
    mixed = np.zeros_like(columns[0])
    for column in columns:
        mixed = (mixed ^ column) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return mixed


def _lists(values: _Hashes, offsets: _Offsets) -> pl.Series:
    lists = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pa.array(values, pa.uint64()))
    return pl.Series("set", lists)
