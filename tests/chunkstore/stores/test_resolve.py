"""What a user gives for a store becomes the store that is meant, or is refused."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from chunkstore import LocalStore, MemoryStore
from chunkstore.errors import InvalidArgumentError, MissingExtraError
from chunkstore.stores.resolve import resolve
from chunkstore.stores.zip import ZipStore


@pytest.mark.parametrize("read_only", [False, True])
def test_a_store_is_taken_as_it_is(read_only: bool) -> None:
    """An object of a store comes back, whatever mode is asked for."""
    store = MemoryStore()
    assert resolve(store, read_only=read_only) is store
    assert store.read_only is False


@pytest.mark.parametrize("read_only", [False, True])
def test_paths_and_urls(tmp_path: Path, read_only: bool) -> None:
    """A path, as text, as an object or as a file URL, is the folder of that name."""
    folder = tmp_path / "a b#1"
    expected = LocalStore(folder, read_only=read_only)
    for given in (folder, str(folder), folder.as_uri(), "file://localhost" + folder.as_uri()[7:]):
        assert resolve(given, read_only=read_only) == expected


@pytest.mark.parametrize("given", [None, "memory://"])
def test_memory(given: str | None) -> None:
    """No store, or the memory URL, is a new store each time."""
    first, second = resolve(given), resolve(given, read_only=True)
    assert isinstance(first, MemoryStore)
    assert first != second
    assert (first.read_only, second.read_only) == (False, True)


@pytest.mark.parametrize("scheme", ["s3", "https", "gs", "nonsense"])
def test_a_url_is_never_a_folder(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL of another kind is a remote store, or refused; it makes no folder of its name."""
    monkeypatch.chdir(tmp_path)
    try:
        found = resolve(f"{scheme}://bucket/data.zarr")
    except (InvalidArgumentError, MissingExtraError):
        found = None
    assert not isinstance(found, LocalStore)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "given", ["file://data/x", "file://", "file:///a?b", "file:///a#b", "memory://name", ""]
)
def test_urls_that_cannot_be_meant(given: str) -> None:
    """A URL of which a part would have to be dropped is refused rather than guessed."""
    with pytest.raises(InvalidArgumentError, match=r"names no folder|have no names"):
        resolve(given)


@pytest.mark.parametrize("given", [1, b"path", ["a"], object()])
def test_no_store(given: Any) -> None:
    """What is neither a store nor a path nor a URL is refused."""
    with pytest.raises(InvalidArgumentError, match="is no store"):
        resolve(given)


def test_zip_files_and_mappings(tmp_path: Path) -> None:
    """A zip file is read from its path, a folder of such a name is a folder, a dict is used."""
    with ZipStore(tmp_path / "x.zip", mode="w") as store:
        store.set("a", b"1")
    found = resolve(str(tmp_path / "x.zip"))
    assert isinstance(found, ZipStore)
    assert found.get("a") == b"1"
    found.close()
    (tmp_path / "y.zip").mkdir()
    assert isinstance(resolve(tmp_path / "y.zip"), LocalStore)
    values: dict[str, bytes] = {}
    resolve(values).set("a", b"1")
    assert values == {"a": b"1"}


@pytest.mark.parametrize(
    ("url", "extra"), [("s3://bucket/x", "obstore"), ("sftp://host/x", "fsspec")]
)
def test_a_missing_library_is_named(url: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library that a URL needs, the error says what to install."""
    for library in ("obstore", "fsspec"):
        monkeypatch.setitem(sys.modules, library, None)
        monkeypatch.setitem(sys.modules, f"{library}.core", None)
        monkeypatch.delitem(sys.modules, f"chunkstore.stores.{library}", raising=False)
    with pytest.raises(MissingExtraError, match=re.escape(f"'chunkstore[{extra}]'")):
        resolve(url)


def test_storage_options_are_for_urls(tmp_path: Path) -> None:
    """Options for a store that takes none are refused, not dropped."""
    with pytest.raises(InvalidArgumentError, match="storage_options"):
        resolve(tmp_path, storage_options={"anon": True})
