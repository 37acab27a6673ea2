"""Reading and writing through dask: whole write units, nothing wrong, nothing half there."""

from __future__ import annotations

import errno
import itertools
import math
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import cloudpickle
import dask
import dask.array as da
import numpy as np
import pytest
from dask.base import collections_to_expr
from dask.delayed import Delayed, delayed
from distributed import Client, LocalCluster
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.errors import (
    AlignmentError,
    InvalidArgumentError,
    NodeExistsError,
    NodeNotFoundError,
    ReadOnlyError,
    StoreError,
)
from dask_integration.chunks import interior_edges, regular_blocks
from dask_integration.io import from_store, to_store
from dask_integration.receipts import StoreReport
from tests.dask_integration.arrays import VALUES, Counting, n_tasks, read_back, stored


def test_the_founding_example(tmp_path: Path, scheduler: str) -> None:
    """Standardise rows, then the leading singular vectors, as a scientist would write it."""
    values = np.random.default_rng(7).normal(size=(60, 400)) + np.arange(60)[:, None]
    values[:20, :200] += 3
    storage = stored(tmp_path, values=values, chunks=(15, 100))
    x = da.from_array(storage)
    y = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    u, s, v = da.linalg.svd_compressed(y, 20, n_power_iter=4, seed=0)
    u, s, v = dask.compute(u, s, v)
    expected = (values - values.mean(1, keepdims=True)) / values.std(1, keepdims=True)
    exact = np.linalg.svd(expected, compute_uv=False)[:20]
    assert u.shape == (60, 20)
    np.testing.assert_allclose(s[:5], exact[:5], rtol=1e-2)
    np.testing.assert_allclose(u.T @ u, np.eye(20), atol=1e-8)
    np.testing.assert_allclose(abs(u[:, 0] @ expected @ v[0]), exact[0], rtol=1e-3)


# --- writing -----------------------------------------------------------------------------------


@given(
    shape=st.lists(st.integers(0, 12), min_size=0, max_size=3),
    data=st.data(),
    sharded=st.booleans(),
    exists=st.booleans(),
    align=st.sampled_from(["auto", "error"]),
)
def test_what_is_written_is_right_or_refused(
    shape: list[int], data: st.DataObject, sharded: bool, exists: bool, align: str
) -> None:
    """Random shapes, blocks, units and regions: equal values, or an error if units are shared."""
    blocks = tuple(data.draw(partitions(extent)) for extent in shape)
    unit = tuple(data.draw(st.integers(1, 6)) for _ in shape)
    inner = tuple(
        data.draw(st.sampled_from([d for d in range(1, 7) if size % d == 0])) for size in unit
    )
    layout = {"chunks": inner, "shards": unit} if sharded and shape else {"chunks": unit}
    values = np.arange(math.prod(shape), dtype="i4").reshape(shape)
    x = da.from_array(values, chunks=blocks) if shape else da.asarray(values)
    store = cs.MemoryStore()
    target: Any = store
    starts = tuple(data.draw(st.integers(0, 7)) if exists else 0 for _ in shape)
    ends = tuple(a + n for a, n in zip(starts, shape, strict=True))
    whole = tuple(end + (data.draw(st.integers(0, 7)) if exists else 0) for end in ends)
    region = tuple(map(slice, starts, ends))
    if exists:
        target = cs.create_array(store, name="y", shape=whole, dtype="i4", fill_value=-1, **layout)
        target[...] = -7
    arguments = {"region": region} if exists else {"path": "y", "fill_value": -1, **layout}
    arguments["align"] = align
    shared = any(
        (start + edge) % size
        for axis, size, start in zip(blocks, unit, starts, strict=True)
        for edge in interior_edges(axis)
        if 0 < edge < sum(axis)
    )
    if shared and align == "error":
        before = {key: store.get(key) for key in store.list_prefix()}
        with pytest.raises(AlignmentError):
            to_store(x, target, **arguments)
        assert {key: store.get(key) for key in store.list_prefix()} == before
        return
    report = to_store(x, target, **arguments)
    assert isinstance(report, StoreReport)
    expected = np.full(whole, -7)
    expected[region] = values
    np.testing.assert_array_equal(read_back(store), expected)
    assert report.value_bytes == values.nbytes
    if not shared:
        assert report.n_blocks == math.prod(map(len, blocks))


@st.composite
def partitions(draw: st.DrawFn, extent: int) -> tuple[int, ...]:
    """Cut an extent into blocks, evenly or not."""
    if extent == 0:
        return (0,)
    if draw(st.booleans()):
        return regular_blocks((extent,), (draw(st.integers(1, extent)),))[0]
    cuts = sorted(draw(st.sets(st.integers(1, extent))) - {extent})
    return tuple(b - a for a, b in itertools.pairwise([0, *cuts, extent]))


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtype", ["?", "i1", "u8", "f2", "f4", ">f8", "i2"])
def test_data_types_and_formats_survive(dtype: str, zarr_format: int) -> None:
    """Values come back as they were, NaN and infinities included."""
    values = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    if values.dtype.kind == "f":
        values[0, :] = [np.nan, np.inf, -0.0]
    store = cs.MemoryStore()
    to_store(
        da.from_array(values, chunks=(1, 3)),
        store,
        path="y",
        zarr_format=zarr_format,
        compressors=None,
    )
    array = cs.open_array(store, path="y", mode="r")
    assert array.metadata.zarr_format == zarr_format
    assert array.dtype == values.dtype.newbyteorder("=")
    np.testing.assert_array_equal(array[...], values)


def test_text_is_written() -> None:
    """Arrays of text of any length go through as well."""
    words = np.array([["a", "bcd"], ["", "ü" * 9]], dtype=object)
    store = cs.MemoryStore()
    target = cs.create_array(store, name="y", shape=(2, 2), chunks=(1, 2), dtype=str)
    report = to_store(da.from_array(words, chunks=(1, 2)), target)
    assert read_back(store).tolist() == words.tolist()
    assert report.n_blocks == 2


def test_read_compute_write_is_one_task_a_block(scheduler: str, tmp_path: Path) -> None:
    """The whole job is n fused tasks and a tree of receipts, and its result is right."""
    x = from_store(stored(tmp_path), chunks="storage")
    job = to_store((x - 1) * 2, tmp_path, path="y", compute=False)
    assert n_tasks(job) == 10 + 1
    report = job.compute()
    np.testing.assert_array_equal(read_back(tmp_path), (VALUES - 1) * 2)
    assert (report.n_blocks, report.value_bytes) == (10, VALUES.nbytes)


def test_the_job_sent_does_not_grow_with_the_number_of_blocks(tmp_path: Path) -> None:
    """A hundred blocks and a million are sent to a cluster as the same few kilobytes."""

    def sent_bytes(n: int) -> int:
        array = cs.create_array(
            tmp_path, name="x", shape=(n * 10, n * 10), chunks=(10, 10), dtype="f4", overwrite=True
        )
        x = from_store(array, chunks="storage")
        assert x.npartitions == n * n
        job = to_store(x * 2, tmp_path, path="y", overwrite=True, compute=False)
        return len(cloudpickle.dumps(collections_to_expr(job, True)))

    few, many = sent_bytes(10), sent_bytes(1000)
    assert many <= few + 64
    assert many < 10_000


def test_attributes_do_not_travel_with_every_task(tmp_path: Path) -> None:
    """They are stored with the array, and the tasks stay small."""
    attributes = {"history": "x" * 100_000}
    job = to_store(da.ones((8, 2), chunks=(2, 2)), tmp_path, attributes=attributes, compute=False)
    graph = dict(job.__dask_optimize__(job.__dask_graph__(), job.__dask_keys__()))
    sizes = [len(pickle.dumps(t)) for key, t in graph.items() if key[0].startswith("write-")]
    assert len(sizes) == 4
    assert max(sizes) < 10_000
    job.compute()
    assert dict(cs.open_array(tmp_path, mode="r").attrs) == attributes


def test_layout_arguments_reach_the_new_array() -> None:
    """Fill value, dimension names, attributes and chunks are those that were given."""
    store = cs.MemoryStore()
    to_store(
        da.ones((8, 6), chunks=(4, 6)),
        store,
        path="y",
        chunks=(2, 3),
        shards=(4, 6),
        fill_value=1.5,
        attributes={"unit": "m"},
        dimension_names=("row", "column"),
    )
    array = cs.open_array(store, path="y", mode="r")
    assert (array.chunks, array.shards, array.fill_value) == ((2, 3), (4, 6), 1.5)
    assert array.dimension_names == ("row", "column")
    assert dict(array.attrs) == {"unit": "m"}


def test_default_chunks_are_the_blocks() -> None:
    """A block is a chunk; with shards it is a shard of smaller chunks."""
    x = da.ones((1024, 2048), chunks=(512, 2048))
    store = cs.MemoryStore()
    to_store(x, store, path="a")
    assert cs.open_array(store, path="a").chunks == (512, 2048)
    to_store(x, store, path="b", shards="auto")
    array = cs.open_array(store, path="b")
    assert (array.shards, array.chunks) == ((512, 2048), (64, 2048))
    to_store(x, store, path="c", shards=512)
    assert cs.open_array(store, path="c").shards == (512, 512)
    assert read_back(store, "c").all()


def test_irregular_blocks_need_chunks_or_a_rechunk() -> None:
    """Without `chunks` they are refused; with chunks that divide every edge they are written."""
    x = da.ones(20, chunks=((4, 8, 8),))
    store = cs.MemoryStore()
    with pytest.raises(AlignmentError, match="differ in size"):
        to_store(x, store, path="y", align="error")
    assert not list(store.list_prefix())
    to_store(x, store, path="y", chunks=4)
    assert read_back(store).all()


def test_a_refused_write_says_what_to_do() -> None:
    """The error of the architecture page: block, place, edge, unit and the call that mends it."""
    with pytest.raises(AlignmentError) as caught:
        to_store(
            da.ones((1000, 8), chunks=(900, 8)),
            cs.MemoryStore(),
            path="temp",
            chunks=(256, 8),
            align="error",
        )
    assert str(caught.value).startswith("cannot write block (0, 0) to 'temp' in MemoryStore(")
    assert "edge 900 on axis 0 is not a multiple of chunk 256" in str(caught.value)
    assert str(caught.value).endswith("Call .rechunk({0: 768}) first.")


def test_unknown_blocks_are_refused() -> None:
    """Blocks of unknown size, as after a mask, cannot be placed."""
    x = da.arange(10, chunks=5)
    with pytest.raises(InvalidArgumentError, match="compute_chunk_sizes"):
        to_store(x[x > 3], cs.MemoryStore(), path="y")


# --- reports -----------------------------------------------------------------------------------


def test_the_checksum_tells_values_and_places_apart(scheduler: str, tmp_path: Path) -> None:
    """Equal jobs have equal checksums under any scheduler; a change or a swap shows."""

    def checksum(values: Any) -> str:
        x = da.from_array(values, chunks=(5, 7))
        return to_store(x, tmp_path, path="y", overwrite=True).checksum

    assert checksum(VALUES) == "526d4b3a64f40fa1"
    changed = VALUES.copy()
    changed[3, 3] += 1
    swapped = np.concatenate([VALUES[5:10], VALUES[:5], VALUES[10:]])
    assert len({checksum(VALUES), checksum(changed), checksum(swapped)}) == 3


def test_the_report_reads_well() -> None:
    """It says what was written where, how much and how fast."""
    report = to_store(da.ones((8, 6), chunks=(4, 6)), cs.MemoryStore(), path="y")
    assert str(report).startswith("wrote /y in MemoryStore(")
    assert "(8, 6) float64 in 2 blocks" in str(report)
    assert 0 <= report.elapsed_s < 60
    assert pickle.loads(pickle.dumps(report)) == report


# --- lazily ------------------------------------------------------------------------------------


def test_a_lazy_job_composes_and_publishes_at_its_end(scheduler: str, tmp_path: Path) -> None:
    """The array appears when the Delayed has run, also inside another delayed function."""
    job = to_store(da.from_array(VALUES, chunks=(4, 7)), tmp_path, path="y", compute=False)
    assert isinstance(job, Delayed)
    with pytest.raises(NodeNotFoundError, match="a job is writing"):
        cs.open_array(tmp_path, path="y", mode="r")
    assert delayed(report_blocks)(job).compute() == 10
    np.testing.assert_array_equal(read_back(tmp_path), VALUES)


def report_blocks(report: StoreReport) -> int:
    return report.n_blocks


def test_jobs_computed_together_read_their_source_once() -> None:
    """Two lazy writes and a sum over one source share its reads."""
    store = Counting()
    x = from_store(stored(store), chunks="storage")
    store.gets.clear()
    one = to_store(x + 1, store, path="one", compute=False)
    two = to_store(x * 2, store, path="two", compute=False)
    *_, total = dask.compute(one, two, x.sum())
    assert total == VALUES.sum()
    assert len([key for key in store.chunk_gets() if key.startswith("x/")]) == 10
    np.testing.assert_array_equal(read_back(store, "one"), VALUES + 1)
    np.testing.assert_array_equal(read_back(store, "two"), VALUES * 2)


# --- nothing is lost, nothing half there --------------------------------------------------------


def fail_late(block: Any, block_id: tuple[int, ...] | None = None) -> Any:
    if block_id == (4, 1):
        raise RuntimeError("the last block cannot be computed")
    return block


def test_a_failing_task_leaves_nothing_that_opens(scheduler: str, tmp_path: Path) -> None:
    """The array does not exist for readers, and the way on is told."""
    x = da.from_array(VALUES, chunks=(4, 7)).map_blocks(fail_late, dtype="f8")
    with pytest.raises(RuntimeError, match="cannot be computed") as caught:
        to_store(x, tmp_path, path="y")
    assert any("overwrite=True" in note for note in caught.value.__notes__)
    with pytest.raises(NodeNotFoundError):
        cs.open_array(tmp_path, path="y", mode="r")
    assert list(cs.open_group(tmp_path, mode="a").keys()) == []
    with pytest.raises(NodeExistsError, match="unfinished"):
        to_store(da.from_array(VALUES, chunks=(4, 7)), tmp_path, path="y")
    to_store(da.from_array(VALUES, chunks=(4, 7)), tmp_path, path="y", overwrite=True)
    np.testing.assert_array_equal(read_back(tmp_path), VALUES)


SLOW_JOB = """
    import sys, time
    import dask, dask.array as da
    from dask_integration.io import to_store

    def slow(block, block_id=None):
        time.sleep(0.02)
        if block_id == (20,):
            print("running", flush=True)
        return block

    if __name__ == "__main__":
        x = da.ones(400, chunks=1).map_blocks(slow, dtype="f8")
        with dask.config.set(scheduler="threads", num_workers=2):
            to_store(x, sys.argv[1], path="y")
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_an_interrupted_job_leaves_nothing_that_opens(how: signal.Signals, tmp_path: Path) -> None:
    """Whether interrupted or killed, no array is there that opens as if complete."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SLOW_JOB), str(tmp_path / "s")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.send_signal(how)
        _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    written = list((tmp_path / "s" / "y" / "c").iterdir())
    assert 0 < len(written) < 400
    with pytest.raises(NodeNotFoundError):
        cs.open_array(tmp_path / "s", path="y", mode="r")
    if how is signal.SIGINT:
        assert "KeyboardInterrupt" in errors


def test_a_worker_may_die(tmp_path: Path) -> None:
    """Killing a worker in the middle of a job changes nothing in what is written."""
    marker = tmp_path / "killed"
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            local_directory=tmp_path / "scratch",
        ) as cluster,
        Client(cluster),
    ):
        x = da.from_array(VALUES, chunks=(2, 7)).map_blocks(kill_once, str(marker), dtype="f8")
        report = to_store(x, tmp_path, path="y")
    assert marker.exists()
    assert report.n_blocks == 20
    np.testing.assert_array_equal(read_back(tmp_path), VALUES)


def kill_once(block: Any, marker: str, block_id: tuple[int, ...] | None = None) -> Any:
    if block_id == (5, 0):
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return block
        os.kill(os.getpid(), signal.SIGKILL)
    return block


def test_what_exists_is_refused_and_left_alone(tmp_path: Path) -> None:
    """Without overwrite nothing is touched, whatever else is wrong."""
    stored(tmp_path, "y")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    x = da.zeros(VALUES.shape, chunks=(4, 7))
    with pytest.raises(NodeExistsError):
        to_store(x, tmp_path, path="y")
    with pytest.raises(AlignmentError):
        to_store(x, tmp_path, path="y", chunks=(3, 7), align="error", overwrite=True)
    with pytest.raises(InvalidArgumentError):
        to_store(x, tmp_path, path="y", dimension_names=("a",), overwrite=True)
    with pytest.raises(InvalidArgumentError):
        to_store(x, tmp_path, path="y", attributes={"a": object()}, overwrite=True)
    with pytest.raises(InvalidArgumentError):
        to_store(x, tmp_path, path="y", retries=-1, overwrite=True)
    with pytest.raises(NodeExistsError):
        to_store(x, tmp_path, path="y", compute=False)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    to_store(x, tmp_path, path="y", overwrite=True)
    assert not read_back(tmp_path).any()


@pytest.mark.parametrize("source", ["from_store", "from_array", "inlined", "optimised"])
@pytest.mark.parametrize("place", ["same", "through the folder", "group above", "symbolic link"])
def test_a_job_must_not_delete_what_it_reads(source: str, place: str, tmp_path: Path) -> None:
    """Overwriting the source of the values is refused, however it is spelled."""
    array = stored(tmp_path / "s", "g/x")
    (tmp_path / "link").symlink_to(tmp_path / "s")
    x: da.Array
    if source == "from_store":
        x = from_store(array, chunks="storage")
    else:
        x = da.from_array(array, chunks=(4, 7), inline_array=source == "inlined")
    y = (x + 1)[:8]
    if source == "optimised":
        (y,) = dask.optimize(y)
    target, path = {
        "same": (array.store, "g/x"),
        "through the folder": (str(tmp_path / "s" / "g"), "x"),
        "group above": (tmp_path / "s", "g"),
        "symbolic link": (tmp_path / "link", "/g/x/"),
    }[place]
    with pytest.raises(InvalidArgumentError, match="would be deleted before it is read"):
        to_store(y, target, path=path, overwrite=True)
    np.testing.assert_array_equal(read_back(tmp_path / "s", "g/x"), VALUES)


def test_a_job_must_not_write_where_it_reads() -> None:
    """In place, a task that runs again would read its own result."""
    array = stored(None)
    with pytest.raises(InvalidArgumentError, match="computed from it"):
        to_store(from_store(array, chunks="storage") + 1, array)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            da.ones((4, 4), chunks=(2, 4)).map_blocks(lambda b: b[:1], dtype="f8"),
            r"\(2, 4\).*got \(1, 4\)",
        ),
        (da.ones((4, 4), chunks=(2, 4)).map_blocks(np.sum, dtype="f8"), r"\(2, 4\).*got \(\)"),
        (da.ma.masked_equal(da.ones((4, 4), chunks=(2, 4)), 1), "masked"),
        (
            da.ones((4, 4), chunks=(2, 4), dtype="i1").map_blocks(lambda b: b + 0.5, dtype="i1"),
            "lose",
        ),
    ],
    ids=["short block", "scalar block", "masked", "floats declared integers"],
)
def test_blocks_that_are_not_what_they_say_are_refused(x: da.Array, message: str) -> None:
    """Nothing is broadcast, unmasked or cut to fit: the task fails and names its block."""
    store = cs.MemoryStore()
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        to_store(x, store, path="y")
    assert any(note.startswith("in block (") for note in caught.value.__notes__)
    with pytest.raises(NodeNotFoundError):
        cs.open_array(store, path="y", mode="r")


# --- into an array that exists -----------------------------------------------------------------


def test_an_existing_array_keeps_its_layout() -> None:
    """Only the values change; blocks of several chunks are fine."""
    array = stored(None, attributes={"kept": 1})
    to_store(da.zeros(VALUES.shape, chunks=(8, 7), dtype="f4"), array)
    assert not array[...].any()
    assert (array.chunks, array.dtype, dict(array.attrs)) == ((4, 7), np.dtype("f8"), {"kept": 1})


def test_an_array_held_back_stays_so() -> None:
    """Who made an array pending publishes it, after all the jobs that fill it."""
    store = cs.MemoryStore()
    array = cs.create_array(store, name="y", shape=(4,), chunks=(2,), dtype="f8", pending=True)
    to_store(da.ones(4, chunks=2), array)
    with pytest.raises(NodeNotFoundError):
        cs.open_array(store, path="y", mode="r")
    array.publish()
    assert read_back(store).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("x", "arguments", "error", "message"),
    [
        (da.zeros((20, 13), chunks=(4, 13)), {}, InvalidArgumentError, r"shape \(20, 14\), got"),
        (
            da.zeros((20, 14), chunks=(5, 14)),
            {"align": "error"},
            AlignmentError,
            "edge 5 on axis 0",
        ),
        (da.zeros((20, 14), chunks=(4, 14), dtype="c8"), {}, InvalidArgumentError, "lose more"),
        (da.zeros((20, 14), chunks=(4, 14)), {"path": "x"}, InvalidArgumentError, "lay out"),
        (da.zeros((20, 14), chunks=(4, 14)), {"chunks": (4, 7)}, InvalidArgumentError, "lay out"),
        (da.zeros((20, 14), chunks=(4, 14)), {"overwrite": True}, InvalidArgumentError, "lay out"),
        (
            da.zeros((20, 14), chunks=(4, 14)),
            {"compressors": None},
            InvalidArgumentError,
            "lay out",
        ),
        (np.zeros((20, 14)), {}, InvalidArgumentError, r"expected a dask\.array\.Array"),
    ],
)
def test_what_does_not_fit_an_existing_array_is_refused(
    x: Any, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Shape, blocks, data type and contradicting arguments are checked before any write."""
    array = stored(None)
    with pytest.raises(error, match=message):
        to_store(x, array, **arguments)
    np.testing.assert_array_equal(array[...], VALUES)


def test_integers_are_not_narrowed(tmp_path: Path) -> None:
    """Integers that may not fit are refused at once, not in the middle of the job."""
    array = stored(tmp_path, values=VALUES.astype("i2"))
    with pytest.raises(InvalidArgumentError, match=r"astype\('int16'\)"):
        to_store(da.zeros(VALUES.shape, chunks=(4, 7), dtype="i8"), array)
    to_store(da.zeros(VALUES.shape, chunks=(4, 7), dtype="u1"), array)
    with pytest.raises(ReadOnlyError):
        to_store(
            da.zeros(VALUES.shape, chunks=(4, 7), dtype="u1"),
            cs.open_array(tmp_path, path="x", mode="r"),
        )


# --- retries -----------------------------------------------------------------------------------


def _os_error(code: int) -> StoreError:
    return StoreError("cannot write", errno=code)


def test_passing_failures_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that fails a few times loses nothing; the waits grow."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    store = Counting()
    store.failures = [_os_error(errno.EIO), TimeoutError("slow"), ConnectionResetError("gone")]
    report = to_store(da.from_array(VALUES, chunks=(20, 14)), store, path="y", retries=3)
    np.testing.assert_array_equal(read_back(store), VALUES)
    assert report.n_blocks == 1
    assert store.sets.count("y/c/0/0") == 4
    assert len(waits) == 3
    assert 0.05 <= waits[0] <= 0.1 <= waits[1] <= 0.2 <= waits[2] <= 0.4


@pytest.mark.parametrize(
    ("failure", "n_writes"),
    [
        (_os_error(errno.EIO), 3),
        (_os_error(errno.ENOSPC), 1),
        (OSError(errno.EROFS, "read-only file system"), 1),
        (PermissionError("no"), 1),
        (ValueError("a bug"), 1),
    ],
    ids=["lasting", "disk full", "read-only", "forbidden", "no OSError"],
)
def test_lasting_failures_are_raised(
    failure: Exception, n_writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the last retry the failure is raised; what waiting cannot mend is not retried."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    store = Counting()
    store.failures = [failure] * 10
    with pytest.raises(type(failure)):
        to_store(da.from_array(VALUES, chunks=(20, 14)), store, path="y", retries=2)
    assert store.sets.count("y/c/0/0") == n_writes
    with pytest.raises(NodeNotFoundError):
        cs.open_array(store, path="y", mode="r")


# --- memory and clusters -----------------------------------------------------------------------


def test_memory_stores_and_clusters_do_not_mix(cluster: LocalCluster) -> None:
    """Reading or writing this process's memory from workers is refused at once, with a way out."""
    store = cs.MemoryStore()
    array = stored(store)
    with Client(cluster):
        for attempt in (
            lambda: from_store(array),
            lambda: to_store(da.ones(4, chunks=2), store, path="y"),
            lambda: to_store(da.ones(VALUES.shape, chunks=(4, 7)), array),
        ):
            with pytest.raises(InvalidArgumentError, match=r"distributed Client.*LocalStore"):
                attempt()
        with dask.config.set(scheduler="threads"):
            assert from_store(array).sum().compute() == VALUES.sum()
    assert [key for key in store.list_prefix() if key.startswith("y")] == []
    np.testing.assert_array_equal(array[...], VALUES)


def test_a_store_that_nobody_could_find_again_is_refused() -> None:
    """None would make a memory store that is lost with the call."""
    for lost in (None, "memory://"):
        with pytest.raises(InvalidArgumentError, match="nothing could find it"):
            to_store(da.ones(4, chunks=2), lost)


def test_a_standardised_array_goes_through_in_bounded_memory(
    scheduler: str, tmp_path: Path
) -> None:
    """Statistics along an axis inside the blocks, then the write: one task a block, no shuffle."""
    x = from_store(stored(tmp_path), chunks=(4, -1))
    y = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    report = to_store(y, tmp_path, path="y", chunks=(2, 7))
    expected = (VALUES - VALUES.mean(1, keepdims=True)) / VALUES.std(1, keepdims=True)
    np.testing.assert_allclose(read_back(tmp_path), expected)
    assert report.n_blocks == 5
