"""Names find their codecs: in the table, among a user's classes, in installed packages."""

from __future__ import annotations

import importlib
import json
import pickle
import pkgutil
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest

import chunkstore as cs
from chunkstore import codecs as folder
from chunkstore.codecs import table
from chunkstore.codecs.base import BytesBytesCodec, ChunkSpec, Codec, as_bytes
from chunkstore.codecs.settings import Settings
from chunkstore.codecs.zstd import ZstdCodec
from chunkstore.dtypes import from_numpy
from chunkstore.errors import (
    CodecError,
    InvalidArgumentError,
    MetadataError,
    MissingExtraError,
)
from chunkstore.metadata.model import CodecSpec
from tests.contracts.codecs import spec_for

NOT_CODECS = ("base", "chain", "probing", "settings", "table")
OBJECTS = ("categorize", "numcodecs_objects", "vlen_bytes", "vlen_utf8")
"""Codecs of types that are not numbers, whose examples their own tests read."""

EXAMPLE_DTYPES = ("f8", "f4", "i4", "?", "u1")


def examples() -> list[tuple[str, dict[str, Any]]]:
    """Give the configurations in the docstrings of all codec modules, each with its module."""
    found = []
    for module in pkgutil.iter_modules(folder.__path__):
        if module.name in (*NOT_CODECS, *OBJECTS):
            continue
        text = importlib.import_module(f"{folder.__name__}.{module.name}").__doc__ or ""
        blocks = re.findall(r"code-block:: json\n\n(.*?)\n\n", text, re.DOTALL)
        assert blocks, f"{module.name} has no example"
        found += [(module.name, json.loads(block)) for block in blocks]
    return found


@pytest.mark.parametrize(("module", "example"), examples())
def test_examples_in_docstrings_make_codecs(module: str, example: dict[str, Any]) -> None:
    """Every example names a codec of its module, and what the codec says of itself makes it again.

    It is tried for numbers of several types, for not every codec takes all of them.
    """
    if module in ("pcodec", "zfpy"):
        pytest.importorskip(module)
    entry = CodecSpec(example["name"], example.get("configuration", {}))
    n_made = 0
    for dtype in EXAMPLE_DTYPES:
        spec = spec_for((2, 3, 4), dtype)
        try:
            made = table.make(entry, spec)
        except CodecError:
            continue
        assert made is not None
        n_made += 1
        assert type(made).__module__.endswith(f".{module}")
        assert made.name == entry.name
        configuration = json.loads(json.dumps(made.configuration()))
        assert table.make(CodecSpec(made.name, configuration), spec) == made
        assert table.spec_of(made, zarr_format=3, spec=spec) == CodecSpec(made.name, configuration)
    assert n_made


def test_every_name_leads_to_its_codec() -> None:
    """Classes that the table only names are there, and bear the names that stand for them."""
    for name in table._TABLE:
        cls = table._class_of(name)
        assert issubclass(cls, Codec)
        assert cls.name == name
        assert cls.__module__.startswith("chunkstore.codecs.")


def test_every_name_has_an_example() -> None:
    """No codec of the table goes without an example that the test above reads."""
    shown = {example["name"] for _, example in examples()}
    others = {
        name
        for name in table._TABLE
        if table._class_of(name).__module__.rpartition(".")[2] in OBJECTS
    }
    assert shown | others >= set(table._TABLE)


@pytest.mark.parametrize(
    ("given", "name", "configuration"),
    [
        (numcodecs.Zstd(3), "zstd", {"level": 3, "checksum": False}),
        (numcodecs.GZip(2), "gzip", {"level": 2}),
        (numcodecs.CRC32C(), "crc32c", {}),
        (numcodecs.CRC32C(location="start"), "numcodecs.crc32c", {"location": "start"}),
        (
            numcodecs.Blosc("lz4", 5, shuffle=-1),
            "blosc",
            {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": 8, "blocksize": 0},
        ),
        (
            numcodecs.Delta(">i8"),
            "numcodecs.delta",
            {"dtype": "<i8", "astype": "<i8"},
        ),
        (ZstdCodec(1), "zstd", {"level": 1, "checksum": False}),
        ("crc32c", "crc32c", {}),
        ({"id": "zlib", "level": 4}, "numcodecs.zlib", {"level": 4}),
        ({"name": "bitround", "configuration": {"keepbits": 3}}, "bitround", {"keepbits": 3}),
    ],
)
def test_what_a_user_may_give(given: Any, name: str, configuration: dict[str, Any]) -> None:
    """Objects of numcodecs and ours, names and dicts of both styles become entries of version 3."""
    entry = table.spec_of(given, zarr_format=3, spec=spec_for((4,), "i8"))
    assert entry == CodecSpec(name, configuration)


@pytest.mark.parametrize(
    ("given", "configuration"),
    [
        (ZstdCodec(1), {"id": "zstd", "level": 1}),
        (ZstdCodec(1, checksum=True), {"id": "zstd", "level": 1, "checksum": True}),
        ("crc32c", {"id": "crc32c"}),
        ({"name": "bitround", "configuration": {"keepbits": 3}}, {"id": "bitround", "keepbits": 3}),
    ],
)
def test_words_of_version_2(given: Any, configuration: dict[str, Any]) -> None:
    """The same become ids of numcodecs in version 2, and numcodecs makes codecs of them."""
    entry = table.spec_of(given, zarr_format=2, spec=spec_for((4,), "f8"))
    said = {"id": entry.name.removeprefix("numcodecs."), **entry.configuration}
    assert said == configuration
    assert numcodecs.get_codec(said) is not None


@pytest.mark.parametrize(
    ("given", "zarr_format", "what"),
    [
        (3, 3, "is no codec"),
        ({"level": 3}, 3, "is no codec"),
        ({"name": "Upper", "configuration": {}}, 3, "must start with"),
        ({"name": "numcodecs filters", "configuration": {}}, 3, "must start with"),
        ({"name": "zstd", "configuration": {"level": object()}}, 3, "not JSON"),
        ({"name": "scale_offset", "configuration": {"scale": float("nan")}}, 3, "not JSON"),
        ("reshape", 2, "version 2 has no codec 'reshape'"),
        ("packbits", 2, "version 2 has no codec 'packbits'"),
    ],
)
def test_what_cannot_be_a_codec(given: Any, zarr_format: int, what: str) -> None:
    """Anything else is refused, with what is wrong about it."""
    with pytest.raises(CodecError, match=what):
        table.spec_of(given, zarr_format=zarr_format, spec=spec_for((4,), "f8"))


@pytest.mark.parametrize("codec_id", ["pickle", "json2", "categorize", "vlen-array", "msgpack2"])
def test_no_objects_from_bytes(codec_id: str) -> None:
    """A codec of objects is never taken for a compressor: a pickle could run anything."""
    chain = {
        "serializer": CodecSpec("bytes", {"endian": "little"}),
        "filters": (CodecSpec("numcodecs.zlib", {}), CodecSpec(f"numcodecs.{codec_id}", {})),
        "compressor": None,
    }
    with pytest.raises((CodecError, MissingExtraError)):
        table.make(CodecSpec("numcodecs filters", chain), spec_for((4,), "f8"))


def test_big_endian_filters_in_version_3() -> None:
    """A filter of version 3 that sees big-endian types is refused, not read some other way."""
    entry = CodecSpec("numcodecs.delta", {"dtype": ">i4"})
    with pytest.raises(CodecError, match="no byte order"):
        table.make(entry, spec_for((4,), "i4"))


# --- a user's own ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Invert(BytesBytesCodec):
    """Flip every bit."""

    name = "test.invert"

    def encode(self, data: Any) -> Any:
        """Flip."""
        return (~as_bytes(data)).data

    def decode(self, data: Any, *, limit: int | None = None, out: Any = None) -> Any:
        """Flip back."""
        return (~as_bytes(data)).data


@dataclass(frozen=True)
class OtherZstd(BytesBytesCodec):
    """A codec that takes the name of one of ours."""

    name = "zstd"

    @classmethod
    def from_configuration(cls, configuration: Any, spec: ChunkSpec) -> OtherZstd:
        """Take no configuration."""
        Settings(cls.name, configuration).check()
        return cls()

    encode = Invert.encode
    decode = Invert.decode


@pytest.mark.parametrize("shards", [None, (4,)])
def test_codec_object_and_option(shards: Any) -> None:
    """An object makes an array; the option opens it, in shards too; nothing else does."""
    store, values = cs.MemoryStore(), np.arange(10)
    made = cs.create_array(store, data=values, chunks=(2,), shards=shards, compressors=[Invert()])
    assert made.options.codecs == (Invert,)
    assert np.array_equal(made[...], values)
    stored = store.get("c/0")
    assert stored is not None
    assert (~values[:2]).tobytes() == stored[:16]
    opened = cs.open_array(store, mode="r+", options=cs.Options(codecs=(Invert,)))
    opened[3] = 30
    assert opened[:5].tolist() == [0, 1, 2, 30, 4]
    with pytest.raises(MetadataError, match=r"(?s)test\.invert' is not known.*chunkstore\.codecs"):
        cs.open_array(store)


def test_codec_travels_with_the_handle(tmp_path: Path) -> None:
    """A pickled handle knows the user's codecs that the handle knew, as do members of a group."""
    root = cs.create_group(tmp_path, options=cs.Options(codecs=(Invert,)))
    root.create_array("a", data=np.arange(3), compressors=Invert())
    again = pickle.loads(pickle.dumps(root["a"]))
    assert again[...].tolist() == [0, 1, 2]
    assert again.with_options(n_threads=1)[...].tolist() == [0, 1, 2]


def test_user_class_comes_first() -> None:
    """A class that is given by hand stands for its name even where we have one of that name."""
    store, values = cs.MemoryStore(), np.arange(4)
    cs.create_array(store, data=values, compressors=OtherZstd())
    assert store.get("c/0") == (~values).tobytes()
    opened = cs.open_array(store, options=cs.Options(codecs=(OtherZstd,)))
    assert np.array_equal(opened[...], values)
    with pytest.raises(MetadataError, match="needs 'level'"):
        cs.open_array(store)


@pytest.mark.parametrize("codecs", [Invert, [Invert], (Invert(),), ("zstd",), (int,)])
def test_options_take_classes(codecs: Any) -> None:
    """Options refuse anything but a tuple of classes with names."""
    with pytest.raises(InvalidArgumentError, match="codecs must be a tuple of classes"):
        cs.Options(codecs=codecs)


PLUGIN = """
from chunkstore.codecs.base import BytesBytesCodec, as_bytes

class Plugged(BytesBytesCodec):
    name = "test.plugged"
    def __eq__(self, other): return isinstance(other, Plugged)
    def __hash__(self): return 0
    def encode(self, data): return (as_bytes(data) + 1).data
    def decode(self, data, *, limit=None, out=None): return (as_bytes(data) - 1).data

class Nothing: name = "test.nothing"
"""
ENTRY_POINTS = """
[chunkstore.codecs]
test.plugged = {module}:Plugged
test.nothing = {module}:Nothing
test.broken = {module}:Missing
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Install packages that declare codecs, by their names."""

    def install(*names: str) -> None:
        for name in names:
            (tmp_path / f"{name}.py").write_text(PLUGIN)
            information = tmp_path / f"{name}-1.dist-info"
            information.mkdir()
            (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\n")
            (information / "entry_points.txt").write_text(ENTRY_POINTS.format(module=name))
        monkeypatch.syspath_prepend(str(tmp_path))
        table._installed.cache_clear()

    yield install
    table._installed.cache_clear()
    for name in ("plugin_one", "plugin_two"):
        sys.modules.pop(name, None)


def test_entry_point(installed: Any) -> None:
    """A codec that an installed package declares is found by its name alone."""
    installed("plugin_one")
    store = cs.MemoryStore()
    compressor = {"name": "test.plugged", "configuration": {}}
    made = cs.create_array(store, data=np.arange(3, dtype="u1"), compressors=compressor)
    assert store.get("c/0") == b"\x01\x02\x03"
    assert cs.open_array(store)[...].tolist() == [0, 1, 2]
    assert made.options.codecs == ()


@pytest.mark.parametrize(
    ("packages", "name", "what"),
    [
        (("plugin_one",), "test.nothing", "no class derived from Codec"),
        (("plugin_one",), "test.broken", "cannot be loaded from 'plugin_one:Missing'"),
        (("plugin_one", "plugin_two"), "test.plugged", "declared by several packages"),
        ((), "test.plugged", "is not known"),
    ],
)
def test_bad_entry_points(installed: Any, packages: tuple[str, ...], name: str, what: str) -> None:
    """An entry point that cannot be meant is an error that names it."""
    installed(*packages)
    with pytest.raises(CodecError, match=what):
        table.make(CodecSpec(name, {}), spec_for((3,), "u1"))


def test_unknown_codec_that_may_be_skipped() -> None:
    """What is not known and need not be understood makes no codec; what is known is made."""
    spec = ChunkSpec((3,), from_numpy("u1"), np.uint8(0))
    for name in ("test.unknown", "numcodecs.unknown"):
        assert table.make(CodecSpec(name, {}, must_understand=False), spec) is None
        with pytest.raises(CodecError, match="is not known"):
            table.make(CodecSpec(name, {}), spec)
    made = table.make(CodecSpec("numcodecs.lz4", {}, must_understand=False), spec)
    assert made is not None
    assert made.name == "numcodecs.lz4"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("zstd", {"level": 0, "checksum": False}),
        ("gzip", {"level": 5}),
        ("crc32c", {}),
        ({"name": "zstd", "configuration": {"level": 3}}, {"level": 3, "checksum": False}),
        (
            {"name": "blosc", "configuration": {"cname": "lz4", "clevel": 1, "shuffle": "shuffle"}},
            {"cname": "lz4", "clevel": 1, "shuffle": "shuffle", "typesize": 4, "blocksize": 0},
        ),
        (
            "blosc",
            {"cname": "zstd", "clevel": 5, "shuffle": "shuffle", "typesize": 4, "blocksize": 0},
        ),
    ],
)
def test_documents_say_every_setting(given: Any, expected: dict[str, Any]) -> None:
    """What a user may leave out of a codec is in the document: other readers ask for it."""
    made = cs.create_array(None, shape=4, dtype="f4", compressors=given)
    assert made.metadata.codecs[1].configuration == expected
