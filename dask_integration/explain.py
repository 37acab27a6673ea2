"""What a job will run, read, write and hold, told before it runs.

Floor 4. An `Explanation` is numbers: counted from the graph as dask would run it, or from a plan of
rechunking. It shows as text, as HTML in a notebook, and as a picture of blocks over chunks.

What functions of the user's do inside a task is not seen: neither what they read themselves nor
what they hold for a while.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import dask.array as da
from dask.base import is_dask_collection

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError
from dask_integration.chunks import Block
from dask_integration.layers import (
    Runners,
    SpelledTask,
    gather,
    outlined,
    runners,
    spelled_out,
    task_array,
    tree_reduce,
    write_layer,
)
from dask_integration.pictures import draw_blocks
from dask_integration.receipts import merge_receipts
from dask_integration.rechunk_plan import RechunkPlan, Units, megabytes
from dask_integration.targets import Target, plan_target
from dask_integration.traffic import Traffic, count_grid_traffic, count_traffic

__all__ = ["Explanation", "explain", "explain_targets"]

_MOST_SPELLED = 100_000
"""Tasks up to which a graph is spelled out, some ten seconds."""


@dataclass(frozen=True)
class Explanation:
    """What a job will do.

    Parameters
    ----------
    n_tasks : int
        Tasks that run, after dask has fused what belongs together.
    is_exact : bool
        Whether each task was looked at. Graphs of more than 100,000 tasks are counted layer by
        layer: then numbers are upper bounds where slices leave blocks out, and `held_bytes` is 0.
    traffic : tuple of Traffic
        What is read and written, an entry for each array and direction.
    task_bytes : int
        The most that one task holds: regions, its result, and chunks stored and decoded.
    held_bytes : int
        The most that results of finished tasks take which others, or the user, still wait for.
    n_processes, n_threads : int
        Where dask would run it now: processes, and threads of each.
    plan : RechunkPlan, optional
        Of a job that rechunks.
    """

    n_tasks: int
    is_exact: bool
    traffic: tuple[Traffic, ...]
    task_bytes: int
    held_bytes: int
    n_processes: int
    n_threads: int
    plan: RechunkPlan | None = None

    @property
    def peak_bytes(self) -> int:
        """The most that a process holds for the job, about."""
        return self.n_threads * self.task_bytes + -(-self.held_bytes // self.n_processes)

    @property
    def read_bytes(self) -> int:
        """Bytes of chunks that are read and decoded."""
        return sum(one.n_bytes for one in self.traffic if not one.is_write)

    @property
    def written_bytes(self) -> int:
        """Bytes of elements that are written, before encoding."""
        return sum(one.n_bytes for one in self.traffic if one.is_write)

    @property
    def n_objects(self) -> int:
        """Stored values (chunks or shards) that are made."""
        return sum(one.n_values for one in self.traffic if one.is_write)

    @property
    def read_amplification(self) -> float:
        """How often a chunk is read, of the array where that is worst."""
        return max((one.amplification for one in self.traffic if not one.is_write), default=0.0)

    @property
    def is_aligned(self) -> bool:
        """Whether no block edge cuts a chunk or shard of any array."""
        return not any(verdict.n_cuts for one in self.traffic for verdict in one.verdicts)

    def require_memory(self, memory_bytes: int, *, doing: str = "run this job") -> None:
        """Raise `InvalidArgumentError` if a process would hold more than so many bytes."""
        if self.peak_bytes <= memory_bytes:
            return
        waits = self.held_bytes // self.n_processes > self.n_threads * self.task_bytes
        fix = (
            "Most of it are results that wait for others: split the job where they wait, by "
            "computing small statistics first"
            if waits
            else "Use smaller blocks, or fewer threads"
        )
        raise InvalidArgumentError(
            f"cannot {doing} within {megabytes(memory_bytes)} a process: it would hold about "
            f"{megabytes(self.peak_bytes)}, {self._memory()}. {fix}",
            needed_bytes=self.peak_bytes,
        )

    def _memory(self) -> str:
        threads = f"{self.n_threads} thread{'s' if self.n_threads > 1 else ''}"
        waiting = f"{megabytes(self.held_bytes)} of results that wait or stay"
        return f"{threads} with up to {megabytes(self.task_bytes)} each and {waiting}"

    def _facts(self) -> list[tuple[str, str]]:
        about = "" if self.is_exact else "about "
        facts = [("tasks", f"{about}{self.n_tasks:,}")]
        if not all(one.is_write for one in self.traffic):
            times = f"each chunk {self.read_amplification:.2f} times"
            facts.append(("reads", f"{megabytes(self.read_bytes)}, {times}"))
        if any(one.is_write for one in self.traffic):
            made = f"{self.n_objects:,} objects"
            facts.append(("writes", f"{megabytes(self.written_bytes)} into {made}"))
        held = "" if self.plan else f": {self._memory()}"
        return [*facts, ("holds", f"{megabytes(self.peak_bytes)} a process{held}")]

    def __str__(self) -> str:
        lines = [f"{name:<7}{value}" for name, value in self._facts()]
        lines += map(str, self.traffic)
        return "\n".join(lines if self.plan is None else [*lines, str(self.plan)])

    def _repr_html_(self) -> str:
        parts = [_table(self._facts())]
        for one in self.traffic:
            verb = "writes" if one.is_write else "reads"
            title, numbers, *_ = str(one).splitlines()
            parts.append(
                f"<p><b>{verb}</b>{escape(title.removeprefix(verb))}<br>{escape(numbers)}</p>"
            )
            parts.append(_table([_html_row(verdict) for verdict in one.verdicts]))
        if self.plan is not None:
            parts.append(f"<pre>{escape(str(self.plan))}</pre>")
        return "".join(parts)

    def draw(
        self, path: str | Path, *, number: int | None = None, axes: Sequence[int] | None = None
    ) -> None:
        """Draw the blocks of one array over its chunks, as a PNG, PDF or SVG file.

        Parameters
        ----------
        path : str or Path
            The file; an older one is replaced.
        number : int, optional
            Entry of `traffic` to draw; the first whose blocks cut chunks by default, or the first.
        axes : sequence of int, optional
            One or two axes to draw; those with most blocks by default.

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        InvalidArgumentError
            If no stored array is touched.
        """
        if not self.traffic:
            raise InvalidArgumentError("cannot draw blocks over chunks: no stored array is touched")
        if number is None:
            cut = (i for i, one in enumerate(self.traffic) if any(v.n_cuts for v in one.verdicts))
            number = next(cut, 0)
        draw_blocks(Path(path), self.traffic[number], axes=axes)


def _html_row(verdict: Any) -> tuple[str, str]:
    axis, _, text = str(verdict).partition(": ")
    return axis, ("\N{CHECK MARK} " if verdict.n_cuts == 0 else "\N{WARNING SIGN} ") + text


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th>"
        f"<td style='text-align:left'>{escape(value)}</td></tr>"
        for name, value in rows
    )
    return f"<table>{cells}</table>"


# --- explaining --------------------------------------------------------------------------------


def explain(
    x: Any, store: Any = None, *, path: str | None = None, region: Any = None, **arguments: Any
) -> Explanation:
    """Tell what a job will run, read, write and hold, before it runs.

    Parameters
    ----------
    x : dask.array.Array, dask_array.Array, Delayed, RechunkJob or RechunkPlan
        What would be computed: an array made by `from_store` and functions on it, the job that
        ``to_store(..., compute=False)`` gave, or the one of ``rechunk(..., compute=False)``.
    store : Store, str, Path or chunkstore.Array, optional
        Where `x` would be written; nothing is made there.
    path, region, **arguments
        As in `to_store`: ``chunks``, ``shards``, ``align``, … of the array that would be made.

    Returns
    -------
    Explanation

    Raises
    ------
    AlignmentError, InvalidArgumentError
        What `to_store` would raise before it begins.

    Notes
    -----
    Nothing runs, and no chunk is read. Costs some 0.1 ms a task up to 100,000 tasks; larger graphs
    are counted layer by layer.

    Memory is what results are declared to take and what reading and writing hold beside them;
    results are taken to wait in the order in which dask runs tasks. Compare it with what the
    report of the job has measured.

    Examples
    --------
    >>> import chunkstore as cs
    >>> from dask_integration import from_store
    >>> array = cs.create_array(None, shape=(900, 10), dtype="f8", chunks=(90, 10))
    >>> found = explain(from_store(array, chunks=(270, 10)) * 2)
    >>> found.n_tasks, found.read_amplification, found.read_bytes
    (4, 1.0, 72000)
    >>> print(found.traffic[0].verdicts[0])
    axis 0: blocks of up to 270 over chunks of 90: aligned
    """
    plan = x if isinstance(x, RechunkPlan) else getattr(x, "plan", None)
    if isinstance(plan, RechunkPlan):
        return _of_plan(plan, x)
    if not is_dask_collection(x):
        raise InvalidArgumentError(
            f"cannot explain a {type(x).__name__}: expected a dask array or Delayed, or a job or "
            f"plan of rechunk"
        )
    if type(x).__module__.partition(".")[0] == "dask_array":
        x = task_array(x, "explain")
    if store is None and path is None and region is None and not arguments:
        return _of_collection(x, {})
    unasked = {"align": "auto", "chunks": None, "shards": None, "attributes": None}
    arguments = {**unasked, "overwrite": False, **arguments}
    most = arguments.pop("max_bytes", 2**28)
    return explain_targets(
        [plan_target(x, store, path=path, region=region, max_bytes=most, **arguments)]
    )


def explain_targets(targets: Sequence[Target]) -> Explanation:
    """Tell what writing to some targets will do; `to_store` plans them."""
    tallies: list[Any] = []
    for target in targets:
        receipts = write_layer(_not_written, target.x, (target.array, target.starts))
        tallies.append(tree_reduce(receipts, merge_receipts, label="store"))
    job = tallies[0] if len(tallies) == 1 else gather(tallies, list, label="store-all")
    return _of_collection(job, {_identity(target.array): target.where for target in targets})


def _not_written(handle: Any, block: Block, values: Any) -> None:
    """Stand in the graph for a write task; never called."""


def _of_collection(x: Any, names: dict[Any, str]) -> Explanation:
    where = runners()
    outline = outlined(x)
    if outline.n_tasks <= _MOST_SPELLED:
        return _of_tasks(spelled_out(x), names, where, is_array=isinstance(x, da.Array))
    traffic, task_bytes = [], 0
    for array, grid, starts, is_write in outline.accesses:
        name = names.get(_identity(array), _name(array))
        traffic.append(
            count_grid_traffic(name, grid, starts=starts, is_write=is_write, **_described(array))
        )
        block = math.prod(max(axis, default=0) for axis in grid.blocks) * array.dtype.itemsize
        task_bytes += block + _scratch(array, is_write=is_write)
    return Explanation(
        n_tasks=outline.n_tasks,
        is_exact=False,
        traffic=tuple(traffic),
        task_bytes=task_bytes,
        held_bytes=0,
        **where._asdict(),
    )


def _of_tasks(
    tasks: Sequence[SpelledTask], names: dict[Any, str], where: Runners, *, is_array: bool
) -> Explanation:
    regions: dict[Any, Counter[Any]] = {}
    arrays: dict[Any, cs.Array] = {}
    for task in tasks:
        for access in task.accesses:
            key = (_identity(access.array), access.is_write)
            arrays.setdefault(key, access.array)
            regions.setdefault(key, Counter())[access.region] += 1
    traffic = []
    for key, counted in regions.items():
        array = arrays[key]
        name = names.get(key[0], _name(array))
        traffic.append(count_traffic(name, counted, is_write=key[1], **_described(array)))
    return Explanation(
        n_tasks=len(tasks),
        is_exact=True,
        traffic=tuple(sorted(traffic, key=lambda one: one.is_write)),
        task_bytes=max(map(_task_bytes, tasks), default=0),
        held_bytes=_held(tasks, keep_last=is_array),
        **where._asdict(),
    )


def _task_bytes(task: SpelledTask) -> int:
    """Give what a task holds: what it reads, makes and writes, and the scratch of one call."""
    regions = sum(access.n_elements * access.array.dtype.itemsize for access in task.accesses)
    scratch = max((_scratch(a.array, is_write=a.is_write) for a in task.accesses), default=0)
    return regions + scratch + task.result_bytes


def _scratch(array: cs.Array, *, is_write: bool) -> int:
    units = _units(array)
    scratch = units.write_scratch if is_write else units.read_scratch
    return scratch(array.dtype.itemsize, array.options.n_threads or 1)


def _held(tasks: Sequence[SpelledTask], *, keep_last: bool) -> int:
    """Give the most that results take while tasks run in order."""
    n_waiting = Counter(need for task in tasks for need in task.needs)
    sizes = {task.key: task.result_bytes for task in tasks}
    held = most = 0
    for task in tasks:
        if n_waiting[task.key] or keep_last:
            held += task.result_bytes
        most = max(most, held)
        for need in task.needs:
            n_waiting[need] -= 1
            if n_waiting[need] == 0:
                held -= sizes[need]
    return most


def _identity(array: cs.Array) -> tuple[Any, str]:
    return array.store, array.path


def _name(array: cs.Array) -> str:
    return f"{array.name} in {array.store!r}"


def _units(array: cs.Array) -> Units:
    return Units.of(array.shape, array.chunks, array.shards)


def _described(array: cs.Array) -> dict[str, Any]:
    return {
        "shape": array.shape,
        "dtype": str(array.dtype),
        "item_bytes": array.dtype.itemsize,
        "units": _units(array),
    }


def _of_plan(plan: RechunkPlan, job: Any) -> Explanation:
    """Tell what a plan of rechunking says."""
    names, dtype = ["the source", "the target"], f"of {plan.item_bytes} bytes an element"
    if job is not plan:
        names, dtype = [_name(job.source), job.where], str(job.source.dtype)
    ends = [(names[0], plan.source), (names[1], plan.target)]
    if plan.pieces is not None:
        ends.insert(1, ("pieces in between", Units(plan.pieces, plan.pieces)))
    traffic = []
    for number, stage in enumerate(plan.stages):
        for (name, units), is_write in zip(ends[number : number + 2], (False, True), strict=True):
            traffic.append(
                count_grid_traffic(
                    name,
                    stage.regions,
                    shape=units.read.extents,
                    dtype=dtype,
                    item_bytes=plan.item_bytes,
                    units=units,
                    is_write=is_write,
                )
            )
    return Explanation(
        n_tasks=plan.n_tasks,
        is_exact=True,
        traffic=tuple(traffic),
        task_bytes=max((stage.task_bytes for stage in plan.stages), default=0),
        held_bytes=0,
        n_processes=plan.n_processes,
        n_threads=plan.n_at_once,
        plan=plan,
    )
