"""The group that genotypes are stored as: its arrays, its chunks, and how it is written and found.

Floor 5. One layout for imported and simulated data::

    genotypes      int8    (variants, samples)   copies of allele_1: 0, 1, 2; -1 = missing call
    sample_id      string  (samples)             and family_id, population where they are known
    variant_id     string  (variants)            and chromosome, allele_1, allele_2
    position       int32   (variants)            base-pair coordinate on the chromosome

A chunk holds all samples of a run of variants: what is computed for a variant, such as its allele
frequency, needs no other chunk. The group's own document is written last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError, NodeNotFoundError
from dask_integration.chunks import Block, regular_axis
from dask_integration.io import to_store
from dask_integration.layers import read_layer
from dask_integration.simulate import (
    VARIANTS_PER_STREAM,
    Simulation,
    genotype_band,
    population_of_sample,
)

__all__ = [
    "GENOTYPES",
    "MEMBERS",
    "MISSING",
    "find_genotypes",
    "from_simulation",
    "row_counts",
    "simulated_columns",
    "write_column",
    "write_genotypes",
]

GENOTYPES = "genotypes"
MISSING = -1
MEMBERS = (
    GENOTYPES,
    "sample_id",
    "family_id",
    "population",
    "variant_id",
    "chromosome",
    "position",
    "allele_1",
    "allele_2",
)
"""Names of all arrays that a group of genotypes may hold."""

_OF_SAMPLES = frozenset(("sample_id", "family_id", "population"))

_CHUNK_BYTES = 2 * 2**20
_BLOCK_BYTES = 4 * 2**20

# Each call is one of four values: bits of a kind stand together after bitshuffle. On HapMap 3 this
# is 4.4 : 1 at 600 MB/s, where zstd alone reaches 4.0 : 1 at 270 MB/s; higher levels gain 1 %.
_COMPRESSOR = {
    "name": "blosc",
    "configuration": {
        "cname": "zstd",
        "clevel": 1,
        "shuffle": "bitshuffle",
        "typesize": 1,
        "blocksize": 0,
    },
}


def row_counts(n_variants: int, n_samples: int, *, per_chunk: int | None = None) -> tuple[int, int]:
    """Choose how many variants a chunk holds, and how many one task writes.

    Parameters
    ----------
    n_variants, n_samples : int
        Shape of the genotypes.
    per_chunk : int, optional
        Variants in a chunk. The default makes chunks of up to 2 MiB, in multiples of 64 variants
        where they are that many.

    Returns
    -------
    per_chunk, per_block : int
        A block is as many whole chunks as fit 4 MiB, and at least one.

    Examples
    --------
    >>> row_counts(14389, 957)
    (2176, 4352)
    >>> row_counts(10**6, 500_000)
    (4, 8)
    """
    if per_chunk is None:
        per_chunk = max(1, _CHUNK_BYTES // n_samples)
        if per_chunk > VARIANTS_PER_STREAM:
            per_chunk -= per_chunk % VARIANTS_PER_STREAM
    elif per_chunk < 1:
        raise InvalidArgumentError(
            f"cannot put {per_chunk} variants into a chunk: expected 1 or more"
        )
    per_chunk = min(per_chunk, n_variants)
    return per_chunk, per_chunk * max(1, _BLOCK_BYTES // (per_chunk * n_samples))


def from_simulation(simulation: Simulation, *, variants_per_block: int) -> da.Array:
    """Make a lazy array of simulated genotypes, one task per band of variants.

    Returns
    -------
    dask.array.Array of int8, shape (n_variants, n_samples)
        The same values for any `variants_per_block`.

    Examples
    --------
    >>> x = from_simulation(Simulation(n_variants=10, n_samples=3), variants_per_block=4)
    >>> x.chunks
    ((4, 4, 2), (3,))
    """
    return read_layer(
        _simulate_block,
        simulation,
        chunks=(
            regular_axis(simulation.n_variants, variants_per_block),
            (simulation.n_samples,),
        ),
        dtype=np.int8,
        name_token=tokenize(simulation, variants_per_block),
    )


def simulated_columns(simulation: Simulation) -> dict[str, list[str] | NDArray[Any]]:
    """Make up the names that go with simulated genotypes.

    Returns
    -------
    dict
        Every array of the layout but the genotypes, by name.

    Examples
    --------
    >>> columns = simulated_columns(Simulation(n_variants=2, n_samples=3, n_populations=2))
    >>> columns["sample_id"], columns["population"], columns["variant_id"]
    (['S1', 'S2', 'S3'], ['P1', 'P1', 'P2'], ['V1', 'V2'])
    """
    n_variants, n_samples = simulation.n_variants, simulation.n_samples
    populations = [f"P{index + 1}" for index in population_of_sample(simulation).tolist()]
    samples = [f"S{number + 1}" for number in range(n_samples)]
    return {
        "sample_id": samples,
        "family_id": samples,
        "population": populations,
        "variant_id": [f"V{number + 1}" for number in range(n_variants)],
        "chromosome": ["1"] * n_variants,
        # Positions only give an order here; they stop short of what int32 holds.
        "position": np.linspace(1, 2**27, n_variants).astype(np.int32),
        "allele_1": ["A"] * n_variants,
        "allele_2": ["B"] * n_variants,
    }


def write_genotypes(
    folder: Path,
    calls: da.Array,
    *,
    variants_per_chunk: int,
    columns: Mapping[str, Sequence[str] | NDArray[Any]],
    attributes: Mapping[str, Any],
) -> None:
    """Write a group of genotypes to an empty folder.

    Parameters
    ----------
    folder : Path
        Becomes the group. Each array is made on its own; the group's document comes last, so
        that what an interrupt leaves does not open as a group.
    calls : dask.array.Array of int8, shape (n_variants, n_samples)
        Blocks are whole chunks. They are computed here, one task a block.
    variants_per_chunk : int
        As from `row_counts`.
    columns : mapping of str to sequence
        The other arrays by name: strings, or numbers as a numpy array.
    attributes : mapping of str to object
        Attributes of the group.
    """
    genotypes = cs.create_array(
        str(folder / GENOTYPES),
        shape=calls.shape,
        dtype=calls.dtype,
        chunks=(variants_per_chunk, calls.shape[1]),
        compressors=_COMPRESSOR,
        fill_value=MISSING,
        dimension_names=("variants", "samples"),
        attributes={"missing_value": MISSING, "counted_allele": "allele_1", "ploidy": 2},
        pending=True,
        # A chunk without any call is stored too, so that one that is not there has been lost.
        options=cs.Options(write_empty_chunks=True),
    )
    to_store(calls, genotypes)
    genotypes.publish()
    for name, values in columns.items():
        write_column(folder / name, values, axis="samples" if name in _OF_SAMPLES else "variants")
    cs.create_group(str(folder), attributes=attributes)


def write_column(place: Path, values: Sequence[str] | NDArray[Any], *, axis: str) -> None:
    """Write an array of one axis: text, or numbers as a numpy array."""
    is_text = not isinstance(values, np.ndarray)
    cs.create_array(
        str(place),
        data=np.asarray(values, np.dtypes.StringDType() if is_text else None),
        dtype=str if is_text else None,
        dimension_names=(axis,),
    )


def find_genotypes(place: str) -> cs.Array:
    """Open the array that a user means by the path of an array or of a group.

    Parameters
    ----------
    place : str
        An array of two axes; or a group with one called ``genotypes``, or with only one array of
        two axes.

    Returns
    -------
    chunkstore.Array
        Opened for reading.

    Raises
    ------
    NodeNotFoundError
        If nothing is there.
    InvalidArgumentError
        If it is not clear which array is meant, or it does not have two axes.
    """
    node = _opened(place)
    if isinstance(node, cs.Array):
        if node.ndim != 2:
            raise InvalidArgumentError(
                f"cannot decompose {place}: expected an array of two axes, got shape {node.shape}"
            )
        return node
    matrices = {name: array for name, array in node.arrays() if array.ndim == 2}
    if GENOTYPES in matrices:
        return matrices[GENOTYPES]
    if len(matrices) == 1:
        return next(iter(matrices.values()))
    if not matrices:
        raise NodeNotFoundError(f"cannot decompose {place}: this group holds no array of two axes")
    raise InvalidArgumentError(
        f"cannot decompose {place}: this group holds several arrays of two axes; add the name of "
        f"one to the path: {', '.join(sorted(matrices))}"
    )


def _opened(place: str) -> cs.Array | cs.Group:
    """Open a node, or say what is at the place instead, as a person at a terminal would."""
    folder = Path(place)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise NodeNotFoundError(
            f"cannot open {place}: it {what}; expected the folder of a Zarr array or group",
            path=place,
        )
    try:
        return cs.open(place, mode="r")
    except NodeNotFoundError as error:
        inside = sorted(
            entry.name
            for entry in folder.iterdir()
            if any((entry / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray"))
        )
        hint = f". Did you mean one inside it: {', '.join(inside[:5])}?" if inside else ""
        raise NodeNotFoundError(
            f"cannot open {place}: it is no Zarr array or group, it has no zarr.json, .zgroup or "
            f".zarray{hint}",
            path=place,
        ) from error


def _simulate_block(simulation: Simulation, block: Block) -> NDArray[np.int8]:
    """Simulate the block of one task."""
    band = block.region[0]
    return genotype_band(simulation, band.start, band.stop)
