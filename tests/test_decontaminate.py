"""Which texts hold which benchmark prompts, and what is said of the pairs that they are in."""

import re
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import decontaminate
from pipeline.config import DecontaminateConfig
from pipeline.decontaminate import HITS, find_hits, hits_in_pairs, mark, prepare
from pipeline.errors import SchemaError
from pipeline.texts import add_text_ids
from tests.builders import judged, message, row
from tests.fakes import LetterEncoder

CAPITAL = "Which river flows through the capital of the country that invented paper money?"  # 13 words
KNIGHT = "Introduce yourself as a medieval knight at a royal banquet, and end with a toast."  # 15 words
SHORT = "Write a poem"


def entries(*texts: Any, benchmark: str = "bench") -> pl.DataFrame:
    """One prompt a text; a list is a conversation's turns."""
    turns = [(i, n, text) for i, one in enumerate(texts) for n, text in enumerate([one] if isinstance(one, str) else one)]
    told = [{"benchmark": benchmark, "prompt": f"{benchmark}:{i}", "turn": n, "text_id": f"{i}.{n}", "text": text} for i, n, text in turns]
    return pl.DataFrame(told, schema_overrides={"turn": pl.Int64})


def found(texts: list[str], asked: pl.DataFrame, **config: Any) -> pl.DataFrame:
    """Hits of texts that are called 0, 1 ...; embeddings count letters."""
    settings = DecontaminateConfig(**{"min_cosine": 1.0, **config})
    prompts = prepare(asked, settings.ngram)
    ids = [str(i) for i in range(len(texts))]
    encoder = LetterEncoder()
    index = pl.DataFrame({"text_id": ids, "index": range(len(ids))}, schema={"text_id": pl.String, "index": pl.Int64})
    long = prompts.entries.filter("long")["text"].to_list()
    frame = pl.DataFrame({"text_id": ids, "text": texts}, schema={"text_id": pl.String, "text": pl.String})
    return find_hits(frame, index, encoder.encode(texts).vectors, prompts, encoder.encode(long).vectors, settings)


def by_words(texts: list[str], asked: pl.DataFrame, **config: Any) -> list[tuple[str, float]]:
    hits = found(texts, asked, **config).filter(pl.col("kind") == "ngram")
    return [(text, round(score, 3)) for text, score in hits.select("text_id", "score").rows()]


@pytest.mark.parametrize(
    ("text", "overlap"),
    [
        pytest.param(CAPITAL, 1.0, id="verbatim"),
        pytest.param("WHICH river flows, through the capital of the country -- that invented paper money", 1.0, id="case-and-punctuation"),
        pytest.param(CAPITAL.replace("Which", "What"), 0.923, id="first-word-edited"),
        pytest.param(CAPITAL.replace("paper money", "paper"), 0.923, id="last-word-left-out"),
        pytest.param(f"Translate into French, keeping the tone: '{CAPITAL}' Answer with the sentence alone.", 1.0, id="quoted-in-a-prompt"),
        pytest.param(f"You asked:\n\n> {CAPITAL}\n\nThat would be the Wei.", 1.0, id="quoted-in-an-answer"),
        pytest.param("Which river flows through the capital of the moon?", 0.615, id="the-first-eight-words"),
        pytest.param("Which river flows through the capital of my country that invented paper money?", None, id="edited-in-the-middle"),
        pytest.param("¿Qué río atraviesa la capital del país que inventó el papel moneda?", None, id="translated"),
        pytest.param("Which rivers flow through which capitals? Name five of them, with their lengths.", None, id="unrelated"),
        pytest.param("money paper invented that country the of capital the through flows river which", None, id="backwards"),
    ],
)
def test_a_prompt_is_found_by_the_share_of_its_words_in_shared_runs_of_eight(text: str, overlap: float | None) -> None:
    assert by_words([text], entries(CAPITAL)) == ([] if overlap is None else [("0", overlap)])


def test_one_edit_in_a_longer_prompt_leaves_most_of_it_covered() -> None:
    longer = " ".join(f"word{i}" for i in range(40))

    assert by_words([longer.replace("word20", "other")], entries(longer)) == [("0", 0.975)]


def test_the_threshold_is_inclusive_and_of_every_hit() -> None:
    text = ["Which river flows through the capital of the moon?"]  # 8 of 13 words

    assert by_words(text, entries(CAPITAL), min_overlap=8 / 13) == [("0", 0.615)]
    assert by_words(text, entries(CAPITAL), min_overlap=0.62) == []
    assert found(text, entries(CAPITAL), min_overlap=0.6)["threshold"].to_list() == [0.6]


def test_longer_runs_find_less() -> None:
    edited = CAPITAL.replace("Which", "What")

    assert by_words([CAPITAL, edited], entries(CAPITAL), ngram=13) == [("0", 1.0)]


def test_runs_do_not_reach_from_one_text_into_the_next() -> None:
    words = CAPITAL.split()

    assert by_words([" ".join(words[:7]), " ".join(words[7:])], entries(CAPITAL), min_overlap=0.01) == []
    assert by_words([CAPITAL], entries(" ".join(words[:7]) + " a", "b " + " ".join(words[7:])), min_overlap=0.01) == []


def test_a_script_without_spaces_counts_a_word_a_character() -> None:
    assert by_words(["请问:发明纸币的国家的首都有哪条河流过?谢谢"], entries("发明纸币的国家的首都有哪条河流过")) == [("0", 1.0)]


class TestShortPrompts:
    @pytest.mark.parametrize(
        ("text", "is_found"),
        [
            ("Write a poem", True),
            ("write a poem!", True),
            ("Write a poem about the sea, please, with four lines and a rhyme.", False),
            ("Write me a poem", False),
            ("Please: write a poem", False),
        ],
    )
    def test_condemn_only_what_has_the_same_words(self, text: str, is_found: bool) -> None:
        hits = found([text], entries(SHORT), min_cosine=0.5)

        assert hits["whole"].to_list() == ([True] if is_found else [])
        assert hits["kind"].to_list() == (["ngram"] if is_found else [])

    def test_are_nothing_when_they_are_a_later_turn(self) -> None:
        asked = entries(["Compose a travel blog post about a recent trip to Hawaii.", "Go on."])

        assert by_words(["Go on."], asked) == []

    def test_without_a_word_are_never_found(self) -> None:
        assert found(["?!", "🙂"], entries("?!", "🙂"), min_cosine=0.5).is_empty()


class TestEmbeddings:
    def test_find_what_has_other_words(self) -> None:
        anagram = "".join(reversed(CAPITAL))  # the same letters, no word the same

        hits = found([anagram, "zzz"], entries(CAPITAL), min_cosine=0.9)

        assert hits.select("text_id", "kind", "score", "threshold").rows() == [("0", "cosine", 1.0, 0.9)]

    def test_are_compared_with_their_threshold(self) -> None:
        texts = ["abab abab ab ab ab ab ab ab", "aab aab aab aab aab aab aab aab"]  # cosine 3 / sqrt(10) = 0.949

        assert found(texts[1:], entries(texts[0]), min_cosine=0.94)["score"].to_list() == pytest.approx([3 / 10**0.5], abs=1e-3)
        assert found(texts[1:], entries(texts[0]), min_cosine=0.96).is_empty()

    def test_are_needed_for_every_text_and_every_long_prompt(self) -> None:
        prompts, none = prepare(entries(CAPITAL), 8), pl.DataFrame(schema={"text_id": pl.String, "index": pl.Int64})
        texts, vectors = pl.DataFrame({"text_id": ["t"], "text": ["x"]}), np.ones((1, 2), dtype=np.float16)

        with pytest.raises(SchemaError, match="1 texts have no vector, the first is t"):
            find_hits(texts, none, vectors, prompts, vectors, DecontaminateConfig())
        with pytest.raises(SchemaError, match="1 long benchmark prompts and 0 vectors"):
            find_hits(texts, none, vectors, prompts, vectors[:0], DecontaminateConfig())


def test_of_one_benchmark_and_kind_the_best_is_told_and_of_equal_ones_the_first() -> None:
    asked = pl.concat([entries(CAPITAL + " Why?", CAPITAL, CAPITAL, KNIGHT), entries(KNIGHT, CAPITAL, benchmark="other")])

    hits = found([CAPITAL], asked)

    assert hits.select("benchmark", "kind", "score", "entry").rows() == [
        ("bench", "cosine", 1.0, 1),
        ("bench", "ngram", 1.0, 1),
        ("other", "cosine", 1.0, 5),
        ("other", "ngram", 1.0, 5),
    ]


def test_nothing_to_look_for_or_in_finds_nothing() -> None:
    nothing = entries(CAPITAL).clear()

    assert found([CAPITAL], nothing).is_empty()
    assert found([], entries(CAPITAL)).schema == HITS
    assert found(["", "x"], entries(CAPITAL)).is_empty()


def slow_overlap(text: str, asked: str, n: int) -> float:
    """The share of a prompt's words in runs that a text has too, word by word."""
    said, words = re.findall(r"\w+", text.lower()), re.findall(r"\w+", asked.lower())
    runs = {tuple(said[i : i + n]) for i in range(len(said) - n + 1)}
    covered = {j for i in range(len(words) - n + 1) if tuple(words[i : i + n]) in runs for j in range(i, i + n)}
    return len(covered) / len(words)


sentences = st.lists(st.sampled_from(["ab", "cd", "ef", "gh"]), min_size=0, max_size=14).map(" ".join)


lists = st.lists(sentences, max_size=6)


@given(texts=lists, asked=lists, n=st.integers(3, 6), threshold=st.sampled_from([0.1, 0.5, 1]))
def test_overlaps_are_those_of_a_search_word_by_word(texts: list[str], asked: list[str], n: int, threshold: float) -> None:
    told = entries(*asked) if asked else entries("x").clear()
    hits = found(texts, told, ngram=n, min_overlap=threshold).filter((pl.col("kind") == "ngram") & ~pl.col("whole"))
    expected = []
    for i, text in enumerate(texts):
        scores = [(slow_overlap(text, one, n), -j) for j, one in enumerate(asked) if len(one.split()) >= n]
        best = max(scores, default=(0.0, 0))
        if best[0] >= threshold:
            expected.append((str(i), best[0], -best[1]))
    assert hits.select("text_id", "score", "entry").rows() == expected


def test_cutting_the_work_into_slices_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{i} {CAPITAL} {KNIGHT}" for i in range(9)]
    whole = found(texts, entries(CAPITAL, KNIGHT))

    monkeypatch.setattr(decontaminate, "_SLICE_BYTES", 300)
    monkeypatch.setattr(decontaminate, "_SLICE_ROWS", 1)

    assert whole.height == 9
    assert found(texts, entries(CAPITAL, KNIGHT)).equals(whole)


def tally(*rows: dict[str, Any]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Pairs with the ids of their texts, and the texts."""
    from pipeline.pairing import pair_up

    return add_text_ids(pair_up(judged(*rows)))


def marked(pairs: pl.DataFrame, texts: pl.DataFrame, asked: pl.DataFrame, **config: Any) -> pl.DataFrame:
    settings = DecontaminateConfig(**{"min_cosine": 1.0, **config})
    prompts, encoder = prepare(asked, settings.ngram), LetterEncoder()
    index = texts.unique("text_id").sort("text_id").with_row_index("index").with_columns(pl.col("index").cast(pl.Int64))
    vectors = encoder.encode(index["text"].to_list()).vectors
    asked_vectors = encoder.encode(prompts.entries.filter("long")["text"].to_list()).vectors
    hits = find_hits(texts, index.select("text_id", "index"), vectors, prompts, asked_vectors, settings)
    return mark(pairs, hits, prompts, settings)


class TestMark:
    def test_a_pair_leaves_with_stage_reason_score_threshold_and_what_it_holds(self) -> None:
        pairs, texts = tally(row(f"Please tell me: {CAPITAL}", "The Wei.", "The Thames."), row("Name a fruit.", "Apple", "Brick"))

        result = marked(pairs, texts, entries(KNIGHT, CAPITAL))

        assert result.height == 2
        left = result.filter(pl.col("left_stage").is_not_null()).row(0, named=True)
        assert {name: left[name] for name in left if name.startswith(("left_", "contam"))} == {
            "contamination": 1.0,
            "contaminated_by": "bench:1",
            "left_stage": "decontaminate",
            "left_reason": "contaminated",
            "left_score": 1.0,
            "left_threshold": 0.5,
            "left_detail": 'bench:1 in the prompt, 8-gram overlap 1.0: "Which river flows through the capital of the country that in..."',
            "left_witness_pair_id": None,
        }
        stayed = result.filter(pl.col("left_stage").is_null()).row(0, named=True)
        assert (stayed["contamination"], stayed["contaminated_by"], stayed["left_detail"]) == (None, None, None)

    @pytest.mark.parametrize(
        ("prompt", "a", "said"),
        [
            pytest.param([message("user", "Hi"), message("assistant", "Hi"), message("user", CAPITAL)], "x", "the prompt", id="history"),
            pytest.param("Make a riddle.", f"Here: {CAPITAL}", "an answer", id="answer"),
            pytest.param([message("system", "Be brief."), message("user", SHORT)], "x", "the last user turn", id="short-and-only-turn"),
        ],
    )
    def test_it_says_in_which_text(self, prompt: Any, a: str, said: str) -> None:
        result = marked(*tally(row(prompt, a, "y")), entries(CAPITAL, SHORT))

        assert result["left_detail"].str.contains(f" in {said}, ").to_list() == [True]

    def test_a_short_prompt_is_nothing_in_an_answer_or_after_other_turns(self) -> None:
        talk = [message("user", "Hi"), message("assistant", "Hello"), message("user", SHORT)]

        result = marked(*tally(row(talk, "x", "y"), row("What shall we do?", SHORT, "Sleep")), entries(SHORT))

        assert result["contamination"].to_list() == [None, None]

    def test_a_cosine_is_called_one(self) -> None:
        result = marked(*tally(row("".join(reversed(CAPITAL)), "x", "y")), entries(CAPITAL))

        assert result["left_detail"].str.starts_with("bench:0 in the prompt, cosine 1.0: ").to_list() == [True]

    def test_of_several_hits_the_highest_score_is_told(self) -> None:
        half = "Which river flows through the capital of the moon?"

        result = marked(*tally(row(half, KNIGHT, "y")), entries(CAPITAL, KNIGHT))

        assert result["contaminated_by"].to_list() == ["bench:1"]

    def test_flag_leaves_the_pairs_where_they_are(self) -> None:
        result = marked(*tally(row(CAPITAL, "x", "y")), entries(CAPITAL), action="flag")

        assert result.select("contamination", "contaminated_by", "left_stage", "left_detail").rows() == [(1.0, "bench:0", None, None)]

    def test_what_left_before_keeps_its_reason(self) -> None:
        pairs, texts = tally(row(CAPITAL, "x", "y"))
        pairs = pairs.with_columns(left_stage=pl.lit("deduplicate"), left_reason=pl.lit("near_duplicate"), left_score=pl.lit(0.97))

        result = marked(pairs, texts, entries(CAPITAL))

        assert result.select("left_stage", "left_reason", "left_score", "left_detail", "contamination").rows() == [
            ("deduplicate", "near_duplicate", 0.97, None, 1.0)
        ]

    def test_no_benchmark_gives_the_same_columns_and_marks_nothing(self) -> None:
        pairs, texts = tally(row(CAPITAL, "x", "y"))

        result = marked(pairs, texts, entries(CAPITAL).clear())

        assert result.columns == marked(pairs, texts, entries(CAPITAL)).columns
        assert result["contamination"].to_list() == [None]

    def test_order_and_partitions_of_pairs_change_nothing(self) -> None:
        rows = [row(f"{i}: {CAPITAL if i % 3 else KNIGHT}", f"a{i}", f"b{i}") for i in range(12)] + [row("Hi", "x", "y")]
        pairs, texts = tally(*rows)
        asked = entries(KNIGHT, CAPITAL)
        whole = marked(pairs, texts, asked).sort("pair_id")

        shuffled = marked(pairs.sample(fraction=1.0, shuffle=True, seed=1), texts.sample(fraction=1.0, shuffle=True, seed=2), asked)
        parts = [marked(part, texts, asked) for part in (pairs[:5], pairs[5:])]

        assert whole["contaminated_by"].null_count() == 1
        assert shuffled.sort("pair_id").equals(whole)
        assert pl.concat(parts).sort("pair_id").equals(whole)


def test_hits_are_told_text_by_text() -> None:
    pairs, texts = tally(row(CAPITAL, f"{CAPITAL} The Wei.", "y"))
    settings, prompts = DecontaminateConfig(min_cosine=1.0), prepare(entries(CAPITAL), 8)
    index = texts.with_row_index("index").with_columns(pl.col("index").cast(pl.Int64))
    vectors = LetterEncoder().encode(texts["text"].to_list()).vectors
    hits = find_hits(texts, index.select("text_id", "index"), vectors, prompts, LetterEncoder().encode([CAPITAL]).vectors, settings)

    told = hits_in_pairs(pairs, hits, {"prompt_text": "prompt", "low_text": "low", "high_text": "high"})

    side = "low" if CAPITAL in pairs["low"][0][0]["content"] else "high"
    assert told.sort("rank", "kind").select("place", "kind").rows() == [("prompt", "cosine"), ("prompt", "ngram"), (side, "ngram")]
