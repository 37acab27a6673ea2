"""What every codec promises, as classes of tests to subclass: one for each of the three kinds.

A subclass gives the codec in the class attribute `codec`, and in the others what holds for it
alone: the shapes it takes, configurations it must refuse, whether it finds damage.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
import random
import re
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from chunkstore.codecs.base import (
    ArrayArrayCodec,
    ArrayBytesCodec,
    BytesBytesCodec,
    ChunkSpec,
    Codec,
    as_bytes,
)
from chunkstore.dtypes import from_numpy
from chunkstore.errors import CodecError
from chunkstore.workers import run_in_threads

SHAPES = [(), (1,), (7,), (3, 4), (2, 1, 5), (4, 3, 2, 2)]
DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"]


def spec_for(shape: tuple[int, ...], dtype: str) -> ChunkSpec:
    """Give the spec of a chunk of a numpy dtype, filled with its default."""
    data_type = from_numpy(dtype)
    return ChunkSpec(shape, data_type, data_type.default_fill())


def values_of(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Give values of a dtype, all bit patterns that numpy takes for it, NaNs included."""
    dtype_ = np.dtype(dtype)
    n_elements = int(np.prod(shape))
    rng = np.random.default_rng(n_elements)
    if dtype_.kind == "b":
        return rng.integers(0, 2, shape).astype("?")
    raw = rng.integers(0, 256, n_elements * dtype_.itemsize, dtype="u1")
    return raw.view(dtype_).reshape(shape)


def layouts(array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Give the same values in memory of every layout that a caller may come with."""
    yield "C", array
    yield "Fortran", array.copy(order="F")
    wide = np.repeat(array[..., np.newaxis], 3, axis=-1)
    yield "strided", wide[..., 1]
    # With the Ellipsis an array without axes stays an array.
    backwards = (..., *(slice(None, None, -1),) * array.ndim)
    yield "backwards", array[backwards].copy()[backwards]
    raw = bytearray(array.nbytes + 1)
    unaligned = np.frombuffer(raw, array.dtype, array.size, 1).reshape(array.shape)
    unaligned[...] = array
    yield "unaligned", unaligned
    read_only = array.copy()
    read_only.flags.writeable = False
    yield "read-only", read_only


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays have one shape and dtype, and every element the same bits."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def damaged(value: bytes, *, n: int = 200, seed: int = 0) -> Iterator[bytes]:
    """Give a value cut short at many places, with changed bits, and with bytes added."""
    dice = random.Random(seed)
    yield from (b"", b"\x00", b"\xff" * 16, bytes(len(value)), b"\xff" * len(value))
    yield from (value[:n_bytes] for n_bytes in range(0, len(value), max(1, len(value) // n)))
    yield from (value + tail for tail in (b"\x00", b"\xff", value))
    for _ in range(n):
        changed = bytearray(value)
        for _ in range(dice.choice((1, 1, 2, 8))):
            # Headers are short, and damage to them is the most interesting.
            at = dice.randrange(dice.choice((len(value), min(len(value), 24))))
            changed[at] ^= dice.randrange(1, 256)
        yield bytes(changed)


def peak_bytes(work: Callable[[], Any]) -> int:
    """Measure the most memory that Python objects and arrays took during some work."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class CodecContract:
    """What the three kinds share: a codec is a frozen value made of its configuration."""

    codec: Codec
    spec = spec_for((6,), "i4")
    bad_configurations: tuple[dict[str, Any], ...] = ()

    def remake(self, codec: Codec, spec: ChunkSpec) -> Codec:
        """Make a codec again from what it says of itself, as a document would carry it."""
        configuration = json.loads(json.dumps(codec.configuration()))
        return type(codec).from_configuration(configuration, spec)

    def test_configuration_round_trip(self) -> None:
        """A codec made from the JSON of another's configuration is equal to it, hash and all."""
        again = self.remake(self.codec, self.spec)
        assert again == self.codec
        assert hash(again) == hash(self.codec)
        assert again.configuration() == self.codec.configuration()

    def test_pickle(self) -> None:
        """A codec travels to another process as an equal value."""
        assert pickle.loads(pickle.dumps(self.codec)) == self.codec

    def test_is_frozen(self) -> None:
        """No field of a codec can be changed."""
        for field in dataclasses.fields(self.codec):  # type: ignore[arg-type]
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(self.codec, field.name, None)

    def test_refuses_unknown_keys(self) -> None:
        """A configuration with a key that the codec does not know is refused by that name."""
        configuration = {**self.codec.configuration(), "nonsense": 1}
        with pytest.raises(CodecError, match="nonsense") as error:
            type(self.codec).from_configuration(configuration, self.spec)
        assert error.value.key == "nonsense"

    def test_refuses_bad_configurations(self) -> None:
        """Each configuration that cannot be meant is refused, and no other error gets out."""
        for configuration in self.bad_configurations:
            with pytest.raises(CodecError, match=re.escape(self.codec.name)):
                type(self.codec).from_configuration(configuration, self.spec)

    def test_documented_example(self) -> None:
        """The example in the module's docstring names the codec and makes one."""
        module = sys.modules[type(self.codec).__module__]
        block = re.search(r"code-block:: json\n\n(.*?)\n\n", module.__doc__ or "", re.DOTALL)
        assert block, "no example in the docstring of the module"
        example = json.loads(block[1])
        assert example["name"] == self.codec.name
        made = type(self.codec).from_configuration(
            example.get("configuration", {}), spec_for((2, 3, 4), "i4")
        )
        assert isinstance(made, type(self.codec))


class ArrayArrayContract(CodecContract):
    """Array to array."""

    codec: ArrayArrayCodec
    shapes: tuple[tuple[int, ...], ...] = ()
    dtypes = tuple(DTYPES)

    def cases(self) -> Iterator[tuple[ChunkSpec, np.ndarray]]:
        """Give chunks of every shape, dtype and layout, each with its spec."""
        for shape in self.shapes:
            for dtype in self.dtypes:
                spec = spec_for(shape, dtype)
                for _, array in layouts(values_of(shape, dtype)):
                    yield spec, array

    def test_round_trip(self) -> None:
        """Decoding what was encoded gives the same bits, whatever the shape, dtype and layout."""
        for spec, array in self.cases():
            encoded = self.codec.encode(array, spec)
            assert same_bits(self.codec.decode(encoded, spec), array)

    def test_resolves_to_what_it_makes(self) -> None:
        """The spec that the codec promises is the shape and dtype of what it returns."""
        for spec, array in self.cases():
            resolved = self.codec.resolve(spec)
            encoded = self.codec.encode(array, spec)
            assert encoded.shape == resolved.shape
            assert encoded.dtype == resolved.data_type.dtype

    def test_leaves_its_input_alone(self) -> None:
        """Neither encoding nor decoding changes the array it is given."""
        for spec, array in self.cases():
            before = array.tobytes()
            encoded = self.codec.encode(array, spec)
            stored = encoded.tobytes()
            self.codec.decode(encoded, spec)
            assert array.tobytes() == before
            assert encoded.tobytes() == stored


class ArrayBytesContract(CodecContract):
    """Array to bytes."""

    codec: ArrayBytesCodec
    shapes = (*SHAPES, (0,), (3, 0, 2))
    dtypes = tuple(DTYPES)

    def cases(self) -> Iterator[tuple[ChunkSpec, np.ndarray]]:
        """Give chunks of every shape, dtype and layout, each with its spec."""
        for shape in self.shapes:
            for dtype in self.dtypes:
                spec = spec_for(shape, dtype)
                for _, array in layouts(values_of(shape, dtype)):
                    yield spec, array

    def test_round_trip(self) -> None:
        """Decoding what was encoded gives the same bits, whatever the shape, dtype and layout."""
        for spec, array in self.cases():
            encoded = bytes(self.codec.encode(array, spec))
            assert same_bits(self.codec.decode(encoded, spec), array)

    def test_layout_does_not_matter(self) -> None:
        """The same values are the same bytes, however they lie in memory."""
        for shape in self.shapes:
            for dtype in self.dtypes:
                spec = spec_for(shape, dtype)
                array = values_of(shape, dtype)
                encoded = {bytes(self.codec.encode(a, spec)) for _, a in layouts(array)}
                assert len(encoded) == 1

    def test_foretells_its_length(self) -> None:
        """Where the codec says how long a chunk becomes, it becomes that long."""
        for spec, array in self.cases():
            foretold = self.codec.encoded_nbytes(spec)
            encoded = self.codec.encode(array, spec)
            assert foretold is None or foretold == memoryview(encoded).nbytes

    def test_plain_is_memory(self) -> None:
        """Where the codec calls its bytes plain, they are the chunk's memory in C order."""
        for spec, array in self.cases():
            if self.codec.is_plain(spec):
                assert bytes(self.codec.encode(array, spec)) == array.tobytes()

    @pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
    def test_takes_any_bytes(self, wrap: Callable[[bytes], Any]) -> None:
        """Stored bytes may come in any bytes-like form, also at an odd address."""
        spec = spec_for((3, 4), "f8")
        array = values_of((3, 4), "f8")
        encoded = bytes(self.codec.encode(array, spec))
        assert same_bits(self.codec.decode(wrap(encoded), spec), array)
        assert same_bits(self.codec.decode(memoryview(b"x" + encoded)[1:], spec), array)

    def test_damage_is_a_codec_error(self) -> None:
        """Bytes that cannot be the chunk are refused as such; others give a chunk of its shape."""
        for dtype in self.dtypes:
            spec = spec_for((3, 4), dtype)
            encoded = bytes(self.codec.encode(values_of((3, 4), dtype), spec))
            for value in damaged(encoded, n=30):
                try:
                    decoded = self.codec.decode(value, spec)
                except CodecError:
                    continue
                assert len(value) == len(encoded)
                assert decoded.shape == spec.shape
                assert decoded.dtype == spec.data_type.dtype


class BytesBytesContract(CodecContract):
    """Bytes to bytes."""

    codec: BytesBytesCodec
    detects_damage = False
    """Whether a changed value is always refused, or decodes to what it was before."""
    can_expand = True
    """Whether a short value can decode to a long one, so that the limit must be kept."""

    payloads = (
        b"",
        b"\x00",
        b"abc",
        bytes(range(256)) * 16,
        bytes(100_000),
        np.random.default_rng(0).bytes(50_000),
        (np.arange(30_000, dtype="i4") // 7).tobytes(),
    )

    def encoded(self, payload: bytes) -> bytes:
        """Encode to bytes proper."""
        return bytes(self.codec.encode(payload))

    def decoded(self, value: bytes, **arguments: Any) -> bytes:
        """Decode to bytes proper."""
        return as_bytes(self.codec.decode(value, **arguments)).tobytes()

    @pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, np.frombuffer])
    def test_round_trip(self, wrap: Callable[..., Any]) -> None:
        """Decoding what was encoded gives the same bytes, in whatever form both came."""
        for payload in self.payloads:
            if wrap is np.frombuffer:
                given: Any = np.frombuffer(payload, np.uint8).data if payload else b""
            else:
                given = wrap(payload)
            value = self.codec.encode(given)
            assert self.decoded(value) == payload
            assert self.decoded(bytes(value), limit=len(payload)) == payload
            if wrap is not np.frombuffer:
                assert self.decoded(wrap(bytes(value))) == payload

    def test_takes_memory_of_any_array(self) -> None:
        """Writable, read-only and unaligned memory is encoded alike."""
        contiguous = [a for _, a in layouts(np.arange(1000, dtype="i4")) if a.flags.c_contiguous]
        values = {bytes(self.codec.encode(as_bytes(array).data)) for array in contiguous}
        assert len(values) == 1

    def test_decodes_into_given_memory(self) -> None:
        """Memory of the decoded length is filled and returned, or left for a result of its own."""
        for payload in self.payloads:
            out = np.full(len(payload), 0xA5, np.uint8)
            result = self.codec.decode(self.encoded(payload), limit=len(payload), out=out)
            assert as_bytes(result).tobytes() == payload
            if isinstance(result, np.ndarray):
                assert result is out

    def test_input_stays_as_it_is(self) -> None:
        """Neither encoding nor decoding changes the memory it is given."""
        payload = bytearray(self.payloads[-1])
        value = bytearray(self.codec.encode(payload))
        kept = bytes(value)
        self.codec.decode(value)
        assert payload == self.payloads[-1]
        assert value == kept

    def test_bound_holds(self) -> None:
        """No payload, however random, becomes longer than the codec's bound for its length."""
        rng = np.random.default_rng(1)
        for n_bytes in (0, 1, 15, 127, 128, 4095, 65_536, 200_000, 1 << 20):
            value = self.encoded(rng.bytes(n_bytes))
            bound = self.codec.encoded_bound(n_bytes)
            exact = self.codec.encoded_nbytes(n_bytes)
            assert bound is None or len(value) <= bound
            assert exact is None or len(value) == exact

    def test_limit_is_kept(self) -> None:
        """A value that decodes to one byte more than the limit is refused."""
        if not self.can_expand:
            pytest.skip("this codec never makes a value longer")
        for payload in self.payloads[1:]:
            with pytest.raises(CodecError, match=r"expected|decode"):
                self.codec.decode(self.encoded(payload), limit=len(payload) - 1)

    def test_bomb_takes_no_memory(self) -> None:
        """A short value that would fill the memory is refused before it does."""
        if not self.can_expand:
            pytest.skip("this codec never makes a value longer")
        bomb = self.encoded(bytes(1 << 26))
        assert len(bomb) < 1 << 20

        def explode() -> None:
            with pytest.raises(CodecError, match=r"expected|decode"):
                self.codec.decode(bomb, limit=1000)

        assert peak_bytes(explode) < 1 << 22

    def test_damage_is_a_codec_error(self) -> None:
        """Damaged bytes give a codec error or bytes within the limit, and nothing ever crashes."""
        payload = self.payloads[-1][:4000]
        value = self.encoded(payload)
        n_refused = 0
        for broken in damaged(value):
            out = np.empty(len(payload), np.uint8) if len(broken) % 2 else None
            try:
                decoded = self.decoded(broken, limit=len(payload), out=out)
            except CodecError:
                n_refused += 1
                continue
            assert len(decoded) <= len(payload)
            assert decoded == payload or not self.detects_damage
        assert n_refused > 100

    def test_every_truncation_is_refused(self) -> None:
        """A value without its last bytes, as many as they are, is never decoded."""
        payload = b"abcabcabc" * 20
        value = self.encoded(payload)
        for n_bytes in range(len(value)):
            with pytest.raises(CodecError):
                self.codec.decode(value[:n_bytes], limit=len(payload))

    def test_threads_share_a_codec(self) -> None:
        """One codec works in several threads at once."""

        def work(i: int) -> None:
            payload = bytes([i]) * 10_000 + self.payloads[-1]
            assert self.decoded(self.encoded(payload)) == payload

        run_in_threads(work, range(24), n_threads=4)
