"""BLAS threads while tasks run: one, and afterwards as many as before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from threading import Barrier, Thread

import pytest

from dask_integration import blas
from dask_integration.blas import on_one_blas_thread


class Library:
    """A BLAS whose number of threads belongs to the process, or to each Python thread."""

    def __init__(self, n_threads: int, *, private: bool = False) -> None:
        self._private = private
        self._default = n_threads
        self._set: dict[int, int] = {}

    def _holder(self) -> int:
        return threading.get_ident() if self._private else 0

    @property
    def num_threads(self) -> int:
        return self._set.get(self._holder(), self._default)

    def set_num_threads(self, n_threads: int) -> None:
        self._set[self._holder()] = n_threads


@pytest.fixture(params=["whole", "private", "numpy"])
def count(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], int]]:
    """Give what counts the threads of a BLAS that starts with three: two toys, and numpy's."""
    if request.param != "numpy":
        library = Library(3, private=request.param == "private")
        empty = blas._Libraries((), ())
        monkeypatch.setattr(
            blas, "_libraries", lambda: empty._replace(**{request.param: (library,)})
        )
        yield lambda: library.num_threads
        return
    found = [one for kind in blas._libraries() for one in kind]
    if not found:
        pytest.skip("threadpoolctl does not know the BLAS of this numpy")
    before = blas._set(found, [3] * len(found))
    yield lambda: int(found[0].num_threads)
    blas._set(found, before)


def test_inside_there_is_one_thread_and_afterwards_as_before(count: Callable[[], int]) -> None:
    """The limit holds for the call, and is lifted also when it fails."""
    assert count() == 3
    assert on_one_blas_thread(count) == 1
    assert count() == 3
    with pytest.raises(ZeroDivisionError):
        on_one_blas_thread(divmod, 1, 0)
    assert count() == 3


def test_overlapping_calls_restore_once_the_last_has_ended(count: Callable[[], int]) -> None:
    """A call that began first and ends first does not lift the limit of the other."""
    both_inside, first_ended = Barrier(2), Barrier(2)
    seen = {}

    def first() -> None:
        on_one_blas_thread(both_inside.wait)
        seen["first, after"] = count()
        first_ended.wait()

    def inside() -> int:
        both_inside.wait()
        first_ended.wait()
        return count()

    def second() -> None:
        seen["second, inside"] = on_one_blas_thread(inside)
        seen["second, after"] = count()

    threads = [Thread(target=first), Thread(target=second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen["second, inside"] == 1
    assert seen["second, after"] == count() == 3


def test_calls_within_calls_share_the_limit(count: Callable[[], int]) -> None:
    """A function that is limited itself may call another that is."""
    assert on_one_blas_thread(lambda: (on_one_blas_thread(count), count())) == (1, 1)
    assert count() == 3
