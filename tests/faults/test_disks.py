"""A disk that is full or cannot be written fails with words, and keeps what it had."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import ChunkStoreError, NodeNotFoundError, StoreError
from tests.faults.victims import files

NOBODY = 65534


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Give a disk of one megabyte, or skip where none can be mounted."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    with tempfile.TemporaryDirectory() as folder:
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


@pytest.fixture
def short_files(tmp_path: Path) -> Iterator[Path]:
    """Give a folder, and let no file grow beyond 100 kB while a test runs."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        yield tmp_path
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture(params=["small_disk", "short_files"])
def no_room(request: pytest.FixtureRequest) -> Path:
    """Give a folder in which a value of 2 MB finds no room, for either reason."""
    folder: Path = request.getfixturevalue(request.param)
    return folder


def test_value_without_room(no_room: Path) -> None:
    """A value that finds no room is an error; the old one and its neighbours stay."""
    store = cs.LocalStore(no_room)
    store.set("a", b"old")
    with pytest.raises(StoreError, match=r"cannot write 'a' in LocalStore\(.*(space|large)"):
        store.set("a", bytes(2_000_000))
    with pytest.raises(StoreError, match="cannot write 'b'"):
        store.update("b", lambda _: bytes(2_000_000))
    assert store.get("a") == b"old"
    assert files(no_room) == ["a"]
    store.set("a", b"new")
    assert store.get("a") == b"new"


@pytest.mark.parametrize("n_threads", [1, 3])
def test_chunks_without_room(n_threads: int, no_room: Path) -> None:
    """A write that runs out of room fails; each chunk is old or new, and nothing else is left."""
    array = cs.create_array(
        no_room, name="x", shape=(16, 50_000), chunks=(1, 50_000), dtype="i8", compressors=None,
        options=cs.Options(n_threads=n_threads),
    )  # fmt: skip
    with pytest.raises(StoreError, match="cannot write 'x/c/"):
        array[...] = 7
    found = array[...]
    assert set(np.unique(found)) <= {0, 7}
    assert (found == found[:, :1]).all()
    assert not [name for name in files(no_room) if "__" in name]


def test_array_with_data_without_room(no_room: Path) -> None:
    """An array whose data found no room does not open; with less data it can be made again."""
    with pytest.raises(StoreError):
        cs.create_array(no_room, name="x", data=np.arange(500_000), chunks=50_000, compressors=None)
    with pytest.raises(NodeNotFoundError, match="interrupted"):
        cs.open_array(no_room, path="x", mode="r")
    cs.create_array(no_room, name="x", data=np.arange(500), overwrite=True)
    assert cs.open_array(no_room, path="x")[-1] == 499


def test_attributes_without_room(no_room: Path) -> None:
    """Attributes that find no room leave the document as it was."""
    array = cs.create_array(no_room, name="x", shape=3, dtype="i4", attributes={"a": 1})
    with pytest.raises(StoreError):
        array.attrs["b"] = "x" * 2_000_000
    assert dict(cs.open_array(no_room, path="x").attrs) == {"a": 1}


@pytest.fixture
def locked_folder() -> Iterator[Path]:
    """Give a folder with an array, which the user of the test may read but not write."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cs.create_group(folder).create_array("x", data=np.arange(6), chunks=2)
        folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
        for path in folders:
            path.chmod(0o555)
        is_root = os.geteuid() == 0
        if is_root:
            # Root may write everything; another user's rights are borrowed for a while.
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            if is_root:
                os.seteuid(0)
            for path in folders:
                path.chmod(0o755)


def test_folder_that_may_only_be_read(locked_folder: Path) -> None:
    """An array in a folder that may not be written is read, and every change is refused."""
    before = files(locked_folder)
    array = cs.open_array(locked_folder, path="x", mode="r+")
    assert array[...].tolist() == [0, 1, 2, 3, 4, 5]
    root = cs.open_group(locked_folder, mode="r")
    assert list(root) == ["x"]
    root = cs.open_group(locked_folder, mode="r+")
    for change in (
        lambda: array.write(..., 1),
        lambda: array.write(0, 1),
        lambda: array.attrs.update(a=1),
        lambda: root.create_group("y"),
        lambda: root.create_array("x", shape=3, dtype="i4", overwrite=True),
        lambda: root.__delitem__("x"),
        lambda: cs.create_group(locked_folder, overwrite=True),
    ):
        with pytest.raises(ChunkStoreError, match="Permission denied"):
            change()
    assert files(locked_folder) == before
    assert array[...].tolist() == [0, 1, 2, 3, 4, 5]
