"""What a dataset's values will be read from, so that no write destroys what it still has to read.

Floor 3. A variable that is not in memory holds, somewhere below xarray's lazy indexing and
decoding, or in the tasks of its dask array, a handle on a stored array, or a path.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError
from dask_integration.layers import literals_of
from dask_integration.places import is_within, node_place

__all__ = ["refuse_replaced", "refuse_rewritten"]


def refuse_replaced(datasets: Iterable[xr.Dataset], store: cs.Store, path: str) -> None:
    """Raise an error if values are read from what is at or below a path, which is to be deleted.

    Raises
    ------
    InvalidArgumentError
        Naming the variable.
    """
    target = node_place(store, path)
    for ds in datasets:
        whole = ds.encoding.get("source")
        for name, variable in ds.variables.items():
            if variable._in_memory:
                continue
            sources = [node_place(array.store, array.path) for array in _sources(variable)]
            if isinstance(whole, str | os.PathLike) and "://" not in str(whole):
                sources.append(Path(whole).resolve().parts)
            if any(is_within(source, target) for source in sources):
                raise InvalidArgumentError(
                    f"cannot overwrite {path or '/'!r} in {store!r}: variable {name!r} is read "
                    f"from there, and it would be deleted before it is read. Write to another "
                    f"path, or .load() the dataset first"
                )


def refuse_rewritten(variable: xr.Variable, array: cs.Array) -> None:
    """Raise an error if a dask array is computed from the stored array that it is written to.

    A task that runs again, as after the loss of a worker, would read what it wrote.
    """
    target = node_place(array.store, array.path)
    if any(node_place(source.store, source.path) == target for source in _sources(variable)):
        raise InvalidArgumentError(
            f"cannot write to {array!r}: the values are computed from it, and a task that runs "
            f"again would read what it wrote. Write to another path, or .load() them first"
        )


def _sources(variable: xr.Variable) -> Iterator[cs.Array]:
    data: Any = variable._data
    for found in literals_of(data) if variable.chunks is not None else (data,):
        value: Any = found
        # xarray's wrappers keep what they wrap as `array`, our own as `stored`.
        while value is not None and not isinstance(value, cs.Array | np.ndarray):
            value = getattr(value, "stored", None) or getattr(value, "array", None)
        if isinstance(value, cs.Array):
            yield value
