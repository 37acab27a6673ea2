"""The house keeps its floors: every import goes to a lower one, and foreign libraries stay put.

The tables below are the drawing of the house; the functions read the sources with `ast`, so
imports under ``TYPE_CHECKING`` and inside functions count, and nothing is imported to check it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class House:
    """The rules of the packages under one folder. Patterns are those of `fnmatch`."""

    packages: tuple[str, ...]
    floors: Mapping[str, float]
    """Module pattern -> its floor. A module imports lower floors only."""
    same_floor: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Module pattern -> modules of its own floor that it may import all the same."""
    doors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Package -> modules of it that another package may use, each within its ``__all__``."""
    customers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Package -> the other packages whose doors it may use."""
    foreign: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Foreign library -> patterns of the only modules that may import it."""


CHUNKSTORE_FLOORS = {
    "chunkstore.errors": 0,
    "chunkstore.types": 0,
    "chunkstore.cache": 0,
    "chunkstore.options": 0,
    "chunkstore.dtypes": 1,
    "chunkstore.dtypes.*": 1,
    "chunkstore.casting": 1,
    "chunkstore.chunk_grid": 1,
    "chunkstore.empty": 1,
    "chunkstore.keys": 1,
    "chunkstore.display": 1,
    "chunkstore.metadata": 1,
    "chunkstore.metadata.*": 1,
    "chunkstore.requests": 2,
    "chunkstore.indexing": 3,
    "chunkstore.codecs": 2,
    "chunkstore.codecs.*": 2,
    "chunkstore.stores": 2,
    "chunkstore.stores.*": 2,
    "chunkstore.pipeline": 3,
    "chunkstore.layout": 4,
    "chunkstore.workers": 3,
    "chunkstore.checks": 4,
    "chunkstore.sharding": 4,
    "chunkstore._kernel": 3,
    "chunkstore.attributes": 5,
    "chunkstore.documents": 5,
    "chunkstore.translating": 5,
    "chunkstore.fetching": 4,
    "chunkstore.selectors": 4,
    # Below the engine: what it prepares for an array, and what it does for one stored value.
    "chunkstore.compiled": 4.1,
    "chunkstore.values": 4.1,
    "chunkstore.reading": 4.2,
    "chunkstore.writing": 4.2,
    "chunkstore.engine": 5,
    "chunkstore.resizing": 5,
    "chunkstore.description": 5,
    "chunkstore.array": 6,
    "chunkstore.cleaning": 6,
    "chunkstore.group": 7,
    "chunkstore.members": 7,
    "chunkstore.api": 8,
    "chunkstore.copying": 8,
    "chunkstore.verifying": 8,
    "chunkstore.cli": 9,
    "chunkstore.shortcuts": 9,
    # The front door of the package shows what the floors below offer, and nothing comes in by it.
    "chunkstore": 10,
}

DASK_FLOORS = {
    "dask_integration.attempts": 0,
    "dask_integration.blas": 0,
    "dask_integration.chunks": 0,
    "dask_integration.factors": 0,
    "dask_integration.interrupts": 0,
    "dask_integration.kernels": 0,
    "dask_integration.labels": 0,
    "dask_integration.memory": 0,
    "dask_integration.receipts": 0,
    "dask_integration.simulate": 0,
    "dask_integration.staging": 0,
    "dask_integration.align": 1,
    "dask_integration.checkpoint": 1,
    "dask_integration.gram": 1,
    "dask_integration.krylov": 1,
    "dask_integration.passes": 1,
    "dask_integration.scaling": 1,
    "dask_integration.cuts": 1,
    "dask_integration.places": 1,
    "dask_integration.report": 1,
    "dask_integration.summaries": 1,
    "dask_integration.rechunk_plan": 1,
    "dask_integration.layers": 2,
    "dask_integration.layers.*": 2,
    "dask_integration.ledger": 2,
    "dask_integration.traffic": 2,
    "dask_integration.pictures": 3,
    "dask_integration.explain": 4,
    "dask_integration.svd_plan": 2,
    "dask_integration.bands": 3,
    "dask_integration.scaler": 3,
    "dask_integration.io": 4,
    "dask_integration.job": 3,
    "dask_integration.reading": 3,
    "dask_integration.rechunk_job": 3,
    "dask_integration.targets": 3,
    "dask_integration.writing": 3,
    "dask_integration.plink": 4,
    "dask_integration.rechunk": 4,
    "dask_integration.reductions": 4,
    "dask_integration.standardise": 4,
    "dask_integration.svd": 4,
    "dask_integration.svd_job": 4,
    "dask_integration.pca": 5,
    "dask_integration.genotypes": 5,
    "dask_integration.pca_job": 5,
    "dask_integration.xarray_encoding": 1,
    "dask_integration.xarray_regions": 1,
    "dask_integration.xarray_layout": 2,
    "dask_integration.xarray_engine": 2,
    "dask_integration.xarray_sources": 3,
    "dask_integration.xarray_replace": 5,
    "dask_integration.xarray_plan": 5,
    "dask_integration.xarray_writer": 6,
    "dask_integration.xarray_open": 6,
    # Where a job runs and what a person sees of it: used by the door and the command alone.
    "dask_integration.clusters": 6,
    "dask_integration.plot": 6,
    "dask_integration.progress": 6,
    "dask_integration": 7,
    "dask_integration.xarray": 7,
    "dask_integration.cli": 8,
    "dask_integration.cli_rechunk": 8,
}

SAME_FLOOR = {
    # Only the table sees all families of data types.
    "chunkstore.dtypes": ("chunkstore.dtypes.*",),
    "chunkstore.dtypes.table": ("chunkstore.dtypes.*",),
    "chunkstore.dtypes.*": ("chunkstore.dtypes.base",),
    "chunkstore.casting": ("chunkstore.dtypes",),
    "chunkstore.cache": ("chunkstore.errors",),
    "chunkstore.options": ("chunkstore.cache", "chunkstore.errors"),
    # Metadata documents are made of the other facts.
    "chunkstore.metadata": ("chunkstore.metadata.*", "chunkstore.keys"),
    "chunkstore.metadata.*": (
        "chunkstore.metadata.model",
        "chunkstore.dtypes",
        "chunkstore.chunk_grid",
        "chunkstore.keys",
    ),
    # Only the table, the resolver and a package's own door see all members of their folder.
    "chunkstore.codecs.table": ("chunkstore.codecs.*",),
    "chunkstore.codecs.settings": (),
    "chunkstore.codecs.base": ("chunkstore.codecs.settings",),
    "chunkstore.codecs.probing": ("chunkstore.codecs.base", "chunkstore.codecs.settings"),
    "chunkstore.codecs.chain": (
        "chunkstore.codecs.base",
        "chunkstore.codecs.probing",
        "chunkstore.codecs.settings",
    ),
    "chunkstore.codecs.*": ("chunkstore.codecs.base", "chunkstore.codecs.settings"),
    "chunkstore.stores.resolve": ("chunkstore.stores.*",),
    # What a backend is written with, in one place.
    "chunkstore.stores.backend": (
        "chunkstore.stores.base",
        "chunkstore.stores.conditional",
        "chunkstore.stores.leases",
    ),
    # Remote stores share more: hidden credentials, updates and locks made of conditional writes.
    "chunkstore.stores.conditional": ("chunkstore.stores.base", "chunkstore.stores.leases"),
    "chunkstore.stores.fsspec": (
        "chunkstore.stores.base",
        "chunkstore.stores.address",
        "chunkstore.stores.temporary",
    ),
    # Half-written files have names of one kind.
    "chunkstore.stores.local": (
        "chunkstore.stores.base",
        "chunkstore.stores.stamps",
        "chunkstore.stores.temporary",
    ),
    "chunkstore.stores.zip": ("chunkstore.stores.base", "chunkstore.stores.temporary"),
    "chunkstore.stores.obstore_client": ("chunkstore.stores.address",),
    "chunkstore.stores.obstore": (
        "chunkstore.stores.base",
        "chunkstore.stores.address",
        "chunkstore.stores.conditional",
        "chunkstore.stores.leases",
        "chunkstore.stores.obstore_client",
    ),
    "chunkstore.stores.*": ("chunkstore.stores.base",),
    "chunkstore.checks": ("chunkstore.sharding",),
    "chunkstore.layout": ("chunkstore.sharding",),
    "chunkstore.resizing": ("chunkstore.documents", "chunkstore.engine"),
    "dask_integration.rechunk_job": ("dask_integration.targets",),
    # `to_store` asks what it will hold before it begins.
    "dask_integration.io": ("dask_integration.explain",),
    "dask_integration.pca_job": ("dask_integration.genotypes", "dask_integration.pca"),
    "dask_integration.svd": ("dask_integration.svd_job",),
    "dask_integration.rechunk_plan": ("dask_integration.cuts",),
    "chunkstore.description": ("chunkstore.engine",),
    "chunkstore.group": ("chunkstore.members",),
    "chunkstore.translating": ("chunkstore.description",),
    "chunkstore.cli": ("chunkstore.shortcuts",),
    "dask_integration.job": ("dask_integration.targets", "dask_integration.writing"),
    "dask_integration.layers": ("dask_integration.layers.*",),
    "dask_integration.layers.*": ("dask_integration.layers.base",),
}

NO_ONE: tuple[str, ...] = ()
DASK_MODULES = tuple(
    name
    for name, floor in DASK_FLOORS.items()
    if floor >= 2 and not name.endswith(("xarray_engine", "xarray_layout"))
)

FOREIGN = {
    # Peers are compared with in tests and never leaned on.
    "zarr": NO_ONE,
    "tensorstore": NO_ONE,
    "zarrs": NO_ONE,
    # One store, one file.
    "fsspec": ("chunkstore.stores.fsspec",),
    "obstore": ("chunkstore.stores.obstore", "chunkstore.stores.obstore_client"),
    "zipfile": ("chunkstore.stores.zip",),
    # One compressor, one file; `codecs.numcodecs` is for those that have no file of their own.
    "numcodecs": (
        "chunkstore.codecs.blosc",
        "chunkstore.codecs.numcodecs",
        "chunkstore.codecs.numcodecs_objects",
        "chunkstore.codecs.vlen_*",
        "chunkstore.codecs.zstd",
        # The encoding of a dataset holds its codecs as objects where xarray's own backend does.
        "dask_integration.xarray_encoding",
    ),
    "numcodecs.blosc": ("chunkstore.codecs.blosc",),
    "numcodecs.zstd": ("chunkstore.codecs.zstd",),
    "numcodecs.vlen": ("chunkstore.codecs.vlen_*",),
    "zlib": ("chunkstore.codecs.gzip", "chunkstore.codecs.zlib", "chunkstore.stores.zip"),
    "gzip": ("chunkstore.codecs.gzip",),
    "bz2": ("chunkstore.codecs.bz2",),
    "lzma": ("chunkstore.codecs.lzma",),
    "google_crc32c": ("chunkstore.codecs.crc32c",),
    "ml_dtypes": ("chunkstore.dtypes.small",),
    # Block arithmetic, plans, kernels and the xarray reader work without dask.
    "dask": DASK_MODULES,
    # One folder knows how a graph is made.
    "dask._task_spec": ("dask_integration.layers.*",),
    "dask.blockwise": ("dask_integration.layers.*",),
    "dask.highlevelgraph": ("dask_integration.layers.*",),
    "dask.layers": ("dask_integration.layers.*",),
    "distributed": (
        "dask_integration.clusters",
        "dask_integration.layers.*",
        "dask_integration.progress",
    ),
    "dask_array": ("dask_integration.layers.portable",),
    "xarray": ("dask_integration.xarray", "dask_integration.xarray_*"),
    "h5py": ("dask_integration.*",),
    "bed_reader": ("dask_integration.plink",),
    # What only a person at a terminal needs.
    "rich": ("dask_integration.progress", "dask_integration.report"),
    "matplotlib": ("dask_integration.pictures", "dask_integration.plot"),
}

HOUSE = House(
    packages=("chunkstore", "dask_integration"),
    floors={**CHUNKSTORE_FLOORS, **DASK_FLOORS},
    same_floor=SAME_FLOOR,
    doors={"chunkstore": ("chunkstore", "chunkstore.errors")},
    customers={"dask_integration": ("chunkstore",)},
    foreign=FOREIGN,
)


# --- reading the sources ------------------------------------------------------------------------


@dataclass(frozen=True)
class Import:
    """One name that a module imports, or one attribute that it takes from a door."""

    target: str
    """The module imported from."""
    name: str | None
    """The name taken from it; None for the module itself."""
    line: int
    late: bool
    """True inside a function."""


def sources_of(root: Path, package: str) -> dict[str, Path]:
    """Map the dotted name of every module of a package to its source."""
    found = {}
    for path in sorted((root / package).rglob("*.py")):
        parts = list(path.relative_to(root).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(module: str, path: Path, known: Container[str]) -> Iterator[Import]:
    """Give every import of a module, however deep it stands; `known` are our own modules."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    yield from _walk(tree, package=package, known=known, late=False)
    yield from _attributes(tree, known)


def _walk(node: ast.AST, *, package: str, known: Container[str], late: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        inside = late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, None, child.lineno, late)
        elif isinstance(child, ast.ImportFrom):
            base = _absolute(child, package)
            for alias in child.names:
                whole = f"{base}.{alias.name}"
                if whole in known:
                    yield Import(whole, None, child.lineno, late)
                else:
                    yield Import(base, alias.name, child.lineno, late)
        elif isinstance(child, ast.Call) and (name := _imported_by_call(child)) is not None:
            yield Import(name, None, child.lineno, late)
        yield from _walk(child, package=package, known=known, late=inside)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if node.level == 0:
        return node.module or ""
    parts = package.split(".")
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)


def _imported_by_call(call: ast.Call) -> str | None:
    """Give the module that a call such as ``import_module("a.b")`` imports."""
    function = call.func.attr if isinstance(call.func, ast.Attribute) else call.func
    if isinstance(function, ast.Name):
        function = function.id
    if function not in ("import_module", "__import__") or not call.args:
        return None
    name = call.args[0]
    return name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else None


def _attributes(tree: ast.AST, known: Container[str]) -> Iterator[Import]:
    """Give the names taken from imported modules with a dot, as in ``cs.errors.CodecError``."""
    bound: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                if f"{node.module}.{alias.name}" in known:
                    bound[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (base := _dotted(node.value, bound)) in known:
            whole = f"{base}.{node.attr}"
            if whole in known:
                yield Import(whole, None, node.lineno, late=False)
            else:
                yield Import(str(base), node.attr, node.lineno, late=False)


def _dotted(node: ast.expr, bound: Mapping[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return bound.get(node.id)
    if isinstance(node, ast.Attribute) and (base := _dotted(node.value, bound)) is not None:
        return f"{base}.{node.attr}"
    return None


def public_names(path: Path) -> set[str]:
    """Read the literal ``__all__`` of a source."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            assert isinstance(node, ast.Assign)
            return set(ast.literal_eval(node.value))
    return set()


# --- the rules ----------------------------------------------------------------------------------


def violations(root: Path, house: House) -> list[str]:
    """List everything that breaks the rules of the house, one sentence each."""
    sources: dict[str, Path] = {}
    for package in house.packages:
        sources |= sources_of(root, package)
    # A compiled module has a floor and no source.
    known = {*sources, *house.floors}
    broken = []
    for module, path in sources.items():
        if _floor(module, house) is None:
            broken.append(f"{module}: has no floor; put it on a floor in tests/test_floors.py")
        for found in imports_of(module, path, known):
            reason = _own(module, found, house) or _foreign(module, found, house)
            if reason is None:
                reason = _not_public(module, found, house, sources)
            if reason is not None:
                broken.append(f"{path.relative_to(root)}:{found.line}: {module} {reason}")
    # `from a import b, c` breaks the same rule twice on one line.
    return list(dict.fromkeys(broken))


def _own(module: str, found: Import, house: House) -> str | None:
    """Say what is wrong with an import of one of our own modules."""
    home, there = module.partition(".")[0], found.target.partition(".")[0]
    if there not in house.packages or found.target == module:
        return None
    if found.late:
        return f"imports {found.target} late; our own modules are imported at the top"
    if home != there:
        if there in house.customers.get(home, ()):
            return None
        return f"imports {found.target}; {home} knows nothing of {there}"
    here, target = _floor(module, house), _floor(found.target, house)
    if here is None or target is None or target < here:
        return None
    if target == here and _matches(found.target, _first(module, house.same_floor) or ()):
        return None
    return f"(floor {here}) imports {found.target} (floor {target}); lower floors only"


def _not_public(
    module: str, found: Import, house: House, sources: Mapping[str, Path]
) -> str | None:
    """Say what is wrong with what a module takes from another of our packages."""
    home, there = module.partition(".")[0], found.target.partition(".")[0]
    if there == home or there not in house.doors:
        return None
    if found.target not in house.doors[there] or found.target not in sources:
        return f"imports {found.target}, which is not public"
    # Names such as __version__ are public by Python's own convention.
    public = found.name is None or re.fullmatch("__.*__", found.name)
    if not public and found.name not in public_names(sources[found.target]):
        return f"uses {found.target}.{found.name}, which is not in its __all__"
    return None


def _foreign(module: str, found: Import, house: House) -> str | None:
    """Say what is wrong with an import of somebody else's library."""
    whole = f"{found.target}.{found.name}" if found.name else found.target
    for library, allowed in house.foreign.items():
        if f"{whole}.".startswith(f"{library}.") and not _matches(module, allowed):
            return f"imports {library}; FOREIGN in tests/test_floors.py says which modules may"
    return None


def _floor(module: str, house: House) -> float | None:
    return _first(module, house.floors)


def _first(module: str, table: Mapping[str, T]) -> T | None:
    """Look a module up by its own name, then by pattern in the order of the table."""
    if module in table:
        return table[module]
    return next((value for pattern, value in table.items() if fnmatchcase(module, pattern)), None)


def _matches(module: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(module, pattern) for pattern in patterns)


# --- the tests ----------------------------------------------------------------------------------


def test_house_keeps_its_floors() -> None:
    """No module of the two packages breaks a rule of the tables."""
    broken = violations(ROOT, HOUSE)
    if broken:
        pytest.fail("\n".join(broken), pytrace=False)


@pytest.mark.parametrize("package", HOUSE.packages)
def test_docstrings_say_the_floor(package: str) -> None:
    """Where a module's docstring names its floor, the tables say the same."""
    wrong = {}
    for module, path in sources_of(ROOT, package).items():
        said = re.search(
            r"\bFloor (\d+(?:\.\d+)?)", ast.get_docstring(ast.parse(path.read_bytes())) or ""
        )
        if said and float(said[1]) != _floor(module, HOUSE):
            wrong[module] = f"says {said[0]}, the table {_floor(module, HOUSE)}"
    assert wrong == {}


@pytest.mark.parametrize("package", HOUSE.packages)
def test_sources_are_seen(package: str) -> None:
    """The checker reads the real packages, each with its front door."""
    assert package in sources_of(ROOT, package)


def test_same_floor_permits_no_circle() -> None:
    """Two modules of a floor are never both allowed to import each other."""
    named = [name for name in HOUSE.floors if "*" not in name]
    named += [name for p in HOUSE.packages for name in sources_of(ROOT, p)]

    def may(importer: str, target: str) -> bool:
        return _matches(target, _first(importer, HOUSE.same_floor) or ())

    circles = {
        tuple(sorted((a, b))) for a in named for b in named if a != b and may(a, b) and may(b, a)
    }
    assert not circles


EMPTY = dict.fromkeys(
    (
        "chunkstore/codecs/base.py",
        "chunkstore/codecs/gzip.py",
        "chunkstore/codecs/zstd.py",
        "chunkstore/stores/base.py",
        "chunkstore/engine.py",
        "dask_integration/align.py",
        "dask_integration/svd.py",
    ),
    "",
) | {
    "chunkstore/__init__.py": "__all__ = ['Array']",
    "chunkstore/errors.py": "__all__ = ['CodecError']",
}


def check(folder: Path, sources: Mapping[str, str]) -> list[str]:
    """Build a small house with these sources in it and list what breaks the rules."""
    for name, text in {**EMPTY, **sources}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return violations(folder, HOUSE)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("chunkstore/engine.py", "from chunkstore.codecs import gzip\nimport chunkstore.errors"),
        (
            "chunkstore/engine.py",
            "try:\n    from chunkstore import _kernel\nexcept ImportError: ...",
        ),
        ("chunkstore/codecs/zstd.py", "from numcodecs import zstd\nfrom .base import x"),
        ("chunkstore/codecs/table.py", "from chunkstore.codecs import gzip, zstd"),
        ("chunkstore/stores/fsspec.py", "def f():\n    import fsspec"),
        ("chunkstore/cli.py", "import chunkstore.engine\nchunkstore.engine.run"),
        ("dask_integration/report.py", "def f():\n    import rich.table"),
        ("dask_integration/svd.py", "import chunkstore as cs\ncs.Array\ncs.errors.CodecError"),
        ("dask_integration/svd.py", "import chunkstore\nchunkstore.__version__"),
        ("dask_integration/svd.py", "import dask.array\nfrom dask_integration import align"),
        ("dask_integration/svd.py", "from chunkstore import Array, errors\nerrors.CodecError"),
    ],
)
def test_what_the_rules_allow(tmp_path: Path, path: str, text: str) -> None:
    """Imports that the drawing allows pass."""
    assert check(tmp_path, {path: text}) == []


@pytest.mark.parametrize(
    ("path", "text", "complaint"),
    [
        ("chunkstore/spare.py", "", "chunkstore.spare: has no floor"),
        ("chunkstore/errors.py", "import chunkstore.engine", "errors.py:1: .* lower floors only"),
        ("chunkstore/errors.py", "from . import engine", "(floor 0) imports chunkstore.engine"),
        ("chunkstore/errors.py", "from .codecs.base import x", "imports chunkstore.codecs.base"),
        ("chunkstore/engine.py", "from chunkstore import Array", "(floor 5) imports chunkstore "),
        ("chunkstore/engine.py", "import chunkstore as c\nc.Array", "imports chunkstore "),
        ("chunkstore/engine.py", "def f():\n    from chunkstore import errors", "errors late"),
        ("chunkstore/engine.py", "f = lambda: __import__('chunkstore.errors')", "errors late"),
        (
            "chunkstore/engine.py",
            "import importlib\ndef f():\n    importlib.import_module('chunkstore.errors')",
            "errors late",
        ),
        (
            "chunkstore/errors.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import chunkstore.engine",
            "errors.py:3: ",
        ),
        (
            "chunkstore/codecs/zstd.py",
            "from chunkstore.codecs import gzip",
            "codecs.gzip (floor 2)",
        ),
        ("chunkstore/codecs/zstd.py", "import chunkstore.stores.base", "stores.base (floor 2)"),
        ("chunkstore/codecs/zstd.py", "import chunkstore.codecs", "chunkstore.codecs (floor 2)"),
        ("chunkstore/codecs/base.py", "from chunkstore.codecs import zstd", "zstd (floor 2)"),
        ("chunkstore/codecs/gzip.py", "from numcodecs import zstd", "imports numcodecs"),
        (
            "chunkstore/codecs/base.py",
            "import google_crc32c",
            "imports google_crc32c",
        ),
        ("chunkstore/engine.py", "def f():\n    import fsspec.core", "imports fsspec"),
        ("chunkstore/engine.py", "import dask_integration.svd", "chunkstore knows nothing of"),
        ("chunkstore/engine.py", "import dask", "imports dask"),
        ("chunkstore/engine.py", "import zarr", "imports zarr; FOREIGN"),
        ("dask_integration/align.py", "import dask.array as da", "imports dask"),
        ("dask_integration/svd.py", "from dask.highlevelgraph import Layer", "dask.highlevelgraph"),
        ("dask_integration/svd.py", "from chunkstore import engine", "engine, which is not public"),
        ("dask_integration/svd.py", "from chunkstore.engine import read", "which is not public"),
        ("dask_integration/svd.py", "from chunkstore import Engine", "not in its __all__"),
        ("dask_integration/svd.py", "from chunkstore.errors import _x", "errors._x, which is not"),
        ("dask_integration/svd.py", "from chunkstore import *", r"chunkstore.\*, which is not"),
        ("dask_integration/svd.py", "import chunkstore as cs\ncs._secret", "svd.py:2: "),
        ("dask_integration/svd.py", "import chunkstore\nchunkstore.errors.No", "errors.No, which"),
        ("dask_integration/align.py", "import dask_integration.svd", "lower floors only"),
    ],
)
def test_what_the_rules_refuse(tmp_path: Path, path: str, text: str, complaint: str) -> None:
    """Each kind of breach is found, and the complaint names it."""
    broken = check(tmp_path, {path: text})
    assert broken, "nothing was found"
    assert re.search(complaint.replace("(", r"\(").replace(")", r"\)"), "\n".join(broken))
