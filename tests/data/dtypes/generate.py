"""Write the stores that `cases.py` describes, each with the library it is named after.

Each store is one JSON file that maps keys to values: documents as text, chunks as base64. Run from
the root of the checkout under an interpreter that has the library, once for each::

    python -m tests.data.dtypes.generate zarr-2.18      zarr==2.18.7, numcodecs<0.16, msgpack
    python -m tests.data.dtypes.generate zarr-3.1       zarr==3.1.6
    python -m tests.data.dtypes.generate zarr-3.4       zarr==3.4.2
    python -m tests.data.dtypes.generate tensorstore    tensorstore==0.1.86
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from tests.data.dtypes.cases import CHUNK, N_WRITTEN, SHAPE, STORES, Case

HERE = Path(__file__).parent


def filters_of(case: Case) -> list[Any] | None:
    """Make the numcodecs filters of a case."""
    import numcodecs

    made = {
        "vlen-utf8": numcodecs.VLenUTF8(),
        "zlib": numcodecs.Zlib(1),
        "vlen-bytes": numcodecs.VLenBytes(),
        "vlen-array": numcodecs.VLenArray("<i4"),
        "json2": numcodecs.JSON(),
        "msgpack2": numcodecs.MsgPack(),
        "pickle": numcodecs.Pickle(protocol=4),
        "categorize": numcodecs.Categorize(["x", "yy"], dtype=object),
        "categorize-U": numcodecs.Categorize(["x", "yy"], dtype="<U2"),
    }
    return [made[name] for name in case.filters] or None


def write_zarr_2(folder: Path, name: str, case: Case) -> None:
    """Write an array with zarr-python 2."""
    import numcodecs.pickles
    import zarr

    # It reads a chunk again to write a part of it.
    numcodecs.pickles.ALLOW_UNSAFE_PICKLE_DECODE = True
    fill = case.fill
    if isinstance(fill, tuple):
        fill = np.array(fill, case.dtype)[()]
    array = zarr.open(
        str(folder / name), mode="w", shape=SHAPE, chunks=CHUNK, dtype=case.dtype,
        filters=filters_of(case), compressor=None, fill_value=fill,
    )  # fmt: skip
    array[:N_WRITTEN] = case.values


def write_zarr_3(folder: Path, name: str, case: Case) -> None:
    """Write an array with zarr-python 3, in the version that its name starts with."""
    import zarr

    fill = case.fill
    if isinstance(fill, tuple):
        fill = np.array(fill, case.dtype)[()]
    array = zarr.create_array(
        str(folder / name), shape=(SHAPE,), chunks=(CHUNK,), dtype=case.dtype, fill_value=fill,
        compressors=None, zarr_format=int(name[1]),
    )  # fmt: skip
    array[:N_WRITTEN] = case.values


def write_tensorstore(folder: Path, name: str, case: Case) -> None:
    """Write an array with TensorStore, in the version that its name starts with."""
    import tensorstore as ts

    codecs = {} if name[1] == "2" else {"codecs": [{"name": "bytes"}]}
    if name[1] == "3" and case.values.dtype.itemsize > 1:
        codecs = {"codecs": [{"name": "bytes", "configuration": {"endian": "big"}}]}
    chunks: dict[str, Any] = {"chunks": [CHUNK], "compressor": None}
    if name[1] == "3":
        regular = {"name": "regular", "configuration": {"chunk_shape": [CHUNK]}}
        chunks = {"chunk_grid": regular}
    spec = {
        "driver": {"2": "zarr", "3": "zarr3"}[name[1]],
        "kvstore": {"driver": "file", "path": f"{folder / name}/"},
        "metadata": {"shape": [SHAPE], **chunks, **codecs},
    }
    dtype = ts.dtype(case.values.dtype)
    fill = np.array(case.fill).astype(case.values.dtype)
    array = ts.open(spec, create=True, dtype=dtype, fill_value=fill).result()
    array[:N_WRITTEN].write(case.values).result()


def stored(folder: Path) -> dict[str, str]:
    """Give every value below a folder: text for documents, base64 for the others."""
    values = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            raw = path.read_bytes()
            is_document = path.name.startswith(".z") or path.name == "zarr.json"
            text = json.dumps(json.loads(raw)) if is_document else base64.b64encode(raw).decode()
            values[str(path.relative_to(folder))] = text
    return values


def main(store: str) -> None:
    """Write one store."""
    write = write_zarr_2 if store == "zarr-2.18" else write_zarr_3
    write = write_tensorstore if store == "tensorstore" else write
    with tempfile.TemporaryDirectory() as name:
        warnings.simplefilter("ignore")
        for array, case in STORES[store].items():
            try:
                write(Path(name), array, case)
            except Exception as error:
                print(f"{store} cannot write {array}: {error}", file=sys.stderr)
                for path in sorted((Path(name) / array).rglob("*"), reverse=True):
                    path.unlink() if path.is_file() else path.rmdir()
        text = json.dumps(stored(Path(name)), indent=0, sort_keys=True)
    (HERE / f"{store}.json").write_text(text + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
