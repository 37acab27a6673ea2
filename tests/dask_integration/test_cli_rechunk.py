"""The command that rechunks, from its arguments to what stands on disk and on the terminal."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

import chunkstore as cs
from chunkstore import cli

pytest.importorskip("rich", reason="needs rich")
pytest.importorskip("matplotlib", reason="needs matplotlib")

VALUES = np.arange(48 * 36, dtype="i4").reshape(48, 36)
ENTRY = EntryPoint("rechunk", "dask_integration.cli_rechunk:rechunk_command", cli.COMMANDS)

Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run the command in a folder with an array of columns; gives the exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "entry_points", lambda group: [ENTRY])
    cs.create_array("a.zarr", data=VALUES, chunks=(48, 3), attributes={"units": "K"})
    return lambda *arguments: cli.main(["rechunk", *arguments])


def test_an_array_is_rechunked(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The new array has the chunks that were asked for; the report compares with the plan."""
    assert (
        run("a.zarr", "b.zarr/rows", "--chunks", "2,9", "--shards", "8,36", "--memory", "9kB") == 0
    )
    made = cs.open_array("b.zarr", path="rows", mode="r")
    assert (made.chunks, made.shards, dict(made.attrs)) == ((2, 9), (8, 36), {"units": "K"})
    np.testing.assert_array_equal(made[...], VALUES)
    printed = capsys.readouterr()
    assert "predicted" in printed.out
    assert "measured" in printed.out
    assert "tasks in" in printed.err


def test_quiet(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Quiet means quiet; chunks may be a size, a folder a URL, and an older result is replaced."""
    for _ in range(2):
        assert run("file://a.zarr", "b.zarr", "--chunks", "1kB", "--quiet", "--overwrite") == 0
    assert capsys.readouterr() == ("", "")
    np.testing.assert_array_equal(cs.open_array("b.zarr", mode="r")[...], VALUES)


def test_explained_and_drawn(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """With --explain the plan is told and drawn, and nothing is made."""
    code = run(
        "a.zarr", "b.zarr", "--chunks", "2,36", "--memory", "4kB", "--explain", "--draw", "b.png"
    )
    assert code == 0
    assert not Path("b.zarr").exists()
    assert Path("b.png").read_bytes().startswith(b"\x89PNG")
    told = capsys.readouterr().out
    assert "not taken" in told
    assert "over chunks of 3: aligned" in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.zarr", "a.zarr/b", "--chunks", "2,36"], "an array has no members"),
        (["a.zarr", "a.zarr", "--chunks", "2,36"], "already"),
        (["a.zarr", "a.zarr", "--chunks", "2,36", "--overwrite"], "deleted before it is read"),
        (["a.zarr", "b.zarr", "--chunks", "2,36", "--memory", "100"], "Pass memory of"),
        (["a.zarr", "a.zarr", "--chunks", "2,36", "--resume"], "no job on it is unfinished"),
        (["none.zarr", "b.zarr", "--chunks", "2,36"], "nothing is stored there"),
    ],
)
def test_what_is_refused(
    run: Run, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """What cannot be done is said in one line, and leaves all as it was."""
    assert run(*arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert not Path("b.zarr").exists()
    np.testing.assert_array_equal(cs.open_array("a.zarr", mode="r")[...], VALUES)


def test_wrong_usage(run: Run) -> None:
    """Options that do not go together are wrong usage."""
    for options in (["--draw", "x.png"], ["--resume", "--overwrite"]):
        with pytest.raises(SystemExit) as end:
            run("a.zarr", "b.zarr", "--chunks", "2,36", *options)
        assert end.value.code == 2
