"""The command ``chunkstore rechunk``.

Floor 8. Arguments, where to run, progress, the report; the job is ``rechunk``'s own. Places may be
folders and URLs: the new array is held back by its store until it is complete.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

from dask_integration.clusters import connect, require_visible
from dask_integration.explain import explain
from dask_integration.interrupts import ended_in_order
from dask_integration.places import check_parents, local_place, make_parent_groups
from dask_integration.progress import progress
from dask_integration.rechunk import rechunk

__all__ = ["rechunk_command"]

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

_PLACE = "a folder (STORE or STORE/path) or the URL of a store"


def rechunk_command(subparsers: Subparsers) -> None:
    """Add ``rechunk`` to the commands."""
    parser = subparsers.add_parser(
        "rechunk",
        help="copy an array into other chunks or shards, within a memory bound",
        description="Copy an array into other chunks or shards, within a memory bound. "
        "Attributes, dimension names, fill value and codecs stay. The source is read up to three "
        "times, or goes through an array of pieces, whichever costs less. A job that was "
        "interrupted goes on with --resume.",
    )
    add = parser.add_argument
    add("source", metavar="SOURCE", help=f"the array: {_PLACE}")
    add("target", metavar="TARGET", help=f"the array to make: {_PLACE}")
    add("--chunks", required=True, type=_shape, metavar="N,N,...",
        help='shape of the new chunks; or "auto", or a size such as 4MB')  # fmt: skip
    add("--shards", type=_shape, metavar="N,N,...",
        help='shape of the new shards, or "auto" (default: none)')  # fmt: skip
    add("--memory", default="1GB", metavar="SIZE",
        help="what each process may hold (default %(default)s)")  # fmt: skip
    add("--method", choices=("auto", "direct", "staged"), default="auto",
        help="straight, or through pieces (default: what costs less)")  # fmt: skip
    add("--explain", action="store_true", help="say what would be done, and do nothing")
    add("--draw", metavar="FILE.png",
        help="with --explain: a picture of blocks over the chunks of the source")  # fmt: skip
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true",
        help="delete what is at TARGET first")  # fmt: skip
    existing.add_argument("--resume", action="store_true",
        help="go on with a job that was interrupted")  # fmt: skip
    add("--cluster", default="none", metavar="WHERE",
        help="none: threads of this process; local: processes of this machine; or the address of "
        "a dask scheduler (default %(default)s)")  # fmt: skip
    add("--workers", type=int, metavar="N",
        help="threads or processes to use (default: one a processor)")  # fmt: skip
    add("--quiet", action="store_true", help="print nothing but errors")
    parser.set_defaults(run=_rechunk, parser=parser)


def _shape(text: str) -> Any:
    """Read a shape, or leave what is no list of numbers to be read as a size."""
    parts = text.split(",")
    return tuple(map(int, parts)) if all(part.strip().isdigit() for part in parts) else text


def _rechunk(arguments: argparse.Namespace) -> int:
    """Run ``rechunk``."""
    if arguments.draw and not arguments.explain:
        arguments.parser.error("--draw belongs to --explain")
    source, target = _place(arguments.source), _place(arguments.target)
    if isinstance(target, Path):
        check_parents(target)
    with ExitStack() as stack:
        stack.enter_context(ended_in_order())
        client = stack.enter_context(connect(arguments.cluster, n_workers=arguments.workers))
        # Planned inside: a plan is for the threads and processes there are.
        job: Any = rechunk(
            str(source),
            str(target),
            chunks=arguments.chunks,
            shards=arguments.shards,
            memory=arguments.memory,
            method=arguments.method,
            overwrite=arguments.overwrite,
            resume=arguments.resume,
            compute=False,
        )
        if arguments.explain:
            told = explain(job)
            if arguments.draw:
                told.draw(local_place(arguments.draw))
            print(told)
            return 0
        for place in (source, target):
            if isinstance(place, Path):
                folder = place if place is source else place.absolute().parent
                require_visible(client, str(folder))
        phase = stack.enter_context(progress(client, quiet=arguments.quiet))
        with phase(f"rechunk, {job.plan.method}"):
            report = job.compute()
    if isinstance(target, Path):
        make_parent_groups(target)
    if not arguments.quiet:
        print(report)
    return 0


def _place(text: str) -> Path | str:
    """Give a folder as a path, and the URL of another store as it is."""
    scheme, colon, _ = text.partition("://")
    return text if colon and scheme != "file" else local_place(text)
