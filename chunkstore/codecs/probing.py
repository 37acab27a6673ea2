"""What is wrong with a codec whatever it is given, for documents of which only a part is read.

Floor 2. Where the data type or the shape of chunks is not known, a codec is tried on one of each
kind, and what is wrong with it on all of them does not come from them::

    {"name": "zstd", "configuration": {"level": 99}}    wrong on any chunk: said
    {"name": "bytes"}                                   wrong on some: not said

"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from chunkstore.codecs.base import ArrayArrayCodec, ChunkSpec, Codec
from chunkstore.codecs.settings import located
from chunkstore.dtypes import DataType, from_v3
from chunkstore.errors import CodecError, MissingExtraError
from chunkstore.metadata.model import CodecSpec
from chunkstore.options import Options
from chunkstore.types import Shape

__all__ = ["Probed", "probe", "stand_ins"]

_TYPES = ("bool", "uint8", "int16", "int32", "float32", "float64", "complex128", "string", "bytes")
_SHAPES: tuple[Shape, ...] = ((), (4,), (2, 3), (2, 3, 5), (2, 2, 2, 2))


class Probed(NamedTuple):
    """What is known of a codec: problems, each with its path below the entry, and what it makes."""

    problems: list[tuple[str, str]]
    after: tuple[ChunkSpec, ...]


def stand_ins(
    options: Options,
    *,
    data_types: Iterable[DataType] | None = None,
    shapes: Iterable[Shape] | None = None,
) -> tuple[ChunkSpec, ...]:
    """Give chunks that stand for all that there may be: of the types and shapes that are known.

    Parameters
    ----------
    options : Options
        Of the handle to be.
    data_types, shapes : iterable, optional
        What is known; by default of every kind.
    """
    types = _types() if data_types is None else tuple(dict.fromkeys(data_types))
    return tuple(
        ChunkSpec(shape, data_type, data_type.default_fill(), options)
        for shape in (_SHAPES if shapes is None else dict.fromkeys(shapes))
        for data_type in types
    )


def probe(
    entry: CodecSpec,
    specs: Sequence[ChunkSpec],
    make: Callable[[CodecSpec, ChunkSpec], Codec | None],
) -> Probed:
    """Try one entry of a document on all chunks that it may be given.

    Parameters
    ----------
    entry : CodecSpec
        Name and configuration.
    specs : sequence of ChunkSpec
        At least one.
    make : callable
        Makes the codec.
    """
    every = stand_ins(specs[0].options)
    outcomes: list[list[tuple[str, str]]] = []
    after: list[ChunkSpec] = []
    for spec in specs:
        try:
            codec = make(entry, spec)
            if codec is None:
                return Probed([], every)
            after.append(codec.resolve(spec) if isinstance(codec, ArrayArrayCodec) else spec)
        except MissingExtraError:
            return Probed([], every)
        except CodecError as error:
            outcomes.append(located(error, ""))
    if after:
        return Probed([], tuple(after))
    first, *others = outcomes
    return Probed([what for what in first if all(what in other for other in others)], every)


@lru_cache(maxsize=1)
def _types() -> tuple[DataType, ...]:
    return tuple(map(from_v3, _TYPES))
