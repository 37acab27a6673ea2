"""From a codec's name in a document to the codec, and from what a user gives to a document.

Floor 2; the one file that sees every codec. The table is a literal: nothing registers itself.
Codecs that most arrays do without are named in it and imported when a document asks for them:
all of them together take as long to import as everything else here.
A name that is not in it is looked for among the classes that the user gave, then among the entry
points of the group ``chunkstore.codecs`` that installed packages declare.

Source: Zarr v3 core, "Codecs"; Zarr v2, "compressor" and "filters".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from chunkstore.codecs import probing
from chunkstore.codecs.base import ChunkSpec, Codec, TypedFilter
from chunkstore.codecs.blosc import BloscCodec
from chunkstore.codecs.bytes import BytesCodec
from chunkstore.codecs.chain import chain_problems, make_chain
from chunkstore.codecs.crc32c import Crc32cCodec
from chunkstore.codecs.gzip import GzipCodec
from chunkstore.codecs.numcodecs import NumcodecsBytesCodec
from chunkstore.codecs.probing import Probed
from chunkstore.codecs.settings import Settings
from chunkstore.codecs.transpose import TransposeCodec
from chunkstore.codecs.zstd import ZstdCodec
from chunkstore.errors import CodecError
from chunkstore.metadata.model import CodecSpec, extension_name_problem
from chunkstore.metadata.v2 import FILTER_CHAIN

__all__ = ["ENTRY_POINTS", "is_ours", "make", "probe", "spec_of"]

ENTRY_POINTS = "chunkstore.codecs"
"""Group of the entry points that name codec classes of other packages."""

_TABLE: dict[str, type[Codec] | str] = {
    "bitround": "bitround:BitroundCodec",
    "blosc": BloscCodec,
    "bytes": BytesCodec,
    "cast_value": "cast_value:CastValueCodec",
    "crc32c": Crc32cCodec,
    "gzip": GzipCodec,
    "packbits": "packbits:PackbitsCodec",
    "reshape": "reshape:ReshapeCodec",
    "scale_offset": "scale_offset:ScaleOffsetCodec",
    "transpose": TransposeCodec,
    "vlen-bytes": "vlen_bytes:VLenBytesCodec",
    "vlen-utf8": "vlen_utf8:VLenUTF8Codec",
    "zstd": ZstdCodec,
    "numcodecs.adler32": "zlib:Adler32Codec",
    "numcodecs.astype": "astype:AsTypeCodec",
    "numcodecs.bitround": "bitround:NumcodecsBitroundCodec",
    "numcodecs.bz2": "bz2:Bz2Codec",
    "numcodecs.categorize": "categorize:CategorizeCodec",
    "numcodecs.crc32": "zlib:Crc32Codec",
    "numcodecs.crc32c": "crc32c:NumcodecsCrc32cCodec",
    "numcodecs.delta": "delta:DeltaCodec",
    "numcodecs.fixedscaleoffset": "fixedscaleoffset:FixedScaleOffsetCodec",
    "numcodecs.json2": "numcodecs_objects:JSON2Codec",
    "numcodecs.lzma": "lzma:LzmaCodec",
    "numcodecs.msgpack2": "numcodecs_objects:MsgPack2Codec",
    "numcodecs.packbits": "packbits:NumcodecsPackbitsCodec",
    "numcodecs.pcodec": "pcodec:PcodecCodec",
    "numcodecs.pickle": "numcodecs_objects:PickleCodec",
    "numcodecs.quantize": "quantize:QuantizeCodec",
    "numcodecs.shuffle": "shuffle:ShuffleCodec",
    "numcodecs.vlen-array": "vlen_bytes:VLenArrayCodec",
    "numcodecs.zfpy": "zfpy:ZfpyCodec",
    "numcodecs.zlib": "zlib:ZlibCodec",
}

_BY_NAME_ALONE: Mapping[str, Mapping[str, Any]] = {
    "blosc": {"cname": "zstd", "clevel": 5, "shuffle": "shuffle"},
    "gzip": {"level": 5},
    "zstd": {"level": 0, "checksum": False},
}
"""What a user means who gives a name and no more; documents must say it."""

_PREFIX = "numcodecs."
_SHUFFLE_WORDS = {0: "noshuffle", 1: "shuffle", 2: "bitshuffle"}
_DTYPE_KEYS = ("dtype", "astype", "encode_dtype", "decode_dtype")
_SAME_IN_V2 = ("bitround", "crc32c", "gzip", "vlen-bytes", "vlen-utf8")


def make(entry: CodecSpec, spec: ChunkSpec) -> Codec | None:
    """Make the codec of one entry of a document.

    Parameters
    ----------
    entry : CodecSpec
        Name and configuration.
    spec : ChunkSpec
        What the codec will be given to encode; the classes in its options are known beside those
        of the table, and before them.

    Returns
    -------
    Codec or None
        None for a codec that is not known and that the document allows one to skip.

    Raises
    ------
    CodecError
        If the name is not known, or the configuration not valid.
    MissingExtraError
        If the codec needs a package that is not installed.
    """
    if entry.name == FILTER_CHAIN:
        return make_chain(entry.configuration, spec, _make_known)
    codec = _make_known(entry, spec)
    if isinstance(codec, TypedFilter):
        _check_byte_order(codec, entry)
    return codec


def probe(entry: CodecSpec, specs: Sequence[ChunkSpec]) -> Probed:
    """Find what is wrong with an entry whatever it is given of `specs`; see `codecs.probing`."""
    if entry.name == FILTER_CHAIN:
        return Probed(chain_problems(entry.configuration, specs[0], _make_known), tuple(specs))
    return probing.probe(entry, specs, make)


def _make_known(entry: CodecSpec, spec: ChunkSpec) -> Codec | None:
    given = {cls.name: cls for cls in spec.options.codecs}
    if entry.name in given:
        return _checked(given[entry.name].from_configuration(entry.configuration, spec), entry)
    entry = _native(entry, spec) or entry
    if entry.name in _TABLE:
        return _class_of(entry.name).from_configuration(entry.configuration, spec)
    installed = _installed(entry.name)
    if installed is not None:
        return _checked(installed.from_configuration(entry.configuration, spec), entry)
    codec_id = entry.name.removeprefix(_PREFIX)
    if codec_id != entry.name and (entry.must_understand or NumcodecsBytesCodec.knows(codec_id)):
        return NumcodecsBytesCodec.from_id(codec_id, entry.configuration)
    if not entry.must_understand:
        return None
    raise CodecError(
        f"codec {entry.name!r} is not known; known are sharding_indexed, {', '.join(_TABLE)}. "
        f"Install a package that declares it in the entry points {ENTRY_POINTS!r}, or pass "
        f"Options(codecs=(Class,))"
    )


def _class_of(name: str) -> type[Codec]:
    """Give the class of a name in the table."""
    found = _TABLE[name]
    if isinstance(found, str):
        module, _, member = found.partition(":")
        found = _TABLE[name] = getattr(import_module(f"{__package__}.{module}"), member)
    return found


def _checked(codec: Any, entry: CodecSpec) -> Codec:
    if not isinstance(codec, Codec):
        raise CodecError(f"codec {entry.name!r} is a {type(codec).__name__}, not a Codec")
    return codec


@lru_cache(maxsize=64)
def _installed(name: str) -> type[Codec] | None:
    """Load the class that an installed package declares under a name, if one does."""
    points = {point.value: point for point in entry_points(group=ENTRY_POINTS, name=name)}
    if len(points) > 1:
        raise CodecError(f"codec {name!r} is declared by several packages: {', '.join(points)}")
    for value, point in points.items():
        try:
            cls = point.load()
        # Loading runs another package's code, which may fail in any way.
        except Exception as error:
            raise CodecError(f"codec {name!r} cannot be loaded from {value!r}: {error}") from error
        if not (isinstance(cls, type) and issubclass(cls, Codec)):
            raise CodecError(f"codec {name!r}: {value!r} is no class derived from Codec")
        return cls
    return None


def is_ours(cls: type[Codec]) -> bool:
    """Whether a class is the one that a document's name stands for without a user's doing."""
    name: object = getattr(cls, "name", None)
    return not isinstance(name, str) or (name in _TABLE and _class_of(name) is cls)


def spec_of(codec: Any, *, zarr_format: int, spec: ChunkSpec) -> CodecSpec:
    """Turn what a user may give for a codec into the entry of a document of the format.

    Taken are objects of this package, of numcodecs and of zarr-python, and dicts in the style of
    either format.

    Raises
    ------
    CodecError
        If it is none of these, or if version 2 has no name for it.
    """
    entry = _as_given(codec)
    entry = entry._replace(configuration=_as_json(entry))
    if zarr_format == 2:
        return _to_v2(entry)
    entry = _complete(_native(entry, spec) or _little_endian(entry), spec)
    problem = extension_name_problem(entry.name)
    if problem is not None:
        raise CodecError(f"the name of a codec {problem}")
    return entry


def _complete(entry: CodecSpec, spec: ChunkSpec) -> CodecSpec:
    """Say the settings that one may leave out here, and other readers ask for."""
    if entry.name not in ("blosc", "zstd"):
        return entry
    try:
        codec = _class_of(entry.name).from_configuration(entry.configuration, spec)
    except CodecError:
        return entry  # What is wrong with it is said when the array is laid out.
    return entry._replace(configuration=codec.configuration())


def _as_given(codec: Any) -> CodecSpec:
    if isinstance(codec, Codec):
        return CodecSpec(codec.name, codec.configuration())
    if hasattr(codec, "codec_id") and hasattr(codec, "get_config"):
        codec = codec.get_config()
    elif hasattr(codec, "to_dict"):
        codec = codec.to_dict()
    if isinstance(codec, str):
        return CodecSpec(codec, _BY_NAME_ALONE.get(codec, {}))
    if isinstance(codec, Mapping) and isinstance(codec.get("name"), str):
        return CodecSpec(codec["name"], dict(codec.get("configuration") or {}))
    if isinstance(codec, Mapping) and isinstance(codec.get("id"), str):
        rest = {key: value for key, value in codec.items() if key != "id"}
        return CodecSpec(_PREFIX + codec["id"], rest)
    raise CodecError(
        f"{codec!r} is no codec: give an object of chunkstore, numcodecs or zarr-python, or a dict "
        f'such as {{"name": "zstd", "configuration": {{"level": 3}}}}'
    )


def _as_json(entry: CodecSpec) -> dict[str, Any]:
    """Give the configuration as it reads when it comes back from a document."""
    try:
        configuration: dict[str, Any] = json.loads(json.dumps(entry.configuration, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise CodecError(f"the configuration of {entry.name} is not JSON: {error}") from error
    return configuration


def _check_byte_order(codec: TypedFilter, entry: CodecSpec) -> None:
    """Refuse big-endian types in version 3, where elements have no byte order to see.

    zarr-python swaps the bytes of every element there and back, so its data would be read wrong.
    """
    if ">" in (codec.dtype.str[0], codec.astype.str[0]):
        raise CodecError(f"{entry.name} has no byte order in version 3; write '<' in its types")


def _little_endian(entry: CodecSpec) -> CodecSpec:
    """Say the types of a numcodecs filter without the byte order that version 2 gave them."""
    if not entry.name.startswith(_PREFIX):
        return entry
    configuration = dict(entry.configuration)
    for key in _DTYPE_KEYS:
        value = configuration.get(key)
        if isinstance(value, str) and value.startswith(">"):
            configuration[key] = "<" + value[1:]
    return entry._replace(configuration=configuration)


def _native(entry: CodecSpec, spec: ChunkSpec) -> CodecSpec | None:
    """Say a numcodecs configuration in the words of version 3, where it has the codec.

    The bytes are the same either way.
    """
    configuration = dict(entry.configuration)
    if entry.name == _PREFIX + "gzip":
        Settings(entry.name, configuration, optional=("level",)).check()
        return CodecSpec("gzip", {"level": configuration.get("level", 1)})
    if entry.name == _PREFIX + "crc32c" and configuration.get("location", "end") == "end":
        Settings(entry.name, configuration, optional=("location",)).check()
        return CodecSpec("crc32c", {})
    if entry.name == _PREFIX + "zstd":
        Settings(entry.name, configuration, optional=("level", "checksum")).check()
        checksum = configuration.get("checksum", False)
        return CodecSpec("zstd", {"level": configuration.get("level", 0), "checksum": checksum})
    if entry.name == _PREFIX + "blosc":
        return _native_blosc(entry.name, configuration, spec)
    return None


def _native_blosc(name: str, configuration: Mapping[str, Any], spec: ChunkSpec) -> CodecSpec:
    keys = ("cname", "clevel", "shuffle", "typesize", "blocksize")
    settings = Settings(name, configuration, optional=keys)
    shuffle = configuration.get("shuffle", 1)
    itemsize = spec.data_type.dtype.itemsize if spec.data_type.is_fixed_size else 1
    if shuffle == -1:
        shuffle = 2 if itemsize == 1 else 1
    if isinstance(shuffle, bool) or shuffle not in (0, 1, 2):
        settings.note("shuffle", "-1, 0, 1 or 2")
    settings.check()
    return CodecSpec(
        "blosc",
        {
            "cname": configuration.get("cname", "lz4"),
            "clevel": configuration.get("clevel", 5),
            "shuffle": _SHUFFLE_WORDS[shuffle],
            "typesize": configuration.get("typesize") or itemsize,
            "blocksize": configuration.get("blocksize", 0),
        },
    )


def _to_v2(entry: CodecSpec) -> CodecSpec:
    """Say a codec in the words of version 2: a numcodecs id and its configuration."""
    configuration = dict(entry.configuration)
    if entry.name.startswith(_PREFIX) or entry.name == "transpose":
        return entry
    if entry.name == "blosc":
        words = {word: number for number, word in _SHUFFLE_WORDS.items()}
        shuffle = configuration.get("shuffle", "shuffle")
        configuration["shuffle"] = words.get(shuffle, shuffle)
        configuration.pop("typesize", None)
    elif entry.name == "zstd":
        # Readers older than the option fail on the key, even when it is false.
        if not configuration.get("checksum", False):
            configuration.pop("checksum", None)
    elif entry.name not in _SAME_IN_V2:
        raise CodecError(f"Zarr version 2 has no codec {entry.name!r}; use zarr_format=3")
    return CodecSpec(_PREFIX + entry.name, configuration)
