"""What every list of codecs promises when it works as one, as a class of tests to subclass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest

from chunkstore.errors import CodecError
from chunkstore.layout import array_metadata
from chunkstore.pipeline import Pipeline
from chunkstore.sharding import pipeline_problems
from chunkstore.workers import run_in_threads
from tests.contracts.codecs import damaged, layouts, peak_bytes, same_bits, values_of


def pipeline_for(shape: tuple[int, ...], dtype: str, **layout: Any) -> Pipeline:
    """Make the pipeline of an array of one chunk, laid out as a creator asks."""
    made = pipeline_problems(array_metadata(shape=shape, dtype=dtype, chunks=shape, **layout))
    assert isinstance(made, Pipeline), made
    return made


def homes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Give memory for a chunk in every layout, each with the larger memory around it."""
    for order in ("C", "F"):
        whole = np.zeros(shape, dtype, order)
        yield whole, whole
    around = np.zeros(tuple(extent + 2 for extent in shape), dtype)
    yield around[(..., *(slice(1, -1) for _ in shape))], around
    apart = np.zeros(tuple(2 * extent for extent in shape), dtype)
    yield apart[(..., *(slice(None, None, -2) for _ in shape))], apart


class PipelineContract:
    """The contract; a subclass gives the layout as arguments of `create_array`."""

    layout: ClassVar[dict[str, Any]]
    shapes: tuple[tuple[int, ...], ...] = ((), (5,), (3, 4), (2, 1, 5))
    dtypes = ("?", "u1", "i2", "f4", "u8", "c16")
    usual_shape: tuple[int, ...] = (12, 10)
    """Of the chunk that tests of one chunk take."""
    detects_damage = False
    """Whether a changed value is always refused, or decodes to what it was before."""

    def cases(self) -> Iterator[tuple[Pipeline, np.ndarray]]:
        """Give pipelines for every shape and dtype, each with values for one chunk."""
        for shape in self.shapes:
            for dtype in self.dtypes:
                yield pipeline_for(shape, dtype, **self.layout), self.values(shape, dtype)

    def values(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        """Give values as they are in memory, in native byte order."""
        return values_of(shape, np.dtype(dtype).newbyteorder("=").str)

    def test_round_trip(self) -> None:
        """Decoding what was encoded gives the same bits, in an array of the chunk's shape."""
        for pipeline, chunk in self.cases():
            assert same_bits(pipeline.decode(pipeline.encode(chunk)), chunk)

    def test_memory_layout_does_not_matter(self) -> None:
        """The same values become the same stored bytes, however they lie in memory."""
        for pipeline, chunk in self.cases():
            assert len({bytes(pipeline.encode(array)) for _, array in layouts(chunk)}) == 1

    def test_decodes_into_any_memory(self) -> None:
        """Given memory is filled and returned whatever its layout, and nothing around it is."""
        for pipeline, chunk in self.cases():
            value = bytes(pipeline.encode(chunk))
            for home, around in homes(chunk.shape, chunk.dtype):
                around.view(f"V{around.itemsize}")[...] = b"\x01" * around.itemsize
                expected = around.copy()
                home_again = expected[...] if home is around else None
                assert pipeline.decode(value, home) is home
                assert same_bits(home, chunk)
                if home_again is None:
                    home.view(f"V{home.itemsize}")[...] = b"\x01" * home.itemsize
                    assert same_bits(around, expected)

    def test_decoding_again_gives_the_same(self) -> None:
        """A stored value is not changed by decoding it, nor a chunk by encoding it."""
        for pipeline, chunk in self.cases():
            kept = chunk.copy()
            value = bytearray(pipeline.encode(chunk))
            first = pipeline.decode(bytes(value)).copy()
            pipeline.decode(value, np.empty_like(chunk))
            assert same_bits(pipeline.decode(value), first)
            assert same_bits(chunk, kept)

    def test_damage_is_a_codec_error(self) -> None:
        """A damaged value gives a codec error, or a chunk of the right shape and type."""
        for dtype in ("i2", "u1"):
            pipeline = pipeline_for(self.usual_shape, dtype, **self.layout)
            chunk = (np.arange(120) // 3).astype(dtype).reshape(self.usual_shape)
            value = bytes(pipeline.encode(chunk))
            for i, broken in enumerate(damaged(value, n=60)):
                out = np.empty_like(chunk) if i % 2 else None
                try:
                    decoded = pipeline.decode(broken, out)
                except CodecError:
                    continue
                assert decoded.shape == chunk.shape
                assert decoded.dtype == chunk.dtype
                assert not self.detects_damage or same_bits(decoded, chunk)

    def test_every_truncation_is_refused(self) -> None:
        """A value without its last bytes, as many as they are, is never decoded."""
        pipeline = pipeline_for(self.usual_shape, "i2", **self.layout)
        value = bytes(pipeline.encode(values_of(self.usual_shape, "i2")))
        for n_bytes in range(len(value)):
            with pytest.raises(CodecError):
                pipeline.decode(value[:n_bytes])

    def test_chunk_of_another_shape_is_refused(self) -> None:
        """The value of a larger or smaller chunk is refused, and takes no memory to refuse."""
        ones = (1,) * (len(self.usual_shape) - 1)
        few, many = np.zeros((10, *ones), "i4"), np.zeros((1 << 23, *ones), "i4")
        small = pipeline_for(few.shape, "i4", **self.layout)
        large = pipeline_for(many.shape, "i4", **self.layout)
        value = bytes(large.encode(many))

        def decode() -> None:
            with pytest.raises(CodecError):
                small.decode(value)
            with pytest.raises(CodecError):
                small.decode(value, np.empty_like(few))

        assert peak_bytes(decode) < 1 << 22
        with pytest.raises(CodecError):
            large.decode(bytes(small.encode(few)))

    def test_threads_share_a_pipeline(self) -> None:
        """One pipeline works in several threads at once."""
        pipeline = pipeline_for(self.usual_shape, "f4", **self.layout)

        def work(i: int) -> None:
            chunk = np.full(self.usual_shape, i, "f4")
            assert same_bits(pipeline.decode(pipeline.encode(chunk)), chunk)

        run_in_threads(work, range(16), n_threads=4)
