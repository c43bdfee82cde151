"""Bradley-Terry scores of a prompt's responses: what all its votes together say about each two of them.

A vote of annotator w on the responses low and high says high with probability sigma(slope_w (t_high - t_low) + shift_w o), where o is
1 when high was shown first, -1 when low was, and 0 when nobody knows. A tie counts half a vote for each side. Scores have the prior
N(0, 1 / ridge), so they exist where somebody never loses.

A slope is how much an annotator's votes follow the scores, a shift how much they follow the order: `pipeline.consensus.slopes` makes them
of an accuracy and a share of votes for the answer shown first. Slope 1 is the median annotator's, so that scores are its log-odds.

Elo ratings are not used: they depend on the order of the votes. With K = 32 from 1000 : 1000, three wins and then three losses end
at 989.10 : 1010.90, the same votes in reverse order at 1010.90 : 989.10.

Sources: Bradley & Terry (1952); annotator skill as in Crowd-BT (Chen et al. 2013), with a slope in place of its mixture, so that the
likelihood stays concave; ties for forecasts from Davidson (1970).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit, ndtr

from pipeline.consensus.slopes import RIDGE, shift_of, slopes_of
from pipeline.stage import runs_of

_SMALL_STEP = 1e-9
_STEPS = 100
_CELLS = 2_000_000  # cells of the blocks solved at once, 16 MB a copy
_FARTHEST = 60.0  # log-odds beyond which a forecast is 0 or 1 in float64
_PRIOR_VOTES, _PRIOR_TIES = 3.0, 1.0  # on equal answers: one vote for each outcome, as in `majority`
_TIE_HALVINGS = 50

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Ranked:
    """Scores, forecasts and how the fit went.

    Attributes:
        pairs: one row a pair that was voted on: group, pair_id, low_id, high_id, gap (t_high - t_low, log-odds of an annotator with
            slope 1), gap_error (its posterior standard deviation), p_low, p_tie, p_high (what an annotator with slope 1 and no shift
            would vote, over the posterior; they add up to 1), p_high_above (P(t_high > t_low)); sorted by group, pair_id.
        responses: one row a response: group, response_id, component (1 and up, per group), score (mean 0 over its component),
            score_error; sorted by group, response_id. Scores compare only within a component: across components no chain of
            comparisons leads from one to the other.
        groups: one row a group: group, responses, votes, components, tie_odds (nu of Davidson's model), steps, converged, note.
    """

    pairs: pl.DataFrame
    responses: pl.DataFrame
    groups: pl.DataFrame


def bradley_terry(votes: pl.DataFrame, annotators: pl.DataFrame | None = None, ridge: float = RIDGE) -> Ranked:
    """Score the responses of each group by its votes.

    Groups are independent blocks of one problem. Blocks of like size are solved together, by Newton's method with steps
    short enough that each one gains; a block stops when it has converged, so its result does not depend on its neighbours. A group of m
    responses takes about m^3 operations a step and m^2 numbers: 0.3 seconds a step for 500 responses.

    Args:
        votes: group, pair_id, low_id, high_id, annotator: strings; vote: int8, -1 low, 0 tie, 1 high; low_first: bool, null where the
            order is not known. One row a vote, in any order. A group is what one ranking is for (a prompt and criterion).
        annotators: annotator, accuracy (0 to 1) and first_share (0 to 1; null: no shift), of all who vote anywhere, so that the
            median annotator is the same in every partition. An annotator who is not in it, or has no accuracy, has slope 1.
        ridge: inverse variance of the scores' prior, above 0.

    Returns:
        Scores of responses, and forecasts for the pairs that were voted on.
    """
    nodes = pl.concat([votes.select("group", response_id=side) for side in ("low_id", "high_id")]).unique().sort("group", "response_id")
    nodes = nodes.with_columns(at=pl.int_range(pl.len()).over("group"), size=pl.len().cast(pl.Int64).over("group"))
    groups = nodes.select("group", responses="size").unique().sort("responses", "group").with_row_index("block")
    placed = _placed(votes, nodes, groups)
    said = _evidence(placed, annotators)
    pairs = (
        placed.select("block", "pair_id", "low", "high", "group", "low_id", "high_id").unique(["block", "pair_id"]).sort("block", "pair_id")
    )
    fitted = [_fit_run(said, pairs, nodes, groups.slice(first, count), ridge) for first, count in _runs(groups["responses"].to_numpy())]
    if not fitted:
        fitted = [_fit_run(said, pairs, nodes, groups, ridge)]
    return Ranked(
        pl.concat(one.pairs for one in fitted).sort("group", "pair_id"),
        pl.concat(one.responses for one in fitted).sort("group", "response_id"),
        pl.concat(one.groups for one in fitted).sort("group"),
    )


def _evidence(placed: pl.DataFrame, annotators: pl.DataFrame | None) -> pl.DataFrame:
    """Votes that say the same, counted: block, low, high, slope, shift (towards high), vote, count; sorted."""
    if annotators is None:
        annotators = pl.DataFrame(schema={"annotator": pl.String, "accuracy": pl.Float64, "first_share": pl.Float64})
    annotators = annotators.drop_nulls("accuracy")
    slope = slopes_of(annotators["accuracy"].cast(pl.Float64).to_numpy())
    shift = shift_of(annotators["first_share"].cast(pl.Float64).fill_null(0.5).to_numpy(), slope)
    known = annotators.select("annotator", slope=pl.Series(slope), size=pl.Series(shift))
    towards = pl.when(pl.col("low_first").is_null()).then(0.0).when("low_first").then(-1.0).otherwise(1.0)
    rows = placed.join(known, on="annotator", how="left").with_columns(
        slope=pl.col("slope").fill_null(1.0), shift=towards * pl.col("size").fill_null(0.0) + 0.0
    )
    same = ["block", "low", "high", "slope", "shift", "vote"]
    return rows.group_by(same).agg(count=pl.len().cast(pl.Float64)).sort(same)


def _placed(votes: pl.DataFrame, nodes: pl.DataFrame, groups: pl.DataFrame) -> pl.DataFrame:
    """Votes with the number of their group (`block`) and the places of their responses in it (`low`, `high`)."""
    numbered = nodes.join(groups.select("group", pl.col("block").cast(pl.Int64)), on="group")
    low = numbered.select("group", "block", low_id="response_id", low="at")
    high = numbered.select("group", high_id="response_id", high="at")
    return votes.join(low, on=["group", "low_id"], how="left").join(high, on=["group", "high_id"], how="left")


def _width(responses: Ints) -> Ints:
    """The size of block for groups of so many responses: a power of two, or the one half way to the next."""
    power = 2 ** np.ceil(np.log2(np.maximum(responses, 2))).astype(np.int64)
    return np.where(responses <= power * 3 // 4, power * 3 // 4, power)


def _runs(responses: Ints) -> list[tuple[int, int]]:
    """Runs of groups (first, how many) of one width, bounded in cells; `responses` ascends."""
    widths = _width(responses)
    edges = np.flatnonzero(np.diff(widths)) + 1
    found = []
    for start, part in zip([0, *edges.tolist()], np.split(widths, edges), strict=True):
        found += [(start + run.start, run.stop - run.start) for run in runs_of(part**2, _CELLS)]
    return found


def _fit_run(said: pl.DataFrame, pairs: pl.DataFrame, nodes: pl.DataFrame, groups: pl.DataFrame, ridge: float) -> Ranked:
    """The fit of neighbouring groups of one width."""
    first = int(groups["block"].min() or 0)  # type: ignore[arg-type]
    blocks = groups.height
    here = pl.col("block").is_between(first, first + blocks - 1)
    said, pairs = (rows.filter(here).with_columns(pl.col("block") - first) for rows in (said, pairs))
    responses = nodes.join(groups.select("group", pl.col("block").cast(pl.Int64) - first), on="group").sort("block", "at")
    block, low, high, slope, shift, vote, count = (
        said[name].to_numpy() for name in ("block", "low", "high", "slope", "shift", "vote", "count")
    )
    width = int(_width(groups["responses"].to_numpy()).max(initial=2))
    scores, covariance, steps, converged = solve_blocks(
        BlockVotes(block, low, high, slope, shift, (vote + 1) / 2, count), blocks, width, ridge
    )

    log_odds = slope * (scores[block, high] - scores[block, low]) + shift
    tie_odds = _tie_odds(block, log_odds, count, vote == 0, blocks)
    at, one, other = (pairs[name].to_numpy() for name in ("block", "low", "high"))
    gap = scores[at, other] - scores[at, one]
    variance = covariance[at, one, one] + covariance[at, other, other] - 2 * covariance[at, one, other]
    error = np.sqrt(np.where(one == other, 0.0, np.maximum(variance, 0.0)))

    edges = coo_array((count, (block * width + low, block * width + high)), shape=(blocks * width, blocks * width))
    _, component = connected_components(edges, directed=False)  # numbered in the order of their first nodes
    members = np.bincount(component)
    where, place = responses["block"].to_numpy(), responses["at"].to_numpy()
    part = component[where * width + place]
    # The mean of a component's scores is known to be 0 but for the prior; without that share the errors are those of comparisons.
    score_variance = np.maximum(covariance[where, place, place] - 1 / (ridge * members[part]), 0.0)
    responses = responses.with_columns(
        component=pl.Series(part), score=pl.Series(scores[where, place]), score_error=pl.Series(np.sqrt(score_variance))
    ).with_columns(pl.col("component").rank("dense").over("group").cast(pl.Int64))
    fits = groups.with_columns(tie_odds=pl.Series(tie_odds), steps=pl.Series(steps), converged=pl.Series(converged))
    votes = pl.Series("votes", _sums(block, count, blocks)).cast(pl.Int64)
    return Ranked(
        pairs.select("group", "pair_id", "low_id", "high_id", gap=pl.Series(gap), gap_error=pl.Series(error)).hstack(
            _forecast(gap, error, tie_odds[at])
        ),
        responses.select("group", "response_id", "component", "score", "score_error"),
        _noted(fits.with_columns(votes), responses),
    )


def _noted(fits: pl.DataFrame, responses: pl.DataFrame) -> pl.DataFrame:
    """Groups with the number of their components, and what of their fits is to be said in words."""
    apart = pl.format("the responses form {} parts that no comparison joins: scores compare only within a part", "components")
    unfinished = pl.format("the fit did not converge in {} steps", "steps")
    notes = [pl.when(pl.col("components") > 1).then(apart), pl.when(~pl.col("converged")).then(unfinished)]
    note = pl.concat_str(notes, separator="; ", ignore_nulls=True)
    return (
        fits.join(responses.group_by("group").agg(components=pl.col("component").max()), on="group", how="left")
        .with_columns(note=pl.when(note != "").then(note))
        .select("group", "responses", "votes", "components", "tie_odds", "steps", "converged", "note")
    )


@dataclass(frozen=True)
class BlockVotes:
    """V counted votes: the block of each, the places of its sides in there, its model, and how it fell."""

    block: Ints
    low: Ints
    high: Ints
    slope: Floats
    shift: Floats
    target: Floats  # 0 low, 0.5 tie, 1 high
    count: Floats

    def of(self, alive: npt.NDArray[np.bool_]) -> "BlockVotes":
        """The votes of the blocks that are alive, which are numbered anew."""
        kept = alive[self.block]
        number = np.cumsum(alive) - 1
        block, low, high = number[self.block[kept]], self.low[kept], self.high[kept]
        return BlockVotes(block, low, high, self.slope[kept], self.shift[kept], self.target[kept], self.count[kept])


def solve_blocks(votes: BlockVotes, blocks: int, width: int, ridge: float) -> tuple[Floats, Floats, Ints, npt.NDArray[np.bool_]]:
    """Posterior modes (blocks, width), Laplace covariances (blocks, width, width), steps taken and whether each block converged.

    A logistic loss changes its curvature by at most e^u while no vote's log-odds change by more than u, so that a Newton step of u always
    gains when it is cut to log(1 + u) / u of its length, or to 1 / u (Bach 2010; Sun & Tran-Dinh 2019, self-concordant analysis).
    """
    scores, covariance = np.zeros((blocks, width)), np.zeros((blocks, width, width))
    steps, alive = np.zeros(blocks, np.int64), np.ones(blocks, np.bool_)
    for _ in range(_STEPS):
        if not alive.any():
            break
        now, here, open_ = scores[alive], votes.of(alive), int(alive.sum())
        slope_gap = here.slope * (now[here.block, here.high] - now[here.block, here.low])
        p: Floats = expit(slope_gap + here.shift)
        pull = here.count * here.slope * (here.target - p)
        stiffness = here.count * here.slope**2 * p * (1 - p)
        one, other = here.block * width + here.low, here.block * width + here.high
        pulled = _sums(other, pull, open_ * width) - _sums(one, pull, open_ * width)
        gradient = pulled.reshape(open_, width) - ridge * now
        inverse = _inverse(_laplacian(one, other, here, stiffness, open_, width) + ridge * np.eye(width))
        move = (inverse * gradient[:, None, :]).sum(axis=2)
        reach = np.full(open_, 1e-300)
        np.maximum.at(reach, here.block, here.slope * np.abs(move[here.block, here.high] - move[here.block, here.low]))
        scores[alive] = now + move * np.minimum(1.0, np.maximum(1.0, np.log1p(reach)) / reach)[:, None]
        covariance[alive] = inverse
        steps[alive] += 1
        alive[alive] = np.abs(move).max(axis=1) > _SMALL_STEP
    return scores, covariance, steps, ~alive


def _laplacian(one: Ints, other: Ints, votes: BlockVotes, stiffness: Floats, blocks: int, width: int) -> Floats:
    """The votes' part of the curvature, (blocks, width, width)."""
    total = np.zeros(blocks * width * width)
    for row, column, sign in ((one, votes.low, 1), (other, votes.high, 1), (one, votes.high, -1), (other, votes.low, -1)):
        total += sign * _sums(row * width + column, stiffness, len(total))
    return total.reshape(blocks, width, width)


def _sums(at: Ints, values: Floats, size: int) -> Floats:
    """Sums of values by place, each in the order of the rows."""
    return np.bincount(at, values, size).astype(np.float64, copy=False)


def _inverse(blocks: Floats) -> Floats:
    """Inverses of positive definite matrices (B, W, W), by elimination, all at once.

    LAPACK would split a large matrix among threads, and its last bits depend on how many there are; here every number is
    computed alone.
    """
    a = blocks.copy()
    for k in range(a.shape[1]):
        pivot = a[:, k, k].copy()
        row, column = a[:, k, :] / pivot[:, None], a[:, :, k].copy()
        a -= column[:, :, None] * row[:, None, :]
        a[:, k, :], a[:, :, k] = row, -column / pivot[:, None]
        a[:, k, k] = 1 / pivot
    return a


def _tie_odds(block: Ints, log_odds: Floats, count: Floats, tied: npt.NDArray[np.bool_], blocks: int) -> Floats:
    """Davidson's nu for each block: the expected number of ties is the one observed, with three prior votes on equal answers."""
    decisive = 2 * np.cosh(np.clip(log_odds, -_FARTHEST, _FARTHEST) / 2)
    ties = _sums(block, count * tied, blocks) + _PRIOR_TIES
    low, high = np.full(blocks, -25.0), np.full(blocks, 45.0)
    for _ in range(_TIE_HALVINGS):
        middle = (low + high) / 2
        nu = np.exp(middle)
        expected = _sums(block, count * nu[block] / (decisive + nu[block]), blocks) + _PRIOR_VOTES * nu / (2 + nu)
        low, high = np.where(expected < ties, middle, low), np.where(expected < ties, high, middle)
    odds: Floats = np.exp((low + high) / 2)
    return odds


def _forecast(gap: Floats, error: Floats, tie_odds: Floats) -> pl.DataFrame:
    """The next vote of an annotator with slope 1, over the posterior of the gap (Gauss-Hermite, 21 points)."""
    points, weights = np.polynomial.hermite.hermgauss(21)
    p_low, p_tie, p_high = np.zeros_like(gap), np.zeros_like(gap), np.zeros_like(gap)
    for point, weight in zip(points, weights / weights.sum(), strict=True):
        half = np.clip(gap + np.sqrt(2) * error * point, -_FARTHEST, _FARTHEST) / 2
        total = np.exp(half) + np.exp(-half) + tie_odds
        p_low += weight * np.exp(-half) / total
        p_tie += weight * tie_odds / total
        p_high += weight * np.exp(half) / total
    above = ndtr(np.divide(gap, error, out=np.zeros_like(gap), where=error > 0))
    return pl.DataFrame({"p_low": p_low, "p_tie": p_tie, "p_high": p_high, "p_high_above": above})
