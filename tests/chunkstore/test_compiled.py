"""The compiled kernel reads and writes exactly what the Python path does, or leaves it to that."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as npst
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import chunkstore as cs
from chunkstore import compiled, engine
from chunkstore.errors import ChunkError, MissingChunkError
from chunkstore.types import NDArray

pytestmark = pytest.mark.skipif(
    not compiled.is_available(), reason="the kernel was not compiled: no C compiler at installation"
)

SHAPE = (37, 23)
BLOSC = {"name": "blosc", "configuration": {"cname": "lz4", "clevel": 5, "shuffle": "shuffle"}}
ZSTD = {"name": "zstd", "configuration": {"level": 1, "checksum": False}}
CODECS: dict[str, Any] = {
    "raw": None,
    "crc32c": [{"name": "crc32c"}],
    "blosc": [BLOSC],
    "blosc-crc32c": [BLOSC, {"name": "crc32c"}],
    "zstd": [ZSTD],
    "lz4": [{"name": "numcodecs.lz4", "configuration": {"acceleration": 2}}],
    "gzip": [{"name": "gzip", "configuration": {"level": 1}}],
    "zlib": [{"name": "numcodecs.zlib", "configuration": {"level": 1}}],
    "zstd-crc32c-crc32c": [ZSTD, {"name": "crc32c"}, {"name": "crc32c"}],
}
LAYOUTS: dict[str, dict[str, Any]] = {
    "chunks": {"chunks": (8, 5)},
    "transposed": {"chunks": (8, 5), "order": "F"},
    "v2": {"chunks": (8, 5), "zarr_format": 2},
    "shards": {"chunks": (4, 5), "shards": (16, 10)},
    "dots": {"chunks": (8, 5), "chunk_key_encoding": {"name": "v2", "separator": "."}},
}


def _values(dtype: str) -> NDArray:
    values = np.random.default_rng(0).integers(0, 90, SHAPE).astype(dtype)
    values[8:16] = 0  # chunks that go unstored
    return values


class _Count:
    """Counts the units that the kernel is given and leaves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given = self.left = 0
        real = compiled._run

        def run(job: Any, n_threads: int) -> None:
            real(job, n_threads)
            self.given += job.n_units
            self.left += len(job.left())

        monkeypatch.setattr(compiled, "_run", run)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("codecs", CODECS)
@pytest.mark.parametrize("dtype", ["int8", "float32", "complex128"])
def test_reads_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codecs: str, layout: str, dtype: str
) -> None:
    """The kernel serves every chunk of the layouts and codecs it knows, bit for bit."""
    if _is_no_v2(codecs, layout):
        pytest.skip("version 2 has one compressor")
    values = _values(dtype)
    cs.create_array(tmp_path / "a", data=values, compressors=CODECS[codecs], **LAYOUTS[layout])
    stored = cs.open_array(tmp_path / "a", mode="r")
    count = _Count(monkeypatch)
    np.testing.assert_array_equal(stored[...], values)
    assert count.given == math.prod(map(len, stored.write_chunk_sizes))
    assert count.left == 0


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("codecs", CODECS)
@pytest.mark.parametrize("dtype", ["int8", "M8[s]", "complex128"])
def test_writes_what_python_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codecs: str, layout: str, dtype: str
) -> None:
    """The files that the kernel writes are those of the Python path, byte for byte."""
    if _is_no_v2(codecs, layout):
        pytest.skip("version 2 has one compressor")
    values = _values(dtype)
    how: Any = {"shape": SHAPE, "dtype": dtype, "compressors": CODECS[codecs], **LAYOUTS[layout]}
    count = _Count(monkeypatch)
    by_kernel = cs.create_array(tmp_path / "kernel", **how)
    by_python = _by_python(cs.create_array(tmp_path / "python", **how))
    for selection in (..., np.s_[:20, 3:], np.s_[8:16]):
        by_kernel[selection] = by_python[selection] = values[selection]
        values = values[::-1]
        assert _files(tmp_path / "kernel") == _files(tmp_path / "python")
    assert count.given > count.left or codecs in ("gzip", "zlib")


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _by_python(stored: cs.Array) -> cs.Array:
    """Give a handle that leaves the kernel alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "kernel_for", lambda *_, **__: None)
        handle = stored.with_options()
        assert handle.engine.kernel is None
        return handle


def _is_no_v2(codecs: str, layout: str) -> bool:
    return layout == "v2" and "-" in codecs


@given(
    selection=npst.basic_indices(SHAPE, allow_ellipsis=True, allow_newaxis=True),
    layout=st.sampled_from(sorted(LAYOUTS)),
    n_threads=st.integers(1, 3),
)
def test_selects_as_the_python_path(
    tmp_path_factory: pytest.TempPathFactory, selection: Any, layout: str, n_threads: int
) -> None:
    """Any basic selection, forwards, backwards or strided, is what numpy selects."""
    folder = tmp_path_factory.getbasetemp() / f"selects-{layout}"
    if not folder.exists():
        cs.create_array(folder, data=_values("int16"), **LAYOUTS[layout])
    stored = cs.open_array(folder, mode="r", options=cs.Options(n_threads=n_threads))
    np.testing.assert_array_equal(stored[selection], _values("int16")[selection])


def test_reads_into_memory_of_the_caller(tmp_path: Path) -> None:
    """A destination that is contiguous is filled by the kernel, any other by Python; both right."""
    values = _values("int32")
    cs.create_array(tmp_path / "a", data=values, chunks=(8, 5))
    stored = cs.open_array(tmp_path / "a", mode="r")
    for out in (
        np.empty(SHAPE, "i4"),
        np.empty(SHAPE, "i4", order="F"),
        np.empty((74, 23), "i4")[::2],
    ):
        assert stored.read(out=out) is out
        np.testing.assert_array_equal(out, values)


@pytest.mark.parametrize("layout", ["chunks", "shards"])
@pytest.mark.parametrize("codecs", CODECS)
@given(data=st.data())
def test_damage_is_an_error_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, codecs: str, layout: str
) -> None:
    """Damaged bytes are read as the Python path reads them: the same values or the same error."""
    folder = tmp_path_factory.mktemp("damage")
    cs.create_array(folder, data=_values("int32"), compressors=CODECS[codecs], **LAYOUTS[layout])
    key = data.draw(st.sampled_from(sorted(cs.LocalStore(folder).list_prefix("c/"))))
    value = bytearray((folder / key).read_bytes())
    how = data.draw(st.sampled_from(["cut", "flip", "extend", "foreign"]))
    if how == "cut":
        value = value[: data.draw(st.integers(0, len(value) - 1))]
    elif how == "flip":
        value[data.draw(st.integers(0, len(value) - 1))] ^= data.draw(st.integers(1, 255))
    elif how == "extend":
        value += data.draw(st.binary(min_size=1, max_size=40))
    else:
        value = bytearray(data.draw(st.binary(max_size=300)))
    (folder / key).write_bytes(value)
    by_kernel = _outcome(cs.open_array(folder, mode="r"))
    by_python = _outcome(_by_python(cs.open_array(folder, mode="r")))
    assert by_kernel == by_python


def _outcome(stored: cs.Array) -> tuple[str, object]:
    try:
        return "values", stored[...].tobytes()
    except ChunkError as error:
        return "error", (error.key, error.chunk_coords)


def test_missing_chunks(tmp_path: Path) -> None:
    """A chunk that is not stored reads as the fill value, or is an error where that was asked."""
    stored = cs.create_array(tmp_path / "a", shape=SHAPE, chunks=(8, 5), dtype="i2", fill_value=7)
    assert (stored[...] == 7).all()
    with pytest.raises(MissingChunkError):
        stored.with_options(missing_chunks="error")[...]


def test_many_chunks_take_bounded_batches(tmp_path: Path) -> None:
    """Every chunk of an array of many is read, and those that a wide step touches."""
    values = np.arange(5000, dtype="u2")
    stored = cs.create_array(tmp_path / "a", data=values, chunks=1, compressors=None)
    np.testing.assert_array_equal(stored[...], values)
    np.testing.assert_array_equal(stored[::-7], values[::-7])


@pytest.mark.parametrize(
    "kernel", ["None", "types.ModuleType('chunkstore._kernel')"], ids=["absent", "of other sources"]
)
def test_without_the_kernel(tmp_path: Path, kernel: str) -> None:
    """Where there is no kernel, or one of other sources, Python does all the work and says so."""
    cs.create_array(tmp_path / "a", data=_values("int16"), chunks=(8, 5))
    program = f"""
import sys, types
sys.modules["chunkstore._kernel"] = {kernel}
import chunkstore as cs
from chunkstore import compiled
stored = cs.open_array({str(tmp_path / "a")!r})
assert stored.engine.kernel is None and not compiled.is_available()
stored[:, 0] = stored[:, 1]
print(dict(compiled.engine_facts())["kernel"])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert "Python" in done.stdout or "install chunkstore again" in done.stdout
    values = _values("int16")
    values[:, 0] = values[:, 1]
    np.testing.assert_array_equal(cs.open_array(tmp_path / "a")[...], values)


def test_a_derived_store_does_its_own_work(tmp_path: Path) -> None:
    """A class that overrides how values are read and written is asked for each of them."""
    asked: list[str] = []

    class Asking(cs.LocalStore):
        def get(self, key: str) -> bytes | None:
            asked.append(f"get {key}")
            return super().get(key)

        def set(self, key: str, value: Any) -> None:
            asked.append(f"set {key}")
            super().set(key, value)

    stored = cs.create_array(Asking(tmp_path), data=np.arange(6), chunks=3)
    np.testing.assert_array_equal(stored[...], np.arange(6))
    assert {f"{verb} c/{i}" for verb in ("get", "set") for i in (0, 1)} <= set(asked)


@pytest.mark.parametrize("layout", ["chunks", "shards"])
def test_synchronised_stores_are_left_to_python(tmp_path: Path, layout: str) -> None:
    """Values that must be on the disk are not written by the kernel, which does not wait."""
    store = cs.LocalStore(tmp_path, fsync=True)
    with pytest.MonkeyPatch.context() as patch:
        count = _Count(patch)
        stored = cs.create_array(store, data=_values("int16"), **LAYOUTS[layout])
        assert count.given == 0
        np.testing.assert_array_equal(stored[...], _values("int16"))
        assert count.given > 0
