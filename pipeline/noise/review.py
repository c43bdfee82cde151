"""Pairs of a table as the rows that peers are fitted on, and what their review says of each pair."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
from threadpoolctl import threadpool_limits

from pipeline.noise.features import Single, block_sizes, features
from pipeline.noise.folds import fold_of
from pipeline.noise.neighbours import siblings
from pipeline.noise.peers import Peers, fit_peers, log_odds
from pipeline.noise.score import Reviewer, fit_reviewer, noise_columns
from pipeline.texts import text_of

FOLDS: Final = 5
SAMPLE_PAIRS: Final = 50_000  # more teach a linear model of a thousand features next to nothing
LEAST_PAIRS: Final = 100  # fewer teach it nothing that would hold
LEAST_OF_SOURCE: Final = 300  # fewer do not tell how often their labels are wrong
COLUMNS: Final = ("noise_score", "peer_probability", "peer_disagreement", "neighbour_agreement", "peer_verdict")
_KINDS: Final = dict.fromkeys(COLUMNS[:-1], pl.Float64()) | {COLUMNS[-1]: pl.String()}
_SIBLINGS: Final = ("sibling_balance", "sibling_mass")
_SOURCE: Final = pl.col("sources").list.join("\n")
_ROWS: Final = 16_384  # pairs whose features are held at once, some 80 MB
_LINES, _MARKS = r"\n", r"(?m)^\s*(?:[-*#]|\d+[.)])|\*\*"  # of lists, headings and bold text

Vectors = npt.NDArray[np.float16]
Rows = tuple[npt.NDArray[np.int64], ...]


@dataclass(frozen=True)
class Review:
    """What a data set's labels are reviewed by.

    Attributes:
        peers: fitted on all sources.
        reviewers: how often labels are wrong and what evidence then says, by source; "": for the sources, and pairs of several
            sources, that are too few to have one of their own. Sources differ: what is learnt from five votes a pair is no
            measure of another's single ones.
    """

    peers: Peers
    reviewers: dict[str, Reviewer]

    def to_tables(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The peers, and the reviewers with their `source`."""
        told = [one.to_table().with_columns(source=pl.lit(source)) for source, one in sorted(self.reviewers.items())]
        return self.peers.to_table(), pl.concat(told)

    @classmethod
    def from_tables(cls, peers: pl.DataFrame, reviewers: pl.DataFrame) -> "Review":
        """What `to_tables` gave."""
        parts = reviewers.partition_by("source", as_dict=True)
        return cls(Peers.from_table(peers), {str(source): Reviewer.from_table(part.drop("source")) for (source,), part in parts.items()})


def is_sampled(pairs: int) -> pl.Expr:
    """Whether a pair is among the about 50,000 that the peers learn from, by its id alone; `pairs` is how many may be."""
    share = min(1.0, SAMPLE_PAIRS / max(1, pairs))
    return pl.col("pair_id").str.slice(0, 8).str.to_integer(base=16, dtype=pl.Int64) < int(share * 2**32)


def rows_of(pairs: pl.DataFrame, index: pl.DataFrame) -> Rows:
    """Which vector is each prompt's, chosen's and rejected's; -1: a blank text.

    Args:
        pairs: N rows with prompt_text, chosen_text, rejected_text (text ids; null: blank).
        index: (text_id, index), one row a text.
    """
    known = index.select("text_id", "index")
    found = (
        pairs.select(text_id=f"{name}_text").join(known, on="text_id", how="left", maintain_order="left").get_column("index")
        for name in ("prompt", "chosen", "rejected")
    )
    return tuple(rows.fill_null(-1).cast(pl.Int64).to_numpy() for rows in found)


def features_of(pairs: pl.DataFrame, vectors: Vectors, rows: Rows) -> Single:
    """The features of pairs, chosen first.

    Args:
        pairs: N rows with `chosen` and `rejected`.
        vectors: (M, D) unit vectors.
        rows: which of them is each prompt's, chosen's and rejected's; -1: a blank text.
    """
    counts = [_counts(pairs, side) for side in ("chosen", "rejected")]
    prompt, chosen, rejected = (_taken(vectors, places) for places in rows)
    return features(prompt, chosen, rejected, counts[0] - counts[1])


def _counts(pairs: pl.DataFrame, side: str) -> Single:
    text = text_of(side)
    told = pairs.select(text.str.len_chars(), text.str.count_matches(_LINES).alias("lines"), text.str.count_matches(_MARKS).alias("marks"))
    logs: Single = np.log1p(told.to_numpy().astype(np.float32))
    return logs


def confidence(pairs: pl.DataFrame) -> npt.NDArray[np.float64]:
    """What each pair's label counts: P(chosen is better) - P(rejected is), from its votes; 0 for ties."""
    sure = (2 * pl.col("p_chosen") - 1) * (1 - pl.col("p_tie"))
    return pairs.select(pl.when("tie").then(0.0).otherwise(sure)).to_series().to_numpy()


def _taken(vectors: Vectors, places: npt.NDArray[np.int64]) -> Vectors:
    """The vectors of texts, a zero row for a blank one."""
    taken = np.zeros((len(places), vectors.shape[1]), vectors.dtype)
    known = places >= 0
    taken[known] = vectors[places[known]]
    return taken


def add_siblings(pairs: pl.DataFrame, vectors: Vectors, rows: Rows) -> pl.DataFrame:
    """Add `sibling_balance` and `sibling_mass`: evidence from the other pairs of the same prompt, chosen first (`neighbours.siblings`).

    Args:
        pairs: all pairs of each prompt, votes decided.
        vectors: as for `features_of`.
        rows: likewise.
    """
    first, second = (_taken(vectors, places) for places in rows[1:])
    balance, mass = siblings(pairs.get_column("prompt_id"), first, second, np.ones(pairs.height), confidence(pairs))
    return pairs.with_columns(sibling_balance=pl.Series(balance), sibling_mass=pl.Series(mass))


def sample(pairs: pl.DataFrame, vectors: Vectors, rows: Rows, share_of: int) -> pl.DataFrame:
    """A partition's pairs that the peers learn from.

    Args:
        pairs: rows of `add_siblings` with prompt_cluster_id, p_chosen, p_tie, tie, left_stage (null: it goes on).
        vectors: as for `features_of`.
        rows: likewise.
        share_of: how many pairs of the data set may be sampled.

    Returns:
        pair_id, prompt_cluster_id, weight, sibling_balance, sibling_mass, source (of several: their names, joined) and `features` (a
        float32 array).
    """
    drawn = ~pl.col("tie") & pl.col("left_stage").is_null() & is_sampled(share_of)
    told = pairs.with_columns(weight=pl.Series(confidence(pairs)), row=pl.int_range(pl.len())).filter(drawn)
    taken = told.get_column("row").to_numpy()
    table = features_of(told, vectors, tuple(places[taken] for places in rows))
    kept = told.select("pair_id", "prompt_cluster_id", "weight", *_SIBLINGS, source=_SOURCE)
    return kept.with_columns(features=pl.Series(table, dtype=pl.Array(pl.Float32, table.shape[1])))


def fit(sample: pl.DataFrame, dimensions: int) -> Review | None:
    """Fit peers and reviewers; None where there are too few pairs.

    Args:
        sample: rows of `sample` of all partitions, in any order.
        dimensions: of the embeddings.
    """
    if sample.height < LEAST_PAIRS:
        return None
    sample = sample.sort("pair_id")
    table: Single = sample.get_column("features").to_numpy()
    fold = fold_of(sample.get_column("prompt_cluster_id"), FOLDS)
    blocks = block_sizes(dimensions, table.shape[1] - sum(block_sizes(dimensions, 0)))
    with threadpool_limits(limits=1, user_api="blas"):  # many small systems: threads that wait for each other take longer than one alone
        peers = fit_peers(table, np.ones(sample.height), _weight(sample), fold, folds=FOLDS, blocks=blocks)
    told = sample.drop("features").with_row_index("row")
    said = log_odds(peers, table, fold)
    groups = told.partition_by("source", as_dict=True)
    parts = {"": told} | {str(source): part for (source,), part in groups.items() if part.height >= LEAST_OF_SOURCE}
    return Review(peers, {source: _reviewer(part, said, fold) for source, part in parts.items()})


def _reviewer(sample: pl.DataFrame, said: npt.NDArray[np.float64], fold: npt.NDArray[np.int64]) -> Reviewer:
    rows = sample.get_column("row").to_numpy()
    balance, mass = (sample.get_column(name).to_numpy() for name in _SIBLINGS)
    return fit_reviewer(said[:, rows], balance, mass, np.ones(len(rows)), _weight(sample), fold[rows], folds=FOLDS)


def _weight(sample: pl.DataFrame) -> npt.NDArray[np.float64]:
    """What each label counts, 1 on average: how sure votes are in general is not the reviewers' to judge."""
    weight: npt.NDArray[np.float64] = sample.get_column("weight").to_numpy()
    mean = float(weight.mean())
    return weight / mean if mean > 0 else np.ones(len(weight))


def add_noise(pairs: pl.DataFrame, vectors: Vectors, rows: Rows, found: Review | None) -> pl.DataFrame:
    """Add COLUMNS: what the peers that never saw a pair's prompt cluster say of its label.

    Args:
        pairs: rows of `add_siblings` with prompt_cluster_id.
        vectors: as for `features_of`.
        rows: likewise.
        found: what `fit` gave for the data set; None: too few pairs, and all columns are null.

    Returns:
        The rows in their order, without the columns of `add_siblings`.
    """
    balance, mass = (pairs.get_column(name).to_numpy() for name in _SIBLINGS)
    pairs = pairs.drop(_SIBLINGS)
    if found is None:
        return pairs.with_columns(pl.lit(None, kind).alias(name) for name, kind in _KINDS.items())
    fold = fold_of(pairs.get_column("prompt_cluster_id"), FOLDS)
    said = np.empty((found.peers.coefficients.shape[0], pairs.height))
    for start in range(0, pairs.height, _ROWS):
        part = slice(start, start + _ROWS)
        table = features_of(pairs[part], vectors, tuple(places[part] for places in rows))
        said[:, part] = log_odds(found.peers, table, fold[part])
    sources = pairs.select(_row=pl.int_range(pl.len()), source=_SOURCE)
    known = sources.with_columns(source=pl.when(pl.col("source").is_in(list(found.reviewers))).then("source").otherwise(pl.lit("")))
    parts = [known.select("_row").clear().with_columns(pl.lit(None, kind).alias(name) for name, kind in _KINDS.items())]
    for (source,), own in known.partition_by("source", as_dict=True).items():
        at = own.get_column("_row").to_numpy()
        told = noise_columns(found.reviewers[str(source)], said[:, at], balance[at], mass[at], fold[at], np.ones(len(at)))
        parts.append(pl.concat([own.select("_row"), told.rename({"verdict": "peer_verdict"}).select(COLUMNS)], how="horizontal"))
    return pl.concat([pairs, pl.concat(parts).sort("_row").drop("_row")], how="horizontal")
