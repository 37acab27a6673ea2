"""Stores on real services keep the contract too."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chunkstore.errors import StoreError
from tests.contracts.stores import ODD_KEYS, StoreContract
from tests.services import Service, azure, gcs, s3

pytest.importorskip("obstore")
pytest.importorskip("fsspec")

from chunkstore.stores.fsspec import FsspecStore
from chunkstore.stores.obstore import ObjectStore

__all__ = ["azure", "gcs", "s3"]


class RemoteContract(StoreContract):
    """What holds for every store that is made of a URL and options."""

    def again(self, store: Any, *, read_only: bool = False) -> Any:
        """Give a handle on the same place."""
        url, arguments = store.spec()
        return type(store)(url, **{**arguments, "read_only": read_only})


class TestS3(RemoteContract):
    """S3 through obstore."""

    @pytest.fixture
    def store(self, s3: Service) -> ObjectStore:
        """Give a store in a place of its own."""
        return ObjectStore(s3.make_url(), storage_options=s3.options)


class TestAzure(RemoteContract):
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


@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
class TestGcs(RemoteContract):
    """Google Cloud Storage through fsspec: the emulator does not speak what obstore does."""

    @pytest.fixture
    def store(self, gcs: Service) -> FsspecStore:
        """Give a store in a place of its own; locks need the promise."""
        return FsspecStore(gcs.make_url(), storage_options=gcs.options, single_writer=True)
