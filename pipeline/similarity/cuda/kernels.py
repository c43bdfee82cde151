"""Triton kernels of the exact join: a filter on tensor cores, and a check in fp32 of what passes it.

The filter multiplies reduced rows tile by tile and lets only words of hit bits leave the registers. The tensor cores' accumulators
give one thread the columns 8m + 2l and 8m + 2l + 1 of a row, for every m and one l, so it builds the word of lane l without
talking to others: compare, select, and a third of an addition an element. Words that are not zero, about one in 30 where one pair
in 1,000 passes, are appended to a list with one atomic addition a tile. The check takes the words apart again.
"""

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["diagonal", "row_tiles", "column_tiles", "capacity"])  # type: ignore[untyped-decorator]
def filter_tiles(
    rows: tl.tensor,  # fp16 (row_tiles * BM, K)
    columns: tl.tensor,  # fp16 (column_tiles * BN, K)
    threshold: tl.tensor,  # fp32
    diagonal: tl.tensor,  # tiles with no column >= row + diagonal are skipped
    row_tiles: tl.tensor,
    column_tiles: tl.tensor,
    places: tl.tensor,  # int32 (capacity,): row * 4 * column_tiles + 4 * tile + lane
    words: tl.tensor,  # int32 (capacity,): bit q stands for column 8 (q // 2) + 2 lane + q % 2 of the tile
    count: tl.tensor,  # int64 (1,): words found, also those beyond the capacity
    capacity: tl.tensor,  # int64
    K: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,  # at most 128: a word has 32 bits
    BK: tl.constexpr,  # divides K
    SPAN: tl.constexpr,
    STAGES: tl.constexpr,
) -> None:
    """Words of the pairs whose product reaches the threshold: one row tile against SPAN column tiles."""
    # Programs that run together share columns, which come from the second-level cache while the row tile stays on the chip.
    row_tile = tl.program_id(0) % row_tiles
    first = (tl.program_id(0) // row_tiles) * SPAN
    last = tl.minimum(first + SPAN, column_tiles)
    first = tl.maximum(first, (diagonal + row_tile * BM) // BN)
    row = row_tile * BM + tl.arange(0, BM)
    depth = tl.arange(0, BK)
    bit = (1 << tl.arange(0, BN // 4))[None, None, :]
    if K == BK:
        held = tl.load(rows + row[:, None] * K + depth[None, :])
    for tile in tl.range(first, last, num_stages=STAGES):
        column = tile * BN + tl.arange(0, BN)
        product = tl.zeros((BM, BN), dtype=tl.float32)
        if K == BK:
            product = tl.dot(held, tl.load(columns + column[None, :] * K + depth[:, None]), product)
        else:
            for k in range(0, K, BK):
                a = tl.load(rows + row[:, None] * K + (k + depth)[None, :])
                b = tl.load(columns + column[None, :] * K + (k + depth)[:, None])
                product = tl.dot(a, b, product)
        lanes = tl.reshape(tl.permute(tl.reshape(product, (BM, BN // 8, 4, 2)), (0, 2, 1, 3)), (BM, 4, BN // 4))
        word = tl.sum(tl.where(lanes >= threshold, bit, 0), axis=2)
        found = tl.reshape((word != 0).to(tl.int32), (BM * 4,))
        total = tl.sum(found)
        if total > 0:
            at = tl.atomic_add(count, total.to(tl.int64), sem="relaxed") + tl.cumsum(found, axis=0) - found
            kept = (found != 0) & (at < capacity)
            place = (row[:, None] * column_tiles + tile) * 4 + tl.arange(0, 4)[None, :]
            tl.store(places + at, tl.reshape(place, (BM * 4,)), mask=kept)
            tl.store(words + at, tl.reshape(word, (BM * 4,)), mask=kept)


@triton.jit(do_not_specialize=["row_count", "column_count", "diagonal", "column_tiles", "found", "capacity"])  # type: ignore[untyped-decorator]
def check_words(
    rows: tl.tensor,  # fp16 (row_count, D)
    columns: tl.tensor,  # fp16 (column_count, D)
    row_lengths: tl.tensor,  # fp32 (row_count,)
    column_lengths: tl.tensor,  # fp32 (column_count,)
    row_count: tl.tensor,
    column_count: tl.tensor,
    threshold: tl.tensor,  # fp32, lowered by the rounding of this check
    diagonal: tl.tensor,  # pairs with column < row + diagonal are none
    column_tiles: tl.tensor,
    places: tl.tensor,  # as filter_tiles wrote them
    words: tl.tensor,
    found: tl.tensor,  # how many of them
    left: tl.tensor,  # int32 (capacity,)
    right: tl.tensor,  # int32 (capacity,)
    count: tl.tensor,  # int64 (1,): pairs found, also those beyond the capacity
    capacity: tl.tensor,  # int64
    D: tl.constexpr,
    WIDTH: tl.constexpr,  # columns of a tile
    ENTRIES: tl.constexpr,
    BD: tl.constexpr,
) -> None:
    """Pairs of the words whose cosine in fp32 reaches the threshold."""
    entry = tl.program_id(0).to(tl.int64) * ENTRIES + tl.arange(0, ENTRIES)
    place = tl.load(places + entry, mask=entry < found, other=0)
    word = tl.load(words + entry, mask=entry < found, other=0)
    row = place // 4 // column_tiles
    tile = place // 4 % column_tiles
    depth = tl.arange(0, BD)
    row_length = tl.load(row_lengths + row, mask=row < row_count, other=1.0)
    while tl.max((word != 0).to(tl.int32)) > 0:
        lowest = word & -word
        # The exponent of a power of two in fp32 is its bit number; the mask takes the sign of bit 31 away.
        bit = ((lowest.to(tl.float32).to(tl.int32, bitcast=True) >> 23) & 255) - 127
        column = tile * WIDTH + (bit // 2) * 8 + (place % 4) * 2 + bit % 2
        live = (word != 0) & (row < row_count) & (column < column_count) & (column >= row + diagonal)
        dots = tl.zeros((ENTRIES, BD), dtype=tl.float32)
        for d in range(0, D, BD):
            inside = live[:, None] & (d + depth < D)[None, :]
            a = tl.load(rows + row.to(tl.int64)[:, None] * D + (d + depth)[None, :], mask=inside, other=0.0)
            b = tl.load(columns + column.to(tl.int64)[:, None] * D + (d + depth)[None, :], mask=inside, other=0.0)
            dots += a.to(tl.float32) * b.to(tl.float32)
        column_length = tl.load(column_lengths + column, mask=live, other=1.0)
        hit = live & (tl.sum(dots, axis=1) >= threshold * row_length * column_length)
        total = tl.sum(hit.to(tl.int32))
        if total > 0:
            at = tl.atomic_add(count, total.to(tl.int64), sem="relaxed") + tl.cumsum(hit.to(tl.int32), axis=0) - 1
            kept = hit & (at < capacity)
            tl.store(left + at, row, mask=kept)
            tl.store(right + at, column, mask=kept)
        word &= word - 1
