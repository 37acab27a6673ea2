"""Further ways to select from an array than by numpy's rules.

Floor 4. `Selections` gives an array ``oindex``, ``vindex`` and ``blocks``, second pairs of brackets
with rules of their own, and zarr-python's methods that do the same under other names.

Source: NEP 21, "Simplified and explicit advanced indexing".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chunkstore.errors import SelectionError
from chunkstore.indexing import block_request, numpy_request, orthogonal_request, points_request
from chunkstore.requests import Grid, Request
from chunkstore.types import NDArray, Selection, Shape

__all__ = ["Selections", "Selector"]


class Selections:
    """The ways to select; mixed into `Array`, which says how a request is carried out."""

    __slots__ = ()

    @property
    def shape(self) -> Shape:
        """Extent along each axis, in elements."""
        raise NotImplementedError

    @property
    def _read_grid(self) -> Grid:
        """The units of reading over the array."""
        raise NotImplementedError

    def read_request(
        self, request: Request, *, out: NDArray | None = None, scalar: bool = True
    ) -> Any:
        """Read what a request asks for."""
        raise NotImplementedError

    def write_request(self, request: Request, value: Any) -> None:
        """Write to what a request asks for."""
        raise NotImplementedError

    @property
    def oindex(self) -> Selector:
        """Select orthogonally: ``a.oindex[[0, 2], mask]``, each array along its own axis."""
        return Selector(self, lambda selection: orthogonal_request(selection, self.shape))

    @property
    def vindex(self) -> Selector:
        """Select points: ``a.vindex[[0, 2], [1, 3]]``; their axes come first in the result."""
        return Selector(self, lambda selection: points_request(selection, self.shape))

    @property
    def blocks(self) -> Selector:
        """Select whole chunks by their place in the grid: ``a.blocks[0, 1:3]``."""
        return Selector(self, lambda selection: block_request(selection, self._read_grid))

    # -- the same by zarr-python's names ---------------------------------------------------------

    def get_basic_selection(self, selection: Selection = ..., **how: Any) -> Any:
        """Read integers, slices and Ellipsis; parameters as in `get_orthogonal_selection`."""
        return self._get(numpy_request(_basic(selection), self.shape), **how)

    def set_basic_selection(self, selection: Selection, value: Any, **how: Any) -> None:
        """Write to integers, slices and Ellipsis."""
        self._set(numpy_request(_basic(selection), self.shape), value, **how)

    def get_orthogonal_selection(self, selection: Selection, **how: Any) -> Any:
        """Read as ``oindex`` does.

        Parameters
        ----------
        selection
            As between the brackets.
        out : numpy.ndarray, optional
            Memory for the result.
        fields : str or list of str, optional
            Fields of a structured type.
        """
        return self._get(orthogonal_request(selection, self.shape), **how)

    def set_orthogonal_selection(self, selection: Selection, value: Any, **how: Any) -> None:
        """Write as ``oindex`` does."""
        self._set(orthogonal_request(selection, self.shape), value, **how)

    def get_coordinate_selection(self, selection: Selection, **how: Any) -> Any:
        """Read points as ``vindex`` does."""
        return self._get(points_request(selection, self.shape), **how)

    def set_coordinate_selection(self, selection: Selection, value: Any, **how: Any) -> None:
        """Write points as ``vindex`` does."""
        self._set(points_request(selection, self.shape), value, **how)

    def get_mask_selection(self, selection: Selection, **how: Any) -> Any:
        """Read the elements where a mask of the array's shape is true."""
        return self._get(points_request(selection, self.shape), **how)

    def set_mask_selection(self, selection: Selection, value: Any, **how: Any) -> None:
        """Write the elements where a mask of the array's shape is true."""
        self._set(points_request(selection, self.shape), value, **how)

    def get_block_selection(self, selection: Selection, **how: Any) -> Any:
        """Read whole chunks as ``blocks`` does."""
        return self._get(self.blocks.request(selection), **how)

    def set_block_selection(self, selection: Selection, value: Any, **how: Any) -> None:
        """Write whole chunks as ``blocks`` does."""
        self._set(self.blocks.request(selection), value, **how)

    def _get(
        self,
        request: Request,
        *,
        out: NDArray | None = None,
        fields: str | list[str] | None = None,
    ) -> Any:
        return self.read_request(request.of_fields(fields), out=out)

    def _set(self, request: Request, value: Any, *, fields: str | list[str] | None = None) -> None:
        self.write_request(request.of_fields(fields), value)


class Selector:
    """A second pair of brackets on an array, with its own way of reading what is between them."""

    __slots__ = ("_array", "request")

    def __init__(self, array: Selections, request: Callable[[Selection], Request]) -> None:
        self._array = array
        self.request = request

    def __getitem__(self, selection: Selection) -> Any:
        return self._array.read_request(self.request(selection))

    def __setitem__(self, selection: Selection, value: Any) -> None:
        self._array.write_request(self.request(selection), value)


def _basic(selection: Selection) -> Selection:
    entries = selection if isinstance(selection, tuple) else (selection,)
    for entry in entries:
        if not (entry is Ellipsis or isinstance(entry, slice) or hasattr(entry, "__index__")):
            raise SelectionError(
                f"a basic selection takes integers, slices and Ellipsis, got {entry!r}"
            )
    return selection
