"""Remote stores between a client and a service in trouble: right, or a clear error."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import (
    ConflictError,
    InvalidArgumentError,
    NodeNotFoundError,
    ReadOnlyError,
    StoreError,
)
from chunkstore.types import ByteRange
from tests.proxies import Asked, Once, Proxy, WebServer
from tests.services import Service, azure, s3

pytest.importorskip("obstore")

from chunkstore.stores import conditional, leases
from chunkstore.stores.fsspec import FsspecStore
from chunkstore.stores.obstore import ObjectStore

__all__ = ["azure", "s3"]

CHECKOUT = Path(__file__).parents[2]
QUICK = {"max_retries": 3}


@pytest.fixture(scope="session")
def proxy(s3: Service) -> Iterator[Proxy]:
    """Run a proxy before the S3 service."""
    with Proxy(s3.endpoint) as proxy:
        yield proxy


@pytest.fixture
def store(s3: Service, proxy: Proxy) -> Iterator[ObjectStore]:
    """Give an empty store behind the proxy."""
    yield ObjectStore(s3.make_url(), storage_options=s3.through(proxy, retry_config=QUICK))
    proxy.fault = lambda asked: None


# --- how many requests ---------------------------------------------------------------------------


def test_requests_are_counted(store: ObjectStore, proxy: Proxy) -> None:
    """Opening takes one request, one chunk another, part of a shard its index and its ranges."""
    values = np.arange(64 * 64, dtype="i4").reshape(64, 64)
    cs.create_array(store, name="x", data=values, chunks=(16, 16), compressors=None)
    big = np.random.default_rng(0).integers(0, 1 << 30, (1024, 1024), "i4")
    layout = {"chunks": (64, 1024), "shards": (1024, 1024), "compressors": None}
    cs.create_array(store, name="s", data=big, **layout)
    proxy.forget()
    x = cs.open_array(store, path="x", mode="r")
    assert [asked.method for asked in proxy.requests] == ["GET"]
    proxy.forget()
    assert np.array_equal(x[:16, :16], values[:16, :16])
    assert [asked.method for asked in proxy.requests] == ["GET"]
    proxy.forget()
    assert np.array_equal(x[...], values)
    assert len(proxy.requests) == 16
    s = cs.open_array(store, path="s", mode="r")
    for selection, n_ranges in (
        (np.s_[64:128], 1),
        (np.s_[10:200], 1),  # Neighbours are fetched together.
        (np.s_[::900], 2),  # Inner chunks that lie far apart are not.
    ):
        proxy.forget()
        assert np.array_equal(s[selection], big[selection])
        assert [asked.method for asked in proxy.requests] == ["GET"] * (1 + n_ranges)
        assert all(asked.range for asked in proxy.requests)
        # The end of the shard, where its index is.
        assert proxy.requests[0].range.startswith("bytes=-")


def test_deletion_takes_few_requests(store: ObjectStore, proxy: Proxy) -> None:
    """An array is replaced with as many requests for ten chunks as for none, but for writing."""
    counts = []
    for n in (1, 10):
        layout = {"data": np.ones(n), "chunks": 1, "overwrite": True}
        cs.create_array(store, name="x", **layout)
        proxy.forget()
        cs.create_array(store, name="x", **layout)
        counts.append(len(proxy.requests) - n)
    assert counts[0] == counts[1]


# --- faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["503", "500", "429", "reset", "truncate", "slow"])
def test_a_read_through_faults_is_right(store: ObjectStore, proxy: Proxy, kind: str) -> None:
    """Single failures of any kind are tried again, and what is read is right."""
    values = np.random.default_rng(1).integers(0, 100, (256, 64), "i4")
    a = cs.create_array(store, name="x", data=values, chunks=(64, 64), shards=(128, 64))
    proxy.fault = Once(kind, lambda asked: asked.method == "GET", n=3)
    assert np.array_equal(a[...], values)
    proxy.fault = Once(kind, lambda asked: asked.method == "GET", n=2)
    assert np.array_equal(a[100:150, 3:5], values[100:150, 3:5])


@pytest.mark.parametrize("kind", ["503", "reset", "truncate"])
def test_lasting_trouble_is_an_error(store: ObjectStore, proxy: Proxy, kind: str) -> None:
    """A service that does not recover is a StoreError with the key, never a fill value."""
    a = cs.create_array(store, name="x", data=np.ones((4, 4)), chunks=(4, 4))
    proxy.fault = lambda asked: kind if "/c/" in asked.path else None
    with pytest.raises(StoreError, match=r"'x/c/0/0' in ObjectStore\('s3://bucket/") as error:
        a[...]
    assert error.value.key == "x/c/0/0"
    assert "very-secret" not in str(error.value)
    proxy.fault = lambda asked: "403"
    for ask in (
        lambda: a[...],
        lambda: cs.open_array(store, path="x", mode="r"),
        lambda: a.nchunks_initialized,
        lambda: store.exists("x/c/0/0"),
    ):
        with pytest.raises(StoreError, match=r"ermission|403"):
            ask()


@pytest.mark.parametrize("kind", ["503", "reset", "lost"])
def test_updates_through_faults(store: ObjectStore, proxy: Proxy, kind: str) -> None:
    """An update counts once, also if the answer to its write is lost."""
    store.set("n", b"0")
    store.update("n", lambda stored: stored)
    proxy.fault = Once(kind, lambda asked: asked.method == "PUT", n=2)
    for _ in range(3):
        store.update("n", lambda stored: str(int(stored or b"0") + 1).encode())
    assert store.get("n") == b"3"


def test_a_lost_answer_to_an_append(store: ObjectStore, proxy: Proxy) -> None:
    """Rows are there once, whichever answer of an append was lost."""
    a = cs.create_array(store, name="x", shape=(0,), dtype="i4", chunks=(4,))
    store.has_conditions()
    for i, part in enumerate(("/c/", "zarr.json", "lock")):
        proxy.fault = Once("lost", lambda asked, p=part: asked.method == "PUT" and p in asked.path)
        a.append([i] * 3)
    assert a[...].tolist() == [0] * 3 + [1] * 3 + [2] * 3


def test_a_lost_answer_and_another_writer(store: ObjectStore, proxy: Proxy, s3: Service) -> None:
    """An append whose answer is lost counts once, also if attributes are set before it is known."""
    a = cs.create_array(store, name="x", shape=(0,), dtype="i4", chunks=(4,))
    store.has_conditions()
    other = ObjectStore(store.spec()[0], storage_options=s3.options)
    lose = Once("lost", lambda asked: asked.method == "PUT" and "zarr.json" in asked.path)
    lost: list[str] = []

    def fault(asked: Asked) -> str | None:
        if lost:
            lost.clear()
            # Between the lost answer and the next try; without the locks of this process.
            document = json.loads(other.get("x/zarr.json") or b"")
            other.set("x/zarr.json", json.dumps({**document, "attributes": {"n": 1}}).encode())
        kind = lose(asked)
        lost.extend([] if kind is None else [kind])
        return kind

    proxy.fault = fault
    a.append([1, 2, 3])
    assert a[...].tolist() == [1, 2, 3]
    assert cs.open_array(store, path="x").attrs["n"] == 1


def test_a_shard_replaced_while_it_is_read(store: ObjectStore, proxy: Proxy, s3: Service) -> None:
    """A read gives one version of a shard: when it is replaced, the read starts again."""
    layout = {"chunks": (1024,), "shards": (4096,), "compressors": None}
    old, new = np.zeros(4096, "i4") + 1, np.arange(4096, dtype="i4") * 7 + 1
    a = cs.create_array(store, name="x", data=old, **layout)
    direct = cs.open_array(
        ObjectStore(store.spec()[0], storage_options=s3.options), path="x", mode="r+"
    )
    seen: list[Asked] = []

    def replace(asked: Asked) -> None:
        seen.append(asked)
        if len(seen) == 2:
            direct[...] = new  # Between the index and the data.

    proxy.fault = replace
    read = a[1000:1100]
    assert np.array_equal(read, new[1000:1100])
    assert len(seen) >= 3
    proxy.fault = lambda asked: None
    opened = store.open_value("x/c/0", ByteRange(-20))
    assert opened is not None
    direct.store.delete("x/c/0")
    with pytest.raises(ConflictError, match="was replaced while"):
        opened.read(ByteRange(0, 10))


# --- wrong places and credentials ----------------------------------------------------------------


def test_missing_bucket(s3: Service) -> None:
    """A bucket that is not there is an error, not an empty store."""
    store = ObjectStore("s3://no-such-bucket/x", storage_options=s3.options)
    for ask in (
        lambda: store.get("a"),
        lambda: store.open_value("a", ByteRange(0, 1)),
        lambda: store.set("a", b"1"),
        lambda: store.list_dir(""),
        lambda: cs.open(store, mode="r"),
    ):
        with pytest.raises(StoreError, match="NoSuchBucket"):
            ask()


def test_wrong_credentials(azure: Service) -> None:
    """A key that the service refuses is an error that does not show it."""
    secret = "d3Jvbmcta2V5LXdyb25nLWtleQ=="
    options = {**azure.options, "account_key": secret}
    url = azure.make_url()
    store = ObjectStore(url, storage_options=options)
    for ask in (lambda: store.get("a"), lambda: store.set("a", b"1"), lambda: store.list_dir("")):
        with pytest.raises(StoreError) as error:
            ask()
        assert secret not in str(error.value)
        assert secret not in str(error.value.__cause__)
    assert secret not in repr(store)


def test_credentials_in_urls_stay_hidden() -> None:
    """Neither the text of a store nor its errors show what a URL holds of secrets."""
    url = "http://user:pass-word@127.0.0.1:9/x?sig=signed-secret"
    store = ObjectStore(url, storage_options={"retry_config": {"max_retries": 0}})
    with pytest.raises(StoreError) as error:
        store.get("a")
    for text in (repr(store), str(error.value), str(error.value.__cause__)):
        assert "pass-word" not in text
        assert "signed-secret" not in text


def test_unknown_options_are_refused(s3: Service) -> None:
    """A misspelt option is an error that names it, when the store is first used."""
    store = ObjectStore("s3://bucket/x", storage_options={"acess_key": "abcdef"})
    with pytest.raises(InvalidArgumentError, match="acess_key"):
        store.get("a")
    with pytest.raises(InvalidArgumentError, match="twice"):
        ObjectStore("s3://bucket/x", storage_options={"key": "a", "access_key_id": "b"})


def test_pickle_holds_the_spec_alone(store: ObjectStore) -> None:
    """A pickled array is small, opens without a request, and shares the client of the process."""
    a = cs.create_array(store, name="x", data=np.arange(10))
    sent = pickle.dumps(a)
    assert len(sent) < 3000
    assert np.array_equal(pickle.loads(sent)[...], np.arange(10))
    assert pickle.loads(pickle.dumps(store))._service() is store._service()


FORK = """
import os, sys, json
import chunkstore as cs
from chunkstore.errors import StoreError

x = cs.open_array(sys.argv[1], mode="r", storage_options=json.loads(sys.argv[2]))
assert x[0] == 0
child = os.fork()
if child == 0:
    try:
        os._exit(0 if x[1] == 1 else 1)
    except StoreError as error:
        os._exit(2 if "Start workers by spawn or forkserver" in str(error) else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_is_told(s3: Service) -> None:
    """A process forked from one that used an object store gets an error in words, and no hang."""
    url = s3.make_url()
    cs.create_array(url, data=np.arange(10), storage_options=s3.options)
    command = [sys.executable, "-W", "ignore", "-c", FORK, url, json.dumps(s3.options)]
    assert subprocess.run(command, cwd=CHECKOUT, check=False, timeout=60).returncode == 2


# --- several processes ---------------------------------------------------------------------------

APPEND = """
import sys, json
import chunkstore as cs

url, options, me = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
a = cs.open_array(url, path="x", mode="r+", storage_options=options)
sys.stdin.readline()
for i in range(8):
    a.append([me * 100 + i] * 3)
    a.attrs[f"{me}-{i}"] = True
    a.store.update("n", lambda stored: str(int(stored or b"0") + 1).encode())
"""


def test_processes_append_and_update(store: ObjectStore, s3: Service) -> None:
    """Appends, attributes and updates of several processes on one service are all kept."""
    direct = ObjectStore(store.spec()[0], storage_options=s3.options)
    cs.create_array(direct, name="x", shape=(0,), dtype="i4", chunks=(7,), fill_value=-1)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", APPEND, store.spec()[0], json.dumps(s3.options), str(me)],
            stdin=subprocess.PIPE,
            cwd=CHECKOUT,
        )
        for me in range(3)
    ]
    for worker in workers:
        worker.communicate(b"go\n", timeout=60)
        assert worker.returncode == 0
    a = cs.open_array(direct, path="x", mode="r")
    expected = [value for me in range(3) for i in range(8) for value in [me * 100 + i] * 3]
    assert sorted(a[...].tolist()) == sorted(expected)
    assert set(a.attrs) == {f"{me}-{i}" for me in range(3) for i in range(8)}
    assert direct.get("n") == b"24"
    assert "__chunkstore" not in "".join(direct.list_prefix())


def test_a_dead_holder_is_succeeded(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock whose holder died is free when its lease has run out; the holder, back, is refused."""
    monkeypatch.setattr(leases, "LEASE_S", 0.5)
    dead, alive = store, pickle.loads(pickle.dumps(store))
    held = dead.lock("node", "x")
    # Entered by hand and kept: as a process that was suspended would.
    monkeypatch.setattr(conditional, "thread_lock", lambda *args: _NoLock())
    held.__enter__()
    dead.set("x/a", b"1")
    with alive.lock("node", "x"):
        alive.set("x/a", b"2")
        with pytest.raises(ConflictError, match="was not renewed in time"):
            dead.set("x/a", b"3")
        assert alive.get("x/a") == b"2"
        held.__exit__(None, None, None)
        alive.set("x/a", b"4")
    assert alive.get("x/a") == b"4"


class _NoLock:
    def __enter__(self) -> None: ...

    def __exit__(self, *exception: object) -> None: ...


def test_a_lease_is_renewed(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who goes on working keeps the lock longer than one lease."""
    monkeypatch.setattr(leases, "LEASE_S", 0.4)
    with store.lock("node", "x"):
        for i in range(10):
            time.sleep(0.1)
            store.set("x/a", str(i).encode())


def test_without_conditions_appending_is_refused(
    store: ObjectStore, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a service that ignores conditions nothing is appended, unless no one else writes."""
    a = cs.create_array(store, name="x", shape=(0,), dtype="i4", chunks=(4,))
    monkeypatch.setattr(ObjectStore, "has_conditions", lambda self: False)
    with pytest.raises(StoreError, match="single_writer=True"):
        a.append([1])
    url, arguments = store.spec()
    alone = ObjectStore(url, **{**arguments, "single_writer": True})
    cs.open_array(alone, path="x", mode="r+").append([1])
    with pytest.raises(StoreError, match="single_writer=True"):
        FsspecStore("file:///nowhere").lock("node", "x")
    assert cs.open_array(store, path="x", mode="r")[...].tolist() == [1]


# --- web servers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("has_ranges", [True, False])
@pytest.mark.parametrize("has_etags", [True, False])
@pytest.mark.parametrize("library", ["obstore", "fsspec"])
def test_web_server(tmp_path: Path, library: str, has_etags: bool, has_ranges: bool) -> None:
    """A plain web server is read through either library, with or without ETags and ranges."""
    values = np.arange(4096, dtype="i4").reshape(64, 64)
    root = cs.create_group(tmp_path / "data.zarr")
    root.create_array("x", data=values, chunks=(8, 8), shards=(32, 32), compressors=None)
    root.create_array("empty", shape=4, dtype="i4")
    cs.consolidate_metadata(tmp_path / "data.zarr")
    if library == "fsspec":
        pytest.importorskip("aiohttp")
    with WebServer(tmp_path, has_etags=has_etags, has_ranges=has_ranges) as server:
        url = f"{server.url}/data.zarr"
        store: Any = ObjectStore(url) if library == "obstore" else FsspecStore(url, read_only=True)
        group = cs.open_group(store, mode="r")
        assert sorted(group.keys()) == ["empty", "x"]
        assert np.array_equal(group["x"][...], values)
        assert np.array_equal(group["x"][3:20, 40:41], values[3:20, 40:41])
        assert group["empty"][...].tolist() == [0] * 4
        with pytest.raises((NodeNotFoundError, KeyError)):
            cs.open_array(store, path="no", mode="r")
        with pytest.raises(StoreError, match="does not say what it holds"):
            store.list_dir("")
        with pytest.raises(ReadOnlyError):
            store.set("a", b"1")


def test_a_zip_file_on_a_web_server(tmp_path: Path) -> None:
    """A zip file is read through a remote file object, of which a chunk takes a part."""
    fsspec, _ = pytest.importorskip("fsspec"), pytest.importorskip("aiohttp")
    values = np.random.default_rng(2).integers(0, 1 << 30, (64, 4096), "i4")
    with cs.ZipStore(tmp_path / "data.zip", mode="w") as target:
        cs.create_array(target, data=values, chunks=(1, 4096), compressors=None)
    with WebServer(tmp_path) as server:
        opener = fsspec.open(f"{server.url}/data.zip", "rb", block_size=1 << 15)
        with opener as file, cs.ZipStore(file) as store:
            x = cs.open_array(store, mode="r")
            assert np.array_equal(x[17], values[17])
            assert len(server.requests) < 8
            assert all(span for method, _, span in server.requests if method == "GET")
            assert np.array_equal(x[...], values)
