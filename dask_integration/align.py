"""Which blocks are whole write units, and which shapes blocks and chunks should have.

Floor 1: no dask, no store; tuples and integers only. A write unit is what a store replaces as a
whole: a shard, or a chunk where there are no shards. Two tasks that write parts of one unit at the
same time read it, change their part and write it back, and one of the changes is lost. So a write
is safe exactly when no two blocks touch the same unit::

    write units of 4     |. . . .|. . . .|. . . .|. .|
    blocks 4, 8, 2       |       |               |   |      aligned
    blocks 4, 6, 4       |       |           |       |      edge 10 cuts a unit: refused
    blocks 2, 8 at 2         |   |               |          aligned: edge 4; one task owns a part

The rule, per axis with the write starting at ``start``: every interior block edge ``b`` satisfies
``(start + b) % unit == 0``. The first and the last unit may be covered in part, since just one
task touches each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chunkstore.errors import AlignmentError, InvalidArgumentError
from dask_integration.chunks import (
    AxisBlocks,
    Blocks,
    array_shape,
    interior_edges,
    largest_block,
    regular_axis,
    regular_blocks,
    regular_size,
)

__all__ = [
    "AUTO_BLOCK_BYTES",
    "MAX_CHUNK_BYTES",
    "AxisAlignment",
    "aligned_axis",
    "aligned_blocks",
    "alignment",
    "blocks_of_bytes",
    "blocks_of_shape",
    "chunks_for_blocks",
    "require_aligned",
]

AUTO_BLOCK_BYTES = 64 * 2**20
"""Size that small write units are merged up to, in bytes.

A task costs a scheduler 0.3 to 3 ms, so blocks below some 10 MB are bound by that. A thread holds
a few blocks at a time, often in a wider data type than the stored one: larger blocks gain little
speed and multiply the memory.
"""

MAX_CHUNK_BYTES = 64 * 2**20
"""Size above which a block is stored as several chunks by default, in bytes."""

_COMPUTED_ITEM_BYTES = 4
"""Elements narrower than this are counted as this wide: arithmetic turns them into float32."""


@dataclass(frozen=True)
class AxisAlignment:
    """How the blocks of a write lie over the write units of one axis.

    Parameters
    ----------
    axis : int
        The axis.
    unit : int
        Extent of a write unit, in elements.
    start, stop : int
        What the write covers, in elements of the target.
    bad_edge : int, optional
        The first interior block edge that cuts a unit, in elements of the target.
    bad_block : int, optional
        Number, along the axis, of the block that ends at `bad_edge`.
    n_bad_edges : int
        How many interior edges cut a unit.
    partial_start, partial_stop : bool
        Whether the first and last unit are covered in part, although the array goes on: then the
        rest of the unit is read and written back, and no other job may write to it meanwhile.
    """

    axis: int
    unit: int
    start: int
    stop: int
    bad_edge: int | None
    bad_block: int | None
    n_bad_edges: int
    partial_start: bool
    partial_stop: bool

    @property
    def aligned(self) -> bool:
        """Whether no two blocks touch the same write unit."""
        return self.bad_edge is None


def alignment(
    blocks: Blocks,
    write_unit: Sequence[int],
    *,
    shape: Sequence[int] | None = None,
    starts: Sequence[int] | None = None,
) -> tuple[AxisAlignment, ...]:
    """Tell for each axis whether blocks are whole write units.

    Parameters
    ----------
    blocks : tuple of tuples of int
        Sizes of the blocks to be written.
    write_unit : sequence of int
        Shape of the target's write units.
    shape : sequence of int, optional
        Shape of the target array. The default is what the blocks cover.
    starts : sequence of int, optional
        Where in the target the first block begins. The default is its origin.

    Returns
    -------
    tuple of AxisAlignment
        One verdict an axis.

    Examples
    --------
    >>> [axis.bad_edge for axis in alignment(((4, 6, 4), (5,)), (4, 2))]
    [10, None]
    >>> alignment(((2, 8),), (4,), shape=(20,), starts=(2,))[0].aligned
    True
    """
    extents = array_shape(blocks)
    begin = (0,) * len(extents) if starts is None else tuple(starts)
    ends = tuple(first + extent for first, extent in zip(begin, extents, strict=True))
    whole = ends if shape is None else tuple(shape)
    return tuple(
        _axis_alignment(number, blocks[number], write_unit[number], begin[number], whole[number])
        for number in range(len(blocks))
    )


def _axis_alignment(
    number: int, axis: AxisBlocks, unit: int, start: int, extent: int
) -> AxisAlignment:
    covered = sum(axis)
    stop = start + covered
    # An edge at either end separates the others from empty blocks, which touch no unit.
    bad = [
        (block, start + edge)
        for block, edge in enumerate(interior_edges(axis))
        if (start + edge) % unit and 0 < edge < covered
    ]
    return AxisAlignment(
        axis=number,
        unit=unit,
        start=start,
        stop=stop,
        bad_edge=bad[0][1] if bad else None,
        bad_block=bad[0][0] if bad else None,
        n_bad_edges=len(bad),
        partial_start=start % unit != 0,
        partial_stop=stop % unit != 0 and stop < extent,
    )


def require_aligned(
    blocks: Blocks,
    write_unit: Sequence[int],
    *,
    target: str,
    unit_name: str = "chunk",
    shape: Sequence[int] | None = None,
    starts: Sequence[int] | None = None,
) -> None:
    """Raise an error unless every block is made of whole write units.

    Parameters
    ----------
    blocks, write_unit, shape, starts
        As in `alignment`.
    target : str
        The target in the reader's terms, such as ``"'temp' in LocalStore('/d')"``.
    unit_name : {"chunk", "shard"}
        What the write unit is.

    Raises
    ------
    AlignmentError
        Names the block, the axis, the edge, the unit and the fix; has them as attributes.

    Examples
    --------
    >>> require_aligned(((900, 100),), (256,), target="'temp' in LocalStore('/d')")
    Traceback (most recent call last):
        ...
    chunkstore.errors.AlignmentError: cannot write block (0,) to 'temp' in LocalStore('/d'): \
edge 900 on axis 0 is not a multiple of chunk 256, ... Call .rechunk({0: 768}) first.
    """
    verdicts = alignment(blocks, write_unit, shape=shape, starts=starts)
    bad = [verdict for verdict in verdicts if not verdict.aligned]
    if not bad:
        return
    first = bad[0]
    assert first.bad_block is not None
    block_id = tuple(
        first.bad_block if number == first.axis else 0 for number in range(len(blocks))
    )
    fixes = {
        verdict.axis: aligned_axis(blocks[verdict.axis], verdict.unit, start=verdict.start)
        for verdict in bad
    }
    raise AlignmentError(
        f"cannot write block {block_id} to {target}: edge {first.bad_edge} on axis {first.axis} "
        f"is not a multiple of {unit_name} {first.unit}, so two tasks would write to the same "
        f"{unit_name} and lose data ({_count_bad(bad)}). Call .rechunk({_spell(fixes)}) first.",
        block_id=block_id,
        axis=first.axis,
        edge=first.bad_edge,
        unit=first.unit,
        rechunk=fixes,
    )


def _count_bad(bad: Sequence[AxisAlignment]) -> str:
    return ", ".join(
        f"{verdict.n_bad_edges} edge{'s' if verdict.n_bad_edges > 1 else ''} on axis {verdict.axis}"
        for verdict in bad
    )


def _spell(fixes: dict[int, AxisBlocks]) -> str:
    """Write block sizes as an argument of rechunk: one number where they are regular."""
    parts = []
    for axis, sizes in fixes.items():
        size = regular_size(sizes)
        parts.append(f"{axis}: {sizes if size is None else size}")
    return "{" + ", ".join(parts) + "}"


def aligned_axis(axis: AxisBlocks, unit: int, *, start: int = 0) -> AxisBlocks:
    """Give blocks of about the same size whose interior edges are write-unit edges.

    Parameters
    ----------
    axis : tuple of int
        Sizes of the blocks as they are.
    unit : int
        Extent of a write unit.
    start : int
        Where in the target the first block begins.

    Returns
    -------
    tuple of int
        Multiples of `unit`, never larger than the largest block unless that is smaller than a
        unit; the first and last block may be smaller.

    Examples
    --------
    >>> aligned_axis((900, 100), 256)
    (768, 232)
    >>> aligned_axis((5, 5), 4, start=2)
    (2, 4, 4)
    """
    return _whole_units(sum(axis), max(unit, max(axis) // unit * unit), unit=unit, start=start)


def aligned_blocks(
    blocks: Blocks,
    write_unit: Sequence[int],
    *,
    item_bytes: int,
    max_bytes: int,
    shape: Sequence[int] | None = None,
    starts: Sequence[int] | None = None,
) -> Blocks | None:
    """Give blocks of whole write units that differ as little as can be from those given.

    Parameters
    ----------
    blocks, write_unit, shape, starts
        As in `alignment`.
    item_bytes : int
        Bytes of one element.
    max_bytes : int
        Size that no new block may exceed, unless a block that was given does.

    Returns
    -------
    tuple of tuples of int, or None
        The blocks given where they are aligned; else along each misaligned axis those of
        `aligned_axis`, and where these grow too large, smaller multiples of the unit along all
        axes. None if a single write unit is larger than `max_bytes` and than any block.

    Examples
    --------
    >>> aligned_blocks(((900, 100), (50,)), (256, 10), item_bytes=8, max_bytes=10**6)
    ((768, 232), (50,))
    >>> aligned_blocks(((1,) * 9, (9,)), (9, 1), item_bytes=1, max_bytes=30)
    ((9,), (3, 3, 3))
    """
    verdicts = alignment(blocks, write_unit, shape=shape, starts=starts)
    if all(verdict.aligned for verdict in verdicts):
        return blocks
    bound = max(max_bytes, math.prod(largest_block(blocks)) * item_bytes)
    sizes = list(largest_block(blocks))
    for axis, verdict in enumerate(verdicts):
        if not verdict.aligned:
            sizes[axis] = max(verdict.unit, sizes[axis] // verdict.unit * verdict.unit)
    kept = [verdict.aligned for verdict in verdicts]
    while math.prod(sizes) * item_bytes > bound:
        n_units = [size // unit for size, unit in zip(sizes, write_unit, strict=True)]
        longest = max(range(len(sizes)), key=n_units.__getitem__)
        if n_units[longest] < 2:
            return None
        sizes[longest] = -(-n_units[longest] // 2) * write_unit[longest]
        kept[longest] = False
    return tuple(
        blocks[axis]
        if kept[axis]
        else _whole_units(sum(blocks[axis]), sizes[axis], unit=verdict.unit, start=verdict.start)
        for axis, verdict in enumerate(verdicts)
    )


def _whole_units(extent: int, size: int, *, unit: int, start: int) -> AxisBlocks:
    """Cut an axis into blocks of `size`, a multiple of the unit, the first up to a unit's edge."""
    to_edge = -start % unit
    if to_edge == 0 or to_edge >= extent:
        return regular_axis(extent, size)
    return (to_edge, *regular_axis(extent - to_edge, size))


def blocks_of_bytes(
    shape: Sequence[int],
    write_unit: Sequence[int],
    *,
    item_bytes: int,
    target_bytes: int | None = None,
) -> Blocks:
    """Merge write units to blocks of about a size in bytes, without splitting any.

    Parameters
    ----------
    shape, write_unit : sequence of int
        Shapes of the array and of its write units.
    item_bytes : int
        Bytes of one element.
    target_bytes : int, optional
        Size that no block exceeds unless a single unit does. The default is `AUTO_BLOCK_BYTES`,
        with elements narrower than float32 counted as four bytes.

    Returns
    -------
    tuple of tuples of int
        Blocks that are as even as whole units allow.

    Notes
    -----
    Units are merged along the last axis first. Blocks then span whole rows where they can: what
    is computed along the last axis stays inside a block, and a tall array becomes the single
    column of blocks that tall and narrow factorisations need.

    Examples
    --------
    >>> blocks_of_bytes((1000, 100), (10, 50), item_bytes=4, target_bytes=100_000)
    ((250, 250, 250, 250), (100,))
    """
    if target_bytes is None:
        target_bytes, item_bytes = AUTO_BLOCK_BYTES, max(item_bytes, _COMPUTED_ITEM_BYTES)
    block = list(write_unit)
    for axis in reversed(range(len(block))):
        n_units = max(1, -(-shape[axis] // write_unit[axis]))
        n_fit = max(1, target_bytes // max(1, math.prod(block) * item_bytes))
        # Even pieces: five units with room for four become 3 + 2, not 4 + 1.
        n_pieces = -(-n_units // n_fit)
        block[axis] *= -(-n_units // n_pieces)
    return regular_blocks(shape, block)


def blocks_of_shape(
    shape: Sequence[int], write_unit: Sequence[int], block_shape: Sequence[int | None]
) -> Blocks:
    """Cut an array into blocks of a shape that was asked for.

    Parameters
    ----------
    shape, write_unit : sequence of int
        Shapes of the array and of its write units.
    block_shape : sequence of int or None
        Elements along each axis, a multiple of the write unit or not less than the axis; -1 and
        None stand for the whole axis.

    Raises
    ------
    InvalidArgumentError
        If the shape does not fit the array.
    AlignmentError
        If blocks would split write units.

    Examples
    --------
    >>> blocks_of_shape((10, 6), (2, 3), (4, -1))
    ((4, 4, 2), (6,))
    """
    if len(block_shape) != len(shape):
        raise InvalidArgumentError(
            f"chunks {tuple(block_shape)} has {len(block_shape)} axes, the array has {len(shape)}"
        )
    sizes = []
    for axis, (size, extent, unit) in enumerate(zip(block_shape, shape, write_unit, strict=True)):
        asked = max(extent, 1) if size is None or size == -1 else size
        if asked < 1:
            raise InvalidArgumentError(
                f"chunks {tuple(block_shape)}: expected a positive number, -1 or None on axis "
                f"{axis}, got {size!r}"
            )
        if asked % unit and asked < extent:
            raise AlignmentError(
                f"chunks {tuple(block_shape)}: blocks of {asked} on axis {axis} would split write "
                f"units of {unit}, which would be read and decoded more than once. Ask for "
                f"{_nearest_multiples(asked, unit)}, or rechunk the dask array",
                axis=axis,
                edge=asked,
                unit=unit,
            )
        sizes.append(asked)
    return regular_blocks(shape, sizes)


def _nearest_multiples(size: int, unit: int) -> str:
    below = size // unit * unit
    return f"{below} or {below + unit}" if below else str(unit)


def chunks_for_blocks(
    blocks: Blocks, *, item_bytes: int, max_bytes: int = MAX_CHUNK_BYTES
) -> tuple[int, ...]:
    """Choose chunks for a new array so that blocks are whole chunks.

    Parameters
    ----------
    blocks : tuple of tuples of int
        Sizes of the blocks to be written; regular along every axis.
    item_bytes : int
        Bytes of one element.
    max_bytes : int
        Size above which a block becomes several chunks, where it can be divided.

    Returns
    -------
    tuple of int
        The shape of a block, or a shape that divides it. Axes are divided from the first on, so
        that chunks stay long along the last.

    Raises
    ------
    AlignmentError
        If the sizes of blocks differ along an axis, so that no chunk is one block.

    Examples
    --------
    >>> chunks_for_blocks(((400, 400, 200), (30,)), item_bytes=8)
    (400, 30)
    >>> chunks_for_blocks(((400, 400, 200), (30,)), item_bytes=8, max_bytes=50_000)
    (200, 30)
    """
    for axis, sizes in enumerate(blocks):
        if regular_size(sizes) is None:
            size = max(sizes)
            raise AlignmentError(
                f"cannot choose chunks for a new array: the blocks along axis {axis} differ in "
                f"size ({_abridged(sizes)}). Call .rechunk({{{axis}: {size}}}) first, or pass "
                f"`chunks` that divide every block edge",
                axis=axis,
            )
    chunk = [max(1, size) for size in largest_block(blocks)]
    for axis, sizes in enumerate(blocks):
        n_needed = -(-math.prod(chunk) * item_bytes // max_bytes)
        if n_needed <= 1:
            break
        chunk[axis] = _divided(chunk[axis], n_needed, alone=len(sizes) == 1)
    return tuple(chunk)


def _divided(size: int, n_needed: int, *, alone: bool) -> int:
    """Divide a block into at least `n_needed` chunks, or fewer where only slivers would do.

    A block that is alone on its axis may be cut anywhere, the last chunk then ends with the array.
    """
    if alone:
        return -(-size // min(n_needed, size))
    enough = range(n_needed, 8 * n_needed + 1)
    fewer = range(n_needed - 1, 0, -1)
    n_pieces: int = next(n for n in (*enough, *fewer) if size % n == 0)
    return size // n_pieces


def _abridged(sizes: AxisBlocks) -> str:
    shown = ", ".join(map(str, sizes[:4]))
    return shown + ", ..." if len(sizes) > 4 else shown
