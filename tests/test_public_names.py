"""What is public is listed, in order, described, and lives where it says it lives."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

DOORS = ("chunkstore", "chunkstore.errors", "dask_integration", "dask_integration.xarray")
"""The modules that users import from; the `__all__` of another module is for its neighbours."""


def _module_names() -> list[str]:
    names = []
    for package in ("chunkstore", "dask_integration"):
        path = importlib.import_module(package).__path__
        names += [package, *(m.name for m in pkgutil.walk_packages(path, f"{package}."))]
    return names


MODULES = _module_names()


def _order(name: str) -> tuple[int, str]:
    """Order names as ruff does: constants, classes, everything else."""
    if name.isupper() and len(name) > 1:
        return 0, name
    return (1 if name[0].isupper() else 2), name


def _objects(module: ModuleType) -> dict[str, object]:
    return {name: getattr(module, name) for name in module.__all__}


@pytest.mark.parametrize("name", MODULES)
def test_list_is_sorted_and_true(name: str) -> None:
    """An `__all__` is in order, holds no name twice, and every name in it exists."""
    module = importlib.import_module(name)
    listed = list(getattr(module, "__all__", []))
    assert listed == sorted(set(listed), key=_order)
    assert [n for n in listed if not hasattr(module, n)] == []


@pytest.mark.parametrize("name", MODULES)
def test_listed_names_are_described(name: str) -> None:
    """Every module, and every class and function that a module lists, has a docstring."""
    module = importlib.import_module(name)
    assert (module.__doc__ or "").strip(), "the module has no docstring"
    bare = [
        n
        for n in getattr(module, "__all__", [])
        if (inspect.isclass(o := getattr(module, n)) or inspect.isroutine(o))
        # A class without a docstring of its own shows its base's.
        and not (vars(o).get("__doc__") if inspect.isclass(o) else o.__doc__)
    ]
    assert bare == []


@pytest.mark.parametrize("door", DOORS)
def test_door_lists_all_it_shows(door: str) -> None:
    """The public names of a door are those of its `__all__`, and no more.

    Submodules stand in a package's namespace once they are imported, wanted or not.
    """
    module = importlib.import_module(door)
    shown = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and name != "annotations"
        and not (isinstance(value, ModuleType) and value.__name__.startswith(f"{door}."))
    }
    listed = {name for name, value in _objects(module).items() if not isinstance(value, ModuleType)}
    assert shown == listed - {"__version__"}


@pytest.mark.parametrize("door", DOORS)
def test_public_objects_name_their_door(door: str) -> None:
    """Every public class and function says that it is from the door, as error texts show it."""
    module = importlib.import_module(door)
    elsewhere = {
        name: value.__module__
        for name, value in _objects(module).items()
        if (inspect.isclass(value) or inspect.isroutine(value)) and value.__module__ != door
    }
    assert elsewhere == {}
