"""Block-tuple arithmetic: how dask cuts an array into blocks, as plain tuples and integers.

Floor 0: no dask, no store. dask describes blocks as one tuple of sizes per axis; here such a tuple
is measured, compared, and turned into regions::

    axis of 10 in blocks (4, 4, 2)     |0 1 2 3|4 5 6 7|8 9|
    interior edges 4, 8                        ^       ^

An axis is *regular* when every block but the last has the same size and the last is not larger;
an empty block makes it irregular, unless it is the only one.
Axes of extent 0 hold a single block of size 0, as in dask.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, islice, product
from typing import Any, NamedTuple, TypeAlias

from chunkstore.errors import InvalidArgumentError

__all__ = [
    "AxisBlocks",
    "Block",
    "BlockGrid",
    "Blocks",
    "array_shape",
    "interior_edges",
    "largest_block",
    "n_blocks",
    "numblocks",
    "region_spans",
    "regular_axis",
    "regular_blocks",
    "regular_size",
    "slice_blocks",
]

AxisBlocks: TypeAlias = tuple[int, ...]
"""Sizes of the blocks along one axis, in elements."""

Blocks: TypeAlias = tuple[AxisBlocks, ...]
"""Sizes of the blocks along every axis: dask's ``Array.chunks``."""


class Block(NamedTuple):
    """One block: its id in the grid of blocks and its region in the array."""

    id: tuple[int, ...]
    region: tuple[slice, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent of the block along each axis, in elements."""
        return tuple(part.stop - part.start for part in self.region)

    def at(self, starts: tuple[int, ...]) -> tuple[slice, ...]:
        """Give the region in an array in which the first block begins at `starts`."""
        return tuple(
            slice(start + part.start, start + part.stop)
            for start, part in zip(starts, self.region, strict=True)
        )


def regular_axis(extent: int, size: int) -> AxisBlocks:
    """Cut an axis into blocks of one size, the last one smaller where it must be.

    Parameters
    ----------
    extent : int
        Elements along the axis.
    size : int
        Elements in a block, at least 1.

    Examples
    --------
    >>> regular_axis(10, 4)
    (4, 4, 2)
    >>> regular_axis(0, 4)
    (0,)
    """
    if extent == 0:
        return (0,)
    whole, rest = divmod(extent, size)
    return (size,) * whole + ((rest,) if rest else ())


def regular_blocks(shape: Sequence[int], block_shape: Sequence[int]) -> Blocks:
    """Cut an array into blocks of one shape, smaller only at the far edges.

    Examples
    --------
    >>> regular_blocks((10, 3), (4, 5))
    ((4, 4, 2), (3,))
    """
    return tuple(
        regular_axis(extent, size) for extent, size in zip(shape, block_shape, strict=True)
    )


def regular_size(axis: AxisBlocks) -> int | None:
    """Give the block size of a regular axis, or None where the sizes differ.

    Examples
    --------
    >>> regular_size((4, 4, 2)), regular_size((4, 2, 4)), regular_size((2, 4))
    (4, None, None)
    """
    first, last = axis[0], axis[-1]
    # Counting runs at C speed; written out per element it would dominate the build of a graph.
    n_other = len(axis) - axis.count(first)
    only_last_is_smaller = n_other == 1 and 0 < last < first
    all_equal = n_other == 0 and (first > 0 or len(axis) == 1)
    return first if all_equal or only_last_is_smaller else None


def interior_edges(axis: AxisBlocks) -> Iterator[int]:
    """Give the positions where one block ends and the next begins, in rising order.

    Examples
    --------
    >>> list(interior_edges((4, 4, 2)))
    [4, 8]
    """
    return islice(accumulate(axis), len(axis) - 1)


def array_shape(blocks: Blocks) -> tuple[int, ...]:
    """Give the shape of the whole array.

    Examples
    --------
    >>> array_shape(((4, 4, 2), (3,)))
    (10, 3)
    """
    return tuple(sum(axis) for axis in blocks)


def numblocks(blocks: Blocks) -> tuple[int, ...]:
    """Count the blocks along each axis."""
    return tuple(len(axis) for axis in blocks)


def n_blocks(blocks: Blocks) -> int:
    """Count all blocks.

    Examples
    --------
    >>> n_blocks(((4, 4, 2), (3, 3)))
    6
    """
    return math.prod(numblocks(blocks))


def largest_block(blocks: Blocks) -> tuple[int, ...]:
    """Give the shape that no block exceeds along any axis.

    Examples
    --------
    >>> largest_block(((2, 4), (3,)))
    (4, 3)
    """
    return tuple(max(axis) for axis in blocks)


def slice_blocks(blocks: Blocks) -> Iterator[Block]:
    """Give every block of an array, last axis fastest.

    Examples
    --------
    >>> [block.id for block in slice_blocks(((4, 2), (3,)))]
    [(0, 0), (1, 0)]
    """
    grid = BlockGrid.of(blocks)
    for block_id in product(*(range(count) for count in grid.numblocks)):
        yield grid.block(block_id)


def region_spans(region: Any, shape: Sequence[int], *, where: str) -> list[range]:
    """Spell a region out, one range an axis; `where` says what is done to which array.

    Examples
    --------
    >>> region_spans((slice(2, 5), ...), (10, 4), where="read from 'x'")
    [range(2, 5), range(0, 4)]
    """
    parts = list(region) if isinstance(region, tuple | list) else [region]
    parts = [...] if region is None else parts
    dots = [number for number, part in enumerate(parts) if part is Ellipsis]
    if len(dots) == 1:
        parts[dots[0] : dots[0] + 1] = [slice(None)] * (len(shape) - len(parts) + 1)
    parts += [slice(None)] * (len(shape) - len(parts))
    if len(parts) != len(shape) or not all(map(_is_plain_slice, parts)):
        raise InvalidArgumentError(
            f"cannot {where}: a region is a slice without a step for each of the {len(shape)} "
            f"axes, got {region!r}"
        )
    for part, extent in zip(parts, shape, strict=True):
        if not all(end is None or -extent <= end <= extent for end in (part.start, part.stop)):
            raise InvalidArgumentError(
                f"cannot {where}: the region {region!r} reaches beyond its shape {tuple(shape)}"
            )
    return [range(*part.indices(extent)) for part, extent in zip(parts, shape, strict=True)]


def _is_plain_slice(part: Any) -> bool:
    return isinstance(part, slice) and part.step in (None, 1)


@dataclass(frozen=True)
class BlockGrid:
    """The blocks of an array in the smallest form: a size per regular axis, else its tuple.

    Parameters
    ----------
    extents : tuple of int
        The array's shape.
    sizes : tuple of int or of tuples of int
        Per axis the block size, or the sizes of all blocks where they differ.

    Notes
    -----
    A grid of a million regular blocks pickles to a few bytes; what is computed from it is cached
    and left out of the pickle.

    Examples
    --------
    >>> grid = BlockGrid.of(((4, 4, 2), (1, 2)))
    >>> grid.sizes
    (4, (1, 2))
    >>> grid.block((2, 1)).region
    (slice(8, 10, None), slice(1, 3, None))
    """

    extents: tuple[int, ...]
    sizes: tuple[int | AxisBlocks, ...]

    @classmethod
    def of(cls, blocks: Blocks) -> BlockGrid:
        """Describe block tuples; unknown (NaN) sizes are refused."""
        extents, sizes = array_shape(blocks), tuple(map(regular_size, blocks))
        for number, extent in enumerate(extents):
            if math.isnan(extent):
                raise InvalidArgumentError(
                    f"cannot place the blocks of an array: their sizes along axis {number} are "
                    f"unknown. Call .compute_chunk_sizes() on the array first",
                    axis=number,
                )
        return cls(
            tuple(map(int, extents)),
            tuple(
                tuple(map(int, axis)) if size is None else int(size)
                for axis, size in zip(blocks, sizes, strict=True)
            ),
        )

    def __reduce__(self) -> tuple[object, ...]:
        return (BlockGrid, (self.extents, self.sizes))

    @cached_property
    def blocks(self) -> Blocks:
        """The same grid as block tuples."""
        return tuple(
            size if isinstance(size, tuple) else regular_axis(extent, size)
            for extent, size in zip(self.extents, self.sizes, strict=True)
        )

    @cached_property
    def numblocks(self) -> tuple[int, ...]:
        """Number of blocks along each axis."""
        return tuple(
            len(size) if isinstance(size, tuple) else max(1, -(-extent // max(1, size)))
            for extent, size in zip(self.extents, self.sizes, strict=True)
        )

    @cached_property
    def _edges(self) -> tuple[tuple[int, ...] | None, ...]:
        return tuple(
            tuple(accumulate(size, initial=0)) if isinstance(size, tuple) else None
            for size in self.sizes
        )

    def block(self, block_id: tuple[int, ...]) -> Block:
        """Give the block of an id: its region in the whole array."""
        region = []
        for number, extent, size, edges in zip(
            block_id, self.extents, self.sizes, self._edges, strict=True
        ):
            if edges is not None:
                region.append(slice(edges[number], edges[number + 1]))
            else:
                assert isinstance(size, int)
                region.append(slice(number * size, min(extent, (number + 1) * size)))
        return Block(tuple(block_id), tuple(region))
