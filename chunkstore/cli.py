"""The ``chunkstore`` command.

Floor 9. Holds the commands that need nothing but chunkstore; further ones are loaded from the
entry-point group ``chunkstore.commands``: each entry point is a function that is given the
sub-parsers and adds its own, with ``run`` set to a function from the parsed arguments to an exit
code. The parser is argparse's, so that the command works without any extra installed.

Exit codes: 0 done, 1 failed with a message, 2 wrong usage, 130 interrupted, 141 the reader of the
output went away.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import NoReturn

from chunkstore.api import open
from chunkstore.cleaning import clean
from chunkstore.compiled import engine_facts
from chunkstore.display import as_text, human_bytes
from chunkstore.errors import ChunkError, ChunkStoreError
from chunkstore.group import Group
from chunkstore.shortcuts import copy, verify

__all__ = ["build_parser", "main"]

COMMANDS = "chunkstore.commands"

Subparsers = argparse._SubParsersAction  # the only name argparse gives this type


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        parsed = build_parser().parse_args(arguments)
        code: int = parsed.run(parsed)
        # Here rather than at exit, where a reader that went away could no longer be handled.
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Such as `head`, which has seen enough. What is still buffered goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except ChunkStoreError as error:
        # Notes say where: dask's layers add the block that failed.
        notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
        print(f"error: {error}{notes}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: nothing that was being written will open as complete", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Make the parser with every command, those of other packages included."""
    parser = argparse.ArgumentParser(
        prog="chunkstore", description="Look into Zarr stores and run jobs over them."
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    info = _add_node_command(subparsers, "info", _info, "say what an array or group is")
    info.add_argument(
        "--engine", action=_EngineAction, nargs=0, help="say what reads chunks here, and exit"
    )
    _add_node_command(subparsers, "tree", _tree, "show the members of a group, at any depth")
    _add_node_command(subparsers, "verify", _verify, "read every stored chunk and report damage")
    _add_copy(subparsers)
    _add_clean(subparsers)
    for entry_point in sorted(entry_points(group=COMMANDS), key=lambda entry: entry.name):
        try:
            register = entry_point.load()
        except ImportError as error:
            _add_missing(subparsers, entry_point.name, error)
        else:
            register(subparsers)
    return parser


def _add_node_command(
    subparsers: Subparsers[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    what: str,
) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(name, help=what, description=f"{what.capitalize()}.")
    parser.add_argument("store", metavar="STORE", help="a folder or URL")
    parser.add_argument("path", metavar="PATH", nargs="?", default="", help="path in the store")
    parser.set_defaults(run=run)
    return parser


def _add_copy(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "copy",
        help="copy an array or group, into another format, chunks or shards if asked",
        description="Copy an array, or a group with all below it. What is not asked to change "
        "stays as it is; nothing can be opened as complete before it is.",
    )
    parser.add_argument("source", metavar="SOURCE", help="a folder or URL")
    parser.add_argument("target", metavar="TARGET", help="a folder or URL")
    parser.add_argument("--source-path", metavar="PATH", default="", help="path in the source")
    parser.add_argument("--path", metavar="PATH", default="", help="path in the target")
    parser.add_argument("--zarr-format", type=int, choices=(2, 3), help="format of the copy")
    shape = "such as 100,500, or a size such as 64MB"
    parser.add_argument("--chunks", metavar="SHAPE", type=_shape, help=f"chunks, {shape}")
    parser.add_argument("--shards", metavar="SHAPE", type=_shape, help="shards, such as 1000,500")
    parser.add_argument("--overwrite", action="store_true", help="replace what is at the target")
    parser.set_defaults(run=_copy)


def _shape(text: str) -> tuple[int, ...] | str:
    """Read a shape; what is none may be a size, which the layout reads."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        return text


def _add_clean(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "clean",
        help="find, and remove, what killed processes left in a folder",
        description="Find what killed processes left in a folder: half-written values, locks that "
        "nobody holds, arrays that no job finished. What a running process works on is left alone. "
        "Nothing is removed without --delete.",
    )
    parser.add_argument("folder", metavar="FOLDER", help="a local store, or a folder of them")
    parser.add_argument("--delete", action="store_true", help="remove what can go")
    parser.add_argument("--pending", action="store_true", help="unfinished arrays can go too")
    parser.add_argument(
        "--older-than", metavar="HOURS", type=float, default=24.0,
        help="hours without a write after which unfinished arrays, and what another machine "
        "began, count as left behind (default 24)",
    )  # fmt: skip
    parser.set_defaults(run=_clean)


def _add_missing(
    subparsers: Subparsers[argparse.ArgumentParser], name: str, error: ImportError
) -> None:
    """Keep a command that cannot be loaded in the help, and say what it lacks when it is run."""
    package = (error.name or str(error)).partition(".")[0]
    hint = f"needs {package}: pip install 'chunkstore[all]'"

    def run(_: argparse.Namespace) -> int:
        print(f"error: the command {name!r} {hint}", file=sys.stderr)
        return 1

    # No character starts an option here, so that the command's own options are let through.
    parser = subparsers.add_parser(name, help=f"({hint})", add_help=False, prefix_chars="\0")
    parser.add_argument("arguments", nargs="*")
    parser.set_defaults(run=run)


class _EngineAction(argparse.Action):
    """Prints facts about the engine and exits, as ``--version`` does elsewhere."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(as_text("Engine", engine_facts()))
        parser.exit()


def _info(arguments: argparse.Namespace) -> int:
    print(open(arguments.store, path=arguments.path, mode="r").info)
    return 0


def _tree(arguments: argparse.Namespace) -> int:
    node = open(arguments.store, path=arguments.path, mode="r")
    print(node.tree() if isinstance(node, Group) else node)
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    found = verify(arguments.store, path=arguments.path)
    for error in found.damage:
        print(f"damaged: {error}")
    n_chunks = sum(isinstance(error, ChunkError) for error in found.damage)
    arrays, chunks = _count(found.n_arrays, "array"), _count(found.n_chunks, "chunk")
    if found:
        print(f"no damage found: {arrays}, {chunks}, {human_bytes(found.value_bytes)} of values")
    else:
        documents = _count(len(found.damage) - n_chunks, "document")
        print(f"damage: {n_chunks:,} of {chunks} and {documents} cannot be read; {arrays} in all")
    if found.n_missing:
        print(f"not stored, so read as the fill value: {_count(found.n_missing, 'chunk')}")
    if found.unchecked:
        names = ", ".join(found.unchecked)
        print(f"without a checksum, so that changed bytes may go unseen: {names}")
    return 0 if found else 1


def _copy(arguments: argparse.Namespace) -> int:
    asked = {name: getattr(arguments, name) for name in ("zarr_format", "chunks", "shards")}
    made = copy(
        open(arguments.source, path=arguments.source_path, mode="r"),
        arguments.target,
        path=arguments.path,
        overwrite=arguments.overwrite,
        **{name: value for name, value in asked.items() if value is not None},
    )
    print(f"copied to {made!r}")
    return 0


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def _clean(arguments: argparse.Namespace) -> int:
    found = clean(
        arguments.folder,
        older_than_s=arguments.older_than * 3600,
        pending=arguments.pending,
        dry_run=not arguments.delete,
    )
    for leftover in found:
        what = "removed" if arguments.delete else "can go" if leftover.can_go else "stays"
        size = human_bytes(leftover.n_bytes)
        print(f"{what:8}{leftover.kind:20}{size:>10}  {leftover.path or '/'}: {leftover.why}")
    going = [leftover for leftover in found if leftover.can_go]
    size = human_bytes(sum(leftover.n_bytes for leftover in going))
    if arguments.delete:
        print(f"{len(going)} removed, {size}")
    else:
        hint = "; repeat with --delete to remove" if going else ""
        print(f"{len(going)} can go, {size}{hint}")
    return 0
