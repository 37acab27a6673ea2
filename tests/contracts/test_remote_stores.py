"""Stores on real services keep the contract too."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from chunkstore.errors import ConflictError, StoreError
from chunkstore.stores import conditional
from chunkstore.types import ByteRange
from chunkstore.workers import run_in_threads
from tests.contracts.stores import ODD_KEYS, StoreContract
from tests.services import Service, azure, gcs, gcs_xml, s3

pytest.importorskip("obstore")
pytest.importorskip("fsspec")

from chunkstore.stores.fsspec import FsspecStore
from chunkstore.stores.obstore import ObjectStore

__all__ = ["azure", "gcs", "gcs_xml", "s3"]


class RemoteContract(StoreContract):
    """What holds for every store that is made of a URL and options."""

    def again(self, store: Any, *, read_only: bool = False) -> Any:
        """Give a handle on the same place."""
        url, arguments = store.spec()
        return type(store)(url, **{**arguments, "read_only": read_only})


class ConditionalContract(RemoteContract):
    """What holds for every service that heeds conditions."""

    def test_the_service_heeds_conditions(self, store: ObjectStore) -> None:
        """A value is written if it is the version that was read, or absent, and not otherwise."""
        assert store.has_conditions()
        assert store.write_if("a", b"1", None)
        assert not store.write_if("a", b"2", None)
        found = store.read_version("a")
        assert found is not None
        assert store.write_if("a", b"3", found.version)
        assert not store.write_if("a", b"4", found.version)
        assert store.get("a") == b"3"
        assert list(store.list_prefix()) == ["a"]

    def test_updates_race_on_the_service(
        self, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Updates that nothing but the service keeps apart, as between machines, all count."""
        store.has_conditions()
        monkeypatch.setattr(conditional, "thread_lock", lambda *_: nullcontext())

        def count(_: int) -> None:
            store.update("n", lambda stored: str(int(stored or b"0") + 1).encode())

        run_in_threads(count, range(40), n_threads=4)
        assert store.get("n") == b"40"

    def test_a_replaced_value_is_noticed(self, store: ObjectStore) -> None:
        """Parts of a value that was replaced by one of the same length are refused."""
        store.set("a", bytes(100))
        opened = store.open_value("a", ByteRange(0, 10))
        assert opened is not None
        store.set("a", bytes(99) + b"1")
        with pytest.raises(ConflictError, match="was replaced while"):
            opened.read(ByteRange(50, 10))


class TestS3(ConditionalContract):
    """S3 through obstore."""

    @pytest.fixture
    def store(self, s3: Service) -> ObjectStore:
        """Give a store in a place of its own."""
        return ObjectStore(s3.make_url(), storage_options=s3.options)


class TestAzure(ConditionalContract):
    """Azure Blob Storage through obstore."""

    @pytest.fixture
    def store(self, azure: Service) -> ObjectStore:
        """Give a store in a place of its own."""
        return ObjectStore(azure.make_url(), storage_options=azure.options)

    @pytest.mark.parametrize("key", [key for key in ODD_KEYS if "\\" not in key])
    def test_odd_keys(self, store: Any, key: str) -> None:
        """Any text that Azure can keep is a key."""
        super().test_odd_keys(store, key)

    def test_a_backslash_is_refused(self, store: ObjectStore) -> None:
        """Azure would store it under another key, so it is not stored at all."""
        with pytest.raises(StoreError, match="backslash"):
            store.set("a\\b", b"1")


class TestMemoryFileSystem(RemoteContract):
    """A file system of fsspec in memory."""

    @pytest.fixture
    def store(self) -> Iterator[FsspecStore]:
        """Give a store in a place of its own."""
        store = FsspecStore(f"memory://{uuid.uuid4().hex}")
        yield store
        store.delete_prefix("")


class TestLocalFileSystem(RemoteContract):
    """A file system of fsspec on disk, where values get their names by renaming."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> FsspecStore:
        """Give a store in a place of its own; locks need the promise."""
        return FsspecStore(f"file://{tmp_path}/store", single_writer=True)


class TestGcs(ConditionalContract):
    """Google Cloud Storage through obstore."""

    @pytest.fixture
    def store(self, gcs_xml: Service) -> ObjectStore:
        """Give a store in a place of its own."""
        return ObjectStore(gcs_xml.make_url(), storage_options=gcs_xml.options)


@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
class TestGcsFileSystem(RemoteContract):
    """Google Cloud Storage through fsspec, on another emulator."""

    @pytest.fixture
    def store(self, gcs: Service) -> FsspecStore:
        """Give a store in a place of its own; locks need the promise."""
        return FsspecStore(gcs.make_url(), storage_options=gcs.options, single_writer=True)
