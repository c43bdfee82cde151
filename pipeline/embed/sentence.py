"""A sentence-transformers model whose vectors do not depend on what else is encoded."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.embed.arithmetic import fixed_arithmetic, weights_digest, workers
from pipeline.embed.batches import batch_shapes, plan_batches
from pipeline.embed.tables import Encoded
from pipeline.embed.windows import Windows, WindowTokenizer, lengths_of, pool, pool_norms, slices
from pipeline.errors import ConfigError, PrefineError
from pipeline.similarity import round_vectors

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

# What is tokenised while the slice before it is in the model: enough texts that their last, partly filled batches (one a
# rung) do not count, and few enough characters that the ids of two slices are small beside the model's own memory.
_SLICE = {"cpu": (8192, 8_000_000), "cuda": (131_072, 128_000_000)}

_TEXTS_AT_ONCE = {"cpu": 16_384, "cuda": 131_072}  # some minutes on two cores, some seconds on a large GPU

_GPU_PASSES = 2  # while one waits for its result, the other's kernels are queued



class SentenceEncoder:
    """An `Encoder` over a sentence-transformers model.

    Args:
        model: in evaluation mode, on its device.
        name: for messages.
        threads: batches worked on at once, on the CPU.

    Raises:
        ConfigError: the model is not a text transformer with a fast tokenizer, or changes texts before it reads them.
    """

    def __init__(self, model: "SentenceTransformer", name: str, threads: int) -> None:
        self._model, self._name, self._device = model, name, model.device.type
        self._passes = threads if self._device == "cpu" else _GPU_PASSES
        self._one_call = threading.Lock()
        tokenizer: Any = model.tokenizer
        dimensions, longest = model.get_embedding_dimension(), model.max_seq_length
        if dimensions is None or longest is None or not hasattr(model[0], "auto_model") or not hasattr(tokenizer, "backend_tokenizer"):
            raise ConfigError(f"embed.model: {name!r} is not a text transformer with a fast tokenizer, known dimensions and longest input.")
        if model.default_prompt_name is not None:
            raise ConfigError(f"embed.model: {name!r} puts its prompt {model.default_prompt_name!r} before texts; name one without.")
        self._shapes = batch_shapes(int(longest), self._device)
        self._tokenizer = WindowTokenizer(tokenizer, self._shapes[-1][1], name)
        self._pad, self._has_types = int(tokenizer.pad_token_id or 0), "token_type_ids" in tokenizer.model_input_names
        self.dimensions, self.texts_at_once = int(dimensions), _TEXTS_AT_ONCE[self._device]
        self._pools_by_mean = _pools_by_mean(model)
        self.fingerprint = _fingerprint(model, self._shapes, self._tokenizer.size)

    def encode(self, texts: Sequence[str], on_progress: Callable[[int], None] | None = None) -> Encoded:
        """Encode texts, in their order; `on_progress` gets the number of texts done since its last call."""
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float16)
        norms, tokens = np.empty(len(texts), dtype=np.float32), np.empty(len(texts), dtype=np.int32)
        parts = list(slices(texts, *_SLICE[self._device]))
        with ThreadPoolExecutor(1) as ahead:
            upcoming = [ahead.submit(self._tokenizer.cut, texts[part]) for part in parts[:1]]  # while another call is in the model
            with self._one_call, fixed_arithmetic(self._device), workers(self._passes, self._device == "cuda") as threads:
                for number, part in enumerate(parts):
                    cut = upcoming.pop().result()
                    upcoming += [ahead.submit(self._tokenizer.cut, texts[then]) for then in parts[number + 1 : number + 2]]
                    vectors[part], norms[part] = self._encode_windows(cut, threads, on_progress)
                    tokens[part] = cut.tokens
        return Encoded(vectors, tokens, norms)

    def token_table(self) -> npt.NDArray[np.float32]:
        """The input embeddings of the model, (V, D'), one row a token."""
        transformer: Any = self._model[0]
        table: npt.NDArray[np.float32] = transformer.auto_model.get_input_embeddings().weight.detach().float().cpu().numpy()
        return table

    def token_ids(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """The tokens of N texts end to end, uncut and without special ones, and their N + 1 offsets."""
        return self._tokenizer.token_ids(texts)

    def _encode_windows(
        self, cut: Windows, threads: ThreadPoolExecutor, on_progress: Callable[[int], None] | None
    ) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float32]]:
        vectors = np.empty((cut.sizes.size, self.dimensions), dtype=np.float16)
        norms = np.empty(cut.sizes.size, dtype=np.float32)
        is_first = np.zeros(cut.sizes.size, dtype=bool)
        is_first[cut.firsts] = True
        special = self._tokenizer.before.size + self._tokenizer.after.size

        def work(rung: int, members: npt.NDArray[np.intp]) -> int:
            vectors[members], norms[members] = self._forward(rung, cut.ids, cut.starts[members], cut.sizes[members])
            return int(np.count_nonzero(is_first[members]))

        for done in as_completed([threads.submit(work, *batch) for batch in plan_batches(cut.sizes + special, self._shapes)]):
            count = done.result()
            if on_progress is not None:
                on_progress(count)
        with self._directions():
            return pool(cut, vectors), pool_norms(cut, vectors, norms)

    def _forward(
        self, rung: int, ids: npt.NDArray[np.int32], starts: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float32]]:
        """The vectors and norms of a batch's windows; rows without a window are dummies."""
        import torch

        before, after = self._tokenizer.before, self._tokenizer.after
        (rows, width), ends = self._shapes[rung], sizes[:, np.newaxis] + before.size
        place = np.arange(width)
        inputs = np.full((rows, width), self._pad, dtype=np.int64)
        filled = inputs[: sizes.size]
        inside = (place >= before.size) & (place < ends)
        filled[inside] = ids[(starts[:, np.newaxis] + place - before.size)[inside]]
        filled[:, : before.size] = before
        filled[np.arange(sizes.size)[:, np.newaxis], ends + np.arange(after.size)] = after
        mask = np.zeros((rows, width), dtype=np.int64)
        mask[: sizes.size] = place < ends + after.size
        mask[:, 0] = 1  # a row without any token, dummies among them, would average over nothing
        features = {"input_ids": torch.from_numpy(inputs), "attention_mask": torch.from_numpy(mask)}
        if self._has_types:
            features["token_type_ids"] = torch.zeros((rows, width), dtype=torch.int64)
        if self._device == "cuda":  # from pinned memory the copies do not hold up this thread
            features = {name: tensor.pin_memory().to("cuda", non_blocking=True) for name, tensor in features.items()}
        with torch.inference_mode():
            given = self._model(features)
            vectors = given["sentence_embedding"][: sizes.size].float().cpu().numpy()
            norms = self._norms(given)[: sizes.size]
        with self._directions():
            return round_vectors(vectors), norms

    def _norms(self, given: "dict[str, torch.Tensor]") -> npt.NDArray[np.float32]:
        """Lengths of the mean token states of a batch's rows; NaN where its vectors are not their mean."""
        import torch

        mask = given["attention_mask"]
        if not self._pools_by_mean:
            return np.full(mask.shape[0], np.nan, dtype=np.float32)
        states = given["token_embeddings"]
        # As the pooling sums, whose own mean is rounded to the model's dtype before the vector is scaled.
        sums = (states * mask.unsqueeze(-1).to(states.dtype)).sum(dim=1, dtype=torch.float32)
        norms: npt.NDArray[np.float64] = lengths_of(sums.cpu().numpy()) / mask.sum(dim=1).cpu().numpy()
        return norms.astype(np.float32)

    @contextmanager
    def _directions(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise PrefineError(f"embed.model: {self._name!r} gave an unusable vector: {error}. Try `embed: {{dtype: float32}}`.") from error


def _pools_by_mean(model: "SentenceTransformer") -> bool:
    """Whether a vector is the mean of token states at unit length: nothing comes between the states, the mean and the scaling."""
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

    _, *after = model
    is_mean = bool(after) and isinstance(after[0], Pooling) and after[0].pooling_mode == "mean"
    return is_mean and all(isinstance(module, Normalize) for module in after[1:])


def _fingerprint(model: "SentenceTransformer", shapes: tuple[tuple[int, int], ...], window: int) -> str:
    """Everything a vector depends on besides its text, as loaded: where the files lie does not matter."""
    digest = weights_digest(model)
    transformer: Any = model[0]
    tokenizer = json.loads(transformer.tokenizer.backend_tokenizer.to_str())
    network = transformer.auto_model.config.to_dict()
    about = {
        "modules": [[type(module).__name__, getattr(module, "get_config_dict", dict)()] for module in model],
        "network": {key: value for key, value in network.items() if key not in ("_name_or_path", "transformers_version")},
        "tokenizer": {key: value for key, value in tokenizer.items() if key not in ("truncation", "padding")},
        "shapes": shapes,
        "windows": [window, "mean weighted by tokens"],
        "states": "mean norm",
        "dtype": str(model.dtype),
        "device": model.device.type,
        "rounding": "fp16",
    }
    digest.update(json.dumps(about, sort_keys=True, default=str).encode())
    return digest.hexdigest()
