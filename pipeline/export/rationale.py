"""Pairs with their rationale, for losses that learn the preference and the reason for it together (RDPO and its kin).

A row is a pair as TRL reads it (`prompt`, `chosen`, `rejected`) and a second, separate dialogue: `rationale_prompt`, one user's turn with
the conversation, both answers and which of them was preferred, and `rationale`, the assistant's turn that says why. The released code
always shows the chosen answer first, which a model can learn; here `chosen_first` is drawn, and recorded.

Two forms of the loss are about, and they are not the same. With h the preference loss's logit and logp the rationale's summed
log-probability (nats):

- the paper: -log sigmoid(h) - gamma * logp, gamma about 1. Also RORPO's `simple` variant, and DPO with a supervised loss added; where that
  is a mean over tokens, gamma is to be multiplied by their number.
- the released code of RDPO: -log sigmoid(h) - log sigmoid(gamma * logp). A rationale's log-probability counts gamma/2 to gamma
  (`released_weight`), the less the likelier it is. gamma 0.1, or 0.001 in its README: with the paper's form the same gamma is another loss.

TRL's trainers have neither. `(rationale_prompt, rationale)` are a prompt and a completion for SFTTrainer, which learns the second term by
itself; (prompt, chosen, rejected) are DPOTrainer's, which ignores the other columns. A trainer of both at once adds the two. A
rationale costs many more tokens than a pair: compare runs by tokens, not by rows. No rule for bad rationales was published: here those
that a reader cannot tell the label from are left out (`pipeline.rationale.checks`).

Source: Data-Centric Human Preference Optimization with Rationales (2024), the paper and its code.
"""

import math
from collections.abc import Sequence
from typing import Final

import polars as pl
import pyarrow as pa

from pipeline.export.messages import SIDES, SPOKEN, mangled, says, spoken
from pipeline.export.questions import READS, compared, with_texts
from pipeline.rationale.sides import A, B, show_sides
from pipeline.stage import StageResult, split_by_reason

WRITTEN: Final = ("stated", "detailed", "general")  # of words, the preferred first; `factors` are measured: only where asked for
READS_OF_PAIRS: Final = (*READS, "tools", "rationale")
READS_OF_RATIONALES: Final = ("pair_id", "rationale_id", "kind", "generator", "text", "accepted", "own_verdict")
SCHEMA: Final = pa.schema(
    [
        pa.field("pair_id", pa.string(), nullable=False),
        *(pa.field(name, SPOKEN, nullable=False) for name in (*SIDES, "rationale_prompt", "rationale")),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("generator", pa.string(), nullable=False),
        pa.field("chosen_first", pa.bool_(), nullable=False),  # the chosen answer is Response A
        pa.field("weight", pa.float32(), nullable=False),  # of the pair; TRL's trainers drop it without a word
    ]
)
_WHY: Final = "was preferred. Explain why."


def to_rationale(pairs: pl.DataFrame, rationales: pl.DataFrame, kinds: Sequence[str] = ()) -> StageResult:
    """Pairs with a rationale.

    Args:
        pairs: with the columns READS_OF_PAIRS, in any order.
        rationales: with the columns READS_OF_RATIONALES; of these pairs among others.
        kinds: one row for each of these kinds that a pair has, in this order. When empty: one row a pair, of the first of WRITTEN
            that it has. Of several of a kind, the one that the pair's own column holds, else the first by id.

    Returns:
        `kept`, of SCHEMA, in the order of the pairs, and `dropped` pairs with the first reason that applies: those of
        `pipeline.export.messages.mangled`, `no_rationale` (none is accepted, of the kinds asked for).
    """
    fits = split_by_reason(pairs, mangled())
    preferred = fits.kept.select("pair_id", _preferred=pl.col("rationale").struct.field("text"))
    found = accepted(rationales, kinds or WRITTEN).join(preferred, on="pair_id")
    found = found.sort("_rank", pl.col("text").ne_missing(pl.col("_preferred")), "rationale_id")
    found = found.unique(["pair_id", "kind"] if kinds else "pair_id", keep="first", maintain_order=True)
    lacks = split_by_reason(fits.kept, {"no_rationale": ~pl.col("pair_id").is_in(found["pair_id"].implode())})
    rows = with_texts(lacks.kept).join(found, on="pair_id", maintain_order="left_right")
    better = pl.when("chosen_first").then(pl.lit(f"{A} {_WHY}")).otherwise(pl.lit(f"{B} {_WHY}"))
    kept = rows.select(
        "pair_id",
        *(spoken(side) for side in SIDES),
        rationale_prompt=says("user", compared(better, pl.col("chosen_first"))),
        rationale=says("assistant", show_sides(pl.col("text"), pl.col("chosen_first"))),
        kind="kind",
        generator="generator",
        chosen_first="chosen_first",
        weight="weight",
    )
    return StageResult(kept, pl.concat([fits.dropped, lacks.dropped]))


def accepted(rationales: pl.DataFrame, kinds: Sequence[str]) -> pl.DataFrame:
    """The accepted rationales of some kinds that have a text, and `_rank`: the place of their kind; sorted by it, then by id.

    Without those whose writer, not told the label, preferred neither answer. A rubric is about one criterion, and its scores may be
    either way.
    """
    rank = pl.col("kind").replace_strict(list(kinds), range(len(kinds)), default=None, return_dtype=pl.Int64)
    agrees = (pl.col("own_verdict") == "chosen").fill_null(True) | (pl.col("kind") == "rubric")
    ranked = rationales.with_columns(_rank=rank).filter(pl.col("accepted") & agrees & pl.col("text").is_not_null() & rank.is_not_null())
    return ranked.sort("_rank", "rationale_id")


def rationale_loss_paper(logp: float, gamma: float) -> float:
    """What a rationale adds to the loss in the paper: -gamma * logp (nats, 0 and up).

    Args:
        logp: the rationale's summed log-probability, 0 and below.
        gamma: its weight, above 0; about 1.
    """
    return -gamma * logp


def rationale_loss_released(logp: float, gamma: float) -> float:
    """What a rationale adds to the loss in the released code: -log sigmoid(gamma * logp) (nats, log 2 and up).

    Args:
        logp: the rationale's summed log-probability, 0 and below.
        gamma: scales it, above 0; 0.1 in RDPO's configuration.
    """
    z = -gamma * logp
    return z + math.log1p(math.exp(-z))


def released_weight(logp: float, gamma: float) -> float:
    """By how much `rationale_loss_released` falls as logp rises: gamma * sigmoid(-gamma * logp), gamma/2 to gamma; in the paper, gamma."""
    return gamma / (1.0 + math.exp(gamma * logp))
