"""A store in memory belongs to one process and one object."""

from __future__ import annotations

import copy
import pickle

import pytest

from chunkstore import MemoryStore
from chunkstore.errors import InvalidArgumentError


def test_only_the_same_object_is_equal() -> None:
    """Two stores never share values, so they are never equal, not even when both are empty."""
    assert MemoryStore() != MemoryStore()
    assert len({MemoryStore(), MemoryStore()}) == 2


def test_refuses_to_travel() -> None:
    """Sending or copying a store is refused, and the error says what to use instead."""
    for send in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(InvalidArgumentError, match="Use a LocalStore"):
            send(MemoryStore())


def test_value_is_given_without_a_copy() -> None:
    """Reading takes no memory: the stored bytes themselves are given."""
    store = MemoryStore()
    store.set("a", b"12345678")
    assert store.get("a") is store.get("a")


def test_repr_counts() -> None:
    """The text for a store says how much is in it."""
    store = MemoryStore()
    store.set("a", b"")
    store.set("b/c", b"")
    assert repr(store) == "MemoryStore(2 keys)"
