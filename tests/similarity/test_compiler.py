"""Where the compiled kernel cannot be had, or its code not be kept, joins work all the same."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

JOIN = """
import numpy as np; from pipeline.similarity import join, nearest, self_join
join._MANY_PAIRS = 0
print(self_join(np.array([[3.0, 4.0], [6.0, 8.0], [4.0, -3.0]]), 0.9, device="cpu"), "pipeline.similarity.vnni" in sys.modules)
"""
WITHOUT = "Hits(left=array([0]), right=array([1]), cosine=array([1.])) False"


def output(code: str, **environment: str) -> str:
    """What a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import sys\n" + code],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_same_without_a_compiler() -> None:
    assert output("sys.modules.update(dict.fromkeys(['numba', 'llvmlite', 'triton']))" + JOIN) == WITHOUT


@pytest.mark.parametrize("missing", ["avx512f", "avx512bw", "avx512vnni", "f16c"])
def test_the_kernel_is_not_compiled_where_the_processor_lacks_an_instruction(missing: str) -> None:
    pytest.importorskip("llvmlite")
    has = f"dict.fromkeys({{'avx512f', 'avx512bw', 'avx512vnni', 'f16c'}} - {{'{missing}'}}, True)"

    assert output(f"import llvmlite.binding; llvmlite.binding.get_host_cpu_features = lambda: {has}" + JOIN) == WITHOUT


@pytest.mark.parametrize("told", [{"NUMBA_DISABLE_JIT": "1"}, {"NUMBA_CPU_NAME": "generic"}, {"NUMBA_CPU_FEATURES": "+sse2"}])
def test_the_kernel_is_not_compiled_where_numba_is_told_not_to_or_for_another_processor(told: dict[str, str]) -> None:
    pytest.importorskip("numba")

    assert output(JOIN, **told) == WITHOUT


def test_little_work_loads_no_compiler() -> None:
    code = (
        "import numpy as np; from pipeline.similarity import nearest, self_join\n"
        "v = np.random.default_rng(0).normal(size=(1000, 384)); self_join(v, 0.9); nearest(v[:5], v, 3)\n"
        "print(sorted({'numba', 'llvmlite'} & set(sys.modules)))"
    )

    assert output(code) == "[]"


def test_where_no_folder_can_be_written_the_kernel_is_compiled_for_the_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.similarity import join

    if not join.compiles():
        pytest.skip("needs numba and a processor with AVX-512 VNNI")
    from pipeline.similarity import vnni

    def njit(signature: str, cache: bool = False, **options: object) -> Callable[[Any], Any]:
        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            if cache:
                raise RuntimeError("cannot cache function: no locator available")
            return function

        return decorate

    monkeypatch.setattr(vnni.numba, "njit", njit)

    assert vnni._compiled("int64(int64)")(abs) is abs
