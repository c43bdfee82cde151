"""Contrast instructions: does a scorer know which answer belongs to which of two similar prompts?

The Trickle-down Impact of Reward (In-)consistency on RLHF (2023). Of two prompts that are much alike and each one's good answer, a scorer
should give an answer more under its own prompt than under the other, and a prompt's own answer more than the other one's. Who fails that
says little by its scores of other pairs: check it before they are used. The contrasts are made from the user's own prompts.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.similarity import nearest
from pipeline.statistics.table import Statistic, share, statistics_table, unknown
from pipeline.texts import WORD

CONTRASTS: Final = pl.Schema({"first": pl.String, "second": pl.String, "cosine": pl.Float64})
# Below, prompts have little in common and any scorer tells them apart; above, they ask for the same and both answers fit.
MIN_COSINE, MAX_COSINE = 0.75, 0.95
# Share of the distinct words of two prompts that they have in common. An embedding alone calls texts alike that it cannot read.
MIN_SHARED_WORDS: Final = 0.2
MAX_PROMPTS = 20_000  # searched among, by exact comparison of all with all
_NEIGHBOURS: Final = 10  # looked through for one between the two bounds: near copies come first
_STATISTICS: Final = ("response_consistency", "instruction_consistency")


def contrasts(prompts: pl.DataFrame, vectors: npt.NDArray[Any], most: int = 1000) -> pl.DataFrame:
    """Pairs of similar prompts: each prompt with the nearest that asks for something else.

    Args:
        prompts: prompt_id, text (the prompt's), and answer (its good one: text or messages), one row a prompt, in any order. Of more
            than `MAX_PROMPTS` those with the least ids are taken: ids are hashes, so they are a sample.
        vectors: (rows, D) embeddings of the prompts, in the order of `prompts`, as `pipeline.similarity.nearest` takes them.
        most: contrasts at most, the nearest first.

    Returns:
        CONTRASTS: prompt ids (first < second) and the cosine, MIN_COSINE to MAX_COSINE, of prompts that share words; no two prompts
        twice, none with equal answers; sorted by cosine, largest first, then ids.

    Raises:
        ValueError: there are not as many vectors as prompts.
    """
    if len(vectors) != prompts.height:
        raise ValueError(f"{prompts.height} prompts have {len(vectors)} vectors; expected one each")
    taken = prompts.with_row_index("row").sort("prompt_id").head(MAX_PROMPTS)
    if taken.height < 2:
        return CONTRASTS.to_frame()
    chosen = vectors[taken["row"].to_numpy()]
    neighbours, cosines = nearest(chosen, chosen, _NEIGHBOURS)
    texts = taken.select(pl.col("answer").rank("dense"))["answer"].to_numpy()  # equal answers have equal numbers
    fits = (neighbours >= 0) & (cosines >= MIN_COSINE) & (cosines <= MAX_COSINE) & (texts[neighbours] != texts[:, None])
    row, rank = np.flatnonzero(fits.any(axis=1)), fits.argmax(axis=1)[fits.any(axis=1)]
    ids = taken["prompt_id"]
    words = taken.select(pl.col("text").str.to_lowercase().str.extract_all(WORD).list.unique()).to_series()
    two = neighbours[row, rank]
    told = pl.DataFrame({"one": ids.gather(row), "two": ids.gather(two), "cosine": cosines[row, rank]})
    shared = pl.DataFrame({"a": words.gather(row), "b": words.gather(two)}).select(
        pl.col("a").list.set_intersection("b").list.len() / pl.col("a").list.set_union("b").list.len()
    )
    told = told.filter(shared.to_series() >= MIN_SHARED_WORDS)
    pairs = told.select(first=pl.min_horizontal("one", "two"), second=pl.max_horizontal("one", "two"), cosine="cosine")
    each = pairs.group_by("first", "second").agg(pl.col("cosine").max())
    return each.sort("cosine", "first", "second", descending=[True, False, False]).head(most).select(CONTRASTS.names())


def contrast_items(found: pl.DataFrame, prompts: pl.DataFrame) -> pl.DataFrame:
    """What a scorer has to score: each prompt of a contrast with its own and the other's answer.

    Args:
        found: CONTRASTS.
        prompts: prompt_id, prompt and answer (text or messages).

    Returns:
        prompt_id, answer_of (id of the prompt whose good answer it is), prompt, answer; each once, sorted by the two ids. With `score`
        (Float64) added it is what `contrast_consistency` takes.
    """
    ids = [("first", "first"), ("first", "second"), ("second", "first"), ("second", "second")]
    asked = pl.concat(found.select(prompt_id=prompt, answer_of=answer) for prompt, answer in ids).unique().sort("prompt_id", "answer_of")
    told = asked.join(prompts.select("prompt_id", "prompt"), on="prompt_id", how="left", maintain_order="left")
    return told.join(prompts.select("answer", answer_of="prompt_id"), on="answer_of", how="left", maintain_order="left")


def contrast_consistency(found: pl.DataFrame, scored: pl.DataFrame, scorer: str) -> pl.DataFrame:
    """How often a scorer ranks the four items of a contrast as it should.

    Args:
        found: CONTRASTS.
        scored: prompt_id, answer_of, score (null or not finite: none), one row an item. Comparisons that lack a score do not count.
        scorer: its name.

    Returns:
        STATISTIC, two rows of subject_kind `reward_model`: `response_consistency`, share of r(q1, a1) > r(q1, a2) and r(q2, a2) >
        r(q2, a1); `instruction_consistency`, share of r(q1, a1) > r(q2, a1) and r(q2, a2) > r(q1, a2). Equal scores are no success:
        the scorer did not tell. Wilson intervals over the comparisons; the two of one contrast are not quite independent, so they are
        a little too narrow. One half is chance.
    """
    items = scored.select("prompt_id", "answer_of", score=pl.when(pl.col("score").is_finite()).then("score"))
    four = found
    for prompt, answer in (("first", "first"), ("first", "second"), ("second", "first"), ("second", "second")):
        named = items.rename({"score": f"{prompt}_{answer}"})
        four = four.join(named, left_on=[prompt, answer], right_on=["prompt_id", "answer_of"], how="left")
    compared = {
        "response_consistency": (("first_first", "first_second"), ("second_second", "second_first")),
        "instruction_consistency": (("first_first", "second_first"), ("second_second", "first_second")),
    }
    return statistics_table([_consistency(four, name, compared[name], scorer) for name in _STATISTICS])


def _consistency(four: pl.DataFrame, name: str, compared: tuple[tuple[str, str], tuple[str, str]], scorer: str) -> Statistic:
    right = pl.concat(four.select(right=pl.col(own) > pl.col(other)) for own, other in compared)["right"].drop_nulls()
    n, hits, subject = len(right), int(right.sum()), ("reward_model", scorer)
    if not n:
        return unknown(name, subject, 0, "share", "no contrast has the scores it needs")
    missing = 2 * four.height - n
    note = f"{missing} of {2 * four.height} comparisons lack a score" if missing else None
    return share(name, subject, hits, n, note)
