"""Every name that a document or a user may give leads to the right data type, and back."""

from __future__ import annotations

import json
import pickle
import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from chunkstore.dtypes import DataType, from_numpy, from_v2, from_v3, small, table
from chunkstore.errors import InvalidArgumentError, MissingExtraError

CORE = (
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    *(f"float{bits}" for bits in (16, 32, 64)),
    "complex64",
    "complex128",
)
SMALL = (*small.INTEGERS, *small.FLOATS)
COMPLEX = (
    "complex_float16",
    "complex_float32",
    "complex_float64",
    *(f"complex_{name}" for name in small.FLOATS),
)
TIME = {"unit": "s", "scale_factor": 1}
CONFIGURED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"name": "fixed_length_utf32", "configuration": {"length_bytes": 20}}, "U5"),
    ({"name": "null_terminated_bytes", "configuration": {"length_bytes": 3}}, "S3"),
    ({"name": "raw_bytes", "configuration": {"length_bytes": 3}}, "V3"),
    ({"name": "numpy.datetime64", "configuration": TIME}, "M8[s]"),
    (
        {"name": "numpy.timedelta64", "configuration": {"unit": "us", "scale_factor": 25}},
        "m8[25us]",
    ),
    ({"name": "numpy.datetime64", "configuration": {"unit": "generic", "scale_factor": 1}}, "M8"),
)


def struct(*fields: tuple[str, Any], name: str = "struct") -> dict[str, Any]:
    """Write a struct as a document does, in the words of its name."""
    entries: list[Any] = [{"name": field, "data_type": inner} for field, inner in fields]
    if name == "structured":
        entries = [[field, inner] for field, inner in fields]
    return {"name": name, "configuration": {"fields": entries}}


NESTED = struct(
    ("a", "int32"), ("b", struct(("t", {"name": "numpy.datetime64", "configuration": TIME})))
)


# -- version 3 -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*CORE, *SMALL, *COMPLEX, "string", "bytes", "r8", "r16", "r4096"])
def test_v3_name_round_trip(name: str) -> None:
    """A type without configuration is read by its name, in a string or in an object."""
    data_type = from_v3(name)
    assert data_type.to_v3() == data_type.name == name
    assert from_v3({"name": name}) == data_type
    assert from_v3({"name": name, "configuration": {}, "must_understand": True}) == data_type


@pytest.mark.parametrize("name", CORE)
def test_core_names_are_numpy_names(name: str) -> None:
    """A core type is held as the numpy dtype of its name."""
    assert from_v3(name).dtype == np.dtype(name)


@pytest.mark.parametrize("name", SMALL)
def test_small_types_are_those_of_ml_dtypes(name: str) -> None:
    """A small type is held as the dtype that ml_dtypes has under its name."""
    assert from_v3(name).dtype == np.dtype(getattr(ml_dtypes, name))
    assert from_v3(name).dtype.itemsize == (2 if name == "bfloat16" else 1)


@pytest.mark.parametrize("name", SMALL)
def test_small_types_know_their_bits(name: str) -> None:
    """The number of bits, and the bits of NaN and infinity, are those of ml_dtypes."""
    data_type = from_v3(name)
    if name in small.INTEGERS:
        info: Any = ml_dtypes.iinfo(getattr(ml_dtypes, name))
        assert data_type.n_bits == info.bits
        assert data_type.limits == (info.min, info.max)  # type: ignore[attr-defined]
        return
    assert data_type.n_bits == ml_dtypes.finfo(getattr(ml_dtypes, name)).bits
    unsigned = f"u{data_type.dtype.itemsize}"
    patterns = np.arange(1 << data_type.n_bits, dtype=unsigned)
    with np.errstate(all="ignore"):
        values = patterns.view(data_type.dtype).astype(np.float64)
    facts = small.FLOATS[name]
    assert (facts.nan is None) == (not np.isnan(values).any())
    assert (facts.infinity is None) == (not np.isinf(values).any())
    if facts.nan is not None:
        assert np.isnan(values[facts.nan])
        assert facts.nan == int(np.array(np.nan).astype(data_type.dtype).view(unsigned))
    if facts.infinity is not None:
        assert values[facts.infinity] == np.inf
        assert values[facts.infinity | 1 << (facts.bits - 1)] == -np.inf


@pytest.mark.parametrize(("document", "dtype"), CONFIGURED)
def test_v3_configuration_round_trip(document: dict[str, Any], dtype: str) -> None:
    """A type with a configuration is read as its numpy dtype and written as it was."""
    data_type = from_v3(document)
    assert data_type.dtype == np.dtype(dtype)
    assert json.loads(json.dumps(data_type.to_v3())) == document


def test_unit_keeps_its_spelling() -> None:
    """Of the two ways to write microseconds, the document's own is written back."""
    document = {"name": "numpy.datetime64", "configuration": {"unit": "μs", "scale_factor": 1}}
    data_type = from_v3(document)
    assert data_type.to_v3() == document
    assert data_type.dtype == np.dtype("M8[us]")


@pytest.mark.parametrize("name", ["struct", "structured"])
def test_struct_round_trip(name: str) -> None:
    """Records are read nested and packed, and keep the name and the form of their fields."""
    document = struct(("a", "uint8"), ("b", struct(("c", "float64"), name=name)), name=name)
    data_type = from_v3(document)
    assert data_type.dtype == np.dtype([("a", "u1"), ("b", [("c", "f8")])])
    assert data_type.dtype.itemsize == 9
    assert json.loads(json.dumps(data_type.to_v3())) == document


def test_structured_may_have_fields_as_objects() -> None:
    """The legacy name with fields in the later form is read."""
    document = {**struct(("a", "uint8")), "name": "structured"}
    assert from_v3(document) == from_v3(struct(("a", "uint8"), name="structured"))


def test_struct_takes_small_types() -> None:
    """Fields may be of types that numpy has from ml_dtypes."""
    data_type = from_v3(struct(("a", "bfloat16"), ("b", "int4"), ("c", "complex_float8_e4m3")))
    assert data_type.dtype["a"] == np.dtype(ml_dtypes.bfloat16)
    assert data_type.needs_byte_order
    assert data_type.has_spare_bits


def lengths(name: str, *values: Any) -> list[tuple[Any, str, str]]:
    """List documents with a wrong length."""
    return [
        ({"name": name, "configuration": {"length_bytes": value}}, "length_bytes", "length_bytes")
        for value in values
    ]


@pytest.mark.parametrize(
    ("document", "path", "what"),
    [
        ("nonsense", "", "'nonsense' is not known"),
        ("float128", "", "not known"),
        ("int3", "", "not known"),
        ("complex_int8", "", "not known"),
        ("Float32", "", "not known"),
        ("r0", "", "not known"),
        ("r7", "", "not known"),
        ("r08", "", "not known"),
        ("r-8", "", "not known"),
        ("r" + "8" * 30, "", "not known"),
        ("struct", "configuration.fields", "needs 'fields'"),
        ("numpy.datetime64", "configuration.unit", "needs 'unit'"),
        (None, "", "must be a name"),
        (3, "", "must be a name"),
        (["int32"], "", "must be a name"),
        ({"name": 3}, "", "must be a name"),
        ({}, "", "must be a name"),
        ({"name": "int32", "configuration": {"a": 1}}, "configuration", "takes no configuration"),
        ({"name": "int32", "configuration": []}, "configuration", "must be an object"),
        ({"name": "int32", "nonsense": 1}, "nonsense", "is not a field"),
        ({"name": "int32", "must_understand": False}, "must_understand", "must not be false"),
        *lengths("fixed_length_utf32", 0, -4, 3, 4.0, "4", True, None, 2**40),
        *lengths("null_terminated_bytes", 0, -1, 1.0, None),
        *lengths("raw_bytes", 0, 2**31),
        (
            {"name": "raw_bytes", "configuration": {"length_bytes": 1, "a": 1}},
            "configuration.a",
            "does not know 'a'",
        ),
        (
            {"name": "numpy.datetime64", "configuration": {"unit": "s"}},
            "configuration.scale_factor",
            "needs 'scale_factor'",
        ),
        *(
            ({"name": "numpy.timedelta64", "configuration": {**TIME, "unit": unit}}, "unit", "unit")
            for unit in ("seconds", "S", "", None, 1)
        ),
        *(
            (
                {"name": "numpy.datetime64", "configuration": {**TIME, "scale_factor": scale}},
                "scale_factor",
                "from 1 to 2147483647",
            )
            for scale in (0, -1, 2**31, 1.0, True, "1")
        ),
        (struct(), "configuration.fields", "at least one field"),
        (struct(("", "int8")), "configuration.fields", "not empty"),
        (struct(("a", "int8"), ("a", "int8")), "configuration.fields", "'a' comes twice"),
        (struct(("a", "string")), "configuration.fields", "fixed size"),
        (struct(("a", "bytes")), "configuration.fields", "fixed size"),
        (struct(("a", "nonsense")), "configuration.fields[0].data_type", "not known"),
        (
            struct(("a", "int8"), ("b", struct(("c", "r7")))),
            "configuration.fields[1].data_type.configuration.fields[0].data_type",
            "not known",
        ),
        (struct((1, "int8")), "configuration.fields[0]", "must be a string"),  # type: ignore[arg-type]
        (
            {"name": "struct", "configuration": {"fields": [["a", "int8"]]}},
            "configuration.fields[0]",
            "must be an object",
        ),
        (
            {"name": "struct", "configuration": {"fields": {"a": "int8"}}},
            "configuration.fields",
            "a list",
        ),
        (
            {"name": "structured", "configuration": {"fields": [["a", "int8", [2]]]}},
            "configuration.fields[0]",
            "must be an object",
        ),
    ],
)
def test_v3_refusals(document: Any, path: str, what: str) -> None:
    """What is no data type is refused, with the JSON path below the field and the reason."""
    with pytest.raises(InvalidArgumentError) as caught:
        from_v3(document)
    assert what in str(caught.value)
    assert str(vars(caught.value).get("key", "")).endswith(path)


def test_deep_nesting_is_refused() -> None:
    """A struct nested a hundred thousand times over is refused as an argument, not by a crash."""
    v3: Any = "int8"
    v2: Any = "|i1"
    for _ in range(100_000):
        v3 = struct(("a", v3))
        v2 = [["a", v2]]
    for read, document in ((from_v3, v3), (from_v2, v2)):
        with pytest.raises(InvalidArgumentError, match="nested too deeply"):
            read(document)


# -- numpy ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("?", "bool"),
        (bool, "bool"),
        (int, "int64"),
        (">i4", "int32"),
        (np.float32, "float32"),
        (np.dtype(">c16"), "complex128"),
        (str, "string"),
        ("str", "string"),
        ("string", "string"),
        (np.dtypes.StringDType(), "string"),
        (bytes, "bytes"),
        ("bytes", "bytes"),
        ("variable_length_bytes", "variable_length_bytes"),
        ("S3", "null_terminated_bytes"),
        (">U3", "fixed_length_utf32"),
        ("V3", "r24"),
        ("r24", "r24"),
        ("M8[ns]", "numpy.datetime64"),
        (">m8[7D]", "numpy.timedelta64"),
        (ml_dtypes.bfloat16, "bfloat16"),
        (np.dtype(ml_dtypes.float8_e5m2), "float8_e5m2"),
        (ml_dtypes.int4, "int4"),
        ("int4", "int4"),
        ("i4", "int32"),
        ("complex_float16", "complex_float16"),
        (object, "object"),
        ("O", "object"),
        ("array:i4", "array:int32"),
        ({"name": "numpy.datetime64", "configuration": TIME}, "numpy.datetime64"),
        ([("a", "i4"), ("b", "S2")], "struct"),
    ],
)
def test_from_numpy(given: Any, name: str) -> None:
    """Whatever names a type, a numpy dtype, a class or the name of the format, leads to it."""
    assert from_numpy(given).name == name


@pytest.mark.parametrize("name", [*CORE, *SMALL, "complex_float16", "complex_bfloat16"])
def test_dtype_leads_back(name: str) -> None:
    """The dtype of a type's elements names the type."""
    assert from_numpy(from_v3(name).dtype) == from_v3(name)


def test_data_type_is_taken_as_it_is() -> None:
    """A data type may be given for a dtype, and keeps the name it has."""
    for document in (*(case[0] for case in CONFIGURED), "complex_float32", NESTED):
        assert from_numpy(from_v3(document)) == from_v3(document)


def test_new_arrays_have_no_old_names() -> None:
    """The legacy struct of an old array becomes a struct when a new array is made of its type."""
    old = from_v3(struct(("a", struct(("b", "int8"), name="structured")), name="structured"))
    assert from_numpy(old) == from_v3(struct(("a", struct(("b", "int8")))))
    mixed, _ = from_v2([["a", "<i4"], ["", "|V4"], ["b", ">i4"]])
    assert from_numpy(mixed) == from_v3(struct(("a", "int32"), ("b", "int32")))


def test_padding_is_dropped() -> None:
    """Records that numpy aligns are packed."""
    aligned = np.dtype([("a", "i1"), ("b", "i8"), ("c", [("d", "i1"), ("e", "i4")])], align=True)
    packed = np.dtype([("a", "i1"), ("b", "i8"), ("c", [("d", "i1"), ("e", "i4")])])
    assert aligned.itemsize > packed.itemsize
    assert from_numpy(aligned).dtype == packed


def test_only_one_type_for_one_dtype() -> None:
    """Aliases do not take the place of the core's own names."""
    assert from_numpy("c8").name == "complex64"
    assert from_numpy("c16").name == "complex128"


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("nonsense", "not one that numpy knows"),
        (object(), "not one that numpy knows"),
        ({"a": 1}, "not one that numpy knows"),
        ("S", "no length"),
        ("U0", "no length"),
        ("V0", "no length"),
        ("longdouble", "no data type in Zarr"),
        ("clongdouble", "no data type in Zarr"),
        (np.dtypes.StringDType(na_object=None), "missing text"),
        ([("a", object)], "fixed size"),
        (np.dtype([(("title", "a"), "i4")]), "title"),
        ("array:string", "arrays of string"),
        ("array:nonsense", "not one that numpy knows"),
        ({"name": "nonsense"}, "not known"),
    ],
)
def test_from_numpy_refusals(given: Any, what: str) -> None:
    """A dtype that no data type holds is refused with the reason."""
    with pytest.raises(InvalidArgumentError, match=what):
        from_numpy(given)


# -- version 2 -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typestr", "dtype", "order", "written"),
    [
        ("|b1", "?", None, "|b1"),
        ("<b1", "?", None, "|b1"),
        ("<i1", "i1", None, "|i1"),
        (">u1", "u1", None, "|u1"),
        ("<f2", "f2", "<", "<f2"),
        (">i8", "i8", ">", ">i8"),
        (">c16", "c16", ">", ">c16"),
        ("|S5", "S5", None, "|S5"),
        (">S5", "S5", None, "|S5"),
        ("<V4", "V4", None, "|V4"),
        ("<U3", "U3", "<", "<U3"),
        (">U3", "U3", ">", ">U3"),
        ("<M8[ns]", "M8[ns]", "<", "<M8[ns]"),
        (">m8[25us]", "m8[25us]", ">", ">m8[25us]"),
        ("<M8[1D]", "M8[D]", "<", "<M8[D]"),
        ("<m8", "m8", "<", "<m8"),
        ("<m8[10generic]", "m8[10generic]", "<", "<m8[10generic]"),
        ("bfloat16", ml_dtypes.bfloat16, "<", "bfloat16"),
        ("float8_e4m3fn", ml_dtypes.float8_e4m3fn, None, "float8_e4m3fn"),
        ("int4", ml_dtypes.int4, None, "int4"),
    ],
)
def test_v2_typestr(typestr: str, dtype: Any, order: str | None, written: str) -> None:
    """Each type string is read in native order, with the order on disk where there is one."""
    data_type, found = from_v2(typestr)
    assert data_type.dtype == np.dtype(dtype)
    if data_type.dtype.kind in "mM":
        assert np.datetime_data(data_type.dtype) == np.datetime_data(np.dtype(dtype))
    assert found == order
    assert data_type.to_v2(order or "<") == written


@pytest.mark.parametrize(
    ("document", "dtype", "order"),
    [
        ([["a", "<i4"], ["b", "|u1"]], [("a", "i4"), ("b", "u1")], "<"),
        ([["a", ">i4"], ["b", ">f8", [2, 3]]], [("a", "i4"), ("b", "f8", (2, 3))], ">"),
        ([["a", "|u1"], ["b", "|S2"]], [("a", "u1"), ("b", "S2")], None),
        ([["a", [["b", "<U2"]]]], [("a", [("b", "U2")])], "<"),
        # Each field in an order of its own: said by the type, so that there is none to declare.
        ([["a", "<i4"], ["b", ">i4"]], [("a", "i4"), ("b", "i4")], None),
        (
            [["a", [["b", "<M8[s]"]], [2]], ["c", ">U1"]],
            [("a", [("b", "M8[s]")], (2,)), ("c", "U1")],
            None,
        ),
        # Padding, as numpy describes it: fields without a name.
        ([["a", "|i1"], ["", "|V7"], ["b", "<i8"]], [("a", "i1"), ("b", "i8")], None),
    ],
)
def test_v2_struct(document: list[Any], dtype: list[Any], order: str | None) -> None:
    """Records are held packed in native order, and written as they were read."""
    data_type, found = from_v2(document)
    assert data_type.dtype == np.dtype(dtype)
    assert found == order
    assert json.loads(json.dumps(data_type.to_v2(order or "<"))) == document


@pytest.mark.parametrize(
    ("codec", "configuration", "name"),
    [
        ("vlen-utf8", {}, "string"),
        ("categorize", {"labels": ["a"]}, "string"),
        ("vlen-bytes", {}, "bytes"),
        ("vlen-array", {"dtype": ">f4"}, "array:float32"),
        ("json2", {}, "object"),
        ("msgpack2", {}, "object"),
        ("pickle", {}, "object"),
    ],
)
def test_v2_objects(codec: str, configuration: dict[str, Any], name: str) -> None:
    """What objects are is told by the filter that turns them into bytes."""
    for typestr in ("|O", "O", "|O8", "|O4"):
        data_type, order = from_v2(typestr, object_codec=codec, configuration=configuration)
        assert (data_type.name, order, data_type.to_v2()) == (name, None, "|O")


@pytest.mark.parametrize(
    "document",
    [
        "|O", "=i4", "i4", "<i3", "|i4", "|f8", "|U3", "|M8[s]", "<f16", "<c32", "<S0", "|V0",
        "<U0", "<M8[seconds]", "<M8[0s]", "<M4[s]", "<i4[s]", "<q8", "", "<", "<S99999999999",
        4, None, {}, "float6_e2m3fn", "uint4", "complex_float16", "string", "int32", "nonsense",
        [], [[]], [["a"]], ["a", "<i4"], [["a", "<i4", 2, 3]], [[1, "<i4"]], [["a", "|O"]],
        [["a", "<i4"], ["a", "<i4"]], [["", "<i4"]], [["a", "<i4", [0]]], [["a", "<i4", [-1]]],
        [["a", "<i4", [1.0]]], [["a", "<i4", "2"]], [["a", "<i4", [2**40]]], [["a", "bfloat16"]],
        [["a", "<i4", [2**30]], ["b", "<i4", [2**30]]], [[["title", "a"], "<i4"]], [["", "|V4"]],
    ],
)  # fmt: skip
def test_v2_refusals(document: Any) -> None:
    """What is no type of version 2 is refused as an argument, however it is broken."""
    with pytest.raises(InvalidArgumentError):
        from_v2(document)


@pytest.mark.parametrize(
    "given", ["uint4", "float6_e2m3fn", "complex_float16", "complex_float8_e4m3"]
)
def test_what_v2_has_no_type_for(given: str) -> None:
    """A type that no version 2 document can name says so."""
    with pytest.raises(InvalidArgumentError, match="version 2 has no"):
        from_numpy(given).to_v2()


@pytest.mark.parametrize("given", [object, "array:i4", [("a", "i4", (2,))]])
def test_what_v3_has_no_type_for(given: Any) -> None:
    """A type that no version 3 document can name says so."""
    with pytest.raises(InvalidArgumentError, match="version 3 has no type"):
        from_numpy(given).to_v3()


# -- as values -----------------------------------------------------------------------------------

ALL: tuple[Any, ...] = (
    *CORE, *SMALL, *COMPLEX, "string", "bytes", "r16", NESTED, *(case[0] for case in CONFIGURED),
)  # fmt: skip


@pytest.mark.parametrize("document", ALL, ids=str)
def test_types_are_values(document: Any) -> None:
    """Types made alike are equal and hash alike, and travel to another process."""
    data_type = from_v3(document)
    assert from_v3(document) == data_type
    assert hash(from_v3(document)) == hash(data_type)
    assert pickle.loads(pickle.dumps(data_type)) == data_type
    assert isinstance(data_type, DataType)


def test_types_differ() -> None:
    """No two documents of different meaning or spelling lead to equal types."""
    types = [from_v3(document) for document in ALL]
    assert all(a != b for i, a in enumerate(types) for b in types[:i])


@pytest.mark.parametrize(
    ("given", "serializer"),
    [
        ("i4", "bytes"),
        (str, "vlen-utf8"),
        ("bytes", "vlen-bytes"),
        ("array:i4", "numcodecs.vlen-array"),
        ("S3", "bytes"),
        ([("a", "i4")], "bytes"),
    ],
)
def test_default_serializer(given: Any, serializer: str) -> None:
    """Each type names the codec that turns its elements into bytes."""
    assert from_numpy(given).default_serializer == serializer
    assert from_numpy(given).is_fixed_size == (serializer == "bytes")


def test_objects_have_no_default_serializer() -> None:
    """Which filter any objects need is for the user to say, and the error says how."""
    with pytest.raises(InvalidArgumentError, match=r"numcodecs\.JSON"):
        _ = from_numpy(object).default_serializer


def test_missing_ml_dtypes_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ml_dtypes the error names the type and the command that installs it."""
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    for cache in (small.dtype_of, table._named):
        cache.cache_clear()
    for name in (*SMALL, "complex_float16", "complex_float8_e4m3"):
        with pytest.raises(MissingExtraError, match=r"pip install 'chunkstore\[dtypes\]'"):
            from_v3(name)
    with pytest.raises(MissingExtraError, match="bfloat16"):
        from_v2("bfloat16")
    assert from_v3("complex_float32").dtype == np.dtype("c8")


def test_old_ml_dtypes_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an ml_dtypes that lacks one type, the error says to upgrade, and the others work."""
    monkeypatch.delattr(ml_dtypes, "complex32")
    for cache in (small.dtype_of, table._named):
        cache.cache_clear()
    with pytest.raises(MissingExtraError, match="--upgrade"):
        from_v3("complex_float16")
    assert from_v3("bfloat16").n_bits == 16
