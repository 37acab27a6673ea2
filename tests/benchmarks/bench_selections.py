"""Parts of a local array: slices, strides, windows, lists of indices, masks, points.

All on the field of the local rows, blosc-lz4; most in chunks of 64 KiB, where a library's own work
for each chunk counts most.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tests.benchmarks.data import equals, field, field_shape, layout, make_arrays, readers
from tests.benchmarks.harness import Row, Scale
from tests.benchmarks.peers import Layout, Peer

GOAL = 1.2
N_WINDOWS = 20


def rows(scale: Scale) -> list[Row]:
    """Give the rows of this topic."""
    shape = field_shape(scale)
    small, large = layout("small", shape, (128, 128)), layout("large", shape, (1024, 1024))
    middle = shape[1] // 2
    return [
        slices_row("every 4th of both axes, 64 KiB chunks", small, scale, np.s_[::4, ::4]),
        slices_row("every 4th of both axes, 4 MiB chunks", large, scale, np.s_[::4, ::4]),
        slices_row("one column, 64 KiB chunks", small, scale, np.s_[:, middle]),
        slices_row("10 columns, 4 MiB chunks", large, scale, np.s_[:, middle : middle + 10]),
        slices_row("10 rows, 64 KiB chunks", small, scale, np.s_[5:15]),
        windows_row(small, scale),
        *lists_rows(small, scale),
        points_row(small, scale),
        mask_row(replace(scale, n_bytes=max(1 << 16, scale.n_bytes // 16))),
    ]


def part_row(
    name: str,
    one: Layout,
    scale: Scale,
    work: Callable[[Peer, Any], Any],
    expected: Callable[[np.ndarray], np.ndarray],
    operations: int = 1,
) -> Row:
    """Give a row that reads a part, and what it is of the field."""
    return Row(
        name,
        f"of {one.shape}",
        readers(one, scale, work),
        check=lambda result: equals(expected(field(scale)), result),
        make=lambda: make_arrays(one, lambda: field(scale), scale),
        operations=operations,
        goal=GOAL,
    )


def slices_row(name: str, one: Layout, scale: Scale, selection: Any) -> Row:
    """Reading by slices and integers."""
    return part_row(
        name, one, scale, lambda peer, handle: peer.read(handle, selection), lambda a: a[selection]
    )


def windows_row(one: Layout, scale: Scale) -> Row:
    """Reading windows that no chunk edge meets, one at a time."""
    size = min(200, *one.shape)
    corners = np.random.default_rng(2).integers(
        [n - size + 1 for n in one.shape], size=(N_WINDOWS, 2)
    )
    windows = [tuple(slice(i, i + size) for i in corner) for corner in corners.tolist()]

    def work(peer: Peer, handle: Any) -> np.ndarray:
        for window in windows:
            result = peer.read(handle, window)
        return result

    name = f"a window of 200 by 200, 64 KiB chunks; mean of {N_WINDOWS}"
    return part_row(name, one, scale, work, lambda a: a[windows[-1]], N_WINDOWS)


def lists_rows(one: Layout, scale: Scale) -> list[Row]:
    """Reading the crossings of lists of rows and columns, and the rows where a mask is true."""
    rng = np.random.default_rng(3)
    n_rows, n_columns = one.shape
    picked = [np.sort(rng.choice(n, min(300, n // 2), replace=False)) for n in one.shape]
    mask = rng.random(n_rows) < 0.01
    mask[0] = True
    few = np.s_[:, : n_columns // 4]

    def by_lists(peer: Peer, handle: Any) -> np.ndarray:
        return peer.orthogonal(handle, (picked[0], picked[1]))

    def by_mask(peer: Peer, handle: Any) -> np.ndarray:
        return peer.orthogonal(handle, (mask, few[1]))

    return [
        part_row(
            "300 rows by 300 columns at random, 64 KiB chunks", one, scale, by_lists,
            lambda a: a[np.ix_(*picked)],
        ),
        part_row(
            "rows by a mask, 1 in 100, of a quarter of the columns, 64 KiB chunks", one, scale,
            by_mask, lambda a: a[mask][few],
        ),
    ]  # fmt: skip


def points_row(one: Layout, scale: Scale) -> Row:
    """Reading single elements at random."""
    n_points = scale.part(2_000)
    points = tuple(np.random.default_rng(4).integers(one.shape, size=(n_points, 2)).T.copy())
    name = "2,000 points at random, 64 KiB chunks"
    return part_row(
        name, one, scale, lambda peer, handle: peer.points(handle, points), lambda a: a[points]
    )


def mask_row(scale: Scale) -> Row:
    """Reading where a mask of the whole array is true: a sixteenth of the field of other rows."""
    one = layout("masked", field_shape(scale), (128, 128))

    def mask(values: np.ndarray) -> np.ndarray:
        chosen: np.ndarray = np.random.default_rng(5).random(values.shape, "f4") < 0.001
        return chosen

    def by_mask(given: np.ndarray, peer: Peer, handle: Any) -> np.ndarray:
        return peer.mask(handle, given)

    shape_only = np.broadcast_to(np.float32(0), one.shape)
    work = partial(by_mask, mask(shape_only))
    return part_row("a mask of 1 in 1,000, 64 KiB chunks", one, scale, work, lambda a: a[mask(a)])
