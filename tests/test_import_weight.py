"""Importing a package loads what it needs and nothing that only some users need."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

OPTIONAL = (
    "bed_reader",
    "distributed",
    "fsspec",
    "h5py",
    "matplotlib",
    "ml_dtypes",
    "obstore",
    "pandas",
    "rich",
    "scipy",
    "tensorstore",
    "xarray",
    "zarr",
    "zarrs",
)
"""Libraries that neither package loads when it is imported."""


SLOW = ("_hashlib", "fractions", "html", "secrets")
"""Parts of the standard library that take milliseconds and that a mere reader does without."""


@cache
def _loaded_by(module: str) -> frozenset[str]:
    """Import a module in a new interpreter and give the top-level names it has then."""
    result = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    return frozenset(name.partition(".")[0] for name in result.stdout.split())


@pytest.mark.parametrize("library", ["dask", *OPTIONAL, *SLOW])
def test_chunkstore_is_light(library: str) -> None:
    """`import chunkstore` does not load the library."""
    assert library not in _loaded_by("chunkstore")


def test_codecs_that_few_arrays_need_wait() -> None:
    """Of the codecs `import chunkstore` loads those that the kernel and most arrays use."""
    program = "import sys, chunkstore; print(*(m for m in sys.modules if '.codecs.' in m))"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT
    )
    loaded = {name.rpartition(".")[2] for name in done.stdout.split()}
    assert {"blosc", "bytes", "crc32c", "table", "zstd"} <= loaded
    assert not {"bz2", "cast_value", "lzma", "packbits", "vlen_utf8", "zfpy"} & loaded


@pytest.mark.parametrize("library", OPTIONAL)
def test_dask_integration_is_light(library: str) -> None:
    """`import dask_integration` does not load the library, unless dask.array itself does.

    dask.array imports scipy.sparse wherever scipy is installed.
    """
    assert library not in _loaded_by("dask_integration") - _loaded_by("dask.array")


def test_what_is_needed_is_loaded() -> None:
    """The subprocess did import the package: its own names and numpy are there."""
    assert {"chunkstore", "numpy"} <= _loaded_by("chunkstore")


def test_names_say_what_to_install_without_dask() -> None:
    """Without dask `dask_integration` imports, and each of its names says what to install."""
    program = """
import sys
sys.modules["dask"] = None
import dask_integration
try:
    from dask_integration import to_store
except ImportError as error:
    print(error)
print(hasattr(dask_integration, "no_such_name"))
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert "to_store needs dask" in result.stdout
    assert "pip install" in result.stdout
    assert result.stdout.endswith("False\n")


@pytest.mark.parametrize("library", ["dask", "xarray"])
def test_xarray_door_says_what_to_install(library: str) -> None:
    """Where a library is missing, importing the door for xarray says how to get it."""
    program = f"""
import sys
sys.modules[{library!r}] = None
try:
    import dask_integration.xarray
except ImportError as error:
    print(error)
"""
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert (
        f"{library} is not installed" in result.stdout or "needs dask and xarray" in result.stdout
    )
    assert "chunkstore[dask,xarray]" in result.stdout
