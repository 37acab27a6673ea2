"""The short ways reach every store that the long ones reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import InvalidArgumentError
from tests.services import Service, s3

__all__ = ["s3"]


def test_every_door_takes_storage_options(s3: Service, tmp_path: Path) -> None:
    """Whatever takes the URL of a remote store takes the options that it needs, too."""
    url, options = s3.make_url(), {"storage_options": s3.options}
    data = np.arange(6)
    cs.save(f"{url}/one", data, **options)
    assert cs.load(f"{url}/one", **options).tolist() == data.tolist()
    cs.save(f"{url}/two", data, x=data + 1, **options)
    assert sorted(cs.load(f"{url}/two", **options)) == ["arr_0", "x"]
    cs.create_group(f"{url}/group", **options)
    cs.array(data, f"{url}/group/a", **options)
    cs.zeros_like(cs.full(3, 7, store=f"{url}/group/b", **options), f"{url}/group/c", **options)
    cs.consolidate_metadata(f"{url}/group", **options)
    group = cs.open_group(f"{url}/group", mode="r", use_consolidated=True, **options)
    assert {name: member[...].tolist() for name, member in group.arrays()} == {
        "a": [0, 1, 2, 3, 4, 5],
        "b": [7, 7, 7],
        "c": [0, 0, 0],
    }
    cs.copy(f"{url}/group", tmp_path / "near", source_storage_options=s3.options)
    back = cs.copy(tmp_path / "near", f"{url}/far", zarr_format=2, **options)
    assert sorted(back) == ["a", "b", "c"]
    assert cs.open(f"{url}/far", path="a", **options)[...].tolist() == data.tolist()
    assert cs.open_array(f"{url}/far/b", mode="r", **options)[...].tolist() == [7, 7, 7]


def test_storage_options_without_a_url(tmp_path: Path) -> None:
    """Options that nothing would use are refused."""
    source = cs.array([1, 2])
    for wrong in (
        lambda: cs.save(tmp_path, [1], storage_options={"key": "a"}),
        lambda: cs.load(tmp_path, storage_options={"key": "a"}),
        lambda: cs.copy(source, tmp_path, storage_options={"key": "a"}),
        lambda: cs.copy(source, None, source_storage_options={"key": "a"}),
    ):
        with pytest.raises(InvalidArgumentError, match="storage_options are for"):
            wrong()
