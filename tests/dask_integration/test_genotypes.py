"""The layout of genotypes: chunk heights, and the array that a path means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError, NodeNotFoundError
from dask_integration.genotypes import (
    find_genotypes,
    from_simulation,
    row_counts,
    simulated_columns,
)
from dask_integration.simulate import Simulation, genotype_band


@given(n_variants=st.integers(1, 10**8), n_samples=st.integers(1, 10**7))
def test_chunks_and_blocks_are_bounded(n_variants: int, n_samples: int) -> None:
    """A chunk stays within 2 MiB unless one variant is more; a block is whole chunks of 4 MiB."""
    per_chunk, per_block = row_counts(n_variants, n_samples)
    assert 1 <= per_chunk <= n_variants
    assert per_block % per_chunk == 0
    assert per_chunk == 1 or per_chunk * n_samples <= 2 * 2**20
    assert per_block == per_chunk or per_block * n_samples <= 4 * 2**20


def test_a_chunk_height_that_is_asked_for_is_kept() -> None:
    """It is cut to the number of variants; none is refused."""
    assert row_counts(100, 10, per_chunk=7)[0] == 7
    assert row_counts(5, 10, per_chunk=7)[0] == 5
    with pytest.raises(InvalidArgumentError, match="0 variants into a chunk"):
        row_counts(5, 10, per_chunk=0)


def test_lazy_simulation_gives_the_same_values() -> None:
    """The dask array is the simulation, for any height of blocks."""
    simulation = Simulation(n_variants=150, n_samples=4, missing_rate=0.1, seed=2)
    for height in (1, 64, 1000):
        x = from_simulation(simulation, variants_per_block=height)
        np.testing.assert_array_equal(x.compute(), genotype_band(simulation, 0, 150))


def test_simulated_names_fit_the_genotypes() -> None:
    """One entry a sample or a variant, none twice, positions in order."""
    columns = simulated_columns(Simulation(n_variants=3000, n_samples=70, n_populations=7))
    assert len(set(columns["sample_id"])) == len(columns["population"]) == 70
    assert len(set(columns["variant_id"])) == 3000
    assert (np.diff(columns["position"]) > 0).all()


def test_the_array_that_is_meant_is_found(tmp_path: Path) -> None:
    """The array itself, the one named genotypes, or the only one of two axes."""
    cs.create_array(tmp_path / "g", name="other", data=np.ones((2, 3)))
    cs.create_array(tmp_path / "g", name="names", data=np.ones(3))
    assert find_genotypes(str(tmp_path / "g")).path == "other"
    assert find_genotypes(str(tmp_path / "g" / "other")).shape == (2, 3)
    cs.create_array(tmp_path / "g", name="more", data=np.ones((3, 3)))
    with pytest.raises(InvalidArgumentError, match=r"several.*: more, other"):
        find_genotypes(str(tmp_path / "g"))
    cs.create_array(tmp_path / "g", name="genotypes", data=np.ones((4, 3)))
    assert find_genotypes(str(tmp_path / "g")).shape == (4, 3)


def test_what_is_no_matrix_is_refused(tmp_path: Path) -> None:
    """A vector, a group without matrices, and a place where nothing is."""
    cs.create_array(tmp_path / "g", name="names", data=np.ones(3))
    with pytest.raises(InvalidArgumentError, match="two axes"):
        find_genotypes(str(tmp_path / "g" / "names"))
    with pytest.raises(NodeNotFoundError, match="no array of two axes"):
        find_genotypes(str(tmp_path / "g"))
    with pytest.raises(NodeNotFoundError, match="does not exist"):
        find_genotypes(str(tmp_path / "h"))
    with pytest.raises(NodeNotFoundError, match="one inside it: g"):
        find_genotypes(str(tmp_path))
