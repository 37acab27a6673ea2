"""Simulated genotypes: deterministic in any split, and true to the model they name."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkstore.errors import ChunkStoreError, InvalidArgumentError
from dask_integration.simulate import Simulation, genotype_band, population_of_sample


def whole(simulation: Simulation) -> np.ndarray:
    return genotype_band(simulation, 0, simulation.n_variants)


@given(cuts=st.lists(st.integers(0, 300), max_size=6), seed=st.integers(0, 2**64))
@settings(max_examples=30, deadline=None)
def test_any_split_gives_the_same_data(cuts: list[int], seed: int) -> None:
    """The genotypes do not depend on the bands in which they are asked for."""
    simulation = Simulation(n_variants=300, n_samples=7, missing_rate=0.2, seed=seed)
    edges = [0, *sorted(cuts), 300]
    bands = [genotype_band(simulation, lo, hi) for lo, hi in pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(bands), whole(simulation))


def test_more_variants_begin_with_the_same_ones() -> None:
    """Asking for more variants only appends."""
    short = Simulation(n_variants=100, n_samples=9, seed=3)
    longer = Simulation(n_variants=500, n_samples=9, seed=3)
    np.testing.assert_array_equal(whole(short), whole(longer)[:100])


def test_streams_and_seeds_differ() -> None:
    """Neither two bands of one simulation nor two seeds repeat the same numbers."""
    first = whole(Simulation(n_variants=128, n_samples=50, seed=1))
    second = whole(Simulation(n_variants=128, n_samples=50, seed=2))
    assert (first != second).mean() > 0.3
    assert (first[:64] != first[64:]).mean() > 0.3


def test_dtype_values_and_missing_rate() -> None:
    """Calls are int8 0, 1, 2 or -1, and -1 comes as often as asked."""
    simulation = Simulation(n_variants=2000, n_samples=100, missing_rate=0.03, seed=5)
    calls = whole(simulation)
    assert calls.dtype == np.int8
    assert np.unique(calls).tolist() == [-1, 0, 1, 2]
    spread = np.sqrt(0.03 * 0.97 / calls.size)
    assert abs((calls == -1).mean() - 0.03) < 5 * spread
    assert not (whole(Simulation(n_variants=2000, n_samples=100, seed=5)) == -1).any()


def test_populations_stand_together_and_are_balanced() -> None:
    """Samples are split evenly, in order."""
    index = population_of_sample(Simulation(n_variants=1, n_samples=11, n_populations=3))
    assert (np.diff(index) >= 0).all()
    assert np.ptp(np.bincount(index)) <= 1


@pytest.mark.parametrize("fst", [0.01, 0.1, 0.3])
def test_drift_is_the_one_asked_for(fst: float) -> None:
    """Hudson's estimate of the drift between two populations gives back the parameter."""
    simulation = Simulation(n_variants=8000, n_samples=200, n_populations=2, fst=fst, seed=8)
    calls, index = whole(simulation).astype(float), population_of_sample(simulation)
    p, q = (calls[:, index == i].mean(axis=1) / 2 for i in range(2))
    n = 2 * 100
    within = p * (1 - p) / (n - 1) + q * (1 - q) / (n - 1)
    numerator = ((p - q) ** 2 - within).mean()
    denominator = (p * (1 - q) + q * (1 - p)).mean()
    assert numerator / denominator == pytest.approx(fst, rel=0.06)


def test_genotypes_are_in_hardy_weinberg_proportions() -> None:
    """Within one population, genotypes come at the rates that allele frequencies predict."""
    simulation = Simulation(n_variants=3000, n_samples=400, n_populations=1, seed=2)
    calls = whole(simulation)
    p = calls.mean(axis=1) / 2
    expected = 2 * p * (1 - p) * 800 / 799
    assert ((calls == 1).mean(axis=1) - expected).mean() == pytest.approx(0, abs=2e-3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_variants": 0},
        {"n_samples": 0},
        {"n_populations": 0},
        {"n_populations": 5},
        {"fst": 0.0},
        {"fst": 1.0},
        {"missing_rate": 1.0},
        {"missing_rate": -0.1},
        {"seed": -1},
    ],
)
def test_what_cannot_be_simulated_is_refused(wrong: dict[str, float]) -> None:
    """Every parameter out of its range is named."""
    with pytest.raises(ChunkStoreError, match=next(iter(wrong)).removeprefix("n_")):
        Simulation(**{"n_variants": 10, "n_samples": 4, **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (2, 1), (0, 11)])
def test_a_band_outside_the_matrix_is_refused(start: int, stop: int) -> None:
    """Nothing is made up beyond the last variant."""
    with pytest.raises(InvalidArgumentError, match="0 to 10"):
        genotype_band(Simulation(n_variants=10, n_samples=4), start, stop)
