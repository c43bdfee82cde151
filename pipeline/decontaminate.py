"""Pairs that hold a benchmark's prompts, in their prompt or in an answer: found by shared runs of words and by embeddings.

Runs of words (`kind` ngram): the share of a benchmark prompt's words that lie in runs of `ngram` words which one text holds
too, as Tülu 3 (2024) counts it. So a prompt quoted inside a longer text is found, and one edited here and there as well.
Words are compared in lower case and without punctuation. Embeddings (`kind` cosine) find what was put in other words.

A benchmark prompt of fewer than `ngram` words is too common to be looked for inside texts, or by its meaning: it is found
where it is the whole prompt, or the only turn of the user, with the same words.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline import similarity
from pipeline.config import DecontaminateConfig
from pipeline.errors import SchemaError
from pipeline.stage import runs_of
from pipeline.texts import WORD

STAGE, REASON = "decontaminate", "contaminated"

# One row = one benchmark prompt that a text holds; of one benchmark and kind the best.
HITS = pl.Schema(
    {
        "text_id": pl.String(),
        "kind": pl.String(),  # ngram or cosine
        "score": pl.Float64(),  # share of the prompt's words, or cosine
        "threshold": pl.Float64(),
        "whole": pl.Boolean(),  # a short prompt: counts only where the text is all that was asked
        "entry": pl.Int64(),  # row of the benchmark prompts
        "benchmark": pl.String(),
    }
)
_LEFT = {
    "left_stage": pl.String(), "left_reason": pl.String(), "left_score": pl.Float64(), "left_threshold": pl.Float64(),
    "left_detail": pl.String(), "left_witness_pair_id": pl.String(),
}  # fmt: skip
# Text id -> what a person calls the text. Which answer is the chosen one is decided later.
_PLACES = {"prompt_text": "the prompt", "turn_text": "the last user turn", "low_text": "an answer", "high_text": "an answer"}

_SLICE_BYTES = 1 << 23  # of text cut into words at once
_SLICE_ROWS = 1 << 22  # shared runs, each with every benchmark prompt that holds it, at once
_SHOWN = 60  # characters of a benchmark prompt in `left_detail`

_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Prompts:
    """Benchmark prompts, ready to be looked for.

    Attributes:
        entries: entry (row number), benchmark, prompt (`mt_bench:12`), text_id, text, words (their number), long (at least n words).
        whole: the words of the short ones that are looked for, joined by blanks: words, entry.
        vocabulary: word, number.
        runs: for k = 2 to n the sorted keys of all runs of k words; a key is the number of the run without its last word, times
            the size of the vocabulary, plus that word's number. Numbers are exact: no two runs share one.
        places: run (of n words), entry, at (the run's first word); sorted by run.
    """

    entries: pl.DataFrame
    whole: pl.DataFrame
    vocabulary: pl.DataFrame
    runs: list[_Ints]
    places: pl.DataFrame


def prepare(entries: pl.DataFrame, n: int) -> Prompts:
    """Number the runs of n words of benchmark prompts.

    Args:
        entries: benchmark, prompt (its name for people), turn (0 for the first of the user), text_id, text; in an order that stays.
        n: words of a run.

    Returns:
        The prompts in their order. Those without a word are never found; neither are short ones that are a later turn:
        "Can you say more?" is no benchmark.
    """
    entries = entries.with_row_index("entry").with_columns(pl.col("entry").cast(pl.Int64))
    words = _words(entries.get_column("text"))
    entries = entries.with_columns(words=words.list.len().cast(pl.Int64), long=words.list.len() >= n)
    short = entries.select("entry", "turn", "long", number="words", words=words.list.join(" "))
    whole = short.filter(~pl.col("long") & (pl.col("turn") == 0) & (pl.col("number") > 0)).select("words", "entry")
    rows, flat = _flat(words)
    vocabulary = flat.unique().sort().to_frame("word").with_columns(number=pl.int_range(pl.len(), dtype=pl.Int64))
    numbers = _numbered(flat, vocabulary)
    at, run, runs = np.arange(numbers.size), numbers, []
    for k in range(2, n + 1):
        at, key = _longer(at, run, k, rows, numbers, vocabulary.height)
        keys, run = np.unique(key, return_inverse=True)
        runs.append(keys)
    first = np.concatenate([[0], np.cumsum(words.list.len().to_numpy())]).astype(np.int64)
    places = pl.DataFrame({"run": run.astype(np.int64), "entry": rows[at], "at": at - first[rows[at]]}).sort("run", "entry", "at")
    return Prompts(entries.drop("turn"), whole, vocabulary, runs, places)


def find_hits(
    texts: pl.DataFrame,
    index: pl.DataFrame,
    vectors: npt.NDArray[np.float16],
    prompts: Prompts,
    prompt_vectors: npt.NDArray[np.float16],
    config: DecontaminateConfig,
) -> pl.DataFrame:
    """Which texts hold which benchmark prompts.

    Args:
        texts: text_id, text; a text may come several times.
        index: text_id, index: which row of `vectors` holds a text. One row a text.
        vectors: fp16 (M, D).
        prompts: what `prepare` made with `config.ngram`; L of them are long.
        prompt_vectors: fp16 (L, D), of the long ones, in their order.
        config: the thresholds.

    Returns:
        Schema HITS, sorted by text_id, benchmark, kind: for each of them the hit with the highest score, the first entry of
        equal ones.

    Raises:
        SchemaError: a text has no vector, or a long prompt has none.
    """
    long = prompts.entries.filter("long").height
    if len(prompt_vectors) != long:
        raise SchemaError(f"decontaminate: {long} long benchmark prompts and {len(prompt_vectors)} vectors; expected one each.")
    texts = texts.select("text_id", "text").unique("text_id", keep="any").sort("text_id")
    placed = texts.join(index, on="text_id", how="left", maintain_order="left")
    lost = placed.filter(pl.col("index").is_null()).get_column("text_id")
    if len(lost):
        raise SchemaError(f"decontaminate: {len(lost)} texts have no vector, the first is {lost[0]}. Embed all texts of the pairs first.")
    found = [_same_words(texts, prompts, config), _same_meaning(placed, vectors, prompts, prompt_vectors, config)]
    hits = pl.concat(found).join(prompts.entries.select("entry", "benchmark"), on="entry")
    best = hits.sort("text_id", "benchmark", "kind", "score", "entry", descending=[False, False, False, True, False])
    return best.unique(["text_id", "benchmark", "kind"], keep="first", maintain_order=True).select(HITS.names())


def hits_in_pairs(pairs: pl.DataFrame, hits: pl.DataFrame, places: dict[str, str]) -> pl.DataFrame:
    """The hits of every pair, text by text.

    Args:
        pairs: pair_id, prompt (messages) and the columns of text ids that `places` names; one row a pair.
        hits: schema HITS.
        places: column of text ids -> what its texts are called; earlier ones come first among equal hits.

    Returns:
        HITS with pair_id, place and rank (position of the column in `places`). A short prompt counts where the whole prompt, or the
        user's only turn, is that; never in an answer.
    """
    user = pl.element().struct.field("role") == "user"
    alone = pl.col("prompt").list.eval(user).list.sum() == 1
    found = []
    for rank, (column, place) in enumerate(places.items()):
        asked = pl.lit(column == "prompt_text") | (pl.lit(column == "turn_text") & alone)
        here = pairs.select("pair_id", asked=asked.fill_null(False), text_id=column).join(hits, on="text_id")
        here = here.filter(~pl.col("whole") | pl.col("asked")).drop("asked")
        found.append(here.with_columns(place=pl.lit(place), rank=pl.lit(rank, pl.Int64)))
    return pl.concat(found)


def mark(pairs: pl.DataFrame, hits: pl.DataFrame, prompts: Prompts, config: DecontaminateConfig) -> pl.DataFrame:
    """Say of each pair which benchmark prompt it holds, and let those pairs leave where the config says so.

    Args:
        pairs: rows of `pairing.pair_up` with the ids of `texts.add_text_ids`, of any order; `left_*` columns of an earlier
            stage are kept: such a pair has left already.
        hits: schema HITS, of all texts of the pairs.
        prompts: what the hits speak of.
        config: `action` drop or flag.

    Returns:
        The rows in their order with `contamination` (the highest score of a hit; null: none) and `contaminated_by`
        (`mt_bench:12`), and with left_stage, left_reason, left_score, left_threshold, left_detail, left_witness_pair_id (null).
    """
    every = hits_in_pairs(pairs, hits, _PLACES)
    # Of equal scores the one that says more: shared words before a cosine, the prompt before an answer.
    best = every.sort("pair_id", "score", "kind", "rank", "entry", descending=[False, True, True, False, False])
    best = best.unique("pair_id", keep="first", maintain_order=True).join(prompts.entries, on="entry", how="left", maintain_order="left")
    score = pl.col("score").round(3)
    words = pl.when("whole").then(pl.lit("the same words")).otherwise(pl.format(f"{config.ngram}-gram overlap {{}}", score))
    how = pl.when(pl.col("kind") == "ngram").then(words).otherwise(pl.format("cosine {}", score))
    start = pl.col("text").str.replace_all(r"\s+", " ").str.strip_chars()
    start = start.str.slice(0, _SHOWN) + pl.when(start.str.len_chars() > _SHOWN).then(pl.lit("...")).otherwise(pl.lit(""))
    told = best.select(
        "pair_id",
        contamination="score",
        contaminated_by="prompt",
        _threshold="threshold",
        _detail=pl.format('{} in {}, {}: "{}"', "prompt", "place", how, start),
    )
    marked = pairs.with_columns(pl.lit(None, kind).alias(name) for name, kind in _LEFT.items() if name not in pairs.columns)
    marked = marked.join(told, on="pair_id", how="left", maintain_order="left")
    leaves = pl.lit(config.action == "drop") & pl.col("left_stage").is_null() & pl.col("contamination").is_not_null()
    says = {
        "left_stage": pl.lit(STAGE), "left_reason": pl.lit(REASON), "left_score": pl.col("contamination"),
        "left_threshold": pl.col("_threshold"), "left_detail": pl.col("_detail"),
    }  # fmt: skip
    left = [pl.when(leaves).then(value).otherwise(name).alias(name) for name, value in says.items()]
    return marked.with_columns(left).drop("_threshold", "_detail")


def _words(texts: pl.Series) -> pl.Series:
    """The words of each text, in lower case, with one kind of apostrophe, and none around a word: there it is a quotation mark."""
    plain = pl.col("text").str.to_lowercase().str.replace_all("’", "'", literal=True)  # noqa: RUF001
    bare = pl.element().str.strip_chars("'_")
    return texts.alias("text").to_frame().select(plain.str.extract_all(WORD).list.eval(bare.filter(bare != ""))).to_series()


def _flat(words: pl.Series) -> tuple[_Ints, pl.Series]:
    """Lists end to end: of each element its list's position, and the element."""
    lengths = words.list.len().to_numpy()
    return np.repeat(np.arange(lengths.size), lengths), words.explode(empty_as_null=False)


def _numbered(words: pl.Series, vocabulary: pl.DataFrame) -> _Ints:
    """The words' numbers; -1 for those that no benchmark prompt has."""
    found = words.to_frame("word").join(vocabulary, on="word", how="left", maintain_order="left")
    numbers: _Ints = found.get_column("number").fill_null(-1).to_numpy()
    return numbers


def _longer(at: _Ints, run: _Ints, k: int, rows: _Ints, numbers: _Ints, size: int) -> tuple[_Ints, _Ints]:
    """Of runs of k - 1 words (where they begin, their numbers) those that go on for a word more, with their keys."""
    last = at + k - 1
    inside = last < numbers.size
    at, run, last = at[inside], run[inside], last[inside]
    goes_on = (rows[last] == rows[at]) & (numbers[last] >= 0)
    return at[goes_on], run[goes_on] * size + numbers[last[goes_on]]


def _same_words(texts: pl.DataFrame, prompts: Prompts, config: DecontaminateConfig) -> pl.DataFrame:
    """Long prompts of which a text holds a large enough share, and short ones that a text is: HITS without the benchmark."""
    found = [_hits([], [], [], "ngram", config.min_overlap)]
    for rows in runs_of(texts.get_column("text").str.len_bytes().to_numpy(), _SLICE_BYTES):
        some = texts[rows]
        ids, words = some.get_column("text_id"), _words(some.get_column("text"))
        for row, entry, overlap in _overlaps(words, prompts, config.ngram):
            enough = overlap >= config.min_overlap
            found.append(_hits(ids.gather(row[enough]), entry[enough], overlap[enough], "ngram", config.min_overlap))
        said = pl.DataFrame({"text_id": ids, "n": words.list.len(), "words": words.list.join(" ")}).filter(pl.col("n") < config.ngram)
        same = said.join(prompts.whole, on="words")
        found.append(_hits(same.get_column("text_id"), same.get_column("entry"), np.ones(same.height), "ngram", 1.0, whole=True))
    return pl.concat(found)


def _overlaps(words: pl.Series, prompts: Prompts, n: int) -> Iterator[tuple[_Ints, _Ints, npt.NDArray[np.float64]]]:
    """Which share of which benchmark prompt a text's runs of n words cover: text, entry, share; only where there are any."""
    rows, flat = _flat(words)
    numbers = _numbered(flat, prompts.vocabulary)
    at = np.flatnonzero(numbers >= 0)
    run = numbers[at]
    for k, keys in enumerate(prompts.runs, start=2):
        at, key = _longer(at, run, k, rows, numbers, prompts.vocabulary.height)
        run = np.searchsorted(keys, key)
        known = run < keys.size
        known[known] = keys[run[known]] == key[known]
        at, run = at[known], run[known]
    shared = pl.DataFrame({"row": rows[at], "run": run}).unique().sort("row", "run")
    counts = np.bincount(prompts.places.get_column("run").to_numpy(), minlength=1)
    for part in _text_slices(shared.get_column("row").to_numpy(), counts[shared.get_column("run").to_numpy()]):
        held = shared[part].join(prompts.places, on="run").select("row", "entry", "at").unique()
        held = held.sort("row", "entry", "at")
        row, entry, first = (held.get_column(name).to_numpy() for name in held.columns)
        new = np.flatnonzero(np.append(True, (row[1:] != row[:-1]) | (entry[1:] != entry[:-1])))
        step = np.append(np.minimum(np.diff(first), n), n)
        step[new[1:] - 1] = n  # the last run of each is covered whole, the others up to where the next begins
        covered = np.add.reduceat(step, new)
        total = prompts.entries.get_column("words").to_numpy()[entry[new]]
        yield row[new], entry[new], covered / total


def _text_slices(rows: _Ints, sizes: _Ints) -> Iterator[slice]:
    """`runs_of` that never cut within a row number."""
    if rows.size:
        new = np.flatnonzero(np.diff(rows, prepend=-1))
        edges = np.append(new, rows.size)
        for texts in runs_of(np.add.reduceat(sizes, new), _SLICE_ROWS):
            yield slice(int(edges[texts.start]), int(edges[texts.stop]))


def _same_meaning(
    placed: pl.DataFrame,
    vectors: npt.NDArray[np.float16],
    prompts: Prompts,
    prompt_vectors: npt.NDArray[np.float16],
    config: DecontaminateConfig,
) -> pl.DataFrame:
    """Long prompts that a text is close to: HITS without the benchmark."""
    entries = prompts.entries.filter("long").get_column("entry").to_numpy()
    mine = vectors[placed.get_column("index").to_numpy()]
    if not len(mine) or not entries.size:
        return _hits([], [], [], "cosine", config.min_cosine)
    left, right, cosine = similarity.cross_join(mine, prompt_vectors, config.min_cosine)
    return _hits(placed.get_column("text_id").gather(left), entries[right], cosine, "cosine", config.min_cosine)


def _hits(text_id: object, entry: object, score: object, kind: str, threshold: float, *, whole: bool = False) -> pl.DataFrame:
    frame = pl.DataFrame(
        {"text_id": text_id, "score": score, "entry": entry}, schema={name: HITS[name] for name in ("text_id", "score", "entry")}
    )
    about = {"kind": pl.lit(kind), "threshold": pl.lit(threshold, pl.Float64), "whole": pl.lit(whole)}
    return frame.with_columns(**about).select([name for name in HITS.names() if name != "benchmark"])
