"""Kernels of standardising: each is compared with numpy on the values that are not missing."""

from __future__ import annotations

import math
import tracemalloc
from fractions import Fraction
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from chunkstore.errors import InvalidArgumentError
from dask_integration import kernels
from dask_integration.kernels import (
    mean_and_factor,
    merge_moments,
    moments,
    refuse_blocks,
)
from dask_integration.scaling import Scaling

SHAPES = hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=9)
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "bool")
FLOATS = ("float16", "float32", "float64")


@st.composite
def blocks(draw: st.DrawFn) -> tuple[NDArray[Any], int, float | None]:
    """Draw a block, an axis, and a missing value that occurs in many of the blocks."""
    dtype = np.dtype(draw(st.sampled_from(INTEGERS + FLOATS)))
    shape = draw(SHAPES)
    if dtype.kind == "f":
        values = st.integers(-40, 40).map(lambda number: number / 8)
    elif dtype.kind == "b":
        values = st.booleans()
    else:
        values = st.integers(max(np.iinfo(dtype).min, -300), min(np.iinfo(dtype).max, 300))
    block = draw(hnp.arrays(dtype, shape, elements=values))
    axis = draw(st.integers(0, len(shape) - 1))
    kind = draw(st.sampled_from(("none", "first", "nan")))
    if kind == "nan" and dtype.kind == "f":
        holes = draw(hnp.arrays(bool, shape))
        return np.where(holes, np.array(np.nan, dtype), block), axis, math.nan
    return block, axis, None if kind == "none" else block.flat[0].item()


def masked(block: NDArray[Any], missing: float | None) -> np.ma.MaskedArray[Any, Any]:
    """Give the block as float64 with the missing values masked."""
    if missing is None:
        hidden = np.zeros(block.shape, bool)
    else:
        hidden = np.isnan(block) if math.isnan(missing) else block == missing
    return np.ma.array(np.where(hidden, 0, block).astype(np.float64), mask=hidden)


def expected_moments(
    block: NDArray[Any], axis: int, missing: float | None
) -> list[NDArray[np.float64]]:
    values = masked(block, missing)
    mean = values.mean(axis=axis, keepdims=True)
    squares = ((values - mean) ** 2).sum(axis=axis, keepdims=True)
    count = values.count(axis=axis, keepdims=True)
    return [np.asarray(count), np.ma.filled(mean, 0), np.ma.filled(squares, 0)]


@given(blocks(), st.sampled_from((1, 5, 65_536)))
def test_moments_are_those_of_the_values_that_are_not_missing(
    drawn: tuple[NDArray[Any], int, float | None], tile: int
) -> None:
    """For every kind of number, axis and tile size, moments agree with numpy's."""
    block, axis, missing = drawn
    with mock.patch.object(kernels, "_TILE_ELEMENTS", tile):
        found = moments(block, axis=axis, missing=missing)
    expected = np.concatenate(expected_moments(block, axis, missing), axis=axis)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-9)


@given(
    hnp.arrays("float64", (3, 12), elements=st.floats(-1e6, 1e6)),
    st.sets(st.integers(1, 11), max_size=5),
)
def test_merged_moments_are_those_of_the_whole(block: NDArray[np.float64], cuts: set[int]) -> None:
    """However a block is cut, merging the moments of its parts gives those of the block."""
    parts = np.split(block, sorted(cuts), axis=1)
    merged = merge_moments([moments(part, axis=1) for part in parts], axis=1)
    whole = moments(block, axis=1)
    np.testing.assert_array_equal(merged[:, 0], whole[:, 0])
    scale = np.abs(block).max() + 1
    np.testing.assert_allclose(merged[:, 1], whole[:, 1], rtol=1e-13, atol=1e-13 * scale)
    np.testing.assert_allclose(merged[:, 2], whole[:, 2], rtol=1e-10, atol=1e-10 * scale**2)


def standardise_block(
    block: NDArray[Any], *, axis: int, dtype: str = "float64", **rule: Any
) -> NDArray[Any]:
    return Scaling(axis, **rule).standardise(block, dtype=dtype)


@given(st.floats(allow_nan=False, allow_infinity=False, width=64), st.integers(1, 40))
def test_equal_values_have_a_spread_of_exactly_zero(value: float, tile: int) -> None:
    """No rounding of the mean makes a constant row look as if it varied."""
    block = np.full((2, 37), value)
    with mock.patch.object(kernels, "_TILE_ELEMENTS", tile):
        found = moments(block, axis=1)
        result = standardise_block(block, axis=1)
    np.testing.assert_array_equal(found, [[37, value, 0]] * 2)
    np.testing.assert_array_equal(result, np.zeros((2, 37)))


@given(hnp.arrays("int8", (2, 300)), st.sampled_from((64, 65_536)))
def test_bytes_are_summed_exactly(block: NDArray[np.int8], tile: int) -> None:
    """No sum of int8 overflows, whatever the values."""
    with mock.patch.object(kernels, "_TILE_ELEMENTS", tile):
        found = moments(block, axis=1)
    for row, (count, mean, squares) in zip(block.tolist(), found, strict=True):
        exact = Fraction(sum(row), len(row))
        assert count == len(row)
        assert mean == pytest.approx(float(exact), rel=1e-14, abs=1e-14)
        assert squares == pytest.approx(
            float(sum((value - exact) ** 2 for value in row)), rel=1e-12
        )


def test_the_largest_bytes_do_not_outgrow_their_sums() -> None:
    """A full tile of 255, the worst case of every exact sum, has no spread and the right mean."""
    block = np.full((1, 200_000), 255, np.uint8)
    np.testing.assert_array_equal(moments(block, axis=1), [[200_000, 255, 0]])
    block[0, 0] = 254
    count, mean, squares = moments(block, axis=1)[0]
    assert (count, mean) == (200_000, pytest.approx(255 - 1 / 200_000, rel=1e-15))
    assert squares == pytest.approx(1 - 1 / 200_000, rel=1e-9)


def test_a_small_spread_around_a_large_mean_keeps_its_digits() -> None:
    """Squares are of deviations: 1e9 beside a spread of 1 costs no digit of the spread."""
    values = np.random.default_rng(0).standard_normal(10_000)
    found = moments(values + 1e9, axis=0)
    assert found[2] == pytest.approx(10_000 * (values + 1e9 - 1e9).var(), rel=1e-9)


@given(
    blocks(),
    st.booleans(),
    st.sampled_from(("std", None)),
    st.integers(0, 2),
    st.sampled_from((3, 65_536)),
)
def test_a_standardised_block_is_what_numpy_makes_of_it(
    drawn: tuple[NDArray[Any], int, float | None],
    center: bool,
    scale: kernels.ScaleRule,
    ddof: int,
    tile: int,
) -> None:
    """Centred, scaled, missing values at the mean, rows without spread 0; and no warning."""
    block, axis, missing = drawn
    values = masked(block, missing)
    count, mean, squares = expected_moments(block, axis, missing)
    spread = np.sqrt(squares / np.maximum(count - ddof, 1)) if scale else np.ones_like(mean)
    varies = (count > ddof) & (squares > 1e-12) if scale else np.ones(mean.shape, bool)
    expected = (values.filled(0) + values.mask * mean - (mean if center else 0)) / np.where(
        varies, spread, np.inf
    )
    with mock.patch.object(kernels, "_TILE_ELEMENTS", tile):
        found = standardise_block(
            block, axis=axis, center=center, scale=scale, ddof=ddof, missing=missing
        )
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def test_the_genotype_scale_is_the_square_root_of_p_times_one_minus_p() -> None:
    """Patterson's scale: p is half the mean dosage; sites without variation become 0."""
    block = np.array([[0, 1, 2, -1], [2, 2, -1, 2], [1, 1, 1, 1], [-1] * 4], np.int8)
    found = standardise_block(block, axis=1, scale="patterson", missing=-1)
    np.testing.assert_allclose(found, [[-2, 0, 2, 0], [0] * 4, [0] * 4, [0] * 4])


@pytest.mark.parametrize("value", [-1, 3])
@pytest.mark.parametrize("dtype", ["int8", "int16", "float32"])
def test_values_that_are_no_dosages_are_refused(value: int, dtype: str) -> None:
    """A missing-call mark that was not declared does not pass as a dosage."""
    block = np.ones((3, 5), dtype)
    block[1, 2] = value
    with pytest.raises(InvalidArgumentError, match=rf"got {value}.*missing="):
        standardise_block(block, axis=1, scale="patterson")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("missing", [None, -1, math.nan])
@pytest.mark.parametrize("axis", [0, 1])
def test_nan_and_infinity_are_refused_unless_declared_missing(
    value: float, missing: float | None, axis: int
) -> None:
    """Nothing that is not finite reaches a statistic."""
    block = np.ones((4, 6), np.float32)
    block[2, 3] = value
    if missing is not None and math.isnan(missing):
        block[0, 0] = math.nan
        if math.isnan(value):
            assert np.isfinite(standardise_block(block, axis=axis, missing=missing)).all()
            return
    with pytest.raises(InvalidArgumentError, match=f"expected finite values, got {value}"):
        standardise_block(block, axis=axis, missing=missing)


def test_a_spread_that_overflows_is_refused() -> None:
    """Finite values whose squares are not are refused in words, also when parts meet."""
    with pytest.raises(InvalidArgumentError, match="overflow float64"):
        moments(np.array([[1e200, -1e200]]), axis=1)
    parts = [moments(np.array([[value] * 3]), axis=1) for value in (1e200, -1e200)]
    with pytest.raises(InvalidArgumentError, match="overflow float64"):
        mean_and_factor(merge_moments(parts, axis=1), axis=1)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_memory_order_changes_nothing_but_itself(axis: int, dtype: str) -> None:
    """A transposed block gives the same values, in the same memory order."""
    values = np.random.default_rng(1).integers(-1, 3, (40, 30)).astype(dtype)
    turned = np.asfortranarray(values)
    expected = standardise_block(values, axis=axis, missing=-1)
    found = standardise_block(turned, axis=axis, missing=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-14)
    assert found.flags.f_contiguous
    assert expected.flags.c_contiguous


@pytest.mark.parametrize(("dtype", "missing"), [("int8", -1), ("float32", math.nan)])
def test_a_block_is_never_held_as_float64(dtype: str, missing: float) -> None:
    """Beside the block and its result, a task holds little more than a few tiles."""
    block = np.random.default_rng(2).integers(-1, 3, (2000, 1000)).astype(dtype)
    if math.isnan(missing):
        block[block < 0] = missing
    tracemalloc.start()
    result = standardise_block(block, axis=1, missing=missing, dtype="float32")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - result.nbytes < 3 * 2**20


def test_zero_dimensions_and_zero_extents_have_no_values() -> None:
    """An axis of extent 0 has a count of 0, and nothing to standardise."""
    np.testing.assert_array_equal(moments(np.empty((2, 0)), axis=1), np.zeros((2, 3)))
    assert standardise_block(np.empty((2, 0)), axis=1).shape == (2, 0)
    assert standardise_block(np.empty((0, 3), np.int8), axis=1).shape == (0, 3)


@given(blocks())
def test_scaling_by_known_statistics_does_not_look_at_the_values(
    drawn: tuple[NDArray[Any], int, float | None],
) -> None:
    """Statistics of a larger array apply to a part of it: mean 1 and factor 2 are used as given."""
    block, axis, missing = drawn
    shape = list(block.shape)
    shape[axis] = 1
    given_ = np.concatenate([np.full(shape, 1.0), np.full(shape, 2.0)], axis=axis)
    found = Scaling(axis, missing=missing).apply(block, given_)
    np.testing.assert_allclose(found, (masked(block, missing).filled(1.0) - 1) * 2)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"dtype": np.dtype("complex64")}, "complex64.*real floats"),
        ({"dtype": np.dtype("U3")}, "U3"),
        ({"block_type": np.ma.MaskedArray}, "MaskedArray"),
        ({"shape": (math.nan, 3)}, "compute_chunk_sizes"),
    ],
)
def test_blocks_that_would_be_misread_are_refused(wrong: dict[str, Any], words: str) -> None:
    """Complex numbers, text, masks and unknown sizes are refused before anything runs."""
    facts = {"shape": (2, 3), "dtype": np.dtype("int8"), "block_type": np.ndarray} | wrong
    with pytest.raises(InvalidArgumentError, match=words):
        refuse_blocks("sum", **facts)
