"""Follow-up likelihood: is a user likelier to react well to an answer than badly?

Aligning Language Models Using Follow-up Likelihood as Reward Signal (2024), by its stated definition: a follow-up counts with the mean
log-probability of its own tokens. (The released code averages raw logits of one position.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from pipeline.ches.stored import KEY_FIELDS, keyed, placed
from pipeline.errors import ConfigError
from pipeline.identity import content_hash


@dataclass(frozen=True)
class FollowUps:
    """What a user might say next: K distinct texts, sorted, so that it does not matter how a config orders them.

    Attributes:
        texts: without white space around them.
        positive: one a text: it is said after a good answer; the others are said after a bad one. There are some of each.
    """

    texts: tuple[str, ...]
    positive: tuple[bool, ...]


def distinct_follow_ups(positive: Sequence[str], negative: Sequence[str]) -> FollowUps:
    """The texts of two lists, each once.

    Raises:
        ConfigError: a list is empty, a text is blank, or one is in both lists.
    """
    listed = {"positive": {text.strip() for text in positive}, "negative": {text.strip() for text in negative}}
    for name, texts in listed.items():
        if not texts or "" in texts:
            wrong = "a text is blank" if texts else "the list is empty"
            raise ConfigError(f"signals.ches.follow_ups.{name}: {wrong}; expected what a user might say next.")
    both = sorted(listed["positive"] & listed["negative"])
    if both:
        raise ConfigError(f"signals.ches.follow_ups: {both[0]!r} is positive and negative; leave it in one of the lists.")
    every = sorted(listed["positive"] | listed["negative"])
    return FollowUps(tuple(every), tuple(text in listed["positive"] for text in every))


def follow_up_fingerprint(model: str, template: str, follow_ups: FollowUps) -> str:
    """What a row of the store depends on besides the response: 32 hex digits.

    Args:
        model: fingerprint of the causal model.
        template: hash of the renderer.
        follow_ups: what was scored.
    """
    said = [f"{good:d}{len(text)}:{text}" for text, good in zip(follow_ups.texts, follow_ups.positive, strict=True)]
    return str(content_hash(pl.Series([f"{model} {template} {''.join(said)}"]), "follow-ups").item())


def follow_up_scores(
    rows: npt.NDArray[np.int64],
    which: npt.NDArray[np.int64],
    logps: npt.NDArray[np.float64],
    tokens: npt.NDArray[np.integer],
    follow_ups: FollowUps,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Mean over the positive follow-ups less mean over the negative ones, of the mean log-probability of a follow-up's tokens.

    Letters: C continuations (a follow-up after a response), K follow-ups, S responses.

    Args:
        rows: (C,), which response a continuation goes on from.
        which: (C,), its follow-up, 0 to K - 1.
        logps: (C,), log-probability of the follow-up's own tokens, summed, nats.
        tokens: (C,), how many they are; 1 and up.
        follow_ups: the K texts.

    Returns:
        Rows of the S responses, sorted, int64; and their scores, float64, nats a token: higher is better. Neither other responses nor
        the order of continuations change a bit of a score.

    Raises:
        ValueError: a response lacks a follow-up or has one twice (means over different texts do not compare), or one has no tokens.
    """
    if (tokens < 1).any():
        raise ValueError(f"follow-ups: a continuation has {tokens.min()} tokens; expected 1 and up")
    responses, place = np.unique(rows, return_inverse=True)
    count = len(follow_ups.texts)
    times = np.bincount(place * count + which, minlength=len(responses) * count).reshape(-1, count)
    wrong = np.argwhere(times != 1)
    if wrong.size:
        row, text = wrong[0]
        raise ValueError(f"follow-ups: response {responses[row]} has follow-up {text} {times[row, text]} times; expected each once")
    means = np.empty(times.shape)
    means[place, which] = logps / tokens
    good = np.array(follow_ups.positive)
    # Contiguous rows: along the other axis the order of summation goes by the number of rows.
    positive, negative = (np.ascontiguousarray(means[:, side]).mean(axis=1) for side in (good, ~good))
    return responses.astype(np.int64), positive - negative


def follow_up_schema() -> pa.Schema:
    """The store's columns for follow-up likelihoods: one row = one response to one prompt, with a score or a `reason`."""
    return pa.schema([*KEY_FIELDS, pa.field("follow_up", pa.float64(), metadata={"unit": "nats a token"})])


def follow_up_table(
    responses: pl.DataFrame, rows: npt.NDArray[np.int64], scores: npt.NDArray[np.float64], reasons: Sequence[str | None]
) -> pa.Table:
    """Scores in the store's form.

    Args:
        responses: bucket, key; N rows.
        rows: (S,), which of them each score is of.
        scores: (S,), nats a token.
        reasons: N; null for those with a score.

    Returns:
        `follow_up_schema`, N rows in the order of `responses`.

    Raises:
        ValueError: a response has both a score and a reason, or neither.
        PrefineError: a score is not finite.
    """
    schema = follow_up_schema()
    return pa.table([*keyed(responses, rows, reasons), placed(scores, rows, responses.height, schema.field("follow_up"))], schema=schema)
