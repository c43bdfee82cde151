"""Which pairs deserve a human's second look: the questions whose answers teach most, and files that annotation tools load.

A further vote is worth the information it is expected to give about which answer is better: the mutual information, in bits, between the
truth {chosen, rejected, tie} and the vote of a typical annotator (Lindley 1956; the measure of active learning, MacKay 1992). A settled
pair gives next to none, and so does one whose annotators guess. Whom to ask by what the pair is about (Hybrid Preferences, Miranda et
al. 2024) needs reward models trained on mixes of labels, and is left out.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.schemas import MESSAGE_FIELDS

# How a Label Studio project shows the tasks of `to_label_studio`, and what its verdicts are called.
LABEL_STUDIO_CONFIG: Final = """\
<View>
  <Paragraphs name="shown_prompt" value="$prompt" layout="dialogue" nameKey="role" textKey="content"/>
  <Header value="Response A"/>
  <Paragraphs name="shown_a" value="$response_a" layout="dialogue" nameKey="role" textKey="content"/>
  <Header value="Response B"/>
  <Paragraphs name="shown_b" value="$response_b" layout="dialogue" nameKey="role" textKey="content"/>
  <Choices name="winner" toName="shown_a" choice="single" required="true">
    <Choice value="a"/>
    <Choice value="b"/>
    <Choice value="tie"/>
  </Choices>
</View>
"""

# `fields:` of a source that is Label Studio's full JSON export.
LABEL_STUDIO_FIELDS: Final = {
    **{name: f"data.{name}" for name in ("prompt", "response_a", "response_b", "criterion", "context", "tools", "shown_first")},
    "winner": "annotations.0.result.0.value.choices.0",
    "annotator": "annotations.0.completed_by",
}

_UNSURE: Final = 1e-3  # probabilities nearer to 0 or 1 are not believed
_NOISY: Final = 0.5  # noise_score from which on it is the reason to ask

Floats = npt.NDArray[np.float64]


def queue(pairs: pl.DataFrame, accuracy: float, tie_share: float, budget: int) -> pl.DataFrame:
    """Rank pairs by what one more vote on each would teach, and lay out the best as questions.

    What is known of a pair is its posterior from votes, moved by its `noise_score`: the odds that the label is right are multiplied by
    those the score gives it, over those the mean score gives any label, which the votes' posterior holds already. A typical annotator
    who does not call a tie picks the better side with probability `accuracy`, and calls a true tie one accuracy / (1 - accuracy)
    times as often as another pair, and as often in all that `tie_share` of the votes on `pairs` would be ties.

    Args:
        pairs: PAIR's columns pair_id, prompt_id, criterion, context, tools, prompt, chosen, rejected, chosen_id, rejected_id,
            p_chosen, p_tie, noise_score (null: not known), votes_chosen, votes_rejected, votes_tie; in any order.
        accuracy: of a typical annotator, 0.5 to 1.
        tie_share: share of ties among a typical annotator's votes, 0 to 1.
        budget: how many votes to ask for, one a pair.

    Returns:
        At most `budget` rows, the most gain first and equal gains by pair_id: place (1 and up), gain_bits (0 to 1.585), asked_because
        (in words), pair_id, prompt, criterion, context, tools, response_a, response_b, shown_first ("a": the tool shows A first),
        winner and annotator (empty: for the annotator). Which answer is A is drawn from the pair's id, and does not
        depend on the label.

    Raises:
        ValueError: `accuracy`, `tie_share` or `budget` is out of range.
    """
    if not (0.5 <= accuracy <= 1 and 0 <= tie_share <= 1 and budget >= 0):
        raise ValueError(f"accuracy {accuracy}, tie_share {tie_share}, budget {budget}: expected 0.5 to 1, 0 to 1, and 0 or more votes.")
    pairs = pairs.sort("pair_id")  # means must not depend on the order of rows
    believed = _believed(pairs)
    gain = _information(believed, _votes_given_truth(accuracy, tie_share, float(believed[:, 2].mean()) if pairs.height else 0.0))
    # The pair's id is a hash of its content; its last digit is a coin, and low and high are the order of the answers' own hashes.
    low_is_a = pl.col("pair_id").str.slice(-1).is_in(list("02468ace"))
    chosen_is_a = (pl.col("chosen_id") < pl.col("rejected_id")) == low_is_a
    asked = pairs.with_columns(gain_bits=pl.Series(gain, dtype=pl.Float64), asked_because=_why())
    asked = asked.sort(["gain_bits", "pair_id"], descending=[True, False]).head(budget)
    return asked.select(
        pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("place"), "gain_bits", "asked_because", "pair_id", "prompt", "criterion",
        "context", "tools",
        response_a=pl.when(chosen_is_a).then("chosen").otherwise("rejected"),
        response_b=pl.when(chosen_is_a).then("rejected").otherwise("chosen"),
        shown_first=pl.lit("a"), winner=pl.lit(""), annotator=pl.lit(""),
    )  # fmt: skip


def to_jsonl(asked: pl.DataFrame) -> str:
    """The questions as JSON lines, to be answered in place.

    An annotator writes a, b or tie in `winner` and a name in `annotator`; the file is then a source that needs no configuration, and
    its votes count for the pairs asked about, whose ids are made of the same content. A row without a winner is quarantined.

    Args:
        asked: rows of `queue`.

    Returns:
        One JSON object a line.
    """
    return "".join(f"{line}\n" for line in _objects(_shown(asked)))


def to_label_studio(asked: pl.DataFrame) -> str:
    """The questions as Label Studio's import JSON: a list of tasks, shown by `LABEL_STUDIO_CONFIG`.

    Export the answers as JSON-MIN: each row then holds the task's data, the choice as `winner` and the annotator as `annotator`, one row
    for each answer, and the file is a source that needs no configuration. Of the full JSON export, the first answer to each task can
    be read by `LABEL_STUDIO_FIELDS`.

    Args:
        asked: rows of `queue`.

    Returns:
        A JSON list of tasks with the question in `data`, without the fields for the answer.
    """
    tasks = [f'{{"data":{line}}}' for line in _objects(_shown(asked).drop("winner", "annotator"))]
    return "[" + ",\n".join(tasks) + "]\n"


def _believed(pairs: pl.DataFrame) -> Floats:
    """P(chosen is better), P(rejected is), P(tie) of each pair (N, 3), from votes and content."""
    chosen, tie = (np.clip(pairs[name].to_numpy(), _UNSURE, 1 - _UNSURE) for name in ("p_chosen", "p_tie"))
    noise = pairs["noise_score"].cast(pl.Float64)
    mean = noise.mean()
    score = np.clip(noise.fill_null(mean if isinstance(mean, float) else 0.5).to_numpy(), _UNSURE, 1 - _UNSURE)
    usual = np.clip(mean if isinstance(mean, float) else 0.5, _UNSURE, 1 - _UNSURE)
    odds = chosen / (1 - chosen) * (1 - score) / score * usual / (1 - usual)
    right = odds / (1 + odds)
    return np.stack([(1 - tie) * right, (1 - tie) * (1 - right), tie], axis=1)


def _votes_given_truth(accuracy: float, tie_share: float, true_ties: float) -> Floats:
    """P(vote | truth) of a typical annotator (3, 3): truths in rows, votes in columns, both in the order chosen, rejected, tie."""
    accuracy = min(accuracy, 1 - _UNSURE)
    telling = accuracy / (1 - accuracy)
    on_ties = min(1.0, tie_share * telling / (true_ties * telling + 1 - true_ties))
    elsewhere = max(0.0, (tie_share - true_ties * on_ties) / (1 - true_ties))
    side = 1 - elsewhere
    either = (1 - on_ties) / 2
    return np.array(
        [
            [side * accuracy, side * (1 - accuracy), elsewhere],
            [side * (1 - accuracy), side * accuracy, elsewhere],
            [either, either, on_ties],
        ]
    )


def _information(believed: Floats, given: Floats) -> Floats:
    """Mutual information of truth and vote, in bits, for each row of `believed` (N, 3)."""
    votes = (believed[:, :, None] * given).sum(axis=1)
    bits: Floats = np.maximum(_entropy(votes) - (believed * _entropy(given)).sum(axis=1), 0.0)
    return bits


def _entropy(p: Floats) -> Floats:
    """Entropy in bits over the last axis."""
    bits: Floats = -(p * np.log2(np.where(p > 0, p, 1.0))).sum(axis=-1)
    return bits


def _why() -> pl.Expr:
    """What makes a pair worth asking about, in words; the first that applies."""
    chosen, rejected, ties = pl.col("votes_chosen"), pl.col("votes_rejected"), pl.col("votes_tie")
    votes = chosen + rejected + ties
    noisy = pl.format("judged by its content, the label is wrong with probability {}", pl.col("noise_score").round(2))
    split = pl.format("{} votes for one side, {} for the other", chosen, rejected)
    tie = pl.format("it may be a tie: probability {}", pl.col("p_tie").round(2))
    unsure = pl.format("after {} votes the better side is known with probability {}", votes, pl.col("p_chosen").round(2))
    return (
        pl.when(pl.col("noise_score") >= _NOISY).then(noisy)
        .when((chosen > 0) & (rejected > 0)).then(split)
        .when((ties > 0) & (pl.col("p_tie") > 1 / 3)).then(tie)
        .when(votes == 1).then(pl.lit("one vote only"))
        .otherwise(unsure)
    )  # fmt: skip


def _shown(asked: pl.DataFrame) -> pl.DataFrame:
    """Questions as their files state them, so that ingest finds the same prompt and answers.

    A whole conversation on each side stands for a prompt that is blank, and for an answer that begins with a turn of the user: beside
    a prompt, that would read as one that contradicts it.
    """
    contents = pl.col("prompt").list.eval(pl.element().struct.field("content").fill_null("").str.strip_chars())
    opening = [pl.col(side).list.first().struct.field("role").is_in(["user", "system"]) for side in ("response_a", "response_b")]
    whole = (contents.list.join("") == "") | pl.any_horizontal(opening).fill_null(False)
    blank = pl.struct(pl.lit({"role": "user", "content": ""}.get(name), pl.String).alias(name) for name in MESSAGE_FIELDS)
    sides = [pl.when(whole).then(pl.concat_list("prompt", side)).otherwise(side).alias(side) for side in ("response_a", "response_b")]
    shown = asked.with_columns(
        *sides, prompt=pl.when(whole).then(pl.concat_list(blank)).otherwise("prompt"), gain_bits=pl.col("gain_bits").round(6)
    )
    return shown.drop(name for name in ("context", "tools") if shown[name].null_count() == shown.height)


def _objects(rows: pl.DataFrame) -> list[str]:
    """Each row as a JSON object; messages have the fields that some message has."""
    texts = ("prompt", "response_a", "response_b")
    said = pl.concat(rows.select(message=pl.col(name).explode()) for name in texts).unnest("message")
    fields = [name for name in MESSAGE_FIELDS if name in ("role", "content") or said[name].null_count() < said.height]
    slim = [pl.col(name).list.eval(pl.struct(pl.element().struct.field(one) for one in fields)) for name in texts]
    return rows.with_columns(slim).select(pl.struct(pl.all()).struct.json_encode()).to_series().to_list()
