"""How the other libraries write the arrays of `cases.py` into a folder, and read them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tests.data.codecs.cases import CHUNKS, SHAPE, WRITTEN, Case


@contextmanager
def quiet() -> Iterator[None]:
    """Say nothing about codecs that are no part of the specification."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def document_of(case: Case) -> dict[str, Any]:
    """Give the version 3 document of a case."""
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(SHAPE),
        "data_type": case.data_type,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(CHUNKS)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": case.fill,
        "codecs": list(case.codecs),
        "attributes": {},
    }


class ZarrPython2:
    """zarr-python before version 3, which writes version 2 alone."""

    def write(self, case: Case, folder: Path) -> None:
        """Make the array and write its part."""
        import numcodecs
        import zarr

        array = zarr.open_array(
            str(folder), mode="w", shape=SHAPE, chunks=CHUNKS, dtype=case.dtype,
            fill_value=case.fill, order=case.order,
            filters=[numcodecs.get_codec(dict(codec)) for codec in case.codecs] or None,
            compressor=case.compressor and numcodecs.get_codec(dict(case.compressor)),
        )  # fmt: skip
        array[WRITTEN] = case.values.astype(case.dtype)

    def read(self, case: Case, folder: Path) -> np.ndarray:
        """Read the whole array."""
        import zarr

        return np.asarray(zarr.open_array(str(folder), mode="r")[...])


class ZarrPython:
    """zarr-python from version 3 on."""

    def write(self, case: Case, folder: Path) -> None:
        """Make the array and write its part."""
        import numcodecs
        import zarr

        with quiet():
            if case.zarr_format == 3:
                (folder / "zarr.json").write_text(json.dumps(document_of(case)))
                array = zarr.open_array(str(folder), mode="r+")
            else:
                array = zarr.create_array(
                    str(folder), shape=SHAPE, chunks=CHUNKS, dtype=case.dtype, zarr_format=2,
                    fill_value=np.array(case.fill).astype(case.dtype)[()], order=case.order,
                    filters=[numcodecs.get_codec(dict(codec)) for codec in case.codecs] or None,
                    compressors=case.compressor and numcodecs.get_codec(dict(case.compressor)),
                )  # fmt: skip
            array[WRITTEN] = case.values.astype(case.dtype)

    def read(self, case: Case, folder: Path) -> np.ndarray:
        """Read the whole array."""
        import zarr

        with quiet():
            return np.asarray(zarr.open_array(str(folder), mode="r")[...])


class Zarrs:
    """zarrs, chunk by chunk through the pipeline that it gives zarr-python."""

    def write(self, case: Case, folder: Path) -> None:
        """Write the chunks and the document."""
        whole = np.full(SHAPE, case.fill, case.dtype)
        whole[WRITTEN] = case.values.astype(case.dtype)
        document = json.dumps(document_of(case))
        pipeline, item = self._pipeline(document, folder)
        for coords in np.ndindex(2, 2):
            chunk = np.full(CHUNKS, case.fill, case.dtype)
            part = whole[
                tuple(slice(i * n, i * n + n) for i, n in zip(coords, CHUNKS, strict=True))
            ]
            chunk[: part.shape[0], : part.shape[1]] = part
            pipeline.store_chunks_with_indices([item(coords)], chunk, True)
        (folder / "zarr.json").write_text(document)

    def read(self, case: Case, folder: Path) -> np.ndarray:
        """Read the whole array, chunk by chunk."""
        pipeline, item = self._pipeline((folder / "zarr.json").read_text(), folder)
        whole = np.empty((2 * CHUNKS[0], 2 * CHUNKS[1]), case.dtype)
        for coords in np.ndindex(2, 2):
            chunk = np.empty(CHUNKS, case.dtype)
            pipeline.retrieve_chunks_and_apply_index([item(coords)], chunk)
            region = tuple(slice(i * n, i * n + n) for i, n in zip(coords, CHUNKS, strict=True))
            whole[region] = chunk
        return whole[: SHAPE[0], : SHAPE[1]]

    def _pipeline(self, document: str, folder: Path) -> tuple[Any, Any]:
        from zarr.storage import LocalStore
        from zarrs._internal import ChunkItem, CodecPipelineImpl

        every = [slice(0, n) for n in CHUNKS]

        def item(coords: tuple[int, ...]) -> Any:
            key = "/".join(("c", *map(str, coords)))
            return ChunkItem(key, every, CHUNKS, every, CHUNKS)

        return CodecPipelineImpl(document, LocalStore(str(folder))), item


WRITERS: dict[str, Any] = {
    "zarr-python-2": ZarrPython2,
    "zarr-python": ZarrPython,
    "zarrs": Zarrs,
}
