"""The filter of `fused.py` compiled for processors with 8-bit dot products (AVX-512 VNNI).

Importing this compiles it, and LLVM ends the process where the processor lacks the instructions: `join.py` asks first.

One instruction multiplies 4 coordinates of 16 corpus rows by those of one query row and adds them up. A tile of 6 queries by
64 corpus rows stays in registers from the first coordinate to the comparison; nothing is written unless a pair passes.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import llvmlite.binding
import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from pipeline.similarity.bound import Double, Index, Single

Codes = npt.NDArray[np.int8]
Panels = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int32]
Generator = tuple[Any, Callable[..., ir.Value]]
F = TypeVar("F", bound=Callable[..., Any])
_intrinsic = cast(Callable[[Callable[..., Generator]], Callable[..., Any]], intrinsic)

QUERIES = 6  # 6 x 4 accumulators, 4 corpus vectors and the broadcast queries fill the 32 registers
VECTORS = 4
LANES = 16
PANEL = VECTORS * LANES  # corpus rows side by side
STRIPE = 192  # a multiple of both QUERIES and PANEL: borders of blocks

_BYTE, _SHORT, _INT, _LONG = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_SUMS, _CODES = ir.VectorType(_INT, LANES), ir.VectorType(_BYTE, 4 * LANES)
_HALF_WIDTH = 32  # fp16 values a step; two or four registers hide the latency of one addition


def _compiled(signature: str, reorder: bool = False) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        # Sums may be reordered where the error bound allows any order.
        options: dict[str, Any] = {"nogil": True, "fastmath": {"reassoc", "contract"} if reorder else False}
        try:
            return cast(F, numba.njit(signature, cache=True, **options)(function))
        except RuntimeError:  # no folder can be written: compiled again in every process
            return cast(F, numba.njit(signature, **options)(function))

    return decorate


def _long(value: int) -> ir.Constant:
    return ir.Constant(_LONG, value)


def _load(builder: ir.IRBuilder, address: ir.Value, of: ir.Type, align: int) -> ir.Value:
    return builder.load(builder.inttoptr(address, of.as_pointer()), align=align)


def _splat(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    undefined = ir.Constant(_SUMS, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_INT, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_SUMS, [0] * LANES))


def _dot_codes(builder: ir.IRBuilder, sums: ir.Value, unsigned: ir.Value, signed: ir.Value) -> ir.Value:
    # LLVM 22 declares the codes as bytes, earlier ones as 32-bit groups of four.
    operand = _CODES if llvmlite.binding.llvm_version_info[0] >= 22 else _SUMS
    function = builder.module.declare_intrinsic("llvm.x86.avx512.vpdpbusd.512", (), ir.FunctionType(_SUMS, [_SUMS, operand, operand]))
    return builder.call(function, [sums, builder.bitcast(unsigned, operand), builder.bitcast(signed, operand)])


@_intrinsic
def _tile(typing: object, panel: object, queries: object, quads: object, offsets: object, starts: object, masks: object) -> Generator:
    """6 queries by 64 corpus rows: 0 when every sum is negative, else 1 and the masks of those that are not."""

    def generate(context: object, builder: ir.IRBuilder, signature: object, arguments: Sequence[ir.Value]) -> ir.Value:
        panel, queries, quads, offsets, starts, masks = arguments
        entry = builder.block
        loop, tested, passed, done = (builder.append_basic_block(name) for name in ("loop", "tested", "passed", "done"))

        columns = [_load(builder, builder.add(offsets, _long(64 * v)), _SUMS, 64) for v in range(VECTORS)]
        rows = [_splat(builder, _load(builder, builder.add(starts, _long(4 * q)), _INT, 4)) for q in range(QUERIES)]
        first = [builder.add(row, column) for row in rows for column in columns]
        stride = builder.mul(quads, _long(4))
        addresses = [builder.add(queries, builder.mul(stride, _long(q))) for q in range(QUERIES)]
        builder.branch(loop)

        builder.position_at_end(loop)
        quad = builder.phi(_LONG)
        quad.add_incoming(_long(0), entry)
        sums = [builder.phi(_SUMS) for _ in first]
        corner = builder.add(panel, builder.mul(quad, _long(4 * PANEL)))
        corpus = [_load(builder, builder.add(corner, _long(64 * v)), _SUMS, 64) for v in range(VECTORS)]
        step = builder.mul(quad, _long(4))
        added = []
        for q in range(QUERIES):
            query = _splat(builder, _load(builder, builder.add(addresses[q], step), _INT, 4))
            added += [_dot_codes(builder, sums[q * VECTORS + v], corpus[v], query) for v in range(VECTORS)]
        following = builder.add(quad, _long(1))
        quad.add_incoming(following, loop)
        for phi, start, end in zip(sums, first, added, strict=True):
            phi.add_incoming(start, entry)
            phi.add_incoming(end, loop)
        builder.cbranch(builder.icmp_signed("<", following, quads), loop, tested)

        builder.position_at_end(tested)
        signs = added[0]
        for end in added[1:]:
            signs = builder.and_(signs, end)
        zero = ir.Constant(_SUMS, [0] * LANES)
        negative = builder.bitcast(builder.icmp_signed("<", signs, zero), _SHORT)
        builder.cbranch(builder.icmp_unsigned("==", negative, ir.Constant(_SHORT, 2**LANES - 1)), done, passed)

        builder.position_at_end(passed)
        for at, end in enumerate(added):
            mask = builder.bitcast(builder.icmp_signed(">=", end, zero), _SHORT)
            builder.store(mask, builder.inttoptr(builder.add(masks, _long(2 * at)), _SHORT.as_pointer()), align=2)
        builder.branch(done)

        builder.position_at_end(done)
        result = builder.phi(_INT)
        result.add_incoming(ir.Constant(_INT, 0), tested)
        result.add_incoming(ir.Constant(_INT, 1), passed)
        return result

    return types.int32(*[types.intp] * 6), generate


@_intrinsic
def _lowest(typing: object, mask: object) -> Generator:
    """Index of the lowest bit set."""

    def generate(context: object, builder: ir.IRBuilder, signature: object, arguments: Sequence[ir.Value]) -> ir.Value:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


@_intrinsic
def _half(typing: object, address: object) -> Generator:
    """The fp16 value at an address."""

    def generate(context: object, builder: ir.IRBuilder, signature: object, arguments: Sequence[ir.Value]) -> ir.Value:
        return builder.fpext(_load(builder, arguments[0], ir.HalfType(), 2), ir.FloatType())

    return types.float32(types.intp), generate


def _dot(real: ir.Type, result: types.Type) -> Callable[..., Generator]:
    """Dot product of two fp16 rows, summed in `real`."""

    def declare(typing: object, left: object, right: object, dimensions: object) -> Generator:
        def generate(context: object, builder: ir.IRBuilder, signature: object, arguments: Sequence[ir.Value]) -> ir.Value:
            left, right, dimensions = arguments
            half = ir.HalfType()
            wide, sums = ir.VectorType(half, _HALF_WIDTH), ir.VectorType(real, _HALF_WIDTH)

            def loop(start: ir.Value, end: ir.Value, width: int, of: ir.Type, total: ir.Value, total_type: ir.Type) -> ir.Value:
                before = builder.block
                test, body, after = (builder.append_basic_block(name) for name in ("test", "body", "after"))
                builder.branch(test)
                builder.position_at_end(test)
                at, sum_ = builder.phi(_LONG), builder.phi(total_type)
                at.add_incoming(start, before)
                sum_.add_incoming(total, before)
                builder.cbranch(builder.icmp_signed("<", at, end), body, after)
                builder.position_at_end(body)
                skip = builder.mul(at, _long(2))
                a, b = (builder.fpext(_load(builder, builder.add(side, skip), of, 2), total_type) for side in (left, right))
                more = builder.fadd(sum_, builder.fmul(a, b, flags=("contract",)), flags=("contract",))
                at.add_incoming(builder.add(at, _long(width)), body)
                sum_.add_incoming(more, body)
                builder.branch(test)
                builder.position_at_end(after)
                return sum_

            whole = builder.and_(dimensions, _long(-_HALF_WIDTH))
            lanes = loop(_long(0), whole, _HALF_WIDTH, wide, ir.Constant(sums, [0.0] * _HALF_WIDTH), sums)
            name = f"llvm.vector.reduce.fadd.v{_HALF_WIDTH}f{64 if isinstance(real, ir.DoubleType) else 32}"
            reduce = builder.module.globals.get(name) or ir.Function(builder.module, ir.FunctionType(real, [real, sums]), name)
            total = builder.call(reduce, [ir.Constant(real, -0.0), lanes], fastmath=("reassoc",))
            return loop(whole, dimensions, 1, half, total, real)

        return result(types.intp, types.intp, types.intp), generate

    return declare


_dot_single = _intrinsic(_dot(ir.FloatType(), types.float32))
_dot_double = _intrinsic(_dot(ir.DoubleType(), types.float64))


@_compiled(
    "void(intp, int64, int64, int64, float32[:, ::1], float64[::1], float64, float32, int8[:, ::1], uint8[:, :, :, ::1], "
    "float64[::1], float64[::1], float64[::1])",
    reorder=True,
)
def prepare(
    vectors: int,
    first: int,
    stop: int,
    dimensions: int,
    columns: Single,
    squares: Double,
    square: float,
    scale: np.float32,
    codes: Codes,
    panels: Panels,
    rests: Double,
    errors: Double,
    norms: Double,
) -> None:
    """Rows in k coordinates, as 8-bit codes twice: signed row by row, and plus 128 with 64 rows side by side, four at a time.

    Args:
        vectors: address of float16 (N, D).
        first: the first row to prepare.
        stop: the row after the last.
        dimensions: D.
        columns: float32 (D, k); none (0, D) for the rows as they are.
        squares: float64 (N,), <a, a>.
        square: what `reduction_slack` says is to be added to the square of the rest.
        scale: what a code of 1 stands for.
        codes: out, int8 (N, 4 Q).
        panels: out, uint8 (N / 64, Q, 64, 4).
        rests: out, float64 (N,): square of the norm of what the k coordinates leave, from above.
        errors: out, float64 (N,): norm of what the codes leave of the k coordinates.
        norms: out, float64 (N,): norm of the k coordinates.
    """
    k = columns.shape[1]
    rows = np.empty((4, dimensions), dtype=np.float32)
    sums = np.empty((4, k), dtype=np.float32)
    over = np.float32(1.0) / scale
    for group in range(first, stop, 4):
        count = min(4, stop - group)
        for r in range(count):
            for j in range(dimensions):
                rows[r, j] = _half(vectors + ((group + r) * dimensions + j) * 2)
        if columns.shape[0] == 0:
            for r in range(count):
                sums[r] = rows[r]
        else:
            sums[:] = 0.0
            for j in range(0, dimensions - 3, 4):
                for r in range(4):
                    a, b, c, d = rows[r, j], rows[r, j + 1], rows[r, j + 2], rows[r, j + 3]
                    for m in range(k):
                        sums[r, m] += a * columns[j, m] + b * columns[j + 1, m] + c * columns[j + 2, m] + d * columns[j + 3, m]
            for j in range(dimensions // 4 * 4, dimensions):
                for r in range(4):
                    for m in range(k):
                        sums[r, m] += rows[r, j] * columns[j, m]
        for r in range(count):
            row = group + r
            panel, lane = row // 64, row % 64
            length = np.float32(np.sqrt(squares[row]))
            error, norm = 0.0, 0.0
            for m in range(k):
                value = sums[r, m] / length
                code = min(max(np.floor(value * over + np.float32(0.5)), np.float32(-127.0)), np.float32(127.0))
                codes[row, m] = np.int8(code)
                rest = np.float64(value) - np.float64(code) * np.float64(scale)
                error += rest * rest
                norm += np.float64(value) * np.float64(value)
            for m in range(k):
                panels[panel, m >> 2, lane, m & 3] = np.uint8(np.int32(codes[row, m]) + 128)
            rests[row] = max(1.0 - norm, 0.0) + square
            errors[row] = np.sqrt(error)
            norms[row] = np.sqrt(norm)


@_compiled("void(intp, int64, int64, float64[::1])")
def squares(vectors: int, first: int, dimensions: int, out: Double) -> None:
    """<a, a> of fp16 rows from `first` on, one for each place of `out`; exact up to length 2.

    Args:
        vectors: address of float16 (N, D).
        first: the first row.
        dimensions: D.
        out: float64 (rows,).
    """
    for i in range(out.shape[0]):
        row = vectors + (first + i) * dimensions * 2
        out[i] = _dot_double(row, row, dimensions)


@_compiled(
    "int64(int8[:, ::1], int32[::1], uint8[:, :, :, ::1], int32[::1], intp, intp, int64, float64[::1], float64[::1], "
    "int64, int64, int64, int64, boolean, float64, float64, int64[::1], int64[::1], float64[::1])"
)
def join_block(
    codes: Codes,
    starts: Numbers,
    panels: Panels,
    offsets: Numbers,
    queries: int,
    corpus: int,
    dimensions: int,
    query_squares: Double,
    corpus_squares: Double,
    query_first: int,
    query_stop: int,
    corpus_first: int,
    corpus_stop: int,
    same: bool,
    low: float,
    min_cosine: float,
    left: Index,
    right: Index,
    cosines: Double,
) -> int:
    """Hits of one block of queries with one block of the corpus.

    A pair passes the filter when code products + starts + offsets >= 0; then an fp32 cosine must reach `low`, then the exact
    one `min_cosine`.

    Args:
        codes: int8 (N, 4 Q) of the queries.
        starts: int32 (N,).
        panels: uint8 (N / 64, Q, 64, 4) of the corpus, 64-byte aligned.
        offsets: int32 (N,), 64-byte aligned.
        queries: address of float16 (rows, D).
        corpus: address of float16 (rows, D).
        dimensions: D.
        query_squares: float64 (rows,).
        corpus_squares: float64 (rows,).
        query_first: a multiple of 192, as are the next three.
        query_stop: see above.
        corpus_first: see above.
        corpus_stop: see above.
        same: only pairs with left < right.
        low: threshold less the rounding of an fp32 cosine.
        min_cosine: the threshold.
        left: out, int64 (capacity,).
        right: out, int64 (capacity,).
        cosines: out, float64 (capacity,).

    Returns:
        The number of hits; where it is more than the capacity the rest was counted and not written.
    """
    masks = np.zeros(24, dtype=np.uint16)
    quads = panels.shape[1]
    found = 0
    for panel in range(corpus_first // 64, corpus_stop // 64):
        last = min(query_stop, (panel + 1) * 64) if same else query_stop
        for group in range(query_first, last, 6):
            if not _tile(
                panels.ctypes.data + panel * quads * 256,
                codes.ctypes.data + group * quads * 4,
                quads,
                offsets.ctypes.data + panel * 256,
                starts.ctypes.data + group * 4,
                masks.ctypes.data,
            ):
                continue
            for at in range(24):
                mask = np.uint64(masks[at])
                i = group + at // 4
                while mask:
                    j = panel * 64 + at % 4 * 16 + _lowest(mask)
                    mask &= mask - np.uint64(1)
                    if same and i >= j:
                        continue
                    a, b = queries + i * dimensions * 2, corpus + j * dimensions * 2
                    length = np.sqrt(query_squares[i] * corpus_squares[j])
                    if _dot_single(a, b, dimensions) < low * length:
                        continue
                    cosine = min(max(_dot_double(a, b, dimensions) / length, -1.0), 1.0)
                    if cosine >= min_cosine:
                        if found < left.shape[0]:
                            left[found], right[found], cosines[found] = i, j, cosine
                        found += 1
    return found
