import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import SourceConfig
from pipeline.errors import LayoutError, UnreadableFileError
from pipeline.ingest import count_rows, detect, read_records
from pipeline.ingest.files import readers
from pipeline.ingest.files.readers import read_rows
from pipeline.ingest.fragments import Json

Ingest = Callable[..., Any]
ROWS = [{"prompt": f"p{i}", "chosen": f"good {i}", "rejected": f"bad {i}", "id": i} for i in range(5)]
LINES = "\n".join(json.dumps(row) for row in ROWS)
CSV = "prompt,chosen,rejected,id\n" + "\n".join(f"p{i},good {i},bad {i},{i}" for i in range(5))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", LINES),
        ("a.ndjson", LINES + "\n"),
        ("a.jsonl.gz", LINES),
        ("a.json", LINES),
        ("a.json", json.dumps(ROWS)),
        ("a.json", json.dumps(ROWS, indent=2)),
        ("a.json.gz", json.dumps(ROWS)),
        ("a.json", json.dumps({key: [row[key] for row in ROWS] for key in ROWS[0]})),
        ("a.json", json.dumps({key: [row[key] for row in ROWS] for key in ROWS[0]}, indent=1)),
        ("a.json", json.dumps({key: {str(i): row[key] for i, row in enumerate(ROWS)} for key in ROWS[0]})),
        ("a.csv", CSV),
        ("a.csv.gz", CSV + "\n"),
        ("a.tsv", CSV.replace(",", "\t")),
        ("a.csv", CSV.replace(",", "\t")),
        ("a.json", "\ufeff" + json.dumps(ROWS)),
        ("a.json.gz", "\ufeff" + json.dumps(ROWS)),
        ("a[1]*.json", json.dumps(ROWS)),
    ],
)
def test_every_format_gives_the_same_judgements(ingest: Ingest, name: str, content: str) -> None:
    read = ingest(content, name)
    assert read.judgements["source_row"].to_list() == [0, 1, 2, 3, 4]
    assert read.said("prompt") == [[("user", f"p{i}")] for i in range(5)]
    assert read.said("response_a") == [[("assistant", f"good {i}")] for i in range(5)]
    assert read.said("response_b") == [[("assistant", f"bad {i}")] for i in range(5)]
    ids = [str(json.loads(one)["id"]) for one in read.judgements["extra"]]
    assert ids == ["0", "1", "2", "3", "4"]


def test_parquet_is_read_plain_and_gzipped(tmp_path: Path, ingest: Ingest) -> None:
    plain = tmp_path / "x.parquet"
    pl.DataFrame(ROWS).write_parquet(plain)
    for name in ("a.parquet", "a.parquet.gz"):
        read = ingest(plain.read_bytes(), name)
        assert read.said("response_b") == [[("assistant", f"bad {i}")] for i in range(5)]
        assert read.judgements["extra"].to_list() == [f'{{"id":{i}}}' for i in range(5)]


def test_odd_parquet_types_become_json_text(tmp_path: Path, ingest: Ingest) -> None:
    table = pa.table(
        {
            "prompt": pa.array(["p", "p"]).dictionary_encode(),
            "chosen": pa.array([b"good", b"fine"]),
            "rejected": ["bad", "bad"],
            "nan": [float("nan"), 1.5],
            "bytes": pa.array([b"\xff", b"\x00"]),
            "when": pa.array([0, None], pa.timestamp("us", "UTC")),
            "took": pa.array([1, None], pa.duration("s")),
            "source_row": [7, 8],
        }
    )
    pq.write_table(table, tmp_path / "x.parquet")
    read = ingest((tmp_path / "x.parquet").read_bytes(), "a.parquet")
    assert read.said("response_a") == [[("assistant", "good")], [("assistant", "fine")]]
    extras = [json.loads(one) for one in read.judgements["extra"]]
    assert [one["source_row"] for one in extras] == [7, 8]
    assert "nan" not in extras[0]
    assert extras[1]["nan"] == 1.5


@pytest.mark.parametrize(
    "content",
    [
        LINES.replace("\n", "\r\n"),
        "\ufeff" + LINES,
        LINES.replace("\n", "\n\n  \n"),
        "\n\n" + LINES + "\n\n",
    ],
    ids=["crlf", "bom", "blank lines", "blank ends"],
)
def test_line_ends_blank_lines_and_marks_do_not_matter(ingest: Ingest, content: str) -> None:
    assert ingest(content).said("prompt") == [[("user", f"p{i}")] for i in range(5)]


def test_rows_of_json_lines_are_numbered_by_physical_line(ingest: Ingest) -> None:
    assert ingest(LINES.replace("\n", "\n\n")).judgements["source_row"].to_list() == [0, 2, 4, 6, 8]


def test_bad_lines_are_quarantined_and_the_rest_survives(ingest: Ingest) -> None:
    good = json.dumps(ROWS[0]).encode()
    content = b"\n".join([good, b'{"prompt": "p", ', b"[1, 2]", good.replace(b"p0", b"\xff\xfe"), b'{"a": "\\ud800"}', b"3", good])
    read = ingest(content)
    assert read.judgements["source_row"].to_list() == [0, 6]
    assert read.reasons() == [
        (1, "unparsable_row", None),
        (2, "not_an_object", None),
        (3, "invalid_utf8", None),
        (4, "unparsable_row", None),
        (5, "not_an_object", None),
    ]
    assert read.quarantined["raw"][1] == "[1, 2]"
    assert "\ufffd" in read.quarantined["raw"][2]


def test_a_file_of_bad_rows_only_is_all_quarantine_and_has_no_layout(ingest: Ingest, tmp_path: Path) -> None:
    read = ingest("{bad\n{worse\n")
    assert [reason for _, reason, _ in read.reasons()] == ["unparsable_row"] * 2
    assert detect(str(tmp_path / "data.jsonl"), "x", SourceConfig(name="s", uri="x")) is None


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv", "a.jsonl.gz"])
@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_file_is_no_rows(ingest: Ingest, name: str, content: str) -> None:
    assert ingest(content, name).rows == 0


@pytest.mark.parametrize(("name", "content"), [("a.json", "[]"), ("a.csv", "prompt,chosen,rejected\n")])
def test_a_file_with_a_frame_but_no_rows_is_no_rows(ingest: Ingest, name: str, content: str) -> None:
    assert ingest(content, name).rows == 0


def test_a_quarantined_row_is_kept_as_text_cut_at_100_000_characters(ingest: Ingest) -> None:
    read = ingest([ROWS[0], {"prompt": "p", "chosen": 1, "rejected": "x" * 200_000}])
    assert read.quarantined["raw"].str.len_chars().to_list() == [100_000]


def test_array_elements_that_are_no_objects_are_quarantined(ingest: Ingest) -> None:
    read = ingest(json.dumps([ROWS[0], 3, None, ROWS[1]]), "a.json")
    assert read.judgements["source_row"].to_list() == [0, 3]
    assert read.reasons() == [(1, "not_an_object", None), (2, "not_an_object", None)]


def test_csv_rows_with_another_number_of_cells_are_quarantined_under_their_row(ingest: Ingest) -> None:
    content = 'prompt,chosen,rejected\np0,"good\n\n0",bad 0\n\np1\n   \np2,good 2,bad 2\np3,a,b,c\np4,"say ""hi""",""\n'
    read = ingest(content, "a.csv")
    assert read.judgements["source_row"].to_list() == [0, 3, 5]
    assert read.said("response_a") == [[("assistant", "good\n\n0")], [("assistant", "good 2")], [("assistant", 'say "hi"')]]
    assert read.said("response_b")[2] == [("assistant", "")]
    assert read.reasons() == [(1, "wrong_column_count", None), (2, "wrong_column_count", None), (4, "wrong_column_count", None)]
    assert read.quarantined["detail"][2] == "4 cells; expected 3, as in the header"
    assert read.quarantined["raw"][2] == "p3,a,b,c"


def test_csv_rows_with_bytes_that_are_not_utf8_are_quarantined(ingest: Ingest) -> None:
    read = ingest(b"\xef\xbb\xbfprompt,chosen,rejected\np,a,b\np,\xff,b\n", "a.csv")
    assert read.judgements.height == 1
    assert read.reasons() == [(1, "invalid_utf8", None)]


def test_message_lists_in_csv_cells_are_messages_and_other_lists_are_text(ingest: Ingest) -> None:
    messages = json.dumps([{"role": "assistant", "content": "hi"}]).replace('"', '""')
    read = ingest(f'prompt,chosen,rejected\n"[1, 2]","{messages}","{{""a"": 1}}"\n', "a.csv")
    assert read.said("prompt") == [[("user", "[1, 2]")]]
    assert read.said("response_a") == [[("assistant", "hi")]]
    assert read.said("response_b") == [[("assistant", '{"a": 1}')]]


def test_json_in_the_cells_of_a_prompt_in_parts_is_kept_to_the_blank(ingest: Ingest) -> None:
    read = ingest('instruction,input,chosen,rejected\nsort,"[2,  1] ",a,b\n', "a.csv")
    assert read.said("prompt") == [[("user", "sort\n\n[2,  1] ")]]


def test_shuffled_rows_give_the_same_judgements(ingest: Ingest) -> None:
    same = {"prompt": "q", "response_b": "b"}
    rows = [same | {"response_a": f"a{i}", "winner": i % 3, "annotator": f"w{i % 4}", "id": i} for i in range(50)]
    straight, turned = ingest(rows).judgements, ingest(rows[::-1]).judgements
    assert straight.drop("source_row").rows() == turned.drop("source_row").rows()[::-1]


def test_deep_nesting_is_only_a_fragment(ingest: Ingest) -> None:
    deep = "[" * 900 + "]" * 900
    assert ingest('{"chosen": "a", "rejected": "b", "deep": ' + deep + "}").one()["extra"] == '{"deep":' + deep + "}"


def test_a_header_that_names_a_column_twice_is_a_layout_error(ingest: Ingest) -> None:
    with pytest.raises(LayoutError, match="the header names 'chosen' twice"):
        ingest("chosen,chosen,rejected\na,b,c\n", "a.csv")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl.gz", gzip.compress(LINES.encode() * 50)[:-20], "cannot be read to its end"),
        ("a.json", json.dumps(ROWS)[:-10].encode(), "cannot be read to its end"),
        ("a.json", b'{\n "chosen": [1, 2],\n "rejected": [', "not one whole JSON object"),
        ("a.json", b'{"chosen": [1, 2], "rejected": [1]}', None),
        ("a.parquet", b"not parquet", "is not Parquet"),
        ("a.parquet", b"PAR1 broken", "cannot be read to its end"),
        ("a.jsonl", b"\x28\xb5\x2f\xfd0000", "cannot be read to its end"),
        ("a.jsonl", LINES.encode("utf-16"), "is UTF-16 text"),
        ("a.txt", b"hello", "is neither JSON nor Parquet"),
        ("a.jsonl", b'{"a": "' + b"x" * 3000, "a line is longer"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, message: str | None
) -> None:
    if message == "a line is longer":
        monkeypatch.setattr(readers, "_LONGEST_LINE", 2000)
        monkeypatch.setattr(readers, "BATCH_BYTES", 500)
    path = tmp_path / name
    path.write_bytes(content)
    if message is None:
        return
    with pytest.raises(UnreadableFileError, match=f"{name}.*{message}"):
        list(read_records(str(path), name, SourceConfig(name="s", uri="x"), "overall"))


def test_columns_of_different_lengths_are_unreadable(ingest: Ingest) -> None:
    with pytest.raises(UnreadableFileError, match=r"columns of different lengths \(chosen: 2, rejected: 1\)"):
        ingest('{\n"chosen": ["a", "b"],\n"rejected": ["c"]\n}', "a.json")


def test_compression_is_read_from_the_bytes_not_from_the_name(tmp_path: Path) -> None:
    (tmp_path / "plain.jsonl.gz").write_text(LINES)
    (tmp_path / "packed.jsonl").write_bytes(gzip.compress(LINES.encode()))
    (tmp_path / "packed.json").write_bytes(gzip.compress(json.dumps(ROWS).encode()))
    (tmp_path / "packed.csv").write_bytes(gzip.compress(CSV.encode()))
    assert [count_rows(str(path)) for path in sorted(tmp_path.iterdir())] == [5] * 4
    for path in tmp_path.iterdir():
        batches = read_records(str(path), path.name, SourceConfig(name="s", uri="x"), "overall")
        assert sum(batch.judgements.height for batch in batches) == 5


@pytest.mark.parametrize(("name", "content"), [("a.jsonl", LINES), ("a.json", json.dumps(ROWS)), ("a.csv", CSV)])
def test_files_in_object_stores_are_read_in_place(name: str, content: str) -> None:
    place = f"memory://ingest-readers/{name}"
    with fsspec.open(place, "wb") as file:
        file.write(content.encode())
    batches = list(read_records(place, name, SourceConfig(name="s", uri=place), "overall"))
    assert sum(batch.judgements.height for batch in batches) == count_rows(place) == 5


@pytest.mark.parametrize("limit", [1, 3, 5, 9])
def test_a_limit_counts_rows_of_the_file_bad_ones_included(ingest: Ingest, limit: int) -> None:
    content = LINES.replace('{"prompt": "p1"', "{bad").replace("\n", "\n\n")
    read = ingest(content, limit=limit)
    assert read.rows == min(limit, 5)
    assert read.quarantined.height == (limit > 1)


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_the_size_of_blocks_changes_nothing(ingest: Ingest, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(readers, "BATCH_BYTES", size)
    monkeypatch.setattr(readers, "BATCH_ROWS", 2)
    read = ingest(LINES + "\n\n" + json.dumps(ROWS[0] | {"late": True}))
    assert read.judgements["source_row"].to_list() == [0, 1, 2, 3, 4, 6]
    assert read.judgements["extra"][5] == '{"id":0,"late":true}'


def test_blocks_of_a_table_keep_row_numbers(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "BATCH_BYTES", 2000)
    lines = [f'p{i},"a\n{i}",b' if i % 7 else f"p{i}" for i in range(1000)]
    read = ingest("prompt,chosen,rejected\n" + "\n".join(lines), "a.csv")
    assert read.quarantined["source_row"].to_list() == list(range(0, 1000, 7))
    prompts = dict(zip(read.judgements["source_row"], read.said("prompt"), strict=True))
    assert all(said == [("user", f"p{row}")] for row, said in prompts.items())


_scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"]))
_values = st.recursive(_scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3))
_names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=6)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.dictionaries(_names, _values, max_size=4), min_size=1, max_size=5), st.booleans())
def test_no_field_is_lost_or_changed_whatever_its_name(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], ascii_: bool
) -> None:
    path = tmp_path_factory.mktemp("rows") / "x.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=ascii_) for row in rows), encoding="utf-8", newline="")
    reader = Json()
    read = list(read_rows(str(path), reader))
    reader.close()
    found = [
        {name: json.loads(row[column]) for name, column in part.fields.items() if row[column] is not None}
        for part in read
        for row in part.frame.iter_rows(named=True)
    ]
    assert found == [{key: value for key, value in row.items() if value is not None} for row in rows]
