"""Train and validation, by prompt cluster."""

from hashlib import blake2b
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from pipeline.config import PublishConfig
from pipeline.dedup.clusters import prompt_clusters
from pipeline.schemas import MESSAGES_PL
from pipeline.split import (
    add_cluster,
    assign_part,
    assign_split,
    join_clusters,
    reduce_held_out,
    summarise_held_out,
    summarise_prompts,
)

ALONE = pl.DataFrame(schema={"prompt_cluster_id": pl.String, "joined_cluster_id": pl.String})


def prompts(*texts: str | None, splits: list[list[str]] | None = None) -> pl.DataFrame:
    """One pair for each prompt; None is a pair without a prompt."""
    n = len(texts)
    return pl.DataFrame(
        {
            "pair_id": [f"p{i}" for i in range(n)],
            "prompt": [[message("user", t)] if t is not None else [] for t in texts],
            "chosen_id": [f"c{i}" for i in range(n)],
            "rejected_id": [f"r{i}" for i in range(n)],
            "source_splits": splits or [[]] * n,
        },
        schema_overrides={"prompt": MESSAGES_PL, "source_splits": pl.List(pl.String)},
    )


def message(role: str, content: str) -> dict[str, str | None]:
    return {"role": role, "content": content, "name": None, "tool_calls": None, "tool_call_id": None, "reasoning_content": None}


def clusters(pairs: pl.DataFrame) -> list[str]:
    return add_cluster(pairs)["prompt_cluster_id"].to_list()


def split(pairs: pl.DataFrame, share: float = 0.05) -> list[str]:
    clustered = add_cluster(pairs)
    held_out = reduce_held_out([summarise_held_out(clustered)], ALONE)
    return assign_split(clustered, PublishConfig(validation_share=share), held_out)["split"].to_list()


def test_prompts_that_differ_only_in_case_and_white_space_are_one_cluster() -> None:
    ids = clusters(prompts("Hello  there", " hello\nTHERE ", "Hello you", "STRASSE", "straße"))

    assert ids[0] == ids[1] != ids[2]
    assert ids[3] == ids[4]


def test_a_cluster_id_is_a_hash_of_content_that_never_changes() -> None:
    assert clusters(prompts("Hi  You")) == [blake2b(b"cluster\nuser: hi you", digest_size=16).hexdigest()]


def test_roles_and_turns_are_part_of_a_cluster() -> None:
    two_turns = prompts("x", "x").with_columns(
        prompt=pl.Series(
            [[message("user", "a"), message("assistant", "b")], [message("user", "a"), message("user", "b")]], dtype=MESSAGES_PL
        )
    )

    assert len(set(clusters(two_turns))) == 2


def test_pairs_without_a_prompt_are_clusters_by_their_two_answers_in_either_order() -> None:
    pairs = prompts(None, None, " ", None).with_columns(
        chosen_id=pl.Series(["a", "b", "a", "a"]), rejected_id=pl.Series(["b", "a", "b", "c"])
    )

    ids = clusters(pairs)

    assert ids[0] == ids[1] == ids[2] != ids[3]


def test_adding_clusters_twice_changes_nothing() -> None:
    once = add_cluster(prompts("a", "b"))

    assert_frame_equal(add_cluster(once), once)


@pytest.mark.parametrize(
    "name",
    [
        "test",
        "Validation",
        "valid",
        "val",
        "dev",
        "eval",
        "heldout",
        "held_out",
        "held-out",
        "test_prefs",
        "validation-2",
        "ood_dev",
        "dev1",
        "evaluation",
    ],
)
def test_data_that_its_source_holds_out_never_becomes_train(name: str) -> None:
    assert split(prompts("a", "b", "A ", splits=[["train", name], ["train"], ["train"]]), share=0.0) == [
        "validation",
        "train",
        "validation",
    ]


@pytest.mark.parametrize("name", ["train", "latest", "contest", "developer", "value", "train_sft", "greatest"])
def test_other_split_names_do_not_hold_out(name: str) -> None:
    assert split(prompts("a", splits=[[name]]), share=0.0) == ["train"]


def test_the_first_eight_bytes_of_the_cluster_decide() -> None:
    half = "8000000000000000"
    pairs = pl.DataFrame({"prompt_cluster_id": [half + "0" * 16, "7" + "f" * 15 + "f" * 16, "0" * 32, "f" * 32]})

    result = assign_split(pairs, PublishConfig(validation_share=0.5), reduce_held_out([], ALONE))

    assert result["split"].to_list() == ["train", "validation", "validation", "train"]


def test_a_share_of_clusters_is_held_out() -> None:
    share = split(prompts(*[f"prompt {i}" for i in range(2000)]), share=0.1).count("validation") / 2000

    assert share == pytest.approx(0.1, abs=0.03)


def test_a_larger_share_only_adds_to_validation() -> None:
    pairs = prompts(*[f"prompt {i}" for i in range(200)])

    small, large = split(pairs, share=0.1), split(pairs, share=0.3)

    assert all(b == "validation" for a, b in zip(small, large, strict=True) if a == "validation")


@given(
    st.lists(st.tuples(st.sampled_from(["a", "A", "b ", "b", "c", "d", None]), st.booleans(), st.integers(0, 2)), max_size=12),
    st.sets(st.sampled_from([("a", "b"), ("b", "c"), ("d", "A")])),
)
@settings(max_examples=60, deadline=None)
def test_no_cluster_crosses_the_split_however_the_pairs_are_partitioned(
    rows: list[tuple[str | None, bool, int]], near: set[tuple[str, str]]
) -> None:
    texts = pl.Series("prompt_text", [r[0] and r[0].strip() for r in rows], pl.String)
    pairs = prompts(*[r[0] for r in rows], splits=[["test"] if r[1] else ["train"] for r in rows] or None).with_columns(texts)
    place = pl.Series([r[2] for r in rows], dtype=pl.Int64)
    edges = pl.DataFrame(sorted(near), schema={"left": pl.String, "right": pl.String}, orient="row")
    config = PublishConfig(validation_share=0.3)

    def assigned(parts: list[pl.DataFrame]) -> pl.DataFrame:
        clustered = [add_cluster(part) for part in parts]
        joined = prompt_clusters(pl.concat([summarise_prompts(part) for part in clustered]), edges)
        held_out = reduce_held_out([summarise_held_out(part) for part in clustered], joined)
        return pl.concat([assign_split(join_clusters(part, joined), config, held_out) for part in clustered]).sort("pair_id")

    in_parts = assigned([pairs.filter(place == p) for p in range(3)])

    assert_frame_equal(in_parts, assigned([pairs]))
    assert in_parts.group_by("prompt_cluster_id").agg(pl.col("split").n_unique()).filter(pl.col("split") > 1).height == 0
    splits = in_parts.group_by("prompt_text").agg(pl.col("split").unique(), held_out=pl.col("source_splits").list.contains("test").any())
    said = {text: (tuple(split), held_out) for text, split, held_out in splits.drop_nulls().iter_rows()}
    assert all(said[one][0] == said[other][0] for one, other in near if {one, other} <= set(said))
    assert all(split == ("validation",) for split, held_out in said.values() if held_out)


def test_prompts_without_a_near_duplicate_keep_their_cluster() -> None:
    pairs = add_cluster(prompts("a", "b", None)).with_columns(prompt_text=pl.Series(["a", "b", None]))
    summary = summarise_prompts(pl.concat([pairs, pairs]))

    assert_frame_equal(join_clusters(pairs, ALONE), pairs)
    assert sorted(summary["prompt_text"]) == ["a", "b"]
    assert join_clusters(pairs, pairs.select("prompt_cluster_id", joined_cluster_id=pl.lit("x")).head(1))[
        "prompt_cluster_id"
    ].to_list() == [
        "x",
        *pairs["prompt_cluster_id"].to_list()[1:],
    ]


def test_what_is_near_a_held_out_prompt_is_held_out() -> None:
    joined = pl.DataFrame({"prompt_cluster_id": ["a", "b"], "joined_cluster_id": ["x", "x"]})

    assert reduce_held_out([pl.Series("prompt_cluster_id", ["a", "c"])], joined).to_list() == ["c", "x"]


def test_held_out_clusters_are_distinct_and_sorted() -> None:
    parts = [pl.Series("prompt_cluster_id", ["b", "a"]), pl.Series("prompt_cluster_id", ["b"])]

    assert reduce_held_out(parts, ALONE).to_list() == ["a", "b"]
    assert reduce_held_out([], ALONE).to_list() == []


PAIRS = pl.Schema({"prompt": MESSAGES_PL, "chosen": MESSAGES_PL, "rejected": MESSAGES_PL, "tools": pl.String(), "split": pl.String()})


def part(**changes: Any) -> str:
    """The part of one validation pair, plain but for what is changed."""
    sides = {"prompt": [message("user", "q")], "chosen": [message("assistant", "x")], "rejected": [message("assistant", "y")]}
    row = {**sides, "tools": None, "split": "validation", **changes}
    return str(assign_part(pl.DataFrame([row], schema=PAIRS))["part"].item())


def test_a_prompt_that_ends_with_the_user_and_two_single_answers_go_where_their_split_says() -> None:
    system, earlier, user = message("system", "s"), message("assistant", "b"), message("user", "q")

    assert part() == "validation"
    assert part(prompt=[system, user, earlier, user]) == "validation"
    assert part(chosen=[message("assistant", "")]) == "validation"


CALL = {**message("assistant", ""), "tool_calls": "[]"}


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": []},
        {"prompt": [message("system", "s")]},
        {"prompt": [message("system", "s"), message("user", " \u200b")]},
        {"prompt": [message("user", "q"), message("assistant", "so far")]},
        {"prompt": [message("user", "q"), CALL, message("user", "q")]},
        {"prompt": [message("user", "q"), message("tool", "4"), message("user", "q")]},
        {"tools": "[]"},
        *[
            {side: answer}
            for side in ("chosen", "rejected")
            for answer in (
                [],
                [message("user", "x")],
                [message("assistant", "x"), message("user", "more")],
                [CALL],
                [message("tool", "4")],
            )
        ],
    ],
)
def test_a_pair_that_a_plain_trainer_would_mangle_is_kept_apart(changes: dict[str, Any]) -> None:
    assert part(**changes) == "other"


def test_no_pairs_have_no_parts() -> None:
    assert assign_part(pl.DataFrame(schema=PAIRS))["part"].to_list() == []
