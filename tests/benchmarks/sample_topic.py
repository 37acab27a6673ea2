"""A topic whose contenders do each thing that a contender may do; the harness's tests run it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.benchmarks.data import equals
from tests.benchmarks.harness import CannotError, Contender, Measure, Row, Scale

MIB = 1 << 20
RIGHT = 42


def rows(scale: Scale) -> list[Row]:
    """Give the rows of this topic."""
    return [
        Row("every state", "sums", states(scale), check=lambda result: equals(RIGHT, result)),
        Row("memory", "64 MiB held and let go", [Contender("chunkstore", holding)], unit="B"),
        Row(
            "data", "what make wrote", [Contender("chunkstore", lambda: reading(scale))],
            make=lambda: (scale.folder / "made.txt").write_text(str(os.getpid())),
        ),
        Row("no data", "nothing", [Contender("chunkstore", gives(RIGHT))], make=broken),
    ]  # fmt: skip


def gives(value: int) -> Callable[[], Callable[[], Any]]:
    """Give the `prepare` of a contender whose result is a value."""
    return lambda: lambda: value


def broken() -> None:
    """Fail, as any work may."""
    raise OSError("the disk is full")


def states(scale: Scale) -> list[Contender]:
    """Give contenders that end in every way."""
    marks = scale.folder / "cleared"

    def cannot() -> Callable[[], Any]:
        raise CannotError("it has no sums")

    def fails() -> Callable[[], Any]:
        return broken

    def dies() -> Callable[[], Any]:
        print("last words")
        return lambda: os._exit(3)

    def noisy() -> Callable[[], Any]:
        return lambda: print("not an answer") or RIGHT

    return [
        Contender("chunkstore", gives(RIGHT)),
        Contender("right", noisy, clear=lambda: marks.open("a").write("x")),
        Contender("wrong", gives(RIGHT + 1)),
        Contender("missing", gives(RIGHT), needs=("no_such_module",)),
        Contender("cannot", cannot),
        Contender("fails", fails),
        Contender("dies", dies),
        Contender("unchecked limit", gives(0), kind="limit"),
    ]


def holding() -> Callable[[], Any]:
    """Hold memory before the run, which does not count, and in it, which does."""
    before = np.ones(32 * MIB, "u1")

    def run() -> Measure:
        np.ones(64 * MIB, "u1")
        return Measure(7.0, before)

    return run


def reading(scale: Scale) -> Callable[[], Any]:
    """Read what `make` wrote; fails if it was written by this process."""
    assert (scale.folder / "made.txt").read_text() != str(os.getpid())
    return lambda: None
