"""Our own stores keep the contract, and so does the smallest store one can write."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import chunkstore as cs
from chunkstore import LocalStore, MappingStore, MemoryStore, ZipStore
from chunkstore.stores.backend import Buffer, Listing, Store, check_key, check_prefix
from tests.contracts import sqlite
from tests.contracts.sqlite import SqliteStore
from tests.contracts.stores import StoreContract

CHECKOUT = Path(__file__).parents[2]


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


class TestSqlite(StoreContract):
    """Values in a table: a backend as a third party would write it."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> SqliteStore:
        """Give a store in a new database."""
        return SqliteStore(str(tmp_path / "values.sqlite"))

    def again(self, store: SqliteStore, *, read_only: bool = False) -> SqliteStore:
        """Give a handle on the same database."""
        return SqliteStore(store.file, read_only=read_only)

    def test_it_is_short(self) -> None:
        """A new backend is one file under 150 lines."""
        assert len(Path(sqlite.__file__).read_text().splitlines()) < 150

    def test_processes_append(self, store: SqliteStore) -> None:
        """What several processes append, or set as attributes, at once is all kept."""
        cs.create_array(store, name="x", shape=(0,), dtype="i4", chunks=(7,), fill_value=-1)
        workers = [
            subprocess.Popen([sys.executable, "-c", APPEND, store.file, str(me)], cwd=CHECKOUT)
            for me in range(3)
        ]
        assert [worker.wait(60) for worker in workers] == [0, 0, 0]
        x = cs.open_array(store, path="x", mode="r")
        assert sorted(x[...].tolist()) == sorted([i for i in range(18) for _ in range(3)])
        assert set(x.attrs) == {str(i) for i in range(18)}


APPEND = """
import sys
import chunkstore as cs
from tests.contracts.sqlite import SqliteStore

x = cs.open_array(SqliteStore(sys.argv[1]), path="x", mode="r+")
for i in range(6 * int(sys.argv[2]), 6 * int(sys.argv[2]) + 6):
    x.append([i] * 3)
    x.attrs[str(i)] = True
"""


def test_the_suite_runs_elsewhere(tmp_path: Path) -> None:
    """A third party runs the contract on its own store, with nothing of this folder but the suite.

    The store here forgets what it was given, so that the run is seen to fail where it must.
    """
    shutil.copy(Path(__file__).with_name("stores.py"), tmp_path / "contract.py")
    (tmp_path / "test_mine.py").write_text(THEIRS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(CHECKOUT)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert "test_mine.py::TestMine::test_gives_back_what_was_set" in done.stdout, done.stdout
    assert "test_absent_key_is_none" not in done.stdout
    assert " passed" in done.stdout


THEIRS = """
import pytest
from chunkstore.stores.backend import Listing, Store
from contract import StoreContract

class Forgetful(Store):
    def get(self, key): return None
    def set(self, key, value): self.check_writable()
    def delete(self, key): self.check_writable()
    def list_dir(self, prefix): return Listing((), ())

class TestMine(StoreContract):
    pickles = False

    @pytest.fixture
    def store(self):
        return Forgetful()

    def again(self, store, *, read_only=False):
        return None
"""


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
