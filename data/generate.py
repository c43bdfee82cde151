"""Writes the sample data: six raw files, what is true about every row, and who the annotators are.

Run as `python data/generate.py`. The same bank, seed and package versions give the same bytes.
"""

import argparse
import collections
import datetime
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import yaml
from layouts import ARENA, FILES, MESSAGES, PANEL, REVIEWS, TRANSCRIPTS, VOTES, Message, Row, Vote, pair_key, plain, write
from near import plant_near
from plant import Rows, plant_all

HERE = Path(__file__).parent
SEED = 20260321

# P(votes for the better answer | no tie) on the clearest pairs; on closer pairs it shrinks towards a coin's.
RELIABILITY: dict[str, dict[str, float]] = {
    VOTES: {"heron": 0.95, "otter": 0.90, "lynx": 0.85, "badger": 0.75, "magpie": 0.65, "gull": 0.55},
    PANEL: {"annotator_1": 0.93, "annotator_2": 0.82, "annotator_3": 0.62},
    REVIEWS: {"w-1": 0.95, "w-2": 0.88, "w-3": 0.80, "w-4": 0.70, "w-5": 0.60},
    ARENA: {"": 0.90},
}
TIE_SHARE = {0: 0.6, 1: 0.16, 2: 0.05, 3: 0.02, 4: 0.0}  # by gap between the levels
CERTAINTY = {0: 0.0, 1: 0.75, 2: 0.92, 3: 1.0, 4: 1.0}  # how much of (reliability - 0.5) is left, by gap
COPIES = ("copy", "copy_nfd", "copy_crlf", "copy_trailing", "copy_roles", "swap")
MODELS = ("model-alder", "model-birch", "model-cedar", "model-dogwood", "model-elm", "model-fir")  # best first

# Pairs drawn for each file: of dialogues that begin with a system message, of other dialogues, of single questions.
DRAWS = {
    TRANSCRIPTS: (0, 85, 95),
    MESSAGES: (48, 34, 95),
    ARENA: (0, 0, 300),
    VOTES: (0, 0, 98),
    PANEL: (0, 0, 165),
    REVIEWS: (0, 12, 145),
}

Entry = dict[str, Any]
PairIndex = tuple[str, int, int]


class Sampler:
    """Draws pairs of answers, each at most once, and votes on them."""

    def __init__(self, rng: Random, bank: dict[str, Entry], reasons: dict[str, list[str]]) -> None:
        """Shuffle every pair of answers into one pool per kind of prompt."""
        self.rng, self.bank, self.reasons = rng, bank, reasons
        self.tasks = itertools.count(1)
        self.pools: tuple[list[PairIndex], ...] = ([], [], [])
        for key, entry in bank.items():
            kind = 2 if len(entry["prompt"]) == 1 else 0 if entry["prompt"][0]["role"] == "system" else 1
            self.pools[kind].extend((key, i, j) for i, j in itertools.combinations(range(4), 2))
        for pool in self.pools:
            rng.shuffle(pool)

    def rows(self, file: str) -> list[Row]:
        """Draw a file's pairs; one row each, or one row a vote."""
        rows = []
        for pool, n in zip(self.pools, DRAWS[file], strict=True):
            for _ in range(n):
                index = next(i for i in range(len(pool) - 1, -1, -1) if file != VOTES or self._fits_a_cell(pool[i]))
                rows.extend(self._row(file, pool.pop(index)))
        return rows

    def _fits_a_cell(self, pair: PairIndex) -> bool:
        # A CSV cell that is a JSON value would be read as that value.
        key, i, j = pair
        prompt, answers = self.bank[key]["prompt"][0]["content"], self.bank[key]["answers"]
        return not any(text.startswith(("[", "{")) for text in (prompt, answers[i]["text"], answers[j]["text"]))

    def _row(self, file: str, pair: PairIndex) -> list[Row]:
        key, i, j = pair
        if file not in (TRANSCRIPTS, MESSAGES) and self.rng.random() < 0.5:
            i, j = j, i  # chosen/rejected files have the better answer, bank's earlier one, on side a
        one, two = self.bank[key]["answers"][i], self.bank[key]["answers"][j]
        row = Row(
            file=file,
            prompt_id=key,
            prompt=[dict(m) for m in self.bank[key]["prompt"]],
            a=[{"role": "assistant", "content": one["text"]}],
            b=[{"role": "assistant", "content": two["text"]}],
            levels=(one["level"], two["level"]),
            models=self._models(one["level"], two["level"]),
            votes=[],
            task=next(self.tasks),
            whole=file == MESSAGES and self.rng.random() < 0.05,
        )
        if file == VOTES:
            return self._vote_rows(row)
        self.vote(row)
        return [row]

    def _models(self, a_level: int, b_level: int) -> tuple[str, str]:
        # Level 4 comes mostly from the first models, level 1 mostly from the last ones.
        def one(level: int, others: list[str]) -> str:
            return self.rng.choices(others, [3.0 ** (-abs(MODELS.index(m) - (4 - level) * 5 / 3)) for m in others])[0]

        first = one(a_level, list(MODELS))
        return first, one(b_level, [m for m in MODELS if m != first])

    def vote(self, row: Row) -> None:
        """Draw the votes of a row that holds all of a pair's votes."""
        people = RELIABILITY.get(row.file, {})
        if row.file == ARENA:
            row.votes = [Vote(self._outcome(people[""], row, ties=False))]
        elif row.file == PANEL:
            row.votes = [Vote(self._outcome(share, row), name) for name, share in people.items()]
        elif row.file == REVIEWS:
            names = self.rng.sample(sorted(people), self.rng.choice((2, 3, 3, 4)))
            row.votes = [self._review(self._outcome(people[name], row), name) for name in names]
        else:
            row.votes = [Vote("a")]

    def _vote_rows(self, row: Row) -> list[Row]:
        people = RELIABILITY[VOTES]
        rows = []
        for name in self.rng.sample(sorted(people), self.rng.choice((3, 4, 4, 5))):
            a, b, levels = (row.a, row.b, row.levels) if self.rng.random() < 0.5 else (row.b, row.a, row.levels[::-1])
            one = Row(VOTES, row.prompt_id, row.prompt, a, b, levels, row.models, [], row.task)
            one.votes = [Vote(self._outcome(people[name], one), name)]
            rows.append(one)
        return rows

    def _review(self, outcome: str, name: str) -> Vote:
        when = datetime.datetime(2026, 3, 2, 8) + datetime.timedelta(minutes=self.rng.randrange(25 * 24 * 60))
        reason = self.rng.choice(self.reasons["undecided" if outcome == "tie" else "decided"])
        return Vote(outcome, name, reason if self.rng.random() < 0.7 else None, f"{when.isoformat()}Z")

    def _outcome(self, reliability: float, row: Row, *, ties: bool = True) -> str:
        a, b = row.levels
        gap = abs(a - b)
        if ties and self.rng.random() < TIE_SHARE[gap]:
            return "tie"
        better, worse = ("a", "b") if a > b else ("b", "a")
        return better if self.rng.random() < 0.5 + (reliability - 0.5) * CERTAINTY[gap] else worse


def read_bank(folder: Path) -> dict[str, Entry]:
    """Read every prompt with its four answers, prompts as message lists."""
    bank: dict[str, Entry] = {}
    for file in sorted(folder.glob("*.yaml")):
        for entry in yaml.safe_load(file.read_text(encoding="utf-8")):
            prompt = entry["prompt"]
            messages: list[Message] = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
            bank[entry["id"]] = {"prompt": [{**m, "content": plain(m["content"])} for m in messages], "answers": entry["answers"]}
    return bank


def tool_rows(material: list[Entry], tasks: Iterator[int]) -> list[Row]:
    """Turn the hand-written rows with tool calls into rows of the messages file."""
    return [
        Row(
            file=MESSAGES,
            prompt_id=f"tools-{number:02d}",
            prompt=entry["prompt"],
            a=entry["chosen"],
            b=entry["rejected"],
            levels=(4, 1),
            models=(MODELS[0], MODELS[4]),
            votes=[Vote("a")],
            task=next(tasks),
            tools=entry["tools"],
            planted="tool_calls",
        )
        for number, entry in enumerate(material, start=1)
    ]


def arrange(rng: Random, rows: Rows) -> None:
    """Shuffle each file and number its rows; what makes a copy a copy comes earlier, in file name and row.

    A file's first records decide its layout, so they are ordinary ones. The reviews have two blank lines, which
    count as lines but are no rows.
    """
    for file, members in rows.items():
        members.sort(key=lambda r: r.task)
        rng.shuffle(members)
        early = [r for r in members[:12] if r.planted]
        ordered = [r for r in members if r not in early] + early
        place = {row: n for n, row in enumerate(ordered)}
        for row in members:
            if row.of in place and place[row.of] > place[row]:
                place[row], place[row.of] = place[row.of], place[row]
        rows[file] = sorted(members, key=place.__getitem__)
        blank = (25, 90) if file == REVIEWS else ()
        for number, row in enumerate(rows[file]):
            row.number = number + sum(number >= at for at in blank)


def truth(rows: Rows) -> list[dict[str, Any]]:
    """Say for every row what is true, what was planted, and what must become of its records."""
    pairs: dict[str, list[Row]] = collections.defaultdict(list)
    for row in itertools.chain.from_iterable(rows.values()):
        if _readable(row):
            pairs[_counted_with(row)].append(row)
    fates = {key: _fate(members) for key, members in pairs.items()}
    left_open = _left_open(list(itertools.chain.from_iterable(rows.values())))
    lines = []
    for row in itertools.chain.from_iterable(rows[file] for file in FILES):
        readable = _readable(row)
        records = sum(v.outcome is not None for v in row.votes) + row.unreadable_votes if readable else 1
        a, b = row.levels if readable else (None, None)
        fate: tuple[str, str | None] | None = fates[_counted_with(row)][0] if readable else None
        conflict = readable and fates[_counted_with(row)][1]
        expected = None if fate is None else {"fate": fate[0], "reason": fate[1], "records": records}
        if row.reason:
            expected = {"fate": "quarantined", "reason": row.reason, "records": row.unreadable_votes or 1}
        elif _is_copy(row):
            expected = {"fate": "merged", "reason": None, "records": records}
        elif row.planted == "light_edit":
            expected = {"fate": "merged", "reason": "near_duplicate", "records": records}
        elif row in left_open:
            expected = None
        lines.append(
            {
                "file": row.file,
                "row": row.number,
                "prompt": row.prompt_id if readable else None,
                "a_level": a,
                "b_level": b,
                "better": None if a is None or b is None else "a" if a > b else "b" if b > a else "tie",
                "verdicts": [v.outcome for v in row.votes if v.outcome] if readable else [],
                "records": records,
                "planted": "alike" if row.alike and row.planted is None else row.planted,
                "change": row.change,
                "of": {"file": row.of.file, "row": row.of.number} if row.of else None,
                "expected": expected,
                "flags": row.flags + ([{"side": None, "flag": "conflict"}] if conflict else []),
            }
        )
    return lines


def _left_open(rows: list[Row]) -> set[Row]:
    """Find the rows of which nobody can say beforehand whether they are merged, with the rows they come from."""
    either = [row for row in rows if row.planted in ("chain_edit", "paraphrase") or row.change == ["word"]]
    return {row for row in rows if row.alike} | {one for row in either for one in (row, row.of) if one}


def _readable(row: Row) -> bool:
    return row.reason is None or row.unreadable_votes > 0


def _is_copy(row: Row) -> bool:
    return row.of is not None and row.planted in COPIES


def _counted_with(row: Row) -> str:
    """Name the pair that counts the row's votes: for light edits, that of the row they come from."""
    while row.of is not None and row.planted == "light_edit":
        row = row.of
    return pair_key(row)


def _fate(members: list[Row]) -> tuple[tuple[str, str | None] | None, bool]:
    """Say what the default rules do with a pair (null: left open), and whether its votes conflict."""
    first = members[0]
    sides = [plain(side[-1]["content"]) for side in (first.a, first.b)]
    # Without the copies; every vote for the better answer counts the same whichever side it stood on.
    ordered = [(r, r.levels[0] >= r.levels[1]) for r in members if not _is_copy(r)]
    votes = [(v.outcome, in_order) for r, in_order in ordered for v in r.votes if v.outcome]
    one = sum((outcome == "a") == in_order for outcome, in_order in votes if outcome in ("a", "b"))
    tie = sum(outcome in ("tie", "both_bad") for outcome, _ in votes)
    two = len(votes) - one - tie
    conflict = one > 0 and two > 0
    if any(s == "" and not side[-1].get("tool_calls") for s, side in zip(sides, (first.a, first.b), strict=True)):
        return ("dropped", "empty_answer"), conflict
    if sides[0] == sides[1]:
        return ("dropped", "identical_answers"), conflict
    if one == two or tie > max(one, two):
        return ("dropped", "tie"), conflict
    if tie == max(one, two):
        return None, conflict  # as many ties as votes for the winner: left to the consensus method
    if any(s.count("\ufffd") > 0.3 * len(s) for s in sides):
        return ("dropped", "unreadable_text"), conflict
    return ("published", None), conflict


def main() -> None:
    """Write everything under `--out`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to (default: the folder of this script)")
    out: Path = parser.parse_args().out

    material = yaml.safe_load((HERE / "planted.yaml").read_text(encoding="utf-8"))
    rng = Random(SEED)
    sampler = Sampler(rng, read_bank(HERE / "bank"), material["reasons"])
    rows: Rows = {file: sampler.rows(file) for file in FILES}
    rows[MESSAGES] += tool_rows(material["tool_rows"], sampler.tasks)
    plant_all(rng, rows, material, sampler.vote)
    arrange(rng, rows)
    near = yaml.safe_load((HERE / "near.yaml").read_text(encoding="utf-8"))
    plant_near(Random(SEED + 1), rows, near, sampler.tasks)  # numbers of its own: the rows above stay as they were

    for file in FILES:
        write(out, file, rows[file])
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in truth(rows))
    (out / "truth.jsonl").write_bytes(text.encode())
    people = [
        {"file": file, "annotator": name or None, "reliability": share}
        for file, names in RELIABILITY.items()
        for name, share in names.items()
    ]
    (out / "annotators.json").write_bytes((json.dumps(people, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
