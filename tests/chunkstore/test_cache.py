"""The cache of decoded chunks: bounded, shared, and never behind what this process writes."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.cache import ChunkCache, state_of
from chunkstore.errors import InvalidArgumentError
from chunkstore.workers import run_in_threads
from tests.chunkstore.recording import RecordingStore

CHECKOUT = Path(__file__).parents[2]
LAYOUTS: list[dict[str, Any]] = [{"chunks": (4, 4)}, {"chunks": (4, 4), "shards": (8, 8)}]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_read_again_without_a_request(layout: dict[str, Any]) -> None:
    """What was read once is read again from memory, by any handle that shares the cache."""
    store, values = RecordingStore(), np.arange(256).reshape(16, 16)
    cs.create_array(store, name="x", data=values, **layout)
    cache = ChunkCache(1 << 20)
    handles = [
        cs.open_array(store, path="x", mode="r", options=cs.Options(cache=cache)) for _ in range(2)
    ]
    assert np.array_equal(handles[0][2:11, 3:9], values[2:11, 3:9])
    store.forget()
    for handle in handles:
        assert np.array_equal(handle[2:11, 3:9], values[2:11, 3:9])
        assert np.array_equal(handle[5, [3, 8, 4]], values[5, [3, 8, 4]])
    assert store.record == []
    info = cache.info()
    assert info.hits > 0
    assert info.n_bytes == info.n_chunks * 16 * 8


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("local", [False, True])
def test_never_behind_a_write(tmp_path: Path, layout: dict[str, Any], local: bool) -> None:
    """Writes, resizes, deletions and replaced arrays show at once, whoever made them."""
    store = cs.LocalStore(tmp_path) if local else cs.MemoryStore()
    root = cs.create_group(store)
    writer = root.create_array("x", data=np.zeros((16, 16), "i4") + 1, **layout)
    options = cs.Options(cache=ChunkCache(1 << 20))
    reader = cs.open_array(store, path="x", mode="r+", options=options)
    assert reader[0, 0] == 1
    writer[0, 0] = 2
    assert reader[0, 0] == 2
    reader[0:8, 0:8] = 3
    assert reader[0, 0] == 3
    assert reader[15, 15] == 1
    writer.resize((4, 4))
    writer.resize((16, 16))
    reader.refresh()
    assert reader[15, 15] == 0
    root.create_array("x", data=np.zeros((16, 16), "i4") + 9, overwrite=True, **layout)
    assert reader[0, 0] == 9
    del root["x"]
    root.create_array("x", shape=(16, 16), dtype="i4", **layout)
    assert reader[0, 0] == 0


def test_readers_and_a_writer_at_once() -> None:
    """A reader that overlaps a write may see either value; after it, only the new one."""
    a = cs.create_array(
        cs.MemoryStore(), data=np.zeros(8, "i8"), chunks=(8,), options=cs.Options(
            cache=ChunkCache(1 << 16), n_threads=1
        ),
    )  # fmt: skip
    done = [0]

    def work(who: int) -> None:
        for i in range(1, 400):
            if who == 0:
                a[...] = np.full(8, i)
                done[0] = i
                assert a[0] == i
            else:
                at_least = done[0]
                values = a[...]
                assert len(set(values.tolist())) == 1
                assert values[0] >= at_least

    run_in_threads(work, range(3), n_threads=3)


def test_stays_within_its_bytes() -> None:
    """The cache holds no more than its bytes, forgets the oldest, and keeps nothing larger."""
    cache = ChunkCache(1000)
    a = cs.create_array(
        cs.MemoryStore(), data=np.arange(1000, dtype="u1"), chunks=(100,),
        options=cs.Options(cache=cache, n_threads=1),
    )  # fmt: skip
    big = cs.create_array(
        cs.MemoryStore(), data=np.arange(1001) % 7, chunks=(1001,), options=cs.Options(cache=cache)
    )
    assert np.array_equal(big[...], np.arange(1001) % 7)
    assert cache.info().n_chunks == 0
    for i in range(0, 1000, 100):
        assert a[i] == i % 256
    assert cache.info().n_bytes == 1000
    cache.put("new", state_of("new"), np.zeros(150, "u1"))
    assert cache.info().n_bytes == 950
    hits = cache.info().hits
    assert (a[0], a[999]) == (0, 999 % 256)
    assert cache.info().hits == hits + 1
    cache.clear()
    assert cache.info().n_bytes == cache.info().n_chunks == 0


def test_results_are_the_callers(tmp_path: Path) -> None:
    """Changing what was read changes nothing that is kept."""
    a = cs.create_array(
        tmp_path, data=np.arange(6), chunks=(6,), options=cs.Options(cache=ChunkCache(1000))
    )
    first = a[...]
    first[:] = -1
    a[...][0] = 5
    assert a[...].tolist() == list(range(6))


def test_pickle_shares_one_in_each_process(tmp_path: Path) -> None:
    """Handles that shared a cache share one where they arrive; it starts empty."""
    options = cs.Options(cache=ChunkCache(1000))
    a = cs.create_array(tmp_path, data=np.arange(6), options=options)
    one, other = pickle.loads(pickle.dumps(a)), pickle.loads(pickle.dumps(a))
    assert one.options.cache is other.options.cache
    assert one.options.cache.info().n_chunks == 0
    assert one[...].tolist() == list(range(6))


@pytest.mark.parametrize("max_bytes", [0, -1, 1.5, True, "1MB"])
def test_bad_sizes(max_bytes: Any) -> None:
    """A size that cannot be meant is refused, and so is another object for a cache."""
    with pytest.raises(InvalidArgumentError, match="max_bytes"):
        ChunkCache(max_bytes)
    with pytest.raises(InvalidArgumentError, match="ChunkCache"):
        cs.Options(cache=max_bytes)


def test_never_behind_a_write_by_another_way(tmp_path: Path) -> None:
    """A write shows at once also if the writer opened the array from another folder above it."""
    cs.create_group(tmp_path).create_array("g/x", data=[1, 2, 3])
    options = cs.Options(cache=ChunkCache(1 << 20))
    reader = cs.open_array(tmp_path, path="g/x", mode="r", options=options)
    assert reader[...].tolist() == [1, 2, 3]
    cs.open_array(tmp_path / "g" / "x", mode="r+")[0] = 7
    assert reader[...].tolist() == [7, 2, 3]


FORK = """
import os, sys, threading, time
import chunkstore as cs

cache = cs.ChunkCache(1 << 20)
x = cs.open_array(sys.argv[1], mode="r", options=cs.Options(cache=cache))
assert x[0] == 1
# At the moment of the fork another thread is at work in the cache; the child has no such thread.
threading.Thread(target=lambda: [cache.info() for _ in range(200_000)]).start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        os._exit(0 if x[0] == 1 and cache.info().hits == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_uses_the_cache(tmp_path: Path) -> None:
    """A process forked while another thread uses a cache has what was kept, and is not stuck."""
    cs.create_array(tmp_path, data=[1, 2, 3])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, tmp_path],
        capture_output=True, text=True, timeout=30, cwd=CHECKOUT, check=True,
    )  # fmt: skip
    assert done.stdout == "done\n"
