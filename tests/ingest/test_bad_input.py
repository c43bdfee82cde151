"""Files broken in every way they come in: what becomes of their rows, and what a person is told."""

import bz2
import gzip
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from pipeline import identity
from pipeline.config import AnnotatorsConfig, SourceConfig
from pipeline.errors import LayoutError, UnreadableFileError
from pipeline.ingest import count_rows, detect, read_records
from pipeline.ingest.files import readers
from tests.ingest.conftest import ingest_place

Ingest = Callable[..., Any]
GOOD = b'{"prompt": "p", "chosen": "a", "rejected": "b"}'


def zstd(content: bytes) -> bytes:
    return pa.compress(content, codec="zstd", asbytes=True)


PACK: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd}


def row(**fields: object) -> bytes:
    return json.dumps({"prompt": "p", "chosen": "a", "rejected": "b", **fields}).encode()


def lines(*rows: bytes) -> bytes:
    return b"\n".join(rows) + b"\n"


def array(*rows: bytes) -> bytes:
    return b"[" + b",\n".join(rows) + b"]"


def read(path: Path) -> list[Any]:
    return list(read_records(str(path), path.name, SourceConfig(name="s", uri="x"), "overall"))


class TestOneBadRowAmongGoodOnes:
    """As a line, and as an element of an array: the row is quarantined, the others are read, and all are counted."""

    @pytest.mark.parametrize(
        ("bad", "reason", "field"),
        [
            (b'{"prompt": "p\xff", "chosen": "a", "rejected": "b"}', "invalid_utf8", None),
            (b'{"prompt": "p\x00", "chosen": "a", "rejected": "b"}', "unparsable_row", None),
            (b'{"prompt": "\\ud800", "chosen": "a", "rejected": "b"}', "unparsable_row", None),
            (b'{"prompt": "p", "chosen": "a", "chosen": "c", "rejected": "b"}', "duplicate_field", "chosen"),
            (b'{"prompt": "p", "chosen": "a", "chosen": "a", "rejected": "b"}', "duplicate_field", "chosen"),
            (b'{"rejected": "b", "x": 1, "x": 2, "prompt": "p", "chosen": "a"}', "duplicate_field", "x"),
            (row(chosen=True), "wrong_type", "chosen"),
            (row(rejected=3), "wrong_type", "rejected"),
            (row(prompt=False), "wrong_type", "prompt"),
            (row(chosen=None), "missing_field", "chosen"),
            (b'{"prompt": "p", "chosen": "a"}', "missing_field", "rejected"),
            (b"true", "not_an_object", None),
            (b"[" * 10_000 + b"]" * 10_000, "not_an_object", None),
            (b'{"prompt": "p", "rejected": "b", "chosen": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "wrong_type", "chosen"),
        ],
        ids=[
            "not UTF-8", "raw NUL", "lone surrogate", "field twice", "field twice with one value", "other field twice", "boolean",
            "number", "boolean prompt", "null", "absent", "scalar", "nothing but depth", "a deep answer",
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("shape", [lines, array])
    def test_it_is_quarantined(self, ingest: Ingest, bad: bytes, reason: str, field: str | None, shape: Callable[..., bytes]) -> None:
        found = ingest(shape(GOOD, bad, GOOD), "a.json")
        assert found.reasons() == [(1, reason, field)]
        assert found.judgements["source_row"].to_list() == [0, 2]

    @pytest.mark.parametrize("bad", [b'{"prompt": "cut', b'{"prompt": "p" "chosen"}', b"\0\0\0", b'{"prompt": "p"}}', b"{'p': 1}"])
    def test_a_line_that_is_no_json_is_quarantined(self, ingest: Ingest, bad: bytes) -> None:
        found = ingest(lines(GOOD, bad, GOOD))
        assert found.reasons() == [(1, "unparsable_row", None)]
        assert found.judgements["source_row"].to_list() == [0, 2]

    def test_an_unknown_verdict_is_quarantined_and_says_what_is_known(self, ingest: Ingest) -> None:
        rows = [{"prompt": "p", "response_a": "a", "response_b": "b", "winner": winner} for winner in ("model_a", "model_q", "tie")]
        found = ingest(rows)
        assert found.reasons() == [(1, "unknown_verdict", "winner")]
        assert "model_q" in found.quarantined["detail"][0]
        assert found.judgements["outcome"].to_list() == ["a", "tie"]

    def test_every_reason_says_what_was_found_or_expected(self, ingest: Ingest) -> None:
        found = ingest(lines(GOOD, b"{", b"3", b"\xff", row(chosen=1), b'{"a":1,"a":2}', b'{"prompt": "p"}'))
        assert found.quarantined.height == 6
        assert found.quarantined["detail"].str.contains("expected").all()


class TestOddButValid:
    def test_an_escaped_nul_is_text(self, ingest: Ingest) -> None:
        assert ingest(lines(row(chosen="x\x00y"))).said("response_a") == [[("assistant", "x\x00y")]]

    def test_a_raw_nul_in_a_cell_is_text_and_cuts_nothing(self, ingest: Ingest) -> None:
        assert ingest(b"prompt,chosen,rejected\np,x\x00y,b\n", "a.csv").said("response_a") == [[("assistant", "x\x00y")]]

    def test_a_nul_in_parquet_is_text_and_cuts_nothing(self, tmp_path: Path) -> None:
        pl.DataFrame({"prompt": ["p"], "chosen": ["x\x00y"], "rejected": ["b"]}).write_parquet(tmp_path / "a.parquet")
        assert ingest_place(str(tmp_path / "a.parquet")).said("response_a") == [[("assistant", "x\x00y")]]

    def test_numbers_that_are_none_leave_json_behind(self, ingest: Ingest) -> None:
        text = b'"m": {"x": NaN, "y": [-Infinity, "NaN, [Infinity"]}, "k": Infinity, "n": ' + b"9" * 400
        found = ingest(lines(GOOD[:-1] + b", " + text + b"}"))
        extra = json.loads(found.one()["extra"], parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert extra == {"m": {"x": None, "y": [None, "NaN, [Infinity"]}, "n": int("9" * 400)}

    def test_a_deep_field_that_nothing_reads_is_kept(self, ingest: Ingest) -> None:
        deep = "[" * 10_000 + "]" * 10_000
        assert ingest(lines(GOOD[:-1] + b', "deep": ' + deep.encode() + b"}")).one()["extra"] == '{"deep":' + deep + "}"

    def test_a_record_of_50_mb_on_one_line_is_read(self, ingest: Ingest) -> None:
        found = ingest(lines(GOOD, row(chosen="x y " * (25 << 19)), GOOD))
        assert found.judgements["source_row"].to_list() == [0, 1, 2]
        assert found.judgements["response_a"].list.first().struct.field("content").str.len_bytes().to_list() == [1, 50 << 20, 1]

    def test_50_mb_without_a_line_end_that_are_no_json_are_one_bad_row(self, ingest: Ingest) -> None:
        found = ingest(b"x y " * (25 << 19))
        assert found.reasons() == [(0, "unparsable_row", None)]
        assert found.quarantined["raw"].str.len_chars().to_list() == [100_000]


class TestTables:
    def test_ragged_rows_are_quarantined(self, ingest: Ingest) -> None:
        found = ingest(b"prompt,chosen,rejected\np,a,b\np,a\np,a,b,c\np,a,b\n", "a.csv")
        assert found.reasons() == [(1, "wrong_column_count", None), (2, "wrong_column_count", None)]
        assert found.judgements["source_row"].to_list() == [0, 3]

    @pytest.mark.parametrize("bad", ['p,"a,b', 'p,a,"b'])
    def test_a_quote_that_is_never_closed_makes_the_file_unreadable_and_is_named(self, tmp_path: Path, bad: str) -> None:
        path = tmp_path / "a.csv"
        path.write_text(f"prompt,chosen,rejected\np,a,b\n{bad}\np,a,b\np,a,b\n")
        with pytest.raises(UnreadableFileError, match=r"a\.csv: a quote that opens in row 1 is not closed .* expected quotes in pairs"):
            count_rows(str(path))

    @pytest.mark.parametrize("last", ['p,"a\nb",b', 'p,5" pipe,b', 'p,"say ""x""",b'])
    def test_other_quotes_at_the_end_are_none_of_that(self, ingest: Ingest, last: str) -> None:
        assert ingest(f"prompt,chosen,rejected\np,a,b\n{last}".encode(), "a.csv").rows == 2

    def test_marks_line_ends_and_semicolons_do_not_matter(self, ingest: Ingest) -> None:
        found = ingest("\ufeffprompt;chosen;rejected\r\np;ä,;b\r\np;ö;b\r\n".encode(), "a.csv")
        assert found.said("response_a") == [[("assistant", "ä,")], [("assistant", "ö")]]

    def test_a_row_longer_than_a_block_is_said_to_be_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(readers, "BATCH_BYTES", 1 << 19)
        path = tmp_path / "a.csv"
        path.write_bytes(b"prompt,chosen,rejected\n" + b"p,a,b\n" * 500_000 + b"p,a," + b"x y " * (3 << 20) + b"\np,a,b\n")
        with pytest.raises(UnreadableFileError, match=r"a\.csv: a row is longer than 1 MB; .* Write it as JSON lines"):
            read(path)


class TestWholeFiles:
    @pytest.mark.parametrize("packing", PACK)
    @pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.parquet"])
    def test_a_packed_file_that_was_cut_off_is_named(self, tmp_path: Path, packing: str, name: str) -> None:
        rows = [{"prompt": os.urandom(8).hex(), "chosen": "a", "rejected": "b"} for _ in range(2000)]
        plain = tmp_path / "plain"
        if name == "a.parquet":
            pl.DataFrame(rows).write_parquet(plain)
        else:
            text = {"a.jsonl": "\n".join(map(json.dumps, rows)), "a.json": json.dumps(rows), "a.csv": pl.DataFrame(rows).write_csv()}
            plain.write_text(text[name])
        path = tmp_path / f"{name}.{packing}"
        path.write_bytes(PACK[packing](plain.read_bytes())[:-200])
        with pytest.raises(UnreadableFileError, match=rf"{name}\.{packing}: cannot be read to its end: .* get the file again"):
            read(path)

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("a.jsonl", gzip.compress(gzip.compress(GOOD, mtime=0), mtime=0), "is gzip-compressed twice; expected .* Convert it first"),
            ("a.jsonl", b"\x04\x22\x4d\x18 lz4", "is lz4-compressed"),
            ("a.jsonl", b"PK\x03\x04 zip", "is a zip archive that cannot be opened"),
            (
                "a.jsonl.gz",
                gzip.compress(b"\0" * 257 + b"ustar" + b"\0" * 300, mtime=0),
                "is a tar archive; .* Unpack it and name its folder",
            ),
            ("a.feather", b"FEA1" + b"\0" * 20, "is Feather version 1, .* write it again as version 2"),
            ("a.arrow", b"hello", "is not Arrow"),
            ("a.arrow", b"ARROW1\0\0" + b"x" * 50, "is an Arrow file without its end; it was cut off"),
            ("a.arrow", b"\xff\xff\xff\xff\x10\x00\x00\x00ab", "cannot be read to its end"),
            ("a.parquet", b"PAR1" + b"x" * 50 + b"PAR1", "cannot be read to its end"),
            ("a.json", array(GOOD, GOOD)[:-1], "cannot be read to its end: its JSON list is not closed; it was cut off"),
            ("a.json", array(GOOD, GOOD)[:-9], "cannot be read to its end: its JSON list is not closed; it was cut off"),
            ("a.json", array(GOOD) + b" x", "something follows the end of its JSON list"),
            ("a.json", b'{"rows": [' + GOOD + b"]", "is not one whole JSON object"),
            ("a.json", b'{\n"rows": [' + GOOD + b']}\n{"rows": []}', "is not one whole JSON object"),
        ],
    )
    def test_what_it_is_instead_is_said(self, tmp_path: Path, name: str, content: bytes, message: str) -> None:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UnreadableFileError, match=rf"{name}: {message}"):
            read(path)

    @pytest.mark.parametrize("bad", [b"[1, 2", b"{} {}", b'{"a" 1}', b"[1 2]"])
    def test_an_array_with_a_mistake_between_its_elements_is_not_counted(self, tmp_path: Path, bad: bytes) -> None:
        path = tmp_path / "a.json"
        path.write_bytes(array(GOOD, bad, GOOD))
        with pytest.raises(UnreadableFileError, match=r"a\.json: cannot be read to its end"):
            list(read(path)) and count_rows(str(path))

    @pytest.mark.parametrize("packing", PACK)
    def test_a_wrong_suffix_does_not_matter(self, tmp_path: Path, packing: str) -> None:
        for suffix in ("", *(f".{other}" for other in PACK)):
            path = tmp_path / f"a.jsonl{suffix}"
            path.write_bytes(PACK[packing](lines(GOOD)))
            assert ingest_place(str(path)).judgements.height == 1

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
    def test_a_file_that_may_not_be_read_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jsonl"
        path.write_bytes(GOOD)
        path.chmod(0)
        with pytest.raises(UnreadableFileError, match=r"a\.jsonl: cannot be read .*Permission denied"):
            read(path)

    def test_a_disk_or_network_that_fails_is_no_fault_of_the_file(self, tmp_path: Path) -> None:
        from pipeline.ingest.files.sources import unreadable

        with pytest.raises(OSError, match="Input/output"), unreadable("a.jsonl"):
            raise OSError(5, "Input/output error")

    def test_a_file_that_unpacks_to_a_thousand_times_its_size_is_no_data(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from pipeline.ingest.files import sources

        monkeypatch.setattr(sources, "_BOMB_BYTES", 1 << 20)
        path = tmp_path / "a.parquet.xz"
        path.write_bytes(lzma.compress(b"PAR1" + b"\0" * (8 << 20)))
        with pytest.raises(UnreadableFileError, match=r"a\.parquet\.xz: unpacks to more than 1000 times its \d+ bytes"):
            read(path)

    def test_parquet_files_of_different_schemas_are_each_read_their_own_way(self, tmp_path: Path) -> None:
        pl.DataFrame({"prompt": ["p"], "chosen": ["a"], "rejected": ["b"]}).write_parquet(tmp_path / "a.parquet")
        pl.DataFrame({"instruction": ["p"], "output_1": ["a"], "output_2": ["b"], "label": [1]}).write_parquet(tmp_path / "b.parquet")
        pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "c.parquet")
        first, second = (ingest_place(str(tmp_path / name)) for name in ("a.parquet", "b.parquet"))
        assert first.one()["outcome"] == second.one()["outcome"] == "a"
        with pytest.raises(LayoutError, match=r"(?s)c\.parquet: no known layout fits .* x: number"):
            detect(str(tmp_path / "c.parquet"), "c.parquet", SourceConfig(name="s", uri="x"))

    def test_the_same_record_in_two_files_has_one_id(self, tmp_path: Path) -> None:
        ids = []
        for name in ("a.jsonl", "b.json"):
            (tmp_path / name).write_bytes(array(row(id=7)) if name == "b.json" else lines(row(id=7)))
            (batch,) = read(tmp_path / name)
            identified = identity.number_votes(identity.identify(batch.judgements, AnnotatorsConfig(), "d"))
            ids.append(identified["judgement_id"].to_list())
        assert ids[0] == ids[1]
