"""A table on a device: its vectors, their exact lengths, and fp16 rows whose products bound cosines."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.similarity.bound import Half, Single, below, check_lengths, reduction_slack

DEPTH = 32  # filter rows are padded to multiples of this


@dataclass(frozen=True)
class Sizes:
    """Shapes of the work. Results do not depend on them.

    Attributes:
        block: rows and columns of one launch, a multiple of both tile sides. At most 2^17, so that a word's place fits in 31 bits.
        tile_rows: rows of a tile, at least 16.
        tile_columns: columns of a tile, 16 to 128: four words of 32 bits a row.
        span: column tiles that one program goes through.
        depth: widest filter row whose tile stays on the chip.
        capacity: entries a list begins with.
        limit: entries beyond which a block is halved instead of the list grown.
        confirm: pairs of one exact recheck.
        product: elements of the product that torch holds at once where it stands in for the kernels.
    """

    block: int = 1 << 17
    tile_rows: int = 128
    tile_columns: int = 128
    span: int = 16
    depth: int = 128
    capacity: int = 1 << 22
    limit: int = 1 << 27
    confirm: int = 1 << 16
    product: int = 1 << 26


class Table:
    """One table on one device.

    Attributes:
        rows: how many there are.
        bounding: float16 (rows up to whole tiles, a multiple of DEPTH): leading coordinates, the norm of the rest, zeros.
        squares: float64 (rows,), exact squared lengths of the vectors.
        lengths: float32 (rows,), their roots.
        slack: as in `bound.Reduced`, for rows before rounding to fp16.
        norm: largest length of a bounding row before that rounding, from above.
        rounded_norm: likewise after it.
        residual: largest length of the difference, likewise.
    """

    def __init__(self, table: Half, name: str, device: torch.device, sizes: Sizes) -> None:
        """Send the table block by block and measure its rows.

        Args:
            table: float16 (N, D), at least one row; may be memory-mapped.
            name: what errors call it.
            device: where.
            sizes: blocks and tiles.

        Raises:
            ValueError: a row is zero or not finite; says which.
        """
        self._table, self._device, self.rows = table, device, len(table)
        self._sizes, self._step = sizes, min(sizes.block, self.rows)
        self._vectors: torch.Tensor | None = None
        self._staging = torch.empty((self._step, table.shape[1]), dtype=torch.float16, pin_memory=device.type == "cuda")
        self.squares = torch.empty(self.rows, dtype=torch.float64, device=device)
        kept = torch.empty(table.shape, dtype=torch.float16, device=device) if fits(2 * table.size, device) else None
        for start, stop in self._blocks():
            vectors = self.block(start, stop)
            if kept is not None:
                kept[start:stop] = vectors
            exact = vectors.double()
            self.squares[start:stop] = (exact * exact).sum(dim=1)
        check_lengths(self.squares.cpu().numpy(), name)
        self._vectors = kept
        self.lengths = self.squares.sqrt().float()

    def reduce(self, rotation: Single, k: int) -> None:
        """Make the bounding rows and measure what rounding them to fp16 changes.

        Args:
            rotation: float32 (D, C), orthonormal columns.
            k: width of a bounding row, 2 to C; or D for the rows as they are.
        """
        whole = k == len(rotation)
        tile = max(self._sizes.tile_rows, self._sizes.tile_columns)
        self.bounding = torch.zeros((_up(self.rows, tile), _up(k, DEPTH)), dtype=torch.float16, device=self._device)
        # Bounds of fp32 arithmetic hold all the more for float64, which data-centre cards do as fast.
        slack, square = reduction_slack(rotation, k if whole else k - 1)
        # Rows as they are leave a rest of nothing but rounding: it goes into the slack instead of a column.
        self.slack = slack + 2 * square if whole else slack
        columns = torch.from_numpy(rotation[:, : k - 1].astype(np.float64, order="C")).to(self._device)
        norms = torch.zeros(3, dtype=torch.float64, device=self._device)
        for start, stop in self._blocks():
            bounding = self.block(start, stop).double() / self.squares[start:stop, None].sqrt()
            if not whole:
                rotated = bounding @ columns
                rest = ((1.0 - (rotated * rotated).sum(dim=1)).clamp_min(0.0) + square).sqrt()
                bounding = torch.cat([rotated, rest[:, None]], dim=1)
            rounded = bounding.half()
            self.bounding[start:stop, :k] = rounded
            pieces = (bounding, rounded.double(), bounding - rounded.double())
            norms = torch.maximum(norms, torch.stack([torch.linalg.vector_norm(piece, dim=1).max() for piece in pieces]))
        # A millionth covers the roundings of measuring them.
        self.norm, self.rounded_norm, self.residual = (norms * (1 + 1e-6)).tolist()

    def block(self, start: int, stop: int) -> torch.Tensor:
        """Vectors of these rows, at most a block, float16 (stop - start, D) on the device; sent there if they did not all fit."""
        if self._vectors is not None:
            return self._vectors[start:stop]
        self._staging.numpy()[: stop - start] = self._table[start:stop]
        return self._staging[: stop - start].to(self._device, copy=True)

    def _blocks(self) -> Iterator[tuple[int, int]]:
        return ((start, min(start + self._step, self.rows)) for start in range(0, self.rows, self._step))


def fits(size: int, device: torch.device) -> bool:
    """Whether so many bytes leave half of what is free on the device."""
    return device.type != "cuda" or size <= torch.cuda.mem_get_info(device)[0] // 2


def filter_threshold(left: Table, right: Table, wanted: float) -> float:
    """What the product of two bounding rows reaches wherever the cosine reaches `wanted`.

    With q the rows r rounded to fp16 and e = r - q,
        <r_a, r_b> = <q_a, q_b> + <q_a, e_b> + <e_a, r_b>, hence |<r_a, r_b> - <q_a, q_b>| <= |q_a| |e_b| + |e_a| |r_b|,
    with measured norms. Products of fp16 numbers are exact in fp32. Tensor cores add them in fp32, but may cut bits off where others round:
    each of K additions is allowed an error of 2^-22 |q_a| |q_b|.
    """
    rounding = left.rounded_norm * right.residual + left.residual * right.norm
    adding = left.bounding.shape[1] * 2.0**-22 * left.rounded_norm * right.rounded_norm
    return below(wanted - left.slack - rounding - adding)


def _up(value: int, step: int) -> int:
    return -(-value // step) * step
