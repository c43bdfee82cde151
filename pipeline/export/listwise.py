"""All rated or judged answers to a prompt, best first, and pairs among them: for listwise trainers, and pairwise ones without consensus.

`listwise`: one row a prompt.

- `scores`: psi of LiPO, each answer's mean win probability over the others, 0 to 1, best first. A list of (0.99, 0.50, 0.01) and one of
  (0.51, 0.50, 0.49) have one order and are not the same. Judgements and ratings of all criteria and contexts count together. LiPO-lambda
  weighs a pair of answers by |2^psi_i - 2^psi_j| * |1/log(1 + rank_i) - 1/log(1 + rank_j)|, where ranks are of the
  policy's own current scores: a trainer computes them, no file can hold them.
- `ratings`: mean share of the rating scale, 0 to 1, null for answers without one: the rewards of PRO, whose temperatures are their gaps.
- `policy_weights`, with --policy: how often each answer is to be sampled (`pipeline.selection.ranks`).

Listwise likelihood (PRO and its kin) is no better than DPO on all pairs; LiPO's lambda weights are (LiPO, 2024).

`list-pairs`: pairs of different scores: `all`, `best-vs-rest`, `best-vs-worst`. `weight` is 1 over the prompt's number of pairs, so that
prompts count alike. Their labels are the scores', not what votes and consensus made of a pair: for those, take --format trl.

Sources: LiPO: Listwise Preference Optimization through Learning-to-Rank (2024); Preference Ranking Optimization for Human Alignment (2023);
Policy Filtration in RLHF (2024).
"""

import math
from collections.abc import Sequence
from typing import Final, get_args

import polars as pl
import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.export import ranking
from pipeline.export.form import Format, Options
from pipeline.export.messages import SPOKEN, VISIBLE, mangled_prompts, spoken
from pipeline.selection.ranks import Policy, add_policy
from pipeline.stage import StageResult, split_by_reason

READS: Final = ("pair_id", "prompt_id", "prompt", "tools")
BESIDE: Final = {"ratings": ranking.READS_OF_RATINGS, "judgements": ranking.READS_OF_JUDGEMENTS}
POLICIES: Final = get_args(Policy)
PAIRINGS: Final = ("all", "best-vs-rest", "best-vs-worst")


def listwise(options: Options) -> Format:
    """Lists of answers; see the module."""
    policy = _one_of(options.policy, POLICIES) if options.policy else ""
    schema = pa.schema(
        [
            pa.field("prompt_id", pa.string(), nullable=False),
            pa.field("prompt", SPOKEN, nullable=False),
            pa.field("responses", pa.list_(SPOKEN), nullable=False),
            pa.field("scores", pa.list_(pa.float64()), nullable=False),
            pa.field("ratings", pa.list_(pa.float64()), nullable=False),
            *([pa.field("policy_weights", pa.list_(pa.float64()), nullable=False)] if policy else []),
        ]
    )

    def convert(pairs: pl.DataFrame, ratings: pl.DataFrame, judgements: pl.DataFrame) -> StageResult:
        return to_listwise(pairs, ratings, judgements, policy)

    return Format(READS, schema, convert, BESIDE, takes={"ties", "policy"}, represents={"ties"}, whole_prompts=True)


def list_pairs(options: Options) -> Format:
    """Pairs among the answers of a list; see the module."""
    policy = _one_of(options.policy or PAIRINGS[0], PAIRINGS)
    schema = pa.schema(
        [
            pa.field("prompt_id", pa.string(), nullable=False),
            *(pa.field(name, SPOKEN, nullable=False) for name in ("prompt", "chosen", "rejected")),
            *(pa.field(name, pa.float64(), nullable=False) for name in ("chosen_score", "rejected_score", "weight")),
        ]
    )

    def convert(pairs: pl.DataFrame, ratings: pl.DataFrame, judgements: pl.DataFrame) -> StageResult:
        return to_list_pairs(pairs, ratings, judgements, policy)

    return Format(READS, schema, convert, BESIDE, takes={"policy"}, whole_prompts=True)


def _one_of(policy: str, known: Sequence[str]) -> str:
    if policy not in known:
        raise ConfigError(f"--policy {policy}: expected one of {', '.join(known)}.")
    return policy


def to_listwise(pairs: pl.DataFrame, ratings: pl.DataFrame, judgements: pl.DataFrame, policy: str = "") -> StageResult:
    """Lists of answers.

    Args:
        pairs: with the columns READS, in any order; all pairs of a prompt.
        ratings: with the columns `ranking.READS_OF_RATINGS`, of these prompts.
        judgements: with the columns `ranking.READS_OF_JUDGEMENTS`, of these prompts.
        policy: one of POLICIES; "" for no weights.

    Returns:
        `kept`: one row a prompt, in the order of the first pair of each; answers best first, by psi, then rating, then id. `dropped`: pairs
        with the first reason that applies: `no_prompt`, `tools`, `tool_calls`, `other_fields`, `prompt_not_users` (see
        `pipeline.export.messages.mangled_prompts`), `fewer_than_two` (answers that are one visible message and were compared).
    """
    fit, listed = _candidates(pairs, ratings, judgements)
    if policy:
        listed = add_policy(listed, policy, score="psi")  # type: ignore[arg-type]  # one of POLICIES
    weights = [pl.col("policy_weight").alias("policy_weights")] if policy else []
    lists = listed.group_by("prompt_id", maintain_order=True).agg(*weights, responses="response", scores="psi", ratings="rating")
    enough = lists.filter(pl.col("scores").list.len() > 1)
    told = split_by_reason(fit.kept, {"fewer_than_two": ~pl.col("prompt_id").is_in(enough["prompt_id"].implode())})
    prompts = told.kept.unique("prompt_id", keep="first", maintain_order=True).select("prompt_id", prompt=spoken("prompt"))
    return StageResult(prompts.join(enough, on="prompt_id", maintain_order="left"), pl.concat([fit.dropped, told.dropped]))


def to_list_pairs(pairs: pl.DataFrame, ratings: pl.DataFrame, judgements: pl.DataFrame, policy: str = PAIRINGS[0]) -> StageResult:
    """Pairs among the answers of each list.

    Args:
        pairs: as of `to_listwise`.
        ratings: likewise.
        judgements: likewise.
        policy: one of PAIRINGS.

    Returns:
        `kept`: pairs of different psi, by prompt in the order of the first pair of each, best first. `dropped`: pairs with the first reason
        that applies: those of a prompt as in `to_listwise`, and `no_better_answer` (all are equal, or there is one).
    """
    fit, listed = _candidates(pairs, ratings, judgements)
    placed = listed.with_columns(_place=pl.int_range(pl.len()).over("prompt_id"), _best=pl.col("psi").max().over("prompt_id"))
    both = placed.join(placed, on="prompt_id", suffix="_r").filter(pl.col("psi") > pl.col("psi_r"))
    if policy != "all":  # one answer stands for the best, and one for the worst, where several are equal
        both = both.filter(pl.col("_place") == 0)
    if policy == "best-vs-worst":
        both = both.filter(pl.col("_place_r") == pl.col("_place_r").max().over("prompt_id"))
    both = both.with_columns(weight=1.0 / pl.len().over("prompt_id")).sort("prompt_id", "_place", "_place_r")
    told = split_by_reason(fit.kept, {"no_better_answer": ~pl.col("prompt_id").is_in(both["prompt_id"].unique().implode())})
    prompts = told.kept.unique("prompt_id", keep="first", maintain_order=True).select("prompt_id", prompt=spoken("prompt"))
    rows = prompts.join(both, on="prompt_id", maintain_order="left_right").select(
        "prompt_id", "prompt", chosen="response", rejected="response_r", chosen_score="psi", rejected_score="psi_r", weight="weight"
    )
    return StageResult(rows, pl.concat([fit.dropped, told.dropped]))


def _candidates(pairs: pl.DataFrame, ratings: pl.DataFrame, judgements: pl.DataFrame) -> tuple[StageResult, pl.DataFrame]:
    """Pairs whose prompt can be said; and their prompts' answers: prompt_id, response_id, response, psi, rating; by prompt, best first."""
    fit = split_by_reason(pairs, mangled_prompts())
    message = pl.col("response").list.first().struct
    plain = (pl.col("response").list.len() == 1) & (message.field("role") == "assistant") & message.field("tool_calls").is_null()
    told = ranking.texts(ratings, judgements)
    answers = told.select(
        "prompt_id", "response_id", _at=pl.int_range(pl.len()), _fits=plain & message.field("content").str.contains(VISIBLE)
    )
    answers = answers.filter("_fits").join(fit.kept.select("prompt_id").unique(), on="prompt_id", how="semi")
    won = ranking.wins(ratings, judgements)
    for name in ("response_id", "other_id"):  # an answer that is no candidate is no rival either
        won = won.join(answers.select("prompt_id", pl.col("response_id").alias(name)), on=["prompt_id", name], how="semi")
    by = ["prompt_id", "response_id"]
    listed = ranking.win_rates(won).join(ranking.rated(ratings), on=by, how="left").join(answers, on=by)
    listed = listed.sort("prompt_id", "psi", "rating", "response_id", descending=[False, True, True, False], nulls_last=True)
    said = told.select(spoken("response")).to_series().gather(listed["_at"])
    listed = listed.drop("_at", "_fits").with_columns(said.alias("response"))
    return fit, listed


def lambda_weight(psi: tuple[float, float], ranks: tuple[int, int]) -> float:
    """Delta of LiPO-lambda: what the pair (i, j) counts in its loss.

    Args:
        psi: of both answers, as in `scores`, 0 to 1.
        ranks: of both, by the policy's current scores; 1 is the best.

    Source: LiPO (2024): |2^psi_i - 2^psi_j| * |1/log(1 + rank_i) - 1/log(1 + rank_j)|, logarithms natural.
    """
    gains, discounts = [2**value for value in psi], [1 / math.log1p(rank) for rank in ranks]
    return abs(gains[0] - gains[1]) * abs(discounts[0] - discounts[1])


def lipo_loss(psi: Sequence[float], scores: Sequence[float]) -> float:
    """LiPO-lambda's loss of one list (nats): what the column `scores` is for.

    Args:
        psi: of each answer.
        scores: the policy's, beta * log-ratio to the reference.
    """
    ranks = {at: place for place, at in enumerate(sorted(range(len(scores)), key=lambda at: -scores[at]), start=1)}
    better = [(i, j) for i in range(len(psi)) for j in range(len(psi)) if psi[i] > psi[j]]
    return sum(lambda_weight((psi[i], psi[j]), (ranks[i], ranks[j])) * math.log1p(math.exp(scores[j] - scores[i])) for i, j in better)


def pro_loss(rewards: Sequence[float], logps: Sequence[float]) -> float:
    """PRO's loss of one list without its supervised term (nats): what the column `ratings` is for.

    Args:
        rewards: of each answer, best first, all different.
        logps: mean log-probability of each under the policy (nats a token).

    Source: Preference Ranking Optimization for Human Alignment (2023), the released code: temperatures are gaps of rewards.
    """
    loss = 0.0
    for k in range(len(rewards) - 1):
        gaps = [rewards[k] - later for later in rewards[k + 1 :]]
        own = logps[k] * max(gaps)
        rest = sum(math.exp(logp * gap) for logp, gap in zip(logps[k + 1 :], gaps, strict=True))
        loss -= own - math.log(math.exp(own) + rest)
    return loss
