"""What a model's results depend on besides its input: weights, settings of the process, and the threads that passes run in."""

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_ON_THE_PROCESSOR = threading.Lock()  # one caller's threads are as many as there are cores
_COUNTING = threading.Lock()
_inside: list[tuple[int, str, bool]] = []  # what each caller found when it came, or would have


def weights_digest(model: "torch.nn.Module") -> "hashlib.blake2b":
    """A started hash of 16 bytes over a model's weights, as loaded: names, types, shapes and bytes."""
    import torch

    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest


@contextmanager
def fixed_arithmetic(device: str) -> Iterator[None]:
    """Settings that rounding depends on, for the process; put back when the last of all callers is done.

    On the processor one caller works at a time, the others wait.

    Args:
        device: type of the device: cpu, cuda.
    """
    with _ON_THE_PROCESSOR if device == "cpu" else nullcontext():
        _set(device)
        try:
            yield
        finally:
            _put_back()


@contextmanager
def workers(passes: int, own_streams: bool = False) -> Iterator[ThreadPoolExecutor]:
    """Threads that run one pass each, on one core; after an error none begins another.

    Args:
        passes: at once.
        own_streams: whether each has a CUDA stream of its own, so that it waits for a result without the others' kernels.
    """
    pool = ThreadPoolExecutor(passes, initializer=_use_one_stream if own_streams else _use_one_thread)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _set(device: str) -> None:
    import torch

    with _COUNTING:
        # Workers set their own count, but new threads inherit the count that any thread set last.
        found = (torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled())
        _inside.append(_inside[0] if _inside else found)
        torch.set_float32_matmul_precision("highest")
        if device == "cuda":
            torch.use_deterministic_algorithms(True)


def _put_back() -> None:
    import torch

    with _COUNTING:
        threads, precision, deterministic = _inside.pop()
        if not _inside:
            torch.set_num_threads(threads)
            torch.set_float32_matmul_precision(precision)
            torch.use_deterministic_algorithms(deterministic)


def _use_one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _use_one_stream() -> None:
    import torch

    stream: Any = torch.cuda.Stream
    torch.cuda.set_stream(stream())  # of this thread alone
