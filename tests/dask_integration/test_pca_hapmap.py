"""Principal components of real genotypes, against numpy's dense decomposition."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import chunkstore as cs
from dask_integration import genotypes, pca_job
from dask_integration.blas import on_one_blas_thread
from dask_integration.labels import match_labels, read_labels
from dask_integration.plink import from_plink, open_plink
from dask_integration.plot import scree_and_scatter

pytest.importorskip("bed_reader", reason="needs bed-reader")

N_COMPONENTS = 20


class Run(NamedTuple):
    """The result of the job, and what numpy alone makes of the same files."""

    out: cs.Group
    u: np.ndarray
    s: np.ndarray
    v: np.ndarray
    imputed: np.ndarray
    populations: np.ndarray


def dense(prefix: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Decompose the files with numpy alone: unpack, standardise as Patterson, dense SVD.

    Beside the factors it gives the calls, variants by samples, with missing ones at the mean.
    """
    n_samples = len(Path(f"{prefix}.fam").read_text().splitlines())
    packed = np.fromfile(f"{prefix}.bed", np.uint8)[3:].reshape(-1, -(-n_samples // 4))
    codes = (packed[:, :, None] >> np.array([0, 2, 4, 6], np.uint8)) & 3
    dosage_of_code = np.array([2, np.nan, 1, 0])
    x = dosage_of_code[codes.reshape(len(packed), -1)[:, :n_samples]]
    p = np.nanmean(x, axis=1, keepdims=True) / 2
    spread = np.sqrt(p * (1 - p))
    y = np.nan_to_num((x - 2 * p) / np.where(spread > 0, spread, np.inf))
    # On a busy machine BLAS threads that wait for each other make this ten times as slow.
    u, s, v = on_one_blas_thread(partial(np.linalg.svd, full_matrices=False), y)
    return u, s, v, np.where(np.isnan(x), 2 * p, x)


@pytest.fixture(scope="module")
def hapmap(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Import the files and find their components, once for all tests here."""
    prefix = shared_data / "hapmap3" / "hapmap3"
    folder = tmp_path_factory.mktemp("hapmap")
    files = open_plink(prefix)
    # Several blocks, so that what they hold has to be put together.
    calls = from_plink(files, variants_per_block=2048)
    (folder / "in").mkdir()
    genotypes.write_genotypes(
        folder / "in",
        calls,
        variants_per_chunk=1024,
        columns={"sample_id": files.sample_id},
        attributes={},
    )
    (folder / "out").mkdir()
    plan = pca_job.plan_pca(str(folder / "in"), n_components=N_COMPONENTS)
    pca_job.run_pca(plan, folder / "out")
    labels = read_labels(f"{prefix}.populations.tsv")
    matched = match_labels(labels, files.sample_id)
    assert matched.n_unlabelled == matched.n_unused == 0
    out = cs.open_group(folder / "out", mode="r")
    return Run(out, *dense(prefix), np.array(matched.labels))


def test_singular_values_are_exact(hapmap: Run) -> None:
    """The first ten singular values agree to 1e-5, and so do the shares of variance."""
    got = hapmap.out["singular_values"][...]
    np.testing.assert_allclose(got[:10], hapmap.s[:10], rtol=1e-5)
    np.testing.assert_allclose(got, hapmap.s[:N_COMPONENTS], rtol=1e-5)
    ratio = hapmap.s[:N_COMPONENTS] ** 2 / (hapmap.s**2).sum()
    np.testing.assert_allclose(hapmap.out["explained_variance_ratio"][...], ratio, rtol=1e-5)


def test_subspaces_are_the_same(hapmap: Run) -> None:
    """Scores and loadings span what the dense singular vectors span: 1 - MEV <= 1e-8."""
    scores = hapmap.out["scores"][...].astype(float)
    loadings = hapmap.out["loadings"][...].astype(float)
    for got, exact in ((scores / hapmap.s[:20], hapmap.v[:20].T), (loadings, hapmap.u[:, :20])):
        lengths = np.linalg.norm(exact.T @ got, axis=0)
        np.testing.assert_allclose(np.linalg.norm(got, axis=0), 1, rtol=1e-5)
        assert abs(1 - np.mean(lengths / np.linalg.norm(got, axis=0))) <= 1e-8


def sine(a: np.ndarray, b: np.ndarray) -> float:
    """Give the sine of the largest angle between the spaces of two sets of columns."""
    a, b = (np.linalg.qr(columns.astype(float))[0] for columns in (a, b))
    return float(np.linalg.norm(a - b @ (b.T @ a), 2))


def test_scikit_learns_randomized_components_are_the_same(hapmap: Run) -> None:
    """The five components that stand out span the same space: sin θ <= 1e-3."""
    decomposition = pytest.importorskip("sklearn.decomposition", reason="needs scikit-learn")
    x = hapmap.imputed
    p = x.mean(axis=1, keepdims=True) / 2
    samples = ((x - 2 * p) / np.sqrt(p * (1 - p))).T
    theirs = decomposition.PCA(10, svd_solver="randomized", random_state=0)
    scores = on_one_blas_thread(theirs.fit_transform, samples)
    assert sine(hapmap.out["scores"][:, :5], scores[:, :5]) <= 1e-3


def test_scikit_allels_components_are_the_same(hapmap: Run) -> None:
    """With its own scaling the same space, and the same variances: sin θ <= 1e-3."""
    allel = pytest.importorskip("allel", reason="needs scikit-allel")
    find = partial(
        allel.randomized_pca, n_components=10, iterated_power=9, random_state=0, scaler="patterson"
    )
    scores, model = on_one_blas_thread(find, hapmap.imputed)
    assert sine(hapmap.out["scores"][:, :5], scores[:, :5]) <= 1e-3
    for name in ("explained_variance", "explained_variance_ratio"):
        theirs = getattr(model, f"{name}_")
        np.testing.assert_allclose(hapmap.out[name][:5], theirs[:5], rtol=1e-4)


def test_each_leading_component_is_the_same(hapmap: Run) -> None:
    """Where the spectrum has gaps, every vector is the exact one up to its sign."""
    scores, loadings = hapmap.out["scores"][...], hapmap.out["loadings"][...]
    for i in range(6):
        sign = np.sign(scores[:, i] @ hapmap.v[i])
        exact = hapmap.s[i] * hapmap.v[i]
        np.testing.assert_allclose(sign * scores[:, i], exact, atol=1e-4 * abs(exact).max())
        np.testing.assert_allclose(sign * loadings[:, i], hapmap.u[:, i], atol=1e-5)


def test_residuals_are_small(hapmap: Run) -> None:
    """What the job says of its own accuracy fits what numpy says of it."""
    assert (hapmap.out["residuals"][...] < 1e-6).all()


def test_populations_do_not_overlap(hapmap: Run) -> None:
    """YRI, CEU and CHB lie apart in the plane of PC1 and PC2, with room between them.

    For each pair, projected onto the line through their centres, the gap between the groups is
    wider than either group: no line that separates them is near to a sample.
    """
    plane = hapmap.out["scores"][:, :2]
    groups = {name: plane[hapmap.populations == name] for name in ("YRI", "CEU", "CHB")}
    assert {name: len(group) for name, group in groups.items()} == {
        "YRI": 108,
        "CEU": 107,
        "CHB": 81,
    }
    for a, b in combinations(groups.values(), 2):
        direction = b.mean(axis=0) - a.mean(axis=0)
        direction /= np.linalg.norm(direction)
        gap = (b @ direction).min() - (a @ direction).max()
        assert gap > max(np.ptp(a @ direction), np.ptp(b @ direction))


def test_the_picture_can_be_drawn(hapmap: Run, tmp_path: Path) -> None:
    """Eleven populations make a picture of the expected size."""
    image = pytest.importorskip("matplotlib.image", reason="needs matplotlib")
    path = tmp_path / "hapmap.png"
    scree_and_scatter(
        path,
        hapmap.out["scores"][...],
        explained=hapmap.out["explained_variance_ratio"][...].tolist(),
        labels=hapmap.populations.tolist(),
    )
    pixels = image.imread(path)
    assert pixels.shape[:2] == (1240, 2240)
    assert 0.01 < (pixels[..., :3] < 0.9).any(axis=2).mean() < 0.3
