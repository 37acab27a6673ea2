"""Every command answers ``--help`` and stands in the README."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from chunkstore import cli

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

Words = tuple[str, ...]


def _commands(parser: argparse.ArgumentParser, words: Words = ()) -> Iterator[Words]:
    """Give the words of every command, groups of commands included."""
    yield words
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield from _commands(command, (*words, name))


COMMANDS = list(_commands(cli.build_parser()))


@pytest.fixture
def installed() -> None:
    """Skip where the packages are imported from a checkout that is not installed."""
    try:
        distribution("chunkstore")
    except PackageNotFoundError:
        pytest.skip("needs an installed chunkstore: its entry points are read from there")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help(words: Words, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints its usage on standard output and ends with 0."""
    with pytest.raises(SystemExit) as end:
        cli.main([*words, "--help"])
    assert end.value.code == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"usage: {' '.join(['chunkstore', *words])} ")
    assert printed.err == ""


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_readme_names_it(words: Words) -> None:
    """The command is written out in the README."""
    assert re.search(rf"\b{' '.join(['chunkstore', *words])}\b", README)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", PYPROJECT["project"]["entry-points"][cli.COMMANDS])
def test_further_commands_are_loaded(name: str) -> None:
    """Each command that the project declares is one that the command line has."""
    assert (name,) in COMMANDS


@pytest.mark.usefixtures("installed")
def test_installed_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """The script beside the interpreter is this command."""
    # Help is as wide as the terminal, which the script has not.
    monkeypatch.setenv("COLUMNS", "80")
    script = Path(sys.executable).with_name("chunkstore")
    result = subprocess.run([script, "--help"], capture_output=True, text=True, check=True)
    assert result.stdout == cli.build_parser().format_help()
