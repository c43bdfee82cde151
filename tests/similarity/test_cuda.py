"""The join for CUDA devices. Without one, torch's CPU tensors and Triton's interpreter run the same code."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.similarity import round_vectors
from pipeline.similarity.bound import Half, Hits, basis
from pipeline.similarity.cuda import join, join_with, tables
from pipeline.similarity.cuda.tables import Sizes, Table, filter_threshold

CPU = torch.device("cpu")
SMALL = Sizes(block=32, tile_rows=16, tile_columns=16, span=2, capacity=1 << 12, limit=1 << 14, confirm=100, product=300)
Join = Callable[[Half, Half | None, float, Sizes], Hits]


def clustered(rows: int, dimensions: int = 48, seed: int = 0, noise: float = 0.35) -> Half:
    """Rows around twelve centres, every tenth row the same as another."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(12, dimensions))
    vectors = round_vectors((centres[rng.integers(0, 12, rows)] + noise * rng.normal(size=(rows, dimensions))).astype(np.float32))
    vectors[::10] = vectors[rows // 2]
    return vectors


def scattered(rows: int, dimensions: int, seed: int = 0) -> Half:
    return round_vectors(np.random.default_rng(seed).normal(size=(rows, dimensions)).astype(np.float32))


def all_cosines(queries: Half, corpus: Half) -> npt.NDArray[np.float64]:
    """The whole table in float64, in which every sum is exact."""
    a, b = queries.astype(np.float64), corpus.astype(np.float64)
    return np.clip((a @ b.T) / np.sqrt(np.outer((a * a).sum(axis=1), (b * b).sum(axis=1))), -1.0, 1.0)


def expected(queries: Half, corpus: Half | None, min_cosine: float) -> Hits:
    cosines = all_cosines(queries, queries if corpus is None else corpus)
    hit = cosines >= min_cosine
    left, right = np.nonzero(np.triu(hit, 1) if corpus is None else hit)
    return Hits(left, right, cosines[left, right])


def assert_same(found: Hits, wanted: Hits) -> None:
    assert found.left.tolist() == wanted.left.tolist()
    assert found.right.tolist() == wanted.right.tolist()
    assert found.cosine.tolist() == wanted.cosine.tolist()
    assert (found.left.dtype, found.right.dtype, found.cosine.dtype) == (np.int64, np.int64, np.float64)


@pytest.fixture(scope="module")
def interpreted() -> Iterator[Join]:
    """The kernels under Triton's interpreter: in another process, because Triton asks for it once, when it is imported."""
    pytest.importorskip("triton")
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRITON_INTERPRET", "1")
            pool.submit(int).result()  # starts the process
        yield lambda queries, corpus, min_cosine, sizes: pool.submit(
            join_with, queries, corpus, min_cosine, [CPU], fused=True, sizes=sizes
        ).result()


def plain(queries: Half, corpus: Half | None, min_cosine: float, sizes: Sizes = SMALL) -> Hits:
    return join_with(queries, corpus, min_cosine, [CPU], fused=False, sizes=sizes)


@settings(max_examples=40)
@given(st.integers(1, 100), st.integers(0, 3), st.sampled_from([-2.0, -1.0, 0.0, 0.5, 0.9, 1.0, 1.5]))
def test_torch_alone_finds_exactly_the_pairs_of_a_table_joined_with_itself(rows: int, seed: int, min_cosine: float) -> None:
    vectors = clustered(rows, seed=seed)

    assert_same(plain(vectors, None, min_cosine), expected(vectors, None, min_cosine))


@settings(max_examples=40)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40), st.sampled_from([-1.0, 0.3, 0.9, 1.0]))
def test_torch_alone_finds_exactly_the_pairs_of_two_tables(queries: int, corpus: int, dimensions: int, min_cosine: float) -> None:
    a, b = scattered(queries, dimensions, 1), scattered(corpus, dimensions, 2)
    b[: min(queries, corpus)] = a[: min(queries, corpus)]

    assert_same(plain(a, b, min_cosine), expected(a, b, min_cosine))


@pytest.mark.parametrize(
    ("rows", "min_cosine"), [(1, -2.0), (2, 1.5), (15, -2.0), (16, 0.9), (17, 0.5), (31, 1.0), (32, 0.9), (33, 0.9), (47, -2.0), (70, 0.9)]
)
def test_the_kernels_find_exactly_the_pairs_of_a_table_joined_with_itself(interpreted: Join, rows: int, min_cosine: float) -> None:
    vectors = clustered(rows)

    assert_same(interpreted(vectors, None, min_cosine, SMALL), expected(vectors, None, min_cosine))


@pytest.mark.parametrize(("queries", "corpus"), [(1, 1), (1, 33), (33, 1), (16, 48), (40, 65)])
def test_the_kernels_find_exactly_the_pairs_of_two_tables(interpreted: Join, queries: int, corpus: int) -> None:
    a, b = clustered(queries, seed=1), clustered(corpus, seed=2)

    for min_cosine in (0.2, 0.8):
        assert_same(interpreted(a, b, min_cosine, SMALL), expected(a, b, min_cosine))


@pytest.mark.parametrize("dimensions", [1, 7, 32, 64, 96, 130])
def test_the_kernels_multiply_rows_of_every_width(interpreted: Join, dimensions: int) -> None:
    # Scattered rows have no short rest, so the filter keeps all coordinates, in one piece or in several.
    vectors = scattered(40, dimensions)

    for sizes in (SMALL, replace(SMALL, depth=32)):
        assert_same(interpreted(vectors, None, 0.3, sizes), expected(vectors, None, 0.3))


def test_words_full_to_the_last_bit_give_every_pair(interpreted: Join) -> None:
    vectors = np.repeat(scattered(1, 40), 150, axis=0)
    sizes = replace(SMALL, block=128, tile_columns=128)

    assert_same(interpreted(vectors[:2], vectors, 1.0, sizes), expected(vectors[:2], vectors, 1.0))


@pytest.mark.parametrize("capacity", [1, 7])
def test_no_pair_is_lost_when_the_lists_overflow(interpreted: Join, capacity: int) -> None:
    vectors = clustered(70)

    assert_same(interpreted(vectors, None, 0.5, replace(SMALL, capacity=capacity)), expected(vectors, None, 0.5))


@pytest.mark.parametrize("limit", [1, 40, 300])
def test_a_block_with_more_candidates_than_the_limit_is_done_in_halves(interpreted: Join, limit: int) -> None:
    vectors = clustered(50)
    sizes = replace(SMALL, block=64, capacity=8, limit=limit)

    assert_same(interpreted(vectors, None, 0.2, sizes), expected(vectors, None, 0.2))
    assert_same(interpreted(vectors[:10], vectors, 0.5, sizes), expected(vectors[:10], vectors, 0.5))


def test_a_threshold_equal_to_a_cosine_includes_it_and_the_next_number_leaves_it_out(interpreted: Join) -> None:
    vectors = clustered(33)
    cosines = all_cosines(vectors, vectors)

    for at in sorted({*np.triu(cosines, 1)[np.triu(cosines, 1) > 0.6].tolist()})[::40]:
        for min_cosine in (at, np.nextafter(at, 2.0)):
            wanted = expected(vectors, None, min_cosine)
            assert (at in wanted.cosine) == (min_cosine == at)
            assert_same(plain(vectors, None, min_cosine), wanted)
            assert_same(interpreted(vectors, None, min_cosine, SMALL), wanted)


@pytest.mark.parametrize("dimensions", [2, 40, 200])
@pytest.mark.parametrize("k", [2, 16, None])
def test_rounded_rows_reach_the_threshold_wherever_the_cosine_does(dimensions: int, k: int | None) -> None:
    a, b = clustered(60, dimensions, seed=1), clustered(50, dimensions, seed=2)
    rotation = basis(a, b)
    width = dimensions if k is None else min(k, rotation.shape[1])
    left, right = (Table(table, "vectors", CPU, SMALL) for table in (a, b))
    for table in (left, right):
        table.reduce(rotation, width)

    products = left.bounding.double()[:60] @ right.bounding.double()[:50].T
    thresholds = np.vectorize(lambda cosine: filter_threshold(left, right, cosine))(all_cosines(a, b))

    assert (products.numpy() >= thresholds).all()
    assert float(left.bounding[60:].abs().sum() + right.bounding[50:].abs().sum()) == 0
    assert (np.abs(thresholds - all_cosines(a, b)) < 5e-3).all()  # and not by much, or the filter would be idle


def test_several_devices_give_what_one_gives() -> None:
    vectors = clustered(200)

    assert_same(join_with(vectors, None, 0.5, [CPU] * 3, fused=False, sizes=SMALL), expected(vectors, None, 0.5))
    assert_same(join_with(vectors, vectors[:7], 0.5, [CPU] * 3, fused=False, sizes=SMALL), expected(vectors, vectors[:7], 0.5))


def test_vectors_that_do_not_fit_are_sent_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, asked = clustered(100), []

    def fits(size: int, device: torch.device) -> bool:
        asked.append(size)
        return False

    monkeypatch.setattr(tables, "fits", fits)

    assert_same(plain(vectors, None, 0.5), expected(vectors, None, 0.5))
    assert asked == [vectors.nbytes]


def test_vectors_may_be_mapped_from_a_file(tmp_path: Path) -> None:
    vectors = clustered(100)
    np.save(tmp_path / "vectors.npy", vectors)

    assert_same(plain(np.load(tmp_path / "vectors.npy", mmap_mode="r"), None, 0.5), expected(vectors, None, 0.5))


def test_a_device_without_the_kernels_is_served_by_torch() -> None:
    vectors = clustered(100)

    assert_same(join(vectors, None, 0.5, [CPU]), expected(vectors, None, 0.5))


def test_no_rows_have_no_pairs() -> None:
    nothing = np.empty((0, 4), np.float16)

    assert_same(plain(nothing, None, 0.5), expected(np.ones((1, 4), np.float16), None, 0.5))
    assert_same(plain(nothing, np.ones((3, 4), np.float16), 0.5), expected(np.ones((1, 4), np.float16), None, 0.5))


def test_a_row_without_direction_is_an_error_that_names_table_and_row() -> None:
    good, zero = clustered(50), clustered(50)
    zero[40] = 0

    with pytest.raises(ValueError, match="vectors: row 40 is a zero vector"):
        plain(zero, None, 0.5)
    with pytest.raises(ValueError, match="corpus: row 40 is a zero vector"):
        plain(good, zero, 0.5)
    zero[40] = np.inf
    with pytest.raises(ValueError, match="queries: row 40 is not finite"):
        plain(zero, good, 0.5)


def test_triton_is_not_imported_before_a_kernel_runs() -> None:
    code = "import sys, pipeline.similarity.cuda; sys.exit('triton' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_kernels_compile_for_a_card_and_multiply_on_its_tensor_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from pipeline.similarity.cuda.kernels import check_words, filter_tiles

    monkeypatch.setattr(triton.knobs.cache, "dir", str(tmp_path))
    filtering = {"threshold": "fp32", "places": "*i32", "words": "*i32", "count": "*i64", "capacity": "i64"}
    checking = {**filtering, "row_lengths": "*fp32", "column_lengths": "*fp32", "left": "*i32", "right": "*i32"}
    for kernel, types, sizes, instruction in (
        (filter_tiles, filtering, {"K": 64, "BM": 128, "BN": 128, "BK": 64, "SPAN": 16, "STAGES": 3}, "wgmma.mma_async"),
        (filter_tiles, filtering, {"K": 128, "BM": 128, "BN": 128, "BK": 128, "SPAN": 16, "STAGES": 2}, "wgmma.mma_async"),
        (filter_tiles, filtering, {"K": 384, "BM": 128, "BN": 128, "BK": 64, "SPAN": 16, "STAGES": 3}, "wgmma.mma_async"),
        (check_words, checking, {"D": 384, "WIDTH": 128, "ENTRIES": 32, "BD": 128}, "fma.rn.f32"),
    ):
        types = {"rows": "*fp16", "columns": "*fp16", **types, **dict.fromkeys(sizes, "constexpr")}
        names = kernel.arg_names
        source = ASTSource(
            kernel,
            {name: types.get(name, "i32") for name in names},
            {(names.index(name),): value for name, value in sizes.items()},
            {(names.index(name),): [["tt.divisibility", 16]] for name, kind in types.items() if kind.startswith("*")},
        )
        compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4, "enable_fp_fusion": True})

        assert instruction in compiled.asm["ptx"]
        assert compiled.metadata.shared <= 99 * 1024  # what a block may have on every card since Ampere


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("sizes", [Sizes(), Sizes(block=1024, capacity=64, limit=1 << 16)])
@pytest.mark.parametrize("fused", [True, False])
def test_every_device_there_is_finds_exactly_the_pairs(sizes: Sizes, fused: bool) -> None:
    devices = [torch.device("cuda", number) for number in range(torch.cuda.device_count())]
    for vectors in (clustered(5000, 384), scattered(5000, 96), np.repeat(scattered(1, 40), 2000, axis=0)):
        for min_cosine in (0.2, 0.9):
            assert_same(
                join_with(vectors, None, min_cosine, devices, fused=fused, sizes=sizes),
                expected(vectors, None, min_cosine),
            )
            assert_same(
                join_with(vectors[:700], vectors, min_cosine, devices, fused=fused, sizes=sizes),
                expected(vectors[:700], vectors, min_cosine),
            )
