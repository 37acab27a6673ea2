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
from chunkstore.translating import codec_arguments
from chunkstore.workers import run_in_threads

__all__ = ["copy_node", "layout_of"]


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


def layout_of(source: Array, *, zarr_format: int | None = None) -> dict[str, Any]:
    """Give the arguments that create an array laid out like another, in the same or other format.

    Codecs are said again in the words of the format that is asked for; see `translating`.
    """
    metadata = source.metadata
    target = zarr_format or metadata.zarr_format
    same = target == metadata.zarr_format
    uniform = metadata.grid.uniform_shape is not None
    shards = source.shards if uniform or source.shards is None else metadata.grid
    attributes = dict(metadata.attributes)
    names = metadata.dimension_names
    if target == 3 and not same and _names_axes(attributes.get("_ARRAY_DIMENSIONS"), source.ndim):
        names = tuple(attributes.pop("_ARRAY_DIMENSIONS"))
    elif target == 2 and names is not None:
        # Version 2 has no names; this attribute is how xarray keeps them there.
        attributes["_ARRAY_DIMENSIONS"] = list(names)
        names = None
    return {
        "shape": source.shape,
        "chunks": source.chunks if uniform or source.shards else metadata.grid,
        "shards": shards if target == 3 else None,
        **codec_arguments(metadata, source.engine.chunk_pipeline, zarr_format=target),
        "fill_value": ... if target == 2 and metadata.fill_value is None else metadata.fill_value,
        "zarr_format": target,
        "chunk_key_encoding": metadata.key_encoding if same else None,
        "attributes": attributes,
        "dimension_names": names,
    }


def _copy_array(
    source: Array, store: Store, path: str, *, overwrite: bool, options: Options,
    layout: dict[str, Any],
) -> Array:  # fmt: skip
    arguments = {**layout_of(source, zarr_format=layout.get("zarr_format")), **layout}
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


def _names_axes(value: Any, ndim: int) -> bool:
    """Whether an attribute is what xarray writes: a name, or nothing, for each axis."""
    is_list = isinstance(value, list) and len(value) == ndim
    return is_list and all(name is None or isinstance(name, str) for name in value)


def _overlap(one: str, other: str) -> bool:
    """Whether one of two paths lies in the other, or they are the same."""
    first, second = prefix_of(one), prefix_of(other)
    return first.startswith(second) or second.startswith(first)
