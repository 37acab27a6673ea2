"""``json2``, ``msgpack2`` and ``pickle`` hold any objects; damage and pickles are refused."""

from __future__ import annotations

import json
import pickle
import re
import sys
from typing import Any

import msgpack
import numcodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
import chunkstore.codecs.numcodecs_objects as module
from chunkstore.codecs.base import ChunkSpec
from chunkstore.codecs.numcodecs_objects import JSON2Codec, MsgPack2Codec, PickleCodec
from chunkstore.dtypes import from_numpy
from chunkstore.errors import CodecError, MissingExtraError
from chunkstore.options import Options
from tests.contracts.codecs import damaged, peak_bytes

TRUSTED = Options(allow_pickle=True)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text() | st.floats(-1e9, 1e9)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


def objects(values: list[Any]) -> np.ndarray:
    """Give an array of just these objects."""
    made = np.empty(len(values), object)
    for i, value in enumerate(values):
        made[i] = value
    return made


def spec(*shape: int, dtype: Any = object, options: Options = TRUSTED) -> ChunkSpec:
    """Give the spec of a chunk."""
    return ChunkSpec(shape, from_numpy(dtype), None, options)


def make(cls: Any, where: ChunkSpec | None = None, **configuration: Any) -> Any:
    """Make a codec."""
    return cls.from_configuration(configuration, where or spec(1))


@pytest.mark.parametrize("cls", [JSON2Codec, MsgPack2Codec, PickleCodec])
@given(values=st.lists(VALUES, max_size=5))
def test_round_trip(cls: Any, values: list[Any]) -> None:
    """Objects of every kind that all three can hold come back equal."""
    codec = make(cls)
    decoded = codec.decode(codec.encode(objects(values), spec(len(values))), spec(len(values)))
    assert decoded.dtype == object
    assert decoded.tolist() == values


@pytest.mark.parametrize(
    ("cls", "theirs"), [(JSON2Codec, numcodecs.JSON()), (MsgPack2Codec, numcodecs.MsgPack())]
)
@pytest.mark.parametrize("shape", [(3,), (2, 3), (1, 2, 2)])
def test_same_bytes_as_numcodecs(cls: Any, theirs: Any, shape: tuple[int, ...]) -> None:
    """What is stored is what numcodecs stores, and each reads the other."""
    values: list[Any] = ["é", None, [1, 2], {"a": 1.5}, True, 2**40]
    array = objects(values[: int(np.prod(shape))]).reshape(shape)
    encoded = make(cls).encode(array, spec(*shape))
    assert bytes(encoded) == bytes(theirs.encode(array))
    assert make(cls).decode(theirs.encode(array), spec(*shape)).tolist() == array.tolist()


@pytest.mark.parametrize("cls", [JSON2Codec, MsgPack2Codec, PickleCodec])
def test_lists_of_one_length(cls: Any) -> None:
    """Elements that are lists of one length are not taken for another axis."""
    values = [[1, 2], [3, 4], [5, 6]]
    codec = make(cls)
    decoded = codec.decode(codec.encode(objects(values), spec(3)), spec(3))
    assert decoded.shape == (3,)
    assert decoded.tolist() == values


@pytest.mark.parametrize("cls", [JSON2Codec, MsgPack2Codec, PickleCodec])
def test_without_axes(cls: Any) -> None:
    """A chunk without axes holds one object."""
    box = np.empty((), object)
    box[()] = {"a": [1]}
    codec = make(cls)
    decoded = codec.decode(codec.encode(box, spec()), spec())
    assert decoded.shape == ()
    assert decoded[()] == {"a": [1]}


@pytest.mark.parametrize("cls", [JSON2Codec, MsgPack2Codec])
@pytest.mark.parametrize(
    ("dtype", "values"),
    [("i4", [1, -2, 3]), ("u8", [2**64 - 1, 0, 1]), ("f4", [1.5, -0.0, 1e30]),
     ("?", [True, False, True]),
     ("U3", ["é", "", "abc"])],
)  # fmt: skip
def test_other_types(cls: Any, dtype: str, values: list[Any]) -> None:
    """Numbers and text are held too, and come back in their type."""
    where = spec(3, dtype=dtype)
    codec = make(cls, where)
    array = np.array(values, dtype)
    decoded = codec.decode(codec.encode(array, where), where)
    assert decoded.dtype == array.dtype
    assert decoded.tobytes() == array.tobytes()


@pytest.mark.parametrize("cls", [JSON2Codec, MsgPack2Codec])
@pytest.mark.parametrize(
    "dtype", ["c8", "M8[s]", "S3", "V3", str, "bytes", [("a", "i4")], "bfloat16"]
)
def test_types_that_it_does_not_hold(cls: Any, dtype: Any) -> None:
    """Types that JSON has nothing for are refused when the codec is made."""
    with pytest.raises(CodecError, match="dtype=object"):
        make(cls, spec(1, dtype=dtype))


@pytest.mark.parametrize("cls", [JSON2Codec, MsgPack2Codec])
@pytest.mark.parametrize("value", [object(), {1, 2}, np.int64(3), 1j])
def test_objects_that_it_does_not_hold(cls: Any, value: Any) -> None:
    """An element that the document has nothing for is refused as a codec's error."""
    with pytest.raises(CodecError, match="cannot hold an element"):
        make(cls).encode(objects([value]), spec(1))


def test_recursive_object() -> None:
    """An object that holds itself is refused by each of the three, or kept by pickle."""
    knot: list[Any] = []
    knot.append(knot)
    for cls in (JSON2Codec, MsgPack2Codec):
        with pytest.raises(CodecError):
            make(cls).encode(objects([knot]), spec(1))


DOCUMENTS: list[Any] = [
    None, 5, {}, "x", [], ["|O"], [1, "|O"], [1, "|O", 1], [1, "|O", [2]], [1, 2, "|O", [1]],
    [1, 2, "|O", [3]], [[1, 2], "|O", [1, 2]], [1, "|O", [-1]], ["|O", [0]], [1, 2, "|O", [2, 1]],
    [[1], 2, "|O", [2, 1]], [1, 2, "|O", [2.0]], [1, 2, "|O", ["2"]],
    ["|O", [2**31, 2**31]], [1, "|O", []],
]  # fmt: skip


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
@pytest.mark.parametrize(
    ("cls", "dump"),
    [(JSON2Codec, lambda d: json.dumps(d).encode()), (MsgPack2Codec, msgpack.packb)],
)
def test_wrong_documents(cls: Any, dump: Any, document: Any) -> None:
    """A document of another form or shape is refused before memory is taken for it."""

    def decode() -> None:
        with pytest.raises(CodecError):
            make(cls).decode(dump(document), spec(2))

    if document == [1, 2, "|O", [2.0]]:
        assert make(cls).decode(dump(document), spec(2)).tolist() == [1, 2]
        return
    assert peak_bytes(decode) < 1 << 20


@pytest.mark.parametrize("dtype", ["i4", "u1", "?", "U2"])
def test_values_of_another_type(dtype: str) -> None:
    """Stored values that the type cannot hold are refused, not cut."""
    where = spec(1, dtype=dtype)
    for value in ("abc", 1.5, 2**40, None, [1]):
        data = json.dumps([value, "|O", [1]]).encode()
        with pytest.raises(CodecError):
            make(JSON2Codec, where).decode(data, where)


@pytest.mark.parametrize("cls", [JSON2Codec, MsgPack2Codec])
def test_damage(cls: Any) -> None:
    """Damaged bytes decode to a chunk of the right shape or raise CodecError."""
    codec = make(cls)
    for data in damaged(bytes(codec.encode(objects(["é", {"a": [1]}, None]), spec(3)))):
        try:
            decoded = codec.decode(data, spec(3))
        except CodecError:
            continue
        assert decoded.shape == (3,)


@pytest.mark.parametrize(
    "data", [b"[" * 100_000, b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"9" * 10_000]
)
def test_hostile_documents(data: bytes) -> None:
    """Deep nesting, claims of length and endless numbers are refused."""
    for cls in (JSON2Codec, MsgPack2Codec):
        with pytest.raises(CodecError):
            make(cls).decode(data, spec(1))


def test_settings() -> None:
    """The settings of a document reach the encoder, and come back in the configuration."""
    codec = make(JSON2Codec, encoding="utf-16", ensure_ascii=False, sort_keys=False, indent=1)
    assert codec.configuration()["indent"] == 1
    assert codec == make(JSON2Codec, **json.loads(json.dumps(codec.configuration())))
    encoded = codec.encode(objects(["é"]), spec(1))
    assert "é" in bytes(encoded).decode("utf-16")
    assert codec.decode(encoded, spec(1)).tolist() == ["é"]
    raw = make(MsgPack2Codec, raw=True)
    assert raw.decode(raw.encode(objects(["a"]), spec(1)), spec(1)).tolist() == [b"a"]
    assert hash(codec) == hash(make(JSON2Codec, **codec.configuration()))


@pytest.mark.parametrize(
    ("cls", "configuration"),
    [
        (JSON2Codec, {"nonsense": 1}),
        (MsgPack2Codec, {"nonsense": 1}),
        (PickleCodec, {"nonsense": 1}),
        (PickleCodec, {"protocol": -1}),
        (PickleCodec, {"protocol": 99}),
        (PickleCodec, {"protocol": "5"}),
    ],
)
def test_refused_settings(cls: Any, configuration: dict[str, Any]) -> None:
    """Settings that cannot be meant are refused."""
    with pytest.raises(CodecError):
        make(cls, **configuration)


def test_unknown_encoding() -> None:
    """A text encoding that nobody knows is a codec's error, both ways."""
    codec = make(JSON2Codec, encoding="nonsense")
    with pytest.raises(CodecError):
        codec.encode(objects([1]), spec(1))
    with pytest.raises(CodecError):
        codec.decode(b'[1,"|O",[1]]', spec(1))


def test_documented_example() -> None:
    """The example in the module's docstring makes the codec."""
    block = re.search(r"code-block:: json\n\n(.*?)\n\n", module.__doc__ or "", re.DOTALL)
    assert block
    example = json.loads(block[1])
    assert example["name"] == JSON2Codec.name
    assert make(JSON2Codec, **example["configuration"]) == make(JSON2Codec)


def test_missing_msgpack_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where numcodecs has no msgpack, the error says what to install."""
    monkeypatch.delitem(numcodecs.registry.codec_registry, "msgpack2")
    monkeypatch.setitem(sys.modules, "msgpack", None)
    monkeypatch.setattr(numcodecs.registry, "entries", {})
    with pytest.raises(MissingExtraError, match="pip install"):
        make(MsgPack2Codec)


# -- pickles -------------------------------------------------------------------------------------


class Bomb:
    """Goes off when it is unpickled."""

    went_off = False

    def __reduce__(self) -> Any:
        return setattr, (Bomb, "went_off", True)


def test_pickle_is_refused_unless_allowed() -> None:
    """Without leave no pickle is read or written; what one would run does not run."""
    refused = spec(1, options=Options())
    codec = make(PickleCodec, refused)
    with pytest.raises(CodecError, match="allow_pickle=True"):
        codec.decode(pickle.dumps(Bomb()), refused)
    with pytest.raises(CodecError, match="allow_pickle=True"):
        codec.encode(objects([1]), refused)
    assert not Bomb.went_off


def test_allowed_pickle() -> None:
    """With leave, objects that nothing else can hold come back."""
    values: list[Any] = [{1, 2}, 1j, b"x\0"]
    codec = make(PickleCodec)
    assert codec.decode(codec.encode(objects(values), spec(3)), spec(3)).tolist() == values
    where = spec(2, dtype="c8")
    array = np.array([1j, 2], "c8")
    assert codec.decode(codec.encode(array, where), where).tolist() == array.tolist()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"nonsense", b"\x80\x05K\x01.", pickle.dumps([1, 2]), pickle.dumps(np.arange(2)),
        pickle.dumps(np.empty(3, object)), pickle.dumps(np.empty((1, 2), object)),
        b"cnonsense\nx\n.",
    ],
)  # fmt: skip
def test_wrong_pickles(data: bytes) -> None:
    """A pickle of anything but a chunk of this shape and type is refused."""
    with pytest.raises(CodecError):
        make(PickleCodec).decode(data, spec(2))


def test_allow_pickle_through_an_array() -> None:
    """An array of pickles is read and written by handles that were given leave, and no other."""
    store = cs.MemoryStore()
    made = cs.create_array(
        store, name="x", shape=3, chunks=2, dtype=object, zarr_format=2, options=TRUSTED,
        filters=[numcodecs.Pickle()],
    )  # fmt: skip
    made[...] = objects([{1}, 2j, None])
    assert cs.open_array(store, path="x", options=TRUSTED)[...].tolist() == [{1}, 2j, None]
    plain = cs.open_array(store, path="x")
    assert plain.shape == (3,)
    with pytest.raises(cs.errors.ChunkError, match="allow_pickle=True"):
        plain[...]
    with pytest.raises(cs.errors.ChunkError, match="allow_pickle=True"):
        plain[0] = 1


@pytest.mark.parametrize("value", ["no", 1, None])
def test_leave_must_be_plain(value: Any) -> None:
    """Leave is True or False, nothing that might be meant as no and taken for yes."""
    with pytest.raises(cs.errors.InvalidArgumentError, match="allow_pickle"):
        Options(allow_pickle=value)
