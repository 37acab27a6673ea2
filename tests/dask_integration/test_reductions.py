"""Reductions read each block once, agree with numpy, and have the shapes of numpy."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from dask.base import collections_to_expr
from hypothesis import given, settings
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError
from dask_integration import reductions
from dask_integration.io import from_store
from dask_integration.reductions import reduce
from dask_integration.summaries import REDUCTIONS
from tests.chunkstore.recording import RecordingStore

VALUES = np.random.default_rng(0).integers(-1, 3, (12, 10, 6), "i1")


@settings(max_examples=25)
@given(data=st.data())
def test_as_numpy_says(data: st.DataObject) -> None:
    """Over any axes and blocks, with and without the reduced axes: numpy's numbers and shapes."""
    chunks = tuple(data.draw(st.integers(1, n)) for n in VALUES.shape)
    axes = data.draw(st.none() | st.integers(-3, 2) | st.sets(st.integers(0, 2)).map(tuple))
    keepdims = data.draw(st.booleans())
    x = da.from_array(VALUES, chunks=chunks)
    results = reduce(x, REDUCTIONS, axis=axes, keepdims=keepdims, split_every=3)
    found = dict(
        zip(results, dask.compute(*results.values(), scheduler="synchronous"), strict=True)
    )
    for name in REDUCTIONS:
        if name == "count":
            expected = np.sum(np.ones_like(VALUES, int), axis=axes, keepdims=keepdims)
        else:
            expected = getattr(np, name)(VALUES, axis=axes, keepdims=keepdims)
        assert results[name].shape == expected.shape
        assert found[name].dtype == results[name].dtype
        np.testing.assert_allclose(found[name], expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["i1", "f4"])
def test_missing_values_are_skipped(dtype: str) -> None:
    """A value declared missing counts for nothing, as in numpy's masked arrays."""
    values = VALUES.astype(dtype)
    masked = np.ma.masked_equal(values, -1)
    x = da.from_array(values, chunks=(5, 10, 4))
    results = reduce(x, REDUCTIONS, axis=(0, 2), ddof=1, missing=-1)
    for name, result in results.items():
        how: dict[str, Any] = {"ddof": 1} if name in ("var", "std") else {}
        expected = getattr(masked, name)(axis=(0, 2), **how)
        np.testing.assert_allclose(result.compute(), expected, rtol=1e-5)


def test_nan_and_a_number_may_both_be_missing() -> None:
    """Several values can be declared missing at once."""
    values = np.array([1.0, np.nan, -9.0, 3.0])
    found = reduce(da.from_array(values, chunks=1), ["mean", "count"], missing=(float("nan"), -9))
    assert [float(result) for result in dask.compute(*found.values())] == [2.0, 2.0]
    assert np.isnan(reductions.mean(da.from_array(values, chunks=1)).compute())


def test_one_pass_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """All reductions together read each stored chunk once, in one task a block and few more."""
    store = RecordingStore()
    cs.create_array(store, data=VALUES, chunks=(1, 1, 6))
    store.forget()
    x = from_store(store, chunks="storage")
    results = reduce(x, REDUCTIONS, axis=(0, 1))
    dask.compute(*results.values())
    reads = Counter(key for key in store.asked("get") if key.startswith("c/"))
    assert len(reads) == 120
    assert set(reads.values()) == {1}
    one = results["mean"]
    graph = one.__dask_optimize__(one.__dask_graph__(), one.__dask_keys__())
    # 120 blocks, 8 tasks that merge 16 each, and the root with what follows it.
    assert len(dict(graph)) <= 120 + 8 + 3


def test_the_graph_is_small(tmp_path: Path) -> None:
    """What is sent before it is spelled out does not grow with the blocks."""
    sizes = []
    for n in (100, 100_000):
        store = str(tmp_path / str(n))
        cs.create_array(store, shape=(n, 10), dtype="i1", chunks=(1, 10))
        total = reductions.sum(from_store(store, chunks="storage"), axis=0)
        sizes.append(len(pickle.dumps(collections_to_expr([total]))))
    assert sizes[1] < sizes[0] + 1_000


def test_single_names() -> None:
    """Each single name gives what `reduce` gives under it."""
    x = da.from_array(VALUES, chunks=(6, 5, 3))
    for name in REDUCTIONS:
        alone = getattr(reductions, name)(x, axis=1, missing=-1)
        together = reduce(x, [name], axis=1, missing=-1)[name]
        np.testing.assert_array_equal(alone.compute(), together.compute())


def test_integers_do_not_overflow_in_silence() -> None:
    """A sum that int64 cannot hold is refused, where numpy would wrap around."""
    x = da.from_array(np.array([2**62, 2**62, 2**62]), chunks=1)
    with pytest.raises(InvalidArgumentError, match="does not fit int64"):
        reductions.sum(x).compute()
    assert float(reductions.mean(x).compute()) == 2.0**62


def test_nothing_to_reduce() -> None:
    """Of no elements the sum is 0 and the mean NaN; a least one is refused before any work."""
    x = da.zeros((0, 3), chunks=(1, 3), dtype="i4")
    found = dask.compute(reduce(x, ["sum", "count", "mean"], axis=0))[0]
    assert found["sum"].tolist() == found["count"].tolist() == [0, 0, 0]
    assert np.isnan(found["mean"]).all()
    with pytest.raises(InvalidArgumentError, match="no least"):
        reductions.min(x, axis=0)
    all_missing = da.full((4, 2), -1, chunks=(2, 2), dtype="i1")
    assert reductions.max(all_missing, axis=0, missing=-1).compute().tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"names": ["median"]}, "median"),
        ({"names": []}, "nothing"),
        ({"axis": 3}, "along axis 3"),
        ({"axis": (0, -3)}, "different axes"),
        ({"ddof": -1}, "ddof"),
        ({"missing": 0.5}, "no value of int8"),
        ({"missing": float("nan")}, "no value of int8"),
        ({"missing": 300}, "no value of int8"),
        ({"split_every": 1}, "split_every"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], match: str) -> None:
    """Arguments that cannot be meant are refused, and say what is expected."""
    x = da.from_array(VALUES, chunks=(6, 5, 3))
    with pytest.raises(InvalidArgumentError, match=match):
        reduce(x, arguments.pop("names", ["sum"]), **arguments)


def test_arrays_that_are_refused() -> None:
    """What blocks of numbers cannot stand for is refused: complex, masks, no dask array."""
    for x in (da.ones(3, dtype="c8"), da.ma.masked_equal(da.ones(3), 1), np.ones(3)):
        with pytest.raises(InvalidArgumentError, match="cannot reduce"):
            reductions.sum(x)
