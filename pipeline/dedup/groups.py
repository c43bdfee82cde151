"""Which near duplicates say something else, and which pair stands for which: no chains, whatever the order of the rows."""

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.dedup.pairs import COMPONENTS


def mark_conflicts(edges: pl.DataFrame, pairs: pl.DataFrame, differing: pl.DataFrame) -> pl.DataFrame:
    """Mark near duplicates that must not be merged, because they say something else or were judged the other way.

    Two pairs conflict when the numbers, names or negations of two matched texts differ, or when the majorities of their votes, in
    the matched orientation, are for opposite answers. A pair with as many votes for one answer as for the other opposes nobody.

    Args:
        edges: rows of `pairs.score_pairs`.
        pairs: pair_id, votes_low, votes_high of at least the pairs in `edges`.
        differing: left, right: pairs of matched texts that say something else, in any order and direction.

    Returns:
        left, right (pair ids), swapped, kind, score, threshold, conflict; in the order of `edges`.
    """
    either = [differing.select("left", "right"), differing.select(left="right", right="left")]
    differs = pl.concat(either).unique().with_columns(_differs=pl.lit(True))
    marked = edges
    for name in COMPONENTS:
        known = differs.rename({"left": f"{name}_left", "right": f"{name}_right", "_differs": f"{name}_differs"})
        marked = marked.join(known, on=[f"{name}_left", f"{name}_right"], how="left", maintain_order="left")
    lean = pairs.select("pair_id", lean=(pl.col("votes_low") - pl.col("votes_high")).sign())
    for end in ("left", "right"):
        marked = marked.join(lean.rename({"pair_id": f"{end}_pair", "lean": f"{end}_lean"}), on=f"{end}_pair", maintain_order="left")
    # +1: the same answer leads, -1: the other one, 0: one of the two has no majority.
    agree = pl.col("left_lean") * pl.col("right_lean") * pl.when("swapped").then(-1).otherwise(1)
    says_else = pl.any_horizontal(pl.col(f"{name}_differs").fill_null(False) for name in COMPONENTS)
    named = marked.with_columns(conflict=says_else | (agree < 0)).rename({"left_pair": "left", "right_pair": "right"})
    return named.select("left", "right", "swapped", "kind", "score", "threshold", "conflict")


def _ranked(pairs: pl.DataFrame) -> pl.DataFrame:
    """The pairs with their `rank`: most votes, then the best kind of annotator, then the least id."""
    return pairs.sort("n_votes", "best_kind", "pair_id", descending=[True, False, False]).with_row_index("rank")


def representatives(pairs: pl.DataFrame, edges: pl.DataFrame) -> pl.DataFrame:
    """Which pair is absorbed by which.

    The definition is sequential: pairs come in order of their rank (n_votes descending, best_kind, pair_id); one that is not
    absorbed yet becomes a representative and absorbs all later ones that have an edge with it. Here whole ranks are decided at once:
    a pair without a better-ranked undecided neighbour is a representative, its neighbours are absorbed, and so on; each is absorbed
    by the best-ranked representative it has an edge with, which is the one the sequence would reach first. So every member has
    an edge with its representative itself, and no two representatives have one.

    Args:
        pairs: pair_id, n_votes, best_kind of at least the pairs in `edges`.
        edges: left, right (pair ids), one row for each two pairs that may be merged, and further columns.

    Returns:
        One row for each absorbed pair: pair_id, merged_into, and the further columns of the edge between them; sorted by pair_id.
    """
    linked = pl.concat([edges.select(pair_id="left"), edges.select(pair_id="right")]).unique()
    ranked = _ranked(pairs.join(linked, on="pair_id", how="semi"))
    rank = ranked.select("pair_id", "rank")
    ends = [
        edges.select(pair_id=end).join(rank, on="pair_id", how="left", maintain_order="left")["rank"].to_numpy().astype(np.int64)
        for end in ("left", "right")
    ]
    better, worse = np.minimum(*ends), np.maximum(*ends)
    stands = _representatives(better, worse, ranked.height)
    # Only ranks above its own can absorb a pair; the least of the representatives' ranks is the first of them.
    absorbs = stands[better] & ~stands[worse]
    rows = np.flatnonzero(absorbs)
    rows = rows[np.lexsort((better[rows], worse[rows]))]
    first = np.ones(len(rows), bool)
    first[1:] = worse[rows[1:]] != worse[rows[:-1]]
    rows = rows[first]
    ids = ranked.get_column("pair_id")
    about = edges.drop("left", "right")[rows]
    return about.select(ids[worse[rows]].alias("pair_id"), ids[better[rows]].alias("merged_into"), pl.all()).sort("pair_id")


def _representatives(better: npt.NDArray[np.int64], worse: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.bool_]:
    """For each of n ranks whether it is a representative, from edges between ranks."""
    undecided, stands = np.ones(n, bool), np.zeros(n, bool)
    while len(better):
        waits = np.zeros(n, bool)
        waits[worse] = True  # for a better-ranked neighbour that is not decided yet
        stands |= undecided & ~waits
        undecided[worse[stands[better]]] = False
        undecided &= ~stands
        left = undecided[better] & undecided[worse]
        better, worse = better[left], worse[left]
    return stands | undecided


def conflicting_pairs(edges: pl.DataFrame, merges: pl.DataFrame) -> pl.DataFrame:
    """The pairs with a near duplicate that says something else, and those that count the votes of such a pair.

    Args:
        edges: rows of `mark_conflicts`.
        merges: rows of `representatives`.

    Returns:
        pair_id, near_duplicate_of (the one that is nearest, and of equally near ones the least id), one row a pair, sorted.
    """
    found = edges.filter("conflict")
    ends = [found.select(pair_id=one, near_duplicate_of=other, score="score") for one, other in (("left", "right"), ("right", "left"))]
    own = pl.concat(ends)
    stand = own.join(merges.select("pair_id", "merged_into"), on="pair_id").select("near_duplicate_of", "score", pair_id="merged_into")
    every = pl.concat([own, stand.select(own.columns)]).sort("pair_id", "score", "near_duplicate_of", descending=[False, True, False])
    return every.unique("pair_id", keep="first", maintain_order=True).drop("score")
