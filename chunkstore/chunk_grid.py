"""The chunk grid: how the cells of a grid lie over an array.

Floor 1. A grid is a product of axes, so everything is said of one axis at a time. Chunks at the
far edge keep their full size in storage; the part beyond the array is padding::

    extent 10, chunk 4      |0 1 2 3|4 5 6 7|8 9 . .|
                               0       1       2

Source: Zarr v3 core, "Chunk grids"; Zarr v2, "Chunks".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from chunkstore.types import ChunkCoords, Shape

__all__ = ["RegularAxis", "RegularGrid"]


@dataclass(frozen=True, slots=True)
class RegularAxis:
    """One axis cut into cells of equal size; all numbers in elements."""

    extent: int
    size: int

    @property
    def n_chunks(self) -> int:
        """Number of cells that hold at least one element."""
        return -(-self.extent // self.size)

    def chunk_of(self, index: int) -> int:
        """Give the cell that holds the element `index`."""
        return index // self.size

    def start_of(self, chunk: int) -> int:
        """Give the first element of a cell."""
        return chunk * self.size

    def size_of(self, chunk: int) -> int:
        """Give the stored size of a cell, padding included."""
        return self.size


@dataclass(frozen=True, slots=True)
class RegularGrid:
    """Cells of one shape over an array.

    Parameters
    ----------
    shape : tuple of int
        The array's shape, elements per axis; zeros allowed.
    chunk_shape : tuple of int
        Shape of every cell, at least 1 along each axis.

    Examples
    --------
    >>> RegularGrid((10, 3), (4, 3)).grid_shape
    (3, 1)
    """

    shape: Shape
    chunk_shape: Shape
    axes: tuple[RegularAxis, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        axes = tuple(map(RegularAxis, self.shape, self.chunk_shape))
        object.__setattr__(self, "axes", axes)

    @property
    def grid_shape(self) -> Shape:
        """Number of cells along each axis."""
        return tuple(axis.n_chunks for axis in self.axes)

    @property
    def n_chunks(self) -> int:
        """Number of cells in all."""
        return math.prod(self.grid_shape)

    def shape_of(self, coords: ChunkCoords) -> Shape:
        """Give the stored shape of one chunk, padding included."""
        return self.chunk_shape

    def resized(self, shape: Shape) -> RegularGrid:
        """Give the grid of the same cells over another array shape."""
        return RegularGrid(shape, self.chunk_shape)
