"""Errors are caught as the builtins they resemble, keep their facts, and survive a pickle."""

from __future__ import annotations

import builtins
import copy
import inspect
import pickle
import re
from collections.abc import Callable

import pytest

from chunkstore import errors

CLASSES = [
    value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and value.__module__ == errors.__name__
]
BASE = errors.ChunkStoreError
BUILTIN = {
    name: value
    for name, value in vars(builtins).items()
    if inspect.isclass(value) and issubclass(value, Exception) and value is not Exception
}

MESSAGE = "cannot read chunk (0, 3) of '/a' in MemoryStore(): expected 8 bytes, got 7"
FACTS = {"store": "MemoryStore()", "key": "a/c/0/3", "chunk_coords": (0, 3), "n_bytes": 7}

TREE_LINE = re.compile(r"^ *(?P<branch>[│ ├└─]*)(?P<name>[A-Z]\w+)(?: +\((?P<builtins>[\w, ]+)\))?")


def _drawn() -> dict[str, tuple[str | None, list[str]]]:
    """Read the tree in the module's docstring: class -> (the class above it, its builtins)."""
    drawn: dict[str, tuple[str | None, list[str]]] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if "Error" not in line or (match := TREE_LINE.match(line)) is None:
            continue
        depth = match.start("name")
        above = [(d, n) for d, n in above if d < depth]
        parent = above[-1][1] if above else None
        drawn[match["name"]] = (parent, re.findall(r"\w+", match["builtins"] or ""))
        above.append((depth, match["name"]))
    return drawn


@pytest.mark.parametrize("cls", CLASSES)
def test_derives_from_base_and_builtin(cls: type[Exception]) -> None:
    """Each error is a `ChunkStoreError`, and also a builtin error that a caller may expect."""
    assert issubclass(cls, BASE)
    assert cls is BASE or any(base in BUILTIN.values() for base in cls.__mro__)


@pytest.mark.parametrize("cls", CLASSES)
def test_str_is_the_message(cls: type[Exception]) -> None:
    """What is shown is the message alone, whatever the builtin would make of it."""
    assert str(cls(MESSAGE, **FACTS)) == MESSAGE


@pytest.mark.parametrize("travel", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy])
@pytest.mark.parametrize("cls", CLASSES)
def test_facts_survive(cls: type[Exception], travel: Callable[[Exception], Exception]) -> None:
    """A pickled or copied error is of the same class, with the same message and facts."""
    error = travel(cls(MESSAGE, **FACTS))
    assert type(error) is cls
    assert str(error) == MESSAGE
    assert {name: getattr(error, name) for name in FACTS} == FACTS


def test_absent_fact_is_an_attribute_error() -> None:
    """Asking for a fact that was not given fails as for any object, and names it."""
    with pytest.raises(AttributeError, match="'chunk_coords'"):
        _ = BASE(MESSAGE).chunk_coords


def test_drawn_tree_is_the_real_one() -> None:
    """The tree in the module's docstring has every class, in its place, with its builtins."""
    drawn = _drawn()
    assert set(drawn) == {cls.__name__ for cls in CLASSES} == set(errors.__all__)
    for name, (parent, builtin_names) in drawn.items():
        cls = getattr(errors, name)
        bases = [base.__name__ for base in cls.__bases__]
        assert name == BASE.__name__ or bases[0] == parent
        assert [base for base in bases if base in BUILTIN] == builtin_names
