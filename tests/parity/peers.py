"""The other libraries: how each writes a case to a folder, and reads a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.parity.cases import Case

NAMES = {
    "?": "bool",
    **{f"{k}{n}": f"{w}{8 * n}" for k, w in (("i", "int"), ("u", "uint")) for n in (1, 2, 4, 8)},
    **{f"f{n}": f"float{8 * n}" for n in (2, 4, 8)},
    **{f"c{n}": f"complex{8 * n}" for n in (8, 16)},
}


def native(found: np.ndarray) -> np.ndarray:
    """Give values in this machine's byte order, which peers keep as it is on the disk."""
    return found.astype(found.dtype.newbyteorder("="))


class ZarrPython:
    """The reference implementation."""

    def __init__(self) -> None:
        self.zarr = pytest.importorskip("zarr", minversion="3.1", reason="needs zarr-python 3")

    def write(self, case: Case, folder: Path) -> None:
        """Make the array with zarr-python and write the values."""
        array = self.zarr.create_array(str(folder), **case.arguments)
        array[case.written] = case.values[case.written]

    def read(self, folder: Path) -> np.ndarray:
        """Read all values with zarr-python."""
        return native(np.asarray(self.zarr.open_array(str(folder), mode="r")[...]))

    def change(self, folder: Path, selection: Any, value: Any) -> None:
        """Write to an array that is there."""
        self.zarr.open_array(str(folder), mode="r+")[selection] = value


class TensorStore:
    """Google's implementation in C++."""

    def __init__(self) -> None:
        self.ts = pytest.importorskip("tensorstore", reason="needs tensorstore")

    def write(self, case: Case, folder: Path) -> None:
        """Make the array with TensorStore and write the values."""
        document = document_3(case) if case.zarr_format == 3 else document_2(case)
        store = self.ts.open(self._spec(folder, case.zarr_format, metadata=document), create=True)
        store.result()[case.written].write(case.values[case.written]).result()

    def read(self, folder: Path) -> np.ndarray:
        """Read all values with TensorStore."""
        return native(self._open(folder).read().result())

    def change(self, folder: Path, selection: Any, value: Any) -> None:
        """Write to an array that is there."""
        self._open(folder)[selection].write(value).result()

    def _open(self, folder: Path) -> Any:
        zarr_format = 3 if (folder / "zarr.json").exists() else 2
        return self.ts.open(self._spec(folder, zarr_format), open=True).result()

    def _spec(self, folder: Path, zarr_format: int, **more: Any) -> dict[str, Any]:
        driver = {2: "zarr", 3: "zarr3"}[zarr_format]
        return {"driver": driver, "kvstore": {"driver": "file", "path": f"{folder}/"}, **more}


PEERS = {"zarr": ZarrPython, "tensorstore": TensorStore}


def fill_json(value: Any, dtype: np.dtype[Any]) -> Any:
    """Write a fill value as the specification of version 3 does."""
    if dtype.kind == "c":
        half = np.dtype(f"f{dtype.itemsize // 2}")
        return [fill_json(part, half) for part in (np.real(value), np.imag(value))]
    if dtype.kind != "f":
        return bool(value) if dtype.kind == "b" else int(value)
    scalar = np.array(value, dtype)
    if np.isfinite(scalar):
        return float(scalar)
    if np.isinf(scalar):
        return "Infinity" if scalar > 0 else "-Infinity"
    bits = int(scalar.view(f"u{dtype.itemsize}"))
    plain = int(np.array(np.nan, dtype).view(f"u{dtype.itemsize}"))
    return "NaN" if bits == plain else f"0x{bits:0{2 * dtype.itemsize}x}"


def document_3(case: Case) -> dict[str, Any]:
    """Write the version 3 document of a case by hand."""
    layout = case.layout
    keys = layout.get("chunk_key_encoding", {"name": "default", "separator": "/"})
    serializer = layout.get("serializer", {"name": "bytes", "configuration": {"endian": "little"}})
    document = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(case.shape),
        "data_type": NAMES[case.dtype],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(case.chunks)}},
        "chunk_key_encoding": {
            "name": keys["name"],
            "configuration": {"separator": keys["separator"]},
        },
        "fill_value": fill_json(layout.get("fill_value", 0), np.dtype(case.dtype)),
        "codecs": [*layout.get("filters", []), serializer, *(layout["compressors"] or [])],
        "attributes": layout.get("attributes", {}),
    }
    if "dimension_names" in layout:
        document["dimension_names"] = list(layout["dimension_names"])
    return document


def document_2(case: Case) -> dict[str, Any]:
    """Write the version 2 document of a case by hand; attributes have a file of their own."""
    layout = case.layout
    dtype = np.dtype(case.dtype)
    return {
        "zarr_format": 2,
        "shape": list(case.shape),
        "chunks": list(case.chunks),
        "dtype": dtype.str,
        "fill_value": fill_json(layout.get("fill_value", 0), dtype.newbyteorder("=")),
        "order": layout.get("order", "C"),
        "filters": None,
        "compressor": layout["compressors"],
        "dimension_separator": layout.get("chunk_key_encoding", {}).get("separator", "."),
    }


def stored_document(folder: Path) -> dict[str, Any]:
    """Decode the document of the array in a folder."""
    path = folder / "zarr.json"
    found: dict[str, Any] = json.loads((path if path.exists() else folder / ".zarray").read_text())
    return found
