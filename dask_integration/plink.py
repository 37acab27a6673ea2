"""PLINK 1 genotype files (``.bed``, ``.bim``, ``.fam``) as a lazy dask array and two tables.

Floor 4, and the only file that imports ``bed_reader``. It reads; where the genotypes go is the
business of its caller. The two text files are read whole (about 200 bytes a variant); the calls
are read block by block, inside the tasks. Left out: individual-major ``.bed`` files, which no
PLINK since 1.07 writes by default, and PLINK 2 ``.pgen`` files.

Source: PLINK 1.9 file format reference, entries ``.bed``, ``.bim`` and ``.fam``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from sys import intern
from typing import Any, TypeVar

import dask.array as da
import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

from chunkstore.errors import InvalidArgumentError, MissingExtraError, StoreError
from dask_integration.chunks import Block, regular_axis
from dask_integration.layers import read_layer

__all__ = ["PlinkFileset", "from_plink", "open_plink", "read_band"]

MISSING = -1
"""What stands for a missing call in the arrays made here."""

_MAGIC = b"\x6c\x1b"
_VARIANT_MAJOR = b"\x01"
_HEADER_BYTES = 3
_CALLS_PER_BYTE = 4
_INT32_MAX = np.iinfo(np.int32).max

_Row = TypeVar("_Row")


@dataclass(frozen=True, eq=False)
class PlinkFileset:
    """A checked set of PLINK files: its counts agree with the length of the ``.bed`` file.

    Parameters
    ----------
    bed : str
        Path of the ``.bed`` file.
    family_id, sample_id : sequence of str, length n_samples
        The first two columns of the ``.fam`` file.
    chromosome, variant_id, allele_1, allele_2 : sequence of str, length n_variants
        Columns of the ``.bim`` file. The calls count copies of `allele_1`.
    position : numpy.ndarray of int32, shape (n_variants,)
        Base-pair coordinates.
    """

    bed: str
    family_id: Sequence[str]
    sample_id: Sequence[str]
    chromosome: Sequence[str]
    variant_id: Sequence[str]
    position: NDArray[np.int32]
    allele_1: Sequence[str]
    allele_2: Sequence[str]

    @property
    def n_samples(self) -> int:
        """Number of samples: lines of the ``.fam`` file."""
        return len(self.sample_id)

    @property
    def n_variants(self) -> int:
        """Number of variants: lines of the ``.bim`` file."""
        return len(self.variant_id)


def open_plink(prefix: str | os.PathLike[str]) -> PlinkFileset:
    """Read the two text files of a set and check all three against each other.

    Parameters
    ----------
    prefix : str or path
        The common start of the three names; a name that ends in ``.bed`` is taken too.

    Returns
    -------
    PlinkFileset
        Opens no file for longer than this call.

    Raises
    ------
    StoreError
        If a file is missing or cannot be read.
    InvalidArgumentError
        If a file breaks its format, naming the line, or the counts do not fit the ``.bed`` file.
    """
    stem = os.fspath(prefix).removesuffix(".bed")
    _require_files(stem)
    samples = list(_rows(f"{stem}.fam", _sample_row))
    variants = list(_rows(f"{stem}.bim", _variant_row))
    for suffix, rows, what in (("fam", samples, "samples"), ("bim", variants, "variants")):
        if not rows:
            raise InvalidArgumentError(
                f"cannot read PLINK files {stem!r}: {stem}.{suffix} lists no {what}"
            )
    bed = f"{stem}.bed"
    _check_bed(bed, n_samples=len(samples), n_variants=len(variants))
    family_id, sample_id = zip(*samples, strict=True)
    chromosome, variant_id, position, allele_1, allele_2 = zip(*variants, strict=True)
    return PlinkFileset(
        bed=bed,
        family_id=family_id,
        sample_id=sample_id,
        chromosome=chromosome,
        variant_id=variant_id,
        position=np.array(position, np.int32),
        allele_1=allele_1,
        allele_2=allele_2,
    )


def from_plink(files: PlinkFileset, *, variants_per_block: int) -> da.Array:
    """Make a lazy array of the calls, one task per band of variants.

    Parameters
    ----------
    files : PlinkFileset
        What `open_plink` gave.
    variants_per_block : int
        Variants that one task reads; a multiple of the chunk length it will be stored with.

    Returns
    -------
    dask.array.Array of int8, shape (n_variants, n_samples)
        Copies of ``allele_1``: 0, 1, 2, or -1 for a missing call.

    Raises
    ------
    MissingExtraError
        If bed_reader is not installed, before any task runs.

    Notes
    -----
    A task holds its block once, ``variants_per_block * n_samples`` bytes. Where tasks run on
    other machines, the ``.bed`` file must be visible there under the same path.
    """
    _bed_reader()
    stat = os.stat(files.bed)
    return read_layer(
        _read_block,
        (files.bed, files.n_variants, files.n_samples),
        chunks=(regular_axis(files.n_variants, variants_per_block), (files.n_samples,)),
        dtype=np.int8,
        name_token=tokenize(files.bed, stat.st_size, stat.st_mtime_ns, variants_per_block),
    )


def read_band(bed: str, shape: tuple[int, int], start: int, *, stop: int) -> NDArray[np.int8]:
    """Read the calls of the variants ``start`` to ``stop``, for all samples, with one thread.

    Parameters
    ----------
    bed : str
        Path of the ``.bed`` file.
    shape : (int, int)
        Numbers of variants and of samples.
    start, stop : int
        The band.

    Returns
    -------
    numpy.ndarray of int8, shape (stop - start, n_samples), in C order
        Copies of the first allele: 0, 1, 2, or -1 for a missing call.

    Raises
    ------
    StoreError
        If the file vanished, shrank or cannot be read.
    """
    n_variants, n_samples = shape
    try:
        reader = _bed_reader().open_bed(bed, iid_count=n_samples, sid_count=n_variants)
        calls: NDArray[np.int8] = reader.read(
            index=np.s_[:, start:stop], dtype="int8", order="F", num_threads=1
        ).T
    except (OSError, ValueError) as error:
        raise StoreError(
            f"cannot read variants {start} to {stop} from {bed}: {error}. "
            "Was the file changed or moved while it was read?",
            path=bed,
        ) from error
    # bed_reader writes -127 for a missing call, and nothing else it writes is negative.
    np.maximum(calls, MISSING, out=calls)
    return calls


def _read_block(handle: tuple[str, int, int], block: Block) -> NDArray[np.int8]:
    """Read the block of one task."""
    bed, n_variants, n_samples = handle
    band = block.region[0]
    return read_band(bed, (n_variants, n_samples), band.start, stop=band.stop)


def _bed_reader() -> Any:
    """Import bed_reader, or say how to get it."""
    try:
        import bed_reader  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError(
            "reading PLINK files needs the package bed-reader, which is not installed: "
            "pip install 'chunkstore[plink]'",
            extra="plink",
        ) from error
    return bed_reader


def _require_files(stem: str) -> None:
    """Raise with every missing file named, so that one look mends all."""
    missing = [name for name in _names(stem) if not Path(name).is_file()]
    if not missing:
        return
    if Path(f"{stem}.pgen").is_file():
        advice = (
            f"{stem}.pgen is there: that is the format of PLINK 2. "
            f"Convert it with: plink2 --pfile {stem} --make-bed --out {stem}"
        )
    elif len(missing) == 3:
        advice = "Give the common start of the three names, without .bed, .bim or .fam."
    else:
        advice = "All three files must stand beside each other."
    verb = "does" if len(missing) == 1 else "do"
    raise StoreError(
        f"cannot read PLINK files {stem!r}: {_listed(missing)} {verb} not exist. {advice}",
        path=stem,
    )


def _names(stem: str) -> list[str]:
    return [f"{stem}.{suffix}" for suffix in ("bed", "bim", "fam")]


def _listed(names: Sequence[str]) -> str:
    """Join names as a sentence does: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _rows(path: str, parse: Callable[[list[str]], _Row]) -> Iterator[_Row]:
    """Parse each line of a text file; a line that does not parse is named."""
    n_read = 0
    try:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                n_read += 1
                fields = line.split()
                if len(fields) != 6:
                    raise ValueError(f"expected 6 columns, got {len(fields)}")
                yield parse(fields)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}", path=path) from error
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(
            f"cannot read {path} after line {n_read}: expected UTF-8 text. "
            "Is it a text file, and in which encoding?"
        ) from error
    except ValueError as error:
        raise InvalidArgumentError(f"cannot read {path}, line {n_read}: {error}") from error


def _sample_row(fields: list[str]) -> tuple[str, str]:
    """Take family and sample name from a line of a ``.fam`` file."""
    return fields[0], fields[1]


def _variant_row(fields: list[str]) -> tuple[str, str, int, str, str]:
    """Take the columns of a ``.bim`` file, all but the genetic distance."""
    chromosome, variant_id, _, position, allele_1, allele_2 = fields
    try:
        base_pair = int(position)
    except ValueError:
        raise ValueError(
            f"expected a whole number as the base-pair position in column 4, got {position!r}"
        ) from None
    if abs(base_pair) > _INT32_MAX:
        raise ValueError(f"base-pair position {base_pair} is beyond {_INT32_MAX}")
    # Few distinct values on many lines: one string object each keeps millions of lines small.
    return intern(chromosome), variant_id, base_pair, intern(allele_1), intern(allele_2)


def _check_bed(bed: str, *, n_samples: int, n_variants: int) -> None:
    """Check the header and the length of a ``.bed`` file before anything is made of it."""
    try:
        with open(bed, "rb") as file:
            header = file.read(_HEADER_BYTES)
            got = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise StoreError(f"cannot read {bed}: {error.strerror}", path=bed) from error
    if header[:2] != _MAGIC:
        raise InvalidArgumentError(
            f"cannot read {bed}: not a PLINK 1 .bed file; expected it to begin with the bytes "
            f"{_MAGIC.hex(' ')}, got {header[:2].hex(' ') or 'an empty file'}"
        )
    if header[2:] != _VARIANT_MAJOR:
        raise InvalidArgumentError(
            f"cannot read {bed}: expected variant-major order (third byte 01), "
            f"got {header[2:].hex() or 'the end of the file'}. "
            "Rewrite the files with: plink --make-bed"
        )
    expected = _HEADER_BYTES + n_variants * -(-n_samples // _CALLS_PER_BYTE)
    if got != expected:
        fault = "is truncated" if got < expected else "is too long"
        raise InvalidArgumentError(
            f"cannot read {bed}: it {fault}, or belongs to other .bim and .fam files: "
            f"{n_variants} variants of {n_samples} samples take {expected} bytes, got {got}"
        )
