"""What is wrong with the codecs of an array, in the terms of its own document.

Floor 4. A document's parser knows names and forms alone; whether codecs can be made is asked here,
so that all problems of a document are reported together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chunkstore import metadata as formats
from chunkstore.chunk_grid import ChunkGrid
from chunkstore.dtypes import DataType
from chunkstore.metadata.model import ArrayMetadata, CodecSpec
from chunkstore.options import Options
from chunkstore.sharding import certain_problems, pipeline_problems

__all__ = ["CodecCheck"]


@dataclass(frozen=True, slots=True)
class CodecCheck:
    """Finds the problems of codecs; see `chunkstore.metadata.model.Check`.

    Parameters
    ----------
    options : Options, optional
        Of the handle to be, which may know more codecs.
    """

    options: Options | None = None

    def __call__(self, metadata: ArrayMetadata) -> list[tuple[str, str]]:
        """Give the problems of an array's codecs, each with its JSON path."""
        made = pipeline_problems(metadata, self.options)
        found = made if isinstance(made, list) else []
        return _said(found, metadata.codecs, metadata.zarr_format)

    def certain(
        self,
        codecs: Sequence[CodecSpec],
        *,
        zarr_format: int,
        data_type: DataType | None,
        grid: ChunkGrid | None,
    ) -> list[tuple[str, str]]:
        """Give those problems that there are in any case, where not all of a document is read."""
        shape = None if grid is None else grid.uniform_shape
        found = certain_problems(codecs, self.options, data_type=data_type, chunk_shape=shape)
        return _said(found, codecs, zarr_format)


def _said(
    found: Sequence[tuple[str, str]], codecs: Sequence[CodecSpec], zarr_format: int
) -> list[tuple[str, str]]:
    return [
        (formats.problem_path(path, zarr_format=zarr_format, codecs=codecs), what)
        for path, what in found
    ]
