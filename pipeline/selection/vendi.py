"""How diverse texts are: Vendi scores, the effective number of different ones, on a sample that a hash of pair ids draws."""

import math

import numpy as np
import numpy.typing as npt
import polars as pl
from threadpoolctl import threadpool_limits

from pipeline.selection.noise import Doubles, uniform
from pipeline.statistics.table import Statistic, statistics_table

ORDERS = (0.1, 0.5, 1.0, 2.0, math.inf)
_DIGITS = 6  # what threads and processors change lies far behind
_TEXTS = {"prompts": "prompt_text", "chosen": "chosen_text"}
SAMPLE = pl.Schema({"pair_id": pl.String(), "draw": pl.Float64(), "prompt_text": pl.String(), "chosen_text": pl.String()})


def vendi(eigenvalues: Doubles, order: float) -> float:
    """The effective number of different items (Cousins of the Vendi Score, 2023): 1 to n, whatever the order.

    Args:
        eigenvalues: of K / n, where K is a similarity matrix of n items with unit diagonal; they add up to 1. Small negative ones, which
            rounding makes, count as 0.
        order: above 0; small ones see rare items, large ones the common; infinity: the most common alone.
    """
    shares = eigenvalues[eigenvalues > 1e-12]
    if order == 1:
        return math.exp(-float((shares * np.log(shares)).sum()))
    if math.isinf(order):
        return 1 / float(shares.max())
    return math.exp(math.log(float((shares**order).sum())) / (1 - order))


def spectrum(vectors: npt.NDArray[np.floating]) -> Doubles:
    """Eigenvalues of K / n for the cosines K of n vectors, through the smaller of K and the vectors' D x D product: they are the same.

    Args:
        vectors: (n, D), n at least 1, none of length 0; brought to unit length.

    Returns:
        float64 (min(n, D),), ascending.
    """
    exact = vectors.astype(np.float64)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    with threadpool_limits(limits=1, user_api="blas"):  # sums in one order, whatever the number of threads
        product = exact @ exact.T if len(exact) <= exact.shape[1] else exact.T @ exact
        return np.asarray(np.linalg.eigvalsh(product / len(exact)), dtype=np.float64)


def summarise(pairs: pl.DataFrame, seed: int, most: int) -> pl.DataFrame:
    """One partition's candidates for the sample: those with the lowest draws.

    Args:
        pairs: pair_id, prompt_text, chosen_text (text ids; null: a blank text).
        seed: of the selection.
        most: pairs in the sample.
    """
    drawn = pairs.with_columns(draw=pl.Series(uniform(pairs.get_column("pair_id"), seed, "vendi")))
    return drawn.select(SAMPLE.names()).sort("draw", "pair_id").head(most)


def samples(stages: dict[str, list[pl.DataFrame]], most: int) -> dict[str, pl.DataFrame]:
    """The samples of all stages, as large as the smallest stage allows: scores of different sizes cannot be compared.

    Args:
        stages: `summarise` of all partitions, by stage.
        most: pairs in a sample.
    """
    joined = {name: pl.concat([SAMPLE.to_frame(), *parts]).sort("draw", "pair_id") for name, parts in stages.items()}
    size = min([most, *(table.height for table in joined.values() if table.height)])
    return {name: table.head(size) for name, table in joined.items()}


def statistics(stages: dict[str, pl.DataFrame], index: pl.DataFrame, vectors: npt.NDArray[np.float16]) -> pl.DataFrame:
    """Vendi scores of prompts and chosen answers at each stage: schema STATISTIC, `vendi_prompts_q1` and so on; n texts each.

    Args:
        stages: of `samples`.
        index: text_id, index: which row of `vectors` holds a text.
        vectors: embeddings, (M, D).
    """
    rows: list[Statistic] = []
    for stage, sample in stages.items():
        for what, column in _TEXTS.items():
            found = sample.select(text_id=column).drop_nulls().join(index, on="text_id", maintain_order="left")
            values = vectors[found.get_column("index").to_numpy()]
            if not len(values):
                continue
            eigenvalues = spectrum(values)
            note = f"{stage}: of {len(values)} pairs drawn by hash, cosines of sentence embeddings"
            rows += [
                Statistic(f"vendi_{what}_q{order:g}", "stage", stage, round(vendi(eigenvalues, order), _DIGITS), math.nan, math.nan,
                          len(values), "effective number of different texts", note)
                for order in ORDERS
            ]  # fmt: skip
    return statistics_table(rows)
