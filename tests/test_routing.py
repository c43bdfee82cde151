import json
import math
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import AnnotatorsConfig
from pipeline.identity import identify
from pipeline.pairing import pair_up
from pipeline.routing import LABEL_STUDIO_CONFIG, LABEL_STUDIO_FIELDS, queue, to_jsonl, to_label_studio
from tests.builders import judged, message, row
from tests.ingest.conftest import ingest_place

BELIEFS = {"p_chosen": 0.75, "p_tie": 0.2, "noise_score": None, "votes_chosen": 1, "votes_rejected": 0, "votes_tie": 0}


def known(**columns: list[Any]) -> pl.DataFrame:
    """Pairs of which only beliefs matter, with ids 00, 01, ..."""
    height = len(next(iter(columns.values())))
    ids = [f"{i:02x}" for i in range(height)]
    pairs = pl.DataFrame({"pair_id": ids} | {name: [value] * height for name, value in BELIEFS.items()} | columns)
    said = [message("assistant", "x")]
    texts = {name: [said] * height for name in ("prompt", "chosen", "rejected")}
    named = {"chosen_id": "c", "rejected_id": "d", "criterion": "overall"}
    return pairs.with_columns(
        pl.col("noise_score").cast(pl.Float64),
        *(pl.lit(value).alias(name) for name, value in named.items()),
        *(pl.lit(None, pl.String).alias(name) for name in ("context", "tools")),
        *(pl.Series(name, value) for name, value in texts.items()),
    )


def gains(asked: pl.DataFrame) -> dict[str, float]:
    return dict(asked.select("pair_id", "gain_bits").iter_rows())


def slow_gain(truth: list[float], given_truth: list[list[float]]) -> float:
    """Sum over truth z and vote v of p(z, v) log2 (p(z, v) / p(z) p(v))."""
    total = 0.0
    for z, v in product(range(3), range(3)):
        joint = truth[z] * given_truth[z][v]
        if joint > 0:
            total += joint * math.log2(given_truth[z][v] / sum(truth[y] * given_truth[y][v] for y in range(3)))
    return total


def test_an_open_question_to_a_perfect_annotator_is_worth_one_bit() -> None:
    asked = queue(known(p_chosen=[0.5], p_tie=[0.0]), accuracy=1.0, tie_share=0.0, budget=1)
    assert asked["gain_bits"].item() == pytest.approx(1.0, abs=0.02)


def test_the_gain_is_that_of_a_channel_that_errs_in_one_of_five() -> None:
    # 1 - H(0.8) = 0.278072 bits: the capacity of a binary symmetric channel.
    asked = queue(known(p_chosen=[0.5], p_tie=[0.0]), accuracy=0.8, tie_share=0.0, budget=1)
    assert asked["gain_bits"].item() == pytest.approx(0.278072, abs=0.001)


def test_the_less_is_settled_the_more_a_vote_is_worth() -> None:
    asked = queue(known(p_chosen=[0.99, 0.5, 0.75, 0.6], p_tie=[0.1] * 4), accuracy=0.8, tie_share=0.1, budget=10)
    assert asked["pair_id"].to_list() == ["01", "03", "02", "00"]
    assert asked["place"].to_list() == [1, 2, 3, 4]


def test_annotators_who_guess_teach_nothing() -> None:
    asked = queue(known(p_chosen=[0.5, 0.9], p_tie=[0.2, 0.4]), accuracy=0.5, tie_share=0.2, budget=2)
    assert asked["gain_bits"].to_list() == pytest.approx([0, 0], abs=1e-9)


def test_a_label_that_its_content_contradicts_is_asked_about_before_one_that_it_supports() -> None:
    asked = queue(known(p_chosen=[0.9, 0.9, 0.9], noise_score=[0.05, 0.9, None]), accuracy=0.8, tie_share=0.1, budget=3)
    assert asked["pair_id"].to_list() == ["01", "02", "00"]


def test_a_score_that_says_the_same_of_every_label_changes_nothing() -> None:
    pairs = {"p_chosen": [0.6, 0.8, 0.95]}
    with_score = queue(known(**pairs, noise_score=[0.3] * 3), 0.8, 0.1, 3)
    assert gains(with_score) == pytest.approx(gains(queue(known(**pairs), 0.8, 0.1, 3)))


@given(
    st.lists(st.tuples(st.floats(0.5, 0.99), st.floats(0.01, 0.9), st.floats(0.01, 0.9)), min_size=1, max_size=6),
    st.floats(0.5, 0.95),
    st.floats(0.0, 0.6),
)
def test_the_gain_is_the_mutual_information_of_truth_and_vote(
    beliefs: list[tuple[float, float, float]], accuracy: float, ties: float
) -> None:
    chosen, tie, noise = (list(column) for column in zip(*beliefs, strict=True))
    found = gains(queue(known(p_chosen=chosen, p_tie=tie, noise_score=noise), accuracy, ties, len(beliefs)))

    true_ties, mean_noise = sum(tie) / len(tie), sum(noise) / len(noise)
    telling = accuracy / (1 - accuracy)
    on_tie = min(1.0, ties * telling / (true_ties * telling + 1 - true_ties))
    elsewhere = max(0.0, (ties - true_ties * on_tie) / (1 - true_ties))
    right, wrong = (1 - elsewhere) * accuracy, (1 - elsewhere) * (1 - accuracy)
    votes = [[right, wrong, elsewhere], [wrong, right, elsewhere], [(1 - on_tie) / 2, (1 - on_tie) / 2, on_tie]]
    for i, (p, t, n) in enumerate(beliefs):
        log_odds = math.log(p / (1 - p)) - math.log(n / (1 - n)) + math.log(mean_noise / (1 - mean_noise))
        better = 1 / (1 + math.exp(-log_odds))
        assert found[f"{i:02x}"] == pytest.approx(slow_gain([(1 - t) * better, (1 - t) * (1 - better), t], votes), abs=1e-9)


@given(st.permutations(range(8)), st.integers(0, 9))
def test_the_queue_is_the_same_whatever_the_order_of_rows(order: list[int], budget: int) -> None:
    pairs = known(p_chosen=[0.5, 0.6, 0.6, 0.7, 0.8, 0.5, 0.9, 0.55], noise_score=[0.1, 0.3, None, 0.2, 0.7, 0.15, 0.33, 0.9])
    asked = queue(pairs[order], 0.77, 0.13, budget)
    assert asked.equals(queue(pairs, 0.77, 0.13, 8).head(budget))


def test_the_reason_says_what_is_open() -> None:
    pairs = known(
        noise_score=[0.83, 0.2, None, None, None],
        votes_chosen=[1, 2, 1, 1, 3],
        votes_rejected=[0, 1, 0, 0, 0],
        votes_tie=[0, 0, 1, 0, 0],
        p_tie=[0.2, 0.2, 0.4, 0.2, 0.2],
    )
    reasons = dict(queue(pairs, 0.8, 0.1, 5).select("pair_id", "asked_because").iter_rows())
    assert reasons == {
        "00": "judged by its content, the label is wrong with probability 0.83",
        "01": "2 votes for one side, 1 for the other",
        "02": "it may be a tie: probability 0.4",
        "03": "one vote only",
        "04": "after 3 votes the better side is known with probability 0.75",
    }


@pytest.mark.parametrize(("accuracy", "ties", "budget"), [(0.4, 0.1, 1), (0.8, 1.1, 1), (0.8, 0.1, -1)])
def test_numbers_out_of_range_are_refused(accuracy: float, ties: float, budget: int) -> None:
    with pytest.raises(ValueError, match=r"expected 0\.5 to 1, 0 to 1, and 0 or more votes"):
        queue(known(p_chosen=[0.5]), accuracy, ties, budget)


def test_no_pairs_make_an_empty_queue() -> None:
    asked = queue(known(p_chosen=[0.5]).clear(), 0.8, 0.1, 5)
    assert (asked.height, to_jsonl(asked), json.loads(to_label_studio(asked))) == (0, "", [])


# What published pairs look like: every shape that ingest makes of prompts and answers.
SHAPES: dict[str, dict[str, Any]] = {
    "plain texts": row("q", "x", "y"),
    "texts that look like JSON": row("[1,2]", '{"a": 1}', '"quoted" \\ é\u2028'),
    "texts that look like transcripts": row("\n\nHuman: hi\n\nAssistant: yo", "\n\nHuman: x", "Human: y"),
    "a system message": row([message("system", "s"), message("user", "q")], "x", "y"),
    "several turns": row([message("user", "q"), message("assistant", "a"), message("user", "r")], "x", "y"),
    "an answer begun in the prompt": row([message("user", "q"), message("assistant", "begin")], "x", "y"),
    "no prompt": row([], "x", "y"),
    "a blank prompt": row("", "x", "y"),
    "an empty answer": row("q", "", "y"),
    "answers of several turns": row(
        "q",
        [message("assistant", "x"), message("user", "u"), message("assistant", "z")],
        [message("assistant", "y"), message("user", "w"), message("assistant", "v")],
    ),
    "answers with equal openings": row(
        "q",
        [message("assistant", "same"), message("user", "u"), message("assistant", "z")],
        [message("assistant", "same"), message("user", "w"), message("assistant", "v")],
    ),
    "transcripts that part at a turn of the user": row(
        "q", [message("user", "u"), message("assistant", "z")], [message("user", "w"), message("assistant", "v")]
    ),
    "transcripts with nothing in common": row(
        [], [message("user", "u"), message("assistant", "z")], [message("user", "w"), message("assistant", "v")]
    ),
    "one answer after another turn": row("q", [message("user", "u"), message("assistant", "z")], "v"),
    "tool calls": row(
        "q",
        [
            message("assistant", "", tool_calls='[{"id":"1","function":{"name":"f","arguments":"{}"}}]'),
            message("tool", "5", tool_call_id="1"),
            message("assistant", "five", reasoning_content="hm"),
        ],
        "y",
        tools='[{"name": "f", "x": 1.0}]',
    ),
    "a criterion and a context": row("q", "x", "y", criterion="safety", context="be kind"),
}


@pytest.fixture(scope="module")
def published() -> pl.DataFrame:
    """A pair of each shape, as it is published; low is chosen."""
    tally = pair_up(judged(*SHAPES.values()))
    sides = {f"{side}{part}": f"{name}{part}" for side, name in (("low", "chosen"), ("high", "rejected")) for part in ("", "_id")}
    beliefs = known(p_chosen=[0.75] * tally.height).select(
        "p_chosen", "p_tie", "noise_score", "votes_chosen", "votes_rejected", "votes_tie"
    )
    return tally.drop("votes_tie").rename(sides).hstack(beliefs)


def ids_of(place: Path, **source: object) -> pl.DataFrame:
    """What a file of answers says of which pair."""
    read = ingest_place(str(place), **source)
    assert read.quarantined.height == 0, read.quarantined.select("reason", "field", "detail").rows()
    return identify(read.judgements, AnnotatorsConfig(ids="plain"), "d")


def winners(votes: pl.DataFrame) -> dict[str, str]:
    """pair_id -> id of the preferred response."""
    side = pl.when(pl.col("outcome") == "a").then("response_a_id").when(pl.col("outcome") == "b").then("response_b_id")
    return dict(votes.select("pair_id", side).iter_rows())


def answered(asked: pl.DataFrame) -> dict[str, str]:
    """What an annotator says who finds the lesser response id better: pair_id -> a or b."""
    low_is_a = pl.col("pair_id").str.slice(-1).is_in(list("02468ace"))
    return dict(asked.select("pair_id", pl.when(low_is_a).then(pl.lit("a")).otherwise(pl.lit("b"))).iter_rows())


def test_answers_to_a_jsonl_queue_count_as_votes_on_the_same_pairs(published: pl.DataFrame, tmp_path: Path) -> None:
    asked = queue(published, 0.8, 0.1, 100)
    tasks = [json.loads(line) for line in to_jsonl(asked).splitlines()]
    assert {(task["winner"], task["annotator"], task["shown_first"]) for task in tasks} == {("", "", "a")}
    verdicts = answered(asked)
    place = tmp_path / "queue.jsonl"
    place.write_text("".join(json.dumps(task | {"winner": verdicts[task["pair_id"]], "annotator": "eve"}) + "\n" for task in tasks))

    votes = ids_of(place)

    assert winners(votes) == dict(published.select("pair_id", pl.min_horizontal("chosen_id", "rejected_id")).iter_rows())
    assert votes.height == published.height == len(SHAPES)
    assert votes.select("annotator_id", "shown_first", "annotator_kind").unique().rows() == [("src/eve", "a", "human")]


def test_answers_exported_from_label_studio_count_as_votes_on_the_same_pairs(published: pl.DataFrame, tmp_path: Path) -> None:
    asked = queue(published, 0.8, 0.1, 100)
    tasks = [task["data"] for task in json.loads(to_label_studio(asked))]
    verdicts = answered(asked)
    small, full = tmp_path / "min.json", tmp_path / "full.json"
    beside = {"id": 7, "annotation_id": 8, "created_at": "2024-03-09T21:52:49.513742Z", "lead_time": 3.2}
    small.write_text(json.dumps([task | beside | {"winner": verdicts[task["pair_id"]], "annotator": 3} for task in tasks]))
    given_ = [{"type": "choices", "from_name": "winner", "to_name": "shown_a"}]
    annotated = [
        {
            "id": 7,
            "data": task,
            "annotations": [{"completed_by": 3, "result": [given_[0] | {"value": {"choices": [verdicts[task["pair_id"]]]}}]}],
        }
        for task in tasks
    ]
    full.write_text(json.dumps(annotated))

    for votes in (ids_of(small), ids_of(full, fields=LABEL_STUDIO_FIELDS)):
        assert winners(votes) == dict(published.select("pair_id", pl.min_horizontal("chosen_id", "rejected_id")).iter_rows())
        assert votes["annotator_id"].unique().to_list() == ["src/3"]


def test_the_labelling_config_shows_fields_that_every_task_has(published: pl.DataFrame) -> None:
    shown = {part.split('"')[0] for part in LABEL_STUDIO_CONFIG.split('value="$')[1:]}
    assert shown == {"prompt", "response_a", "response_b"}
    for task in json.loads(to_label_studio(queue(published, 0.8, 0.1, 100))):
        assert all(task["data"][name] for name in shown)


def test_a_question_left_open_is_no_vote(published: pl.DataFrame, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in to_jsonl(queue(published, 0.8, 0.1, 3)).splitlines()]
    lines[0] |= {"winner": "tie", "annotator": "eve"}
    place = tmp_path / "queue.jsonl"
    place.write_text("".join(json.dumps(line) + "\n" for line in lines))
    read = ingest_place(str(place))
    assert read.judgements["outcome"].to_list() == ["tie"]
    assert read.reasons() == [(1, "missing_field", "winner"), (2, "missing_field", "winner")]


def test_which_answer_is_a_does_not_depend_on_the_label(published: pl.DataFrame) -> None:
    other = {"chosen": "rejected", "rejected": "chosen"}
    flipped = published.rename({f"{one}{part}": f"{two}{part}" for one, two in other.items() for part in ("", "_id")})
    one, two = (queue(pairs, 0.8, 0.1, 100).sort("pair_id").select("pair_id", "response_a", "response_b") for pairs in (published, flipped))
    assert one.equals(two)


def test_the_chosen_answer_is_a_in_about_half_of_the_questions() -> None:
    pairs = known(p_chosen=[0.6] * 256).with_columns(rejected=pl.lit([message("assistant", "worse")]))
    asked = queue(pairs, 0.8, 0.1, 256)
    assert asked["response_a"].list.first().struct.field("content").eq("x").sum() == 128
