"""Rechunked arrays hold the same values; jobs stay in their bounds and leave nothing behind."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster
from hypothesis import given, settings
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError, NodeExistsError, NodeNotFoundError, StoreError
from dask_integration.progress import counting
from dask_integration.rechunk import RechunkJob, RechunkReport, rechunk
from tests.chunkstore.recording import RecordingStore

VALUES = np.arange(48 * 36, dtype="i4").reshape(48, 36)
METHODS = ["direct", "staged"]


def columns(store: Any, values: Any = VALUES, **layout: Any) -> cs.Array:
    """Store values in chunks that are columns."""
    return cs.create_array(store, data=values, **{"chunks": (48, 3), **layout})


def run(source: Any, target: Any, **arguments: Any) -> RechunkReport:
    report = rechunk(source, target, **arguments)
    assert isinstance(report, RechunkReport)
    return report


@st.composite
def layouts(draw: st.DrawFn, shape: tuple[int, ...]) -> dict[str, Any]:
    """Draw chunks, and perhaps shards or sizes that differ."""
    chunks: list[Any] = [draw(st.integers(1, max(1, extent + 2))) for extent in shape]
    kind = draw(st.sampled_from(["plain", "sharded", "rectilinear", "v2"]))
    if kind == "sharded":
        shards = tuple(size * draw(st.integers(1, 3)) for size in chunks)
        return {"chunks": tuple(chunks), "shards": shards, "zarr_format": 3}
    if kind == "rectilinear" and shape and 0 not in shape:
        first = draw(st.integers(1, shape[0]))
        chunks[0] = [first, shape[0] - first] if first < shape[0] else [first]
        return {"chunks": chunks, "zarr_format": 3}
    return {"chunks": tuple(chunks), "zarr_format": 2 if kind == "v2" else 3}


@settings(max_examples=60)
@given(data=st.data())
def test_any_array_into_any_chunks(data: st.DataObject) -> None:
    """Whatever the shapes, formats, layouts and bound: the same values, or a refusal."""
    shape = tuple(data.draw(st.lists(st.integers(0, 12), max_size=3)))
    values = np.arange(math.prod(shape), dtype="i2").reshape(shape)
    source = cs.create_array(None, data=values, **data.draw(layouts(shape)))
    store = cs.MemoryStore()
    memory = data.draw(st.integers(50, 2_000))
    method = data.draw(st.sampled_from(METHODS))
    layout = data.draw(layouts(shape))
    with dask.config.set(scheduler="synchronous"):
        try:
            report = run(source, store, memory=memory, method=method, **layout)
        except InvalidArgumentError as error:
            refusal = str(error)
            report = None
    if report is None:
        assert "Pass memory of" in refusal
        assert not list(store.list_prefix(""))
        return
    assert report.n_tasks == report.plan.n_tasks
    made = cs.open_array(store, mode="r")
    np.testing.assert_array_equal(made[...], values)
    assert made.metadata.zarr_format == layout["zarr_format"]
    assert not [key for key in store.list_prefix("") if "rechunk" in key or "__" in key]


@pytest.mark.parametrize("method", METHODS)
def test_all_but_the_chunks_is_kept(method: Any) -> None:
    """Attributes, names, fill value, type and codecs are those of the source, unless given."""
    source = columns(
        None,
        fill_value=7,
        attributes={"units": "K"},
        dimension_names=("time", "x"),
        compressors={"name": "gzip", "configuration": {"level": 1}},
        order="F",
    )
    made = run(source, cs.MemoryStore(), chunks=(2, 36), memory=4_000, method=method).array
    assert dict(made.attrs) == {"units": "K"}
    assert made.dimension_names == ("time", "x")
    assert made.fill_value == 7
    assert made.metadata.codecs == source.metadata.codecs
    given = {"fill_value": 1, "compressors": None, "attributes": {}, "chunks": (2, 36)}
    other = run(source, cs.MemoryStore(), memory=4_000, method=method, **given).array
    assert (other.fill_value, dict(other.attrs)) == (1, {})
    np.testing.assert_array_equal(other[...], VALUES)


@pytest.mark.parametrize("method", METHODS)
def test_the_plan_is_what_happens(method: Any) -> None:
    """The store is asked as often, and as many tasks run, as the plan says."""
    source_store, store, temp = RecordingStore(), RecordingStore(), RecordingStore()
    source = columns(source_store)
    source_store.forget()
    with counting(None) as count:
        report = run(
            source, store, chunks=(2, 36), memory=4_000, method=method, temp=temp, path="new"
        )
    stages = report.plan.stages
    assert len(source_store.asked("get")) == stages[0].n_values_read > 0
    chunk_writes = [key for key in store.asked("set") if key.startswith("new/c/")]
    assert len(chunk_writes) == len(set(chunk_writes)) == stages[-1].n_values_written
    assert len(temp.asked("get")) >= sum(stage.n_values_read for stage in stages[1:])
    # Beside the copies, a few tasks add up what they have done.
    n_copies = sum(stage.n_tasks for stage in stages)
    assert n_copies <= count().n_done <= n_copies * 17 // 16 + 2 * len(stages)
    assert not list(temp.list_prefix(""))


@pytest.mark.parametrize("method", METHODS)
def test_memory_is_held_as_planned(method: Any) -> None:
    """What numpy and Python hold at most is what the plan says, and within the bound."""
    values = np.random.default_rng(0).random((1024, 1024), "f4")
    source = cs.create_array(None, data=values, chunks=(1024, 16))
    store = cs.MemoryStore()
    job = rechunk(source, store, chunks=(16, 1024), memory="1MB", method=method, compute=False)
    assert isinstance(job, RechunkJob)
    held = sum(len(store.get(key) or b"") for key in store.list_prefix(""))
    tracemalloc.start()
    try:
        with dask.config.set(scheduler="synchronous"):
            job.compute()
        peak = tracemalloc.get_traced_memory()[1]
        left = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held == 0
    # The stores in memory keep what was written; a hundred kB are dask's.
    in_stores = max(left, 2 * values.nbytes if method == "staged" else values.nbytes)
    assert peak - in_stores <= job.plan.peak_bytes + 200_000
    assert job.plan.peak_bytes <= 1_000_000


def test_no_more_at_once_than_fit() -> None:
    """However many threads dask has, so many tasks run as fit in the bound."""
    store = RecordingStore()
    source = columns(store)
    store.forget()
    store.most_at_once = 0
    with dask.config.set(scheduler="threads", num_workers=4):
        report = run(source, cs.MemoryStore(), chunks=(2, 36), memory=3_000)
    assert report.plan.n_at_once * report.plan.n_inner <= 2
    assert store.most_at_once <= report.plan.n_at_once * report.plan.n_inner


@pytest.mark.parametrize(("method", "n_good"), [("direct", 10), ("staged", 10), ("staged", 20)])
@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_a_failure_leaves_nothing_that_opens(method: Any, n_good: int, scheduler: str) -> None:
    """After a failure there are no pieces and no array, and the job can be run again."""
    store = RecordingStore()
    source = columns(None)
    n_sets = 0

    def fail(what: str, key: str) -> bool:
        nonlocal n_sets
        n_sets += what == "set" and "/c/" in key
        return n_sets > n_good and what == "set"

    store.fails = fail
    arguments: dict[str, Any] = {
        "path": "a", "chunks": (2, 36), "memory": 4_000, "method": method, "retries": 0,
        "token": "t",
    }  # fmt: skip
    with dask.config.set(scheduler=scheduler):
        with pytest.raises(StoreError) as caught:
            run(source, store, **arguments)
        assert "run again with resume=True" in "".join(caught.value.__notes__)
        assert not [key for key in store.list_prefix("") if "rechunk-pieces" in key]
        with pytest.raises(NodeNotFoundError):
            cs.open_array(store, path="a", mode="r")
        store.fails = lambda what, key: False
        again = {"overwrite": True} if scheduler == "threads" else {"resume": True, "token": "t"}
        report = run(source, store, **arguments | again)
    assert report.n_tasks + report.n_resumed == report.plan.n_tasks
    np.testing.assert_array_equal(report.array[...], VALUES)


def interrupted(source: cs.Array, store: RecordingStore, **arguments: Any) -> None:
    """Run a job that fails in its middle."""
    n_sets = 0

    def fail(what: str, key: str) -> bool:
        nonlocal n_sets
        n_sets += what == "set" and "c/" in key
        return n_sets > 10

    store.fails = fail
    with pytest.raises(StoreError):
        run(source, store, retries=0, **arguments)
    store.fails = lambda what, key: False


def test_resuming_needs_the_same_job(tmp_path: Path) -> None:
    """Another source, layout or smaller bound is refused, and what is not provably the same."""
    how: dict[str, Any] = {"chunks": (2, 36), "memory": 4_000}
    source = columns(tmp_path / "a")
    store = RecordingStore()
    interrupted(source, store, **how)
    for change, match in [
        ({"memory": 2_500}, "was planned for"),
        ({"chunks": (4, 36)}, "layout is another"),
        ({"fill_value": 3}, "layout is another"),
        ({"token": "other"}, "source has changed"),
        ({"overwrite": True}, "give one"),
    ]:
        with pytest.raises(InvalidArgumentError, match=match):
            run(source, store, resume=True, **how | change)
    # The regions are those of the job that began, whatever is asked for now.
    report = run(source, store, resume=True, **how | {"memory": "1GB", "method": "staged"})
    assert report.plan.memory_bytes == 4_000
    np.testing.assert_array_equal(report.array[...], VALUES)
    assert not [key for key in store.list_prefix("") if "__" in key]

    other = RecordingStore()
    interrupted(source, other, **how)
    source[0, 0] = -1
    with pytest.raises(InvalidArgumentError, match="source has changed"):
        run(source, other, resume=True, **how)
    # A store in memory cannot tell whether it has changed.
    unproved = columns(None)
    interrupted(unproved, other, overwrite=True, **how)
    with pytest.raises(InvalidArgumentError, match="pass the same `token`"):
        run(unproved, other, resume=True, **how)


def test_resuming_what_was_not_interrupted(tmp_path: Path) -> None:
    """Resuming begins a job that was not begun, and refuses one that has ended or is another's."""
    source, store = columns(tmp_path / "a"), cs.MemoryStore()
    how: dict[str, Any] = {"chunks": (2, 36), "resume": True}
    np.testing.assert_array_equal(run(source, store, path="b", **how).array[...], VALUES)
    with pytest.raises(NodeExistsError, match="no job on it is unfinished"):
        run(source, store, path="b", **how)
    store.set("c/zarr.txt", b"not ours")
    with pytest.raises(InvalidArgumentError, match="no ledger"):
        run(source, store, path="c", **how)


def test_failures_that_pass_are_retried() -> None:
    """A request that fails once is repeated, and the job goes on."""
    store = RecordingStore()
    failed: set[str] = set()

    def fail(what: str, key: str) -> bool:
        first = what == "set" and key.endswith("c/0/0") and not failed
        failed.update([key] if first else [])
        return first

    store.fails = fail
    report = run(columns(None), store, chunks=(2, 36), memory=4_000)
    assert failed
    np.testing.assert_array_equal(report.array[...], VALUES)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=2,
        threads_per_worker=2,
        processes=True,
        dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
        local_directory=tmp_path_factory.mktemp("cluster"),
    ) as started:
        yield started


@pytest.mark.parametrize("method", METHODS)
def test_on_a_cluster(tmp_path: Path, cluster: LocalCluster, method: Any) -> None:
    """Processes that share a folder do the same, planned for their threads."""
    columns(str(tmp_path / "a"))
    with Client(cluster):
        report = run(
            str(tmp_path / "a"), str(tmp_path / "b"), chunks=(2, 36), memory=4_000, method=method
        )
        with pytest.raises(InvalidArgumentError, match="lives in this process"):
            rechunk(str(tmp_path / "a"), cs.MemoryStore(), chunks=(2, 36))
    assert report.plan.n_threads == 2
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["c", "zarr.json"]
    np.testing.assert_array_equal(cs.open_array(tmp_path / "b", mode="r")[...], VALUES)


def test_a_job_can_be_looked_at_first() -> None:
    """With ``compute=False`` nothing is touched, and the plan can be read."""
    store = cs.MemoryStore()
    job = rechunk(columns(None), store, chunks=(2, 36), memory=4_000, compute=False)
    assert isinstance(job, RechunkJob)
    assert not list(store.list_prefix(""))
    assert "tasks, regions up to" in str(job)
    report = job.compute()
    assert "predicted" in str(report)
    assert report.peak_bytes >= 0


def test_what_is_refused(tmp_path: Path) -> None:
    """What would lose data, break the bound, or is not stored is refused, and nothing is made."""
    source = columns(str(tmp_path / "a"))
    texts = cs.create_array(None, data=np.array(["a", "bc"]), dtype=str)
    place = str(tmp_path / "b")
    for what, match in [
        (lambda: rechunk(da.ones(4), place, chunks=2), r"x\.rechunk"),
        (lambda: rechunk(source, None, chunks=(2, 36)), "MemoryStore"),
        (lambda: rechunk(source, place, chunks=(2, 36), memory=100), "Pass memory of"),
        (lambda: rechunk(source, place, chunks=(2, 36), memory="much"), "not understood"),
        (lambda: rechunk(source, place, chunks=(2, 36), retries=-1), "retries"),
        (lambda: rechunk(texts, place, chunks=1), r"no fixed size.*chunkstore\.copy"),
        (lambda: rechunk(source, tmp_path / "a", chunks=(2, 36), overwrite=True), "be deleted"),
        (lambda: rechunk(source, tmp_path, path="a", chunks=2, overwrite=True), "be deleted"),
        (lambda: rechunk(source, place, chunks=2, source_path="x"), "beside"),
    ]:
        with pytest.raises(InvalidArgumentError, match=match):
            what()
    with pytest.raises(NodeExistsError):
        rechunk(source, tmp_path / "a", chunks=(2, 36))
    assert not Path(place).exists()
    np.testing.assert_array_equal(source[...], VALUES)
