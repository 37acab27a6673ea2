"""The command says what is in a store, and fails with words and an exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chunkstore as cs
from chunkstore import cli
from chunkstore.errors import StoreError

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a store with members at several depths."""
    root = cs.create_group(tmp_path / "data.zarr")
    root.create_array("u", shape=(3, 4), dtype="f4", chunks=(2, 2), dimension_names=("x", "y"))
    root.create_array("levels/v", data=np.arange(6))
    root.create_group("levels/none")
    return tmp_path / "data.zarr"


def entry_point(name: str, value: str) -> metadata.EntryPoint:
    """Make an entry point of the command's group."""
    return metadata.EntryPoint(name, value, cli.COMMANDS)


def test_info_of_an_array(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``info`` prints the facts of an array and ends with 0."""
    assert cli.main(["info", str(folder), "u"]) == 0
    printed = capsys.readouterr()
    assert printed.out == cs.open(folder, path="u").info + "\n"
    assert "('x', 'y')" in printed.out
    assert printed.err == ""


def test_info_of_a_group(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``info`` without a path is that of the root."""
    assert cli.main(["info", str(folder)]) == 0
    assert "levels, u" in capsys.readouterr().out


def test_tree(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``tree`` draws every member below the group, arrays with their shape and type."""
    assert cli.main(["tree", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "/",
        "├── levels",
        "│   ├── none",
        "│   └── v (6,) int64",
        "└── u (3, 4) float32",
    ]
    assert cli.main(["tree", str(folder), "levels/v"]) == 0
    assert "/levels/v (6,) int64" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["info", "tree"])
def test_looking_changes_nothing(command: str, folder: Path) -> None:
    """The commands that look leave every file as it was."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    cli.main([command, str(folder)])
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize("command", ["info", "tree"])
@pytest.mark.parametrize(
    ("path", "complaint"),
    [(["nothing"], "nothing is stored there"), (["../x"], "not allowed"), ([], "broken")],
)
def test_failures_are_words(
    command: str, path: list[str], complaint: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What fails is one line on standard error and exit code 1, without a traceback."""
    if complaint == "broken":
        (folder / "zarr.json").write_text("{")
        complaint = "not JSON"
    assert cli.main([command, str(folder), *path]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert complaint in printed.err
    assert printed.err.count("\n") == 1


def test_store_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that does not exist is said not to hold anything, and is not made."""
    assert cli.main(["info", str(tmp_path / "none")]) == 1
    assert "nothing is stored there" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [[], ["nonsense"], ["info"], ["info", "a", "b", "c"]])
def test_wrong_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be parsed prints the usage on standard error and ends with 2."""
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("usage: chunkstore")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (StoreError("the disk is full"), 1, "error: the disk is full\n"),
        (KeyboardInterrupt(), 130, "interrupted: "),
    ],
)
def test_ends_of_a_command(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    words: str,
) -> None:
    """An error of ours ends a command with 1 and an interrupt with 130, both with words."""

    def fail(*_: object, **__: object) -> Any:
        raise error

    monkeypatch.setattr(cli, "open", fail)
    assert cli.main(["info", "x"]) == code
    assert capsys.readouterr().err.startswith(words)


def test_foreign_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is not ours is a bug, and keeps its traceback."""

    def fail(*_: object, **__: object) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "open", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["info", "x"])


def register_greeting(subparsers: Any) -> None:
    """Register a command, as another package would."""
    parser = subparsers.add_parser("greet", help="say hello")
    parser.add_argument("name")
    parser.set_defaults(run=lambda arguments: print(f"hello {arguments.name}") or 7)


def test_commands_of_other_packages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An entry point adds its command, whose exit code is the command's."""
    found = [entry_point("greet", f"{__name__}:register_greeting")]
    monkeypatch.setattr(cli, "entry_points", lambda group: found)
    assert cli.main(["greet", "you"]) == 7
    assert capsys.readouterr().out == "hello you\n"


def test_command_that_lacks_its_library(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command that cannot be loaded stays in the help, says what to install, and ends with 1."""
    found = [entry_point("draw", "library_that_is_not_there.draw:register")]
    monkeypatch.setattr(cli, "entry_points", lambda group: found)
    assert cli.main(["draw", "--colour", "red"]) == 1
    words = capsys.readouterr().err
    assert "'draw' needs library_that_is_not_there: pip install 'chunkstore[all]'" in words
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "draw" in capsys.readouterr().out
    assert cli.main(["info", "/nothing/here"]) == 1


def test_reader_that_has_seen_enough(folder: Path) -> None:
    """A reader that stops reading, such as ``head``, ends the command, without a traceback."""
    root = cs.open_group(folder)
    for i in range(40):
        root.create_group(f"{'long' * 60}{i}")
    code = (
        "import sys; from chunkstore import cli; cli.entry_points = lambda group: ();"
        "print('first', flush=True); sys.stdin.readline();"
        "sys.exit(cli.main(['tree', sys.argv[1]]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], cwd=CHECKOUT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with process:
        assert process.stdout.readline() == "first\n"
        process.stdout.close()
        process.stdin.write("go\n")
        process.stdin.close()
        words = process.stderr.read()
        assert process.wait(60) == 141
    assert words == ""


def test_command_copies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command copies into the format and chunks that are asked for."""
    cs.create_array(tmp_path / "old", name="a", data=np.arange(24).reshape(4, 6), chunks=(1, 6))
    arguments = ["copy", str(tmp_path / "old"), str(tmp_path / "new"), "--zarr-format", "2"]
    assert cli.main([*arguments, "--chunks", "4,2"]) == 0
    assert "copied to <Group / in" in capsys.readouterr().out
    copied = cs.open_array(tmp_path / "new", path="a", mode="r")
    assert (copied.chunks, copied.metadata.zarr_format) == ((4, 2), 2)
    assert np.array_equal(copied[...], np.arange(24).reshape(4, 6))
    assert json.loads((tmp_path / "new/a/.zarray").read_text())["chunks"] == [4, 2]
    assert cli.main(arguments) == 1
    assert "overwrite" in capsys.readouterr().err
    assert cli.main([*arguments, "--overwrite", "--chunks", "16 bytes"]) == 1
    assert "16 bytes" in capsys.readouterr().err
