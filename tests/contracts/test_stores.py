"""Our own stores keep the contract, and so does the smallest store one can write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from chunkstore import LocalStore, MemoryStore, Store
from chunkstore.errors import InvalidArgumentError
from chunkstore.keys import check_key, check_prefix
from chunkstore.stores.base import Listing
from chunkstore.stores.mapping import MappingStore
from chunkstore.stores.zip import ZipStore
from chunkstore.types import Buffer
from tests.contracts.stores import StoreContract


class TestLocalStore(StoreContract):
    """Values as files."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> LocalStore:
        """Give a store in a folder that is not there yet."""
        return LocalStore(tmp_path / "new" / "store")

    def again(self, store: LocalStore, *, read_only: bool = False) -> LocalStore:
        """Give a handle on the same folder."""
        return LocalStore(store.root, read_only=read_only)


class TestMemoryStore(StoreContract):
    """Values in a dict."""

    pickles = False

    @pytest.fixture
    def store(self) -> MemoryStore:
        """Give a new store."""
        return MemoryStore()

    def again(self, store: MemoryStore, *, read_only: bool = False) -> None:
        """Give nothing: the values belong to the object."""


class TestMappingStore(StoreContract):
    """Values in a mapping, here a dict."""

    pickles = False

    @pytest.fixture
    def store(self) -> MappingStore:
        """Give a store in a new dict."""
        return MappingStore({})

    def again(self, store: MappingStore, *, read_only: bool = False) -> MappingStore:
        """Give a handle on the same dict."""
        return MappingStore(store._mapping, read_only=read_only)


class TestZipStore(StoreContract):
    """Values in a zip file that is being written."""

    pickles = False

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[ZipStore]:
        """Give a store in a new zip file."""
        with ZipStore(tmp_path / "store.zip", mode="w") as store:
            yield store

    def again(self, store: ZipStore, *, read_only: bool = False) -> None:
        """Give nothing: one store writes a zip file."""


class SmallStore(Store):
    """What a third party must write, and no more: everything else is the base's."""

    def __init__(self, values: dict[str, bytes], *, read_only: bool = False) -> None:
        super().__init__(read_only=read_only)
        self.values = values

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, SmallStore)
            and self.values is other.values
            and self.read_only == other.read_only
        )

    def __hash__(self) -> int:
        return id(self.values)

    def __reduce__(self) -> NoReturn:
        raise InvalidArgumentError("the values belong to this process")

    def get(self, key: str) -> bytes | None:
        """Give a value."""
        return self.values.get(key)

    def set(self, key: str, value: Buffer) -> None:
        """Store a value."""
        self.check_writable()
        self.values[check_key(key)] = bytes(value)

    def delete(self, key: str) -> None:
        """Forget a value."""
        self.check_writable()
        self.values.pop(key, None)

    def list_dir(self, prefix: str) -> Listing:
        """List one level."""
        check_prefix(prefix)
        below = [key[len(prefix) :] for key in tuple(self.values) if key.startswith(prefix)]
        keys = {prefix + key for key in below if "/" not in key}
        prefixes = {f"{prefix}{key.partition('/')[0]}/" for key in below if "/" in key}
        return Listing(tuple(sorted(keys)), tuple(sorted(prefixes)))


class TestSmallestStore(StoreContract):
    """The fallbacks of the base."""

    pickles = False

    @pytest.fixture
    def store(self) -> SmallStore:
        """Give a new store."""
        return SmallStore({})

    def again(self, store: SmallStore, *, read_only: bool = False) -> SmallStore:
        """Give a handle on the same dict."""
        return SmallStore(store.values, read_only=read_only)
