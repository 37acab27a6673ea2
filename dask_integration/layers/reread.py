"""Reading an array again under other names.

Floor 2, member of `layers`. dask keeps one result per graph key, so two uses of an array in one
graph read it once and hold it in between. Fresh names make the second use a computation of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import dask.array as da
from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef, convert_legacy_task
from dask.base import clone_key, get_name_from_key
from dask.blockwise import Blockwise
from dask.highlevelgraph import HighLevelGraph, Layer, MaterializedLayer
from dask.layers import ArrayOverlapLayer

from dask_integration.layers.base import (
    Key,
    RenamableLayer,
    make_array,
    need_task_array,
    unique_token,
)

__all__ = ["reread"]

_SPELLED_OUT = (MaterializedLayer, ArrayOverlapLayer)
"""Kinds of layers whose tasks say all there is to know, in any order and place."""


def reread(x: da.Array) -> da.Array:
    """Give the same array under fresh names, to be computed again from its sources.

    Two passes over one array in one graph hold every block of the first pass until the second
    has used it. Two passes over `x` and ``reread(x)`` hold a few blocks each.

    Parameters
    ----------
    x : dask.array.Array
        Any task-based dask array. Its functions must give the same values when run again.

    Returns
    -------
    dask.array.Array
        Equal blocks, other graph keys.

    Notes
    -----
    Data that the graph already holds (numpy blocks, persisted blocks) is shared, not copied; so
    is everything behind a layer whose kind is not known to be safe to rename, such as the peer to
    peer rechunking of `distributed`: the values stay right, and its blocks are held.

    Block-wise layers and reductions are renamed at once; a layer that is spelled out (slices,
    rechunks) costs time per task. `dask.graph_manipulation.clone` loses the dependencies of such
    layers in dask 2026.8 and is not used.
    """
    need_task_array(x, "read again")
    graph = cast(HighLevelGraph, x.__dask_graph__())
    fixed = {name for name, layer in graph.layers.items() if not _can_rename(layer)}
    names = {
        name: None
        for layer_name, layer in graph.layers.items()
        if layer_name not in fixed
        for name in _key_names(layer)
    }
    seed = unique_token()
    rename = _Renamer({name: clone_key(name, seed) for name in names})
    if rename(x.name) == x.name:
        return x

    kept = _with_ancestors(graph, fixed)
    layers: dict[str, Layer] = {name: graph.layers[name] for name in kept}
    dependencies: dict[str, set[str]] = {name: set(graph.dependencies[name]) for name in kept}
    layer_names = {name: name if name in fixed else clone_key(name, seed) for name in graph.layers}
    for name, layer in graph.layers.items():
        if name not in fixed:
            layers[layer_names[name]] = rename.layer(layer, graph, name)
            dependencies[layer_names[name]] = {
                layer_names[dependency] for dependency in graph.dependencies[name]
            }
    renamed = HighLevelGraph(layers, dependencies)
    return make_array(renamed, rename(x.name), chunks=x.chunks, meta=x._meta)


def _can_rename(layer: Layer) -> bool:
    if isinstance(layer, Blockwise):
        return not any(dep.produces_keys for dep in layer.io_deps.values())
    if isinstance(layer, _SPELLED_OUT):
        return not all(map(_is_data, layer.values()))
    return isinstance(layer, RenamableLayer)


def _is_data(value: Any) -> bool:
    if isinstance(value, GraphNode):
        return isinstance(value, DataNode)
    return not isinstance(value, tuple | list | dict)


def _key_names(layer: Layer) -> Iterable[str]:
    if isinstance(layer, Blockwise):
        return (layer.output,)
    if isinstance(layer, RenamableLayer):
        return layer.key_names()
    return {get_name_from_key(key) for key in layer}


def _with_ancestors(graph: HighLevelGraph, names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(graph.dependencies[name])
    return found


class _Renamer:
    """Gives graph keys and layers their new names; names it does not know stay as they are."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def __call__(self, key: Key) -> Key:
        if isinstance(key, tuple) and key and isinstance(key[0], str):
            return (self.names.get(key[0], key[0]), *key[1:])
        return self.names.get(key, key) if isinstance(key, str) else key

    def layer(self, layer: Layer, graph: HighLevelGraph, name: str) -> Layer:
        if isinstance(layer, Blockwise):
            return self._blockwise(layer)
        if isinstance(layer, RenamableLayer):
            return layer.renamed(self)
        known = set(layer)
        for dependency in graph.dependencies[name]:
            known |= graph.layers[dependency].get_output_keys()
        tasks = {}
        for key, value in layer.items():
            node = convert_legacy_task(key, value, known)
            node = node if isinstance(node, GraphNode) else DataNode(key, node)
            tasks[self(key)] = self._node(node, self(key))
        return MaterializedLayer(tasks, annotations=layer.annotations)

    def _node(self, node: GraphNode, key: Key) -> GraphNode:
        if isinstance(node, Alias):
            return Alias(key, self(node.target))
        substitutions = {dependency: self(dependency) for dependency in node.dependencies}
        renamed = node.substitute(substitutions, key=key)
        # A container at the top of a layer keeps its old key when it is substituted.
        return renamed if renamed.key == key else Task(key, _same, renamed)

    def _blockwise(self, layer: Blockwise) -> Blockwise:
        def operand(value: Any) -> Any:
            if isinstance(value, TaskRef):
                return TaskRef(self(value.key))
            if isinstance(value, GraphNode):
                return self._node(value, value.key)
            return self(value)

        return Blockwise(
            output=self(layer.output),
            output_indices=layer.output_indices,
            task=layer.task.substitute({}, key=self(layer.task.key)),
            indices=[(operand(value), index) for value, index in layer.indices],
            numblocks={self(name): counts for name, counts in layer.numblocks.items()},
            concatenate=layer.concatenate,
            new_axes=layer.new_axes,
            output_blocks=layer.output_blocks,
            annotations=layer.annotations,
            io_deps=layer.io_deps,
        )


def _same(value: Any) -> Any:
    return value
