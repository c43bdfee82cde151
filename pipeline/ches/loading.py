"""Where a causal model and its tokenizer come from."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pipeline.ches.model import CausalModel
from pipeline.embed.loading import best_device, first_line, folder_or_hub_id, without_progress_bars
from pipeline.errors import ConfigError

_KEY = "signals.ches.model"
_EXPECTED = "a folder with a causal language model in safetensors, as save_pretrained writes it, or a hub id"
_SHOWN = 3  # names of weights in a message

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


def load_causal_model(
    place: str,
    *,
    revision: str | None,
    dtype: Dtype,
    batch_tokens: int | None,
    threads: int | None,
    device: str | None = None,
) -> CausalModel:
    """Load a causal model of transformers from safetensors; no code that comes with a model is run.

    Args:
        place: a folder (relative ones start at the working directory) or a hub id, which needs the network or the hub's cache.
        revision: branch, tag or commit of a hub id; None: its default branch.
        dtype: auto: bfloat16 on a GPU that multiplies such numbers by itself, else float32.
        batch_tokens: of a batch, padding included; None: what suits the device.
        threads: batches worked on at once, on the processor; None: as many as it has cores.
        device: such as cuda:1; None: the first GPU, or the processor where there is none.

    Raises:
        ConfigError: it is not there, is broken or incomplete, is quantised, or is no causal language model.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    name, (found, is_folder) = place, folder_or_hub_id(place, _KEY, _EXPECTED)
    if is_folder:
        _check_folder(Path(found), name)
    device = device or best_device()
    common: dict[str, Any] = {"revision": revision or "main", "trust_remote_code": False, "local_files_only": is_folder}
    with _told_as_config_error(name), without_progress_bars(), _without_warnings():
        config = AutoConfig.from_pretrained(found, **common)
        _check_config(config, name)
        loader: Any = AutoModelForCausalLM
        model, info = loader.from_pretrained(
            found,
            config=config,
            dtype=getattr(torch, _dtype(dtype, device)),
            use_safetensors=True,
            output_loading_info=True,
            **common,
        )
    _check_weights(model, info, name)
    try:
        model = model.to(device).eval()
        return CausalModel(model, name, batch_tokens, threads or os.cpu_count() or 1)
    except torch.OutOfMemoryError as error:
        raise ConfigError(
            f"{_KEY}: {name!r} does not fit into the memory of {device}. Name a smaller model, or set `dtype: bfloat16`."
        ) from error


def load_chat_tokenizer(place: str, revision: str | None) -> Any:  # noqa: ANN401 (a tokenizer of whatever class the model has)
    """Load the fast tokenizer that comes with a causal model, its chat template with it where it has one.

    Raises:
        ConfigError: it is not there, or has no fast version.
    """
    from transformers import AutoTokenizer

    found, is_folder = folder_or_hub_id(place, _KEY, _EXPECTED)
    with _told_as_config_error(place, "tokenizer"), _without_warnings():
        tokenizer: Any = AutoTokenizer.from_pretrained(  # type: ignore[no-untyped-call, unused-ignore]
            found, revision=revision or "main", trust_remote_code=False, use_fast=True, local_files_only=is_folder
        )
    if not getattr(tokenizer, "is_fast", False):
        raise ConfigError(f"{_KEY}: {place!r} has no fast tokenizer (tokenizer.json), which says where in a text each token lies.")
    if tokenizer.backend_tokenizer.get_vocab_size(with_added_tokens=False) < 2:  # what transformers makes up where there are no files
        raise ConfigError(f"{_KEY}: {place!r} has no tokenizer. Save the tokenizer of the model into the same folder.")
    return tokenizer


def _dtype(dtype: Dtype, device: str) -> str:
    import torch

    if dtype != "auto":
        return dtype
    native = device.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if native else "float32"


def _check_folder(folder: Path, name: str) -> None:
    if (folder / "adapter_config.json").is_file():
        raise ConfigError(f"{_KEY}: {name!r} is an adapter. Merge it into its model (merge_and_unload) and name the folder of the result.")
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{_KEY}: {name!r} has no config.json. Expected {_EXPECTED}.")
    if not any(folder.glob("*.safetensors")):
        others = sorted(file.name for pattern in ("*.bin", "*.pt", "*.pth", "*.gguf", "*.h5") for file in folder.glob(pattern))
        has = f"only {', '.join(others[:_SHOWN])}, which may run code or lose precision when loaded" if others else "no weights at all"
        raise ConfigError(f"{_KEY}: {name!r} has no weights in safetensors, {has}. Save it with save_pretrained and name that folder.")


def _check_config(config: Any, name: str) -> None:  # noqa: ANN401 (of whatever class the model has)
    quantised = getattr(config, "quantization_config", None)
    if quantised is not None:
        method = quantised.get("quant_method") if isinstance(quantised, dict) else getattr(quantised, "quant_method", None)
        raise ConfigError(
            f"{_KEY}: {name!r} is quantised ({method or 'of unknown method'}), so its states are not the policy's. Name the full model."
        )


def _check_weights(model: Any, info: dict[str, Any], name: str) -> None:  # noqa: ANN401 (of whatever class the model has)
    def some(names: list[str]) -> str:
        return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")

    if getattr(model, "_hf_peft_config_loaded", False):
        raise ConfigError(f"{_KEY}: {name!r} is an adapter. Merge it into its model (merge_and_unload) and name the folder of the result.")
    missing = sorted(map(str, info.get("missing_keys") or ()))
    if missing:
        raise ConfigError(f"{_KEY}: {name!r} lacks weights that its config asks for: {some(missing)}. Get the model anew, or name another.")
    mismatched = sorted(str(one[0] if isinstance(one, tuple | list) else one) for one in info.get("mismatched_keys") or ())
    if mismatched:
        raise ConfigError(f"{_KEY}: weights of {name!r} are not of the shape its config asks for: {some(mismatched)}. Get the model anew.")
    left = sorted(str(one) for one in info.get("unexpected_keys") or ())
    if layers := _unread_layers(left, model):
        raise ConfigError(
            f"{_KEY}: {name!r} has layers that its config leaves out: {some(layers)}. Get the model anew, or mend config.json."
        )
    whole_numbers = sorted(key for key, weight in model.named_parameters() if not weight.is_floating_point())
    if whole_numbers:
        raise ConfigError(
            f"{_KEY}: {name!r} has weights that are whole numbers: {some(whole_numbers)}; it is quantised. Name the full model."
        )


def _unread_layers(left: list[str], model: Any) -> list[str]:  # noqa: ANN401 (of whatever class the model has)
    """Weights that were left, of the same layout as a layer's: the config says fewer layers than there are."""
    shapes = {_without_number(key) for key, _ in model.named_parameters() if _without_number(key) != key}
    return [key for key in left if _without_number(key) in shapes]


def _without_number(key: str) -> str:
    return ".".join("*" if part.isdigit() else part for part in key.split("."))


@contextmanager
def _told_as_config_error(name: str, what: str = "model") -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # whatever a library says of a broken file, it is the config that names it
        reason = first_line(error)
        if isinstance(error, SafetensorError):
            reason = f"a file of weights is broken or cut off ({reason})"
        elif isinstance(error, json.JSONDecodeError):
            reason = f"a JSON file is broken or cut off ({reason})"
        whose = "" if what == "model" else f"the {what} of "
        raise ConfigError(f"{_KEY}: {whose}{name!r} cannot be loaded: {reason}. Expected {_EXPECTED}.") from error


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Have transformers keep its remarks on a model to itself: what matters is checked here."""
    from transformers.utils import logging

    verbosity: Any = logging
    before = verbosity.get_verbosity()
    verbosity.set_verbosity_error()
    try:
        yield
    finally:
        verbosity.set_verbosity(before)
