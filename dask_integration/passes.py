"""What a job of several passes tells of itself: one record a pass.

Floor 1: no dask.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

__all__ = ["Pass", "Watch"]


@dataclass(frozen=True)
class Pass:
    """One read of the whole array.

    Parameters
    ----------
    kind : "statistics", "gram" or "krylov"
        What it was for.
    number : int
        Counted from 1 over all kinds.
    n_bytes : int
        Bytes of the array's values, as they came out of the store.
    seconds : float
        Wall time.
    dtype : str
        Precision of the products.
    singular_values, residuals : tuple of float
        Of each component as known after the pass; empty after a pass for statistics.
    """

    kind: Literal["statistics", "gram", "krylov"]
    number: int
    n_bytes: int
    seconds: float
    dtype: str
    singular_values: tuple[float, ...] = ()
    residuals: tuple[float, ...] = ()

    @property
    def worst(self) -> float:
        """The largest residual; 0 if there is none."""
        return max(self.residuals, default=0.0)

    @property
    def bytes_per_s(self) -> float:
        """Bytes of values taken in a second."""
        return self.n_bytes / self.seconds if self.seconds > 0 else math.inf

    def to_go(self, before: Pass | None, *, tol: float) -> int | None:
        """Estimate the passes still needed, if residuals go on to fall as since an earlier pass.

        Examples
        --------
        >>> first = Pass("krylov", 1, 0, 1.0, "float64", (2.0,), (1e-1,))
        >>> Pass("krylov", 2, 0, 1.0, "float64", (2.0,), (1e-2,)).to_go(first, tol=1e-4)
        2
        """
        if self.worst <= tol:
            return 0
        if before is None or not 0 < self.worst < before.worst:
            return None
        fall = math.log(before.worst / self.worst) / (self.number - before.number)
        return max(1, math.ceil(math.log(self.worst / tol) / fall - 1e-9))

    def describe(self, to_go: int | None) -> str:
        """Say in a few words what the pass found; ``to_go`` as `to_go` gives it.

        Examples
        --------
        >>> Pass("krylov", 2, 0, 1.0, "float64", (2.0,), (1.2e-2,)).describe(2)
        'residual 1.2e-02, about 2 more'
        """
        if not self.residuals:
            return ""
        found = f"residual {self.worst:.1e}"
        if not to_go:
            return found
        # Short: with the bar before it, it has to fit a line of 80 columns.
        return f"{found}, about {to_go} more"

    def to_json(self) -> dict[str, Any]:
        """Give what JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Pass:
        """Undo ``to_json``."""
        lists = ("singular_values", "residuals")
        return cls(**{**record, **{name: tuple(record[name]) for name in lists}})


class Watch(Protocol):
    """Is told of each pass, for a person who waits."""

    def __call__(
        self, name: str, n_bytes: int
    ) -> AbstractContextManager[Callable[[Pass, int | None], None]]:
        """Open a context that lasts as long as a pass that reads ``n_bytes``.

        It gives a function that is called at the end with the record and the estimated number of
        passes to go.
        """
