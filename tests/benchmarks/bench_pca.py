"""Leading singular vectors of genotypes: time, memory and error beside each other.

The error is 1 − MEV: one less the mean length of the found vectors' projections on the exact
subspace (0: the same space), or the sine of the largest angle between the two spaces. The exact
vectors come from numpy, by the Gram matrix in float64.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.bench_dask import threads
from tests.benchmarks.data import genotypes, genotypes_shape, layout, make_arrays
from tests.benchmarks.harness import OURS, CannotError, Contender, Measure, Row, Scale
from tests.benchmarks.peers import PEERS, Layout, peer_named

MB = 10**6
HAPMAP = Path(__file__).resolve().parents[3] / "shared" / "data" / "hapmap3"


def rows(scale: Scale) -> list[Row]:
    """Give the rows of this topic."""
    return [tall_row(scale), growth_row(scale), wide_row(scale), hapmap_row(scale)]


def stored(scale: Scale, shape: tuple[int, int]) -> Layout:
    """Give the layout of the genotypes: blocks of 1,000 variants and all samples."""
    name = f"pca-{shape[0]}x{shape[1]}"
    return layout(name, shape, (1000, shape[1]), dtype="int8", codec="blosc-zstd-bitshuffle")


def make(scale: Scale, one: Layout) -> None:
    """Write the genotypes where all read them."""
    make_arrays(one, lambda: genotypes(scale, one.shape), scale, PEERS[:2])


def scaled_blocks(x: np.ndarray, dtype: str) -> Iterator[np.ndarray]:
    """Standardise 1,000 variants at a time by the mean and the spread of a binomial draw."""
    for start in range(0, len(x), 1000):
        block = x[start : start + 1000].astype(dtype)
        mean = block.mean(axis=1, keepdims=True)
        spread = np.sqrt(np.maximum(mean / 2 * (1 - mean / 2), 0))
        yield np.divide(block - mean, spread, out=np.zeros_like(block), where=spread > 0)


def leading(gram: np.ndarray, k: int) -> np.ndarray:
    """Give the k leading eigenvectors of a symmetric matrix, as columns."""
    vectors: np.ndarray = np.linalg.eigh(gram)[1][:, : -k - 1 : -1]
    return vectors


def exact_vectors(path: Path, x: np.ndarray, k: int) -> np.ndarray:
    """Give the exact vectors of the samples' side; kept beside the data."""
    if not path.exists():
        np.save(path, leading(sum(block.T @ block for block in scaled_blocks(x, "f8")), k))
    vectors: np.ndarray = np.load(path)
    return vectors


def one_less_mev(exact: np.ndarray, found: np.ndarray) -> float:
    """Give 1 − MEV of vectors that stand in columns, whose lengths in float32 are not quite 1."""
    found = found / np.linalg.norm(found.astype("f8"), axis=0)
    return float(1 - np.linalg.norm(exact.T @ found, axis=0).mean())


def sine(exact: np.ndarray, found: np.ndarray) -> float:
    """Give the sine of the largest angle between the spaces of columns."""
    basis = np.linalg.qr(found.astype("f8"))[0]
    return float(np.linalg.norm(exact - basis @ (basis.T @ exact), 2))


def ours(scale: Scale, path: Path, k: int, **options: Any) -> Callable[[], np.ndarray]:
    """Our singular vectors of the samples' side, as columns."""
    import dask

    from dask_integration import StandardScaler, from_store, svd

    scaler = StandardScaler(axis=1, scale="patterson", missing=options.pop("missing", None))

    def run() -> np.ndarray:
        with threads(scale):
            v: np.ndarray = dask.compute(svd(from_store(path), k, scaler=scaler, **options).v)[0]
        return v.T

    return run


def svd_compressed(scale: Scale, path: Path, k: int, n_power_iter: int) -> Callable[[], Any]:
    """dask.array's, of the same array."""
    import dask
    import dask.array as da

    def run() -> np.ndarray:
        with threads(scale):
            x = da.from_zarr(str(path)).astype("f4")
            mean = x.mean(axis=1, keepdims=True)
            spread = da.sqrt(mean / 2 * (1 - mean / 2))
            y = da.where(spread > 0, (x - mean) / spread, 0)
            _, s, v = da.linalg.svd_compressed(y, k, n_power_iter=n_power_iter, seed=0)
            vectors: np.ndarray = dask.compute(s, v)[1]
        return vectors.T

    return run


def tall_row(scale: Scale) -> Row:
    """The row of the issue's figure: many variants, few samples."""
    one = stored(scale, genotypes_shape(scale))
    path = PEERS[0].path(scale.folder, one)
    k = min(20, one.shape[0] // 2)

    def exact() -> np.ndarray:
        x = genotypes(scale, one.shape)
        return exact_vectors(scale.folder / f"exact-{one.name}-{k}.npy", x, k)

    def in_memory() -> Callable[[], Any]:
        x = genotypes(scale, one.shape)
        return lambda: leading(sum(block.T @ block for block in scaled_blocks(x, "f4")), k)

    def check(result: np.ndarray, most: float) -> str:
        error = one_less_mev(exact(), result)
        if not error <= most:
            raise ValueError(f"1 − MEV is {error:.1e}, expected at most {most:.0e}")
        return f"1 − MEV {error:.0e}"

    peers = [
        Contender(
            f"svd_compressed, q = {q}", partial(svd_compressed, scale, path, k, q),
            needs=("dask", "zarr"),
        )
        for q in (0, 2)
    ]  # fmt: skip
    return Row(
        "20 components of 200,000 variants by 1,000 samples",
        f"int8 {one.shape}, compressed, standardised on the way",
        [
            Contender(OURS, partial(ours, scale, path, k, memory="300 MB"), needs=("dask",),
                      check=lambda result: check(result, 1e-8)),
            *peers,
            Contender("numpy, blocks in memory", in_memory, kind="limit",
                      check=lambda result: check(result, 1e-8)),
        ],
        # The others are not held to an error: it stands beside their time.
        check=lambda result: check(result, 1.0),
        make=lambda: (make(scale, one), exact()),
        rounds=3,
        goal=1.0,
        against="svd_compressed, q = 0",
        memory_at_most=300 * MB,
    )  # fmt: skip


def growth_row(scale: Scale) -> Row:
    """Ours at ten times the rows: the seconds for a row, and the memory, should be the same."""
    few = stored(scale, (scale.part(20_000), 1_000))
    many = stored(scale, (10 * few.shape[0], 1_000))

    def prepare(one: Layout) -> Callable[[], Any]:
        work = ours(scale, PEERS[0].path(scale.folder, one), min(20, few.shape[0] // 2))

        def run() -> Measure:
            start = time.perf_counter()
            vectors = work()
            return Measure((time.perf_counter() - start) / one.shape[0], vectors)

        return run

    return Row(
        "seconds a row, at ten times the rows",
        f"{many.shape[0]:,} rows beside {few.shape[0]:,}",
        [
            Contender(OURS, partial(prepare, many), needs=("dask",)),
            Contender(
                "ours at a tenth of the rows", partial(prepare, few), kind="limit", needs=("dask",)
            ),
        ],
        make=lambda: (make(scale, few), make(scale, many)),
        rounds=3,
    )


def wide_row(scale: Scale) -> Row:
    """Both sides long: a Gram matrix would not be made."""
    one = stored(scale, (scale.part(10_000), max(50, scale.part(25_000))))
    path = PEERS[0].path(scale.folder, one)
    k = min(10, min(one.shape) // 2)

    def check(result: np.ndarray, most: float) -> str:
        """Say how far the vectors are from being eigenvectors, relative to their eigenvalues."""
        image, total = 0.0, np.zeros((result.shape[1], result.shape[1]))
        for block in scaled_blocks(genotypes(scale, one.shape), "f4"):
            part = block @ result
            total += part.T @ part
            image = image + block.T @ part
        residuals = np.linalg.norm(image - result @ total, axis=0) / np.diag(total)
        if not residuals.max() <= most:
            raise ValueError(f"a residual is {residuals.max():.1e}, expected at most {most:.0e}")
        return f"largest residual {residuals.max():.0e}"

    return Row(
        "10 components, 10,000 variants by 25,000 samples",
        f"int8 {one.shape}, compressed",
        [
            Contender(
                OURS, partial(ours, scale, path, k, method="krylov", max_passes=8),
                needs=("dask",), note="at most 8 passes", check=lambda found: check(found, 1e-3),
            ),
            Contender(
                "svd_compressed, q = 3", partial(svd_compressed, scale, path, k, 3),
                needs=("dask", "zarr"), note="8 passes",
            ),
        ],
        check=lambda found: check(found, np.inf),
        make=lambda: make(scale, one),
        rounds=1,
    )  # fmt: skip


def hapmap_row(scale: Scale) -> Row:
    """Real genotypes with missing calls, beside the usual libraries for data in memory."""
    path, exact_path = scale.folder / "hapmap.zarr", scale.folder / "exact-hapmap.npy"
    k = 10

    def prepare_ours() -> Callable[[], Any]:
        if not path.exists():
            raise CannotError(NO_HAPMAP)
        return ours(scale, path, k, missing=-1)

    def check(result: np.ndarray, most: float) -> str:
        error = sine(np.load(exact_path), result)
        if not error <= most:
            raise ValueError(f"sin θ is {error:.1e}, expected at most {most:.0e}")
        return f"sin θ {error:.0e}"

    peers = {
        "scikit-learn, randomized": (scikit_learn, ("sklearn",)),
        "dask-ml, randomized": (dask_ml, ("dask_ml",)),
        "scikit-allel": (scikit_allel, ("allel",)),
        "scikit-allel, randomized": (scikit_allel_randomized, ("allel",)),
    }
    return Row(
        "10 components of HapMap3",
        "14,389 variants by 957 samples; ours from the store, the others from imputed float32",
        [
            Contender(OURS, prepare_ours, needs=("dask",), check=lambda found: check(found, 1e-3)),
            *(
                Contender(name, partial(prepare, scale, k), needs=needs)
                for name, (prepare, needs) in peers.items()
            ),
        ],
        check=lambda found: check(found, 1.0),
        make=partial(make_hapmap, scale, k),
        rounds=1,
    )


NO_HAPMAP = "needs the real data in ../shared/data, which is not beside this checkout"


def make_hapmap(scale: Scale, k: int) -> None:
    """Read the PLINK files into a store, and fill missing calls in for those who need it."""
    path = scale.folder / "hapmap.zarr"
    if path.exists() or not HAPMAP.is_dir():
        return
    from bed_reader import open_bed

    n_variants = max(500, scale.part(14_389))
    with open_bed(next(HAPMAP.glob("*.bed"))) as bed:
        calls = bed.read(np.s_[:, :n_variants], dtype="int8").T.copy()
    calls[calls < 0] = -1
    known = np.where(calls < 0, np.nan, calls.astype("f8"))
    mean = np.nanmean(known, axis=1, keepdims=True)
    imputed = np.where(calls < 0, mean, known).astype("f4")
    np.save(scale.folder / "hapmap-imputed.npy", imputed)
    exact_vectors(scale.folder / "exact-hapmap.npy", imputed, k)
    one = layout("hapmap", calls.shape, (1000, calls.shape[1]), dtype="int8", codec="zstd")
    peer = peer_named(OURS)
    peer.write(peer.create(path, one, scale.cpus), calls)


def imputed_hapmap(scale: Scale) -> np.ndarray:
    """Load the genotypes without missing calls, variants by samples."""
    path = scale.folder / "hapmap-imputed.npy"
    if not path.exists():
        raise CannotError(NO_HAPMAP)
    values: np.ndarray = np.load(path)
    return values


def scikit_learn(scale: Scale, k: int) -> Callable[[], np.ndarray]:
    """scikit-learn's PCA of the standardised matrix; standardising is timed."""
    from sklearn.decomposition import PCA

    x = imputed_hapmap(scale)

    def run() -> np.ndarray:
        samples = np.concatenate(list(scaled_blocks(x, "f4"))).T
        found: np.ndarray = PCA(k, svd_solver="randomized", random_state=0).fit_transform(samples)
        return found

    return run


def dask_ml(scale: Scale, k: int) -> Callable[[], np.ndarray]:
    """dask-ml's PCA of the standardised matrix; standardising is timed."""
    import dask.array as da
    from dask_ml.decomposition import PCA

    x = imputed_hapmap(scale)

    def run() -> np.ndarray:
        samples = np.concatenate(list(scaled_blocks(x, "f4"))).T
        with threads(scale):
            blocks = da.from_array(samples, chunks=(samples.shape[0], 1000))
            model = PCA(k, svd_solver="randomized", random_state=0)
            found: np.ndarray = np.asarray(model.fit_transform(blocks))
        return found

    return run


def scikit_allel(scale: Scale, k: int) -> Callable[[], np.ndarray]:
    """scikit-allel's PCA, exact, with its own scaling."""
    import allel

    x = imputed_hapmap(scale)
    return lambda: allel.pca(x, n_components=k, scaler="patterson")[0]


def scikit_allel_randomized(scale: Scale, k: int) -> Callable[[], np.ndarray]:
    """scikit-allel's randomized PCA, with its own scaling."""
    import allel

    x = imputed_hapmap(scale)
    return lambda: allel.randomized_pca(x, n_components=k, scaler="patterson", random_state=0)[0]
