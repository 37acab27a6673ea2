"""Graph layers: values, task counts, sizes of graphs, schedulers, and reading again."""

from __future__ import annotations

import gc
import math
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import dask
import dask.array as da
import numpy as np
import pytest
from dask.base import collections_to_expr
from dask.delayed import delayed
from distributed import Client, LocalCluster
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.errors import InvalidArgumentError
from dask_integration.chunks import Block, regular_blocks
from dask_integration.layers import (
    literals_of,
    map_block,
    map_partials,
    other_processes,
    read_layer,
    reduce_blocks,
    reread,
    tree_reduce,
    unique_token,
    write_layer,
)

SHAPE, BLOCK = (12, 10), (5, 4)
WHOLE = np.arange(120.0).reshape(SHAPE)
small_shapes = st.lists(st.integers(1, 9), min_size=0, max_size=3)


# --- functions that tasks run; at the top level, so that other processes can import them --------


def read_block(shape: tuple[int, ...], block: Block) -> np.ndarray[Any, Any]:
    return np.arange(float(math.prod(shape))).reshape(shape)[block.region]


def write_block(handle: str, block: Block, values: np.ndarray[Any, Any]) -> dict[str, Any]:
    return {"ids": [block.id], "sum": float(values.sum()), "handle": handle}


def merge(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "ids": [block_id for part in parts for block_id in part["ids"]],
        "sum": math.fsum(part["sum"] for part in parts),
        "handle": parts[0]["handle"],
    }


def concatenated(parts: list[list[Any]]) -> list[Any]:
    return [item for part in parts for item in part]


def block_id(block: Block, values: np.ndarray[Any, Any]) -> list[Any]:
    return [block.id]


def source(
    shape: tuple[int, ...] = SHAPE,
    block: tuple[int, ...] = BLOCK,
    read: Callable[..., Any] = read_block,
) -> da.Array:
    blocks = regular_blocks(shape, block)
    return read_layer(read, shape, chunks=blocks, dtype="f8", name_token=unique_token())


def n_tasks(collection: Any) -> int:
    """Count the tasks that would run, after dask's optimisation."""
    graph = collection.__dask_optimize__(collection.__dask_graph__(), collection.__dask_keys__())
    return len(dict(graph))


def sent_bytes(collection: Any) -> int:
    """Count the bytes that distributed would send to the scheduler."""
    return len(cloudpickle.dumps(collections_to_expr(collection, True)))


class CountingReads:
    """A source that counts how often blocks are read, and how many are alive at once."""

    def __init__(self) -> None:
        self.n_reads = self.n_alive = self.most_alive = 0
        self._lock = threading.Lock()

    def __call__(self, shape: tuple[int, ...], block: Block) -> np.ndarray[Any, Any]:
        values = read_block(shape, block)
        with self._lock:
            self.n_reads += 1
            self.n_alive += 1
            self.most_alive = max(self.most_alive, self.n_alive)
        # The result is a view; what stays alive with it is its base.
        weakref.finalize(values, self._forget)
        return values

    def _forget(self) -> None:
        self.n_alive -= 1


@pytest.fixture(params=["synchronous", "threads", "processes", "cluster"])
def scheduler(request: pytest.FixtureRequest, cluster: LocalCluster) -> Iterator[str]:
    """Run the test under each of dask's schedulers."""
    if request.param == "cluster":
        with Client(cluster):
            yield request.param
    else:
        with dask.config.set(scheduler=request.param):
            yield request.param


# --- one task a block --------------------------------------------------------------------------


def test_every_scheduler_gives_the_same(scheduler: str) -> None:
    """A source, maps with every kind of operand, a sink and a tree run anywhere."""
    x = source()
    weights = da.from_array(np.arange(10.0), chunks=3)
    y = map_block(np.add, x, 1.0, dtype="f8")
    y = map_block(np.multiply, y, aligned=[da.ones((12, 1), chunks=(5, 1))], dtype="f8")
    job = tree_reduce(write_layer(write_block, y, "here"), merge, split_every=3)
    scaled = map_partials(scaled_sum, x, weights, delayed(2.0), (3, "text"), None)
    values, report, total, again = dask.compute(y, job, tree_reduce(scaled, sum), reread(y))
    np.testing.assert_array_equal(values, WHOLE + 1)
    assert report["ids"] == list(np.ndindex(3, 3))
    assert (report["sum"], report["handle"]) == ((WHOLE + 1).sum(), "here")
    assert total == WHOLE.sum() * 45 * 2 * 3
    np.testing.assert_array_equal(again, WHOLE + 1)


def scaled_sum(block: Any, weights: Any, factor: float, pair: tuple[int, str], none: None) -> float:
    assert pair[1] == "text"
    assert none is None
    return float(block.sum() * weights.sum() * factor * pair[0])


@given(shape=small_shapes, data=st.data())
def test_a_source_reads_each_block_where_it_belongs(shape: list[int], data: st.DataObject) -> None:
    """Whatever the shape and blocks, the array is the whole of what was read."""
    block = tuple(data.draw(st.integers(1, 9)) for _ in shape)
    x = source(tuple(shape), block)
    expected = np.arange(float(math.prod(shape))).reshape(shape)
    np.testing.assert_array_equal(x.compute(scheduler="synchronous"), expected)


def test_read_map_write_is_one_task_a_block() -> None:
    """The chain fuses: nine blocks and a tree of fan-in 4 are 9 + 3 + 1 tasks."""
    y = map_block(np.add, (source() - 1) * 2, 1, dtype="f8")
    assert n_tasks(y) == 9
    job = tree_reduce(write_layer(write_block, y, "h"), merge, split_every=4)
    assert n_tasks(job) == 9 + 3 + 1


def test_fused_tasks_are_marked_as_producers_of_data() -> None:
    """The mark by which distributed queues root tasks survives the fusion."""
    job = tree_reduce(write_layer(write_block, source() + 1, "h"), merge)
    graph = dict(job.__dask_optimize__(job.__dask_graph__(), job.__dask_keys__()))
    marks = [task.data_producer for key, task in graph.items() if key[0].startswith("write-")]
    assert marks == [True] * 9


def test_the_graph_sent_does_not_grow_with_the_number_of_blocks() -> None:
    """A hundred and ten thousand blocks travel in the same few kilobytes."""

    def job(n: int) -> Any:
        x = source((n * 10, n * 10), (10, 10))
        y = map_block(np.add, x * 2, 1.0, dtype="f8")
        return tree_reduce(write_layer(write_block, y, "h"), merge)

    few, many = sent_bytes(job(10)), sent_bytes(job(100))
    assert many <= few + 64
    assert many < 10_000


def test_a_task_is_small() -> None:
    """What a worker receives for a block is the functions, the handle and the region."""
    job = tree_reduce(write_layer(write_block, source() + 1, "h"), merge)
    graph = dict(job.__dask_optimize__(job.__dask_graph__(), job.__dask_keys__()))
    assert max(len(pickle.dumps(task)) for task in graph.values()) < 1_500


def test_large_operands_travel_once() -> None:
    """An array beyond the bound is a task of its own, not a part of every task."""
    large = np.ones(200_000)
    y = map_block(add_sum, source(), large, dtype="f8")
    graph = dict(y.__dask_optimize__(y.__dask_graph__(), y.__dask_keys__()))
    sizes = sorted(len(pickle.dumps(task)) for task in graph.values())
    assert sizes[-1] > large.nbytes > 100_000 > sizes[-2]
    np.testing.assert_array_equal(y.compute(scheduler="synchronous"), WHOLE + 200_000)


def add_sum(block: Any, values: Any) -> Any:
    return block + values.sum()


def test_chunks_may_change_with_the_function() -> None:
    """A function that makes blocks of other sizes says so by `chunks`."""
    y = map_block(first_column, source(), dtype="f8", chunks=((5, 5, 2), (1, 1, 1)))
    np.testing.assert_array_equal(y.compute(scheduler="synchronous"), WHOLE[:, [0, 4, 8]])
    with pytest.raises(InvalidArgumentError, match=r"grid of \(3, 3\) blocks, got \(3, 2\)"):
        map_block(first_column, source(), dtype="f8", chunks=((5, 5, 2), (1, 1)))


def first_column(block: Any) -> Any:
    return block[:, :1]


def test_equal_maps_share_their_name_and_others_do_not() -> None:
    """Names follow from function, operands and sources, so that equal work is done once."""
    x = source()
    plain = map_block(np.add, x, 1, dtype="f8")
    assert plain.name == map_block(np.add, x, 1, dtype="f8").name
    others = [
        map_block(np.add, x, 2, dtype="f8"),
        map_block(np.subtract, x, 1, dtype="f8"),
        map_block(np.add, source(), 1, dtype="f8"),
        map_block(np.add, x, aligned=[x], dtype="f8"),
    ]
    assert len({plain.name, *(other.name for other in others)}) == 5
    assert write_layer(write_block, x, "h").name != write_layer(write_block, x, "h").name


def test_blocks_that_do_not_fit_are_refused() -> None:
    """An operand beside `x` must have its blocks, or one, along every axis."""
    x = source()
    for wrong in (da.ones((12, 10), chunks=(4, 4)), da.ones(12, chunks=5)):
        with pytest.raises(InvalidArgumentError, match="same blocks or a single one"):
            map_block(np.add, x, aligned=[wrong], dtype="f8")


def test_an_error_in_a_task_names_the_block(cluster: LocalCluster) -> None:
    """Whatever a function raises reaches the user with the block's id and region."""
    y = map_block(fail_at_edge, source(), dtype="f8", pass_block=True)
    note = "in block (2, 1), region [10:12, 4:8]"
    with pytest.raises(ZeroDivisionError) as caught:
        y.compute(scheduler="synchronous")
    assert note in caught.value.__notes__
    with Client(cluster), pytest.raises(ZeroDivisionError) as caught:
        y.compute()
    assert note in caught.value.__notes__


def fail_at_edge(block: Block, values: Any) -> Any:
    if block.id == (2, 1):
        raise ZeroDivisionError
    return values


# --- trees -------------------------------------------------------------------------------------


@given(shape=small_shapes, data=st.data(), split_every=st.integers(2, 7))
def test_a_tree_merges_every_partial_once_and_in_order(
    shape: list[int], data: st.DataObject, split_every: int
) -> None:
    """Concatenation, which shows order and repetition, gives each block id once, in C order."""
    block = tuple(data.draw(st.integers(1, 9)) for _ in shape)
    x = source(tuple(shape), block)
    job = tree_reduce(
        map_partials(block_id, x, pass_block=True), concatenated, split_every=split_every
    )
    assert job.compute(scheduler="synchronous") == list(np.ndindex(*x.numblocks))


@given(n=st.integers(1, 60), split_every=st.integers(2, 9))
def test_no_task_of_a_tree_merges_more_than_it_may(n: int, split_every: int) -> None:
    """The fan-in is bounded on every level."""
    sizes: list[int] = []

    def combine(parts: list[list[Any]]) -> list[Any]:
        sizes.append(len(parts))
        return concatenated(parts)

    x = source((n,), (1,))
    partials = map_partials(block_id, x, pass_block=True)
    tree_reduce(partials, combine, split_every=split_every).compute(scheduler="synchronous")
    assert sizes
    assert max(sizes) <= split_every


def test_finalize_runs_once_at_the_root() -> None:
    """It sees the last partial only, also when there is a single block."""
    calls: list[Any] = []

    def length(partial: list[Any]) -> int:
        calls.append(partial)
        return len(partial)

    for n in (1, 40):
        calls.clear()
        partials = map_partials(block_id, source((n,), (1,)), pass_block=True)
        job = tree_reduce(partials, concatenated, split_every=3, finalize=length)
        assert job.compute(scheduler="synchronous") == n
        assert len(calls) == 1


@given(shape=st.lists(st.integers(1, 9), min_size=1, max_size=3), data=st.data())
def test_reduction_along_some_axes_is_numpys(shape: list[int], data: st.DataObject) -> None:
    """Any subset of axes, any blocks: the result is the sum that numpy gives."""
    block = tuple(data.draw(st.integers(1, 9)) for _ in shape)
    axes = tuple(data.draw(st.sets(st.integers(0, len(shape) - 1))))
    x = source(tuple(shape), block)
    sums = map_partials(lambda values: values.sum(axis=axes, keepdims=True), x)
    chunks = tuple((1,) if axis in axes else sizes for axis, sizes in enumerate(x.chunks))
    y = reduce_blocks(sums, sum, axes=axes, chunks=chunks, dtype="f8", split_every=3)
    expected = np.arange(float(math.prod(shape))).reshape(shape).sum(axis=axes, keepdims=True)
    np.testing.assert_array_equal(y.compute(scheduler="synchronous"), expected)


def test_only_the_needed_cells_of_a_reduction_run() -> None:
    """Asking for one block of the result reads only the blocks it is made of."""
    reads = CountingReads()
    x = source(read=reads)
    sums = map_partials(lambda values: values.sum(axis=0, keepdims=True), x)
    y = reduce_blocks(sums, sum, axes=[0], chunks=((1,), x.chunks[1]), dtype="f8")
    np.testing.assert_array_equal(
        y[:, :4].compute(scheduler="synchronous"), WHOLE.sum(axis=0, keepdims=True)[:, :4]
    )
    assert reads.n_reads == 3


def test_a_reduction_with_the_wrong_grid_is_refused() -> None:
    """`chunks` of the result must have one block along the reduced axes."""
    partials = map_partials(block_id, source(), pass_block=True)
    with pytest.raises(InvalidArgumentError, match=r"grid of \(1, 3\) blocks, got \(1, 1\)"):
        reduce_blocks(partials, sum, axes=[0], chunks=((1,), (10,)), dtype="f8")
    with pytest.raises(InvalidArgumentError, match="split_every must be at least 2"):
        tree_reduce(partials, concatenated, split_every=1)


def test_reduced_values_go_on_as_arrays_and_delayed() -> None:
    """A reduced value serves delayed functions, from_delayed and whole operands of maps."""
    x = source()
    total = tree_reduce(map_partials(np.sum, x), sum)
    assert delayed(round)(total).compute(scheduler="synchronous") == WHOLE.sum()
    as_array = da.from_delayed(total, shape=(), dtype="f8")
    assert (as_array + 1).compute(scheduler="synchronous") == WHOLE.sum() + 1
    y = map_block(np.divide, x, total, dtype="f8")
    np.testing.assert_allclose(y.compute(scheduler="synchronous"), WHOLE / WHOLE.sum())


def test_jobs_computed_together_with_arrays_share_what_they_read() -> None:
    """A delayed reduction and an array over the same source read it once."""
    reads = CountingReads()
    x = source(read=reads)
    job = tree_reduce(map_partials(np.sum, x), sum)
    total, values = dask.compute(job, x + 1, scheduler="synchronous")
    assert reads.n_reads == 9
    assert total == WHOLE.sum()
    np.testing.assert_array_equal(values, WHOLE + 1)


# --- reading again -----------------------------------------------------------------------------

ARRAYS: dict[str, Callable[[da.Array], da.Array]] = {
    "source": lambda x: x,
    "elementwise": lambda x: (x + 1) * x,
    "rechunk": lambda x: x.rechunk((4, 10)),
    "slice": lambda x: x[::2, 3:9],
    "fancy": lambda x: x[[3, 1, 11]],
    "mean": lambda x: x.mean(axis=0),
    "standardised": lambda x: (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True),
    "transpose": lambda x: x.T,
    "product": lambda x: x.T @ x,
    "concatenate": lambda x: da.concatenate([x, x + 1]),
    "stack": lambda x: da.stack([x, x]),
    "reshape": lambda x: x.reshape(-1),
    "overlap": lambda x: x.map_overlap(lambda block: block * 2, depth=1),
    "svd": lambda x: da.linalg.svd_compressed(x, 3, seed=1)[1],
    "topk": lambda x: da.topk(x.ravel(), 3),
    "where": lambda x: da.where(x > 50, x, 0),
    "whole operand": lambda x: map_block(np.add, x, x[:, 0].sum(), dtype="f8"),
    "gathered operand": lambda x: map_block(add_sum, x, x[:, 0], dtype="f8"),
    "partials": lambda x: da.from_delayed(
        tree_reduce(map_partials(np.sum, x), sum), (), dtype="f8"
    ),
    "reduced": lambda x: reduce_blocks(
        map_partials(lambda b: b.sum(axis=0, keepdims=True), x),
        sum,
        axes=[0],
        chunks=((1,), x.chunks[1]),
        dtype="f8",
    ),
}


@pytest.mark.parametrize("make", ARRAYS.values(), ids=ARRAYS)
def test_reading_again_gives_equal_values_and_reads_anew(
    make: Callable[[da.Array], da.Array],
) -> None:
    """For every kind of layer: same values, no shared task, twice the reads in one graph."""
    reads = CountingReads()
    y = make(source(read=reads))
    once = y.compute(scheduler="synchronous")
    n_reads, reads.n_reads = reads.n_reads, 0
    first, second = dask.compute(y, reread(y), scheduler="synchronous")
    np.testing.assert_array_equal(first, once)
    np.testing.assert_array_equal(second, once)
    assert reads.n_reads == 2 * n_reads
    assert reread(y).chunks == y.chunks
    assert reread(y).dtype == y.dtype


def centred_sum(x: da.Array, again: da.Array) -> Any:
    """Sum the squares about the mean: two passes, the second after the first."""
    mean = tree_reduce(map_partials(np.sum, x), sum, finalize=lambda total: total / x.size)
    return tree_reduce(map_partials(sum_of_squares_about, again, mean), sum)


def sum_of_squares_about(block: Any, mean: float) -> float:
    return float(((block - mean) ** 2).sum())


def test_reading_again_bounds_the_memory_of_two_passes() -> None:
    """Without it every block of the first pass is held for the second, with it one is."""
    expected = ((WHOLE - WHOLE.mean()) ** 2).sum()
    for passes_are_apart, most in ((False, 9), (True, 2)):
        reads = CountingReads()
        x = source(read=reads)
        result = centred_sum(x, reread(x) if passes_are_apart else x)
        assert result.compute(scheduler="synchronous") == pytest.approx(expected)
        gc.collect()
        assert reads.most_alive == most if not passes_are_apart else reads.most_alive <= most
        assert reads.n_reads == (18 if passes_are_apart else 9)


def test_data_in_the_graph_is_shared() -> None:
    """Persisted and in-memory blocks are not copied under other names."""
    held = source().persist(scheduler="synchronous")
    assert reread(held).name == held.name
    again = reread(held + 1)
    assert again.name != (held + 1).name
    assert held.name in again.__dask_graph__().layers
    np.testing.assert_array_equal(again.compute(scheduler="synchronous"), WHOLE + 1)


# --- what a graph holds, and where it runs ------------------------------------------------------


class Handle:
    """Stands for a store's handle."""


@pytest.mark.parametrize("optimised", [False, True])
def test_literals_show_what_tasks_carry(optimised: bool) -> None:
    """The handle of a source and the operands of maps are found, also in an optimised graph."""
    handle = Handle()
    x = read_layer(read_block, handle, chunks=((4, 4),), dtype="f8", name_token=unique_token())
    other = np.arange(3)
    y = map_block(np.add, x + 1, other, dtype="f8")[2:]
    if optimised:
        (y,) = dask.optimize(y)
    found = list(literals_of(y))
    assert any(value is handle for value in found)
    assert any(value is other for value in found)
    assert not any(isinstance(value, Handle) for value in literals_of(da.zeros(3) + 1))


def test_schedulers_of_other_processes_are_told(scheduler: str) -> None:
    """Threads stay in this process; processes and clusters do not."""
    expected = {"processes": "the multiprocessing scheduler", "cluster": "the distributed Client"}
    assert other_processes(source()) == expected.get(scheduler)


def test_other_arrays_are_refused() -> None:
    """A numpy array or a list is not taken for a dask array."""
    for wrong in (WHOLE, [1, 2]):
        with pytest.raises(InvalidArgumentError, match=r"expected a dask\.array\.Array"):
            map_block(np.add, wrong, dtype="f8")
        with pytest.raises(InvalidArgumentError, match=r"expected a dask\.array\.Array"):
            reread(wrong)


def failure_of(code: str, **environment: str) -> str:
    """Run Python code that fails in a process of its own, and give what it prints."""
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    return result.stderr


def test_query_planning_is_refused() -> None:
    """Where dask.array makes expressions, the error says how to turn that off."""
    code = """
        import numpy as np
        from dask_integration.layers import read_layer
        read_layer(np.ones, 0, chunks=((2, 2),), dtype="f8", name_token="x")
    """
    errors = failure_of(code, DASK_ARRAY__QUERY_PLANNING="True")
    assert "InvalidArgumentError: cannot build a dask graph" in errors
    assert '"array.query-planning": False' in errors


def test_missing_dask_is_told() -> None:
    """Without dask the first name that is asked for says which command installs it."""
    code = """
        import sys
        sys.modules["dask"] = None
        from dask_integration import to_store
    """
    errors = failure_of(code)
    assert "MissingExtraError" in errors
    assert 'pip install "chunkstore[dask]"' in errors
