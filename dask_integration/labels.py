"""Labels of samples: which population each sample of a result belongs to.

Floor 0: the text file that users keep, and its match with the samples at hand.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from chunkstore.errors import InvalidArgumentError, StoreError

__all__ = ["Matched", "match_labels", "read_labels", "write_labels"]

SAMPLE_COLUMN = "sample"
POPULATION_COLUMN = "population"


class Matched(NamedTuple):
    """Labels in the order of the samples.

    ``labels`` has None for a sample without one; ``unused`` counts labels of unknown samples.
    """

    labels: tuple[str | None, ...]
    n_unlabelled: int
    n_unused: int


def read_labels(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read a tab-separated file with the columns ``sample`` and ``population``.

    Parameters
    ----------
    path : str or path
        UTF-8 text; the first line names the columns. Further columns are ignored.

    Returns
    -------
    dict of str to str
        Sample name to population, in the order of the file.

    Raises
    ------
    StoreError
        If the file cannot be read.
    InvalidArgumentError
        If a column is missing, a line is cut short, or a sample has two populations.
    """
    name = os.fspath(path)
    try:
        with open(name, encoding="utf-8-sig", newline="") as file:
            return _parse(name, csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except OSError as error:
        raise StoreError(f"cannot read labels {name}: {error.strerror}", path=name) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidArgumentError(
            f"cannot read labels {name}: expected tab-separated UTF-8 text ({error})"
        ) from error


def match_labels(labels: Mapping[str, str], samples: Sequence[str]) -> Matched:
    """Bring labels into the order of samples.

    Parameters
    ----------
    labels : mapping of str to str
        What `read_labels` gave.
    samples : sequence of str
        Sample names of the array, in its order.

    Returns
    -------
    Matched
        With a label, or None, for each sample.

    Raises
    ------
    InvalidArgumentError
        If no sample has a label, or a labelled name belongs to several samples.

    Examples
    --------
    >>> match_labels({"a": "X", "c": "Y"}, ["a", "b"])
    Matched(labels=('X', None), n_unlabelled=1, n_unused=1)
    """
    repeated = [name for name, n in Counter(samples).items() if n > 1 and name in labels]
    if repeated:
        raise InvalidArgumentError(
            f"cannot label samples by name: {len(repeated)} labelled names belong to several "
            f"samples of the array, such as {repeated[0]!r}"
        )
    matched = tuple(labels.get(name) for name in samples)
    n_unlabelled = matched.count(None)
    if n_unlabelled == len(samples):
        raise InvalidArgumentError(
            f"no sample has a label: the array has names such as {_first(samples)}, the labels "
            f"name {_first(labels)}. Are these labels of another data set?"
        )
    n_unused = len(labels) - (len(samples) - n_unlabelled)
    return Matched(matched, n_unlabelled, n_unused)


def write_labels(path: str | os.PathLike[str], labels: Iterable[tuple[str, str]]) -> None:
    """Write pairs of sample and population as `read_labels` reads them."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(f"{SAMPLE_COLUMN}\t{POPULATION_COLUMN}\n")
        file.writelines(f"{sample}\t{population}\n" for sample, population in labels)


def _parse(name: str, lines: Iterable[list[str]]) -> dict[str, str]:
    """Read the lines of a label file, the header first."""
    rows = iter(lines)
    header = next(rows, [])
    missing = [c for c in (SAMPLE_COLUMN, POPULATION_COLUMN) if c not in header]
    if missing:
        raise InvalidArgumentError(
            f"cannot read labels {name}: the first line must name the columns {SAMPLE_COLUMN!r} "
            f"and {POPULATION_COLUMN!r}, separated by a tab; got {header}"
        )
    columns = header.index(SAMPLE_COLUMN), header.index(POPULATION_COLUMN)
    labels: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        if len(row) != len(header):
            raise InvalidArgumentError(
                f"cannot read labels {name}, line {number}: expected {len(header)} "
                f"tab-separated columns, got {len(row)}"
            )
        sample, population = (row[c].strip() for c in columns)
        if not population:
            continue
        if labels.setdefault(sample, population) != population:
            raise InvalidArgumentError(
                f"cannot read labels {name}, line {number}: sample {sample!r} is in population "
                f"{labels[sample]!r} above and in {population!r} here"
            )
    return labels


def _first(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name, _ in zip(names, range(3), strict=False)) or "none"
