"""Simulated genotypes of populations that drifted apart, one band of variants at a time.

Floor 0: numpy only, no store and no dask. It stands in for real data where none is at hand: the
demo, the benchmarks, and tests that need a known population structure of any size.

Model (Balding and Nichols 1995, Genetica 96): each variant has an ancestral frequency ``p`` drawn
uniformly; each population draws its own frequency from a beta distribution around it, of variance
``fst * p * (1 - p)``; each sample draws two alleles at its population's frequency. Variants are
independent, so linkage between neighbours is left out; so are admixture and kinship.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chunkstore.errors import InvalidArgumentError

__all__ = ["VARIANTS_PER_STREAM", "Simulation", "genotype_band", "population_of_sample"]

VARIANTS_PER_STREAM = 64
"""Each run of this many variants has its own random generator.

It is a part of the data's definition: another number gives other data for the same seed.
"""


@dataclass(frozen=True)
class Simulation:
    """What to simulate; the same values always give the same genotypes.

    Parameters
    ----------
    n_variants, n_samples : int
        Rows and columns of the genotype matrix.
    n_populations : int
        Samples are split evenly over this many populations, in order of their index.
    fst : float
        Drift of every population from the ancestral one, between 0 and 1 (both excluded).
        Continents differ by about 0.1, neighbouring countries by 0.01 or less.
    missing_rate : float
        Chance that a call is missing, from 0 to below 1.
    seed : int
        Start of all randomness.

    Examples
    --------
    >>> s = Simulation(n_variants=1000, n_samples=6, n_populations=3)
    >>> genotype_band(s, 0, 1000).shape
    (1000, 6)
    """

    n_variants: int
    n_samples: int
    n_populations: int = 3
    fst: float = 0.1
    missing_rate: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("n_variants", "n_samples", "n_populations"):
            if getattr(self, name) < 1:
                raise InvalidArgumentError(
                    f"cannot simulate {name}={getattr(self, name)}: expected 1 or more"
                )
        if self.n_populations > self.n_samples:
            raise InvalidArgumentError(
                f"cannot split {self.n_samples} samples over {self.n_populations} populations: "
                f"each needs a sample. Ask for at most {self.n_samples} populations."
            )
        if not 0 < self.fst < 1:
            raise InvalidArgumentError(
                f"cannot simulate fst={self.fst}: expected a number between 0 and 1, both excluded"
            )
        if not 0 <= self.missing_rate < 1:
            raise InvalidArgumentError(
                f"cannot simulate missing_rate={self.missing_rate}: expected 0 <= rate < 1"
            )
        if self.seed < 0:
            raise InvalidArgumentError(f"cannot simulate seed={self.seed}: expected 0 or more")


def population_of_sample(simulation: Simulation) -> NDArray[np.int64]:
    """Return the population index of each sample.

    Returns
    -------
    numpy.ndarray of int64, shape (n_samples,)
        Non-decreasing: a population's samples stand together.

    Examples
    --------
    >>> population_of_sample(Simulation(n_variants=1, n_samples=5, n_populations=2)).tolist()
    [0, 0, 0, 1, 1]
    """
    sample = np.arange(simulation.n_samples, dtype=np.int64)
    return sample * simulation.n_populations // simulation.n_samples


def genotype_band(simulation: Simulation, start: int, stop: int) -> NDArray[np.int8]:
    """Return the genotypes of the variants ``start`` to ``stop`` for all samples.

    Parameters
    ----------
    simulation : Simulation
        What to simulate.
    start, stop : int
        The band, within ``0 <= start <= stop <= n_variants``. Any split into bands gives the
        same data; bands cut at multiples of ``VARIANTS_PER_STREAM`` waste no random numbers.

    Returns
    -------
    numpy.ndarray of int8, shape (stop - start, n_samples)
        Copies of the counted allele: 0, 1, 2, or -1 for a missing call.

    Raises
    ------
    InvalidArgumentError
        If the band leaves the matrix.

    Notes
    -----
    Holds the band and, beside it, about 10 bytes for each call of one stream of 64 variants.
    numpy may change the numbers behind a seed from one of its versions to another.

    Examples
    --------
    >>> s = Simulation(n_variants=200, n_samples=8, missing_rate=0.1, seed=7)
    >>> whole = genotype_band(s, 0, 200)
    >>> np.array_equal(whole[90:140], genotype_band(s, 90, 140))
    True
    >>> np.unique(whole).tolist()
    [-1, 0, 1, 2]
    """
    if not 0 <= start <= stop <= simulation.n_variants:
        raise InvalidArgumentError(
            f"cannot simulate variants {start} to {stop}: expected a band within 0 to "
            f"{simulation.n_variants}"
        )
    out = np.empty((stop - start, simulation.n_samples), np.int8)
    first = start // VARIANTS_PER_STREAM
    last = -(-stop // VARIANTS_PER_STREAM)
    for stream in range(first, last):
        origin = stream * VARIANTS_PER_STREAM
        lo, hi = max(start, origin), min(stop, origin + VARIANTS_PER_STREAM)
        out[lo - start : hi - start] = _stream(simulation, stream)[lo - origin : hi - origin]
    return out


def _stream(simulation: Simulation, stream: int) -> NDArray[np.int8]:
    """Draw the ``VARIANTS_PER_STREAM`` variants of one random stream.

    The full number is drawn even where the matrix ends earlier, so that a longer simulation with
    the same seed begins with the same variants.
    """
    rng = np.random.default_rng(np.random.SeedSequence(simulation.seed, spawn_key=(stream,)))
    shape = (VARIANTS_PER_STREAM, simulation.n_populations)
    ancestral = rng.uniform(0.05, 0.95, size=(VARIANTS_PER_STREAM, 1))
    spread = (1 - simulation.fst) / simulation.fst
    frequency = rng.beta(ancestral * spread, (1 - ancestral) * spread, size=shape)

    # One uniform number decides both whether the call is missing and how many copies it has: the
    # unit interval is cut at the missing rate and at two cumulative Hardy-Weinberg probabilities.
    called = 1 - simulation.missing_rate
    at_least_one = simulation.missing_rate + called * (1 - frequency) ** 2
    two = 1 - called * frequency**2
    u = rng.random((VARIANTS_PER_STREAM, simulation.n_samples), dtype=np.float32)
    n_in_population = np.bincount(population_of_sample(simulation))
    dosage = (u >= np.float32(simulation.missing_rate)).astype(np.int8)
    for cut in (at_least_one, two):
        dosage += u >= np.repeat(cut.astype(np.float32), n_in_population, axis=1)
    dosage -= 1
    return dosage
