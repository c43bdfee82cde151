"""Sources in several files: votes here, texts there, models in a third or in the file's name."""

import gzip
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import SourceConfig, load_config, parse_config
from pipeline.errors import ConfigError, LayoutError, UnreadableFileError
from pipeline.ingest import QUARANTINED, RAW_JUDGEMENT, JoinedFile, JoinedRows, detect, open_joins, read_records
from pipeline.ingest import joins as joins_module

Content = list[Any] | str | bytes
TEXT = {"prompt": "q", "response_a": "x", "response_b": "y"}


@dataclass
class Read:
    judgements: pl.DataFrame
    quarantined: pl.DataFrame
    why: str
    joined: list[JoinedRows]

    def said(self, column: str) -> list[str]:
        return [messages[-1]["content"] for messages in self.judgements[column].to_list()]

    def extra(self) -> list[dict[str, Any]]:
        return [json.loads(text or "{}") for text in self.judgements["extra"].to_list()]

    def reasons(self) -> list[tuple[int, str, str | None]]:
        return list(self.quarantined.select("source_row", "reason", "field").iter_rows())

    def unused(self) -> list[tuple[int, int, int]]:
        """Rows, broken rows and rows without use of each joined file."""
        return [(one.rows, one.broken, int((~one.used).sum())) for one in self.joined]


def stored(place: Path, content: Content) -> Path:
    if isinstance(content, list) and place.suffix == ".parquet":
        pl.DataFrame(content).write_parquet(place)
        return place
    if isinstance(content, list):
        content = "".join(json.dumps(row) + "\n" for row in content)
    plain = content.encode() if isinstance(content, str) else content
    place.write_bytes(gzip.compress(plain) if place.suffix == ".gz" else plain)
    return place


Joined = Callable[..., Read]


@pytest.fixture
def joined(tmp_path: Path) -> Joined:
    """A main file, and a joined file (or several) for each entry of `join:` -> what ingest makes of them."""

    def run(
        main: Content,
        files: dict[str, Content],
        join: Sequence[dict[str, Any]],
        name: str = "votes.jsonl",
        limit: int | None = None,
        **source: Any,
    ) -> Read:
        place = stored(tmp_path / name, main)
        there = {one: stored(tmp_path / one, content) for one, content in files.items()}
        entries = [{"uri": next(iter(files), ""), **one} if "path" not in one else one for one in join]
        config = SourceConfig.model_validate({"name": "src", "uri": name, "join": entries, **source})
        groups = [[JoinedFile(str(p), one, 0) for one, p in there.items() if Path(one).match(str(j.uri))] for j in config.join]
        with open_joins(config, groups) as opened:
            layout = detect(str(place), name, config, opened)
            batches = list(read_records(str(place), name, config, "overall", limit, opened))
            read = Read(
                pl.concat([RAW_JUDGEMENT.to_frame(), *(b.judgements for b in batches)]),
                pl.concat([QUARANTINED.to_frame(), *(b.quarantined for b in batches)]),
                layout.why if layout else "",
                opened.files(),
            )
        known = set(read.judgements["source_row"]) | set(read.quarantined["source_row"])
        assert len(known) == sum(b.rows for b in batches)  # every row is a judgement or quarantined
        return read

    return run


class TestByKey:
    def test_votes_get_the_texts_that_their_key_names(self, joined: Joined) -> None:
        votes = [{"id": 2, "winner": "b"}, {"id": 1, "winner": "a"}, {"id": 2, "winner": "tie"}]
        texts = [{"id": i, "prompt": f"q{i}", "response_a": f"x{i}", "response_b": f"y{i}"} for i in (1, 2, 3)]
        read = joined(votes, {"texts.jsonl": texts}, [{"on": "id"}])
        assert read.said("prompt") == ["q2", "q1", "q2"]
        assert read.said("response_b") == ["y2", "y1", "y2"]
        assert read.judgements["outcome"].to_list() == ["b", "a", "tie"]
        assert read.judgements["source_row"].to_list() == [0, 1, 2]
        assert read.quarantined.is_empty()
        assert read.unused() == [(3, 0, 1)]

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("texts.csv", "id,prompt,response_a,response_b\n7,q,x,y\n"),
            ("texts.tsv.gz", "id\tprompt\tresponse_a\tresponse_b\n7\tq\tx\ty\n"),
            ("texts.json", json.dumps([{"id": 7, **TEXT}])),
            ("texts.jsonl.gz", [{"id": "7", **TEXT}]),
            ("texts.parquet", [{"id": 7, **TEXT}]),
        ],
    )
    @pytest.mark.parametrize(
        ("votes", "main"),
        [("votes.csv", "id,winner\n7,a\n"), ("votes.jsonl", [{"id": 7, "winner": "a"}]), ("votes.jsonl", [{"id": "7", "winner": "a"}])],
    )
    def test_keys_compare_as_text_across_formats(self, joined: Joined, name: str, content: Content, votes: str, main: Content) -> None:
        read = joined(main, {name: content}, [{"on": "id"}], name=votes)
        assert (read.said("prompt"), read.said("response_a")) == (["q"], ["x"])

    def test_a_key_that_looks_like_the_same_number_is_another_text(self, joined: Joined) -> None:
        read = joined("id,winner\n07,a\n7,b\n", {"texts.jsonl": [{"id": 7, **TEXT}]}, [{"on": "id"}], name="votes.csv")
        assert read.judgements["source_row"].to_list() == [1]
        assert read.reasons() == [(0, "unmatched_key", "id")]

    def test_a_key_of_several_fields_needs_all_of_them(self, joined: Joined) -> None:
        texts = [{"set": s, "n": n, **TEXT, "prompt": f"{s}{n}"} for s in ("u", "v") for n in (1, 2)]
        votes = [{"set": "v", "n": "1", "winner": "a"}, {"set": "u", "n": 2, "winner": "a"}, {"set": "u", "n": 3, "winner": "a"}]
        read = joined(votes, {"texts.jsonl": texts}, [{"on": ["set", "n"]}])
        assert read.said("prompt") == ["v1", "u2"]
        assert read.reasons() == [(2, "unmatched_key", "set, n")]
        assert read.unused() == [(4, 0, 2)]

    def test_parts_of_a_key_do_not_run_into_each_other(self, joined: Joined) -> None:
        texts = [{"a": 'x", "y', "b": "z", **TEXT}]
        read = joined([{"a": "x", "b": 'y", "z', "winner": "a"}], {"texts.jsonl": texts}, [{"on": ["a", "b"]}])
        assert read.reasons() == [(0, "unmatched_key", "a, b")]

    def test_the_key_may_have_two_names_and_lie_inside_objects(self, joined: Joined) -> None:
        read = joined(
            [{"item": {"key": 5}, "winner": "a"}], {"texts.jsonl": [{"meta": {"id": "5"}, **TEXT}]}, [{"on": {"item.key": "meta.id"}}]
        )
        assert read.said("prompt") == ["q"]

    def test_later_joins_use_what_earlier_ones_brought(self, joined: Joined) -> None:
        read = joined(
            "id,winner\n1,a\n",
            {
                "texts.jsonl": [{"id": 1, **TEXT, "left": 30, "right": 40}],
                "models.csv": "id,name,maker\n30,alpha,A\n40,beta,B\n",
            },
            [{"on": "id"}, {"uri": "models.csv", "on": {"left": "id"}, "as": "l"}, {"uri": "models.csv", "on": {"right": "id"}, "as": "r"}],
            name="votes.csv",
            fields={"model_a": "l.name", "model_b": "r.name"},
        )
        assert read.judgements.select("model_a", "model_b").row(0) == ("alpha", "beta")
        assert read.extra() == [{"id": "1", "l.maker": "A", "left": 30, "r.maker": "B", "right": 40}]
        assert read.unused() == [(1, 0, 0), (2, 0, 0)]  # a file joined twice is one file

    def test_several_files_are_joined_as_one(self, joined: Joined) -> None:
        files: dict[str, Content] = {
            "texts-1.jsonl": [{"id": 1, **TEXT}],
            "texts-2.csv": "id,prompt,response_a,response_b,note\n2,q2,x2,y2,n\n3,,,,\n",
        }
        read = joined([{"id": 2, "winner": "a"}, {"id": 1, "winner": "b"}], files, [{"uri": "texts-*", "on": "id"}])
        assert read.said("prompt") == ["q2", "q"]
        assert read.extra() == [{"id": 2, "note": "n"}, {"id": 1}]
        assert read.unused() == [(1, 0, 0), (2, 0, 1)]

    def test_what_nobody_maps_goes_to_extra(self, joined: Joined) -> None:
        read = joined([{"id": 1, "winner": "a"}], {"texts.jsonl": [{"id": 1, **TEXT, "tags": ["t", 1]}]}, [{"on": "id"}])
        assert read.extra() == [{"id": 1, "tags": ["t", 1]}]

    def test_a_name_that_the_main_file_has_is_told_apart_by_the_files_name(self, joined: Joined) -> None:
        texts = [{"id": 1, **TEXT, "winner": "nobody"}]
        read = joined([{"id": 1, "winner": "a"}], {"texts.v2.jsonl.gz": texts}, [{"on": "id"}])
        assert read.judgements["outcome"].to_list() == ["a"]
        assert read.extra() == [{"id": 1, "texts.winner": "nobody"}]
        assert "'texts.winner' is 'winner' of texts.v2.jsonl.gz" in read.why

    def test_a_prefix_keeps_joined_fields_apart_from_detection(self, joined: Joined) -> None:
        read = joined(
            [{"id": 1, "winner": "a", **TEXT}],
            {"texts.jsonl": [{"id": 1, "prompt": "other", "annotator1": "b"}]},
            [{"on": "id", "as": "old"}],
        )
        assert read.said("prompt") == ["q"]
        assert read.extra() == [{"id": 1, "old.annotator1": "b", "old.prompt": "other"}]

    def test_two_joins_that_bring_one_name_are_told_what_to_write(self, joined: Joined) -> None:
        files: dict[str, Content] = {"texts.jsonl": [{"id": 1, **TEXT}]}
        with pytest.raises(LayoutError, match=r"(?s)votes\.jsonl: the join with texts\.jsonl brings a field 't\.prompt'.*`as: WORD`"):
            joined([{"id": 1, "winner": "a"}], files, [{"on": "id", "as": "t"}, {"on": "id", "as": "t"}])

    def test_lists_in_cells_are_perhaps_text_and_lists_in_json_are_not(self, joined: Joined) -> None:
        csv = 'id,prompt\n1,"[1, 2]"\n'
        read = joined([{"id": 1, "winner": "a", "response_a": "x", "response_b": "y"}], {"prompts.csv": csv}, [{"on": "id"}])
        assert read.said("prompt") == ["[1, 2]"]
        texts = [{"id": 1, **TEXT, "prompt": [1, 2]}]
        assert joined("id,winner\n1,a\n", {"t.jsonl": texts}, [{"on": "id"}], name="votes.csv").reasons() == [(0, "wrong_type", "prompt")]


class TestRowsWithoutOnePartner:
    def test_a_vote_whose_key_finds_no_text_is_quarantined(self, joined: Joined) -> None:
        read = joined([{"id": 1, "winner": "a"}, {"id": 77, "winner": "a"}], {"texts.jsonl": [{"id": 1, **TEXT}]}, [{"on": "id"}])
        assert read.reasons() == [(1, "unmatched_key", "id")]
        row = read.quarantined.row(0, named=True)
        assert row["detail"] == "found 77; expected a value that texts.jsonl (1 rows) has as id"
        assert json.loads(row["raw"]) == {"id": 77, "winner": "a"}

    @pytest.mark.parametrize("votes", ['{"id": null, "winner": "a"}\n', '{"winner": "a"}\n', '{"id": "", "winner": "a"}\n'])
    def test_a_key_that_is_null_absent_or_empty_finds_nothing(self, joined: Joined, votes: str) -> None:
        texts = [{"id": None, **TEXT}, {"id": "", **TEXT}, {"id": 1, **TEXT}]
        read = joined(votes + '{"id": 1, "winner": "b"}\n', {"texts.jsonl": texts}, [{"on": "id"}])
        assert read.reasons() == [(0, "unmatched_key", "id")]
        assert "absent, null or empty" in read.quarantined["detail"][0]
        assert read.unused() == [(3, 0, 2)]

    def test_votes_on_a_key_with_different_contents_are_quarantined(self, joined: Joined) -> None:
        texts = [{"id": 1, **TEXT}, {"id": 2, **TEXT}, {"id": 1, **TEXT, "prompt": "another"}]
        votes = [{"id": 1, "winner": "a"}, {"id": 2, "winner": "a"}]
        read = joined(votes, {"texts.jsonl": texts}, [{"on": "id"}])
        assert read.reasons() == [(0, "ambiguous_key", "id")]
        assert "found 1; texts.jsonl has it as id several times with different content" in read.quarantined["detail"][0]
        assert read.unused() == [(3, 0, 0)]

    def test_a_key_that_stands_twice_with_equal_content_is_fine(self, joined: Joined) -> None:
        texts = [{"id": 1, **TEXT}, {"response_b": "y", "id": "1", "prompt": "q", "response_a": "x", "note": None}]
        read = joined([{"id": 1, "winner": "a"}], {"texts.jsonl": texts}, [{"on": "id"}])
        assert (read.said("prompt"), read.quarantined.height, read.unused()) == (["q"], 0, [(2, 0, 0)])

    def test_a_field_that_only_one_of_two_rows_has_makes_them_differ(self, joined: Joined) -> None:
        texts = [{"id": 1, **TEXT}, {"id": 1, **TEXT, "note": "late"}]
        assert joined([{"id": 1, "winner": "a"}], {"texts.jsonl": texts}, [{"on": "id"}]).reasons() == [(0, "ambiguous_key", "id")]

    def test_two_files_that_claim_the_same_ids_are_treated_the_same(self, joined: Joined) -> None:
        files: dict[str, Content] = {
            "t1.jsonl": [{"id": 1, **TEXT}, {"id": 2, **TEXT}],
            "t2.jsonl": [{"id": 2, **TEXT}, {"id": 1, **TEXT, "prompt": "z"}],
        }
        read = joined([{"id": 1, "winner": "a"}, {"id": 2, "winner": "a"}], files, [{"uri": "t?.jsonl", "on": "id"}])
        assert read.reasons() == [(0, "ambiguous_key", "id")]
        assert "t?.jsonl (2 files)" in read.quarantined["detail"][0]

    def test_a_broken_row_of_the_joined_file_is_counted_and_its_votes_find_nothing(self, joined: Joined) -> None:
        texts = json.dumps({"id": 1, **TEXT}) + '\n{"id": 2, "prompt\n\n'
        read = joined([{"id": 2, "winner": "a"}, {"id": 1, "winner": "a"}], {"texts.jsonl": texts}, [{"on": "id"}])
        assert read.reasons() == [(0, "unmatched_key", "id")]
        assert "texts.jsonl (2 rows, 1 of them broken)" in read.quarantined["detail"][0]
        assert read.unused() == [(2, 1, 1)]

    def test_when_no_vote_finds_a_text_all_are_quarantined(self, joined: Joined) -> None:
        read = joined([{"id": 1, "winner": "a"}, {"id": 2, "winner": "a"}], {"texts.jsonl": [{"id": 3, **TEXT}]}, [{"on": "id"}])
        assert read.reasons() == [(0, "unmatched_key", "id"), (1, "unmatched_key", "id")]
        assert read.unused() == [(1, 0, 1)]

    def test_an_empty_joined_file_leaves_every_vote_without_a_text(self, joined: Joined) -> None:
        assert joined([{"id": 1, "winner": "a"}], {"texts.jsonl": ""}, [{"on": "id"}]).reasons() == [(0, "unmatched_key", "id")]

    def test_broken_rows_of_the_main_file_stay_what_they_are(self, joined: Joined) -> None:
        read = joined('{"id": 1\n{"id": 1, "winner": "a"}\n[1]\n', {"texts.jsonl": [{"id": 1, **TEXT}]}, [{"on": "id"}])
        assert read.reasons() == [(0, "unparsable_row", None), (2, "not_an_object", None)]
        assert read.said("prompt") == ["q"]


class TestRowByRow:
    def test_the_first_row_goes_with_the_first(self, joined: Joined) -> None:
        texts = [{"prompt": f"q{i}", "response_a": "x", "response_b": "y"} for i in range(3)]
        read = joined("winner\na\nb\ntie\n", {"texts.json": json.dumps(texts)}, [{"by": "row"}], name="votes.csv")
        assert read.said("prompt") == ["q0", "q1", "q2"]
        assert read.unused() == [(3, 0, 0)]

    def test_blank_lines_are_no_rows_and_broken_ones_are(self, joined: Joined) -> None:
        texts = "\n".join(["", json.dumps(TEXT | {"prompt": "q0"}), "", "", "{broken", json.dumps(TEXT | {"prompt": "q2"})])
        votes = '{"winner": "a"}\n\n{"winner": "b"}\n{"winner": "tie"}\n'
        read = joined(votes, {"texts.jsonl": texts}, [{"by": "row"}])
        assert read.said("prompt") == ["q0", "q2"]
        assert read.reasons() == [(2, "unmatched_row", None)]
        assert "row 1 has no partner that can be read in texts.jsonl (3 rows, 1 of them broken)" in read.quarantined["detail"][0]

    def test_rows_past_the_end_of_the_joined_file_are_quarantined(self, joined: Joined) -> None:
        read = joined([{"winner": "a"}] * 3, {"texts.jsonl": [TEXT]}, [{"by": "row"}])
        assert read.reasons() == [(1, "unmatched_row", None), (2, "unmatched_row", None)]
        assert (
            "row 2 has no partner that can be read in texts.jsonl (1 rows); expected as many rows in both" in read.quarantined["detail"][1]
        )

    def test_rows_past_the_end_of_the_main_file_are_unused(self, joined: Joined) -> None:
        assert joined([{"winner": "a"}], {"texts.jsonl": [TEXT] * 3}, [{"by": "row"}]).unused() == [(3, 0, 2)]

    def test_a_limit_counts_rows_of_the_main_file_alone(self, joined: Joined) -> None:
        texts = [TEXT | {"prompt": f"q{i}"} for i in range(5)]
        assert joined([{"winner": "a"}] * 5, {"texts.jsonl": texts}, [{"by": "row"}], limit=2).said("prompt") == ["q0", "q1"]


class TestPath:
    def test_named_groups_of_the_path_become_fields(self, joined: Joined) -> None:
        read = joined(
            [TEXT | {"winner": "a"}],
            {},
            [{"path": r"(?P<judge>gpt\d)-(?P<set>\w+)\.jsonl"}],
            name="gpt4-crowd.jsonl",
            fields={"annotator": "judge"},
        )
        assert read.judgements["annotator"].to_list() == ["gpt4"]
        assert read.extra() == [{"set": "crowd"}]

    def test_a_group_that_takes_no_part_is_a_null(self, joined: Joined) -> None:
        read = joined([TEXT | {"winner": "a"}], {}, [{"path": r"votes(-(?P<annotator>\w+))?"}])
        assert read.judgements["annotator"].to_list() == [None]

    def test_a_name_that_the_file_has_is_told_apart(self, joined: Joined) -> None:
        read = joined([TEXT | {"winner": "a", "judge": "inner"}], {}, [{"path": "(?P<judge>votes)"}], fields={"annotator": "path.judge"})
        assert read.judgements["annotator"].to_list() == ["votes"]
        assert read.extra() == [{"judge": "inner"}]

    def test_a_field_of_the_path_can_be_a_key(self, joined: Joined) -> None:
        models = [{"id": "votes", "name": "GPT-4"}]
        read = joined(
            [TEXT | {"winner": "a"}],
            {"models.jsonl": models},
            [{"path": r"(?P<who>\w+)\.jsonl"}, {"on": {"who": "id"}}],
            fields={"annotator": "name"},
        )
        assert read.judgements["annotator"].to_list() == ["GPT-4"]

    def test_a_path_that_does_not_match_is_named_with_the_pattern(self, joined: Joined) -> None:
        with pytest.raises(LayoutError, match=r"votes\.jsonl: the join's `path: \(\?P<judge>gpt\)` does not match this path; expected"):
            joined([TEXT | {"winner": "a"}], {}, [{"path": "(?P<judge>gpt)"}])


class TestFilesThatDoNotFit:
    def test_a_joined_file_without_the_key_is_named_with_what_it_has(self, joined: Joined) -> None:
        with pytest.raises(
            LayoutError, match=r"texts\.jsonl: the join's key 'pair_id' is no field of this file; did you mean 'pairid'\? .*pairid, prompt"
        ):
            joined([{"pair_id": 1, "winner": "a"}], {"texts.jsonl": [{"pairid": 1, **TEXT}]}, [{"on": "pair_id"}])

    def test_a_main_file_without_the_key_is_named_with_what_it_has(self, joined: Joined) -> None:
        with pytest.raises(
            LayoutError, match=r"votes\.jsonl: the join's key 'id' is no field of this file; .*Fields found: pair, winner\."
        ):
            joined([{"pair": 1, "winner": "a"}], {"texts.jsonl": [{"id": 1, **TEXT}]}, [{"on": "id"}])

    def test_a_joined_file_that_breaks_off_is_unreadable(self, joined: Joined) -> None:
        whole = gzip.compress(json.dumps({"id": 1, **TEXT}).encode() * 200)
        with pytest.raises(UnreadableFileError, match=r"texts\.jsonl: cannot be read to its end"):
            joined([{"id": 1, "winner": "a"}], {"texts.jsonl": whole[:-20]}, [{"on": "id"}])

    def test_a_source_with_joins_is_not_read_without_them(self, tmp_path: Path) -> None:
        place = stored(tmp_path / "v.jsonl", [TEXT | {"winner": "a"}])
        source = SourceConfig.model_validate({"name": "s", "uri": "v", "join": [{"uri": "t", "on": "id"}]})
        with pytest.raises(ValueError, match="source 's' has `join:`; expected what open_joins"):
            detect(str(place), "v.jsonl", source)


class TestConfig:
    def wrong(self, join: object) -> str:
        with pytest.raises(ConfigError) as error:
            parse_config({"dataset": "d", "sources": [{"name": "s", "uri": "u", "join": [join]}]}, "p.yaml")
        return str(error.value)

    @pytest.mark.parametrize(
        ("join", "message"),
        [
            ({"uri": "t"}, "a join needs uri and on, uri and by, or path alone; has uri"),
            ({"on": "id"}, "a join needs uri and on, uri and by, or path alone; has on"),
            ({}, "a join needs uri and on, uri and by, or path alone; has none of them"),
            ({"uri": "t", "on": "id", "by": "row"}, "has uri and on and by"),
            ({"uri": "t", "path": "(?P<a>x)"}, "has uri and path"),
            ({"uri": "t", "by": "column"}, "by: Input should be 'row' (found 'column')"),
            ({"uri": "t", "on": []}, "on needs at least one field name"),
            ({"uri": "t", "on": {"": "id"}}, "on needs at least one field name"),
            ({"path": "(?P<a>"}, "path '(?P<a>' is not a regular expression: missing )"),
            ({"path": "gpt"}, "path 'gpt' has no named group; write (?P<field>...)"),
            ({"uri": "t", "On": "id"}, "unknown key 'sources.0.join.0.On'; did you mean 'on'?"),
        ],
    )
    def test_a_mistake_is_named(self, join: object, message: str) -> None:
        assert message in self.wrong(join)

    def test_a_published_version_is_joined_to_nothing(self) -> None:
        with pytest.raises(ConfigError, match="source 's': a published version is read as it is; leave `join` out"):
            parse_config({"dataset": "d", "sources": [{"name": "s", "version": "v", "join": [{"uri": "t", "on": "id"}]}]}, "p.yaml")

    def test_on_is_a_key_in_yaml_and_no_is_text(self, tmp_path: Path) -> None:
        place = tmp_path / "p.yaml"
        place.write_text(
            "dataset: d\nsources:\n- {name: s, uri: u, join: [{uri: t, on: id, as: x}], outcomes: {no: b, yes: a, true: tie, 2: a}}\n"
        )
        source = load_config(place).sources[0]
        assert source.join[0].key_fields == (["id"], ["id"])
        assert source.outcomes == {"no": "b", "yes": "a", "true": "tie", "2": "a"}
        assert source.model_dump(exclude_none=True)["join"] == [{"uri": "t", "on": "id", "as": "x", "optional": False}]


def test_joined_text_is_handed_on_in_pieces(joined: Joined, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joins_module, "_PIECE_BYTES", 100)
    texts = [{"id": i, "prompt": f"q{i}", "response_a": "x" * 60, "response_b": "y" * 30} for i in range(4)]
    votes = [{"id": i, "winner": "a"} for i in (3, 9, 2, 1, 0, 3, 3)]
    models = [{"id": i, "name": f"m{i}"} for i in range(4)]
    read = joined(
        votes,
        {"texts.jsonl": texts, "models.jsonl": models},
        [{"on": "id"}, {"uri": "models.jsonl", "on": "id"}],
        fields={"model_a": "name"},
    )
    assert read.said("prompt") == ["q3", "q2", "q1", "q0", "q3", "q3"]
    assert read.judgements["model_a"].to_list() == ["m3", "m2", "m1", "m0", "m3", "m3"]
    assert read.judgements["source_row"].to_list() == [0, 2, 3, 4, 5, 6]
    assert read.reasons() == [(1, "unmatched_key", "id")]


@settings(max_examples=12)  # each makes a database
@given(
    votes=st.lists(st.integers(0, 6), min_size=1, max_size=12),
    texts=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1)), min_size=1, max_size=12),
)
def test_a_join_finds_what_a_dictionary_finds(
    tmp_path_factory: pytest.TempPathFactory, votes: list[int], texts: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("join")
    main = stored(folder / "votes.jsonl", [{"n": i, "id": key, "winner": "a"} for i, key in enumerate(votes)])
    other = stored(folder / "texts.jsonl", [{"id": key, **TEXT, "prompt": f"q{version}"} for key, version in texts])
    source = SourceConfig.model_validate({"name": "s", "uri": "v", "join": [{"uri": "t", "on": "id"}]})
    with open_joins(source, [[JoinedFile(str(other), "t", 0)]]) as opened:
        batches = list(read_records(str(main), "v", source, "overall", None, opened))
        (told,) = opened.files()
    versions = {key: {version for k, version in texts if k == key} for key in range(7)}
    expected = [(i, f"q{min(versions[key])}") for i, key in enumerate(votes) if len(versions[key]) == 1]
    found = [(row["source_row"], row["prompt"][0]["content"]) for b in batches for row in b.judgements.iter_rows(named=True)]
    reasons = {row["source_row"]: row["reason"] for b in batches for row in b.quarantined.iter_rows(named=True)}
    assert found == expected
    assert reasons == {i: "ambiguous_key" if versions[key] else "unmatched_key" for i, key in enumerate(votes) if len(versions[key]) != 1}
    assert told.used.to_list() == [key in votes for key, _ in texts]


def test_texts_that_a_killed_process_left_are_deleted_and_those_of_a_living_one_stay(
    joined: Joined, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", "pass"]) as ended:
        ended.wait()
    dead, alive = (tmp_path / f"prefine-join-{socket.gethostname()}-{pid}-x" for pid in (ended.pid, os.getppid()))
    for folder in (dead, alive):
        folder.mkdir()
        (folder / "texts").write_text("left")

    joined([{"id": 1, "winner": "a"}], {"texts.jsonl": [{"id": 1} | TEXT]}, [{"on": "id"}])

    assert [place.exists() for place in (dead, alive)] == [False, True]
