"""Near duplicates of texts -> near duplicates of pairs: prompt, last user turn and both answers, whichever way round.

Only pairs whose prompts and whose answers are both linked are ever listed. One boilerplate answer under 10,000 prompts, or
one prompt with 10,000 answers, costs no more than its pairs: the search starts at the side of a pair that leads to fewer others.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.stage import runs_of

COMPONENTS = ("prompt", "turn", "low", "high")
KINDS = ("cosine", "jaccard")  # the first kind that passes is the one shown

_AT_ONCE = 4_000_000  # candidates listed between two filters: about 200 MB

Ints = npt.NDArray[np.int64]


def candidate_pairs(keys: pl.DataFrame, prompt_edges: pl.DataFrame, response_edges: pl.DataFrame) -> pl.DataFrame:
    """Pairs of pairs whose prompts are linked and whose answers are linked, in one or the other orientation.

    Texts are linked when they are equal or have an edge. Criterion, context and tools must be equal. A pair of two equal answers
    has no orientation, so it is nobody's near duplicate.

    Args:
        keys: one row a pair: pair_id, criterion, context, tools, prompt_text, turn_text, low_text, high_text.
        prompt_edges: left, right: text ids of prompts that may be near duplicates, in any order and direction.
        response_edges: the same for answers.

    Returns:
        left_pair, right_pair (left < right), swapped (left's low is matched with right's high), and for each of `COMPONENTS` its
        two texts, `<name>_left` and `<name>_right`: `low` is left's low and what it is matched with. Sorted; two rows
        for a pair of pairs where both orientations are linked.
    """
    pairs = keys.filter(pl.col("low_text") != pl.col("high_text")).sort("pair_id")
    left, right, swapped = _Search(pairs, prompt_edges, response_edges).run()
    order = np.lexsort((swapped, right, left))
    ends = {"left": pairs[left[order]], "right": pairs[right[order]]}
    exchanged = pl.Series("swapped", swapped[order])
    found = pl.DataFrame([ends["left"]["pair_id"].alias("left_pair"), ends["right"]["pair_id"].alias("right_pair"), exchanged])
    for end, rows in ends.items():
        found = found.with_columns(rows[f"{name}_text"].alias(f"{name}_{end}") for name in COMPONENTS)
    low, high = pl.col("low_right"), pl.col("high_right")
    return found.with_columns(
        low_right=pl.when("swapped").then(high).otherwise(low), high_right=pl.when("swapped").then(low).otherwise(high)
    )


def compared_texts(candidates: pl.DataFrame) -> pl.DataFrame:
    """The texts that candidates (or edges) compare: left, right with left < right, distinct, sorted; equal ones left out."""
    parts = [candidates.select(left=f"{name}_left", right=f"{name}_right") for name in COMPONENTS]
    both = pl.concat(parts).filter(pl.col("left") != pl.col("right"))
    ordered = both.select(left=pl.min_horizontal("left", "right"), right=pl.max_horizontal("left", "right"))
    return ordered.unique().sort("left", "right")


def score_pairs(candidates: pl.DataFrame, scores: pl.DataFrame, min_cosine: float, min_jaccard: float) -> pl.DataFrame:
    """The candidates that are near duplicates, each in its best orientation.

    A pair's score of a kind is the least over `COMPONENTS`, and it passes if it reaches the kind's threshold. Of two
    orientations that pass, the higher score is the one, then the higher score of the better answer; where even that is equal, the
    orientation is not known, and the kind does not pass.

    Args:
        candidates: rows of `candidate_pairs`.
        scores: left, right, cosine, jaccard of `compared_texts(candidates)`; a null passes no threshold.
        min_cosine: 0 to 1.
        min_jaccard: 0 to 1.

    Returns:
        The columns of `candidates`, one row for a pair of pairs, with kind (of `KINDS`), score and threshold; sorted.
    """
    measured = candidates
    for name in COMPONENTS:
        measured = _with_scores(measured, name, scores)
    passing = []
    for kind, threshold in zip(KINDS, (min_cosine, min_jaccard), strict=True):
        parts = [f"{name}_{kind}" for name in COMPONENTS]
        # A null must not be skipped, as min_horizontal would: what is not known passes nothing.
        least = pl.when(pl.all_horizontal(pl.col(parts).is_not_null())).then(pl.min_horizontal(parts))
        scored = measured.with_columns(kind=pl.lit(kind), score=least, threshold=pl.lit(threshold, pl.Float64))
        better = pl.max_horizontal(f"low_{kind}", f"high_{kind}").alias("_better")
        passing.append(_best_orientation(scored.with_columns(better).filter(pl.col("score") >= threshold)))
    best = pl.concat(passing).unique(["left_pair", "right_pair"], keep="first", maintain_order=True)
    return best.select(*candidates.columns, "kind", "score", "threshold").sort("left_pair", "right_pair")


def _with_scores(candidates: pl.DataFrame, name: str, scores: pl.DataFrame) -> pl.DataFrame:
    """Add `<name>_cosine` and `<name>_jaccard`: 1 for equal texts, null where no score is known."""
    left, right = pl.col(f"{name}_left"), pl.col(f"{name}_right")
    ends = {"_first": pl.min_horizontal(left, right), "_second": pl.max_horizontal(left, right)}
    known = scores.select(_first="left", _second="right", **{f"{name}_{kind}": pl.col(kind) for kind in KINDS})
    joined = candidates.with_columns(**ends).join(known, on=["_first", "_second"], how="left", maintain_order="left")
    columns = [f"{name}_{kind}" for kind in KINDS]
    full = joined.with_columns(pl.when(left == right).then(1.0).otherwise(column).alias(column) for column in columns)
    return full.drop("_first", "_second")


def _best_orientation(scored: pl.DataFrame) -> pl.DataFrame:
    """One row for each pair of pairs, unless its two orientations are equally good."""
    both = ["left_pair", "right_pair"]
    ordered = scored.sort([*both, "score", "_better"], descending=[False, False, True, True])
    clear = pl.struct("score", "_better").n_unique().over(both) == pl.len().over(both)
    return ordered.filter(clear).unique(both, keep="first", maintain_order=True).drop("_better")


@dataclass(frozen=True)
class _Links:
    """For each of n codes the codes it is linked to, itself among them: `others[starts[i]:starts[i + 1]]`, ascending."""

    starts: Ints
    others: Ints
    codes: Ints  # text * n + other, ascending

    @staticmethod
    def of(left: Ints, right: Ints, n: int) -> "_Links":
        every = np.arange(n, dtype=np.int64)
        codes = np.unique(np.concatenate([left * n + right, right * n + left, every * (n + 1)]))
        return _Links(np.searchsorted(codes, np.arange(n + 1, dtype=np.int64) * n), codes % max(n, 1), codes)

    def hold(self, one: Ints, other: Ints) -> npt.NDArray[np.bool_]:
        """Whether each two codes are linked."""
        wanted = one * (len(self.starts) - 1) + other
        at = np.searchsorted(self.codes, wanted)
        return np.asarray(self.codes[np.minimum(at, len(self.codes) - 1)] == wanted)

    def reach(self, sizes: Ints) -> Ints:
        """For each code the sum of the sizes of what it is linked to."""
        total = np.concatenate([[0], np.cumsum(sizes[self.others])])
        reached: Ints = total[self.starts[1:]] - total[self.starts[:-1]]
        return reached


class _Search:
    """The search over integer codes.

    A place is a prompt with criterion, context and tools; a slot is a place and an answer there; each pair has two slots.
    """

    def __init__(self, pairs: pl.DataFrame, prompt_edges: pl.DataFrame, response_edges: pl.DataFrame) -> None:
        self.n = pairs.height
        about = ["criterion", "context", "tools"]
        places = pairs.select("prompt_text", *about).unique(maintain_order=True).with_row_index("place")
        place = pairs.join(places, on=["prompt_text", *about], how="left", nulls_equal=True, maintain_order="left")["place"]
        groups = places.with_columns(group=pl.struct(about).rank("dense"))
        linked = prompt_edges.select("left", "right").join(groups.select("group", left="prompt_text", a="place"), on="left")
        linked = linked.join(groups.select("group", right="prompt_text", b="place"), on=["right", "group"])
        self.places = _Links.of(_ints(linked["a"]), _ints(linked["b"]), places.height)

        texts = pl.concat([pairs["low_text"], pairs["high_text"]]).unique().sort()
        code = pl.DataFrame({"text": texts, "code": np.arange(len(texts))})
        ends = response_edges.select("left", "right").join(code.rename({"text": "left", "code": "a"}), on="left")
        ends = ends.join(code.rename({"text": "right", "code": "b"}), on="right")
        self.answers = _Links.of(_ints(ends["a"]), _ints(ends["b"]), len(texts))

        said = [pairs.select(text=name).join(code, on="text", how="left", maintain_order="left") for name in ("low_text", "high_text")]
        self.answer = np.stack([_ints(side["code"]) for side in said])  # (2, n): the two answers of each pair
        slots, slot = np.unique(_ints(place) * max(len(texts), 1) + self.answer, return_inverse=True)
        self.slot = slot.reshape(2, self.n)
        self.slot_place, self.slot_answer = np.divmod(slots, max(len(texts), 1))
        self.in_place = _Index.of(self.slot_place, places.height)  # slots by place
        self.with_answer = _Index.of(self.slot_answer, len(texts))  # slots by answer
        self.ends = _Index.of(self.slot.ravel(), len(slots))  # pair + n * side, by slot

    def run(self) -> tuple[Ints, Ints, npt.NDArray[np.bool_]]:
        """Rows of the pairs, left < right, and whether their sides are exchanged."""
        sides = self.ends.sizes  # of pairs, in each slot
        by_place = self.places.reach(_sums(self.slot_place, sides, len(self.in_place.sizes)))[self.slot_place]
        by_answer = self.answers.reach(_sums(self.slot_answer, sides, len(self.with_answer.sizes)))[self.slot_answer]
        cost = np.minimum(by_place, by_answer)
        side = (cost[self.slot[0]] > cost[self.slot[1]]).astype(np.int64)  # the search starts at the cheaper side of each pair
        chosen = self.slot[side, np.arange(self.n)]
        starting = _Index.of(chosen, len(cost))  # pairs by the slot they start at
        wanted = np.unique(chosen)
        found = [np.empty((3, 0), np.int64)]
        for some in runs_of(cost[wanted], _AT_ONCE):
            slots = wanted[some]
            one, other = self._linked_slots(slots, by_place[slots] < by_answer[slots])
            for rows in runs_of(starting.sizes[one] * self.ends.sizes[other], _AT_ONCE):
                found.append(self._matched(one[rows], other[rows], starting, side))
        left, right, swapped = np.unique(np.concatenate(found, axis=1), axis=1)
        return left, right, swapped.astype(bool)

    def _linked_slots(self, slots: Ints, place_first: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
        """All (slot, slot) with linked places and linked answers, found from whichever of the two has fewer."""
        found = []
        for mine, of, links, index, check in (
            (slots[place_first], self.slot_place, self.places, self.in_place, (self.answers, self.slot_answer)),
            (slots[~place_first], self.slot_answer, self.answers, self.with_answer, (self.places, self.slot_place)),
        ):
            row, at = _expand(links.starts, of[mine])
            again, position = _expand(index.starts, links.others[at])
            one, other = mine[row[again]], index.members[position]
            held = check[0].hold(check[1][one], check[1][other])
            found.append(np.stack([one[held], other[held]]))
        both = np.concatenate(found, axis=1)
        return both[0], both[1]

    def _matched(self, one: Ints, other: Ints, starting: "_Index", side: Ints) -> npt.NDArray[np.int64]:
        """(left, right, swapped) of the pairs that start at `one` and have `other`, and whose other answers are linked too."""
        row, at = _expand(starting.starts, one)
        again, position = _expand(self.ends.starts, other[row])
        left = starting.members[at[again]]
        other_side, right = np.divmod(self.ends.members[position], self.n)
        kept = left < right  # the same two pairs are found from the other one as well
        left, right, other_side = left[kept], right[kept], other_side[kept]
        swapped = side[left] != other_side
        held = self.answers.hold(self.answer[1 - side[left], left], self.answer[1 - other_side, right])
        return np.stack([left, right, swapped.astype(np.int64)])[:, held]


@dataclass(frozen=True)
class _Index:
    """Positions by code: those of code i are `members[starts[i]:starts[i + 1]]`."""

    starts: Ints
    members: Ints

    @staticmethod
    def of(codes: Ints, n: int) -> "_Index":
        members = np.argsort(codes, kind="stable")
        return _Index(np.searchsorted(codes[members], np.arange(n + 1)), members)

    @property
    def sizes(self) -> Ints:
        return np.diff(self.starts)


def _expand(starts: Ints, codes: Ints) -> tuple[Ints, Ints]:
    """For each code one row for each of its members: the code's row, and the member's position."""
    sizes = starts[codes + 1] - starts[codes]
    row = np.repeat(np.arange(len(codes)), sizes)
    within = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return row, np.repeat(starts[codes], sizes) + within


def _sums(codes: Ints, values: Ints, n: int) -> Ints:
    """For each of n codes the sum of its values."""
    total = np.zeros(n, np.int64)
    np.add.at(total, codes, values)
    return total


def _ints(codes: pl.Series) -> Ints:
    return codes.to_numpy().astype(np.int64)
