"""Which parts of a shard to fetch together.

Floor 4. Inner chunks that lie close together in a stored shard are read at once: a request costs
more than the bytes between them. How close is close depends on the store.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from chunkstore.errors import CodecError
from chunkstore.stores.base import OpenValue
from chunkstore.types import Buffer, ByteRange, NDArray

__all__ = ["Fetch", "fetched", "fetches_of"]

_FETCH_BYTES = 1 << 24
"""Most bytes of one fetch of several inner chunks, so that memory stays bounded."""


class Fetch(NamedTuple):
    """Inner chunks that lie close together: the bytes to read, and which chunks they are."""

    start: int
    stop: int
    rows: NDArray


def fetches_of(ranges: NDArray, *, gap: int, n_threads: int) -> Iterator[Fetch]:
    """Join the byte ranges of inner chunks that lie close together into single fetches.

    Empty inner chunks need no bytes and make a fetch of their own. Where several threads share
    one shard, each fetch is kept to its part of the whole.
    """
    offsets, lengths = ranges[:, 0], ranges[:, 1]
    empty = np.flatnonzero(offsets < 0)
    if empty.size:
        yield Fetch(0, 0, empty)
    rows = np.argsort(offsets, kind="stable")[empty.size :]
    if not rows.size:
        return
    starts = offsets[rows]
    stops = starts + lengths[rows]
    most = min(_FETCH_BYTES, max(gap, int(lengths[rows].sum()) // max(1, n_threads)))
    first = 0
    far = np.flatnonzero(starts[1:] - stops[:-1] > gap) + 1
    for last in (*far.tolist(), len(rows)):
        while first < last:
            end = int(np.searchsorted(stops[first:last], starts[first] + most, side="right"))
            end = first + max(1, end)
            yield Fetch(int(starts[first]), int(stops[end - 1]), rows[first:end])
            first = end


def fetched(opened: OpenValue, fetch: Fetch) -> Buffer:
    """Read the bytes of one fetch."""
    if fetch.stop == fetch.start:
        return b""
    data = opened.read(ByteRange(fetch.start, fetch.stop - fetch.start))
    if len(data) != fetch.stop - fetch.start:
        raise CodecError(f"the value ends before byte {fetch.stop}")
    return data
