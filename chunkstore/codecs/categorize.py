"""``categorize``: text from a list of labels, stored as their numbers.

Floor 2. Array to bytes, since its numbers are stored as they are. In v2: a filter
``{"id": "categorize", …}`` on the types ``|O`` and ``U``; in v3: no name.

.. code-block:: json

    {"name": "numcodecs.categorize",
     "configuration": {"labels": ["female", "male"], "dtype": "|O", "astype": "|u1"}}

Labels count from 1; 0 is text that is none of them, which is read as empty. So that nothing is
lost, text that is neither empty nor a label is refused here, where numcodecs stores 0.
Source: numcodecs, "categorize".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from chunkstore.codecs.base import ArrayBytesCodec, ChunkSpec, as_bytes
from chunkstore.codecs.settings import Settings
from chunkstore.errors import CodecError
from chunkstore.types import Buffer, NDArray

__all__ = ["CategorizeCodec"]


@dataclass(frozen=True, slots=True)
class CategorizeCodec(ArrayBytesCodec):
    r"""Store labels as numbers.

    Parameters
    ----------
    labels : tuple of str
        What elements may be; the empty text comes beside.
    dtype : str
        Type string of the elements.
    astype : str
        Type string of the stored numbers.

    Examples
    --------
    >>> from chunkstore.dtypes import from_numpy
    >>> spec = ChunkSpec((3,), from_numpy(str), "")
    >>> codec = CategorizeCodec(("female", "male"), "|O", "|u1")
    >>> bytes(codec.encode(np.array(["male", "", "female"], np.dtypes.StringDType()), spec))
    b'\x02\x00\x01'
    """

    name = "numcodecs.categorize"
    labels: tuple[str, ...]
    dtype: str
    astype: str

    @classmethod
    def from_configuration(cls, configuration: Mapping[str, Any], spec: ChunkSpec) -> Self:
        """Make the codec; see `Codec.from_configuration`."""
        settings = Settings(
            cls.name, configuration, required=("labels", "dtype"), optional=("astype",)
        )
        labels, dtype = settings.get("labels", ()), settings.get("dtype")
        if not isinstance(labels, (list, tuple)) or not all(isinstance(x, str) for x in labels):
            settings.note("labels", "a list of text")
            labels = ()
        astype = settings.get("astype", "|u1")
        numbers = _integers(astype)
        if numbers is None:
            settings.note("astype", "a type string of integers")
        elif len(labels) > np.iinfo(numbers).max:
            what = f"categorize has {len(labels)} labels, too many for {astype}"
            settings.problem("labels", what)
        settings.check()
        if spec.data_type.dtype.kind not in "TU":
            raise CodecError(f"categorize holds text, not {spec.data_type.name}")
        return cls(tuple(labels), str(dtype), astype)

    def configuration(self) -> dict[str, Any]:
        """Give the configuration."""
        return {"labels": list(self.labels), "dtype": self.dtype, "astype": self.astype}

    def encoded_nbytes(self, spec: ChunkSpec) -> int:
        """Give the length: elements times bytes per number."""
        return spec.n_elements * np.dtype(self.astype).itemsize

    def encode(self, array: NDArray, spec: ChunkSpec) -> Buffer:
        """Encode the elements in C order."""
        numbers = np.zeros(spec.shape, self.astype)
        known = array == _one("", array)
        for i, label in enumerate(self.labels):
            found = array == _one(label, array)
            numbers[found] = i + 1
            known |= found
        if not known.all():
            raise CodecError(f"categorize has no label {str(array[~known][0])!r}")
        return as_bytes(numbers).data

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray:
        """Decode; numbers that stand for no label are refused."""
        stored = as_bytes(data)
        if stored.nbytes != self.encoded_nbytes(spec):
            raise CodecError(
                f"categorize expected {self.encoded_nbytes(spec)} bytes for shape {spec.shape}, "
                f"got {stored.nbytes}"
            )
        numbers = stored.view(self.astype)
        if numbers.size and not 0 <= int(numbers.min()) <= int(numbers.max()) <= len(self.labels):
            raise CodecError(f"categorize has {len(self.labels)} labels, found {numbers.max()}")
        texts = np.array(["", *self.labels], spec.data_type.dtype)
        return texts[numbers.astype(np.intp)].reshape(spec.shape)


def _integers(astype: Any) -> np.dtype[Any] | None:
    try:
        dtype = np.dtype(astype) if isinstance(astype, str) else None
    except TypeError:
        return None
    return dtype if dtype is not None and dtype.kind in "iu" else None


def _one(text: str, array: NDArray) -> NDArray:
    """Give one text in the type of an array: numpy drops zeros at the end of plain text."""
    return np.array(text, array.dtype)
