"""Layers of dask graphs: the only place that knows dask's graph classes and versions.

Floor 2. Everything above builds its graphs from these functions::

    read_layer     handle   -> array        one source task a block
    read_expression, task_array             the same for arrays of the package ``dask_array``
    write_layer    array    -> receipts     one task a block, fused with what made the block
    map_block      array    -> array        a function on each block, small operands beside it
    map_partials   array    -> partials     the same, for results that are no arrays
    tree_reduce    partials -> one object   a tree with a wide fan-in
    reduce_blocks  partials -> array        the same along some axes of the grid
    reread         array    -> array        the same values, computed anew from the sources
    hold_reductions array   -> array        its reductions computed once and kept
    share          value    -> operand      sent to the workers once
    literals_of    array    -> objects      what its tasks carry
    content_name   array    -> name         that tells its values
    spelled_out    graph    -> tasks        what each reads, writes and holds
    outlined       graph    -> counts       about the same, layer by layer
    runners                 -> counts       where dask would run them
    gather         objects  -> one object   a function of several reduced ones
    phases         where the time of a task goes, for the dashboard

All layers stay symbolic: a graph over a million blocks pickles to a few kilobytes and is spelled
out only where it runs. A chain of read, map and write fuses into one task a block.

It targets the task-based ``dask.array``, dask's default. Under ``array.query-planning`` dask's
arrays are expressions that cannot hold such layers, and every function here refuses them.

Members import only this folder's `base`.

Source: dask's ``dask.blockwise``, ``dask.highlevelgraph`` and ``dask._task_spec``, read in
2026.8.0.
"""

from __future__ import annotations

from dask_integration.layers.accesses import (
    Access,
    GridAccess,
    Outline,
    SpelledTask,
    outlined,
    spelled_out,
)
from dask_integration.layers.base import need_task_array, refuse_query_planning, unique_token
from dask_integration.layers.blockwise import map_block, map_partials, read_layer, write_layer
from dask_integration.layers.contents import (
    Runners,
    content_name,
    literals_of,
    other_processes,
    refuse_memory_elsewhere,
    runners,
)
from dask_integration.layers.held import hold_reductions, share
from dask_integration.layers.phases import phases, spanning
from dask_integration.layers.portable import read_expression, task_array
from dask_integration.layers.reread import reread
from dask_integration.layers.tree import FusingDelayed, gather, reduce_blocks, tree_reduce

__all__ = [
    "Access",
    "FusingDelayed",
    "GridAccess",
    "Outline",
    "Runners",
    "SpelledTask",
    "content_name",
    "gather",
    "hold_reductions",
    "literals_of",
    "map_block",
    "map_partials",
    "need_task_array",
    "other_processes",
    "outlined",
    "phases",
    "read_expression",
    "read_layer",
    "reduce_blocks",
    "refuse_memory_elsewhere",
    "refuse_query_planning",
    "reread",
    "runners",
    "share",
    "spanning",
    "spelled_out",
    "task_array",
    "tree_reduce",
    "unique_token",
    "write_layer",
]
