"""The committed sample data is what its generator writes, and its truth file tells the truth."""

import collections
import csv
import difflib
import gzip
import io
import json
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.config import load_config

DATA = Path(__file__).parents[1] / "data"
FILES = ["transcripts.jsonl", "messages.parquet", "arena.jsonl.gz", "votes.csv", "panel.json", "reviews.jsonl"]
OUTPUTS = [*(f"raw/{name}" for name in FILES), "truth.jsonl", "annotators.json"]
WRITTEN = ["README.md", "prefine.yaml", "planted.yaml", "near.yaml", "generate.py", "plant.py", "near.py", "edits.py", "layouts.py"]
COPIES = {"copy", "copy_nfd", "copy_crlf", "copy_trailing", "copy_roles", "swap"}
DEGENERATE = {
    "empty": "empty", "punctuation": "degenerate", "opener": "degenerate", "foreign_opener": "degenerate", "repetitive": "repetitive",
    "copies_prompt": "copies_prompt", "truncated_tail": "truncated_tail", "role_marker": "role_marker", "injected": "injected",
    "repeated_answer": "repeated_prompts", "identical": "identical_answers", "unreadable": "unreadable_share",
}  # fmt: skip
MALFORMED = {
    "broken_json": "unparsable_row", "invalid_utf8": "invalid_utf8", "not_an_object": "not_an_object", "missing_field": "missing_field",
    "null_field": "missing_field", "wrong_type": "wrong_type", "unknown_verdict": "unknown_verdict", "unknown_role": "unknown_role",
    "non_text": "non_text_content", "no_votes": "no_votes", "bad_vote": "unknown_verdict", "wrong_columns": "wrong_column_count",
    "empty_conversation": "empty_conversation",
}  # fmt: skip
OTHER_KINDS = {"flip", "conflict", "tie", "diverging", "tool_calls", "unnamed_votes", "missing_vote", "alike"}
NEAR = {"light_edit", "chain_edit", "opposed_edit", "near_miss", "paraphrase"}

Line = dict[str, Any]
NearRow = tuple[Line, Line, list[str], list[str]]  # its line, its original's; the texts of both: prompt, better and worse answer


@pytest.fixture(scope="module")
def truth() -> list[Line]:
    """Every line of the truth file."""
    return [json.loads(line) for line in (DATA / "truth.jsonl").read_text(encoding="utf-8").splitlines()]


def raw_rows(name: str) -> Iterator[tuple[int, Any]]:
    """Read a file with the standard library alone: (0-based row, payload); bytes where a line is no JSON."""
    place = DATA / "raw" / name
    if name.endswith(".parquet"):
        yield from enumerate(pq.read_table(place).to_pylist())
    elif name.endswith(".csv"):
        header, *records = csv.reader(io.StringIO(place.read_bytes().decode(), newline=""))
        yield from ((n, dict(zip(header, r, strict=True)) if len(r) == len(header) else r) for n, r in enumerate(records))
    elif name.endswith(".json"):
        yield from enumerate(json.loads(place.read_bytes()))
    else:
        content = place.read_bytes()
        for n, line in enumerate((gzip.decompress(content) if name.endswith(".gz") else content).split(b"\n")):
            if line.strip():
                try:
                    yield n, json.loads(line)
                except ValueError:  # JSON or UTF-8
                    yield n, line


def sides(payload: Line) -> tuple[Any, Any]:
    """Return what a row holds as its two answers."""
    keys = next(k for k in (("chosen", "rejected"), ("response_a", "response_b"), ("output_1", "output_2")) if k[0] in payload)
    return payload[keys[0]], payload[keys[1]]


def last_text(side: str | list[Line]) -> str:
    """Return the last message's text."""
    return side.rpartition("\n\nAssistant:")[2].strip() if isinstance(side, str) else (side[-1]["content"] or "").strip()


def texts(payload: Line) -> list[str]:
    """Return what a row asks last and its two answers, whatever the layout."""
    one, two = sides(payload)
    if isinstance(one, str) and "\n\nAssistant:" in one:
        asked = one.rpartition("\n\nAssistant:")[0].rpartition("\n\nHuman:")[2]
    elif "instruction" in payload:
        asked = "\n\n".join(filter(None, (payload["instruction"], payload["input"])))
    else:
        asked = payload["prompt"] if isinstance(payload["prompt"], str) else payload["prompt"][-1]["content"]
    return [asked.strip(), last_text(one), last_text(two)]


def words(text: str) -> list[str]:
    """Letters and digits, in lower case, by word."""
    return re.findall(r"\w+", text.lower())


def normalised(payload: Any) -> str:
    """Spell a payload without what normalisation removes and without the field that only counts rows."""
    if isinstance(payload, dict):
        roles = {"human": "user", "gpt": "assistant"}
        spelled = {k: normalised(v) for k, v in payload.items() if k not in ("battle", "idx", "task")}
        return json.dumps({k: roles.get(v, v) if k == "role" else v for k, v in spelled.items()}, sort_keys=True)
    if isinstance(payload, list):
        return json.dumps([normalised(v) for v in payload])
    if isinstance(payload, str):
        turns = unicodedata.normalize("NFC", payload).replace("\r\n", "\n").split("\n\nAssistant:")
        return "\n\nAssistant:".join("\n\nHuman:".join(part.rstrip() for part in turn.split("\n\nHuman:")) for turn in turns)
    return str(payload)


def test_the_generator_writes_the_committed_files_byte_for_byte(tmp_path: Path) -> None:
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}  # the script imports its neighbours
    subprocess.run([sys.executable, DATA / "generate.py", "--out", tmp_path], check=True, timeout=120, env=plain)

    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()) == sorted(OUTPUTS)
    for name in OUTPUTS:
        new, old = (tmp_path / name).read_bytes(), (DATA / name).read_bytes()
        if name.endswith(".gz"):  # zlib and its replacements compress the same bytes differently
            assert gzip.decompress(new) == gzip.decompress(old)
        elif name.endswith(".parquet") and pq.ParquetFile(DATA / name).metadata.created_by != f"parquet-cpp-arrow version {pa.__version__}":
            assert pq.read_table(tmp_path / name).equals(pq.read_table(DATA / name))  # another release of the writer
        else:
            assert new == old, name


def test_the_sample_data_is_smaller_than_three_megabytes() -> None:
    sizes = [(DATA / name).stat().st_size for name in OUTPUTS + WRITTEN] + [p.stat().st_size for p in (DATA / "bank").glob("*.yaml")]
    assert sum(sizes) < 3_000_000


def test_every_prompt_of_the_bank_has_four_answers_that_no_other_has() -> None:
    entries = [e for file in sorted((DATA / "bank").glob("*.yaml")) for e in yaml.safe_load(file.read_text(encoding="utf-8"))]
    texts = [answer["text"] for e in entries for answer in e["answers"]]

    assert len({e["id"] for e in entries}) == len(entries) >= 150
    assert len({json.dumps(e["prompt"]) for e in entries}) == len(entries)
    assert all([answer["level"] for answer in e["answers"]] == [4, 3, 2, 1] for e in entries)
    assert len(set(texts)) == len(texts)


def test_about_1800_rows_cover_150_prompts_in_ten_domains(truth: list[Line]) -> None:
    prompts = {line["prompt"] for line in truth if line["prompt"]}

    assert 1700 <= len(truth) <= 1900
    assert len(prompts) >= 150
    assert len({p.partition("-")[0] for p in prompts} - {"tools"}) >= 10


@pytest.mark.parametrize("name", FILES)
def test_the_truth_has_one_line_for_every_raw_row(name: str, truth: list[Line]) -> None:
    assert [line["row"] for line in truth if line["file"] == f"raw/{name}"] == [n for n, _ in raw_rows(name)]


def test_every_kind_of_defect_is_planted_and_no_other(truth: list[Line]) -> None:
    counts = collections.Counter(line["planted"] for line in truth)
    assert set(counts) == {None} | COPIES | NEAR | set(DEGENERATE) | set(MALFORMED) | OTHER_KINDS
    assert counts[None] > 1100


def test_malformed_rows_say_why_they_cannot_be_read(truth: list[Line]) -> None:
    found = {(line["planted"], line["expected"]["reason"]) for line in truth if (line["expected"] or {}).get("fate") == "quarantined"}
    assert found == set(MALFORMED.items())


@pytest.mark.parametrize("name", FILES)
def test_malformed_rows_stay_below_the_share_that_stops_a_run(name: str, truth: list[Line]) -> None:
    planted = [line["planted"] for line in truth if line["file"] == f"raw/{name}"]
    assert 0 < sum(kind in MALFORMED for kind in planted) < 0.05 * len(planted)


@pytest.mark.parametrize("name", FILES)
def test_a_file_begins_with_ordinary_records(name: str, truth: list[Line]) -> None:
    assert not {line["planted"] for line in truth if line["file"] == f"raw/{name}" and line["row"] < 8} & (set(MALFORMED) | COPIES)


def test_a_copy_comes_after_what_it_copies_and_is_merged(truth: list[Line]) -> None:
    planted = {(line["file"], line["row"]): line["planted"] for line in truth}
    for line in truth:
        if line["planted"] in COPIES:
            original = (line["of"]["file"], line["of"]["row"])
            assert original < (line["file"], line["row"])
            assert planted[original] in (None, "alike")
            assert line["expected"] == {"fate": "merged", "reason": None, "records": line["records"]}


def test_a_copy_within_a_file_repeats_a_row_and_no_other_row_does(truth: list[Line]) -> None:
    repeats = COPIES - {"swap"}
    for name in FILES:
        lines = {line["row"]: line for line in truth if line["file"] == f"raw/{name}"}
        first: dict[str, int] = {}
        firsts = {n: first.setdefault(normalised(payload), n) for n, payload in raw_rows(name)}
        planted = {n: line["of"]["row"] for n, line in lines.items() if line["planted"] in repeats and line["of"]["file"] == f"raw/{name}"}
        assert {n: of for n, of in firsts.items() if n != of} == planted


def test_a_swap_exchanges_the_sides_and_the_verdict(truth: list[Line]) -> None:
    rows = {f"raw/{name}": dict(raw_rows(name)) for name in FILES}
    exchanged = {"a": "b", "b": "a", "tie": "tie"}
    verdicts = {(line["file"], line["row"]): line["verdicts"] for line in truth}
    for line in truth:
        if line["planted"] == "swap":
            assert sides(rows[line["file"]][line["row"]]) == sides(rows[line["of"]["file"]][line["of"]["row"]])[::-1]
            assert line["verdicts"] == [exchanged[v] for v in verdicts[line["of"]["file"], line["of"]["row"]]]


def test_degenerate_answers_carry_their_flag_and_ordinary_rows_none(truth: list[Line]) -> None:
    for line in truth:
        flags = {f["flag"] for f in line["flags"]} - {"conflict", "near_duplicate_conflict"}
        assert flags == ({DEGENERATE[line["planted"]]} if line["planted"] in DEGENERATE else set()), line


def test_flips_contradict_the_levels_by_two_or_more(truth: list[Line]) -> None:
    flips = [line for line in truth if line["planted"] == "flip"]
    assert all(line["verdicts"][0] != line["better"] and abs(line["a_level"] - line["b_level"]) >= 2 for line in flips)


@pytest.fixture(scope="module")
def near(truth: list[Line]) -> list[NearRow]:
    """Every row that says nearly what another says: its line, that row's line, and the texts of both, better answer first."""
    rows = {(f"raw/{name}", n): payload for name in FILES for n, payload in raw_rows(name)}
    lines = {(line["file"], line["row"]): line for line in truth}

    def ordered(line: Line) -> list[str]:
        asked, a, b = texts(rows[line["file"], line["row"]])
        return [asked, a, b] if line["a_level"] > line["b_level"] else [asked, b, a]

    pairs = [(line, lines[line["of"]["file"], line["of"]["row"]]) for line in truth if line["planted"] in NEAR]
    return [(line, of, ordered(line), ordered(of)) for line, of in pairs]


def test_near_duplicates_come_from_rows_without_a_defect_and_each_row_has_one_family(near: list[NearRow]) -> None:
    families: dict[tuple[str, int], set[str]] = collections.defaultdict(set)
    for line, of, _, _ in near:
        assert of["planted"] == ("chain_edit" if of["planted"] in NEAR else None)
        assert {line["a_level"], line["b_level"]} == {of["a_level"], of["b_level"]}
        families[of["file"], of["row"]].add(line["planted"])
    mixed = [kinds for place, kinds in families.items() if len(kinds) > 1]
    assert mixed == [{"light_edit", "near_miss"}] * 2  # the long answers


def test_light_edits_change_how_it_is_said_and_their_votes_are_the_original_s(near: list[NearRow]) -> None:
    edits = [one for one in near if one[0]["planted"] in ("light_edit", "chain_edit", "opposed_edit")]
    assert len(edits) > 120
    for line, of, new, old in edits:
        changed = [(n, o) for n, o in zip(new, old, strict=True) if n != o]
        assert changed, line
        for one, other in changed:
            numbers = [re.findall(r"\d+", re.sub(r"(?m)^\d[.)] ", "", text)) for text in (one, other)]
            assert numbers[0] == numbers[1], line
            letters = [re.sub(r"\W", "", text.lower()) for text in (one, other)]
            assert difflib.SequenceMatcher(None, *letters, autojunk=False).ratio() > 0.85, line
        right, of_right = (one["verdicts"][0] == one["better"] for one in (line, of))
        assert (right == of_right) == (line["planted"] != "opposed_edit"), line
    merged = [line for line, *_ in edits if line["planted"] == "light_edit"]
    assert all(line["expected"] == {"fate": "merged", "reason": "near_duplicate", "records": line["records"]} for line in merged)


def test_light_edits_come_in_every_kind_length_and_place(near: list[NearRow]) -> None:
    edits = [one for one in near if one[0]["planted"] == "light_edit"]
    kinds = collections.Counter(kind for line, *_ in edits for kind in line["change"])
    originals = collections.Counter((of["file"], of["row"]) for _, of, _, _ in edits)
    lengths = [len(words(text)) for _, _, new, old in edits for text, was in zip(new[1:], old[1:], strict=True) if text != was]

    assert set(kinds) == {
        "punctuation", "quotes", "first_letter", "lower_case", "typo", "contraction", "white_space", "markdown", "filler", "bullets",
        "spelling",
    }  # fmt: skip
    assert min(kinds.values()) >= 7
    assert len(edits) >= 100
    assert sum(line["prompt"].startswith("spanish") for line, *_ in edits) >= 10
    assert sum(line["file"] != of["file"] for line, of, _, _ in edits) >= 25
    assert sum(line["a_level"] != of["a_level"] for line, of, _, _ in edits) >= 15
    assert sum(n == 3 for n in originals.values()) >= 6
    assert min(lengths) <= 12
    assert max(lengths) >= 200


def test_near_misses_change_one_place_of_one_text(near: list[NearRow]) -> None:
    misses = [one for one in near if one[0]["planted"] == "near_miss"]
    for line, of, new, old in misses:
        if new == old:  # in an earlier turn
            assert line["prompt"].startswith(("dialogue", "facts-06", "format", "maths", "rewriting-16", "spanish-11")), line
            continue
        ((one, other),) = [(n, o) for n, o in zip(new, old, strict=True) if n != o]
        edits = [e for e in difflib.SequenceMatcher(None, other.split(), one.split(), autojunk=False).get_opcodes() if e[0] != "equal"]
        assert len(edits) <= 2, line
        assert sum(max(e[2] - e[1], e[4] - e[3]) for e in edits) <= 2, line
        assert of["planted"] is None
    kinds = collections.Counter(kind for line, *_ in misses for kind in line["change"])
    assert set(kinds) == {"number", "name", "negation", "opposite", "word"}
    assert min(kinds["number"], kinds["name"], kinds["negation"]) >= 25
    assert kinds.total() >= 100


def test_paraphrases_share_few_runs_of_words_with_their_original(near: list[NearRow]) -> None:
    paraphrases = [one for one in near if one[0]["planted"] == "paraphrase"]
    assert len(paraphrases) >= 30
    for line, _, new, old in paraphrases:
        for one, other in zip(new, old, strict=True):
            said = [words(text.partition("\n\n")[0]) for text in (one, other)]  # what follows is code or a story to work on
            runs = [{tuple(text[i : i + 5]) for i in range(len(text) - 4)} for text in said]
            assert len(runs[0] & runs[1]) <= 0.2 * len(runs[0] | runs[1]), line


def test_opposed_edits_flag_both_rows(near: list[NearRow]) -> None:
    conflict = {"side": None, "flag": "near_duplicate_conflict"}
    opposed = [(line, of) for line, of, _, _ in near if line["planted"] == "opposed_edit"]
    assert len(opposed) >= 12
    assert all(conflict in line["flags"] and conflict in of["flags"] for line, of in opposed)


def test_the_sides_do_not_give_the_better_answer_away(truth: list[Line]) -> None:
    for name in ("arena.jsonl.gz", "votes.csv", "panel.json", "reviews.jsonl"):
        better = [line["better"] for line in truth if line["file"] == f"raw/{name}"]
        assert 0.4 < better.count("a") / (better.count("a") + better.count("b")) < 0.6, name


def test_the_longer_answer_is_often_the_worse_one(truth: list[Line]) -> None:
    rows = dict(raw_rows("arena.jsonl.gz"))
    longer_is_better = []
    for line in truth:
        if line["file"] == "raw/arena.jsonl.gz" and line["planted"] is None:
            a, b = (len(last_text(side)) for side in sides(rows[line["row"]]))
            longer_is_better.append((a > b) == (line["better"] == "a"))
    assert 0.3 < sum(longer_is_better) / len(longer_is_better) < 0.75


def test_reliable_annotators_are_right_more_often(truth: list[Line]) -> None:
    people = json.loads((DATA / "annotators.json").read_text())
    names = {person["annotator"] for person in people if person["file"] == "raw/votes.csv"}
    rows = dict(raw_rows("votes.csv"))
    right = collections.defaultdict(list)
    for line in truth:
        if line["file"] == "raw/votes.csv" and line["planted"] is None and line["verdicts"] != ["tie"]:
            right[rows[line["row"]]["annotator"]].append(line["verdicts"] == [line["better"]])
    shares = {name: sum(votes) / len(votes) for name, votes in right.items()}

    assert set(shares) == names
    assert min(shares["heron"], shares["otter"]) > max(shares["magpie"], shares["gull"])


def test_the_demo_config_names_every_file_once() -> None:
    config = load_config(DATA / "prefine.yaml")
    assert [source.uri for source in config.sources] == [f"raw/{name}" for name in FILES]
    assert [source.name for source in config.sources] == [name.partition(".")[0] for name in FILES]
