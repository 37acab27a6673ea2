"""Requests that fail are repeated where that may help."""

from __future__ import annotations

import errno

import pytest

from dask_integration import attempts
from dask_integration.attempts import attempt


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Note the waits instead of waiting."""
    waits: list[float] = []
    monkeypatch.setattr(attempts.time, "sleep", waits.append)
    return waits


def failing(n_times: int, error: OSError) -> tuple[list[int], object]:
    """Give a function that fails some times, and the list of its calls."""
    calls: list[int] = []

    def func() -> str:
        calls.append(1)
        if len(calls) <= n_times:
            raise error
        return "done"

    return calls, func


def test_what_passes_is_repeated(no_waits: list[float]) -> None:
    """A failure that may pass is repeated so many times, after waits that double."""
    calls, func = failing(3, TimeoutError("slow"))
    assert attempt(func, retries=3) == "done"
    assert len(calls) == 4
    assert [0.05 * 2**i <= wait <= 0.1 * 2**i for i, wait in enumerate(no_waits)] == [True] * 3


def test_the_last_failure_is_raised() -> None:
    """After the last repetition the failure itself comes out."""
    calls, func = failing(9, TimeoutError("slow"))
    with pytest.raises(TimeoutError, match="slow"):
        attempt(func, retries=2)
    assert len(calls) == 3


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), PermissionError("no"), FileNotFoundError("gone")]
)
def test_what_waiting_does_not_mend(error: OSError) -> None:
    """A full disk or a missing permission is not tried again."""
    calls, func = failing(1, error)
    with pytest.raises(type(error)):
        attempt(func, retries=5)
    assert len(calls) == 1
