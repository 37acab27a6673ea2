"""Which part of a stored dataset a write goes to: regions, found from coordinates or given.

Floor 1: no dask, no store; what is stored comes in as an argument. A region is one slice for each
of some dimensions; appending is the region behind the end of one dimension. Everything is checked
here before anything is touched, in xarray's terms.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Literal

import numpy as np
import xarray as xr

__all__ = ["Mode", "fitted", "region_of", "resolved_mode", "selection_of"]

Mode = Literal["w", "w-", "a", "a-", "r+"]
_MODES = ("w", "w-", "a", "a-", "r+")


def resolved_mode(mode: str | None, *, append_dim: Hashable | None, region: Any) -> str:
    """Give the mode that is meant; refuse one that does not go with the other arguments.

    Examples
    --------
    >>> [resolved_mode(None, append_dim=d, region=r) for d, r in ((None, None), ("t", None))]
    ['w-', 'a']
    """
    if mode is None:
        mode = "a" if append_dim is not None else "r+" if region is not None else "w-"
    if mode not in _MODES:
        raise ValueError(
            f"The only supported options for mode are {', '.join(map(repr, _MODES))}, but "
            f"mode={mode!r}"
        )
    if append_dim is not None and mode not in ("a", "a-"):
        raise ValueError(
            f"cannot set append_dim unless mode='a', mode='a-' or mode=None, got mode={mode!r}"
        )
    if region is not None and mode not in ("a", "a-", "r+"):
        raise ValueError(
            f"cannot set region unless mode='a', mode='a-', mode='r+' or mode=None, got "
            f"mode={mode!r}"
        )
    return mode


def region_of(
    ds: xr.Dataset,
    region: Any,
    *,
    mode: str,
    append_dim: Hashable | None,
    stored_values: Callable[[Hashable], Any],
) -> dict[Hashable, slice]:
    """Give the slice along each dimension of a region, and check it.

    Parameters
    ----------
    ds : xarray.Dataset
        What is to be written.
    region : "auto" or mapping of str to slice or "auto"
        As in `to_store`; "auto" looks the dataset's coordinate up in the stored one.
    mode, append_dim
        As in `to_store`.
    stored_values : callable
        From the name of a dimension to the stored coordinate's values, decoded.

    Raises
    ------
    KeyError
        If coordinate values are not stored.
    ValueError, TypeError
        If the region cannot be meant; the message says what to change.
    """
    if isinstance(region, str) and region == "auto":
        region = dict.fromkeys(ds.dims, "auto")
    if not isinstance(region, Mapping):
        raise TypeError(f"``region`` must be a dict or 'auto', got {type(region)}")
    found = dict(region)
    for dim, part in region.items():
        if isinstance(part, str) and part == "auto":
            if mode not in ("r+", "a"):
                raise ValueError(
                    f"``mode`` must be 'r+' or 'a' when using ``region='auto'``, got {mode!r}"
                )
            if dim in ds.dims:
                found[dim] = _looked_up(ds, dim, stored_values)
    _check(ds, found, append_dim)
    return found


def _looked_up(ds: xr.Dataset, dim: Hashable, stored_values: Callable[[Hashable], Any]) -> slice:
    if dim not in ds.variables:
        # Without a coordinate the only part that is sure to be meant is the whole.
        return slice(0, ds.sizes[dim])
    index = xr.IndexVariable((dim,), stored_values(dim)).to_index()
    if not index.is_unique:
        raise ValueError(
            f"cannot find the region along {dim!r} in the original store: values of its coordinate "
            f"come more than once. Give the region as slices"
        )
    places = index.get_indexer(ds.variables[dim].values)
    missing = int((places == -1).sum())
    if missing:
        first = ds.variables[dim].values[np.argmax(places == -1)]
        raise KeyError(
            f"Not all values of coordinate '{dim}' in the new array were found in the original "
            f"store: {missing} of {len(places)} are missing, the first is {first}. A region "
            f"changes no coordinates: append new values with append_dim={dim!r} instead, or give "
            f"the region as slices"
        )
    if len(places) == 0:
        return slice(0, 0)
    if (np.diff(places) != 1).any():
        raise ValueError(
            f"The auto-detected region of coordinate '{dim}' for writing new data to the original "
            f"store had non-contiguous indices: a region is a contiguous, ascending part of what "
            f"is stored. Write each contiguous part on its own, or sort by {dim!r} first"
        )
    return slice(int(places[0]), int(places[-1]) + 1)


def _check(ds: xr.Dataset, region: Mapping[Hashable, Any], append_dim: Hashable | None) -> None:
    if not set(region) <= set(ds.dims):
        raise ValueError(
            f"all keys in ``region`` are not in Dataset dimensions, got {list(region)} and "
            f"{list(ds.dims)}"
        )
    for part in region.values():
        if not isinstance(part, slice):
            raise TypeError(
                f"all values in ``region`` must be slice objects, got region={dict(region)}"
            )
        if part.step not in (1, None):
            raise ValueError(
                f"step on all slices in ``region`` must be 1 or None, got region={dict(region)}"
            )
    if append_dim is not None and append_dim in region:
        raise ValueError(
            f"cannot list the same dimension in both ``append_dim`` and ``region``, got "
            f"{append_dim!r} in both"
        )
    apart = [name for name, v in ds.variables.items() if not set(region) & set(v.dims)]
    if region and apart:
        raise ValueError(
            f"when setting `region` explicitly, all variables in the dataset to write must have at "
            f"least one dimension in common with the region's dimensions {list(region)}, but that "
            f"is not the case for some variables here. To drop these variables from this dataset "
            f"before writing, use: .drop_vars({apart!r})"
        )


def fitted(
    name: Hashable,
    new: xr.Variable,
    stored: xr.Variable,
    *,
    region: Mapping[Hashable, slice],
    append_dim: Hashable | None,
) -> xr.Variable:
    """Give a variable with its dimensions in the order of the stored one, whose part it is.

    Raises
    ------
    ValueError
        If the dimensions or their sizes are not those of the part that is written.
    """
    if set(new.dims) != set(stored.dims):
        raise ValueError(
            f"variable {name!r} already exists with different dimension names {stored.dims} != "
            f"{new.dims}, but changing variable dimensions is not supported. Rename them, or "
            f"write it under another name"
        )
    found = new.transpose(*stored.dims)
    old_sizes = {
        dim: len(range(*region.get(dim, slice(None)).indices(size)))
        for dim, size in stored.sizes.items()
        if dim != append_dim
    }
    new_sizes = {dim: size for dim, size in found.sizes.items() if dim != append_dim}
    if old_sizes != new_sizes:
        raise ValueError(
            f"variable {name!r} already exists with different dimension sizes: {old_sizes} != "
            f"{new_sizes}. Sizes change only along append_dim, and append_dim={append_dim!r}. To "
            f"write to a part of the existing store without changing sizes, use `region`"
        )
    return found


def selection_of(
    stored: xr.Variable, *, region: Mapping[Hashable, slice], append: int, append_dim: Hashable
) -> tuple[tuple[slice, ...], tuple[int, ...]]:
    """Give what a variable is written to, a slice for each axis, and the array's shape after it.

    Parameters
    ----------
    stored : xarray.Variable
        The variable as it is stored.
    region : mapping of str to slice
        Of some dimensions.
    append : int
        How much is appended along `append_dim`.

    Examples
    --------
    >>> v = xr.Variable(("t", "x"), np.zeros((3, 4)))
    >>> selection_of(v, region={"x": slice(2)}, append=5, append_dim="t")
    ((slice(3, 8, None), slice(0, 2, None)), (8, 4))
    """
    parts, shape = [], []
    for dim, size in stored.sizes.items():
        if append and dim == append_dim:
            parts.append(slice(size, size + append))
            shape.append(size + append)
        else:
            start, stop, _ = region.get(dim, slice(None)).indices(size)
            parts.append(slice(start, max(start, stop)))
            shape.append(size)
    return tuple(parts), tuple(shape)
