"""Principal components: equal to those of the libraries whose conventions they follow."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from numpy.typing import NDArray

from chunkstore.errors import InvalidArgumentError
from dask_integration import pca_job
from dask_integration.genotypes import write_genotypes
from dask_integration.pca import PCA, load_pca, pca
from dask_integration.simulate import Simulation, genotype_band

K = 4


@pytest.fixture(autouse=True)
def synchronous() -> Iterator[None]:
    """Tests run in one thread unless they say otherwise."""
    with dask.config.set(scheduler="synchronous"):
        yield


def measured(n_samples: int, n_features: int) -> NDArray[np.float64]:
    """Make samples by features with a few strong directions."""
    draw = np.random.default_rng(n_samples)
    directions = draw.standard_normal((6, n_features)) * 4.0 ** -np.arange(6)[:, np.newaxis]
    noise = 0.01 * draw.standard_normal((n_samples, n_features))
    return draw.standard_normal((n_samples, 6)) @ directions + noise + draw.random(n_features)


def calls(*, missing_rate: float = 0.0) -> NDArray[np.int8]:
    """Simulate genotypes, variants by samples, all of them polymorphic."""
    simulation = Simulation(
        n_variants=700, n_samples=90, n_populations=5, fst=0.2, missing_rate=missing_rate
    )
    drawn = genotype_band(simulation, 0, 700)
    known = np.ma.masked_equal(drawn, -1)
    return drawn[np.asarray((known.max(axis=1) > known.min(axis=1)).filled(False))]


def computed(found: PCA) -> PCA:
    (result,) = dask.compute(found)
    assert isinstance(result, PCA)
    return result


def assert_same(mine: Any, theirs: Any, *, rtol: float = 1e-6, signed: bool = False) -> None:
    """Compare columns, up to their signs unless these are part of the convention."""
    mine, theirs = np.asarray(mine), np.asarray(theirs)
    if not signed:
        theirs = theirs * np.sign((mine * theirs).sum(axis=0))
    np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=rtol * np.abs(theirs).max())


@pytest.mark.parametrize("method", ["gram", "krylov"])
@pytest.mark.parametrize("shape", [(300, 40), (40, 300)])
@pytest.mark.parametrize("chunks", [(50, -1), (-1, 20), (30, 17)])
def test_it_is_scikit_learns(method: Any, shape: tuple[int, int], chunks: Any) -> None:
    """All its numbers are, those of new samples too; with more samples than features, signs too."""
    decomposition = pytest.importorskip("sklearn.decomposition", reason="needs scikit-learn")
    x = measured(*shape)
    theirs = decomposition.PCA(K, svd_solver="full").fit(x)
    mine = computed(pca(da.from_array(x, chunks=chunks), K, method=method, tol=1e-10))
    signed = shape[0] > shape[1]
    assert_same(mine.scores, theirs.transform(x), signed=signed)
    assert_same(mine.components, theirs.components_.T, signed=signed)
    assert_same(mine.loadings, theirs.components_.T, signed=signed)
    np.testing.assert_allclose(mine.singular_values, theirs.singular_values_)
    np.testing.assert_allclose(mine.explained_variance, theirs.explained_variance_)
    np.testing.assert_allclose(mine.explained_variance_ratio, theirs.explained_variance_ratio_)
    new = measured(25, shape[1])
    assert_same(mine.transform(new), theirs.transform(new), signed=signed)
    lazy = mine.transform(da.from_array(new, chunks=(10, 7)))
    assert_same(lazy.compute(), theirs.transform(new), signed=signed)


@pytest.mark.parametrize("scaler", ["patterson", "standard", None])
@pytest.mark.parametrize("chunks", [(100, -1), (-1, 30), (90, 40)])
def test_it_is_scikit_allels(scaler: str | None, chunks: Any) -> None:
    """Scores, components, variances and new samples, with each of its scalers."""
    allel = pytest.importorskip("allel", reason="needs scikit-allel")
    genotypes = calls()
    # Its own integers become float16.
    scores, theirs = allel.pca(genotypes.astype("f8"), K, scaler=scaler)
    scale: Any = "std" if scaler == "standard" else scaler
    x = da.from_array(genotypes, chunks=chunks)
    mine = computed(pca(x, K, convention="scikit-allel", scale=scale, dtype="float64"))
    assert_same(mine.scores, scores)
    assert_same(mine.components, theirs.components_.T)
    np.testing.assert_allclose(mine.explained_variance, theirs.explained_variance_)
    np.testing.assert_allclose(mine.explained_variance_ratio, theirs.explained_variance_ratio_)
    new = genotypes[:, ::7]
    assert_same(mine.transform(new), theirs.transform(new.astype("f8")), rtol=1e-5)


def test_it_is_sgkits() -> None:
    """Its formulas written out: variances of the scores, loadings with their square roots."""
    genotypes = calls()
    mine = computed(pca(da.from_array(genotypes, chunks=(100, -1)), K, convention="sgkit"))
    # sgkit 0.10: PattersonScaler, then dask-ml's TruncatedSVD, in float32.
    p = genotypes.mean(axis=1, keepdims=True) / 2
    samples = ((genotypes - 2 * p) / np.sqrt(p * (1 - p))).T
    u, s, v = np.linalg.svd(samples, full_matrices=False)
    scores = (u * s)[:, :K]
    variance = scores.var(axis=0)
    assert_same(mine.scores, scores, rtol=1e-4)
    assert_same(mine.components, v[:K].T, rtol=1e-4)
    assert_same(mine.loadings, v[:K].T * np.sqrt(variance), rtol=1e-4)
    np.testing.assert_allclose(mine.explained_variance, variance, rtol=1e-5)
    ratio = variance / samples.var(axis=0).sum()
    np.testing.assert_allclose(mine.explained_variance_ratio, ratio, rtol=1e-5)


def imputed(genotypes: NDArray[np.int8]) -> NDArray[np.float64]:
    """Put missing calls at the mean of their variant, and scale as Patterson, with numpy alone."""
    known = np.ma.masked_equal(genotypes, -1).astype(np.float64)
    p = known.mean(axis=1, keepdims=True) / 2
    spread = np.ma.masked_less(np.ma.sqrt(p * (1 - p)), 1e-9)
    return np.asarray(np.ma.filled((known - 2 * p) / spread, 0))


@pytest.mark.parametrize("samples_axis", [0, 1])
@pytest.mark.parametrize("chunks", [(100, -1), (-1, 30), (90, 40)])
def test_missing_calls_and_sites_that_do_not_vary_do_no_harm(
    samples_axis: int, chunks: Any
) -> None:
    """All-missing, monomorphic and half-missing variants count as 0, along either axis."""
    genotypes = calls(missing_rate=0.05)
    genotypes[3], genotypes[4], genotypes[5], genotypes[6, ::2] = -1, 0, 2, -1
    u, s, v = np.linalg.svd(imputed(genotypes), full_matrices=False)
    x = da.from_array(genotypes, chunks=chunks)
    mine = computed(
        pca(
            x if samples_axis == 1 else x.T,
            K,
            convention="scikit-allel",
            samples_axis=samples_axis,
            missing=-1,
        )
    )
    assert_same(mine.scores, v[:K].T * s[:K], rtol=1e-4)
    assert_same(mine.components, u[:, :K], rtol=1e-4)
    np.testing.assert_allclose(mine.explained_variance_ratio, s[:K] ** 2 / (s**2).sum(), rtol=1e-5)
    assert (mine.components[3:6] == 0).all()
    new = genotypes[:, :7] if samples_axis == 1 else genotypes[:, :7].T
    assert_same(mine.transform(new), mine.scores[:7], rtol=1e-4, signed=True)


def test_the_samples_of_the_array_are_projected_onto_themselves() -> None:
    """Lazily, before anything of the result is computed, and from what numpy holds."""
    genotypes = calls(missing_rate=0.02)
    x = da.from_array(genotypes, chunks=(100, -1))
    mine = pca(x, K, convention="scikit-allel", missing=-1)
    assert isinstance(mine.components, da.Array)
    assert_same(mine.transform(x).compute(), mine.scores, rtol=1e-4, signed=True)
    in_memory = computed(pca(genotypes, K, convention="scikit-allel", missing=-1))
    assert_same(in_memory.transform(genotypes), mine.scores, rtol=1e-4, signed=True)


def test_a_stored_result_projects_new_samples(tmp_path: Path) -> None:
    """What the job wrote is opened again, with the same loadings, in each convention."""
    genotypes = calls(missing_rate=0.02)
    (tmp_path / "in").mkdir()
    write_genotypes(
        tmp_path / "in",
        da.from_array(genotypes, chunks=(128, -1)),
        variants_per_chunk=128,
        columns={},
        attributes={},
    )
    for convention in ("scikit-allel", "sgkit"):
        (tmp_path / convention).mkdir()
        plan = pca_job.plan_pca(str(tmp_path / "in"), n_components=K, convention=convention)
        pca_job.run_pca(plan, tmp_path / convention)
        model = load_pca(tmp_path / convention)
        assert model.convention == convention
        projected = np.asarray(model.transform(genotypes[:, :20]))
        assert_same(projected, model.scores[:20], rtol=1e-4, signed=True)
        assert_same(computed(model).transform(genotypes[:, :20]), projected, signed=True)
        whole = pca(genotypes, K, convention=convention, missing=-1)
        assert_same(computed(model).loadings, computed(whole).loadings, rtol=1e-4)
    with pytest.raises(InvalidArgumentError, match="no result of principal components"):
        load_pca(tmp_path / "in")


def test_what_is_lazy_comes_from_one_read() -> None:
    """Components, statistics and residuals of a whole result share a pass; blocks are not held."""
    values, reads, alive = calls(), [0], [0, 0]
    lock = threading.Lock()

    def read(block: NDArray[np.int8]) -> NDArray[np.int8]:
        copy = block.copy()
        with lock:
            reads[0] += 1
            alive[0] += 1
            alive[1] = max(alive)
        weakref.finalize(copy, lambda: alive.__setitem__(0, alive[0] - 1))
        return copy

    x = da.from_array(values, chunks=(20, -1)).map_blocks(read, dtype="int8", meta=values[:0, :0])
    with ThreadPoolExecutor(2) as pool, dask.config.set(scheduler="threads", pool=pool):
        found = pca(x, K, convention="scikit-allel")
        assert reads == [x.npartitions]
        computed(found)
    assert reads == [2 * x.npartitions]
    assert alive[1] <= 6


@pytest.mark.parametrize(
    ("x", "arguments", "words"),
    [
        (np.ones((4, 3)), {"convention": "spss"}, "'spss'.*scikit-learn"),
        (np.ones((4, 3)), {"samples_axis": 2}, "axis 2 for the samples"),
        (np.ones((1, 3)), {}, "1 samples.*2 or more"),
        (np.ones((4, 3)), {"k": 5}, "1 to 3"),
        (np.ones((4, 3)), {"scale": "var"}, "'var'"),
        (np.full((4, 3), np.nan), {}, "expected finite values, got nan"),
        (np.full((4, 3), 3, np.int8), {"scale": "patterson"}, "dosages from 0 to 2, got 3"),
        (np.full((4, 3), -1, np.int8), {"missing": -1, "impute": "error"}, "12 values are missing"),
        (np.ones(4), {}, "two axes|axis"),
    ],
)
def test_what_cannot_be_meant_is_refused(x: Any, arguments: dict[str, Any], words: str) -> None:
    """Each mistake is told in words that say what was expected."""
    with pytest.raises(InvalidArgumentError, match=words):
        pca(x, **({"k": 2} | arguments))


def test_arrays_without_any_variance_have_no_components() -> None:
    """Constant and all-missing arrays give zeros, and shares of 0, not NaN."""
    for x, missing in ((np.full((6, 4), 2, np.int8), None), (np.full((6, 4), -1, np.int8), -1)):
        found = computed(pca(x, 2, missing=missing))
        for values in (found.scores, found.explained_variance, found.explained_variance_ratio):
            assert (np.asarray(values) == 0).all()
        assert (found.residuals == 0).all()


def test_new_samples_of_other_features_are_refused() -> None:
    """The message says how many features there are."""
    found = pca(measured(30, 8), 2)
    with pytest.raises(InvalidArgumentError, match="expected 8 features along axis 1"):
        found.transform(measured(30, 9))
