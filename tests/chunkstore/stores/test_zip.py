"""A zip file as a store: whole or absent, read in parts by many threads, damage found."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError, ReadOnlyError, StoreError
from chunkstore.stores.zip import ZipStore
from chunkstore.types import ByteRange
from chunkstore.workers import run_in_threads

CHECKOUT = Path(__file__).parents[3]
VALUES = {"zarr.json": b"{}", "a/zarr.json": b"{ }", "a/c/0": bytes(range(256)) * 40}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give a zip file with three values."""
    with ZipStore(tmp_path / "x.zip", mode="w") as store:
        for key, value in VALUES.items():
            store.set(key, value)
    return tmp_path / "x.zip"


def zipped(path: Path, *, compression: int) -> Path:
    """Write a zip file as another program would, with folders and names that lead out of it."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("a/", b"")
        archive.writestr("../outside", b"secret")
        for key, value in VALUES.items():
            archive.writestr(key, value)
    return path


# --- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "compression",
    [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA],
)
@pytest.mark.parametrize("as_object", [False, True])
def test_reads_what_others_wrote(tmp_path: Path, compression: int, as_object: bool) -> None:
    """Every compression is read, whole and in parts, from a path and from a file object."""
    path = zipped(tmp_path / "x.zip", compression=compression)
    file = io.BytesIO(path.read_bytes()) if as_object else path
    with ZipStore(file) as store:
        assert {key: store.get(key) for key in store.list_prefix()} == VALUES
        assert store.size("a/c/0") == 10240
        assert store.get_ranges("a/c/0", [ByteRange(3, 4), ByteRange(-2)]) == [
            b"\x03\x04\x05\x06",
            b"\xfe\xff",
        ]
        assert store.list_dir("") == (("zarr.json",), ("a/",))


@pytest.mark.parametrize("as_object", [False, True])
def test_threads_read_at_once(file: Path, as_object: bool) -> None:
    """Many threads that read different entries and parts each get their own bytes."""
    with ZipStore(io.BytesIO(file.read_bytes()) if as_object else file) as store:

        def read(i: int) -> None:
            assert store.get("a/c/0") == VALUES["a/c/0"]
            expected = VALUES["a/c/0"][i * 10 : i * 10 + 100]
            assert store.get_ranges("a/c/0", [ByteRange(i * 10, 100)]) == [expected]

        run_in_threads(read, range(400), n_threads=6)


def test_read_only(file: Path) -> None:
    """A zip file that is read cannot be changed, and the error says how to write one."""
    with ZipStore(file) as store, pytest.raises(ReadOnlyError, match=r"ZipStore.*mode='w'"):
        store.set("b", b"1")


def test_append_is_refused(file: Path) -> None:
    """There is no mode that changes a zip file in place, and the file stays as it is."""
    before = file.read_bytes()
    with pytest.raises(InvalidArgumentError, match="cannot be changed"):
        ZipStore(file, mode="a")  # type: ignore[arg-type]
    assert file.read_bytes() == before


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damage_is_found(tmp_path: Path, compression: int) -> None:
    """A changed bit of a value is an error that names the key, never another value."""
    path = zipped(tmp_path / "x.zip", compression=compression)
    raw = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("a/c/0")
    raw[entry.header_offset + 30 + len("a/c/0") + entry.compress_size // 2] ^= 1
    path.write_bytes(raw)
    with ZipStore(path) as store:
        with pytest.raises(StoreError, match="cannot read 'a/c/0' in ZipStore"):
            store.get("a/c/0")
        assert store.get("zarr.json") == b"{}"


def test_entry_that_expands_further_than_it_says(tmp_path: Path) -> None:
    """An entry is not expanded beyond the length that the directory gives."""
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(1 << 20))
    raw = bytearray(path.read_bytes())
    at = raw.rindex(b"PK\x01\x02") + 24
    raw[at : at + 4] = struct.pack("<I", 10)
    path.write_bytes(raw)
    with ZipStore(path) as store, pytest.raises(StoreError, match="damaged"):
        store.get("a")


@pytest.mark.parametrize("content", [b"", b"no zip file at all", VALUES["a/c/0"]])
def test_no_zip_file(tmp_path: Path, content: bytes) -> None:
    """What is no zip file, or is not there, is an error when the store is made."""
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(StoreError, match=r"cannot open ZipStore.*zip"):
        ZipStore(tmp_path / "x.zip")
    with pytest.raises(StoreError, match="No such file"):
        ZipStore(tmp_path / "y.zip")


def test_a_replaced_file_is_read_to_the_end(file: Path) -> None:
    """A store reads the file that it opened, also when another takes its name."""
    with ZipStore(file) as old:
        with ZipStore(file, mode="w") as new:
            new.set("zarr.json", b"new")
        assert old.get("zarr.json") == b"{}"
        with ZipStore(file) as again:
            assert again.get("zarr.json") == b"new"


def test_pickle(file: Path, tmp_path: Path) -> None:
    """A store that reads a path travels, and opens the file when first used; others refuse."""
    with ZipStore(file) as store:
        travelled = pickle.loads(pickle.dumps(store))
        assert travelled == store
        assert hash(travelled) == hash(store)
        assert travelled.get("a/c/0") == VALUES["a/c/0"]
        travelled.close()
        sent = pickle.dumps(store)
    others = (
        ZipStore(tmp_path / "y.zip", mode="w"),
        ZipStore(io.BytesIO(file.read_bytes())),
    )
    for other in others:
        with other, pytest.raises(InvalidArgumentError, match="process"):
            pickle.dumps(other)
    file.unlink()
    late = pickle.loads(sent)
    with pytest.raises(StoreError, match="No such file"):
        late.get("zarr.json")


# --- writing -------------------------------------------------------------------------------------


def test_written_file_is_a_plain_zip(file: Path) -> None:
    """Any program reads the file; each value is stored as it is, once."""
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert {i.filename: archive.read(i) for i in archive.infolist()} == VALUES
        assert {i.compress_type for i in archive.infolist()} == {zipfile.ZIP_STORED}


def test_replaced_and_deleted_values(tmp_path: Path) -> None:
    """The last value of a key counts, a deleted one has no entry, and no name is there twice."""
    with ZipStore(tmp_path / "x.zip", mode="w") as store:
        for value in (b"1", b"22", b"333"):
            store.set("a", value)
            assert store.get("a") == value
            store.set("b", value)
        store.delete("b")
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert archive.namelist() == ["a"]
        assert archive.read("a") == b"333"


def test_nothing_appears_before_the_end(tmp_path: Path) -> None:
    """Until the store is closed no file has the name, and after an exception none ever has."""
    path = tmp_path / "x.zip"
    store = ZipStore(path, mode="w")
    store.set("a", b"1")
    assert not path.exists()
    with pytest.raises(ZeroDivisionError), store:
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match="closed"):
        store.get("a")
    with pytest.raises(StoreError, match="closed"):
        store.set("a", b"1")


def test_exclusive_mode(tmp_path: Path) -> None:
    """Mode x refuses to replace a file, also one that came while it was writing."""
    path = tmp_path / "x.zip"
    store = ZipStore(path, mode="x")
    store.set("a", b"mine")
    path.write_bytes(b"theirs")
    with pytest.raises(StoreError, match="exists"):
        store.close()
    assert path.read_bytes() == b"theirs"
    with pytest.raises(StoreError, match="is there"):
        ZipStore(path, mode="x")
    assert list(tmp_path.iterdir()) == [path]


def test_forgotten_store(tmp_path: Path) -> None:
    """A store that nobody closed leaves no file, and says so."""
    stores = [ZipStore(tmp_path / "x.zip", mode="w")]
    stores[0].set("a", b"1")
    with pytest.warns(ResourceWarning, match="never closed"):
        stores.clear()
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from chunkstore.stores.zip import ZipStore
store = ZipStore(sys.argv[1], mode="w")
store.set("a", b"new")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_writer(file: Path) -> None:
    """A writer that is killed leaves the file of that name as it was."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(file)], cwd=CHECKOUT, check=False)
    assert done.returncode == -9
    with ZipStore(file) as store:
        assert store.get("zarr.json") == b"{}"
        assert store.get("a") is None
    assert cs.LocalStore(file.parent).list_dir("").keys == ("x.zip",)


def test_threads_write_at_once(tmp_path: Path) -> None:
    """Values set by several threads are all in the file."""
    with ZipStore(tmp_path / "x.zip", mode="w") as store:
        threads = [
            threading.Thread(
                target=lambda i=i: [store.set(f"{i}/{j}", bytes([i, j]) * 50) for j in range(40)]
            )
            for i in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with ZipStore(tmp_path / "x.zip") as store:
        assert len(list(store.list_prefix())) == 160
        assert all(store.get(f"{i}/{j}") == bytes([i, j]) * 50 for i in range(4) for j in range(40))


# --- arrays --------------------------------------------------------------------------------------


FORK = """
import os, sys
from chunkstore import ZipStore
from chunkstore.errors import StoreError

store = ZipStore(open(sys.argv[1], "rb") if sys.argv[2] == "object" else sys.argv[1])
expected = store.get("a/c/0")
child = os.fork()
if child == 0:
    try:
        os._exit(0 if store.get("a/c/0") == expected else 1)
    except StoreError as error:
        os._exit(2 if "forked from" in str(error) else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize(("kind", "code"), [("path", 0), ("object", 2)])
def test_forked_child(file: Path, kind: str, code: int) -> None:
    """A forked process reads a zip file by its path; a file object is its parent's, and refused."""
    command = [sys.executable, "-c", FORK, str(file), kind]
    assert subprocess.run(command, cwd=CHECKOUT, check=False, timeout=30).returncode == code


def test_arrays(tmp_path: Path) -> None:
    """Arrays, sharded ones too, are written to a zip file and read back from its path."""
    path = tmp_path / "x.zip"
    values = np.arange(1000.0).reshape(50, 20)
    with ZipStore(path, mode="w") as store:
        root = cs.create_group(store)
        root.create_array("plain", data=values, chunks=(7, 5))
        sharded = root.create_array(
            "sharded", shape=(50, 20), dtype="f8", chunks=(5, 5), shards=(10, 10)
        )
        sharded[...] = values
        sharded[3:12, 4] = -1  # A part of a shard: read, merged and written again.
    expected = values.copy()
    expected[3:12, 4] = -1
    group = cs.open_group(path, mode="r")
    assert np.array_equal(group["plain"][...], values)
    assert np.array_equal(group["sharded"][3:20, 4:9], expected[3:20, 4:9])
    assert sorted(group.keys()) == ["plain", "sharded"]
    group.store.close()
    with pytest.raises(InvalidArgumentError, match="ZipStore"):
        cs.create_array(tmp_path / "new.zip", shape=3, dtype="i4")
    assert os.listdir(tmp_path) == ["x.zip"]
