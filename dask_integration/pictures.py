"""A picture of blocks over chunks.

Floor 3. Draws to files, never to a screen. Chunks are a grey checkerboard, blocks outlines in
colour; an edge of blocks that cuts chunks is red. Of a large grid its first corner is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chunkstore.errors import InvalidArgumentError, MissingExtraError
from dask_integration.cuts import Edges, clipped_edges
from dask_integration.staging import staged_file
from dask_integration.traffic import Traffic

__all__ = ["draw_blocks", "figure_class"]

_MOST_CHUNKS = 32
_MOST_BLOCKS = 12
"""What is drawn along each axis of a large grid."""

_MOST_CELLS = 64
"""Chunks that can be told apart along an axis; more are drawn several together."""

_MOST_LINES = 5
"""Axes that the title speaks of."""

_INK = "#333333"
_CHUNK = ("#F4F4F4", "#E2E2E2")
_CHUNK_EDGE = "#BDBDBD"
_BLOCK = "#0072B2"
_CUT = "#D55E00"
_DOTS_PER_INCH = 200


def draw_blocks(path: Path, traffic: Traffic, *, axes: Sequence[int] | None = None) -> None:
    """Draw the blocks of a job over the chunks of an array.

    Parameters
    ----------
    path : Path
        The file; its ending chooses the format. An older file is replaced as a whole.
    traffic : Traffic
        What the job reads or writes.
    axes : sequence of int, optional
        One or two axes. The default takes those with most blocks and chunks.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    InvalidArgumentError
        If `axes` are none of the array's.
    """
    shown = _chosen_axes(traffic, axes)
    # An array without axes is drawn as one of a single element.
    strips = [_Strip.of(traffic, axis) for axis in shown] or [_Strip.single()]
    figure = figure_class()(figsize=(7.2, 2.2 if len(strips) == 1 else 6.6), dpi=_DOTS_PER_INCH,
                            layout="constrained")  # fmt: skip
    plane = figure.add_subplot()
    across = strips[-1]
    down = strips[0] if len(strips) == 2 else _Strip.single()
    _fill(plane, down, across)
    _outline(plane, down, across)
    _dress(plane, down, across, traffic)
    with staged_file(path) as file:
        figure.savefig(file)


def figure_class() -> Any:
    """Import matplotlib's figure, or say how to get it."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "drawing a picture needs the package matplotlib, which is not installed: "
            "pip install 'chunkstore[cli]', or pass --no-plot",
            extra="cli",
        ) from error
    # Made without pyplot, a figure draws with Agg and is in no list of open figures.
    return Figure


class _Strip(NamedTuple):
    """One axis as far as it is drawn; positions in elements."""

    axis: int | None
    extent: int
    stop: int
    chunks: Edges
    """Edges of chunks, or of so many chunks together that they can be told apart."""
    n_together: int
    shards: Edges
    blocks: Edges
    cuts: Edges

    @classmethod
    def of(cls, traffic: Traffic, axis: int) -> _Strip:
        """Describe an axis of what is drawn."""
        units, blocks = traffic.units, np.array(traffic.edges[axis], np.int64)
        chunks = clipped_edges(units.read)[axis]
        shards = clipped_edges(units.write)[axis] if units.is_sharded else chunks[:0]
        counted = shards if traffic.is_write and units.is_sharded else chunks
        stop = _stop(chunks, blocks)
        inside = [edges[edges <= stop] for edges in (chunks, shards, blocks)]
        n_together = -(-(len(inside[0]) - 1) // _MOST_CELLS) or 1
        if n_together > 1:
            inside[0] = np.append(inside[0][:-1:n_together], inside[0][-1])
        return cls(
            axis=axis,
            extent=units.read.extents[axis],
            stop=stop,
            chunks=np.append(inside[0], stop) if inside[0][-1] < stop else inside[0],
            n_together=n_together,
            shards=inside[1] if len(inside[1]) <= _MOST_CELLS else inside[1][:0],
            blocks=inside[2],
            cuts=inside[2][~np.isin(inside[2], counted) & (inside[2] < units.read.extents[axis])],
        )

    @classmethod
    def single(cls) -> _Strip:
        """Describe the axis that an array of fewer axes lacks."""
        edges = np.array([0, 1])
        return cls(None, 1, 1, edges, 1, edges[:0], edges, edges[:0])

    @property
    def label(self) -> str:
        """What stands along the axis."""
        if self.stop == self.extent:
            return f"axis {self.axis}, {self.extent:,} elements"
        return f"axis {self.axis}, the first {self.stop:,} of {self.extent:,} elements"


def _stop(chunks: Edges, blocks: Edges) -> int:
    """Give the element up to which an axis is drawn: a few blocks, and at least two chunks."""
    extent = int(chunks[-1])
    by_blocks = int(blocks[min(_MOST_BLOCKS, len(blocks) - 1)])
    by_chunks = int(chunks[min(_MOST_CHUNKS, len(chunks) - 1)])
    least = max(int(blocks[min(2, len(blocks) - 1)]), int(chunks[min(2, len(chunks) - 1)]))
    return min(extent, max(least, min(by_blocks, by_chunks)))


def _chosen_axes(traffic: Traffic, axes: Sequence[int] | None) -> list[int]:
    n_axes = len(traffic.shape)
    if axes is None:
        # Axes whose chunks are cut, then those of most pieces; a tie goes to the last ones.
        told = [
            (verdict.n_cuts > 0, len(edges) + n_chunks, verdict.axis)
            for verdict, edges, n_chunks in zip(
                traffic.verdicts, traffic.edges, traffic.units.read.numblocks, strict=True
            )
        ]
        return sorted(axis for *_, axis in sorted(told, reverse=True)[:2])
    chosen = list(axes)
    if not 1 <= len(set(chosen)) == len(chosen) <= 2 or not all(0 <= a < n_axes for a in chosen):
        raise InvalidArgumentError(
            f"cannot draw axes {tuple(axes)} of {traffic.name}: expected one or two different "
            f"ones from 0 to {n_axes - 1}"
        )
    return chosen


def _fill(plane: Any, down: _Strip, across: _Strip) -> None:
    """Lay out the chunks."""
    shade = np.add.outer(np.arange(len(down.chunks) - 1), np.arange(len(across.chunks) - 1)) % 2
    colours = np.array([[tuple(bytes.fromhex(c[1:])) for c in _CHUNK]], np.uint8)[0]
    plane.pcolormesh(
        across.chunks, down.chunks, colours[shade] / 255, edgecolors=_CHUNK_EDGE, linewidth=0.4
    )
    for edge in across.shards:
        plane.axvline(edge, color=_INK, linewidth=1.0, zorder=2)
    for edge in down.shards:
        plane.axhline(edge, color=_INK, linewidth=1.0, zorder=2)


def _outline(plane: Any, down: _Strip, across: _Strip) -> None:
    """Draw the edges of blocks."""
    for strip, other, line in ((across, down, plane.vlines), (down, across, plane.hlines)):
        if strip.axis is None:
            continue
        reach = (
            other.blocks[0],
            min(other.stop, other.blocks[-1]) if len(other.blocks) > 1 else other.stop,
        )
        whole = strip.blocks[~np.isin(strip.blocks, strip.cuts)]
        line(whole, *reach, colors=_BLOCK, linewidth=2.0, zorder=3)
        line(strip.cuts, *reach, colors=_CUT, linewidth=2.0, linestyles="dashed", zorder=4)


def _dress(plane: Any, down: _Strip, across: _Strip, traffic: Traffic) -> None:
    """Label what is drawn, and say in words what it shows."""
    plane.set_xlim(0, across.stop)
    plane.set_ylim(down.stop, 0)
    plane.set_xlabel(across.label if across.axis is not None else "", color=_INK, fontsize=9)
    if down.axis is None:
        plane.set_yticks([])
    else:
        plane.set_ylabel(down.label, color=_INK, fontsize=9)
    plane.xaxis.set_major_formatter("{x:,.0f}")
    plane.yaxis.set_major_formatter("{x:,.0f}")
    plane.tick_params(colors=_INK, labelsize=8, length=0)
    for spine in plane.spines.values():
        spine.set_visible(False)
    verb = "writes" if traffic.is_write else "reads"
    title = "\n".join([f"{verb} {traffic.name}", *map(str, traffic.verdicts[:_MOST_LINES])])
    plane.set_title(title, color=_INK, fontsize=9, loc="left", pad=8)
    plane.figure.legend(
        handles=_legend(down, across),
        loc="outside lower left",
        ncols=4,
        frameon=False,
        fontsize=8,
        labelcolor=_INK,
    )


def _legend(down: _Strip, across: _Strip) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    n = max(down.n_together, across.n_together)
    chunk = "chunk" if n == 1 else f"up to {down.n_together * across.n_together:,} chunks"
    handles: list[Any] = [Patch(facecolor=_CHUNK[1], edgecolor=_CHUNK_EDGE, label=chunk)]
    if len(down.shards) or len(across.shards):
        handles.append(Line2D([], [], color=_INK, linewidth=1.0, label="shard"))
    handles.append(Line2D([], [], color=_BLOCK, linewidth=2.0, label="block"))
    if len(down.cuts) or len(across.cuts):
        cut: dict[str, Any] = {"color": _CUT, "linewidth": 2.0, "linestyle": "dashed"}
        handles.append(Line2D([], [], **cut, label="edge that cuts a chunk or shard"))
    return handles
