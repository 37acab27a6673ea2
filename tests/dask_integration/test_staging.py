"""Results appear whole or not at all, and an older one stays until then."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chunkstore.errors import ChunkStoreError, InvalidArgumentError, NodeExistsError, StoreError
from dask_integration.staging import (
    check_destination,
    keep_apart,
    leftovers,
    staged,
    staged_file,
)

MEMBERS = ("scores", "loadings")


def write_result(folder: Path, mark: str) -> None:
    """Write what looks like the result of a job."""
    (folder / "scores").mkdir()
    (folder / "scores" / "zarr.json").write_text(mark)
    (folder / "zarr.json").write_text(mark)


def make_result(path: Path, mark: str, *, overwrite: bool = False) -> None:
    with staged(path, overwrite=overwrite, members=MEMBERS) as folder:
        write_result(folder, mark)


def fail(path: Path, error: BaseException, *, overwrite: bool = False) -> None:
    """Begin a result and fail before it is whole; the older one must be untouched meanwhile."""
    before = tree(path)
    with staged(path, overwrite=overwrite, members=MEMBERS) as folder:
        write_result(folder, "half")
        assert tree(path) == before
        raise error


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_result_appears_when_the_block_ends(tmp_path: Path) -> None:
    """Before the end nothing has the name; after it everything is there and nothing else."""
    out = tmp_path / "new" / "out"
    with staged(out, overwrite=False, members=MEMBERS) as folder:
        assert folder.parent == out.parent
        assert not out.exists()
        write_result(folder, "1")
    assert tree(tmp_path) == {"new/out/scores/zarr.json": "1", "new/out/zarr.json": "1"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_of_a_job_that_fails(tmp_path: Path, error: type[BaseException]) -> None:
    """Not even the folder that was written to."""
    with pytest.raises(error):
        fail(tmp_path / "out", error())
    assert list(tmp_path.iterdir()) == []


def test_an_older_result_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    """While the job runs, and after it failed, the old result is as it was; then it is gone."""
    out = tmp_path / "out"
    make_result(out, "old")
    with pytest.raises(ValueError, match="on purpose"):
        fail(out, ValueError("on purpose"), overwrite=True)
    assert set(tree(out).values()) == {"old"}
    make_result(out, "new", overwrite=True)
    assert set(tree(out).values()) == {"new"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_interrupt_between_the_renames_brings_the_old_result_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At no step is there neither the old result nor the new one."""
    out = tmp_path / "out"
    make_result(out, "old")
    rename = os.rename

    def interrupted(source: Path, target: Path) -> None:
        if "partial" in Path(source).name:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_result(out, "new", overwrite=True)
    assert set(tree(out).values()) == {"old"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_existing_result_is_refused_before_the_work(tmp_path: Path) -> None:
    """Without overwrite the block is never entered."""
    out = tmp_path / "out"
    make_result(out, "old")
    with pytest.raises(NodeExistsError, match="--overwrite"):
        make_result(out, "new")
    assert set(tree(out).values()) == {"old"}


def test_only_an_older_result_is_ever_replaced(tmp_path: Path) -> None:
    """A folder that is no group, a file, and a group that holds more are not deleted."""
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "thesis.txt").write_text("years of work")
    more = tmp_path / "more"
    make_result(more, "old")
    (more / "genotypes").mkdir()
    file = tmp_path / "file"
    file.write_text("text")
    before = tree(tmp_path)
    for path, message in ((plain, "not a Zarr group"), (file, "not a Zarr"), (more, "genotypes")):
        with pytest.raises(NodeExistsError, match=message):
            make_result(path, "new", overwrite=True)
    assert tree(tmp_path) == before


def test_an_empty_folder_is_no_obstacle(tmp_path: Path) -> None:
    """It holds nothing to lose, so it may become the result."""
    make_result(tmp_path, "1")
    assert set(tree(tmp_path).values()) == {"1"}


def test_what_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    """The name is checked again at the end; two jobs cannot both have it."""
    out = tmp_path / "out"

    def overtaken() -> None:
        with staged(out, overwrite=False, members=MEMBERS) as folder:
            write_result(folder, "second")
            make_result(out, "first")

    with pytest.raises(NodeExistsError):
        overtaken()
    assert set(tree(out).values()) == {"first"}


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """A result behind a symbolic link is replaced where it is."""
    (tmp_path / "disk").mkdir()
    real = tmp_path / "disk" / "out"
    make_result(real, "old")
    link = tmp_path / "link"
    link.symlink_to(real)
    make_result(link, "new", overwrite=True)
    assert link.is_symlink()
    assert set(tree(real).values()) == {"new"}


def test_a_file_on_the_way_is_named(tmp_path: Path) -> None:
    """A destination below a file cannot be made."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file is a file"):
        check_destination(tmp_path / "file" / "out", overwrite=True, members=MEMBERS)


@pytest.mark.parametrize("out", ["data/x", "data", "."])
def test_the_input_is_never_replaced(tmp_path: Path, out: str) -> None:
    """A result may not take the place of what it is made from, nor of a folder around it."""
    source = tmp_path / "data" / "x"
    source.mkdir(parents=True)
    with pytest.raises(InvalidArgumentError, match="would be replaced"):
        keep_apart(source, tmp_path / out)
    keep_apart(source, tmp_path / "data" / "x-pca")
    keep_apart(source, source / "pca")


def test_what_killed_runs_left_is_found(tmp_path: Path) -> None:
    """Only folders of this destination are listed, and only while there are any."""
    out = tmp_path / "out-1"
    with staged(out, overwrite=False, members=MEMBERS) as folder:
        assert leftovers(out) == [folder]
        assert leftovers(tmp_path / "1") == []
    assert leftovers(out) == []


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """An error keeps the old file, success replaces it, and nothing else is left."""
    path = tmp_path / "plot.png"
    path.write_text("old")

    def disk_full() -> None:
        with staged_file(path) as new:
            new.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(ChunkStoreError, match=r"cannot write .*plot\.png: No space left"):
        disk_full()
    assert path.read_text() == "old"
    with staged_file(path) as new:
        assert new.suffix == ".png"
        new.write_text("new")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"plot.png": "new"}
