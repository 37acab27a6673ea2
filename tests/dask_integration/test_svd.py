"""The decomposition as dask graphs: right, few reads, few blocks in memory, on every scheduler."""

from __future__ import annotations

import pickle
import threading
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from chunkstore.errors import InvalidArgumentError
from dask_integration.chunks import Block
from dask_integration.layers import read_layer, tree_reduce, unique_token, write_layer
from dask_integration.simulate import Simulation, genotype_band, population_of_sample
from dask_integration.standardise import standardise
from dask_integration.svd import SVD, svd


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

    def reads_per_block(self) -> set[int]:
        """Give the numbers of reads that occurred since the last call."""
        found = set(self.reads.values())
        self.reads.clear()
        return found


def with_spectrum(
    shape: tuple[int, int], values: NDArray[np.float64], *, seed: int = 0
) -> NDArray[np.float64]:
    """Make an array with given singular values and random vectors."""
    draw = np.random.default_rng(seed)
    left, right = (np.linalg.qr(draw.standard_normal((n, values.size)))[0] for n in shape)
    return np.asarray((left * values) @ right.T)


SPECTRUM = 100 * 0.6 ** np.arange(30.0)
"""Each value 0.6 of the one before: every component is well separated."""


def computed(result: SVD, **arguments: Any) -> SVD:
    """Compute all parts together."""
    found = dask.compute(result, **({"scheduler": "synchronous"} | arguments))[0]
    assert isinstance(found, SVD)
    return found


def check(found: SVD, x: NDArray[Any], k: int, *, rtol: float, atol: float) -> None:
    """Compare with numpy's dense decomposition; vectors up to their signs."""
    u, s, v = np.linalg.svd(x.astype(np.float64), full_matrices=False)
    np.testing.assert_allclose(found.s, s[:k], rtol=rtol)
    for mine, dense in ((found.u, u[:, :k]), (np.transpose(found.v), v[:k].T)):
        np.testing.assert_allclose(np.abs((mine * dense).sum(axis=0)), 1, atol=atol)
        np.testing.assert_allclose(mine.T @ mine, np.eye(k), atol=atol)
    np.testing.assert_allclose(found.total, (s**2).sum(), rtol=1e-6)
    np.testing.assert_allclose(found.explained_variance_ratio, s[:k] ** 2 / (s**2).sum(), rtol=1e-5)
    u_found, s_found, v_found = found
    best = (u[:, :k] * s[:k]) @ v[:k]
    np.testing.assert_allclose((u_found * s_found) @ v_found, best, atol=10 * atol * s[0])


@pytest.mark.parametrize("method", ["gram", "krylov"])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("chunks", [(100, 80), (100, 30), (400, 30), (90, 47), (400, 80)])
def test_factors_are_those_of_numpy_in_any_blocks(
    method: Any, wide: bool, chunks: tuple[int, int]
) -> None:
    """Both methods agree with the dense decomposition, tall or wide, cut along either axis."""
    values = with_spectrum((400, 80), SPECTRUM)
    if wide:
        values, chunks = np.ascontiguousarray(values.T), (chunks[1], chunks[0])
    found = computed(svd(da.from_array(values, chunks=chunks), 5, method=method))
    check(found, values, 5, rtol=1e-10, atol=1e-8)
    assert (found.residuals < 1e-8).all()


@settings(max_examples=25)
@given(
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.sampled_from(("gram", "krylov")),
    st.data(),
)
def test_small_arrays_decompose_completely(
    shape: tuple[int, int], chunks: tuple[int, int], method: Any, data: st.DataObject
) -> None:
    """Every shape, every k up to the smaller side: the factors rebuild their part of the array."""
    values = np.random.default_rng(sum(shape)).standard_normal(shape)
    k = data.draw(st.integers(1, min(shape)))
    found = computed(svd(da.from_array(values, chunks=chunks), k, method=method, n_passes=12))
    expected = np.linalg.svd(values, compute_uv=False)
    np.testing.assert_allclose(found.s, expected[:k], rtol=1e-6)
    u, s, v = found
    off = np.linalg.norm(values - (u * s) @ v)
    assert off == pytest.approx(np.linalg.norm(expected[k:]), abs=1e-6 * expected[0])


@pytest.mark.parametrize(
    ("given_", "result"),
    [
        ("bool", "float64"),
        ("int8", "float64"),
        ("uint16", "float64"),
        ("float16", "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
    ],
)
@pytest.mark.parametrize("shape", [(60, 20), (20, 60)])
def test_the_dtype_follows_that_of_the_array(
    given_: str, result: str, shape: tuple[int, int]
) -> None:
    """Lazy and computed factors have the same dtype; integers are not squared as integers."""
    drawn = np.random.default_rng(0).random(shape)
    values = np.where(drawn < 0.5, 0, drawn * 100).astype(given_)
    lazy = svd(da.from_array(values, chunks=(10, 10)), 2)
    found = computed(lazy)
    for before, after in zip(lazy, found, strict=True):
        assert before.dtype == after.dtype == result
        assert before.shape == after.shape
    expected = np.linalg.svd(values.astype(np.float64), compute_uv=False)[:2]
    np.testing.assert_allclose(found.s, expected, rtol=1e-6)


SIMULATED = Simulation(n_variants=6000, n_samples=240, n_populations=4, fst=0.05, missing_rate=0.02)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("method", "rtol", "angle"), [("gram", 1e-6, 1e-3), ("krylov", 1e-5, 1e-3)]
)
def test_populations_are_found_in_genotypes(
    dtype: str, method: Any, rtol: float, angle: float
) -> None:
    """Simulated genotypes: values right to 1e-5, the populations' subspace to an angle of 1e-3."""
    genotypes = genotype_band(SIMULATED, 0, SIMULATED.n_variants)
    x = da.from_array(genotypes, chunks=(750, -1))
    y = standardise(x, axis=1, scale="patterson", missing=-1, dtype=dtype)
    known = np.ma.masked_equal(genotypes, -1).astype(np.float64)
    p = known.mean(axis=1, keepdims=True) / 2
    spread = np.ma.masked_equal(np.ma.sqrt(p * (1 - p)), 0)
    dense = np.asarray(np.ma.filled((known - 2 * p) / spread, 0))
    expected = np.linalg.svd(dense, full_matrices=False)

    found = computed(svd(y, 3, method=method))
    np.testing.assert_allclose(found.s, expected[1][:3], rtol=rtol)
    cosines = np.linalg.svd(expected[2][:3] @ found.v.T.astype(np.float64), compute_uv=False)
    assert np.sqrt(max(0.0, 1 - cosines.min() ** 2)) < angle
    assert (found.residuals < 1e-3).all()

    population = population_of_sample(SIMULATED)
    scores = np.asarray(found.v).T
    centres = np.stack([scores[population == one].mean(axis=0) for one in range(4)])
    nearest = np.linalg.norm(scores[:, np.newaxis] - centres, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, population)


def test_ten_values_are_right_to_1e_5_in_float32() -> None:
    """Values over three orders of magnitude beside a mean, in float32 data: none off by 1e-5."""
    values = with_spectrum((2000, 60), 100 * 10.0 ** -(np.arange(20) / 3)) + 0.05
    values = values.astype(np.float32)
    expected = np.linalg.svd(values.astype(np.float64), compute_uv=False)[:10]
    for method in ("gram", "krylov"):
        found = svd(da.from_array(values, chunks=(500, 60)), 10, method=method)
        np.testing.assert_allclose(found.s.compute(scheduler="synchronous"), expected, rtol=1e-5)


# --- passes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "n_passes"),
    [({"method": "gram"}, 1), ({"method": "krylov", "n_passes": 3}, 3)],
)
@pytest.mark.parametrize("chunks", [(100, 60), (100, 20), (500, 15)])
@pytest.mark.parametrize("wide", [False, True])
def test_each_pass_reads_each_block_once(
    arguments: dict[str, Any], n_passes: int, chunks: tuple[int, int], wide: bool
) -> None:
    """s and the small factor cost the method's passes, the tall factor and residuals one more."""
    source = Source(np.random.default_rng(0).standard_normal((1000, 60)).astype(np.float32))
    x = source.array(chunks)
    result = svd(x.T if wide else x, 4, **arguments)
    small, tall = (result.u, result.v) if wide else (result.v, result.u)
    dask.compute(
        result.s,
        small,
        result.total,
        result.explained_variance_ratio,
        scheduler="synchronous",
    )
    assert len(source.reads) == x.npartitions
    assert source.reads_per_block() == {n_passes}
    dask.compute(tall, result.residuals, result.s, scheduler="synchronous")
    assert source.reads_per_block() == {n_passes + 1}


@pytest.mark.parametrize("method", ["gram", "krylov"])
@pytest.mark.parametrize(("chunks", "n_in_band"), [((50, 40), 1), ((50, 10), 4)])
@pytest.mark.parametrize("wide", [False, True])
def test_blocks_are_not_held_between_passes(
    method: Any, chunks: tuple[int, int], n_in_band: int, wide: bool
) -> None:
    """Two threads hold the blocks of a few bands, however many bands and passes there are."""
    source = Source(np.random.default_rng(0).standard_normal((4000, 40)).astype(np.float32))
    x = source.array(chunks)
    result = svd(x.T if wide else x, 3, method=method, n_passes=4)
    with ThreadPoolExecutor(2) as pool:
        dask.compute(
            result.u.sum(),
            result.v.sum(),
            result.s,
            result.residuals,
            scheduler="threads",
            pool=pool,
        )
    assert x.npartitions == 80 * n_in_band
    assert source.most_alive <= 2 * n_in_band + 2


@pytest.mark.parametrize("chunks", [(50, 40), (50, 10)])
def test_a_standardised_array_is_not_held_either(chunks: tuple[int, int]) -> None:
    """Statistics across blocks cost at most a read a pass more, and no memory."""
    source = Source(np.random.default_rng(0).integers(0, 3, (2000, 40)).astype(np.int8))
    result = svd(standardise(source.array(chunks), axis=0), 3, method="krylov", n_passes=2)
    with ThreadPoolExecutor(2) as pool:
        dask.compute(result.u.sum(), result.residuals, scheduler="threads", pool=pool)
    assert max(source.reads_per_block()) <= 2 * 3
    assert source.most_alive <= 2 * 4 + 2


def keep(blocks: dict[tuple[int, ...], NDArray[Any]], block: Block, values: NDArray[Any]) -> bool:
    blocks[block.id] = values
    return True


def test_writing_the_tall_factor_and_checking_it_share_a_pass() -> None:
    """What is written of u, and the residuals, come from one read of each block."""
    source = Source(with_spectrum((900, 30), SPECTRUM))
    result = svd(source.array((100, 30)), 3, method="gram")
    written: dict[tuple[int, ...], NDArray[Any]] = {}
    receipts = write_layer(keep, result.u, written)
    n_written = tree_reduce(receipts, sum)
    residuals, n = dask.compute(result.residuals, n_written, scheduler="synchronous")
    assert n == 9
    assert source.reads_per_block() == {2}
    assert (residuals < 1e-10).all()
    u = np.concatenate([written[number, 0] for number in range(9)])
    np.testing.assert_allclose(u.T @ u, np.eye(3), atol=1e-10)


def test_a_pass_is_one_task_a_block() -> None:
    """Reading, standardising and the step of a pass fuse; the rest does not grow with n_passes."""
    source = Source(np.ones((1600, 20), np.int8))
    y = standardise(source.array((100, 20)), axis=1)

    def n_tasks(n_passes: int) -> int:
        result = svd(y, 2, method="krylov", n_passes=n_passes, n_oversamples=0)
        return len(dict(dask.optimize(result.s)[0].__dask_graph__()))

    # 16 blocks, the root of their sum, and the next basis.
    assert n_tasks(5) - n_tasks(4) == 16 + 2


def zeros(_: object, block: Block) -> NDArray[Any]:
    return np.zeros(block.shape, np.float32)


def test_the_graph_is_small_whatever_the_array() -> None:
    """Bases are tasks, never values in the graph; its size does not depend on the blocks."""

    def size(n_rows: int, n_columns: int) -> int:
        x = read_layer(
            zeros,
            None,
            chunks=((100,) * (n_rows // 100), (n_columns,)),
            dtype=np.float32,
            name_token=unique_token(),
        )
        result = svd(standardise(x, axis=1), 20, method="krylov")
        return sum(
            len(pickle.dumps(part.__dask_graph__())) for part in (result.s, result.residuals)
        )

    small, large = size(10_000, 5_000), size(1_000_000, 50_000)
    assert small < 40_000
    assert abs(large - small) < 500


# --- what may go wrong --------------------------------------------------------------------------


def test_results_are_the_same_each_time_and_signs_are_fixed() -> None:
    """Threads, seeds and the sign of the data do not show: the small vectors are the same."""
    values = with_spectrum((600, 30), SPECTRUM)
    x = da.from_array(values, chunks=(50, 30))
    first = computed(svd(x, 4, method="krylov"))
    again = computed(svd(x, 4, method="krylov"), scheduler="threads")
    np.testing.assert_array_equal(first.v, again.v)
    np.testing.assert_array_equal(first.u, again.u)
    other = computed(svd(-x, 4, method="krylov", seed=7))
    np.testing.assert_allclose(first.v, other.v, atol=1e-8)
    np.testing.assert_allclose(first.u, -other.u, atol=1e-8)
    strongest = np.abs(first.v).argmax(axis=1)
    assert (first.v[range(4), strongest] > 0).all()


@pytest.mark.parametrize("method", ["gram", "krylov"])
@pytest.mark.parametrize("wide", [False, True])
def test_a_rank_below_k_gives_zeros(method: Any, wide: bool) -> None:
    """Values beyond the rank are exactly 0; vectors are orthonormal or 0, and nothing is NaN."""
    values = with_spectrum((200, 40), np.array([5.0, 3, 1]))
    x = da.from_array(values.T if wide else values, chunks=(20, 20))
    found = computed(svd(x, 6, method=method))
    small, tall = (found.u, found.v.T) if wide else (found.v.T, found.u)
    np.testing.assert_allclose(found.s[:3], [5, 3, 1], rtol=1e-10)
    assert (found.s[3:] == 0).all()
    assert (tall[:, 3:] == 0).all()
    np.testing.assert_allclose(small.T @ small, np.eye(6), atol=1e-10)
    np.testing.assert_allclose(tall[:, :3].T @ tall[:, :3], np.eye(3), atol=1e-10)
    np.testing.assert_allclose(found.residuals, 0, atol=1e-10)


def test_residuals_rise_when_passes_are_too_few() -> None:
    """A flat spectrum is not found in two passes, and the residuals say so."""
    values = np.random.default_rng(0).standard_normal((500, 200))
    x = da.from_array(values, chunks=(100, 200))
    exact, early, late = (
        svd(x, 4, method="gram").residuals,
        svd(x, 4, method="krylov", n_passes=2).residuals,
        svd(x, 4, method="krylov", n_passes=8).residuals,
    )
    low, high, middle = dask.compute(exact, early, late, scheduler="synchronous")
    assert (low < 1e-10).all()
    assert (high > 0.05).all()
    assert (middle < high).all()


@pytest.mark.parametrize("method", ["gram", "krylov"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_and_its_block_named(method: Any, value: float) -> None:
    """The first pass stops at the value, and says in which block it is."""
    values = np.ones((60, 10))
    values[33, 4] = value
    result = svd(da.from_array(values, chunks=(20, 10)), 2, method=method)
    with pytest.raises(InvalidArgumentError, match=rf"got {value} at \(13, 4\)") as caught:
        result.s.compute(scheduler="synchronous")
    assert caught.value.__notes__ == ["in block (1, 0), region [20:40, 0:10]"]


def test_data_that_change_between_passes_are_refused() -> None:
    """A source that is overwritten while passes run does not give a mixture of both."""
    source = Source(np.random.default_rng(0).standard_normal((100, 20)))

    def spoil(self: Source, block: Block) -> NDArray[Any]:
        values = Source.read(self, block)
        return values if max(self.reads.values()) == 1 else values * 2

    x = read_layer(
        spoil,
        source,
        chunks=((25,) * 4, (20,)),
        dtype=np.float64,
        name_token=unique_token(),
    )
    result = svd(x, 2, method="krylov", n_oversamples=2, n_passes=3)
    with pytest.raises(InvalidArgumentError, match="changed while it was read"):
        result.s.compute(scheduler="synchronous")


SQUARE = da.ones((6, 4), chunks=2)


@pytest.mark.parametrize(
    ("x", "k", "arguments", "words"),
    [
        (SQUARE, 5, {}, r"k=5 components.*\(6, 4\).*1 to 4"),
        (SQUARE, 0, {}, "k=0.*1 to 4"),
        (SQUARE, -1, {}, "k=-1"),
        (SQUARE, 2.0, {}, "k=2.0"),
        (da.ones((0, 4)), 1, {}, "1 to 0"),
        (da.ones(4), 1, {}, "two axes, got 1"),
        (da.ones((2, 2, 2)), 1, {}, "two axes, got 3"),
        (np.ones((6, 4)), 2, {}, r"numpy\.ndarray"),
        (SQUARE.astype("complex128"), 2, {}, "complex128"),
        (SQUARE[da.ones(6, chunks=2) > 0], 2, {}, "compute_chunk_sizes"),
        (SQUARE, 2, {"method": "power"}, "'power'"),
        (SQUARE, 2, {"n_passes": 0}, "n_passes=0"),
        (SQUARE, 2, {"n_oversamples": -1}, "n_oversamples=-1"),
        (SQUARE, 2, {"max_gram": -1}, "max_gram=-1"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(
    x: Any, k: Any, arguments: dict[str, Any], words: str
) -> None:
    """Each wrong argument is refused when the graph is built, with what was expected."""
    with pytest.raises(InvalidArgumentError, match=words):
        svd(x, k, **arguments)


# --- choices and schedulers ---------------------------------------------------------------------


def steps_of(result: SVD) -> set[str]:
    """Name the kernels that the passes of a decomposition run."""
    names = {name.partition("-")[0] for name in result.s.__dask_graph__().layers}
    return names & {"gram", "krylov_step"}


def test_auto_takes_gram_while_its_matrix_is_small() -> None:
    """Up to max_gram on the smaller side, whichever that is."""
    for shape in ((90, 10), (10, 90)):
        x = da.zeros(shape, chunks=(10, 10))
        assert steps_of(svd(x, 2, max_gram=10)) == {"gram"}
        assert steps_of(svd(x, 2, max_gram=9)) == {"krylov_step"}


def test_auto_turns_to_the_side_that_blocks_span_when_bands_would_be_huge() -> None:
    """Blocks of whole long rows are not merged to one band that holds the whole array."""
    x = da.zeros((1000, 500_000), chunks=(10, 500_000))
    result = svd(x, 2)
    assert steps_of(result) == {"krylov_step"}
    assert result.u.chunks == ((10,) * 100, (2,))
    narrow = da.zeros((1000, 500_000), chunks=(1000, 20_000))
    assert steps_of(svd(narrow, 2)) == {"gram"}


def test_any_scheduler_will_do() -> None:
    """Threads, processes and a cluster of two processes give the synchronous scheduler's result."""
    values = with_spectrum((300, 24), SPECTRUM[:24]).astype(np.float32)
    x = standardise(da.from_array(values, chunks=(75, 12)), axis=1)
    exact, passes = svd(x, 3, method="gram"), svd(x, 3, method="krylov", n_passes=4)
    found = [computed(exact, scheduler="threads"), computed(passes, scheduler="threads")]
    found.append(computed(exact, scheduler="processes", num_workers=2))
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster),
    ):
        found += dask.compute(exact, passes)
    expected = computed(exact)
    for other in found:
        for mine, theirs in zip(expected, other, strict=True):
            np.testing.assert_allclose(theirs, mine, atol=1e-5)
        assert (other.residuals < 1e-4).all()
