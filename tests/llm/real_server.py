"""`transformers serve` with a tiny causal model made on the fly: a real server, not of our making.

The model answers everything with one text. Its layers add nothing to the embeddings, so that the next token depends on the last one
alone: after the opening of its turn comes one token that is the whole text, and after that the end of the turn.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from tests.ches.tokenizers import tokenizer

START_SECONDS = 120


@dataclass(frozen=True)
class RealServer:
    """A server that runs: its address, the name of its one model, and that model's tokenizer."""

    url: str
    model: str
    texts: Any


def save_model(folder: Path, answer: str) -> Any:
    """A Llama that always answers `answer`, in a folder as from a hub. Returns its tokenizer."""
    texts = tokenizer("bytes", "chatml")
    texts.add_tokens([AddedToken(answer, normalized=False)])
    opened = texts.apply_chat_template([{"role": "user", "content": "Hi"}], add_generation_prompt=True, return_dict=False)[-1]
    said, ended = texts.convert_tokens_to_ids([answer, "<|im_end|>"])
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(texts), max_position_embeddings=4096, tie_word_embeddings=False, **shape))
    with torch.no_grad():
        for weight in (
            model.model.layers[0].self_attn.o_proj,
            model.model.layers[0].mlp.down_proj,
            model.lm_head,
            model.model.embed_tokens,
        ):
            weight.weight.zero_()
        model.model.embed_tokens.weight[:, 2] = 1.0
        model.model.embed_tokens.weight[opened] = torch.eye(8)[0]
        model.model.embed_tokens.weight[said] = torch.eye(8)[1]
        model.lm_head.weight[said, 0] = 1.0
        model.lm_head.weight[ended, 1:3] = 1.0
    model.generation_config = GenerationConfig(eos_token_id=ended, pad_token_id=ended)
    model.save_pretrained(folder)
    texts.save_pretrained(folder)
    return texts


@contextmanager
def real_server(folder: Path, answer: str) -> Iterator[RealServer]:
    """Run one while the block lasts, in a process of its own on 127.0.0.1.

    Args:
        folder: for the model and what the server writes.
        answer: of the model.
    """
    model, hub = folder / "tiny", folder / "hub"
    texts = save_model(model, answer)
    (hub / "hub").mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(Path(sys.executable).parent / "transformers"),
        "serve",
        str(model),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--device",
        "cpu",
    ]
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(hub), "HF_HUB_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=os.environ | offline, stdout=log, stderr=log)
    try:
        _wait_until_up(process, f"http://127.0.0.1:{port}/health", folder / "server.log")
        yield RealServer(f"http://127.0.0.1:{port}/v1", str(model), texts)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_up(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                if reply.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"transformers serve did not start:\n{log.read_text(errors='replace')[-4000:]}")
