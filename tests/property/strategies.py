"""Arrays of every layout, selections that numpy takes, and values that fit them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

import chunkstore as cs

DTYPES = ["?", "i1", "u2", "i4", "u8", "f4", "f8", "c8"]

shapes = st.lists(st.integers(0, 7), max_size=4).map(tuple)


class Twins(NamedTuple):
    """An array in a store and one of numpy that hold the same values."""

    stored: cs.Array
    plain: np.ndarray


def numbers(shape: tuple[int, ...], dtype: Any, start: int = 1) -> np.ndarray:
    """Give small numbers that differ from their neighbours, in any dtype."""
    count = np.arange(start, start + math.prod(shape)) % (2 if np.dtype(dtype) == bool else 127)
    return count.reshape(shape).astype(dtype)


@st.composite
def twins(draw: st.DrawFn, *, filled: bool = True) -> Twins:
    """Draw an array of any format, shape, chunks, shards, layout and fill value."""
    shape = draw(shapes)
    dtype = draw(st.sampled_from(DTYPES))
    zarr_format = draw(st.sampled_from([2, 3]))
    chunks = tuple(draw(st.integers(1, 8)) for _ in shape)
    arguments: dict[str, Any] = {}
    if zarr_format == 3 and shape and draw(st.booleans()):
        arguments["shards"] = tuple(size * draw(st.integers(1, 3)) for size in chunks)
    else:
        arguments["order"] = draw(st.sampled_from(["C", "F"]))
    byte_order = draw(st.sampled_from("<>"))
    if byte_order == ">" and zarr_format == 3 and dtype not in ("?", "i1"):
        big = {"name": "bytes", "configuration": {"endian": "big"}}
        arguments["serializer"] = big
    fill_value = draw(st.sampled_from([0, 1]))
    stored = cs.create_array(
        None,
        shape=shape,
        dtype=np.dtype(dtype).newbyteorder(byte_order),
        chunks=chunks,
        compressors=draw(st.sampled_from([None, "auto"])),
        fill_value=fill_value,
        zarr_format=zarr_format,
        options=cs.Options(n_threads=1, write_empty_chunks=draw(st.booleans())),
        **arguments,
    )
    plain = np.full(shape, fill_value, dtype)
    if filled and draw(st.booleans()):
        plain = numbers(shape, dtype)
        stored[...] = plain
    return Twins(stored, plain)


def slices(extent: int) -> st.SearchStrategy[slice]:
    """Draw any slice, with ends inside and outside and steps in both directions."""
    end = st.none() | st.integers(-extent - 2, extent + 2)
    step = st.none() | st.integers(-extent - 1, extent + 1).filter(bool)
    return st.builds(slice, end, end, step)


@st.composite
def basic_selections(draw: st.DrawFn, shape: tuple[int, ...]) -> Any:
    """Draw integers, slices, Ellipsis and None that fit a shape, as numpy takes them."""
    entries: list[Any] = []
    for extent in shape:
        entry = slices(extent)
        if extent:
            integers = st.integers(-extent, extent - 1)
            entry = entry | integers | integers.map(np.int64) | integers.map(np.array)
        entries.append(draw(entry))
    if draw(st.booleans()):
        first = draw(st.integers(0, len(entries)))
        last = draw(st.integers(first, len(entries)))
        entries[first:last] = [Ellipsis]
    else:
        del entries[draw(st.integers(0, len(entries))) :]
    for _ in range(draw(st.integers(0, 2))):
        entries.insert(draw(st.integers(0, len(entries))), None)
    if len(entries) == 1 and draw(st.booleans()):
        return entries[0]
    return tuple(entries)


@st.composite
def values_for(draw: st.DrawFn, shape: tuple[int, ...], dtype: Any) -> Any:
    """Draw a value that numpy would spread over a shape: some axes left out or of length 1."""
    axes = list(shape[draw(st.integers(0, len(shape))) :])
    for i in range(len(axes)):
        if draw(st.booleans()):
            axes[i] = 1
    # A single element takes no list in some versions of numpy.
    if shape and len(axes) == len(shape):
        axes[:0] = [1] * draw(st.integers(0, 1))
    value = numbers(tuple(axes), dtype, start=draw(st.integers(1, 50)))
    layout = draw(st.sampled_from(["C", "F", "view", "big-endian", "scalar"]))
    if layout == "F":
        return np.asfortranarray(value) if value.ndim else value
    if layout == "view":
        return np.repeat(value[..., None], 2, axis=-1)[..., 0]
    if layout == "big-endian":
        return value.astype(value.dtype.newbyteorder(">"))
    return value.ravel()[0].item() if layout == "scalar" and value.size else value
