"""What is told of a job before it runs is what happens when it does."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from dask._task_spec import Task
from dask.callbacks import Callback

import chunkstore as cs
from chunkstore.errors import AlignmentError, InvalidArgumentError
from dask_integration import from_store, rechunk, reduce, standardise, to_store
from dask_integration.explain import Explanation, explain
from tests.chunkstore.recording import RecordingStore

VALUES = np.random.default_rng(0).random((40, 30))


@pytest.fixture
def store() -> RecordingStore:
    """A store with an array of chunks (4, 10) at ``a``."""
    store = RecordingStore()
    cs.create_array(store, name="a", data=VALUES, chunks=(4, 10))
    store.forget()
    return store


def blocks(store: RecordingStore, **arguments: Any) -> da.Array:
    return from_store(store, "a", **{"chunks": (8, 30), **arguments})


JOBS: dict[str, Callable[[RecordingStore], Any]] = {
    "read": blocks,
    "fused": lambda store: blocks(store) * 2 + 1,
    "slice": lambda store: blocks(store)[10:20, ::3] + 1,
    "region": lambda store: blocks(store, region=(slice(3, 21), slice(10, 20))),
    "twice": lambda store: blocks(store) - blocks(store).mean(axis=0),
    "shared": lambda store: (lambda x: x - x.mean(axis=0))(blocks(store)),
    "rechunk": lambda store: blocks(store).rechunk((40, 3)),
    "reduce": lambda store: reduce(blocks(store), ["mean"], axis=0)["mean"],
    "standardise": lambda store: standardise(blocks(store), axis=0),
    "cut chunks": lambda store: da.from_array(cs.open_array(store, path="a"), chunks=(7, 15)) + 1,
    "cut and sliced": lambda store: da.from_array(cs.open_array(store, path="a"))[3:17],
    "write": lambda store: to_store(blocks(store) + 1, store, path="b", compute=False),
    "write small": lambda store: to_store(
        blocks(store), store, path="b", chunks=(2, 5), compute=False
    ),
    "write shards": lambda store: to_store(
        blocks(store), store, path="b", chunks=(2, 5), shards=(8, 30), compute=False
    ),
}


@pytest.mark.parametrize("name", JOBS)
def test_numbers_are_true(store: RecordingStore, name: str) -> None:
    """Tasks, reads and objects are as many as are counted while the job runs."""
    job = JOBS[name](store)
    told = explain(job)
    assert told.is_exact
    store.forget()
    ran = []

    def posttask(key: Any, result: Any, graph: Any, state: Any, worker: Any) -> None:
        # Other names for a result, and putting an array together in the end, are no work.
        ran.append(isinstance(graph[key], Task) and not str(key).startswith("finalize"))

    with Callback(posttask=posttask):
        job.compute()
    gets = [key for key in store.asked("get") if key.startswith("a/c/")]
    sets = [key for key in store.asked("set") if key.startswith("b/c/")]
    reads = [one for one in told.traffic if not one.is_write]
    assert sum(one.n_values for one in reads) == len(gets) > 0
    assert told.read_bytes == len(gets) * 4 * 10 * 8
    assert told.n_objects == len(sets) == len(set(sets))
    assert told.n_tasks == sum(ran)
    assert told.read_amplification == pytest.approx(len(gets) / len(set(gets)))
    assert told.is_aligned == ("cut" not in name and name != "region")


def test_arrays_of_the_package_dask_array(store: RecordingStore) -> None:
    """An array of the separate package is told as dask's own."""
    pytest.importorskip("dask_array", reason="needs the package dask-array")
    own, foreign = (
        explain(blocks(store, library=library) * 2 + 1) for library in ("dask.array", "dask_array")
    )
    assert own == foreign


def test_a_write_that_is_only_planned(store: RecordingStore) -> None:
    """What would be written is told without a job, as of the job; and nothing is made."""
    x = blocks(store) + 1
    planned = explain(x, store, path="b", chunks=(2, 5))
    assert not list(store.list_prefix("b/"))
    job = explain(to_store(x, store, path="b", chunks=(2, 5), compute=False))
    assert [t.n_values for t in planned.traffic] == [t.n_values for t in job.traffic]
    assert planned.n_tasks == job.n_tasks
    assert planned.n_objects == 120
    with pytest.raises(AlignmentError):
        explain(x, store, path="c", chunks=(3, 5), align="error")


@pytest.mark.parametrize("name", ["read", "fused", "twice", "write", "write shards"])
def test_large_graphs_are_counted_by_layers(
    store: RecordingStore, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted layer by layer, a job that needs all its blocks has the same traffic."""
    job = JOBS[name](store)
    exact = explain(job)
    monkeypatch.setitem(explain.__globals__, "_MOST_SPELLED", 0)
    rough = explain(job)
    assert not rough.is_exact
    assert "about" in str(rough)
    for direction in (False, True):
        numbers = [
            sum(one.n_values for one in told.traffic if one.is_write == direction)
            for told in (exact, rough)
        ]
        assert numbers[0] == numbers[1]
    assert rough.n_tasks >= exact.n_tasks


def test_a_million_blocks_are_told_at_once(tmp_path: Path) -> None:
    """A graph of a million blocks is explained without looking at each."""
    array = cs.create_array(tmp_path / "a", shape=(1000, 1000), dtype="f4", chunks=(1, 1))
    told = explain(from_store(array, chunks="storage", token="t") + 1)
    assert (told.n_tasks, told.traffic[0].n_values) == (1_000_000, 1_000_000)


@pytest.mark.parametrize("name", ["fused", "shared", "twice", "rechunk"])
def test_results_that_wait(store: RecordingStore, name: str) -> None:
    """Results are held as long as told: what dask keeps at most is no more, and about as much."""
    job = JOBS[name](store)
    held = []

    def posttask(key: Any, result: Any, graph: Any, state: Any, worker: Any) -> None:
        held.append(sum(getattr(value, "nbytes", 0) for value in state["cache"].values()))

    with Callback(posttask=posttask), dask.config.set(scheduler="synchronous"):
        told = explain(job)
        job.compute()
    assert max(held) <= told.held_bytes <= 1.7 * max(held)


def test_what_a_task_holds() -> None:
    """A job of reading, computing and writing stays within what is told."""
    values = np.random.default_rng(0).random((1000, 1000))
    source = cs.create_array(None, data=values, chunks=(100, 1000))
    target = cs.create_array(cs.MemoryStore(), shape=values.shape, dtype="f8", chunks=(100, 1000))
    job = to_store(from_store(source, chunks="storage") * 2, target, compute=False)
    with dask.config.set(scheduler="synchronous"):
        told = explain(job)
        tracemalloc.start()
        try:
            job.compute()
            left, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    # What was written stays in memory here.
    assert peak - left <= told.peak_bytes + 200_000
    assert told.peak_bytes < values.nbytes


def test_memory_is_compared(store: RecordingStore) -> None:
    """A job that would hold more than allowed is refused, with what it would hold and why."""
    told = explain(JOBS["shared"](store))
    told.require_memory(told.peak_bytes)
    with pytest.raises(InvalidArgumentError, match=r"cannot x within .*kB a process") as caught:
        told.require_memory(told.peak_bytes - 1, doing="x")
    assert caught.value.needed_bytes == told.peak_bytes


def test_jobs_of_rechunk(store: RecordingStore) -> None:
    """A job of rechunking is explained by its plan, with both arrays by name."""
    source = cs.open_array(store, path="a")
    job = rechunk(source, store, path="b", chunks=(40, 1), memory=4_000, compute=False)
    told = explain(job)
    assert told.plan is job.plan
    assert (told.n_tasks, told.read_bytes) == (job.plan.n_tasks, job.plan.read_bytes)
    assert told.peak_bytes == job.plan.peak_bytes
    assert told.written_bytes == job.plan.written_bytes
    names = [one.name.split(" ")[0] for one in told.traffic]
    assert (names[0], names[-1]) == ("/a", "/b")
    assert explain(job.plan).n_objects == told.n_objects
    assert "not taken" in str(told)


class Cells(HTMLParser):
    """Gathers the texts of a document, and counts what is open."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.depth = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.depth += tag != "br"

    def handle_endtag(self, tag: str) -> None:
        self.depth -= 1

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_as_text_and_html(store: RecordingStore) -> None:
    """Text and HTML say the same: the sums, and a verdict for each axis."""
    told = explain(JOBS["cut chunks"](store))
    text = str(told)
    cells = Cells()
    cells.feed(told._repr_html_())
    html = " ".join(cells.texts)
    assert cells.depth == 0
    for part in (
        f"{told.n_tasks:,}",
        "blocks of up to 7 over chunks of 4: 4 of 5 edges cut a chunk, the first at 7",
        "/a in MemoryStore",
    ):
        assert part in text
        assert part in html


@pytest.mark.parametrize("name", ["read", "cut chunks", "write shards"])
def test_a_picture(store: RecordingStore, tmp_path: Path, name: str) -> None:
    """A picture is drawn of any array that is touched, whatever its axes and size."""
    told = explain(JOBS[name](store))
    told.draw(tmp_path / "a.png")
    told.draw(tmp_path / "b.svg", number=len(told.traffic) - 1, axes=[1])
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    svg = (tmp_path / "b.svg").read_text()
    assert "axis 1" in svg or "<path" in svg
    for axes in ([2], [0, 0], [0, 1, 0], []):
        with pytest.raises(InvalidArgumentError, match="cannot draw axes"):
            told.draw(tmp_path / "c.png", axes=axes)


@pytest.mark.parametrize(
    ("shape", "chunks", "shards", "block"),
    [
        ((), (), None, ()),
        ((7,), (3,), None, (2,)),
        ((10**6, 10**5), (10, 10), (100, 100), (10**5, 10**5)),
        ((4, 5, 6, 7), (2, 2, 2, 2), None, (2, 5, 1, 3)),
    ],
)
def test_pictures_of_all_sizes(
    tmp_path: Path, shape: Any, chunks: Any, shards: Any, block: Any
) -> None:
    """From no axis to four, and from one chunk to a thousand million, there is a picture."""
    array = cs.create_array(cs.MemoryStore(), shape=shape, dtype="i1", chunks=chunks, shards=shards)
    explain(da.from_array(array, chunks=block)).draw(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5_000


def test_what_cannot_be_explained(tmp_path: Path) -> None:
    """What is no dask collection, and a picture of no array, are refused."""
    with pytest.raises(InvalidArgumentError, match="cannot explain a ndarray"):
        explain(np.ones(3))
    told = explain(da.ones(3))
    assert isinstance(told, Explanation)
    assert told.traffic == ()
    with pytest.raises(InvalidArgumentError, match="no stored array"):
        told.draw(tmp_path / "a.png")
