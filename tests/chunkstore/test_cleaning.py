"""What killed processes left is found and removed, and nothing that somebody works on is."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import chunkstore as cs
from chunkstore import cleaning, cli
from chunkstore.errors import InvalidArgumentError, ReadOnlyError
from chunkstore.stores.temporary import temporary_name
from tests.faults.victims import files

CHECKOUT = Path(__file__).parents[2]
DAY = 86_400.0


@pytest.fixture
def dead() -> str:
    """Give the name that a process which is gone had for its work."""
    code = "import chunkstore.stores.temporary as t; print(t.temporary_name())"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=CHECKOUT)
    return done.stdout.strip()


def make_older(path: Path, by_s: float = 2 * DAY) -> None:
    """Set back the times of a file, or of a folder and all in it, as far as that can be done."""
    for one in (path, *path.rglob("*")):
        then = one.stat().st_mtime - by_s
        os.utime(one, (then, then))


@pytest.fixture
def no_ctime(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the time of the last change of an entry, which no program can set back."""
    monkeypatch.setattr(cleaning, "_changed", lambda status: status.st_mtime)


def test_what_the_dead_left(tmp_path: Path, dead: str) -> None:
    """Files, folders and locks of a process that is gone go, and what is listed stays as it was."""
    store = cs.LocalStore(tmp_path / "store")
    x = cs.create_array(store, name="x", data=np.arange(8), chunks=4)
    root = Path(store.root)
    before = files(root)
    (root / "x" / "c" / dead).write_bytes(b"half")
    (root / f"{dead[:-1]}0" / "c").mkdir(parents=True)
    (root / f"{dead[:-1]}0" / "c" / "0").write_bytes(b"deleted")
    (root / "x" / "__chunkstore-lock-node").write_bytes(b"")
    found = cs.clean(store)
    assert {(leftover.kind, leftover.path, leftover.n_bytes) for leftover in found} == {
        ("half-written value", f"x/c/{dead}", 4),
        ("deleted folder", f"{dead[:-1]}0", 7),
        ("lock", "x/__chunkstore-lock-node", 0),
    }
    assert all(leftover.can_go for leftover in found)
    assert len(files(root)) == len(before) + 3
    assert [gone[:2] for gone in cs.clean(store, dry_run=False)] == [f[:2] for f in found]
    assert files(root) == before
    assert cs.clean(store, dry_run=False) == []
    assert x[...].tolist() == list(range(8))


@pytest.mark.usefixtures("no_ctime")
def test_what_is_at_work_stays(tmp_path: Path) -> None:
    """What a running process writes is left alone, however old; of others, what is recent."""
    store = cs.LocalStore(tmp_path)
    mine, elsewhere = temporary_name(), "__chunkstore-00000000-1-000000000000"
    job = "__chunkstore-partial-3fa9-out.zarr"
    for name in (mine, elsewhere):
        (tmp_path / name).write_bytes(b"under way")
    (tmp_path / job).mkdir()
    with store.lock("node", "x"):
        found = {leftover.path: leftover for leftover in cs.clean(store)}
        assert len(found) == 4
        assert not any(leftover.can_go for leftover in found.values())
        assert cs.clean(store, dry_run=False) == []
        make_older(tmp_path)
        assert [leftover.path for leftover in cs.clean(store, dry_run=False)] == [elsewhere]
    assert (tmp_path / mine).exists()
    assert (tmp_path / job).exists()


@pytest.mark.usefixtures("no_ctime")
@pytest.mark.parametrize("path", ["x", ""])
def test_unfinished_arrays(tmp_path: Path, path: str) -> None:
    """An array that no job finished goes if that is asked for, and nobody has written for long."""
    x = cs.create_array(tmp_path, name=path, shape=8, chunks=4, dtype="i4", pending=True)
    x[...] = 1
    for pending in (False, True):
        (found,) = cs.clean(tmp_path, pending=pending, dry_run=False) or cs.clean(tmp_path)
        assert (found.kind, found.path, found.can_go) == ("unfinished array", path, False)
        assert "a job may be at work" in found.why
    make_older(tmp_path)
    (found,) = cs.clean(tmp_path)
    assert not found.can_go
    assert "may be run again" in found.why
    assert cs.clean(tmp_path, dry_run=False) == []
    (tmp_path / path / "notes.txt").write_text("mine")
    make_older(tmp_path)
    assert cs.clean(tmp_path, pending=True, dry_run=False) == []
    assert "'notes.txt'" in cs.clean(tmp_path)[0].why.replace("x/", "")
    (tmp_path / path / "notes.txt").unlink()
    make_older(tmp_path)
    assert [leftover.path for leftover in cs.clean(tmp_path, pending=True, dry_run=False)] == [path]
    assert [name for name in files(tmp_path) if name != "zarr.json"] == []


@pytest.mark.usefixtures("no_ctime")
def test_a_mark_beside_a_document(tmp_path: Path) -> None:
    """A job killed between its last two steps leaves a whole array, and a mark that goes."""
    x = cs.create_array(tmp_path, name="x", data=np.arange(8), chunks=4)
    (tmp_path / "x" / "__pending__").write_text("token")
    assert cs.clean(tmp_path, dry_run=False) == []
    make_older(tmp_path)
    assert [leftover.kind for leftover in cs.clean(tmp_path, dry_run=False)] == ["mark"]
    assert x[...].tolist() == list(range(8))
    assert cs.clean(tmp_path) == []


def test_cleaning_beside_writers(tmp_path: Path) -> None:
    """Cleaning all the time disturbs no one who writes."""
    store = cs.LocalStore(tmp_path)
    a = cs.create_array(store, name="a", shape=(0,), dtype="i4", chunks=(4,))
    ended = threading.Event()

    def write() -> None:
        try:
            for i in range(40):
                a.append([i] * 3)
                store.set("big", bytes(1 << 20))
                store.delete_prefix("a/none/")
        finally:
            ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not ended.is_set():
        cs.clean(store, older_than_s=0, pending=True, dry_run=False)
    writer.join()
    assert a[...].tolist() == [i for i in range(40) for _ in range(3)]
    assert cs.clean(store) == []


def test_refusals(tmp_path: Path) -> None:
    """Only folders are cleaned, and only through a handle that may write."""
    with pytest.raises(InvalidArgumentError, match="only folders"):
        cs.clean(cs.MemoryStore())
    with pytest.raises(InvalidArgumentError, match="there is no folder"):
        cs.clean(tmp_path / "misspelt")
    store = cs.LocalStore(tmp_path, read_only=True)
    assert cs.clean(store) == []
    with pytest.raises(ReadOnlyError):
        cs.clean(store, dry_run=False)


def test_command(tmp_path: Path, dead: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says what can go, removes it only if told to, and says what it removed."""
    (tmp_path / dead).write_bytes(bytes(2048))
    cs.create_array(tmp_path, name="x", shape=8, dtype="i4", pending=True)
    assert cli.main(["clean", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:5] == ["can", "go", "half-written", "value", "2.0"]
    assert lines[1].startswith("stays   unfinished array")
    assert lines[2] == "1 can go, 2.0 KiB; repeat with --delete to remove"
    assert (tmp_path / dead).exists()
    assert cli.main(["clean", str(tmp_path), "--delete", "--older-than", "0", "--pending"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["removed", "removed", "2"]
    assert files(tmp_path) == ["zarr.json"] or files(tmp_path) == []
    assert cli.main(["clean", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "0 can go, 0 B\n"
