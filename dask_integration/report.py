"""What a job says on the terminal when it is done.

Floor 1. rich is imported where it is used, so that a quiet job does without it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from chunkstore.errors import MissingExtraError

__all__ = ["print_components", "require_tables"]


def require_tables() -> None:
    """Raise `MissingExtraError` if rich is not installed; for a check before the work."""
    _rich()


def print_components(rows: Iterable[tuple[float, float, float]], *, title: str = "") -> None:
    """Print the components of a decomposition as a table to standard output.

    Parameters
    ----------
    rows : iterable of (float, float, float)
        Singular value, share of variance from 0 to 1, and residual of each component.
    title : str
        Stands above the table.

    Examples
    --------
    >>> print_components([(812.5, 0.25, 3e-15)], title="two samples")
    two samples
    ...
    """
    console, table = _rich()
    table.title = title or None
    for heading in ("component", "singular value", "variance", "cumulative", "residual"):
        table.add_column(heading, justify="right", no_wrap=True)
    rows = list(rows)
    decimals = _decimals(max((value for value, _, _ in rows), default=0.0))
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
