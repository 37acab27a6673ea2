"""What a job says on the terminal when it is done.

Floor 1. rich is imported where it is used, so that a quiet job does without it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from chunkstore.errors import MissingExtraError

__all__ = ["print_components", "require_tables"]


def require_tables() -> None:
    """Raise `MissingExtraError` if rich is not installed; for a check before the work."""
    _rich()


def print_components(singular_values: ArrayLike, shares: ArrayLike, residuals: ArrayLike) -> None:
    """Print the components of a decomposition as a table to standard output.

    Parameters
    ----------
    singular_values, shares, residuals : array-like, shape (k,)
        One number for each component; shares of variance from 0 to 1.

    Examples
    --------
    >>> print_components([812.5, 20], [0.25, 0.0001], [3e-15, 2e-12])
    <BLANKLINE>
      component   singular value   variance   cumulative   residual
     ───────────────────────────────────────────────────────────────
              1          812.500    25.000%       25.00%    3.0e-15
              2           20.000     0.010%       25.01%    2.0e-12
    <BLANKLINE>
    """
    console, table = _rich()
    for heading in ("component", "singular value", "variance", "cumulative", "residual"):
        table.add_column(heading, justify="right", no_wrap=True)
    rows = np.column_stack([singular_values, shares, residuals]).tolist()
    decimals = _decimals(max(value for value, _, _ in rows))
    cumulative = 0.0
    for number, (value, share, residual) in enumerate(rows, start=1):
        cumulative += share
        table.add_row(
            str(number),
            f"{value:,.{decimals}f}",
            f"{share:.3%}",
            f"{cumulative:.2%}",
            f"{residual:.1e}",
        )
    console.print(table)


def _decimals(largest: float) -> int:
    """Choose how many decimals show six digits of the largest value of a column.

    Examples
    --------
    >>> _decimals(872.75), _decimals(0.0123), _decimals(1e9)
    (3, 7, 0)
    """
    return max(0, 5 - math.floor(math.log10(largest))) if largest > 0 else 0


def _rich() -> tuple[Any, Any]:
    """Give a console on standard output and an empty table, or say how to get rich."""
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
    except ImportError as error:
        raise MissingExtraError(
            "showing results needs the package rich, which is not installed: "
            "pip install 'chunkstore[cli]', or pass --quiet",
            extra="cli",
        ) from error
    console = Console(highlight=False)
    return console, Table(box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
