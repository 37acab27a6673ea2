"""How to bring a stored array into other chunks within a memory bound: a plan, made of numbers.

Floor 1: no dask, no store; tuples and integers. A plan is made of stages, and a stage of tasks,
each of which reads one region and writes it. Regions are whole write units of what they are
written to, so no two tasks touch the same one::

    direct     source ──read──▶ regions of whole target units ──write──▶ target
    staged     source ──▶ regions of whole source chunks ──▶ pieces ──▶ target's regions ──▶ target

A direct task may cut source chunks, which are then read by several tasks: reading is amplified. A
staged copy reads everything twice and writes everything twice, whatever the shapes, through an
array of its own. Its pieces are the cells between the edges of both kinds of regions::

    regions of whole source chunks   |       |       |     each piece is written by one task and
    regions of whole target units    |    |    |     |     read by one task
    pieces                           |    |  | |  |  |

So the pieces differ in size, which a rectilinear grid can say. More than one stage in between is
left out: it pays where pieces would be of some kilobytes, above a hundred terabytes with a bound of
a gigabyte.

Source: rechunker's algorithm (its documentation, "Algorithm") for consolidating reads and writes;
here with unequal pieces, reads beyond the region counted, and the direct way priced as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from chunkstore.errors import InvalidArgumentError
from dask_integration.chunks import BlockGrid
from dask_integration.cuts import (
    choices_per_axis,
    clipped_edges,
    cuts,
    edges_of,
    grid_of,
    largest_piece,
    largest_region,
    least,
    n_pieces_of,
    outer,
    touched,
    unit_edges,
    unit_shape,
)

__all__ = ["Method", "RechunkPlan", "Stage", "Units", "megabytes", "plan_rechunk"]

Method: TypeAlias = Literal["auto", "direct", "staged"]

_MOST_AMPLIFIED = 3.0
"""Up to here a direct copy is taken: it reads and writes no more than a staged one, 2 + 2, and
makes none of its objects."""

_TASK_BYTES = 2**20
"""What starting a task costs, in bytes copied meanwhile: about a millisecond."""

_VALUE_BYTES = 2**17
"""What one more request to a store costs, likewise."""

_FEWER_AT_ONCE = 1.2
"""What running fewer tasks at once than there are threads costs: threads help each other inside a
task instead, which leaves gaps."""

_LAST_ROUND = 0.5
"""How much of a region's bytes a thread idles, on average, when no task is left: many small regions
also show progress, and lose less when one has to be done again."""

_DIRECT_COMBINATIONS = 20_000
_STAGED_COMBINATIONS = 300_000
"""How many shapes of regions are weighed."""


class Units(NamedTuple):
    """How an array is cut in its store.

    Parameters
    ----------
    read : BlockGrid
        Its chunks, or the inner chunks of its shards.
    write : BlockGrid
        Its shards, or its chunks where there are none.
    """

    read: BlockGrid
    write: BlockGrid

    @classmethod
    def of(cls, shape: Sequence[int], chunks: Sequence[Any], shards: Any = None) -> Units:
        """Describe an array by its shape and the shapes (or, per axis, sizes) of chunks and shards.

        Examples
        --------
        >>> Units.of((10, 4), (2, 4), (6, 4)).write.numblocks
        (2, 1)
        """
        grids = []
        for sizes in (chunks, chunks if shards is None else shards):
            plain = (s if isinstance(s, tuple) else max(1, int(s)) for s in sizes)
            grids.append(BlockGrid(tuple(shape), tuple(plain)))
        return cls(*grids)

    @property
    def is_sharded(self) -> bool:
        """Whether a stored value holds several chunks."""
        return self.read != self.write

    def read_scratch(self, item_bytes: int, n_threads: int = 1) -> int:
        """Give the bytes that a read holds beside its region: stored values, and decoded ones."""
        chunks = 2 * n_threads * math.prod(unit_shape(self.read))
        shard = math.prod(unit_shape(self.write)) if self.is_sharded else 0
        return item_bytes * (chunks + shard)

    def write_scratch(self, item_bytes: int, n_threads: int = 1) -> int:
        """Give the bytes that a write holds beside its region: elements laid out, and encoded."""
        chunks = 2 * n_threads * math.prod(unit_shape(self.read))
        # Of a shard the encoded chunks are held, and then the whole that is made of them.
        shard = 2 * math.prod(unit_shape(self.write)) if self.is_sharded else 0
        return item_bytes * (chunks + shard)


@dataclass(frozen=True)
class Stage:
    """One pass over the data: every task reads a region and writes it.

    Parameters
    ----------
    regions : BlockGrid
        The regions: one task each.
    n_values_read : int
        Stored values (chunks or shards) that are opened, over all tasks.
    read_bytes : int
        Bytes of the chunks that are read, decoded, over all tasks; in full where a chunk reaches
        beyond a region or the array.
    n_values_written : int
        Stored values that are made.
    written_bytes : int
        Bytes of the elements that are written, before encoding.
    task_bytes : int
        The most that one task holds.
    """

    regions: BlockGrid
    n_values_read: int
    read_bytes: int
    n_values_written: int
    written_bytes: int
    task_bytes: int

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return math.prod(self.regions.numblocks)


@dataclass(frozen=True)
class RechunkPlan:
    """A copy into other chunks, as numbers.

    Parameters
    ----------
    source, target : Units
        How both arrays are cut.
    item_bytes : int
        Bytes of an element.
    memory_bytes : int
        What a process may hold.
    n_threads, n_processes : int
        Threads of a process for tasks, and processes.
    n_requests : int
        Requests that a process was to keep under way, if memory allows.
    n_at_once : int
        Tasks that a process runs at a time.
    n_inner : int
        Threads that a task uses.
    stages : tuple of Stage
        One for a direct copy, two for a staged one, none where there is no element.
    pieces : BlockGrid, optional
        Chunks of the array in between.
    source_bytes : int
        Bytes of all chunks of the source, each counted once.
    other : RechunkPlan, optional
        The way that was not taken, if it fits in memory.
    """

    source: Units
    target: Units
    item_bytes: int
    memory_bytes: int
    n_threads: int
    n_processes: int
    n_requests: int
    n_at_once: int
    n_inner: int
    stages: tuple[Stage, ...]
    pieces: BlockGrid | None
    source_bytes: int
    other: RechunkPlan | None = None

    @property
    def method(self) -> Literal["direct", "staged"]:
        """Whether there is an array in between."""
        return "direct" if self.pieces is None else "staged"

    @property
    def n_tasks(self) -> int:
        """Number of tasks of all stages."""
        return sum(stage.n_tasks for stage in self.stages)

    @property
    def read_bytes(self) -> int:
        """Bytes read by all stages, decoded."""
        return sum(stage.read_bytes for stage in self.stages)

    @property
    def written_bytes(self) -> int:
        """Bytes written by all stages, before encoding."""
        return sum(stage.written_bytes for stage in self.stages)

    @property
    def n_values_read(self) -> int:
        """Stored values opened by all stages."""
        return sum(stage.n_values_read for stage in self.stages)

    @property
    def n_values_written(self) -> int:
        """Stored values made by all stages; those in between are deleted in the end."""
        return sum(stage.n_values_written for stage in self.stages)

    @property
    def read_amplification(self) -> float:
        """How often the source is read: 1.0 where each of its chunks is read once."""
        return self.stages[0].read_bytes / self.source_bytes if self.stages else 0.0

    @property
    def peak_bytes(self) -> int:
        """The most that the tasks of a process hold at a time, apart from the libraries."""
        return self.n_at_once * max((stage.task_bytes for stage in self.stages), default=0)

    @property
    def cost_bytes(self) -> float:
        """What the plan is compared by: bytes moved, with requests and tasks as bytes."""
        return sum(
            stage.read_bytes
            + stage.written_bytes
            + (stage.n_values_read + stage.n_values_written) * _VALUE_BYTES
            + stage.n_tasks * _TASK_BYTES
            for stage in self.stages
        )

    def __str__(self) -> str:
        lines = [f"rechunk {self.method}: {_traffic(self)}"]
        for number, stage in enumerate(self.stages, start=1):
            lines.append(
                f"  stage {number}: {stage.n_tasks:,} tasks, regions up to "
                f"{largest_region(stage.regions)}, {megabytes(stage.task_bytes)} a task"
            )
        if self.pieces is not None:
            lines.append(f"  in between: pieces up to {largest_region(self.pieces)}")
        lines.append(
            f"  memory: {megabytes(self.peak_bytes)} of {megabytes(self.memory_bytes)}, "
            f"{self.n_at_once} at a time on {self.n_inner} thread{'s' * (self.n_inner > 1)} each"
        )
        if self.other is not None:
            lines.append(f"  not taken, {self.other.method}: {_traffic(self.other)}")
        return "\n".join(lines)


def _traffic(plan: RechunkPlan) -> str:
    return (
        f"{megabytes(plan.read_bytes)} read ({plan.read_amplification:.2f}x the source), "
        f"{megabytes(plan.written_bytes)} written, {plan.n_values_written:,} objects made"
    )


def megabytes(n_bytes: float) -> str:
    """Show a number of bytes.

    Examples
    --------
    >>> megabytes(2_500_000_000), megabytes(1_200)
    ('2,500.0 MB', '1.2 kB')
    """
    return f"{n_bytes / 1e6:,.1f} MB" if n_bytes >= 1e5 else f"{n_bytes / 1e3:,.1f} kB"


# --- the planner -------------------------------------------------------------------------------


def plan_rechunk(
    source: Units,
    target: Units,
    *,
    item_bytes: int,
    memory_bytes: int,
    n_threads: int = 1,
    n_processes: int = 1,
    n_requests: int = 1,
    method: Method = "auto",
) -> RechunkPlan:
    """Plan how to copy an array into other chunks within a memory bound.

    Parameters
    ----------
    source, target : Units
        How both arrays are cut; of the same shape.
    item_bytes : int
        Bytes of an element.
    memory_bytes : int
        What one process may hold at a time.
    n_threads, n_processes : int
        Threads of a process for tasks, and processes that work at it.
    n_requests : int
        Requests that a process should keep under way where stores mostly wait: a task then uses
        more threads than there are processors, as far as memory allows.
    method : {"auto", "direct", "staged"}
        "auto" takes the direct copy if it reads the source up to three times, or for less than a
        staged copy costs.

    Returns
    -------
    RechunkPlan
        With the way that was not taken beside it.

    Raises
    ------
    InvalidArgumentError
        If no plan of the method fits in memory; it says what would.

    Notes
    -----
    A task holds its region and, while it reads or writes, one stored value with its decoded form
    for each of its threads. Codecs are taken to hold no more than that.

    Costs some milliseconds, whatever the number of chunks of regular grids; time per chunk along
    an axis for rectilinear ones.

    Examples
    --------
    >>> columns, rows = Units.of((8192, 8192), (8192, 64)), Units.of((8192, 8192), (64, 8192))
    >>> plan = plan_rechunk(columns, rows, item_bytes=4, memory_bytes=60_000_000)
    >>> plan.method, plan.read_amplification, plan.other.read_amplification
    ('staged', 1.0, 5.0)
    """
    shape = source.read.extents
    if target.read.extents != shape:
        raise InvalidArgumentError(
            f"cannot rechunk an array of shape {shape} into one of {target.read.extents}"
        )
    problem = _Problem(
        source, target, item_bytes, memory_bytes, n_threads, n_processes, max(n_threads, n_requests)
    )
    if math.prod(shape) == 0:
        return problem.plan()
    direct = None if method == "staged" else _cheapest(_direct, problem)
    staged = None if method == "direct" else _cheapest(_staged, problem)
    if direct is None and staged is None:
        raise _too_little(problem, method)
    if direct is None or staged is None:
        return direct or staged  # type: ignore[return-value]
    prefer_direct = (
        direct.read_amplification <= _MOST_AMPLIFIED or direct.cost_bytes <= staged.cost_bytes
    )
    taken, other = (direct, staged) if prefer_direct else (staged, direct)
    return replace(taken, other=other)


@dataclass(frozen=True)
class _Problem:
    """What a plan has to solve."""

    source: Units
    target: Units
    item_bytes: int
    memory_bytes: int
    n_threads: int
    n_processes: int
    n_requests: int

    def plan(
        self,
        *,
        n_at_once: int = 1,
        n_inner: int = 1,
        stages: tuple[Stage, ...] = (),
        pieces: BlockGrid | None = None,
    ) -> RechunkPlan:
        """Give the plan of some stages."""
        return RechunkPlan(
            source=self.source,
            target=self.target,
            item_bytes=self.item_bytes,
            memory_bytes=self.memory_bytes,
            n_threads=self.n_threads,
            n_processes=self.n_processes,
            n_requests=self.n_requests,
            n_at_once=n_at_once,
            n_inner=n_inner,
            stages=stages,
            pieces=pieces,
            source_bytes=self.item_bytes
            * math.prod(int(edges[-1]) for edges in unit_edges(self.source.read)),
        )

    def stage(self, regions: BlockGrid, source: Units, target: Units, *, n_inner: int) -> Stage:
        """Give the stage that has some regions."""
        taken = list(map(edges_of, regions.extents, regions.sizes))
        chunks = map(touched, taken, unit_edges(source.read))
        values = map(touched, taken, unit_edges(source.write))
        scratch = max(
            source.read_scratch(self.item_bytes, n_inner),
            target.write_scratch(self.item_bytes, n_inner),
        )
        return Stage(
            regions=regions,
            n_values_read=math.prod(found.n_units for found in values),
            read_bytes=self.item_bytes * math.prod(found.n_elements for found in chunks),
            n_values_written=math.prod(target.write.numblocks),
            written_bytes=self.item_bytes * math.prod(regions.extents),
            task_bytes=self.bytes_of(largest_region(regions)) + scratch,
        )

    def bytes_of(self, shape: Sequence[int]) -> int:
        """Give the bytes of a region."""
        return self.item_bytes * math.prod(shape)


_Maker: TypeAlias = Callable[[_Problem, int, int], RechunkPlan | None]
"""Makes the cheapest plan for so many tasks at once, of so many threads each; None if none fits."""


def _cheapest(make: _Maker, problem: _Problem) -> RechunkPlan | None:
    """Choose how to use the threads: many tasks hold small regions, many threads much scratch."""
    best, best_cost = None, math.inf
    for n_at_once, n_inner in _shares(problem.n_threads, problem.n_requests):
        plan = make(problem, n_at_once, n_inner)
        if plan is None:
            continue
        n_runners = n_at_once * problem.n_processes
        cost = plan.cost_bytes * max(_idle(s.n_tasks, n_runners) for s in plan.stages)
        cost *= problem.n_requests / (n_at_once * n_inner)
        if n_at_once < problem.n_threads:
            cost *= _FEWER_AT_ONCE
        if cost < best_cost:
            best, best_cost = plan, cost
    return best


def _shares(n_threads: int, n_requests: int) -> Iterator[tuple[int, int]]:
    """Give numbers of tasks at once, and of threads for each, within what is useful.

    Examples
    --------
    >>> list(_shares(4, 4))
    [(4, 1), (2, 2), (2, 1), (1, 4), (1, 2), (1, 1)]
    """
    for n_at_once in _halves(n_threads):
        yield from ((n_at_once, n_inner) for n_inner in _halves(n_requests // n_at_once))


def _halves(n: int) -> list[int]:
    return [n >> by for by in range(n.bit_length())]


def _idle(n_tasks: Any, n_runners: int) -> Any:
    """Give by how much a stage takes longer because some have no task left in its last round."""
    return np.ceil(n_tasks / n_runners) * n_runners / n_tasks


def _direct(problem: _Problem, n_at_once: int, n_inner: int) -> RechunkPlan | None:
    """Find the regions of whole target units that cost least."""
    scratch = max(
        problem.source.read_scratch(problem.item_bytes, n_inner),
        problem.target.write_scratch(problem.item_bytes, n_inner),
    )
    room = (problem.memory_bytes // n_at_once - scratch) / problem.item_bytes
    sources, targets = unit_edges(problem.source.read), clipped_edges(problem.target.write)
    values = unit_edges(problem.source.write)
    n_most = choices_per_axis(_DIRECT_COMBINATIONS, targets)
    options = [
        cuts(target, like=source, n_most=n_most)
        for source, target in zip(sources, targets, strict=True)
    ]
    elements = outer([list(map(largest_piece, axis)) for axis in options])
    n_tasks = outer([list(map(n_pieces_of, axis)) for axis in options])
    n_read = outer(
        [
            [touched(cut, edges).n_elements for cut in axis]
            for axis, edges in zip(options, sources, strict=True)
        ]
    )
    n_values = outer(
        [
            [touched(cut, edges).n_units for cut in axis]
            for axis, edges in zip(options, values, strict=True)
        ]
    )
    cost = n_read * problem.item_bytes + n_values * _VALUE_BYTES + n_tasks * _TASK_BYTES
    n_runners = n_at_once * problem.n_processes
    cost *= _idle(n_tasks, n_runners)
    cost += _LAST_ROUND * n_runners * elements * problem.item_bytes
    best = least(cost, fits=elements <= room)
    if best is None:
        return None
    regions = grid_of([axis[number] for axis, number in zip(options, best, strict=True)])
    stage = problem.stage(regions, problem.source, problem.target, n_inner=n_inner)
    return problem.plan(n_at_once=n_at_once, n_inner=n_inner, stages=(stage,))


def _staged(problem: _Problem, n_at_once: int, n_inner: int) -> RechunkPlan | None:
    """Find the two kinds of regions that cost least with the pieces between them."""
    sources, targets = clipped_edges(problem.source.read), clipped_edges(problem.target.write)
    n_most = choices_per_axis(_STAGED_COMBINATIONS, [*sources, *targets])
    gathers = [cuts(edges, like=edges, n_most=n_most) for edges in sources]
    scatters = [cuts(edges, like=edges, n_most=n_most) for edges in targets]
    # One dimension of a table for the choice of each cut: gathering and scattering, axis by axis.
    pairs = [[(g, s) for g in gs for s in ss] for gs, ss in zip(gathers, scatters, strict=True)]
    pieces = [[np.union1d(g, s) for g, s in axis] for axis in pairs]
    gather_size = outer([[largest_piece(g) for g, _ in axis] for axis in pairs])
    scatter_size = outer([[largest_piece(s) for _, s in axis] for axis in pairs])
    piece_size = outer([list(map(largest_piece, axis)) for axis in pieces])
    n_gather = outer([[n_pieces_of(g) for g, _ in axis] for axis in pairs])
    n_scatter = outer([[n_pieces_of(s) for _, s in axis] for axis in pairs])
    n_pieces = outer([list(map(n_pieces_of, axis)) for axis in pieces])

    n_runners = n_at_once * problem.n_processes
    piece_scratch = 2 * n_inner * piece_size * problem.item_bytes
    first = gather_size * problem.item_bytes + np.maximum(
        problem.source.read_scratch(problem.item_bytes, n_inner), piece_scratch
    )
    second = scatter_size * problem.item_bytes + np.maximum(
        problem.target.write_scratch(problem.item_bytes, n_inner), piece_scratch
    )
    moved = 2 * problem.bytes_of(problem.source.read.extents)
    cost = 2 * n_pieces * _VALUE_BYTES + (n_gather + n_scatter) * _TASK_BYTES
    cost += moved * (_idle(n_gather, n_runners) + _idle(n_scatter, n_runners))
    cost += _LAST_ROUND * n_runners * (gather_size + scatter_size) * problem.item_bytes
    best = least(cost, fits=np.maximum(first, second) <= problem.memory_bytes // n_at_once)
    if best is None:
        return None
    grid = grid_of([axis[number] for axis, number in zip(pieces, best, strict=True)])
    chosen = [axis[number] for axis, number in zip(pairs, best, strict=True)]
    between = Units(grid, grid)
    gather, scatter = (grid_of([pair[kind] for pair in chosen]) for kind in (0, 1))
    stages = (
        problem.stage(gather, problem.source, between, n_inner=n_inner),
        problem.stage(scatter, between, problem.target, n_inner=n_inner),
    )
    return problem.plan(n_at_once=n_at_once, n_inner=n_inner, stages=stages, pieces=grid)


def _too_little(problem: _Problem, method: Method) -> InvalidArgumentError:
    """Say what would fit, found by trying."""
    needed = replace(problem, n_threads=1, n_requests=1, memory_bytes=1)
    makers: list[_Maker] = (
        [_direct] if method == "direct" else [_staged] if method == "staged" else [_direct, _staged]
    )
    while not any(make(needed, 1, 1) for make in makers):
        needed = replace(needed, memory_bytes=needed.memory_bytes * 2)
    low, high = needed.memory_bytes // 2, needed.memory_bytes
    while high - low > max(1, high // 100):
        middle = (low + high) // 2
        if any(make(replace(needed, memory_bytes=middle), 1, 1) for make in makers):
            high = middle
        else:
            low = middle
    chunk, unit = unit_shape(problem.source.read), unit_shape(problem.target.write)
    kind = "shard" if problem.target.is_sharded else "chunk"
    return InvalidArgumentError(
        f"cannot rechunk an array of shape {problem.source.read.extents} within "
        f"{megabytes(problem.memory_bytes)}: a task holds a chunk of the source ({chunk}, "
        f"{megabytes(problem.bytes_of(chunk))}), stored and decoded, beside a region of at least "
        f"one {kind} of the target ({unit}, {megabytes(problem.bytes_of(unit))}). Pass memory of "
        f"{megabytes(high)} or more, or smaller {kind}s",
        needed_bytes=high,
    )
