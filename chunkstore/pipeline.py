"""The ordered codecs of an array as one encode and one decode.

Floor 3. Pure computation: no store, no threads. A pipeline is made once for an array and used
for each of its chunks::

    encode   chunk ─▶ array codecs ─▶ serializer ─▶ bytes codecs ─▶ value
    decode   chunk ◀─ array codecs ◀─ serializer ◀─ bytes codecs ◀─ value

Where the layout allows, a value is decoded straight into the memory it is meant for.

Source: Zarr v3 core, "Codecs", "Determination of encoded representations".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from chunkstore.codecs.base import (
    ArrayArrayCodec,
    ArrayBytesCodec,
    BytesBytesCodec,
    ChunkSpec,
    Codec,
    as_bytes,
    check_unbounded,
    decode_unbounded,
)
from chunkstore.codecs.probing import Probed, stand_ins
from chunkstore.codecs.settings import located
from chunkstore.errors import CodecError
from chunkstore.metadata.model import UNREAD, CodecSpec
from chunkstore.types import Buffer, NDArray

__all__ = ["Make", "Pipeline", "Probe", "build", "certain_problems"]

Make = Callable[[CodecSpec, ChunkSpec], Codec | None]
Probe = Callable[[CodecSpec, Sequence[ChunkSpec]], Probed]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The codecs of one kind of chunk, with what each of them is given.

    Parameters
    ----------
    spec : ChunkSpec
        The chunk as the array sees it.
    array_codecs : tuple of (ArrayArrayCodec, ChunkSpec)
        In the order of encoding, each with what it encodes.
    serializer : ArrayBytesCodec
        The one codec from array to bytes.
    stored_spec : ChunkSpec
        What the serializer encodes.
    bytes_codecs : tuple of BytesBytesCodec
        In the order of encoding.
    bytes_decoding : tuple of (BytesBytesCodec, int or None, bool)
        In the order of decoding, each with the most bytes it can decode to, None where only the
        options bound them, and whether the serializer comes next.
    decodes_in_place : bool
        Whether a value can be decoded into a C-contiguous chunk without a step between.
    skipped : tuple of str
        Names of codecs that are not known and that the document allows one to skip. Chunks are
        read without them and never written: to who knows them, they would be other chunks.
    """

    spec: ChunkSpec
    array_codecs: tuple[tuple[ArrayArrayCodec, ChunkSpec], ...]
    serializer: ArrayBytesCodec
    stored_spec: ChunkSpec
    bytes_codecs: tuple[BytesBytesCodec, ...]
    bytes_decoding: tuple[tuple[BytesBytesCodec, int | None, bool], ...]
    decodes_in_place: bool
    skipped: tuple[str, ...] = ()

    def decode(self, value: Buffer, out: NDArray | None = None) -> NDArray:
        """Decode one stored value.

        Parameters
        ----------
        value : bytes-like
            As stored.
        out : numpy.ndarray, optional
            Memory for the chunk, of its shape and dtype, in any layout. It is filled in any case;
            without a copy where it is contiguous and the codecs allow it.

        Returns
        -------
        numpy.ndarray
            The chunk at its full shape, padding included: `out` if given, else an array that may
            be a read-only view of `value`.

        Raises
        ------
        CodecError
            If the value cannot be a chunk of this array.
        """
        target: NDArray | None = None
        if out is not None and self.decodes_in_place and out.flags.c_contiguous:
            target = as_bytes(out)
        data = value
        for codec, limit, is_last in self.bytes_decoding:
            if limit is None:
                decoded = decode_unbounded(codec, data, self.spec.options)
            else:
                decoded = codec.decode(data, limit=limit, out=target if is_last else None)
            if decoded is target and out is not None:
                return out
            data = decoded.data if isinstance(decoded, np.ndarray) else decoded
        chunk = self.serializer.decode(data, self.stored_spec)
        for array_codec, spec in reversed(self.array_codecs):
            chunk = array_codec.decode(chunk, spec)
        if out is None:
            return chunk
        np.copyto(out, chunk, casting="no")
        return out

    def lay_out(self, chunk: NDArray) -> Buffer:
        """Do the part of `encode` that comes before the codecs of bytes."""
        for codec, spec in self.array_codecs:
            chunk = codec.encode(chunk, spec)
        return self.serializer.encode(chunk, self.stored_spec)

    def full_chunk(self) -> NDArray:
        """Make a chunk of nothing but fill value."""
        chunk: NDArray = np.empty(self.spec.shape, self.spec.data_type.dtype)
        # Not np.full: it drops the zeros at the end of byte strings and of text.
        chunk[...] = self.spec.fill_value
        return chunk

    def encoded_nbytes(self) -> int | None:
        """Give the length of every encoded chunk where it does not depend on the values."""
        n_bytes = self.serializer.encoded_nbytes(self.stored_spec)
        for codec in self.bytes_codecs:
            n_bytes = None if n_bytes is None else codec.encoded_nbytes(n_bytes)
        return n_bytes

    def encoded_bound(self) -> int | None:
        """Give an upper bound of the length of an encoded chunk; None if there is none."""
        n_bytes = self.serializer.encoded_bound(self.stored_spec)
        for codec in self.bytes_codecs:
            n_bytes = None if n_bytes is None else codec.encoded_bound(n_bytes)
        return n_bytes

    def encode(self, chunk: NDArray) -> Buffer:
        """Encode one chunk of the full shape; the result may be a view of its memory.

        Raises
        ------
        CodecError
            If the chunk cannot be encoded, or a codec is not known.
        """
        if self.skipped:
            raise CodecError(
                f"codecs that are not known can be skipped to read, not to write: "
                f"{', '.join(self.skipped)}"
            )
        data = self.lay_out(chunk)
        for bytes_codec, limit, _ in reversed(self.bytes_decoding):
            if limit is None:
                check_unbounded(bytes_codec, data, self.spec.options)
            data = bytes_codec.encode(data)
        return data


def build(
    entries: Sequence[CodecSpec], spec: ChunkSpec, *, path: str, make: Make, probe: Probe
) -> Pipeline | list[tuple[str, str]]:
    """Make a pipeline, or list why it cannot be made.

    Parameters
    ----------
    entries : sequence of CodecSpec
        In the order of encoding.
    spec : ChunkSpec
        The chunks to encode.
    path : str
        JSON path of the entries, for the problems.
    make : callable
        From an entry, and what it will be given, to its codec; None for one to skip.
    probe : callable
        Finds what is wrong with an entry whatever it is given, for those behind one that cannot
        be made.

    Returns
    -------
    Pipeline or list of (str, str)
        The problems, each with its JSON path.
    """
    problems: list[tuple[str, str]] = []
    array_codecs: list[tuple[ArrayArrayCodec, ChunkSpec]] = []
    bytes_codecs: list[BytesBytesCodec] = []
    skipped: list[str] = []
    serializer: ArrayBytesCodec | None = None
    current = spec
    for i, entry in enumerate(entries):
        try:
            codec = make(entry, current)
        except CodecError as error:
            problems.extend(located(error, f"{path}[{i}]"))
            # It leaves open what those behind it are given.
            unknown = stand_ins(spec.options)
            rest = entries[i + 1 :]
            problems += certain_problems(rest, unknown, path=path, probe=probe, first=i + 1)
            return problems
        if codec is None:
            skipped.append(entry.name)
            continue
        try:
            _check_order(codec, serializer)
            if isinstance(codec, ArrayArrayCodec):
                array_codecs.append((codec, current))
                current = codec.resolve(current)
        except CodecError as error:
            problems.extend(located(error, f"{path}[{i}]"))
            continue
        if isinstance(codec, ArrayBytesCodec):
            serializer = codec
        elif isinstance(codec, BytesBytesCodec):
            bytes_codecs.append(codec)
    if serializer is None and not problems:
        problems.append((path, "must have one codec from array to bytes, such as bytes"))
    if problems or serializer is None:
        return problems
    return Pipeline(
        spec,
        tuple(array_codecs),
        serializer,
        current,
        tuple(bytes_codecs),
        _decoding(bytes_codecs, serializer.encoded_bound(current)),
        not array_codecs and serializer.is_plain(current),
        tuple(skipped),
    )


def certain_problems(
    entries: Sequence[CodecSpec],
    specs: Sequence[ChunkSpec],
    *,
    path: str,
    probe: Probe,
    first: int = 0,
) -> list[tuple[str, str]]:
    """List what is wrong with codecs of which it is not known what they are given.

    Parameters
    ----------
    entries : sequence of CodecSpec
        In the order of encoding; those that could not be read are passed over.
    specs : sequence of ChunkSpec
        What the first of them may be given.
    path : str
        JSON path of all entries.
    probe : callable
        From an entry, and what it may be given, to what is wrong with it in any case.
    first : int
        Place of the first entry in the document.
    """
    problems: list[tuple[str, str]] = []
    for i, entry in enumerate(entries, first):
        if entry is UNREAD:
            specs = stand_ins(specs[0].options)
            continue
        found, specs = probe(entry, specs)
        problems.extend((f"{path}[{i}]{below}", what) for below, what in found)
    return problems


def _check_order(codec: Codec, serializer: ArrayBytesCodec | None) -> None:
    if serializer is None and isinstance(codec, BytesBytesCodec):
        raise CodecError(f"{codec.name} takes bytes, but no codec before it makes bytes")
    if serializer is not None and not isinstance(codec, BytesBytesCodec):
        raise CodecError(f"{codec.name} takes an array, but {serializer.name} before it made bytes")


def _decoding(
    codecs: Sequence[BytesBytesCodec], n_bytes: int | None
) -> tuple[tuple[BytesBytesCodec, int | None, bool], ...]:
    """Pair each codec with the most bytes it was ever given, so that it never decodes to more."""
    steps: list[tuple[BytesBytesCodec, int | None, bool]] = []
    for i, codec in enumerate(codecs):
        steps.append((codec, n_bytes, i == 0))
        n_bytes = None if n_bytes is None else codec.encoded_bound(n_bytes)
    return tuple(reversed(steps))
