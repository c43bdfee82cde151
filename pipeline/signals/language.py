"""The language of prompt and answers."""

import functools
import re
import unicodedata

import numpy as np
import numpy.typing as npt
import polars as pl
from py3langid.langid import MODEL_FILE, LanguageIdentifier
from scipy.sparse import csr_array

from pipeline.signals import SIDES
from pipeline.stage import runs_of
from pipeline.texts import text_of

MAX_CHARS = 300  # read of a text; on 3,400 real texts a longer look is right no more often (99.3 % of those told)
MIN_LETTERS, MIN_UNSPACED = 8, 4  # fewer letters (or signs of a script that writes a word in one or two) are too few to tell
MIN_CONFIDENCE = 0.4  # of the same texts, cut to 25 characters: tells 91 %, and 99.5 % of those right
_SLICE_BYTES = 1 << 22  # of text walked through at once
_CHINESE = {"wuu": "zh", "yue": "zh"}  # written almost alike; ISO 639-1 has one code
_NOTHING = "zxx"  # the model's class for what is no language: code, numbers

_NO_PROSE = r"(?s)```.*?(?:```|\z)|`[^`\n]*`|https?://\S+|<[^<>\n]*>"
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"


def add_language(pairs: pl.DataFrame) -> pl.DataFrame:
    """Add `prompt_language`, `chosen_language`, `rejected_language` (ISO 639-1) and `language_mismatch`.

    A language is null where the text is too short to tell, is no prose, or nothing reaches a probability of 0.4. A prompt's is that of
    its user turns. `language_mismatch`: both answers have a language, and not the same.

    Args:
        pairs: PAIR rows, of any order.

    Source: py3langid (naive Bayes over byte n-grams, 2026), after Lui and Baldwin, langid.py (ACL 2012).
    """
    said = pl.element().filter(pl.element().struct.field("role") == "user").struct.field("content").fill_null("")
    asked = pl.col("prompt").list.eval(said).list.join("\n").fill_null("")
    prose = pairs.select(_prose(asked).alias("prompt"), *(_prose(text_of(side)).alias(side) for side in SIDES))
    texts = pl.concat([prose.get_column(name) for name in prose.columns]).drop_nulls().unique()
    parts = [_languages(texts[rows]) for rows in runs_of(texts.str.len_bytes().to_numpy(), _SLICE_BYTES)]
    languages = pl.concat([pl.Series([], dtype=pl.String), *parts])
    told = prose.with_columns(
        pl.col(name).replace_strict(texts, languages, default=None, return_dtype=pl.String).alias(f"{name}_language")
        for name in prose.columns
    ).drop(prose.columns)
    mismatch = (pl.col("chosen_language") != pl.col("rejected_language")).fill_null(False)
    return pl.concat([pairs, told.with_columns(language_mismatch=mismatch)], how="horizontal")


def _prose(text: pl.Expr) -> pl.Expr:
    """What the language is told from; null when that is too little."""
    prose = text.str.replace_all(_NO_PROSE, " ").str.replace_all(r"\s+", " ").str.strip_chars().str.slice(0, MAX_CHARS)
    enough = (prose.str.count_matches(r"\p{L}") >= MIN_LETTERS) | (prose.str.count_matches(_UNSPACED) >= MIN_UNSPACED)
    return pl.when(enough).then(prose)


@functools.cache
def _identifier() -> LanguageIdentifier:
    """The model inside the package, limited to languages with a two-letter code."""
    model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    model.set_languages([label for label in model.labels if re.fullmatch("[a-z]{2}", label) or label in _CHINESE or label == _NOTHING])
    return model


def _languages(texts: pl.Series) -> pl.Series:
    """The language of each text; null where none is likely enough.

    What `LanguageIdentifier.classify` does with one text at a time (some 3,500 a second), for many at once: the automaton takes one
    step in all of them together. Scores are added up in another order than there, which moves a probability by 1e-5 at most.
    """
    scores = _probabilities([_bytes_of(text) for text in texts])
    best = scores.argmax(axis=1)
    labels = [_CHINESE.get(label, str(label)) for label in _identifier().nb_classes]
    told = pl.Series(labels, dtype=pl.String).gather(best)
    sure = pl.Series(scores[np.arange(len(best)), best] >= MIN_CONFIDENCE) & (told != _NOTHING)
    return pl.select(pl.when(sure).then(told)).to_series()


def _bytes_of(text: str) -> bytes:
    return unicodedata.normalize("NFC", text.lower() if text.isupper() else text).encode("utf-8", "surrogatepass")


def _probabilities(texts: list[bytes]) -> npt.NDArray[np.float32]:
    """(N, classes): each class's probability by naive Bayes over log counts of byte n-grams, tempered by the root of the length."""
    model = _identifier()
    sizes = np.array([len(text) for text in texts])
    rows, features = _visits(texts, sizes)
    is_used = np.bincount(features, minlength=len(model.nb_ptc)) > 0
    used, number = np.flatnonzero(is_used), np.cumsum(is_used) - 1
    counts = csr_array((np.ones(len(rows), np.float32), (rows, number[features])), shape=(len(texts), len(used)))
    counts.sum_duplicates()
    counts.data = np.log1p(counts.data)
    # Row by row and feature by feature, so that a text's scores do not depend on its neighbours.
    scores = counts @ model.nb_ptc[used].astype(np.float32) + model.nb_pc.astype(np.float32)
    scores[np.diff(counts.indptr) == 0] = 0.0  # nothing known is read: every class is as likely
    scores /= np.sqrt(np.maximum(sizes, 1), dtype=np.float32)[:, np.newaxis]
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    scores /= scores.sum(axis=1, keepdims=True)
    for first, other in model._alias_pairs:  # one language in two scripts
        scores[:, first] += scores[:, other]
        scores[:, other] = 0.0
    return np.asarray(scores, dtype=np.float32)


def _visits(texts: list[bytes], sizes: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Text and feature, once for each n-gram of the model that stands in a text."""
    move, start_of, output = _automaton()
    longest_first = np.argsort(-sizes, kind="stable")
    ends = np.cumsum(sizes[longest_first])
    joined = np.frombuffer(b"".join(texts[i] for i in longest_first), np.uint8)
    starts = ends - sizes[longest_first]
    running = np.searchsorted(-sizes[longest_first], -np.arange(1, sizes.max(initial=0) + 1), side="right")  # texts with a byte there
    state = np.zeros(len(texts), np.int64)
    rows, features = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for place, some in enumerate(running):
        state[:some] = move[start_of[state[:some]] + joined[starts[:some] + place]]
        found = output[state[:some]]
        there = np.flatnonzero(found >= 0)
        rows.append(longest_first[there])
        features.append(found[there])
    return np.concatenate(rows), np.concatenate(features)


@functools.cache
def _automaton() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Next state by row and byte, first place of a state's row, and the feature that a state stands for (-1: none)."""
    model = _identifier()
    return np.asarray(model.tk_nextmove), np.asarray(model.tk_row, np.int64) << 8, np.asarray(model.tk_output, np.int64)
