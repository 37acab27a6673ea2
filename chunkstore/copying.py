"""Copying arrays and groups between any two stores, formats and layouts.

Floor 8. Chunk by chunk: a copy holds one unit of the destination a thread, whatever the size of
the array. Where nothing about the chunks changes, their stored bytes are copied as they are.

Each array comes into existence when all its chunks are there; a copy that is interrupted leaves
nothing that opens as complete.
"""

from __future__ import annotations

from typing import Any

from chunkstore import group as groups
from chunkstore.array import Array, make_array, make_array_from
from chunkstore.cache import mark_changed
from chunkstore.errors import InvalidArgumentError
from chunkstore.group import Group
from chunkstore.keys import join, prefix_of
from chunkstore.options import Options
from chunkstore.requests import Projection, whole_request
from chunkstore.resizing import stored_keys
from chunkstore.stores.base import Store
from chunkstore.translating import layout_like
from chunkstore.workers import run_in_threads

__all__ = ["copy_node"]


def copy_node(
    source: Array | Group, store: Store, path: str, *, overwrite: bool, options: Options,
    **layout: Any,
) -> Array | Group:  # fmt: skip
    """Copy an array, or a group with all below it; see `chunkstore.copy`."""
    if source.store == store and _overlap(source.path, path):
        raise InvalidArgumentError(
            f"cannot copy {source.path or '/'!r} to {path or '/'!r} in the same store: one lies in "
            f"the other"
        )
    if isinstance(source, Array):
        return _copy_array(source, store, path, overwrite=overwrite, options=options, layout=layout)
    made = groups.create_group(
        store,
        path,
        attributes=source.attrs.asdict(),
        overwrite=overwrite,
        zarr_format=layout.get("zarr_format", source.metadata.zarr_format),
        options=options,
    )
    for name, member in source.members():
        copy_node(member, store, join(path, name), overwrite=False, options=options, **layout)
    return made


def _copy_array(
    source: Array, store: Store, path: str, *, overwrite: bool, options: Options,
    layout: dict[str, Any],
) -> Array:  # fmt: skip
    arguments = layout_like(source, **layout)
    if _is_same_layout(source, layout):
        target = make_array_from(
            store, path, source.metadata, overwrite=overwrite, pending=True, options=options
        )
        _copy_values(source, target)
    else:
        try:
            target = make_array(
                store, path, overwrite=overwrite, pending=True, options=options, **arguments
            )
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"cannot copy {source!r}: {error}") from error
        _copy_elements(source, target)
    target.publish()
    return target


def _is_same_layout(source: Array, layout: dict[str, Any]) -> bool:
    """Whether the copy is asked to change nothing about the chunks."""
    return all(
        name == "zarr_format" and value == source.metadata.zarr_format
        for name, value in layout.items()
    )


def _copy_values(source: Array, target: Array) -> None:
    """Copy stored values as they are; the documents are the same, so they mean the same."""

    def copy_one(item: tuple[str, tuple[int, ...]]) -> None:
        key, coords = item
        value = source.store.get_buffer(key)
        if value is not None:
            encoding = target.metadata.key_encoding
            place = join(target.path, encoding.encode(coords))
            target.store.set(place, value)
            mark_changed(target.store.place(place))

    keys = stored_keys(source.engine)
    run_in_threads(copy_one, keys, n_threads=_n_threads(source, target))


def _copy_elements(source: Array, target: Array) -> None:
    """Read and write one write unit of the target after the other."""
    inner_source = source.with_options(n_threads=1)
    inner_target = target.with_options(n_threads=1)
    grid = target.metadata.grid

    def copy_one(projection: Projection) -> None:
        region = projection.out_selection
        inner_target[region] = inner_source[region]

    units = whole_request(target.shape).projections(grid)
    run_in_threads(copy_one, units, n_threads=_n_threads(source, target))


def _n_threads(source: Array, target: Array) -> int:
    """Choose how many units are under way at once: as many as the store with more waiting wants."""
    return target.options.threads_for(max(source.store.concurrency, target.store.concurrency))


def _overlap(one: str, other: str) -> bool:
    """Whether one of two paths lies in the other, or they are the same."""
    first, second = prefix_of(one), prefix_of(other)
    return first.startswith(second) or second.startswith(first)
