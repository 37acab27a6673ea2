"""What a run of benchmarks leaves: tables on the terminal and in Markdown, JSON, a picture."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.harness import OURS, Outcome, Result
from tests.benchmarks.picture import draw

__all__ = ["Run", "Table", "details", "figure", "show", "summary"]

LIBRARIES = (
    "numpy", "numcodecs", "zarr", "zarrs", "tensorstore", "h5py", "hdf5plugin", "blosc2", "dask",
    "distributed", "xarray", "cubed", "dask-ml", "scikit-learn", "scikit-allel", "obstore", "s3fs",
)  # fmt: skip


@dataclass(frozen=True)
class Table:
    """Text in rows and columns; the first column is left-aligned, the others right."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def plain(self) -> str:
        """Align it with spaces."""
        lines = [self.header, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.header))]
        aligned = [
            "  ".join(
                cell.ljust(width) if i in (0, len(widths) - 1) else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join([self.title, *(f"  {line}" for line in aligned), ""])

    def markdown(self) -> str:
        """Write it as a Markdown table."""
        ends = {0, len(self.header) - 1}
        marks = ["---" if i in ends else "---:" for i in range(len(self.header))]
        lines = [self.header, marks, *self.rows]
        text = "\n".join(f"| {' | '.join(c.replace('|', '/') for c in line)} |" for line in lines)
        return f"### {self.title}\n\n{text}\n"


def show(table: Table) -> None:
    """Print a table, with colours and rules where rich is installed and the output a terminal."""
    if importlib.util.find_spec("rich") is None or not sys.stdout.isatty():
        print(table.plain(), flush=True)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(title=Text(table.title, "bold"), title_justify="left", box=box.SIMPLE_HEAD)
    for i, name in enumerate(table.header):
        drawn.add_column(name, justify="left" if i in (0, len(table.header) - 1) else "right")
    for line in table.rows:
        style = "bold green" if line[0] == OURS else ""
        drawn.add_row(*(Text(cell) for cell in line), style=style)
    Console().print(drawn)


def figure(value: float | None, unit: str) -> str:
    """Write a figure with three digits and a unit that suits its size.

    Examples
    --------
    >>> figure(0.00001234, "s"), figure(3 << 20, "B"), figure(0.5, ""), figure(None, "s")
    ('12.3 µs', '3 MiB', '0.5', '')
    """
    if value is None:
        return ""
    scales: dict[str, list[tuple[float, str]]] = {
        "s": [(1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")],
        "B": [(2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B")],
    }
    size, name = next((s for s in scales.get(unit, []) if abs(value) >= s[0]), (1.0, unit))
    scaled = value / size
    digits = max(0, 2 - math.floor(math.log10(abs(scaled)))) if scaled else 0
    number = f"{scaled:.{min(digits, 9)}f}"
    if "." in number:
        number = number.rstrip("0").rstrip(".")
    return f"{number} {name}".rstrip()


def details(outcome: Outcome) -> Table:
    """Give a table of all contenders of a row, ours first, then peers by figure, then limits."""

    def place(result: Result) -> tuple[bool, bool, bool, float]:
        measured = result.is_measured
        return (
            result.name != OURS, result.kind == "limit", not measured,
            result.median if measured else 0.0,
        )  # fmt: skip

    lines = []
    for result in sorted(outcome.results, key=place):
        name = f"limit: {result.name}" if result.kind == "limit" else result.name
        if result.is_measured:
            lines.append([name, *_figures(outcome, result), result.note])
        else:
            lines.append([name, *[""] * 7, f"{result.state}: {result.note}"])
    header = ["", "median", "min – max", "ours is", "at best", "in one round", "CPU", "memory", ""]
    return Table(f"{outcome.topic}: {outcome.name} ({outcome.what})", header, lines)


def _figures(outcome: Outcome, result: Result) -> list[str]:
    """Give the cells of one contender that was measured."""
    ratios = ["", "", ""]
    bounds = outcome.ratio_range(result)
    if result.name != OURS and bounds is not None:
        ratios = [
            _times(outcome.ratio(result)),
            _times(outcome.ratio(result, min)),
            f"{bounds[0]:.2f} – {bounds[1]:.2f}",
        ]
    ends = [figure(value, outcome.unit) for value in (min(result.values), max(result.values))]
    return [
        figure(result.median, outcome.unit),
        " – ".join(ends),
        *ratios,
        figure(statistics.median(result.cpu_s) or None, "s"),
        figure(result.memory_bytes, "B"),
    ]


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}×"


def summary(outcomes: Sequence[Outcome]) -> Table:
    """Give a table of one line for each row: ours, the best peer, and the figures to reach."""
    lines = []
    for outcome in outcomes:
        ours, best = outcome.ours, outcome.best_peer
        goals = [
            "" if outcome.goal is None else f"≥ {outcome.goal:g}×",
            "" if outcome.at_most is None else f"≤ {figure(outcome.at_most, outcome.unit)}",
        ]
        shortfalls = outcome.shortfalls()
        has_goal = any(goals) or outcome.memory_at_most is not None or ours is None
        lines.append([
            f"{outcome.topic}: {outcome.name}",
            "" if ours is None else figure(ours.median, outcome.unit),
            "" if best is None else f"{best.name} {figure(best.median, outcome.unit)}",
            _times(outcome.ratio(best)),
            _times(outcome.ratio(best, min)),
            _times(outcome.cpu_ratio(best)),
            " ".join(filter(None, goals)),
            "" if ours is None else figure(ours.memory_bytes, "B"),
            ("; ".join(shortfalls) or "reached") if has_goal else "",
        ])  # fmt: skip
    header = [
        "row",
        "ours",
        "best peer",
        "ours is",
        "at best",
        "by CPU",
        "figure to reach",
        "memory",
        "",
    ]
    title = "Summary: ours as multiples of the best peer, by medians, best rounds, CPU time"
    return Table(title, header, lines)


@dataclass
class Run:
    """One run: where, when, with what, and what came of it."""

    scale: str
    started: str
    machine: dict[str, Any]
    versions: dict[str, str]
    missing: list[str]
    load_before: float
    outcomes: list[Outcome] = field(default_factory=list)
    load_after: float = 0.0

    @classmethod
    def begun(cls, scale: str, folder: Path) -> Run:
        """Note the machine and the libraries before anything is measured."""
        versions, missing = {}, []
        for name in LIBRARIES:
            try:
                versions[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                missing.append(name)
        return cls(
            scale, datetime.now(UTC).isoformat(timespec="seconds"), _machine(folder), versions,
            missing, _load(),
        )  # fmt: skip

    def add(self, outcome: Outcome) -> None:
        """Take the outcome of a row."""
        self.outcomes.append(outcome)
        self.load_after = _load()

    def headline(self) -> str:
        """Say what is measured, on what, and which libraries are not there."""
        machine = self.machine
        lines = [
            f"{self.scale} run on {machine['cpus']} processors ({machine['processor']}), "
            f"Python {machine['python']}, data on {machine['file_system']}",
            ", ".join(f"{name} {version}" for name, version in self.versions.items()),
        ]
        if machine["kernel"] is None:
            lines.append("chunkstore's compiled batch path is not built: pure Python is measured")
        if self.missing:
            lines.append(f"not installed: {', '.join(self.missing)}")
        if sys.version_info < (3, 12):
            lines.append("The newest zarr and dask need Python 3.12: these are older ones.")
        return "\n".join(lines) + "\n"

    def noise_line(self) -> str:
        """Say how steady the machine was."""
        seconds = [s for outcome in self.outcomes for s in outcome.noise]
        if not seconds:
            return "Noise: nothing was measured"
        middle = statistics.median(seconds)
        return (
            f"Noise: a fixed loop took {figure(middle, 's')} (median), "
            f"{min(seconds) / middle:.2f} to {max(seconds) / middle:.2f} times that; "
            f"load average {self.load_before:.1f} before, {self.load_after:.1f} after "
            f"(this run's own included)"
        )

    def write(self, folder: Path) -> list[Path]:
        """Write JSON, Markdown and the picture; gives their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"bench.{suffix}" for suffix in ("json", "md")]
        paths[0].write_text(json.dumps(asdict(self), indent=1) + "\n")
        tables = [summary(self.outcomes), *map(details, self.outcomes)]
        text = "\n".join(
            ["# Benchmarks\n", self.headline(), self.noise_line() + "\n",
             *(table.markdown() for table in tables)]
        )  # fmt: skip
        paths[1].write_text(text)
        picture = folder / "bench.png"
        return [*paths, picture] if draw(self.outcomes, self.headline(), picture) else paths


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan


def _machine(folder: Path) -> dict[str, Any]:
    from tests.benchmarks.harness import Scale

    return {
        "cpus": Scale(folder).cpus,
        "processor": _processor(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "file_system": _file_system(folder),
        "kernel": getattr(importlib.util.find_spec("chunkstore._kernel"), "origin", None),
    }


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        for line in facts.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _file_system(folder: Path) -> str:
    """Give the type of the file system of a folder, where the system tells."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return "an unknown file system"
    found = [line.split()[1:3] for line in mounts.read_text().splitlines()]
    over = [pair for pair in found if folder.is_relative_to(pair[0])]
    return max(over, key=lambda pair: len(pair[0]))[1] if over else "an unknown file system"
