"""Run settings: what is asked is used or refused, and nothing is guessed."""

from __future__ import annotations

import dataclasses
import os
import pickle
from typing import Any

import pytest

from chunkstore import Options
from chunkstore.errors import InvalidArgumentError
from chunkstore.options import available_processors

VARIABLE = "CHUNKSTORE_THREADS"


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take what the caller of the tests has set out of the way."""
    monkeypatch.delenv(VARIABLE, raising=False)


def test_asked_threads_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number of threads that is asked for wins over the environment."""
    monkeypatch.setenv(VARIABLE, "7")
    assert Options(n_threads=3).threads == 3


def test_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a number the environment variable decides, at the time of use."""
    options = Options()
    monkeypatch.setenv(VARIABLE, "7")
    assert options.threads == 7


def test_default_follows_the_machine() -> None:
    """Without either there are as many threads as processors, within bounds."""
    assert Options().threads == min(available_processors(), 32)
    assert 1 <= available_processors() <= (os.cpu_count() or 1)


@pytest.mark.parametrize("text", ["0", "-1", "", "two", "1.5", "²", "1e3", " 2", "0x2"])
def test_bad_environment(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A variable that is no positive integer is refused by name, not read as something else."""
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(InvalidArgumentError, match=VARIABLE):
        _ = Options().threads


@pytest.mark.parametrize("n_threads", [0, -1, "2", 2.0, True, [2]])
def test_bad_threads(n_threads: Any) -> None:
    """A number of threads that is no positive integer is refused when the options are made."""
    with pytest.raises(InvalidArgumentError, match="n_threads"):
        Options(n_threads=n_threads)


@pytest.mark.parametrize("policy", ["raise", None, True, ""])
def test_bad_policy(policy: Any) -> None:
    """A policy for missing chunks that is not known is refused."""
    with pytest.raises(InvalidArgumentError, match="missing_chunks"):
        Options(missing_chunks=policy)


def test_is_a_frozen_value() -> None:
    """Options cannot be changed, compare by content, and travel to another process."""
    options = Options(n_threads=2, missing_chunks="error")
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.n_threads = 3  # type: ignore[misc]
    assert options == Options(n_threads=2, missing_chunks="error") != Options()
    assert pickle.loads(pickle.dumps(options)) == options
    assert hash(options) == hash(pickle.loads(pickle.dumps(options)))


@pytest.mark.parametrize("most", [0, -1, 2.0, "1GB", True, None])
def test_bad_max_decoded_bytes(most: Any) -> None:
    """The bound of decoded bytes is a positive integer."""
    with pytest.raises(InvalidArgumentError, match="max_decoded_bytes"):
        Options(max_decoded_bytes=most)
