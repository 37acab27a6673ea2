"""Checkpoints: the newest whole state is what is read, whatever was interrupted."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import ChunkStoreError, InvalidArgumentError
from dask_integration.checkpoint import Checkpoint

JOB = {"k": 3, "shape": (4, 2)}


def test_the_newest_state_comes_back(tmp_path: Path) -> None:
    """Arrays keep dtype and values, records what JSON holds; older states are deleted."""
    checkpoint = Checkpoint(tmp_path / "c", JOB)
    assert checkpoint.load() is None
    for number in (1, 2, 3):
        checkpoint.save(number, {"a": np.full((4, 2), number), "empty": np.empty((4, 0))}, {"n": 1})
    arrays, record = Checkpoint(tmp_path / "c", JOB).load() or ({}, {})
    np.testing.assert_array_equal(arrays["a"], np.full((4, 2), 3))
    assert arrays["empty"].shape == (4, 0)
    assert record == {"n": 1}
    assert list(cs.open_group(tmp_path / "c", mode="r")) == ["pass-3"]


@pytest.mark.parametrize("n_writes", range(12))
def test_an_interrupt_leaves_one_state_or_the_other(tmp_path: Path, n_writes: int) -> None:
    """Whichever write is the last one, the state before or the new one is read."""
    checkpoint = Checkpoint(tmp_path / "c", JOB)
    checkpoint.save(1, {"a": np.ones(5), "b": np.ones(5)}, {"pass": 1})
    real, left = cs.LocalStore.set, n_writes

    def failing(self: cs.LocalStore, key: str, value: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        real(self, key, value)

    with mock.patch.object(cs.LocalStore, "set", failing), suppress(KeyboardInterrupt):
        checkpoint.save(2, {"a": np.full(5, 2), "b": np.full(5, 2)}, {"pass": 2})
    snapshot = checkpoint.load()
    assert snapshot is not None
    for values in snapshot.arrays.values():
        assert (values == snapshot.record["pass"]).all()
    checkpoint.save(3, {"a": np.zeros(5)}, {})
    assert list(cs.open_group(tmp_path / "c", mode="r")) == ["pass-3"]


def test_the_state_of_another_job_is_refused(tmp_path: Path) -> None:
    """The message says in what the jobs differ."""
    Checkpoint(tmp_path / "c", JOB).save(1, {}, {})
    with pytest.raises(InvalidArgumentError, match="of a job with k 3; this one has k 4"):
        Checkpoint(tmp_path / "c", JOB | {"k": 4}).load()


def test_a_damaged_state_is_not_taken_for_data(tmp_path: Path) -> None:
    """A flipped byte in an array is an error."""
    Checkpoint(tmp_path / "c", JOB).save(1, {"a": np.arange(100.0)}, {})
    (file,) = (tmp_path / "c" / "pass-1" / "a" / "c").rglob("0")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ChunkStoreError):
        Checkpoint(tmp_path / "c", JOB).load()


def test_no_place_keeps_nothing() -> None:
    """Without a place, saving and loading do nothing."""
    checkpoint = Checkpoint(None, JOB)
    checkpoint.save(1, {"a": np.ones(3)}, {})
    assert checkpoint.load() is None
