"""What changed between two versions, and why."""

from pathlib import Path
from typing import Any

from pipeline import diff
from pipeline.queries import Tables, version_tables
from tests.versions import INPUTS, judged, paired, write

Rows = dict[str, list[dict[str, Any]]]
DROP = {"stage": "rules", "reason": "tie", "detail": "p_tie 0.5"}
NEAR = {"stage": "deduplicate", "reason": "near_duplicate", "score": 0.97, "threshold": 0.95, "detail": "cosine"}


def file_of(name: str, sha256: str = "0") -> dict[str, Any]:
    return {**INPUTS[0], "source_uri": name, "sha256": sha256 * 64}


def vote(pair_id: str, file: str, **given: Any) -> dict[str, Any]:
    return judged(f"j-{pair_id}", pair_id, 0, "a", **given) | {"source_uri": file}


def pair(part: str, pair_id: str, **given: Any) -> dict[str, Any]:
    return paired(part, pair_id, [f"j-{pair_id}"], given.pop("votes", (1, 0, 0)), prompt_id=f"prompt-{pair_id}", **given)


def tables(root: Path, rows: Rows, inputs: list[Any]) -> Tables:
    """A version's tables, as `open_version` gives them: no card and no report is needed to compare."""
    paths = [str(file["path"]) for file in write(str(root), rows)]
    return version_tables(str(root / "v000001"), paths, inputs, [])


def compared(folder: Path, old: Rows, new: Rows, inputs: tuple[list[Any], list[Any]] = ([], []), **options: Any) -> diff.Diff:
    return diff.compare(tables(folder / "old", old, inputs[0]), tables(folder / "new", new, inputs[1]), **options)


def told(found: diff.Diff) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in found.rows.to_pylist()]


def test_equal_versions_differ_in_nothing(tmp_path: Path) -> None:
    rows = {"train": [pair("train", "p1")], "dropped": [pair("dropped", "p2", split="train", **DROP)]}

    found = compared(tmp_path, rows, rows)

    assert (told(found), found.totals) == ([], [])
    assert found.counts == {"pairs_before": 1, "pairs_now": 1, "p_chosen_changed": 0, "weight_changed": 0}


def test_added_pairs_name_the_file_or_what_no_longer_drops_them(tmp_path: Path) -> None:
    old = {
        "train": [pair("train", "same")],
        "dropped": [
            pair("dropped", "tied", split="train", **DROP),
            pair("dropped", "near", split="train", **NEAR, witness_pair_id="same"),
        ],
    }
    new: Rows = {
        "train": [pair("train", name) for name in ("same", "tied", "near", "fresh", "grown", "odd")],
        "judgements": [vote("fresh", "b.jsonl"), vote("fresh", "a.jsonl"), vote("grown", "a.jsonl"), vote("odd", "c.jsonl")],
    }
    files = ([file_of("a.jsonl"), file_of("c.jsonl")], [file_of("a.jsonl", "1"), file_of("b.jsonl"), file_of("c.jsonl")])

    found = compared(tmp_path, old, new, files)

    assert told(found) == [
        ("added", "file changed", "a.jsonl", "grown", "prompt-grown", None, "train", None),
        ("added", "new file", "b.jsonl", "fresh", "prompt-fresh", None, "train", None),
        (
            "added", "no longer a near duplicate", "deduplicate, score 0.97, threshold 0.95: cosine", "near", "prompt-near",
            "dropped: near_duplicate", "train", "same",
        ),
        ("added", "no longer dropped: tie", "rules: p_tie 0.5", "tied", "prompt-tied", "dropped: tie", "train", None),
        ("added", "read or compared otherwise", "c.jsonl", "odd", "prompt-odd", None, "train", None),
    ]  # fmt: skip


def test_removed_pairs_name_what_drops_them_or_the_file_that_is_gone(tmp_path: Path) -> None:
    old: Rows = {
        "train": [pair("train", name) for name in ("gone", "merged", "tied", "voteless")],
        "judgements": [vote("gone", "b.jsonl")],
    }
    new = {
        "dropped": [
            pair("dropped", "tied", split="train", **DROP),
            pair("dropped", "merged", split="train", **NEAR, witness_pair_id="w"),
        ]
    }

    found = compared(tmp_path, old, new, ([file_of("b.jsonl")], []))

    assert [row[1:4] + row[5:] for row in told(found)] == [
        ("dropped: tie", "rules: p_tie 0.5", "tied", "train", "dropped: tie", None),
        ("file no longer read", "b.jsonl", "gone", "train", None, None),
        (
            "merged as a near duplicate",
            "deduplicate, score 0.97, threshold 0.95: cosine",
            "merged",
            "train",
            "dropped: near_duplicate",
            "w",
        ),
        ("read or compared otherwise", None, "voteless", "train", None, None),
    ]


def test_relabelled_pairs_say_how_votes_changed_as_seen_from_the_answer_chosen_now(tmp_path: Path) -> None:
    turned = {"chosen_id": "rb", "rejected_id": "ra"}
    old = {"train": [pair("train", n, votes=(2, 1, 0), votes_admitted=3) for n in ("votes", "admitted", "weighed")]}
    new = {
        "train": [
            pair("train", "votes", votes=(3, 2, 0), votes_admitted=5, **turned),
            pair("train", "admitted", votes=(1, 2, 0), votes_admitted=1, **turned),
            pair("train", "weighed", votes=(1, 2, 0), votes_admitted=3, **turned),
        ]
    }

    found = compared(tmp_path, old, new)

    assert [row[:4] for row in told(found)] == [
        ("relabelled", "other votes admitted", "votes for, against, tie: 1, 2, 0 before; 1, 2, 0 now", "admitted"),
        ("relabelled", "voters weighed otherwise", "votes for, against, tie: 1, 2, 0 before; 1, 2, 0 now", "weighed"),
        ("relabelled", "votes changed", "votes for, against, tie: 1, 2, 0 before; 3, 2, 0 now", "votes"),
    ]


def test_moved_pairs_name_the_held_out_pair_or_file_that_moved_them(tmp_path: Path) -> None:
    old: Rows = {
        "train": [pair("train", "joins"), pair("train", "named"), pair("train", "drawn"), pair("train", "formed")],
        "validation": [pair("validation", "held")],
    }
    new: Rows = {
        "validation": [pair("validation", name, prompt_cluster_id="c1") for name in ("joins", "held")] + [pair("validation", "drawn")],
        "test": [pair("test", "named")],
        "other": [pair("other", "formed", split="train")],
        "judgements": [vote("named", "a.jsonl", source_split="test_prefs"), vote("drawn", "a.jsonl", source_split="train")],
    }

    found = compared(tmp_path, old, new)

    assert [row[:4] + row[5:] for row in told(found)] == [
        ("moved", "assigned otherwise", None, "drawn", "train", "validation", None),
        ("moved", "form changed", None, "formed", "train", "other (train)", None),
        ("moved", "held out by a source", "a.jsonl", "named", "train", "test", None),
        ("moved", "joined held-out prompts", None, "joins", "train", "validation", "held"),
    ]
    assert found.totals == [{"change": "moved", "reason": reason, "pairs": 1} for _, reason, *_ in told(found)]


def test_a_pair_can_be_relabelled_and_moved_and_changed_numbers_are_counted(tmp_path: Path) -> None:
    old = {"train": [pair("train", "a"), pair("train", "b", p_chosen=0.6), pair("train", "c", weight=2.0)]}
    new = {
        "train": [pair("train", "b"), pair("train", "c")],
        "validation": [pair("validation", "a", chosen_id="rb", rejected_id="ra")],
    }

    found = compared(tmp_path, old, new)

    assert [row[0] for row in told(found)] == ["relabelled", "moved"]
    assert found.counts == {"pairs_before": 3, "pairs_now": 3, "p_chosen_changed": 1, "weight_changed": 1}


def test_a_limit_and_a_change_narrow_the_rows_and_not_the_totals(tmp_path: Path) -> None:
    old = {"train": [pair("train", f"o{n}") for n in range(3)]}
    new = {"train": [pair("train", f"n{n}") for n in range(4)]}

    both = tables(tmp_path / "old", old, []), tables(tmp_path / "new", new, [])
    found = diff.compare(*both, limit=2)

    assert [row[3] for row in told(found)] == ["n0", "n1", "o0", "o1"]
    assert [row[3] for row in told(diff.compare(*both, change="removed"))] == ["o0", "o1", "o2"]
    assert found.totals == diff.totals(*both)
    assert [row["pairs"] for row in found.totals] == [4, 3]
