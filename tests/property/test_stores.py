"""A store behaves like a dict under any sequence of requests, through any handle."""

from __future__ import annotations

import shutil
import tempfile

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from chunkstore import LocalStore, MemoryStore, Store
from chunkstore.errors import StoreError
from chunkstore.types import ByteRange

# Few names, so that keys meet; some are the start of others, and some look like what stores use.
names = st.sampled_from(["a", "b", "ab", "a.", "c", "0", "zarr.json", "__a", "é", "A b"])
keys = st.lists(names, min_size=1, max_size=3).map("/".join)
prefixes = st.lists(names, max_size=2).map(lambda parts: "".join(f"{part}/" for part in parts))
values = st.binary(max_size=6)


def clashes(key: str, kept: dict[str, bytes]) -> bool:
    """Whether a key lies below a kept key, or is the start of one."""
    return any(other.startswith(f"{key}/") or key.startswith(f"{other}/") for other in kept)


class StoreMachine(RuleBasedStateMachine):
    """Compares a store with a dict; subclasses make the store."""

    store: Store
    has_folders = False
    """Whether a name cannot be a value and a folder at once."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, bytes] = {}

    def same_place(self) -> Store:
        """Give another handle on the store."""
        return self.store

    @rule(key=keys, value=values)
    def set(self, key: str, value: bytes) -> None:
        """A value is set, or refused where a folder would have to be a file."""
        if self.has_folders and clashes(key, self.kept):
            try:
                self.store.set(key, value)
            except StoreError:
                return
            raise AssertionError("a file and a folder of one name")
        self.store.set(key, value)
        self.kept[key] = value

    @rule(key=keys)
    def delete(self, key: str) -> None:
        """A key is forgotten, stored or not."""
        self.store.delete(key)
        self.kept.pop(key, None)

    @rule(prefix=prefixes)
    def delete_prefix(self, prefix: str) -> None:
        """All keys under a prefix are forgotten."""
        self.store.delete_prefix(prefix)
        self.kept = {key: v for key, v in self.kept.items() if not key.startswith(prefix)}

    @rule(key=keys, tail=values)
    def update(self, key: str, tail: bytes) -> None:
        """A value is grown by an update that sees what is there."""
        if self.has_folders and clashes(key, self.kept):
            return

        def grow(stored: bytes | None) -> bytes | None:
            assert stored == self.kept.get(key)
            return (stored or b"") + tail if tail else None

        self.store.update(key, grow)
        if tail:
            self.kept[key] = self.kept.get(key, b"") + tail
        else:
            self.kept.pop(key, None)

    @rule(key=keys)
    def get(self, key: str) -> None:
        """Each way to ask for a value gives what is kept."""
        expected = self.kept.get(key)
        assert self.store.get(key) == expected
        assert self.store.exists(key) is (expected is not None)
        assert self.store.size(key) == (None if expected is None else len(expected))

    @precondition(lambda self: self.kept)
    @rule(data=st.data(), start=st.integers(-7, 7), length=st.none() | st.integers(0, 7))
    def get_ranges(self, data: st.DataObject, start: int, length: int | None) -> None:
        """A part of a value is a slice of it."""
        key = data.draw(st.sampled_from(sorted(self.kept)))
        value = self.kept[key]
        if start < 0:
            length = None
            expected = value[start:]
        else:
            expected = value[start : None if length is None else start + length]
        assert self.store.get_ranges(key, [ByteRange(start, length)]) == [expected]

    @rule(prefix=prefixes)
    def list_dir(self, prefix: str) -> None:
        """One level of names is listed; only folders without values may be there besides."""
        found = self.store.list_dir(prefix)
        below = [key[len(prefix) :] for key in self.kept if key.startswith(prefix)]
        assert list(found.keys) == sorted(prefix + key for key in below if "/" not in key)
        expected = {f"{prefix}{key.partition('/')[0]}/" for key in below if "/" in key}
        assert expected <= set(found.prefixes)
        assert list(found.prefixes) == sorted(found.prefixes)
        for extra in set(found.prefixes) - expected:
            assert self.has_folders
            assert list(self.store.list_prefix(extra)) == []

    @rule()
    def reopen(self) -> None:
        """Another handle on the same place goes on where this one was."""
        again = self.same_place()
        assert again == self.store
        self.store = again

    @invariant()
    def everything_is_there(self) -> None:
        """The keys and values of the store are those of the dict."""
        assert sorted(self.store.list_prefix()) == sorted(self.kept)


class LocalMachine(StoreMachine):
    """A folder."""

    has_folders = True

    @initialize()
    def make(self) -> None:
        """Make a store in a new folder."""
        self.folder = tempfile.mkdtemp()
        self.store = LocalStore(self.folder)

    def same_place(self) -> Store:
        """Give another handle on the folder."""
        return LocalStore(self.folder)

    def teardown(self) -> None:
        """Take the folder away."""
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)


class MemoryMachine(StoreMachine):
    """A dict."""

    @initialize()
    def make(self) -> None:
        """Make a store."""
        self.store = MemoryStore()


TestLocalStore = LocalMachine.TestCase
TestMemoryStore = MemoryMachine.TestCase
TestLocalStore.settings = settings(max_examples=30, stateful_step_count=30)
TestMemoryStore.settings = settings(max_examples=30, stateful_step_count=30)
