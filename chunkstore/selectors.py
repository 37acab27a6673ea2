"""`Selector`: a second pair of brackets on an array, with rules of its own for selecting.

Floor 5. ``a.oindex``, ``a.vindex`` and ``a.blocks`` are selectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from chunkstore.indexing import Request
from chunkstore.types import Selection

__all__ = ["Selector"]


class _Target(Protocol):
    """What a selector needs of an array."""

    def read_request(self, request: Request) -> Any: ...
    def write_request(self, request: Request, value: Any) -> None: ...


class Selector:
    """Reads and writes an array through one way of reading what stands between the brackets."""

    __slots__ = ("_make_request", "_target")

    def __init__(self, target: _Target, make_request: Callable[[Selection], Request]) -> None:
        self._target = target
        self._make_request = make_request

    def __getitem__(self, selection: Selection) -> Any:
        return self._target.read_request(self._make_request(selection))

    def __setitem__(self, selection: Selection, value: Any) -> None:
        self._target.write_request(self._make_request(selection), value)
