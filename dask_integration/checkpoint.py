"""What a job of several passes knows, kept in a store after each of them.

Floor 1: no dask. A group holds the newest state; its attributes say which pass that is, and are
replaced as one value when the arrays of the pass are there::

    checkpoint/            attributes: job, pass, record
      pass-3/basis ...     what `pass` points to
      pass-4/basis ...     being written; becomes the state when the attributes name it

A kill at any moment leaves the state of the pass before or of the pass itself, never a mixture.
Left out: two jobs on one checkpoint at the same time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError, NodeNotFoundError

__all__ = ["Checkpoint", "Snapshot"]


class Snapshot(NamedTuple):
    """The state after a pass."""

    arrays: dict[str, NDArray[Any]]
    record: dict[str, Any]


class Checkpoint:
    """The newest state of one job in a store.

    Parameters
    ----------
    place : Store, str, Path or None
        Where the group is or will be; None keeps nothing.
    job : mapping of str to object
        What makes the job the same job: shape, parameters, whatever the state depends on. Goes
        through JSON.

    Examples
    --------
    >>> store = cs.MemoryStore()
    >>> Checkpoint(store, {"k": 2}).save(1, {"basis": np.eye(2)}, {"seed": 0})
    >>> Checkpoint(store, {"k": 2}).load().record
    {'seed': 0}
    """

    def __init__(self, place: Any, job: Mapping[str, Any]) -> None:
        self.place = place
        self.job = json.loads(json.dumps(job))

    def load(self) -> Snapshot | None:
        """Read the newest state; None if there is none.

        Raises
        ------
        InvalidArgumentError
            If it is the state of another job; says in what they differ.
        ChunkError
            If it was damaged since.
        """
        if self.place is None:
            return None
        try:
            group = cs.open_group(self.place, mode="r")
        except NodeNotFoundError:
            return None
        found = dict(group.attrs)
        if "pass" not in found:
            # A kill before the first state was complete.
            return None
        self._refuse_other_job(group, found["job"])
        members = cast(cs.Group, group[f"pass-{found['pass']}"])
        arrays = {name: np.asarray(array[...]) for name, array in members.arrays()}
        return Snapshot(arrays, found["record"])

    def save(
        self, number: int, arrays: Mapping[str, NDArray[Any]], record: Mapping[str, Any]
    ) -> None:
        """Keep the state after a pass; the one before goes when this one is whole.

        Parameters
        ----------
        number : int
            Of the pass, counted from 1; larger than all before.
        arrays : mapping of str to ndarray
        record : mapping of str to object
            What JSON can hold.
        """
        if self.place is None:
            return
        group = cs.open_group(self.place, mode="a")
        current = f"pass-{number}"
        if current in group:
            # Left by a kill while it was written.
            del group[current]
        for name, values in arrays.items():
            cs.create_array(
                group.store, name=f"{group.path}/{current}/{name}".lstrip("/"), data=values
            )
        group.update_attributes({"job": self.job, "pass": number, "record": dict(record)})
        for name in [name for name in group if name != current]:
            del group[name]

    def _refuse_other_job(self, group: cs.Group, job: Mapping[str, Any]) -> None:
        differ = sorted(name for name in {*job, *self.job} if job.get(name) != self.job.get(name))
        if differ:
            said = ", ".join(f"{name} {job.get(name)!r}" for name in differ)
            asked = ", ".join(f"{name} {self.job.get(name)!r}" for name in differ)
            raise InvalidArgumentError(
                f"cannot go on from the checkpoint {group!r}: it is of a job with {said}; this one "
                f"has {asked}. Delete it, name another place, or repeat the old parameters"
            )
