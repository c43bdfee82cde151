"""Tiny language models in folders, as they come from a hub."""

from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.ches.tokenizers import tokenizer


def save_llama(folder: Path, seed: int = 0, template: str | None = "chatml", **config: Any) -> str:
    """A Llama with random weights and a byte-level tokenizer; returns its place."""
    texts = tokenizer("bytes", template)
    torch.manual_seed(seed)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    known = LlamaConfig(vocab_size=len(texts), max_position_embeddings=512, bos_token_id=1, eos_token_id=2, **{**shape, **config})
    LlamaForCausalLM(known).save_pretrained(folder)
    texts.save_pretrained(folder)
    return str(folder)
