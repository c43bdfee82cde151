"""Train, validation and test, by prompt cluster."""

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
    count_moves,
    join_clusters,
    most_held_out,
    reduce_splits,
    stratify,
    summarise_prompts,
    summarise_splits,
    summarise_strata,
)

NEW = pl.DataFrame(schema={"prompt_id": pl.String, "split": pl.String, "before": pl.String})  # no earlier version
ALONE = pl.DataFrame(schema={"prompt_cluster_id": pl.String, "joined_cluster_id": pl.String})


def prompts(*texts: str | None, splits: list[list[str]] | None = None) -> pl.DataFrame:
    """One pair for each prompt; None is a pair without a prompt."""
    n = len(texts)
    return pl.DataFrame(
        {
            "pair_id": [f"p{i}" for i in range(n)],
            "prompt_id": [f"prompt {t}" for t in texts],
            "prompt": [[message("user", t)] if t is not None else [] for t in texts],
            "chosen_id": [f"c{i}" for i in range(n)],
            "rejected_id": [f"r{i}" for i in range(n)],
            "source_splits": splits or [[]] * n,
        },
        schema_overrides={"pair_id": pl.String, "prompt_id": pl.String, "prompt": MESSAGES_PL, "source_splits": pl.List(pl.String)},
    )


def message(role: str, content: str) -> dict[str, str | None]:
    return {"role": role, "content": content, "name": None, "tool_calls": None, "tool_call_id": None, "reasoning_content": None}


def clusters(pairs: pl.DataFrame) -> list[str]:
    return add_cluster(pairs)["prompt_cluster_id"].to_list()


def split(pairs: pl.DataFrame, share: float = 0.05) -> list[str]:
    clustered = add_cluster(pairs)
    assigned = reduce_splits([summarise_splits(clustered, NEW)], ALONE)
    return assign_split(clustered, PublishConfig(validation_share=share), assigned)["split"].to_list()


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
        "Validation",
        "valid",
        "val",
        "dev",
        "eval",
        "heldout",
        "held_out",
        "held-out",
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


@pytest.mark.parametrize("name", ["test", "Tests", "test_prefs", "ood-test", "testing", "test2"])
def test_what_its_source_calls_a_test_set_is_test(name: str) -> None:
    assert split(prompts("a", "b", "A ", splits=[["train", name], ["train"], ["dev"]]), share=0.0) == ["test", "train", "test"]


@pytest.mark.parametrize("name", ["train", "latest", "contest", "developer", "value", "train_sft", "greatest"])
def test_other_split_names_do_not_hold_out(name: str) -> None:
    assert split(prompts("a", splits=[[name]]), share=0.0) == ["train"]


def test_the_first_eight_bytes_of_the_cluster_decide() -> None:
    half = "8000000000000000"
    pairs = pl.DataFrame({"prompt_cluster_id": [half + "0" * 16, "7" + "f" * 15 + "f" * 16, "0" * 32, "f" * 32]})

    result = assign_split(pairs, PublishConfig(validation_share=0.5), reduce_splits([], ALONE))

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
        assigned = reduce_splits([summarise_splits(part, NEW) for part in clustered], joined)
        return pl.concat([assign_split(join_clusters(part, joined), config, assigned) for part in clustered]).sort("pair_id")

    in_parts = assigned([pairs.filter(place == p) for p in range(3)])

    assert_frame_equal(in_parts, assigned([pairs]))
    assert in_parts.group_by("prompt_cluster_id").agg(pl.col("split").n_unique()).filter(pl.col("split") > 1).height == 0
    splits = in_parts.group_by("prompt_text").agg(pl.col("split").unique(), held_out=pl.col("source_splits").list.contains("test").any())
    said = {text: (tuple(split), held_out) for text, split, held_out in splits.drop_nulls().iter_rows()}
    assert all(said[one][0] == said[other][0] for one, other in near if {one, other} <= set(said))
    assert all(split == ("test",) for split, held_out in said.values() if held_out)


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


def named(*rows: tuple[str, str]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema={"prompt_cluster_id": pl.String, "split": pl.String}, orient="row")


def test_where_clusters_join_the_more_held_out_split_wins() -> None:
    joined = pl.DataFrame({"prompt_cluster_id": ["a", "b", "d"], "joined_cluster_id": ["x", "x", "y"]})
    parts = [named(("a", "train"), ("c", "train")), named(("b", "validation"), ("d", "validation"), ("d", "test"))]

    assert reduce_splits(parts, joined).rows() == [("c", "train"), ("x", "validation"), ("y", "test")]
    assert reduce_splits([], ALONE).rows() == []


def test_a_known_prompt_keeps_its_split_and_a_new_one_joins_its_cluster() -> None:
    pairs = add_cluster(prompts("a", "A ", "b", "c"))
    earlier = pl.DataFrame({"prompt_id": ["prompt a", "prompt b", "gone"], "split": ["train", "test", "validation"]})

    for share in (0.0, 0.999):
        assigned = reduce_splits([summarise_splits(pairs, earlier)], ALONE)
        found = assign_split(pairs, PublishConfig(validation_share=share), assigned)["split"].to_list()
        assert found == ["train", "train", "test", "validation" if share else "train"]


def test_test_is_drawn_first_then_validation() -> None:
    ids = [
        "0" * 32,
        "1999999999999999" + "0" * 16,
        "199999999999999a" + "0" * 16,
        "4ccccccccccccccc" + "0" * 16,
        "4ccccccccccccccd" + "0" * 16,
    ]
    pairs = pl.DataFrame({"prompt_cluster_id": ids})

    found = assign_split(pairs, PublishConfig(test_share=0.1, validation_share=0.2), named())["split"].to_list()

    assert found == ["test", "test", "validation", "validation", "train"]


def test_earlier_versions_that_differ_agree_on_the_more_held_out_split() -> None:
    rows = [("p", "train", "train"), ("p", "test", None), ("q", "train", "train"), ("q", "validation", "validation"), ("r", "train", None)]
    earlier = pl.DataFrame(rows, schema=NEW.schema, orient="row")

    assert most_held_out(earlier).rows() == [("p", "test", "train"), ("q", "validation", "validation"), ("r", "train", None)]


def test_moves_are_counted_by_prompt_against_the_version_before() -> None:
    now = pl.DataFrame({"prompt_id": ["p", "p", "q", "r", "s"], "split": ["test", "test", "train", "validation", "train"]})
    earlier = pl.DataFrame(
        [("p", "test", "train"), ("q", "train", "train"), ("r", "validation", "train"), ("s", "train", None), ("t", "test", "test")],
        schema=NEW.schema,
        orient="row",
    )

    assert count_moves(now, earlier).rows() == [("train", "test", 1), ("train", "validation", 1)]


def of_sources(*sizes: int) -> pl.DataFrame:
    """One pair and cluster a row: as many of source a, b ... as the sizes say."""
    sources = [[name] for name, size in zip("abc", sizes, strict=False) for _ in range(size)]
    return add_cluster(prompts(*(f"prompt {i}" for i in range(sum(sizes))))).with_columns(sources=pl.Series(sources))


def stratified(pairs: pl.DataFrame, assigned: pl.DataFrame, **shares: float) -> pl.DataFrame:
    config = PublishConfig(stratify_by="source", **{"validation_share": 0.0, **shares})
    return assign_split(pairs, config, stratify([summarise_strata(pairs)], ALONE, assigned, config))


def counts(pairs: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Clusters by source and split."""
    found: dict[str, dict[str, int]] = {}
    for source, name, n in pairs.group_by(pl.col("sources").list.first(), "split").len().sort("sources", "split").iter_rows():
        found.setdefault(source, {})[name] = n
    return found


def test_stratified_shares_hold_within_every_source() -> None:
    found = counts(stratified(of_sources(100, 30, 10), named(), validation_share=0.1, test_share=0.2))

    assert found == {
        "a": {"test": 20, "train": 70, "validation": 10},
        "b": {"test": 6, "train": 21, "validation": 3},
        "c": {"test": 2, "train": 7, "validation": 1},
    }


def test_quotas_of_strata_add_up_to_the_share_of_all() -> None:
    # 0.25 of 5, 6 and 7 is 1.25, 1.5, 1.75: 4.5 of 18, rounded half up to 5; the largest remainders are those of c and b.
    found = counts(stratified(of_sources(5, 6, 7), named(), validation_share=0.25))

    assert {source: of["validation"] for source, of in found.items()} == {"a": 1, "b": 2, "c": 2}


def test_what_a_stratum_holds_out_already_counts_towards_its_share() -> None:
    pairs = of_sources(20)
    known = pairs["prompt_cluster_id"].head(3).sort().to_list()

    found = stratified(pairs, named(*((one, "validation") for one in known)), validation_share=0.1, test_share=0.1)

    assert counts(found) == {"a": {"test": 2, "train": 15, "validation": 3}}
    assert found["split"].head(3).to_list() == ["validation"] * 3


def test_a_cluster_belongs_to_the_source_with_most_of_its_pairs() -> None:
    pairs = add_cluster(prompts("x", "x", "x", "y", "y")).with_columns(
        sources=pl.Series([["b"], ["b"], ["a", "judge:j"], ["b", "a"], ["judge:j"]])
    )

    config = PublishConfig(stratify_by="source", validation_share=0.5)
    assigned = stratify([summarise_strata(pairs.head(2)), summarise_strata(pairs.tail(3))], ALONE, named(), config)

    # x is b's (two of three); y is a's, first by name. Half of one is 0.5 each: 1 of 2 in all, to the first by name.
    splits = dict(zip(pairs["prompt"].list.first().struct.field("content"), assign_split(pairs, config, assigned)["split"], strict=True))
    assert splits == {"x": "train", "y": "validation"}


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 11), st.sampled_from(["train", "train", "dev", "test"]), st.sampled_from("ab")), max_size=6),
        min_size=1,
        max_size=4,
    ),
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11), st.integers(0, 3)), max_size=5),
    st.lists(st.tuples(st.sampled_from([0.0, 0.3, 0.6]), st.sampled_from([0.0, 0.3])), min_size=4, max_size=4),
    st.sampled_from([None, "source"]),
)
@settings(max_examples=25, deadline=None)
def test_over_any_sequence_of_added_data_nothing_held_out_becomes_train_and_no_cluster_crosses(
    added: list[list[tuple[int, str, str]]], near: list[tuple[int, int, int]], shares: list[tuple[float, float]], strata: Any
) -> None:
    rows: list[tuple[int, str, str]] = []
    earlier, rank = NEW, {"train": 0, "validation": 1, "test": 2}
    for step, more in enumerate(added):
        rows += more
        validation, test = shares[step]
        config = PublishConfig(validation_share=validation, test_share=test, stratify_by=strata)
        edges = pl.DataFrame(
            [(f"t{a}", f"t{b}") for a, b, when in near if when <= step], schema={"left": pl.String, "right": pl.String}, orient="row"
        )
        pairs = add_cluster(prompts(*(f"text {n}" for n, _, _ in rows), splits=[[name] for _, name, _ in rows])).with_columns(
            prompt_text=pl.Series([f"t{n}" for n, _, _ in rows], dtype=pl.String),
            sources=pl.Series([[one] for *_, one in rows], dtype=pl.List(pl.String)),
        )
        place = pl.Series(range(len(rows)), dtype=pl.Int64) % 3

        def assigned(parts: list[pl.DataFrame]) -> pl.DataFrame:
            joined = prompt_clusters(pl.concat([summarise_prompts(part) for part in parts]), edges)  # noqa: B023 - called at once
            known = reduce_splits([summarise_splits(part, earlier) for part in parts], joined)  # noqa: B023
            if strata:
                known = stratify([summarise_strata(part) for part in parts], joined, known, config)  # noqa: B023
            return pl.concat([assign_split(join_clusters(part, joined), config, known) for part in parts]).sort("pair_id")  # noqa: B023

        now = assigned([pairs.filter(place == p) for p in range(3)])
        assert_frame_equal(now, assigned([pairs]))  # an increment, in parts or whole, with the same earlier splits

        assert now.group_by("prompt_cluster_id").agg(pl.col("split").n_unique()).filter(pl.col("split") > 1).is_empty()
        held_out = [
            (name, split)
            for (_, name, _), split in zip(
                rows, pairs.select("pair_id").join(now, on="pair_id", maintain_order="left")["split"], strict=True
            )
        ]
        assert all(split != "train" for name, split in held_out if name == "dev")
        assert all(split == "test" for name, split in held_out if name == "test")
        kept = now.select("prompt_id", "split").unique().join(earlier.select("prompt_id", "before"), on="prompt_id")
        assert all(rank[split] >= rank[before] for split, before in kept.select("split", "before").iter_rows())
        moved = count_moves(now, earlier)
        assert moved["prompts"].sum() == kept.filter(pl.col("split") != pl.col("before")).height
        earlier = now.select("prompt_id", "split", before="split").unique()


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
