"""A published version as a source: its votes come back on the pairs that counted them."""

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from pipeline import identity
from pipeline.errors import UnreadableFileError
from pipeline.ingest.published import count_votes, moved_votes, read_votes
from pipeline.pairing import mark_moved, pair_up
from tests.versions import publish, sample, sample_with_merges

Rows = dict[str, list[dict[str, Any]]]


def votes_file(tmp_path: Path, rows: Rows) -> tuple[str, str]:
    publish(str(tmp_path), rows)
    folder = tmp_path / "v000001"
    (place,) = (folder / "judgements").glob("*.parquet")
    return str(place), str(folder)


def read(tmp_path: Path, rows: Rows, limit: int | None = None) -> pl.DataFrame:
    place, folder = votes_file(tmp_path, rows)
    return pl.concat(read_votes(place, folder, "again", "file", limit))


def by_id(votes: pl.DataFrame) -> dict[str, dict[str, Any]]:
    return {row["base_id"]: row for row in votes.to_dicts()}


def test_the_votes_of_published_pairs_come_and_no_others(tmp_path: Path) -> None:
    votes = read(tmp_path, sample())

    assert votes.select("base_id", "pair_id", "source_row", "source_split").rows() == [
        ("j1", "p1", 0, "train"),
        ("j2", "p1", 2, "train"),
        ("j3", "p2", 3, "validation"),
    ]
    assert votes.select("moved_from", "moved_a_id").rows() == [(None, None)] * 3


def test_votes_merged_into_a_published_pair_come_on_its_prompt_and_answers_with_their_sides_in_place(tmp_path: Path) -> None:
    votes = by_id(read(tmp_path, sample_with_merges()))

    assert set(votes) == {"j1", "j2", "j3", "j5", "j6"}
    own, straight, exchanged = votes["j3"], votes["j5"], votes["j6"]
    same = ("pair_id", "prompt_id", "prompt", "tools", "criterion", "context", "source_split")
    assert all(straight[name] == exchanged[name] == own[name] for name in same)
    sides = ("response_a", "response_a_id", "response_b", "response_b_id")
    assert [straight[name] for name in sides] == [own[name] for name in sides]
    assert [exchanged[name] for name in sides] == [own[name] for name in (*sides[2:], *sides[:2])]
    assert (straight["outcome"], straight["shown_first"], straight["model_a"], straight["model_b"]) == ("a", "b", "m", None)
    assert (exchanged["outcome"], exchanged["annotator_id"]) == ("b", "ann-j6")
    assert (straight["moved_from"], straight["moved_a_id"]) == ("p5", "rc")
    assert (exchanged["moved_from"], exchanged["moved_a_id"]) == ("p5", "rd")


def test_the_answers_for_which_merged_votes_stand_may_be_the_rejected_one(tmp_path: Path) -> None:
    rows = sample_with_merges()
    rows["judgements"][-2]["merged_a"], rows["judgements"][-3]["merged_a"] = "ra", "rb"

    votes = by_id(read(tmp_path, rows))

    assert (votes["j5"]["response_a_id"], votes["j5"]["response_b_id"]) == ("rb", "ra")
    assert votes["j5"]["response_a"] == votes["j3"]["response_b"]
    assert votes["j6"]["response_a"] == votes["j3"]["response_a"]


def test_a_pair_has_the_same_votes_again_and_no_merges(tmp_path: Path) -> None:
    votes = read(tmp_path, sample_with_merges())
    judgements = mark_moved(identity.number_votes(votes), moved_votes(votes))

    pair = pair_up(judgements).filter(pl.col("pair_id") == "p2").to_dicts()[0]

    assert (pair["votes_low"], pair["votes_high"], pair["n_votes"], pair["n_annotators"]) == (3, 0, 3, 3)
    assert pair["records"] == ["j3", "j5", "j6"]
    assert judgements["is_copy"].to_list() == [False] * 5
    assert judgements["merged_into"].null_count() == 5


@pytest.mark.parametrize(("rows", "votes"), [(sample, 3), (sample_with_merges, 5)])
def test_another_reader_counts_as_many(tmp_path: Path, rows: Any, votes: int) -> None:
    place, folder = votes_file(tmp_path, rows())

    assert count_votes(place, folder) == sum(part.height for part in read_votes(place, folder, "again", "file")) == votes


def test_a_limited_run_moves_only_what_it_reads(tmp_path: Path) -> None:
    votes = read(tmp_path, sample_with_merges(), limit=4)

    assert votes["base_id"].to_list() == ["j1", "j2", "j3", "j5"]
    assert moved_votes(votes).rows() == [("j5", "p2", "rc", "ra", "rb")]


def test_a_version_from_before_merges_can_be_read(tmp_path: Path) -> None:
    place, folder = votes_file(tmp_path, sample())
    table = pq.read_table(place)
    pq.write_table(table.drop_columns(["merged_into", "merged_a", "model_scores"]), place)

    votes = pl.concat(read_votes(place, folder, "again", "file"))

    assert (votes["base_id"].to_list(), count_votes(place, folder)) == (["j1", "j2", "j3"], 3)


def test_scores_of_models_come_back_with_their_vote_on_the_pair_that_counts_it(tmp_path: Path) -> None:
    rows = sample_with_merges()
    for one in rows["judgements"]:
        one["model_scores"] = [{"model": "rm", "a": 2.0, "b": 1.0}] if one["judgement_id"] in ("j5", "j6") else None
    votes = read(tmp_path, rows)
    judgements = mark_moved(identity.number_votes(votes), moved_votes(votes))

    pair = pair_up(judgements).filter(pl.col("pair_id") == "p2").to_dicts()[0]

    # j5 stands with its first answer for the pair's, j6 with its second.
    assert [(one["low"], one["high"]) for one in pair["model_scores"]] == [(1.0, 2.0), (2.0, 1.0)]
    assert by_id(votes)["j3"]["model_scores"] is None


def test_a_version_without_pairs_has_no_votes(tmp_path: Path) -> None:
    rows = sample()
    rows |= {"train": [], "validation": []}
    place, folder = votes_file(tmp_path, rows)

    assert list(read_votes(place, folder, "again", "file")) == []
    assert count_votes(place, folder) == 0


def test_an_altered_page_is_refused_wherever_it_is_and_its_file_is_named(tmp_path: Path) -> None:
    place, folder = votes_file(tmp_path, sample())
    whole = Path(place).read_bytes()
    pages = [column for group in [pq.ParquetFile(place).metadata.row_group(0)] for column in map(group.column, range(group.num_columns))]
    for page in [column for column in pages if column.path_in_schema.startswith(("response_a.", "outcome"))]:
        content = bytearray(whole)
        content[page.data_page_offset + page.total_compressed_size // 2] ^= 1
        Path(place).write_bytes(content)
        with pytest.raises(UnreadableFileError, match=r"judgements-00000-of-00001\.parquet: was altered or cut after it was published"):
            list(read_votes(place, folder, "again", "file"))


def test_batches_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read(tmp_path / "one", sample_with_merges())
    monkeypatch.setattr("pipeline.ingest.published.BATCH_ROWS", 2)

    assert read(tmp_path / "two", sample_with_merges()).equals(whole)


def test_verdicts_that_a_run_asked_judges_for_are_told_apart(tmp_path: Path) -> None:
    rows = sample()
    rows["judgements"][0]["source"] = "judge:panel"

    assert read(tmp_path, rows).select("base_id", "source").rows() == [("j1", "judge:again"), ("j2", "again"), ("j3", "again")]
