"""Codecs side by side with zarr-python and zarrs: each reads what the other writes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chunkstore as cs
from tests.data.codecs.cases import CHUNKS, SHAPE, WRITERS, WRITTEN, Case
from tests.data.codecs.writers import WRITERS as LIBRARIES
from tests.data.codecs.writers import quiet

PAIRS = [(peer, name) for peer in ("zarr-python", "zarrs") for name in WRITERS[peer]]


@pytest.fixture(params=PAIRS, ids=lambda pair: "-".join(pair))
def exchange(request: pytest.FixtureRequest) -> tuple[Any, str, Case]:
    """Give a peer and an array that it can take, or skip."""
    peer, name = request.param
    pytest.importorskip("zarr", minversion="3.1")
    if peer == "zarrs":
        pytest.importorskip("zarrs")
    for needed in ("pcodec", "zfpy"):
        if needed in name:
            pytest.importorskip(needed)
    if "scale" in name or "cast" in name:
        if importlib.util.find_spec("zarr.codecs.cast_value") is None:
            pytest.skip("needs a zarr-python that has these codecs")
        if "cast" in name:
            pytest.importorskip("cast_value_rs")
    return LIBRARIES[peer](), name, WRITERS[peer][name]


def write(case: Case, folder: Path) -> None:
    """Make the array with chunkstore and write its part."""
    codecs: dict[str, Any] = {"filters": list(case.codecs), "compressors": case.compressor}
    if case.zarr_format == 3:
        names = [codec["name"] for codec in case.codecs]
        of_arrays = ("bytes", "packbits", "numcodecs.pcodec", "numcodecs.zfpy")
        at = next(i for i, name in enumerate(names) if name in of_arrays)
        codecs = {
            "filters": list(case.codecs[:at]),
            "serializer": case.codecs[at],
            "compressors": list(case.codecs[at + 1 :]) or None,
        }
    array = cs.create_array(
        folder, shape=SHAPE, chunks=CHUNKS, dtype=case.dtype, fill_value=case.fill,
        zarr_format=case.zarr_format, order=case.order if case.zarr_format == 2 else None, **codecs,
        options=cs.Options(write_empty_chunks=True),
    )  # fmt: skip
    array[WRITTEN] = case.values.astype(array.dtype)


def test_they_write_we_read(exchange: tuple[Any, str, Case], tmp_path: Path) -> None:
    """We read what the peer reads of what it wrote."""
    peer, _, case = exchange
    peer.write(case, tmp_path)
    array = cs.open_array(tmp_path, mode="r")
    theirs = peer.read(case, tmp_path)
    assert array[...].tobytes() == theirs.astype(array.dtype).tobytes()


def test_we_write_they_read(exchange: tuple[Any, str, Case], tmp_path: Path) -> None:
    """The peer reads what we read of what we wrote, and that is what it writes itself."""
    peer, _, case = exchange
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    write(case, ours)
    peer.write(case, theirs)
    read = peer.read(case, ours)
    assert read.tobytes() == peer.read(case, theirs).tobytes()
    values = cs.open_array(ours, mode="r")[...]
    assert values.tobytes() == read.astype(values.dtype).tobytes()


@pytest.mark.parametrize("codec_id", ["crc32", "lz4", "bz2"])
def test_document_without_settings(codec_id: str, tmp_path: Path) -> None:
    """zarr-python opens our documents whether or not the codec has a configuration."""
    zarr = pytest.importorskip("zarr", minversion="3.1")
    codec = {"name": f"numcodecs.{codec_id}", "configuration": {}}
    cs.create_array(tmp_path, data=np.arange(4), compressors=[codec])
    document = json.loads((tmp_path / "zarr.json").read_text())
    assert document["codecs"][-1] == codec
    with quiet():
        assert zarr.open_array(str(tmp_path), mode="r")[...].tolist() == [0, 1, 2, 3]
