"""Any mapping as a store: used as it is, and its failures are never absence."""

from __future__ import annotations

import pickle
import shelve
from collections import UserDict
from pathlib import Path

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError, StoreError
from chunkstore.stores.mapping import MappingStore


class Client(UserDict[str, bytes]):
    """A mapping that stands for the same place wherever it is."""


class Broken(UserDict[str, bytes]):
    """A mapping that lost its connection."""

    def __getitem__(self, key: str) -> bytes:
        raise ConnectionError("no route")

    def __setitem__(self, key: str, value: bytes) -> None:
        raise ConnectionError("no route")

    def __delitem__(self, key: str) -> None:
        raise ConnectionError("no route")


def test_a_dict_is_taken_for_a_store() -> None:
    """Where a store is expected a dict will do, and holds what was written."""
    values: dict[str, bytes] = {}
    cs.create_array(values, name="x", data=np.arange(5))
    assert {"zarr.json", "x/zarr.json", "x/c/0"} == set(values)
    assert np.array_equal(cs.open_array(values, path="x", mode="r")[...], np.arange(5))


def test_a_shelf(tmp_path: Path) -> None:
    """A mapping on disk keeps values from one use to the next."""
    for _ in range(2):
        with shelve.open(str(tmp_path / "shelf")) as shelf:
            store = MappingStore(shelf)
            store.update("n", lambda stored: (stored or b"") + b"x")
            n = store.get("n")
    assert n == b"xx"


def test_trouble_is_not_absence() -> None:
    """Any exception but KeyError is an error of the store that names the key and the cause."""
    store = MappingStore(Broken())
    for ask in (store.get, store.delete, lambda key: store.set(key, b"1")):
        with pytest.raises(StoreError, match=r"'a' in MappingStore.*ConnectionError: no route"):
            ask("a")


def test_pickle_of_a_shared_mapping() -> None:
    """A mapping that is said to be the same everywhere travels; a plain dict refuses."""
    client = Client(a=b"1")
    store = MappingStore(client, shared=True, read_only=True)
    travelled = pickle.loads(pickle.dumps(store))
    assert travelled == store
    assert hash(travelled) == hash(store)
    assert travelled.get("a") == b"1"
    with pytest.raises(InvalidArgumentError, match="shared=True"):
        pickle.dumps(MappingStore({}))


def test_no_mapping() -> None:
    """What is no mutable mapping is refused."""
    with pytest.raises(InvalidArgumentError, match="MutableMapping, got list"):
        MappingStore([])  # type: ignore[arg-type]
