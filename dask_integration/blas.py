"""BLAS on one thread while tasks run side by side.

Floor 0: no dask. The only file that imports threadpoolctl.

dask runs as many tasks at a time as there are processors. If each product within them asks for as
many BLAS threads again, these wait for each other in busy loops: on two busy processors a block
Krylov step took 270 ns an element, and 20 ns with one BLAS thread. Workers of ``distributed`` are
started with one thread; this is for dask's own threads, and for processes started otherwise.

Source: dask's best practices, "avoid oversubscribing threads"; threadpoolctl 3.8, whose own
context manager binds a limit to the thread that set it and so cannot be shared by tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from threading import Lock
from typing import Any, NamedTuple, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

__all__ = ["on_one_blas_thread"]

R = TypeVar("R")


class _Libraries(NamedTuple):
    """The BLAS libraries of this process, by what a number of threads is set for."""

    whole: tuple[Any, ...]
    """Those where it holds for the process."""
    private: tuple[Any, ...]
    """Those on OpenMP, where it holds for the Python thread that sets it."""


class _SharedLimit:
    """One BLAS thread in the process from the first of overlapping calls to the end of the last."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._n_inside = 0
        self._before: list[int] = []

    def __enter__(self) -> None:
        with self._lock:
            if self._n_inside == 0:
                self._before = _set(_libraries().whole, None)
            self._n_inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0:
                _set(_libraries().whole, self._before)


_shared = _SharedLimit()


def on_one_blas_thread(func: Callable[..., R], *args: Any) -> R:
    """Call a function while the BLAS libraries of this process use one thread each.

    Parameters
    ----------
    func : callable
        Called as ``func(*args)``.
    *args : object
        Its arguments.

    Returns
    -------
    object
        What ``func`` returns.

    Notes
    -----
    Calls may overlap, in any threads: the first sets the limit and the last to end restores what
    was before. Other code of the process sees one BLAS thread in between. Where a thread holds a
    limit of threadpoolctl already, that limit stays; so do the threads of a BLAS that
    threadpoolctl does not know.

    Examples
    --------
    >>> on_one_blas_thread(pow, 2, 10)
    1024
    """
    private = _libraries().private
    before = _set(private, None)
    try:
        with _shared:
            return func(*args)
    finally:
        _set(private, before)


def _set(libraries: Iterable[Any], n_threads: list[int] | None) -> list[int]:
    """Set numbers of threads, one each if None is given, and return those before."""
    before = []
    for number, library in enumerate(libraries):
        before.append(library.num_threads)
        library.set_num_threads(1 if n_threads is None else n_threads[number])
        # From 3.8 the first thread to set a number is the only one that can, while it lives.
        release = getattr(library, "clear_controlling_thread", None)
        if release is not None:
            release()
    return before


@cache
def _libraries() -> _Libraries:
    """Look for the BLAS libraries of this process, once: it takes milliseconds."""
    # Only libraries that are loaded are found. The product makes sure that numpy's is.
    np.ones((1, 1)) @ np.ones((1, 1))
    found = [one for one in ThreadpoolController().lib_controllers if one.user_api == "blas"]
    on_openmp = [getattr(one, "threading_layer", None) == "openmp" for one in found]
    return _Libraries(
        whole=tuple(one for one, openmp in zip(found, on_openmp, strict=True) if not openmp),
        private=tuple(one for one, openmp in zip(found, on_openmp, strict=True) if openmp),
    )
