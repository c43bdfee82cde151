"""Canonical records written in a layout and read back have the ids that they had."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config import AnnotatorsConfig, SourceConfig
from pipeline.identity import identify
from pipeline.ingest import RAW_JUDGEMENT, JoinedFile, open_joins, read_records
from tests.builders import message, row

PLAIN = AnnotatorsConfig(ids="plain")
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Co", "Cn"]), min_size=1, max_size=12).filter(
    lambda text: text.strip() == text and text != ""
)
LINES = st.lists(TEXT, min_size=1, max_size=3).map("\n".join)
SPOKEN = LINES.filter(lambda text: "Human:" not in text and "Assistant:" not in text)


@dataclass(frozen=True)
class Said:
    """One canonical judgement of a single-turn or longer exchange."""

    prompt: str
    a: str
    b: str
    outcome: str = "a"
    annotator: str | None = None
    before: list[tuple[str, str]] = field(default_factory=list)  # earlier turns
    strength: float | None = None
    rationale: str | None = None
    context: str | None = None
    prompt_b: str | None = None  # of b alone, where the prompts differ

    @property
    def turns(self) -> list[tuple[str, str]]:
        return [*self.before, ("user", self.prompt)]

    def raw(self) -> dict[str, Any]:
        prompt = [message(role, text) for role, text in self.turns]
        a, b = [message("assistant", self.a)], [message("assistant", self.b)]
        if self.prompt_b is not None:
            a, b, prompt = [*prompt, *a], [message("user", self.prompt_b), *b], []
        told = {"strength": self.strength, "rationale": self.rationale, "context": self.context, "annotator": self.annotator}
        return row(prompt, a, b, outcome=self.outcome, **told)

    def chosen(self) -> tuple[str, str]:
        return (self.a, self.b) if self.outcome == "a" else (self.b, self.a)


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(one) + "\n" for one in rows).encode()


def table(rows: list[dict[str, Any]]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def spoken(turns: list[tuple[str, str]]) -> str:
    names = {"user": "Human", "assistant": "Assistant"}
    return "".join(f"\n\n{names[role]}: {text}" for role, text in turns)


def messages(turns: list[tuple[str, str]], role: str = "role", content: str = "content") -> list[dict[str, str]]:
    return [{role: who, content: text} for who, text in turns]


def parts(turns: list[tuple[str, str]]) -> list[dict[str, Any]]:
    return [{"role": who, "content": [{"type": "text", "value": text}]} for who, text in turns]


def shared(turns: list[tuple[str, str]]) -> list[dict[str, str]]:
    names = {"user": "human", "assistant": "gpt", "system": "system"}
    return [{"from": names[who], "value": text} for who, text in turns]


def side(one: Said, answer: str) -> list[tuple[str, str]]:
    return [*one.turns, ("assistant", answer)]


SIDED = {"a": "model_a", "b": "model_b", "tie": "tie"}
OUTCOMES = ["a", "b", "tie"]
GRADE = {"a": -1, "b": 1, "tie": 0}


@dataclass(frozen=True)
class Written:
    """A layout: which judgements it can state, how it states one, and what the config must say about it."""

    write: Callable[[Said], dict[str, Any]]
    ties: bool = True
    texts: st.SearchStrategy[str] = field(default=LINES)
    turns: bool = False
    annotators: bool = False
    strengths: tuple[float, ...] = ()
    rationales: bool = False
    contexts: bool = False
    prompts_differ: bool = False
    source: dict[str, Any] = field(default_factory=dict)
    name: str = "data.jsonl"

    def said(self) -> st.SearchStrategy[Said]:
        def maybe(on: bool, some: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
            return some if on else st.none()

        earlier = st.lists(st.tuples(self.texts, self.texts), max_size=2).map(
            lambda pairs: [turn for asked, told in pairs for turn in (("user", asked), ("assistant", told))]
        )
        drawn = st.builds(
            Said,
            prompt=self.texts,
            a=self.texts,
            b=self.texts,
            outcome=st.sampled_from(OUTCOMES if self.ties else OUTCOMES[:2]),
            annotator=maybe(self.annotators, st.sampled_from(["ann", "bob", "7"])),
            before=earlier if self.turns else st.just([]),
            rationale=maybe(self.rationales, TEXT),
            context=maybe(self.contexts, TEXT),
            prompt_b=maybe(self.prompts_differ, self.texts),
            strength=st.sampled_from([*self.strengths]) if self.strengths else st.none(),
        )
        distinct = drawn.filter(lambda one: one.a != one.b and (one.prompt_b is None or one.prompt_b != one.prompt))
        return distinct.map(lambda one: replace(one, strength=0.0) if self.strengths and one.outcome == "tie" else one)


def graded(one: Said) -> int:
    return GRADE[one.outcome] * round(3 * (one.strength or 0))


LAYOUTS: dict[str, Written] = {
    "chosen and rejected": Written(
        lambda one: {"prompt": one.prompt, "chosen": one.chosen()[0], "rejected": one.chosen()[1]}, ties=False
    ),
    "chosen and rejected transcripts": Written(
        lambda one: {name: spoken(side(one, text)) for name, text in zip(("chosen", "rejected"), one.chosen(), strict=True)},
        ties=False, texts=SPOKEN, turns=True,
    ),
    "chosen and rejected conversations": Written(
        lambda one: {name: messages(side(one, text)) for name, text in zip(("chosen", "rejected"), one.chosen(), strict=True)},
        ties=False, turns=True,
    ),
    "ShareGPT conversations": Written(
        lambda one: {
            "conversations": shared(one.turns),
            "chosen": shared([("assistant", one.chosen()[0])])[0],
            "rejected": shared([("assistant", one.chosen()[1])])[0],
        },
        ties=False, turns=True,
    ),
    "ShareGPT conversations and plain answers": Written(
        lambda one: {"conversations": shared(one.turns), "chosen": one.chosen()[0], "rejected": one.chosen()[1]}, ties=False, turns=True
    ),
    "typed content parts": Written(
        lambda one: {f"{name}_messages": parts(side(one, text)) for name, text in zip(("chosen", "rejected"), one.chosen(), strict=True)},
        ties=False, turns=True,
    ),
    "two answers and a word": Written(
        lambda one: {"instruction": one.prompt, "output_1": one.a, "output_2": one.b, "winner": SIDED[one.outcome]}
    ),
    "two answers and a word in CSV": Written(
        lambda one: {"prompt": one.prompt, "response_a": one.a, "response_b": one.b, "winner": SIDED[one.outcome]}, name="data.csv"
    ),
    "two answers and a number": Written(
        lambda one: {"input": one.prompt, "output_1": one.a, "output_2": one.b, "label": {"a": 1, "b": 2, "tie": 0}[one.outcome]},
        source={"outcomes": {"0": "tie", "1": "a", "2": "b"}},
    ),
    "arena battles": Written(
        lambda one: {
            "conversation_a": messages(side(one, one.a)),
            "conversation_b": messages(side(one, one.b)),
            "winner": SIDED[one.outcome],
            "judge": one.annotator,
        },
        turns=True, annotators=True,
    ),
    "one column for each outcome": Written(
        lambda one: {
            "prompt": one.prompt,
            "response_a": one.a,
            "response_b": one.b,
            "winner_model_a": int(one.outcome == "a"),
            "winner_model_b": int(one.outcome == "b"),
            "winner_tie": int(one.outcome == "tie"),
        }
    ),
    "grades from -3 to 3": Written(
        lambda one: {
            "context": messages(one.turns),
            "response1": one.a,
            "response2": one.b,
            "overall_preference": graded(one),
        },
        turns=True, strengths=(1 / 3, 2 / 3, 1.0), source={"grades": {"first": -3, "second": 3}},
    ),
    "grades from 1 to 7": Written(
        lambda one: {"prompt": one.prompt, "response_a": one.a, "response_b": one.b, "preference": 4 + graded(one)},
        strengths=(1 / 3, 2 / 3, 1.0), source={"grades": {"first": 1, "second": 7}},
    ),
    "numbers between 1 and 2": Written(
        lambda one: {
            "instruction": one.prompt,
            "output_1": one.a,
            "output_2": one.b,
            "preference": 1.5 + GRADE[one.outcome] * (one.strength or 0) / 2,
            "annotator": one.annotator,
        },
        annotators=True, strengths=(0.25, 0.5, 0.75), source={"grades": {"first": 1, "second": 2}},
    ),
    "a row for each vote": Written(
        lambda one: {
            "prompt": one.prompt,
            "response_a": one.a,
            "response_b": one.b,
            "vote": {"a": "A", "b": "B", "tie": "tie"}[one.outcome],
            "worker": one.annotator,
            "reason": one.rationale,
        },
        annotators=True, rationales=True,
    ),
    "a list of votes": Written(
        lambda one: {
            "question": one.prompt,
            "answer_a": one.a,
            "answer_b": one.b,
            "votes": [{"worker": one.annotator, "value": one.outcome, "reason": one.rationale}],
        },
        annotators=True, rationales=True,
    ),
    "verdicts under a principle": Written(
        lambda one: {
            "prompt": one.prompt, "response_a": one.a, "response_b": one.b, "principle": one.context, "winner": SIDED[one.outcome],
            "justification": one.rationale,
        },
        contexts=True, rationales=True,
    ),
    "a verdict on each two candidates": Written(
        lambda one: {
            "question": one.prompt, "prediction 1": one.a, "prediction 2": one.b, "preference": [{"a": 1, "b": 2, "tie": 0}[one.outcome]]
        },
        source={
            "layout": "candidates",
            "fields": {"candidates": ["prediction 1", "prediction 2"], "pair_verdicts": "preference"},
            "outcomes": {"0": "tie", "1": "a", "2": "b"},
        },
    ),
    "the best of several candidates": Written(
        lambda one: {"prompt": one.prompt, "summaries": [{"text": one.a}, {"text": one.b}], "choice": OUTCOMES.index(one.outcome)},
        ties=False, source={"outcomes": {"0": "a", "1": "b"}},
    ),
    "prompts that differ": Written(
        lambda one: {
            "prompt_a": one.prompt, "response_a": one.a, "prompt_b": one.prompt_b, "response_b": one.b, "winner": SIDED[one.outcome]
        },
        prompts_differ=True,
    ),
}  # fmt: skip


def read_back(folder: Path, content: bytes, name: str, source: dict[str, Any]) -> pl.DataFrame:
    path = folder / name
    path.write_bytes(content)
    batches = list(read_records(str(path), "f.jsonl", SourceConfig.model_validate({"name": "src", "uri": str(path), **source}), "overall"))
    quarantined = [bad for batch in batches for bad in batch.quarantined.iter_rows()]
    assert quarantined == []
    return pl.concat([batch.judgements for batch in batches])


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_judgements_written_in_a_layout_and_read_back_have_the_same_ids(layout: Written, data: st.DataObject, tmp_path: Path) -> None:
    some = data.draw(st.lists(layout.said(), min_size=1, max_size=12))
    rows = [layout.write(one) for one in some]
    content = table(rows) if layout.name.endswith(".csv") else lines(rows)
    wanted = pl.DataFrame([one.raw() for one in some], schema=RAW_JUDGEMENT)

    found = read_back(tmp_path, content, layout.name, layout.source)

    ids = ["prompt_id", "pair_id", "base_id"]
    assert sorted(identify(found, PLAIN, "d").select(ids).rows()) == sorted(identify(wanted, PLAIN, "d").select(ids).rows())


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(some=st.lists(LAYOUTS["a row for each vote"].said(), min_size=1, max_size=12))
def test_votes_and_texts_in_two_files_have_the_ids_that_they_have_in_one(some: list[Said], tmp_path: Path) -> None:
    whole = [LAYOUTS["a row for each vote"].write(one) for one in some]
    texts = ("prompt", "response_a", "response_b")
    (tmp_path / "texts.jsonl").write_bytes(lines([{"id": n} | {name: one[name] for name in texts} for n, one in enumerate(whole)]))
    votes = table([{"id": n} | {name: value for name, value in one.items() if name not in texts} for n, one in enumerate(whole)])
    path = tmp_path / "votes.csv"
    path.write_bytes(votes)
    source = SourceConfig.model_validate({"name": "src", "uri": str(path), "join": [{"uri": "texts.jsonl", "on": "id"}]})
    ids = ["prompt_id", "pair_id", "base_id"]
    wanted = pl.DataFrame([one.raw() for one in some], schema=RAW_JUDGEMENT)

    with open_joins(source, [[JoinedFile(str(tmp_path / "texts.jsonl"), "texts.jsonl", 0)]]) as joined:
        batches = list(read_records(str(path), "f.jsonl", source, "overall", joined=joined))

    assert all(batch.quarantined.is_empty() for batch in batches)
    found = pl.concat([batch.judgements for batch in batches])
    assert sorted(identify(found, PLAIN, "d").select(ids).rows()) == sorted(identify(wanted, PLAIN, "d").select(ids).rows())
