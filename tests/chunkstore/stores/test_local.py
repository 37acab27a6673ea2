"""A folder as a store: what is beside the values, what fails, and what a failure leaves."""

from __future__ import annotations

import errno
import fcntl
import os
import pickle
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chunkstore import LocalStore
from chunkstore.errors import InvalidArgumentError, StoreError
from chunkstore.stores.zip import ZipStore
from chunkstore.types import ByteRange

NOBODY = 65534
CHECKOUT = Path(__file__).parents[3]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """Give a store in a folder."""
    return LocalStore(tmp_path / "store")


def files(store: LocalStore) -> list[str]:
    """List every file that is really there, by its path below the root."""
    root = Path(store.root)
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.fixture
def powerless() -> Iterator[LocalStore]:
    """Give a store, and take the privilege to ignore permissions away while a test uses it."""
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(f"{folder}/store")
        if os.geteuid() != 0:
            yield store
            return
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield store
        finally:
            os.seteuid(0)


# --- where it is ---------------------------------------------------------------------------------


def test_a_key_is_a_file(store: LocalStore) -> None:
    """The value of a key is the content of the file of that name, and nothing else is there."""
    store.set("a/b/c", b"1")
    store.set("zarr.json", b"{}")
    assert files(store) == ["a/b/c", "zarr.json"]
    assert (Path(store.root) / "a/b/c").read_bytes() == b"1"


def test_nothing_is_made_before_the_first_write(store: LocalStore) -> None:
    """Making and reading a store leave the disk as it was."""
    store.get("a")
    list(store.list_prefix())
    store.delete("a")
    store.delete_prefix("a/")
    store.delete_prefix("")
    assert not Path(store.root).exists()


def test_relative_path_is_kept_as_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store goes on meaning the same folder when the process changes its own."""
    monkeypatch.chdir(tmp_path)
    store = LocalStore("data")
    monkeypatch.chdir("/")
    store.set("a", b"1")
    assert (tmp_path / "data" / "a").read_bytes() == b"1"
    assert store == LocalStore(tmp_path / "data")


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tilde means the user's folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert LocalStore("~/data") == LocalStore(tmp_path / "data")


def test_a_file_is_no_root(tmp_path: Path) -> None:
    """A path that is a file is refused at once, by its name."""
    (tmp_path / "file").write_text("text")
    with pytest.raises(InvalidArgumentError, match=r"file' is a file; a LocalStore needs a folder"):
        LocalStore(tmp_path / "file")
    with pytest.raises(InvalidArgumentError, match="names no folder"):
        LocalStore("")


def test_modes_are_different_values(store: LocalStore) -> None:
    """Handles of different modes differ, but hash alike, so that they share their locks."""
    reader = LocalStore(store.root, read_only=True)
    assert reader != store
    assert hash(reader) == hash(store)
    assert pickle.loads(pickle.dumps(reader)).read_only


# --- what lies beside the values -----------------------------------------------------------------


def test_temporary_files_are_not_listed(store: LocalStore) -> None:
    """What a killed writer left behind is no key, and goes with the prefix it lies under."""
    store.set("a/b", b"1")
    leftover = Path(store.root) / "a" / "__chunkstore-1f-0123456789abcdef"
    leftover.write_bytes(b"half")
    (Path(store.root) / "__chunkstore-deleted-00").mkdir()
    assert store.list_dir("a/") == (("a/b",), ())
    assert list(store.list_prefix()) == ["a/b"]
    store.delete_prefix("a/")
    assert not leftover.exists()
    assert store.list_dir("") == ((), ())


def test_nothing_temporary_remains(store: LocalStore) -> None:
    """After writes, replacements and deletions only values are on the disk."""
    for i in range(3):
        store.set("a/b", bytes([i]))
        store.set(f"d/{i}", bytes([i]))
    store.update("a/b", lambda _: b"new")
    store.delete("d/0")
    store.delete_prefix("d/")
    assert files(store) == ["a/b"]


def test_a_failed_write_leaves_nothing(store: LocalStore) -> None:
    """A value that cannot be put in its place leaves neither itself nor a temporary file."""
    store.set("a/b", b"1")
    with pytest.raises(StoreError, match=r"cannot write 'a' in LocalStore"):
        store.set("a", b"2")
    with pytest.raises(TypeError):
        store.set("a/b", "text")  # type: ignore[arg-type]
    assert files(store) == ["a/b"]
    assert store.get("a/b") == b"1"


def test_deleting_follows_no_links(store: LocalStore, tmp_path: Path) -> None:
    """A prefix that is a link to another folder is forgotten; the folder stays as it is."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("data")
    store.set("a/b", b"1")
    (Path(store.root) / "a" / "link").symlink_to(outside)
    assert store.get("a/link/precious") == b"data"
    store.delete_prefix("a/link/")
    store.delete_prefix("a/")
    assert (outside / "precious").read_text() == "data"


def test_clearing_the_root_keeps_the_folder(store: LocalStore) -> None:
    """The root itself stays: it may be a mount point, or the caller's."""
    store.set("a/b", b"1")
    store.set("c", b"2")
    store.delete_prefix("")
    assert list(Path(store.root).iterdir()) == []


def test_mode_of_files_follows_the_umask(store: LocalStore) -> None:
    """Values are as readable for others as the user's umask says, not as a temporary file is."""
    before = os.umask(0o027)
    try:
        store.set("a", b"1")
    finally:
        os.umask(before)
    assert stat.S_IMODE((Path(store.root) / "a").stat().st_mode) == 0o640


# --- failures are never absence ------------------------------------------------------------------


def test_trouble_is_not_absence(store: LocalStore) -> None:
    """A file that cannot be opened is an error with the key, the store and the errno."""
    store.set("a", b"1")
    (Path(store.root) / "loop").symlink_to("loop")
    for ask in (store.get, store.size, store.exists, store.open_value):
        with pytest.raises(StoreError, match=r"cannot read 'loop' in LocalStore\(") as error:
            ask("loop")
        assert error.value.key == "loop"
        assert error.value.store == store
    with pytest.raises(StoreError, match="cannot list 'loop/'"):
        store.list_dir("loop/")


def test_errno_is_a_fact(store: LocalStore) -> None:
    """A program can tell a full disk from a missing permission by the errno."""
    store.set("a", b"1")
    (Path(store.root) / "loop").symlink_to("loop")
    with pytest.raises(StoreError) as error:
        store.get("loop")
    assert error.value.errno == errno.ELOOP


def test_forbidden_is_not_absent(powerless: LocalStore) -> None:
    """Values that may not be read or written are errors of permission, never missing values."""
    store = powerless
    store.set("a/b", b"1")
    folder = Path(store.root) / "a"
    folder.chmod(0o000)
    try:
        for ask in (store.get, store.size, store.open_value):
            with pytest.raises(StoreError, match="Permission denied"):
                ask("a/b")
        with pytest.raises(StoreError, match="cannot list"):
            list(store.list_prefix())
        folder.chmod(0o500)
        assert store.get("a/b") == b"1"
        for change in (
            lambda: store.set("a/b", b"2"),
            lambda: store.set("a/c", b"2"),
            lambda: store.delete("a/b"),
            lambda: store.update("a/b", lambda _: b"2"),
        ):
            with pytest.raises(StoreError, match="Permission denied"):
                change()
        assert store.get("a/b") == b"1"
    finally:
        folder.chmod(0o700)
    assert files(store) == ["a/b"]


def test_value_that_shrinks_while_it_is_open(store: LocalStore) -> None:
    """A file cut short by another program gives what is left, and no endless loop."""
    store.set("a", b"0123456789")
    opened = store.open_value("a")
    assert opened is not None
    with opened:
        os.truncate(Path(store.root) / "a", 4)
        assert bytes(opened.read(ByteRange(2, 6))) == b"23"


# --- several processes ---------------------------------------------------------------------------

FORK = """
import os, sys, threading, time
from chunkstore import LocalStore

store = LocalStore(sys.argv[1])
locked, done = threading.Event(), threading.Event()

def hold(stored):
    locked.set()
    done.wait()
    return b"parent"

thread = threading.Thread(target=store.update, args=("a", hold))
thread.start()
locked.wait()
child = os.fork()
if child == 0:
    # The locks are held by a thread that the child does not have, in files that it has open too.
    store.update("b", lambda stored: b"child")
    store.update("a", lambda stored: stored + b" child")
    os._exit(0)
time.sleep(0.3)
done.set()
thread.join()
print(os.waitpid(child, 0)[1], store.get("a").decode(), store.get("b").decode())
"""

COUNT = """
import sys
from chunkstore import LocalStore

store = LocalStore(sys.argv[1])
sys.stdin.readline()
for _ in range(50):
    store.update("n", lambda stored: str(int(stored or b"0") + 1).encode())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_is_not_locked_out(store: LocalStore) -> None:
    """A process forked while another thread updates a key can update the same key."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, store.root],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=CHECKOUT,
        check=True,
    )
    assert done.stdout.split() == ["0", "parent", "child", "child"]


def test_no_update_of_another_process_is_lost(store: LocalStore) -> None:
    """Updates of one key by several processes at once all count, and leave no lock behind."""
    counters = [
        subprocess.Popen(
            [sys.executable, "-c", COUNT, store.root], stdin=subprocess.PIPE, cwd=CHECKOUT
        )
        for _ in range(3)
    ]
    for counter in counters:
        assert counter.stdin is not None
        counter.stdin.write(b"go")
        counter.stdin.close()
    assert [counter.wait(60) for counter in counters] == [0, 0, 0]
    assert store.get("n") == b"150"
    assert files(store) == ["n"]


def test_writers_of_one_key_do_not_meet(store: LocalStore) -> None:
    """Many threads that replace one value leave one of their values, and no other file."""
    threads = [
        threading.Thread(target=lambda i=i: [store.set("a", bytes([i]) * 1000) for _ in range(20)])
        for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    value = store.get("a")
    assert value in {bytes([i]) * 1000 for i in range(4)}
    assert files(store) == ["a"]


def test_a_file_system_without_locks(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where files cannot be locked nothing is updated, unless no one else writes."""
    store.set("a", b"1")

    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(StoreError, match=r"no locks .*single_writer=True"):
        store.update("a", lambda _: b"2")
    assert store.get("a") == b"1"
    alone = LocalStore(store.root, single_writer=True)
    alone.update("a", lambda _: b"2")
    assert store.get("a") == b"2"
    assert pickle.loads(pickle.dumps(alone)).single_writer
    assert files(store) == ["a"]


# --- on the disk for good, and what is left behind -----------------------------------------------


def test_fsync_comes_before_the_name_and_after(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fsync a file is on the disk before it gets its name, and the name before set returns."""
    done: list[str] = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(handle: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        real_fsync(handle)

    def replace(source: str, target: str) -> None:
        done.append("replace")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    store.set("a/b", b"1")
    assert done == ["replace"]
    safe = LocalStore(store.root, fsync=True)
    done.clear()
    safe.set("a/c", b"1")
    # The folder, and those above it, which may be new.
    assert done[:3] == ["file", "replace", "folder"]
    assert set(done[3:]) == {"folder"}
    done.clear()
    safe.set("a/c", b"2")
    assert done == ["file", "replace", "folder"]
    for change in (
        lambda: safe.delete("a/c"),
        lambda: safe.delete_prefix("a/"),
    ):
        done.clear()
        change()
        assert "folder" in done
    assert pickle.loads(pickle.dumps(safe)).fsync
    assert safe != store
    assert hash(safe) == hash(store)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
def test_full_disk(tmp_path: Path) -> None:
    """On a full disk a write fails clearly, what was stored stays, and no leftover lists."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs here: {mounted.stderr.strip()}")
    try:
        store = LocalStore(tmp_path / "store")
        store.set("a", b"old")
        with pytest.raises(StoreError, match=r"cannot write 'a' .*No space left"):
            store.set("a", bytes(1 << 20))
        with pytest.raises(StoreError, match="No space left"):
            store.update("a", lambda _: bytes(1 << 20))
        assert store.get("a") == b"old"
        assert files(store) == ["a"]
        with (
            pytest.raises(StoreError, match="No space left"),
            ZipStore(tmp_path / "x.zip", mode="w") as zipped,
        ):
            zipped.set("a", bytes(1 << 20))
        assert [p.name for p in tmp_path.iterdir()] == ["store"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
