"""What a process holds at most, as the operating system counts it.

Floor 0: no dask. Python cannot say what C libraries hold, so the peak is the process's own resident
memory, less what it was at the start.

Source: proc(5), ``/proc/pid/status`` and ``/proc/pid/clear_refs``; getrusage(2) elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

try:
    import resource

    _usage: Callable[[], Any] | None = partial(resource.getrusage, resource.RUSAGE_SELF)
except ImportError:  # Windows has none.
    _usage = None

__all__ = ["PeakMeter"]

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class PeakMeter:
    """Tells by how much the memory of this process has grown at most since it was made.

    Notes
    -----
    All that runs in the process counts. Where the system cannot begin anew, growth below an older
    peak is not seen.

    Examples
    --------
    >>> meter = PeakMeter()
    >>> memory = bytearray(b"x") * 50_000_000
    >>> del memory
    >>> meter.peak_bytes() == 0 or meter.peak_bytes() > 30_000_000
    True
    """

    def __init__(self) -> None:
        # "5" resets the peak, the "high water mark"; it needs no privilege for one's own process.
        with suppress(OSError):
            _CLEAR.write_text("5")
        self._before = _status("VmRSS") or _most_ever()

    def peak_bytes(self) -> int:
        """Give the growth in bytes, at least 0."""
        return max(0, (_status("VmHWM") or _most_ever()) - self._before)


def _status(name: str) -> int:
    """Give a line of the process's status in bytes; 0 where there is none."""
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0


def _most_ever() -> int:
    # Kilobytes, but bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return 0 if _usage is None else _usage().ru_maxrss * unit
