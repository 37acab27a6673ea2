"""For each data type that a peer has: what we write it reads, and what it writes we read.

The arrays are those of `tests/data/dtypes/cases.py`, whose values and fill values are told apart
by their bits; and random ones of random types against zarr-python. zarrs reads and writes through
zarr-python's hook for other codec pipelines, told to refuse what it would leave to zarr-python.
"""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chunkstore as cs
from chunkstore.dtypes import from_numpy, from_v3
from tests.contracts.codecs import same_bits
from tests.data.dtypes import cases
from tests.data.dtypes.cases import Case


def native(found: np.ndarray) -> np.ndarray:
    """Give values in this machine's byte order."""
    return found if found.dtype.kind in "OT" else found.astype(found.dtype.newbyteorder("="))


def expected(case: Case, dtype: np.dtype[Any]) -> np.ndarray:
    """Give the whole array in the dtype it is read as."""
    whole = np.empty(cases.SHAPE, dtype)
    whole[...] = np.array(case.fill, dtype)[()] if isinstance(case.fill, tuple) else case.fill
    whole[: cases.N_WRITTEN] = case.values.astype(dtype)
    return whole


def same(found: np.ndarray, want: np.ndarray) -> bool:
    """Whether two arrays hold the same bits, or the same objects."""
    if want.dtype.kind in "OT":
        return found.tolist() == want.tolist()
    return same_bits(native(found), want)


def our_type(name: str, case: Case, zarr_format: int) -> Any:
    """Give the dtype to create our array with, of the name that zarr-python knows."""
    if zarr_format == 3 and name == "V":
        return from_v3({"name": "raw_bytes", "configuration": {"length_bytes": 3}})
    return case.dtype


def write_ours(folder: Path, case: Case, dtype: Any, zarr_format: Any) -> cs.Array:
    """Make a case's array and write its values."""
    array = cs.create_array(
        folder, shape=cases.SHAPE, chunks=cases.CHUNK, dtype=dtype, fill_value=case.fill,
        zarr_format=zarr_format,
    )  # fmt: skip
    array[: cases.N_WRITTEN] = case.values
    return array


def check_ours(folder: Path, case: Case) -> None:
    """Read a case's array and compare values and fill value."""
    array = cs.open_array(folder)
    assert same(array[...], expected(case, array.dtype))
    fill = np.asarray(expected(case, array.dtype)[-1:], array.dtype)
    assert same(np.asarray([array.fill_value], array.dtype), fill)


# -- zarr-python -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def zarr() -> Any:
    """Give zarr-python 3."""
    return pytest.importorskip("zarr", minversion="3.1", reason="needs zarr-python 3")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep zarr-python from warning of types that it has no specification for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def version(module: Any) -> tuple[int, ...]:
    """Give the version of a library as numbers."""
    return tuple(int(part) for part in module.__version__.split(".")[:2])


FOR_ZARR = [
    (zarr_format, name)
    for zarr_format, group in (
        (2, cases.NUMBERS | cases.FIXED | cases.VARIABLE),
        (3, cases.NUMBERS | cases.FIXED | cases.VARIABLE),
    )
    for name in group
]
ALL = cases.NUMBERS | cases.FIXED | cases.VARIABLE


@pytest.mark.parametrize(("zarr_format", "name"), FOR_ZARR)
def test_zarr_python_reads(zarr: Any, zarr_format: int, name: str, tmp_path: Path) -> None:
    """zarr-python reads every element that we wrote, and the fill value elsewhere."""
    if zarr_format == 3 and name in ("record", "nested") and version(zarr) < (3, 2):
        pytest.skip("zarr-python before 3.2 has records under another name only")
    if zarr_format == 2 and name == "nested" and version(zarr) < (3, 2):
        pytest.skip("zarr-python before 3.2 does not open records in records of version 2")
    case = ALL[name]
    made = write_ours(tmp_path, case, our_type(name, case, zarr_format), zarr_format)
    with quiet():
        found = np.asarray(zarr.open_array(str(tmp_path), mode="r")[...])
    want = expected(case, made.dtype)
    if want.dtype.kind == "O":
        assert found.tolist() == want.tolist()
    else:
        assert same(found, want)


@pytest.mark.parametrize(("zarr_format", "name"), FOR_ZARR)
def test_we_read_zarr_python(zarr: Any, zarr_format: int, name: str, tmp_path: Path) -> None:
    """We read every element that zarr-python wrote, and its fill value."""
    case = ALL[name]
    if zarr_format == 2 and name == "bytes":
        pytest.skip("zarr-python makes no version 2 arrays of byte strings of any length")
    fill = np.array(case.fill, case.dtype)[()] if isinstance(case.fill, tuple) else case.fill
    with quiet():
        array = zarr.create_array(
            str(tmp_path), shape=(cases.SHAPE,), chunks=(cases.CHUNK,), dtype=case.dtype,
            fill_value=fill, zarr_format=zarr_format, compressors=None,
        )  # fmt: skip
        array[: cases.N_WRITTEN] = case.values
    check_ours(tmp_path, case)


@pytest.mark.parametrize("name", ["bytes", "string"])
def test_registered_names_of_variable_types(zarr: Any, name: str, tmp_path: Path) -> None:
    """zarr-python reads elements of any length under their registered names."""
    case = cases.VARIABLE[name]
    write_ours(tmp_path, case, name, 3)
    with quiet():
        found = np.asarray(zarr.open_array(str(tmp_path), mode="r")[...])
    assert found.tolist() == expected(case, from_numpy(name).dtype).tolist()


def test_rewriting_keeps_what_zarr_python_reads(zarr: Any, tmp_path: Path) -> None:
    """After we change attributes, zarr-python still reads an array that it wrote."""
    for name in (*cases.FIXED, *cases.VARIABLE):
        case = ALL[name]
        folder = tmp_path / name
        fill = np.array(case.fill, case.dtype)[()] if isinstance(case.fill, tuple) else case.fill
        with quiet():
            array = zarr.create_array(
                str(folder), shape=(3,), chunks=(2,), dtype=case.dtype, fill_value=fill
            )
            array[...] = case.values
            cs.open_array(folder).attrs["a"] = 1
            again = zarr.open_array(str(folder), mode="r")
            assert dict(again.attrs) == {"a": 1}
            assert np.asarray(again[...]).tolist() == np.asarray(array[...]).tolist()


DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(),
    hnp.unsigned_integer_dtypes(),
    hnp.floating_dtypes(sizes=(16, 32, 64)),
    hnp.complex_number_dtypes(sizes=(64, 128)),
    hnp.byte_string_dtypes(min_len=1, max_len=9),
    hnp.unicode_string_dtypes(min_len=1, max_len=5),
    hnp.datetime64_dtypes(max_period="D", min_period="ns"),
    hnp.timedelta64_dtypes(max_period="D", min_period="ns"),
)


@st.composite
def arrays(draw: st.DrawFn) -> tuple[np.ndarray, tuple[int, ...], Any]:
    """Draw an array of a random type, the shape of its chunks, and a fill value."""
    dtype = draw(DTYPES)
    values = draw(hnp.arrays(dtype, hnp.array_shapes(max_dims=2, max_side=5)))
    chunks = tuple(draw(st.integers(1, n + 1)) for n in values.shape)
    fill = draw(hnp.arrays(dtype, ()))[()]
    if isinstance(fill, (np.floating, np.complexfloating)) and np.isnan(fill):
        # zarr-python stores every NaN as the plain one.
        fill = dtype.type(np.nan)
    return values, chunks, fill


def without_nans(values: np.ndarray) -> np.ndarray:
    """Give values with the plain NaN for every other.

    zarr-python takes a chunk of nothing but NaNs for one of its fill value.
    """
    if values.dtype.kind not in "fc":
        return values
    parts = values.view(f"f{values.dtype.itemsize // (2 if values.dtype.kind == 'c' else 1)}")
    return np.where(np.isnan(parts), parts.dtype.type(np.nan), parts).view(values.dtype)


@settings(max_examples=40)
@given(drawn=arrays(), zarr_format=st.sampled_from([2, 3]))
def test_random_arrays(
    zarr: Any, drawn: tuple[np.ndarray, tuple[int, ...], Any], zarr_format: Any
) -> None:
    """Arrays of random types, shapes and fill values are the same to us and to zarr-python."""
    values, chunks, fill = drawn
    values = without_nans(np.ascontiguousarray(values))
    layout = {"shape": values.shape, "chunks": chunks, "fill_value": fill}
    part = tuple(slice(0, -(-n // 2)) for n in values.shape)
    with tempfile.TemporaryDirectory() as name, quiet():
        ours = cs.create_array(
            f"{name}/ours", dtype=values.dtype, zarr_format=zarr_format, **layout
        )
        theirs = zarr.create_array(
            f"{name}/theirs", dtype=values.dtype, zarr_format=zarr_format, **layout
        )
        ours[part] = values[part]
        theirs[part] = values[part]
        want = np.full(values.shape, fill, values.dtype.newbyteorder("="))
        want[part] = values[part]
        for folder in ("ours", "theirs"):
            assert same_bits(cs.open_array(f"{name}/{folder}")[...], want)
            read = np.asarray(zarr.open_array(f"{name}/{folder}", mode="r")[...])
            assert same_bits(native(read), want)


# -- zarrs -----------------------------------------------------------------------------------------


@pytest.fixture
def zarrs(zarr: Any) -> Iterator[Any]:
    """Give zarr-python with the codec pipeline of zarrs, which must not pass work on."""
    pytest.importorskip("zarrs", reason="needs zarrs")
    path = "zarrs.ZarrsCodecPipeline"
    with zarr.config.set({"codec_pipeline.path": path, "codec_pipeline.strict": True}):
        yield zarr


FOR_ZARRS = [(zarr_format, name) for zarr_format in (2, 3) for name in cases.NUMBERS]


@pytest.mark.parametrize(("zarr_format", "name"), FOR_ZARRS)
def test_zarrs_reads(zarrs: Any, zarr_format: int, name: str, tmp_path: Path) -> None:
    """zarrs reads every number that we wrote, and the fill value elsewhere."""
    case = cases.NUMBERS[name]
    if zarr_format == 2 and name.startswith("big"):
        pytest.skip("zarrs takes native byte order only")
    made = write_ours(tmp_path, case, case.dtype, zarr_format)
    found = np.asarray(zarrs.open_array(str(tmp_path), mode="r")[...])
    assert same(found, expected(case, made.dtype))


@pytest.mark.parametrize(("zarr_format", "name"), FOR_ZARRS)
def test_we_read_zarrs(zarrs: Any, zarr_format: int, name: str, tmp_path: Path) -> None:
    """We read every number that zarrs wrote."""
    case = cases.NUMBERS[name]
    array = zarrs.create_array(
        str(tmp_path), shape=(cases.SHAPE,), chunks=(cases.CHUNK,), dtype=case.dtype,
        fill_value=case.fill, zarr_format=zarr_format, compressors=None,
    )  # fmt: skip
    array[: cases.N_WRITTEN] = case.values
    check_ours(tmp_path, case)


# -- TensorStore -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ts() -> Any:
    """Give TensorStore."""
    return pytest.importorskip("tensorstore", reason="needs tensorstore")


FOR_TENSORSTORE = [
    (zarr_format, name)
    for zarr_format in (2, 3)
    for name in cases.NUMBERS | cases.SMALL
    if not (zarr_format == 2 and "float4" in name)
]


def open_tensorstore(ts: Any, folder: Path, zarr_format: int, **more: Any) -> Any:
    """Open or create an array with TensorStore."""
    spec = {
        "driver": {2: "zarr", 3: "zarr3"}[zarr_format],
        "kvstore": {"driver": "file", "path": f"{folder}/"},
        **more.pop("spec", {}),
    }
    return ts.open(spec, **more).result()


@pytest.mark.parametrize(("zarr_format", "name"), FOR_TENSORSTORE)
def test_tensorstore_reads(ts: Any, zarr_format: int, name: str, tmp_path: Path) -> None:
    """TensorStore reads every element that we wrote, and the fill value elsewhere."""
    case = (cases.NUMBERS | cases.SMALL)[name]
    made = write_ours(tmp_path, case, case.dtype, zarr_format)
    found = open_tensorstore(ts, tmp_path, zarr_format, open=True).read().result()
    if name in ("int2", "int4"):
        # In memory it repeats the sign in the bits that mean nothing.
        found = made.metadata.data_type.cleaned(found)
    assert same(found, expected(case, made.dtype))


@pytest.mark.parametrize(("zarr_format", "name"), FOR_TENSORSTORE)
@pytest.mark.parametrize("endian", ["little", "big"])
def test_we_read_tensorstore(
    ts: Any, zarr_format: int, name: str, endian: str, tmp_path: Path
) -> None:
    """We read every element that TensorStore wrote, in either byte order, and its fill value."""
    case = (cases.NUMBERS | cases.SMALL)[name]
    dtype = case.values.dtype.newbyteorder("=")
    metadata: dict[str, Any] = {"shape": [cases.SHAPE]}
    if zarr_format == 3:
        several = dtype.itemsize > 1
        codec = {"name": "bytes", **({"configuration": {"endian": endian}} if several else {})}
        regular = {"name": "regular", "configuration": {"chunk_shape": [cases.CHUNK]}}
        metadata |= {"chunk_grid": regular, "codecs": [codec]}
    else:
        metadata["chunks"] = [cases.CHUNK]
        if dtype.isbuiltin == 1 and dtype.itemsize > 1:
            metadata["dtype"] = dtype.newbyteorder(endian).str
    array = open_tensorstore(
        ts, tmp_path, zarr_format, spec={"metadata": metadata}, create=True, dtype=ts.dtype(dtype),
        fill_value=np.array(case.fill).astype(dtype),
    )  # fmt: skip
    array[: cases.N_WRITTEN].write(native(case.values)).result()
    check_ours(tmp_path, case)


@pytest.mark.parametrize("name", cases.SMALL)
def test_tensorstore_packs_spare_bits_as_it_likes(ts: Any, name: str, tmp_path: Path) -> None:
    """Values from every stored byte are the same to us and to TensorStore."""
    dtype = from_numpy(name).dtype
    shape = 256 // dtype.itemsize
    made = cs.create_array(
        tmp_path, shape=shape, chunks=shape, dtype=name, compressors=None, fill_value=1
    )
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "0").write_bytes(bytes(range(256)))
    theirs = open_tensorstore(ts, tmp_path, 3, open=True).read().result()
    with np.errstate(all="ignore"):
        want = theirs.astype(np.float64)
        ours = made[...].astype(np.float64)
    if name == "float4_e2m1fn":
        # It reads the sign from the highest bit of the byte, which means nothing.
        want, ours = want[:16], ours[:16]
    assert np.array_equal(ours, want, equal_nan=True)
