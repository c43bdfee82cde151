"""Simulated annotators whose truth is known: plain coin tosses, no latent scale and no logistic curve.

Every pair has a better side and a difficulty d, drawn from Beta(2, 3). An annotator with skill s, drawn from Beta(4, 2), first may
say "no difference", with probability tie_peak * d^2, times a habit of their own between a half and one and a half. Otherwise they
are right with probability s (1 - d) + d / 2: their skill on the easiest pair, a coin on the hardest. Almost one in five is thus
wrong more often than right. A share of the annotators is lazy as well: with probability `first` they pick what is shown first,
unread. A pair of equals, where there are such, is voted on as if it were of difficulty 1.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl


@dataclass(frozen=True)
class World:
    """What was voted, and the truth that no model sees."""

    votes: pl.DataFrame
    """`pipeline.consensus.votes.VOTES`, the order shown known; sorted by pair_id, judgement_id."""
    truth: pl.DataFrame
    """pair_id; better (Int8): +1 where the high side is better, -1 where the low one is, 0 between equals; difficulty, 0 to 1."""
    skills: pl.DataFrame
    """annotator; skill, 0 to 1; first: how often they pick the first shown unread, 0 to 1."""


def simulate(
    seed: int,
    *,
    pairs: int = 1000,
    annotators: int = 60,
    fewest_votes: int = 3,
    most_votes: int = 7,
    tie_peak: float = 0.6,
    biased_share: float = 1 / 3,
    first: float = 0.4,
    equal_share: float = 0.0,
) -> World:
    """Draw a world.

    Args:
        seed: the world is a function of the arguments.
        pairs: compared once each by every one of their annotators.
        annotators: at least `most_votes`.
        fewest_votes: of a pair; its number is uniform from here to `most_votes`, its annotators drawn without replacement.
        most_votes: see `fewest_votes`.
        tie_peak: probability of "no difference" at difficulty 1, for the average annotator; at most 2/3.
        biased_share: share of annotators who are lazy, 0 to 1.
        first: how often those pick the first shown unread, 0 to 1.
        equal_share: share of pairs whose sides are equally good, 0 to 1.
    """
    rng = np.random.default_rng([5, seed])
    skill = rng.beta(4.0, 2.0, annotators)
    habit = rng.uniform(0.5, 1.5, annotators)
    lazy = np.where(np.arange(annotators) < round(annotators * biased_share), first, 0.0)
    difficulty = rng.beta(2.0, 3.0, pairs)
    better = rng.choice(np.array([-1, 1], dtype=np.int8), pairs)
    equal = rng.random(pairs) < equal_share
    difficulty[equal] = 1.0

    count = rng.integers(fewest_votes, most_votes, pairs, endpoint=True)
    order = np.argsort(rng.random((pairs, annotators)), axis=1)
    pair, slot = np.nonzero(np.arange(most_votes) < count[:, None])
    voter = order[pair, slot]

    low_first = rng.random(len(pair)) < 0.5
    vote = _votes(rng, skill[voter], habit[voter] * tie_peak, lazy[voter], difficulty[pair], better[pair], low_first)
    pair_ids = np.array([f"{number:06d}" for number in range(pairs)])
    names = np.array([f"a{number:04d}" for number in range(annotators)])
    votes = pl.DataFrame(
        {
            "pair_id": pair_ids[pair],
            "judgement_id": np.char.add(pair_ids[pair], names[voter]),
            "annotator": names[voter],
            "kind": ["human"] * len(pair),
            "source": ["simulated"] * len(pair),
            "vote": vote,
            "strength": pl.Series([None] * len(pair), dtype=pl.Float32),
            "low_first": low_first,
        }
    ).sort("pair_id", "judgement_id")
    return World(
        votes=votes,
        truth=pl.DataFrame({"pair_id": pair_ids, "better": np.where(equal, 0, better).astype(np.int8), "difficulty": difficulty}),
        skills=pl.DataFrame({"annotator": names, "skill": skill, "first": lazy}),
    )


def _votes(
    rng: np.random.Generator,
    skill: npt.NDArray[np.float64],
    tie_peak: npt.NDArray[np.float64],
    lazy: npt.NDArray[np.float64],
    difficulty: npt.NDArray[np.float64],
    better: npt.NDArray[np.int8],
    low_first: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int8]:
    """-1, 0, +1 for each vote; all arrays are of shape (votes,)."""
    unread, tied, right = rng.random((3, len(skill)))
    read = np.where(right < skill * (1.0 - difficulty) + difficulty / 2.0, better, -better)
    read = np.where(tied < tie_peak * difficulty**2, 0, read)
    return np.where(unread < lazy, np.where(low_first, -1, 1), read).astype(np.int8)
