"""From a codec's name in a document to the codec, and from what a user gives to a document.

Floor 2; the one file that sees every codec. The table is a literal: nothing registers itself.

Source: Zarr v3 core, "Codecs"; Zarr v2, "compressor" and "filters".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chunkstore.codecs.base import ChunkSpec, Codec
from chunkstore.codecs.blosc import BloscCodec
from chunkstore.codecs.bytes import BytesCodec
from chunkstore.codecs.crc32c import Crc32cCodec
from chunkstore.codecs.gzip import GzipCodec
from chunkstore.codecs.numcodecs import NumcodecsBytesCodec
from chunkstore.codecs.transpose import TransposeCodec
from chunkstore.codecs.vlen_utf8 import VLenUTF8Codec
from chunkstore.codecs.zstd import ZstdCodec
from chunkstore.errors import CodecError
from chunkstore.metadata.model import CodecSpec

__all__ = ["make", "spec_of"]

_TABLE: dict[str, type[Codec]] = {
    "blosc": BloscCodec,
    "bytes": BytesCodec,
    "crc32c": Crc32cCodec,
    "gzip": GzipCodec,
    "transpose": TransposeCodec,
    "vlen-utf8": VLenUTF8Codec,
    "zstd": ZstdCodec,
}

_PREFIX = "numcodecs."
_SHUFFLE_WORDS = {0: "noshuffle", 1: "shuffle", 2: "bitshuffle"}


def make(entry: CodecSpec, spec: ChunkSpec) -> Codec | None:
    """Make the codec of one entry of a document.

    Parameters
    ----------
    entry : CodecSpec
        Name and configuration.
    spec : ChunkSpec
        What the codec will be given to encode.

    Returns
    -------
    Codec or None
        None for a codec that is not known and that the document allows one to skip.

    Raises
    ------
    CodecError
        If the name is not known, or the configuration not valid.
    """
    if entry.name in _TABLE:
        return _TABLE[entry.name].from_configuration(entry.configuration, spec)
    if entry.name.startswith(_PREFIX):
        return _from_numcodecs(entry.name.removeprefix(_PREFIX), entry.configuration, spec)
    if not entry.must_understand:
        return None
    raise CodecError(f"codec {entry.name!r} is not known; known are {', '.join(_TABLE)}")


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
    if zarr_format == 3:
        native = _native_configuration(entry, spec)
        return entry if native is None else native
    return _to_v2(entry)


def _as_given(codec: Any) -> CodecSpec:
    if isinstance(codec, NumcodecsBytesCodec):
        return CodecSpec(_PREFIX + codec.codec.codec_id, codec.configuration())
    if isinstance(codec, Codec):
        return CodecSpec(codec.name, codec.configuration())
    if hasattr(codec, "codec_id") and hasattr(codec, "get_config"):
        codec = codec.get_config()
    elif hasattr(codec, "to_dict"):
        codec = codec.to_dict()
    if isinstance(codec, str):
        return CodecSpec(codec, {})
    if isinstance(codec, Mapping) and isinstance(codec.get("name"), str):
        return CodecSpec(codec["name"], dict(codec.get("configuration", {})))
    if isinstance(codec, Mapping) and isinstance(codec.get("id"), str):
        rest = {key: value for key, value in codec.items() if key != "id"}
        return CodecSpec(_PREFIX + codec["id"], rest)
    raise CodecError(
        f"{codec!r} is no codec: give an object of chunkstore, numcodecs or zarr-python, or a dict "
        f'such as {{"name": "zstd", "configuration": {{"level": 3}}}}'
    )


def _from_numcodecs(codec_id: str, configuration: Mapping[str, Any], spec: ChunkSpec) -> Codec:
    native = _native_configuration(CodecSpec(_PREFIX + codec_id, configuration), spec)
    if native is not None:
        return _TABLE[native.name].from_configuration(native.configuration, spec)
    return NumcodecsBytesCodec.from_id(codec_id, configuration)


def _native_configuration(entry: CodecSpec, spec: ChunkSpec) -> CodecSpec | None:
    """Say a numcodecs configuration in the words of version 3, where it has the codec.

    The bytes are the same either way; ours decode into a given destination.
    """
    configuration = dict(entry.configuration)
    if entry.name == _PREFIX + "gzip":
        return CodecSpec("gzip", {"level": configuration.get("level", 1)})
    if entry.name == _PREFIX + "crc32c" and not configuration:
        return CodecSpec("crc32c", {})
    if entry.name == _PREFIX + "zstd":
        checksum = configuration.get("checksum", False)
        return CodecSpec("zstd", {"level": configuration.get("level", 0), "checksum": checksum})
    if entry.name != _PREFIX + "blosc":
        return None
    shuffle = configuration.get("shuffle", 1)
    itemsize = spec.data_type.dtype.itemsize if spec.data_type.is_fixed_size else 1
    if shuffle == -1:
        shuffle = 2 if itemsize == 1 else 1
    if shuffle not in _SHUFFLE_WORDS:
        raise CodecError(f"blosc takes for 'shuffle' -1, 0, 1 or 2, got {shuffle!r}")
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
    elif entry.name not in ("gzip", "crc32c", "vlen-utf8"):
        raise CodecError(f"Zarr version 2 has no codec {entry.name!r}; use zarr_format=3")
    return CodecSpec(_PREFIX + entry.name, configuration)
