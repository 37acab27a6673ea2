"""Stamps of files: equal only as long as nothing was written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chunkstore.stores import stamps
from chunkstore.stores.stamps import files_stamp


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "c").mkdir()
    for name in ("zarr.json", "c/0", "c/1"):
        (tmp_path / name).write_bytes(b"1234")
    return tmp_path


def _local(folder: Path) -> str:
    stamp = files_stamp(str(folder))
    if stamp is None:
        pytest.skip("the folder for temporary files lies on a file system that is not believed")
    return stamp


def test_a_stamp_lasts(folder: Path) -> None:
    """Looking twice gives the same, and reserved names do not count."""
    before = _local(folder)
    (folder / "__ledger__").mkdir()
    (folder / "__ledger__" / "x").write_bytes(b"")
    (folder / "c" / "__chunkstore-1").write_bytes(b"")
    assert files_stamp(str(folder)) == before


def _rewrite_at_once(folder: Path) -> None:
    (folder / "c/1").write_bytes(b"4321")


def _replace(folder: Path) -> None:
    (folder / "new").write_bytes(b"1234")
    os.replace(folder / "new", folder / "c/1")


def _set_times_back(folder: Path) -> None:
    facts = (folder / "c/1").stat()
    (folder / "c/1").write_bytes(b"4321")
    os.utime(folder / "c/1", ns=(facts.st_atime_ns, facts.st_mtime_ns))


def _delete(folder: Path) -> None:
    (folder / "c/1").unlink()


def _rename(folder: Path) -> None:
    (folder / "c/1").rename(folder / "c/2")


def _add(folder: Path) -> None:
    (folder / "c/2").write_bytes(b"")


@pytest.mark.parametrize(
    "change", [_rewrite_at_once, _replace, _set_times_back, _delete, _rename, _add]
)
def test_every_change_shows(change: object, folder: Path) -> None:
    """Also one of the same size, at once after the first look, with the times set back."""
    before = _local(folder)
    assert callable(change)
    change(folder)
    assert files_stamp(str(folder)) != before


def test_unknown_file_systems_are_not_believed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network mount gives no stamp, and neither does a system without a list of mounts."""
    mounts = tmp_path / "__mounts"
    root = "1 0 8:1 / / rw - ext4 /dev/sda rw\n"
    point = str(folder).replace("_", "\\137")
    monkeypatch.setattr(stamps, "_MOUNTS", mounts)
    assert files_stamp(str(folder)) is None
    mounts.write_text(root)
    assert files_stamp(str(folder)) is not None
    mounts.write_text(f"{root}2 1 0:9 / {point} rw - nfs4 server:/x rw\n")
    assert files_stamp(str(folder)) is None
    mounts.write_text(f"{root}2 1 0:9 / {point}-2 rw - nfs4 server:/x rw\n")
    assert files_stamp(str(folder)) is not None


def test_what_is_still_being_written_has_no_stamp(folder: Path) -> None:
    """Files from the future, as under a clock that is ahead, prove nothing."""
    _local(folder)
    os.utime(folder / "c/1", ns=(2**62, 2**62))
    assert files_stamp(str(folder)) is None
