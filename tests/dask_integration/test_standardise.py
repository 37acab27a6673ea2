"""Standardising dask arrays: values as numpy's, few reads, few blocks in memory, clear refusals."""

from __future__ import annotations

import math
import threading
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from chunkstore.errors import InvalidArgumentError
from dask_integration.chunks import Block
from dask_integration.layers import read_layer, unique_token
from dask_integration.standardise import standardise


class Source:
    """An array in memory that counts its reads, and the blocks of it that are alive."""

    def __init__(self, values: NDArray[Any]) -> None:
        self.values = values
        self.reads: Counter[tuple[int, ...]] = Counter()
        self.n_alive = self.most_alive = 0
        self._lock = threading.Lock()

    def array(self, chunks: Any) -> da.Array:
        blocks = da.core.normalize_chunks(chunks, self.values.shape)
        return read_layer(
            Source.read, self, chunks=blocks, dtype=self.values.dtype, name_token=unique_token()
        )

    def read(self, block: Block) -> NDArray[Any]:
        values = self.values[block.region].copy()
        with self._lock:
            self.reads[block.id] += 1
            self.n_alive += 1
            self.most_alive = max(self.most_alive, self.n_alive)
        weakref.finalize(values, self._release)
        return values

    def _release(self) -> None:
        with self._lock:
            self.n_alive -= 1


def expected(
    values: NDArray[Any],
    axis: int,
    *,
    scale: str | None = "std",
    ddof: int = 0,
    missing: float | None = None,
) -> NDArray[np.float64]:
    """Standardise with numpy's masked arrays, all at once."""
    if missing is None:
        hidden = np.zeros(values.shape, bool)
    else:
        hidden = np.isnan(values) if math.isnan(missing) else values == missing
    known = np.ma.array(np.where(hidden, 0, values).astype(np.float64), mask=hidden)
    mean = known.mean(axis=axis, keepdims=True)
    spread: Any = np.ma.ones(mean.shape)
    if scale == "std":
        count = np.broadcast_to(known.count(axis=axis, keepdims=True), mean.shape)
        squares = ((known - mean) ** 2).sum(axis=axis, keepdims=True)
        spread = np.ma.sqrt(squares / np.ma.masked_less_equal(count - ddof, 0))
    elif scale == "patterson":
        spread = np.ma.sqrt(mean / 2 * (1 - mean / 2))
    result = (known - mean) / np.ma.masked_less(spread, 1e-9)
    return np.asarray(np.ma.filled(result, 0.0))


@st.composite
def cases(draw: st.DrawFn) -> tuple[NDArray[Any], tuple[tuple[int, ...], ...], float | None]:
    """Draw an array with missing values, constant rows and empty rows, and blocks for it."""
    dtype = np.dtype(
        draw(st.sampled_from(("int8", "uint8", "int16", "float16", "float32", "float64", "bool")))
    )
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    elements = st.booleans() if dtype.kind == "b" else st.integers(0, 5)
    values = draw(hnp.arrays(dtype, shape, elements=elements))
    missing: float | None = None
    if draw(st.booleans()):
        missing = math.nan if dtype.kind == "f" and draw(st.booleans()) else int(values[0, 0])
        if dtype.kind == "f":
            values[draw(hnp.arrays(bool, shape))] = missing
        if draw(st.booleans()):
            values[0] = missing
    blocks = tuple(
        tuple(draw(st.sampled_from(((n,), (1,) * n, (n - n // 2, n // 2) if n > 1 else (n,)))))
        for n in shape
    )
    return values, blocks, missing


@given(cases(), st.sampled_from((0, 1, -1)), st.sampled_from(("std", None)), st.integers(0, 1))
def test_the_values_are_those_of_numpy_in_any_blocks(
    case: tuple[NDArray[Any], tuple[tuple[int, ...], ...], float | None],
    axis: int,
    scale: Any,
    ddof: int,
) -> None:
    """For every dtype, block shape and axis, with missing values and rows without spread."""
    values, blocks, missing = case
    y = standardise(
        da.from_array(values, chunks=blocks),
        axis=axis,
        scale=scale,
        ddof=ddof,
        missing=missing,
        dtype="float64",
    )
    assert y.chunks == blocks
    found = y.compute(scheduler="synchronous")
    wanted = expected(values, axis, scale=scale, ddof=ddof, missing=missing)
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("given_", "asked", "result"),
    [
        ("int8", None, "float32"),
        ("int64", None, "float32"),
        ("float16", None, "float32"),
        ("float32", None, "float32"),
        ("float64", None, "float64"),
        ("int8", "float64", "float64"),
        ("float64", np.float32, "float32"),
    ],
)
@pytest.mark.parametrize("chunks", [(2, 3), (1, 2)])
def test_the_dtype_is_announced_and_kept(
    given_: str, asked: Any, result: str, chunks: tuple[int, int]
) -> None:
    """Blocks have the dtype that the lazy array says."""
    x = da.from_array(np.arange(6).reshape(2, 3).astype(given_), chunks=chunks)
    y = standardise(x, axis=1, dtype=asked)
    assert y.dtype == result
    assert y.compute(scheduler="synchronous").dtype == result


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_any_number_of_axes_will_do(axis: int) -> None:
    """A tensor of three axes is standardised along each of them, in blocks that cut all."""
    values = np.random.default_rng(0).standard_normal((6, 7, 8))
    y = standardise(da.from_array(values, chunks=(4, 3, 5)), axis=axis)
    np.testing.assert_allclose(y.compute(), expected(values, axis), atol=1e-12)


@pytest.mark.parametrize("chunks", [(50, 40), (50, 15)])
def test_genotypes_are_scaled_by_allele_frequency(chunks: tuple[int, int]) -> None:
    """Patterson's scale with missing calls, monomorphic sites and a site never called."""
    draw = np.random.default_rng(1)
    values = draw.binomial(2, draw.uniform(0, 1, (200, 1)), (200, 40)).astype(np.int8)
    values[draw.random(values.shape) < 0.05] = -1
    values[3], values[4], values[5] = 0, 2, -1
    x = da.from_array(values, chunks=chunks)
    y = standardise(x, axis=1, scale="patterson", missing=-1, dtype="float64")
    wanted = expected(values, 1, scale="patterson", missing=-1)
    np.testing.assert_allclose(y.compute(), wanted, atol=1e-12)


@pytest.mark.parametrize(
    ("chunks", "axis", "n_reads"), [((25, 40), 1, 1), ((25, 10), 1, 2), ((25, 40), 0, 2)]
)
def test_blocks_are_read_once_or_twice_and_not_held(
    chunks: tuple[int, int], axis: int, n_reads: int
) -> None:
    """One read where blocks span the axis, else two; never more blocks alive than threads."""
    source = Source(np.random.default_rng(2).integers(0, 3, (1000, 40)).astype(np.int8))
    x = source.array(chunks)
    y = standardise(x, axis=axis, dtype="float64")
    with ThreadPoolExecutor(2) as pool:
        total = (y**2).sum().compute(scheduler="threads", pool=pool)
    assert set(source.reads.values()) == {n_reads}
    assert len(source.reads) == x.npartitions
    assert source.most_alive <= 3
    assert total == pytest.approx(source.values.size, rel=1e-9)


def test_a_block_that_spans_the_axis_is_one_task() -> None:
    """Reading, statistics and scaling fuse: as many tasks as blocks."""
    source = Source(np.ones((100, 4), np.int8))
    (y,) = dask.optimize(standardise(source.array((10, 4)), axis=1) * 2)
    assert len(dict(y.__dask_graph__())) == 10


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("chunks", [(2, 6), (2, 3)])
def test_what_is_not_finite_is_refused_and_its_block_named(
    value: float, chunks: tuple[int, int]
) -> None:
    """An error in a task says which value, and in which block."""
    values = np.ones((8, 6))
    values[5, 1] = value
    with pytest.raises(InvalidArgumentError, match=f"got {value}") as caught:
        standardise(da.from_array(values, chunks=chunks), axis=1).compute()
    assert caught.value.__notes__ == [f"in block (2, 0), region [4:6, 0:{chunks[1]}]"]


def test_missing_calls_that_were_not_declared_are_refused() -> None:
    """-1 among dosages is an error under "patterson", and names its block."""
    values = np.ones((4, 6), np.int8)
    values[3, 5] = -1
    with pytest.raises(InvalidArgumentError, match=r"got -1.*missing=") as caught:
        standardise(da.from_array(values, chunks=(2, 3)), axis=1, scale="patterson").compute()
    assert caught.value.__notes__ == ["in block (1, 1), region [2:4, 3:6]"]


def test_arrays_of_extent_zero_stay_empty() -> None:
    """No rows, or nothing to average: an empty result, no warning."""
    for shape, axis in (((0, 3), 0), ((0, 3), 1), ((3, 0), 1)):
        assert standardise(da.zeros(shape), axis=axis).compute().shape == shape


MASKED = da.ma.masked_equal(da.ones((2, 2), dtype="int8"), 1)


@pytest.mark.parametrize(
    ("x", "arguments", "words"),
    [
        (np.ones((2, 2)), {}, r"numpy\.ndarray.*from_array"),
        (da.ones((2, 2), dtype="complex64"), {}, "complex64"),
        (da.ones((2, 2), dtype="longdouble"), {}, "64 bits"),
        (MASKED, {}, "MaskedArray"),
        (da.ones((4, 2), chunks=2)[da.ones(4, chunks=2) > 0], {}, "compute_chunk_sizes"),
        (da.ones((2, 2)), {"axis": 2}, "axis 2.*-2 to 1"),
        (da.ones((2, 2)), {"axis": -3}, "axis -3"),
        (da.ones((2, 2)), {"scale": "var"}, "'var'"),
        (da.ones((2, 2)), {"ddof": -1}, "ddof.*-1"),
        (da.ones((2, 2)), {"ploidy": 0}, "ploidy.*0"),
        (da.ones((2, 2)), {"impute": "zero"}, "'zero'"),
        (da.ones((2, 2)), {"dtype": "int8"}, "in int8: expected float32"),
        (da.ones((2, 2), dtype="uint8"), {"missing": -1}, "missing=-1 is no value of uint8"),
        (da.ones((2, 2), dtype="int8"), {"missing": 1.5}, "missing=1.5"),
        (da.ones((2, 2), dtype="int8"), {"missing": math.nan}, "missing=nan"),
        (da.ones((2, 2), dtype="bool"), {"missing": 2}, "from 0 to 1"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(
    x: Any, arguments: dict[str, Any], words: str
) -> None:
    """Each wrong argument is refused when the graph is built, with what was expected."""
    with pytest.raises(InvalidArgumentError, match=words):
        standardise(x, **({"axis": 1} | arguments))
