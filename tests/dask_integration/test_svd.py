"""The decomposition as dask graphs: right, few reads, few blocks in memory, on every scheduler."""

from __future__ import annotations

import pickle
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from dask.callbacks import Callback
from dask.highlevelgraph import MaterializedLayer
from distributed import Client, Future, LocalCluster
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from chunkstore.errors import InvalidArgumentError
from dask_integration.bands import Bands
from dask_integration.blas import on_one_blas_thread
from dask_integration.chunks import Block
from dask_integration.krylov import krylov_step
from dask_integration.layers import read_layer, tree_reduce, unique_token, write_layer
from dask_integration.scaler import StandardScaler
from dask_integration.scaling import Scaling
from dask_integration.simulate import Simulation, genotype_band, population_of_sample
from dask_integration.standardise import standardise
from dask_integration.svd import SVD, ConvergenceWarning, svd


@pytest.fixture(autouse=True)
def synchronous() -> Iterator[None]:
    """Tests run in one thread unless they say otherwise."""
    with dask.config.set(scheduler="synchronous"):
        yield


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
    found = dask.compute(result, **arguments)[0]
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
    found = computed(svd(da.from_array(values, chunks=chunks), 5, method=method, tol=1e-9))
    check(found, values, 5, rtol=1e-10, atol=1e-8)
    for residuals in (found.residuals, found.check):
        assert (residuals < 1e-9).all()
    assert found.converged


@pytest.mark.filterwarnings("ignore::dask_integration.ConvergenceWarning")
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
    found = computed(svd(da.from_array(values, chunks=chunks), k, method=method, tol=1e-12))
    expected = np.linalg.svd(values, compute_uv=False)
    np.testing.assert_allclose(found.s, expected[:k], rtol=1e-6)
    u, s, v = found
    off = np.linalg.norm(values - (u * s) @ v)
    assert off == pytest.approx(np.linalg.norm(expected[k:]), abs=1e-6 * expected[0])


@pytest.mark.parametrize(
    ("given_", "result"),
    [
        ("bool", "float32"),
        ("int8", "float32"),
        ("uint16", "float32"),
        ("float16", "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
    ],
)
@pytest.mark.parametrize("shape", [(60, 20), (20, 60)])
def test_the_dtype_follows_that_of_the_array(
    given_: str, result: str, shape: tuple[int, int]
) -> None:
    """The tall factor is float32 but for float64; integers are not squared as integers."""
    drawn = np.random.default_rng(0).random(shape)
    values = np.where(drawn < 0.5, 0, drawn * 100).astype(given_)
    lazy = svd(da.from_array(values, chunks=(10, 10)), 2)
    found = computed(lazy)
    for before, after in zip(lazy, found, strict=True):
        assert before.dtype == after.dtype == (result if before is not after else "float64")
        assert before.shape == after.shape
    expected = np.linalg.svd(values.astype(np.float64), compute_uv=False)[:2]
    np.testing.assert_allclose(found.s, expected, rtol=1e-6)


SIMULATED = Simulation(n_variants=6000, n_samples=240, n_populations=4, fst=0.05, missing_rate=0.02)


@pytest.fixture(scope="module")
def genotypes() -> tuple[NDArray[np.int8], Any]:
    """Simulated genotypes, and the dense decomposition of them standardised."""
    genotypes = genotype_band(SIMULATED, 0, SIMULATED.n_variants)
    known = np.ma.masked_equal(genotypes, -1).astype(np.float64)
    p = known.mean(axis=1, keepdims=True) / 2
    spread = np.ma.masked_equal(np.ma.sqrt(p * (1 - p)), 0)
    dense = np.asarray(np.ma.filled((known - 2 * p) / spread, 0))
    return genotypes, on_one_blas_thread(partial(np.linalg.svd, full_matrices=False), dense)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("method", "rtol"), [("gram", 1e-6), ("krylov", 1e-5)])
def test_populations_are_found_in_genotypes(
    genotypes: tuple[NDArray[np.int8], Any], dtype: str, method: Any, rtol: float
) -> None:
    """Simulated genotypes: values right to 1e-5, the populations' subspace to an angle of 1e-3."""
    calls, expected = genotypes
    scaler = StandardScaler(1, scale="patterson", missing=-1)
    x = da.from_array(calls, chunks=(750, -1))
    found = computed(svd(x, 3, method=method, scaler=scaler, dtype=dtype))
    np.testing.assert_allclose(found.s, expected[1][:3], rtol=rtol)
    cosines = np.linalg.svd(expected[2][:3] @ found.v.T.astype(np.float64), compute_uv=False)
    assert np.sqrt(max(0.0, 1 - cosines.min() ** 2)) < 1e-3
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
        np.testing.assert_allclose(found.s, expected, rtol=1e-5)
        assert found.history[-1].dtype == "float64"


# --- passes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "n_passes"),
    [({"method": "gram"}, 1), ({"method": "krylov", "tol": 1e-12, "max_passes": 3}, 3)],
)
@pytest.mark.parametrize("chunks", [(100, 60), (100, 20), (500, 15)])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.filterwarnings("ignore::dask_integration.ConvergenceWarning")
def test_each_pass_reads_each_block_once(
    arguments: dict[str, Any], n_passes: int, chunks: tuple[int, int], wide: bool
) -> None:
    """s and the small factor cost the passes that are counted, the tall factor one more."""
    source = Source(np.random.default_rng(0).standard_normal((1000, 60)).astype(np.float32))
    x = source.array(chunks)
    result = svd(x.T if wide else x, 4, **arguments)
    assert len(source.reads) == x.npartitions
    assert source.reads_per_block() == {n_passes}
    assert result.passes == n_passes
    assert result.bytes_read == n_passes * x.nbytes
    dask.compute(result.v if wide else result.u, result.check)
    assert source.reads_per_block() == {1}


@pytest.mark.parametrize("method", ["gram", "krylov"])
@pytest.mark.parametrize(("chunks", "n_in_band"), [((50, 40), 1), ((50, 10), 4)])
@pytest.mark.parametrize("wide", [False, True])
def test_blocks_are_not_held_between_passes(
    method: Any, chunks: tuple[int, int], n_in_band: int, wide: bool
) -> None:
    """Two threads hold the blocks of a few bands, however many bands and passes there are."""
    source = Source(np.random.default_rng(0).standard_normal((4000, 40)).astype(np.float32))
    x = source.array(chunks)
    with ThreadPoolExecutor(2) as pool, dask.config.set(scheduler="threads", pool=pool):
        result = svd(x.T if wide else x, 3, method=method)
        dask.compute((result.v if wide else result.u).sum(), result.check)
    assert x.npartitions == 80 * n_in_band
    assert source.most_alive <= 2 * n_in_band + 2


@pytest.mark.parametrize(("chunks", "axis", "n_more"), [((50, 40), 0, 1), ((50, 10), 1, 0)])
@pytest.mark.parametrize("lazily", [False, True])
def test_statistics_across_blocks_cost_one_pass(
    chunks: tuple[int, int], axis: int, n_more: int, lazily: bool
) -> None:
    """p passes over a standardised array read it p + 1 times, and hold a few blocks of it."""
    source = Source(np.random.default_rng(0).integers(0, 3, (2000, 40)).astype(np.int8))
    x = source.array(chunks)
    with ThreadPoolExecutor(2) as pool, dask.config.set(scheduler="threads", pool=pool):
        if lazily:
            result = svd(standardise(x, axis=axis), 3, method="krylov")
            n_more = 1
        else:
            result = svd(x, 3, method="krylov", scaler=StandardScaler(axis))
        n_krylov = sum(one.kind == "krylov" for one in result.history)
        assert n_krylov > 2
        assert source.reads_per_block() == {n_krylov + n_more}
        dask.compute(result.u.sum(), result.check)
    assert source.reads_per_block() == {1}
    assert source.most_alive <= 2 * 4 + 2


def keep(blocks: dict[tuple[int, ...], NDArray[Any]], block: Block, values: NDArray[Any]) -> bool:
    blocks[block.id] = values
    return True


def test_writing_the_tall_factor_and_checking_it_share_a_pass() -> None:
    """What is written of u, and its check, come from one read of each block."""
    source = Source(with_spectrum((900, 30), SPECTRUM))
    result = svd(source.array((100, 30)), 3, method="gram")
    written: dict[tuple[int, ...], NDArray[Any]] = {}
    receipts = write_layer(keep, result.u, written)
    n_written = tree_reduce(receipts, sum)
    residuals, n = dask.compute(result.check, n_written)
    assert n == 9
    assert source.reads_per_block() == {2}
    assert (residuals < 1e-10).all()
    u = np.concatenate([written[number, 0] for number in range(9)])
    np.testing.assert_allclose(u.T @ u, np.eye(3), atol=1e-10)


def test_a_pass_is_one_task_a_block() -> None:
    """Reading, standardising and the step of a pass fuse; the rest is the tree of sums."""
    source = Source(np.ones((1600, 20), np.int8) * np.arange(20, dtype=np.int8))
    counted: list[int] = []
    with Callback(start=lambda graph: counted.append(len(graph))):
        result = svd(
            source.array((100, 20)), 2, method="krylov", scaler=StandardScaler(1), tol=1e-3
        )
    assert counted == [16 + 1] * result.passes


def zeros(_: object, block: Block) -> NDArray[Any]:
    return np.zeros(block.shape, np.float32)


def test_the_graph_is_small_whatever_the_array() -> None:
    """Directions are sent once and never embedded in tasks, nor is anything that grows."""

    def size(n_rows: int, n_columns: int) -> int:
        x = read_layer(
            zeros,
            None,
            chunks=((1000,) * (n_rows // 1000), (n_columns,)),
            dtype=np.float32,
            name_token=unique_token(),
        )
        bands = Bands(x, 1, scaling=Scaling(1))
        partials = bands._map(krylov_step, [np.zeros((n_columns, 30))], label="step")
        graph = dict(tree_reduce(partials, sum).__dask_graph__().layers)
        operand = next(name for name in graph if name.startswith("ndarray"))
        del graph[operand]
        return len(pickle.dumps(graph))

    small, large = size(10_000, 5_000), size(1_000_000, 50_000)
    assert small < 20_000
    assert abs(large - small) < 500


def test_directions_are_sent_to_a_cluster_once() -> None:
    """On a cluster the graph of a pass refers to what the workers hold already."""
    values = with_spectrum((300, 4000), SPECTRUM)
    x = da.from_array(values, chunks=(50, -1))
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster),
        dask.config.set(scheduler=None),
    ):
        bands = Bands(x, 1)
        partials = bands._map(krylov_step, [np.zeros((4000, 30))], label="step")
        graph = partials.__dask_graph__()
        held = [value for layer in graph.layers.values() for value in _values(layer)]
        assert sum(isinstance(value, Future) for value in held) == 1
        assert max(getattr(value, "nbytes", 0) for value in held) <= values.nbytes


def _values(layer: Any) -> list[Any]:
    """Give what a spelled-out layer holds; block-wise layers hold no data."""
    return list(layer.values()) if isinstance(layer, MaterializedLayer) else []


# --- what may go wrong --------------------------------------------------------------------------


def test_results_are_the_same_each_time_and_signs_are_fixed() -> None:
    """Threads, seeds and the sign of the data do not show: the small vectors are the same."""
    values = with_spectrum((600, 30), SPECTRUM)
    x = da.from_array(values, chunks=(50, 30))
    first = computed(svd(x, 4, method="krylov", tol=1e-9))
    with dask.config.set(scheduler="threads"):
        again = computed(svd(x, 4, method="krylov", tol=1e-9))
    np.testing.assert_array_equal(first.v, again.v)
    np.testing.assert_array_equal(first.u, again.u)
    other = computed(svd(-x, 4, method="krylov", seed=7, tol=1e-9))
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


def test_residuals_tell_when_passes_are_too_few() -> None:
    """A flat spectrum is not found in two passes; the residuals say so, and so does a warning."""
    values = np.random.default_rng(0).standard_normal((500, 200))
    x = da.from_array(values, chunks=(100, 200))
    exact = svd(x, 4, method="gram")
    with pytest.warns(ConvergenceWarning, match="4 of 4 components have residuals above 0.0001"):
        early = svd(x, 4, method="krylov", max_passes=2)
    late = svd(x, 4, method="krylov")
    assert (exact.residuals < 1e-10).all()
    assert (early.residuals > 0.05).all()
    assert not early.converged
    assert late.converged
    assert late.passes > early.passes == 2
    worst = [one.worst for one in late.history]
    assert worst[-1] == late.residuals.max() <= 1e-4 < worst[-2]
    for found in (exact, early, late):
        np.testing.assert_allclose(found.check.compute(), found.residuals, rtol=1e-3, atol=1e-10)


class Corrupted(Source):
    """Gives one block's columns in another order in one of its reads: the squares stay right."""

    def __init__(self, values: NDArray[Any], *, read: int) -> None:
        super().__init__(values)
        self.read_number = read

    def array(self, chunks: Any) -> da.Array:
        blocks = da.core.normalize_chunks(chunks, self.values.shape)
        return read_layer(
            Corrupted.spoil, self, chunks=blocks, dtype=self.values.dtype, name_token="spoilt"
        )

    def spoil(self, block: Block) -> NDArray[Any]:
        values = Source.read(self, block)
        spoilt = block.id == (2, 0) and self.reads[block.id] == self.read_number
        return values[:, ::-1].copy() if spoilt else values


@pytest.mark.parametrize("method", ["gram", "krylov"])
def test_residuals_rise_when_a_pass_was_corrupted(method: Any) -> None:
    """One wrong block in one pass is seen in the residuals, though its squares add up."""
    values = np.random.default_rng(0).standard_normal((600, 100))
    sound = svd(Corrupted(values, read=99).array((100, -1)), 4, method=method)
    assert sound.converged
    spoilt_in = 1 if method == "gram" else 2
    x = Corrupted(values, read=spoilt_in).array((100, -1))
    if method == "gram":
        # The Gram matrix of what was read is exact; only another read can tell.
        spoilt = svd(x, 4, method=method).check.compute()
    else:
        with pytest.warns(ConvergenceWarning, match="residuals above"):
            spoilt = svd(x, 4, method=method, max_passes=sound.passes).residuals
    assert spoilt.max() > 1e-3


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_float32_products_give_way_where_they_would_not_do(dtype: str) -> None:
    """A spectrum too steep for float32 is found in float64, in a pass more; a flat one is not."""
    draw = np.random.default_rng(0)
    flat = draw.integers(-100, 100, (2000, 40)).astype(dtype)
    steep = (flat // 50 + 120).astype(dtype)
    for method in ("gram", "krylov"):
        for values, precisions in ((flat, {"float32"}), (steep, {"float32", "float64"})):
            found = svd(da.from_array(values, chunks=(500, 40)), 5, method=method)
            assert {one.dtype for one in found.history} == precisions
            expected = np.linalg.svd(values.astype(float), compute_uv=False)[:5]
            np.testing.assert_allclose(found.s, expected, rtol=1e-6)


@pytest.mark.parametrize("size", [1e-25, 1e25])
@pytest.mark.parametrize("method", ["gram", "krylov"])
def test_values_whose_squares_leave_float32_are_found(method: Any, size: float) -> None:
    """Very small and very large float32 values are squared as float64."""
    values = (with_spectrum((300, 30), SPECTRUM[:5]) * size).astype(np.float32)
    found = svd(da.from_array(values, chunks=(100, 30)), 3, method=method)
    np.testing.assert_allclose(found.s, SPECTRUM[:3] * size, rtol=1e-5)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("chunks", [(100, 40), (100, 15), (300, 7)])
def test_a_scaler_is_as_good_as_a_standardised_array(
    wide: bool, axis: int, fitted: bool, chunks: tuple[int, int]
) -> None:
    """The array that is never made has the factors of the one that is, along either axis."""
    draw = np.random.default_rng(0)
    values = (draw.binomial(2, draw.uniform(0.1, 0.9, (300, 1)), (300, 40)) - 1).astype(np.int8)
    values[7] = 1
    if wide:
        values, chunks = np.ascontiguousarray(values.T), (chunks[1], chunks[0])
    x = da.from_array(values, chunks=chunks)
    scaler = StandardScaler(axis, missing=-1)
    made = np.asarray(scaler.fit(values).transform(values, dtype="float64"))
    found = computed(svd(x, 3, scaler=scaler.fit(x) if fitted else scaler, dtype="float64"))
    check(found, made, 3, rtol=1e-9, atol=1e-6)


def test_arrays_in_memory_will_do() -> None:
    """A numpy array is cut into blocks and decomposed like any other."""
    values = with_spectrum((500, 20), SPECTRUM[:20])
    for given_ in (values, values.T.copy()):
        check(computed(svd(given_, 3)), given_, 3, rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize("method", ["gram", "krylov"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_and_its_block_named(method: Any, value: float) -> None:
    """The first pass stops at the value, and says in which block it is."""
    values = np.ones((60, 10))
    values[33, 4] = value
    with pytest.raises(InvalidArgumentError, match=rf"got {value} at \(13, 4\)") as caught:
        svd(da.from_array(values, chunks=(20, 10)), 2, method=method)
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
    with pytest.raises(InvalidArgumentError, match="changed while it was read"):
        svd(x, 2, method="krylov", n_oversamples=2, tol=1e-9)


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
        ([[1, 2], [3, 4]], 1, {}, r"builtins\.list"),
        (np.ones((6, 4), "complex64"), 2, {}, "complex64"),
        (SQUARE.astype("complex128"), 2, {}, "complex128"),
        (SQUARE[da.ones(6, chunks=2) > 0], 2, {}, "compute_chunk_sizes"),
        (SQUARE, 2, {"method": "power"}, "'power'"),
        (SQUARE, 2, {"max_passes": 0}, "max_passes=0"),
        (SQUARE, 2, {"n_oversamples": -1}, "n_oversamples=-1"),
        (SQUARE, 2, {"tol": 0}, "tol=0"),
        (SQUARE, 2, {"dtype": "int8"}, "int8: expected float32 or float64"),
        (SQUARE, 2, {"memory": "1 MB"}, "within 1000000 bytes.*Allow as much"),
        (SQUARE, 2, {"scaler": StandardScaler(2)}, "axis 2"),
        (SQUARE, 2, {"scaler": StandardScaler(0).fit(np.ones((3, 3)))}, "another shape"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(
    x: Any, k: Any, arguments: dict[str, Any], words: str
) -> None:
    """Each wrong argument is refused when the graph is built, with what was expected."""
    with pytest.raises(InvalidArgumentError, match=words):
        svd(x, k, **arguments)


# --- choices and schedulers ---------------------------------------------------------------------


def test_any_scheduler_will_do() -> None:
    """Threads, processes and a cluster of two processes give the synchronous scheduler's result."""
    values = with_spectrum((300, 24), SPECTRUM[:24]).astype(np.float32)
    x = standardise(da.from_array(values, chunks=(75, 12)), axis=1)
    with dask.config.set(scheduler="threads"):
        found = [computed(svd(x, 3, method=method)) for method in ("gram", "krylov")]
    # Each computation starts its processes: two will do.
    with dask.config.set(scheduler="processes", num_workers=2):
        found.append(
            computed(
                svd(
                    da.from_array(values, chunks=(75, -1)),
                    3,
                    method="gram",
                    scaler=StandardScaler(1),
                )
            )
        )
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster),
        dask.config.set(scheduler=None),
    ):
        found += [computed(svd(x, 3, method=method)) for method in ("gram", "krylov")]
    expected = computed(svd(x, 3, method="gram"))
    for other in found:
        for mine, theirs in zip(expected, other, strict=True):
            np.testing.assert_allclose(theirs, mine, atol=1e-5)
        assert (other.check < 1e-4).all()
