"""The picture of a run: for each row a line of dots, one a contender, on a logarithmic scale."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.harness import OURS, Outcome, Result

__all__ = ["draw"]

COLOURS = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#8c564b", "#7f7f7f", "#bcbd22",
    "#9467bd", "#17becf",
)  # fmt: skip
"""Colours that most people tell apart (Okabe and Ito's first)."""
OURS_COLOUR = "#d55e00"


def draw(outcomes: Sequence[Outcome], title: str, path: Path) -> bool:
    """Draw each contender's figure as times ours, right is worse; says whether it was drawn.

    A line through a dot joins its best and its worst round. The vertical line is ours.
    """
    shown = [o for o in outcomes if o.ours is not None]
    if importlib.util.find_spec("matplotlib") is None or not shown:
        return False
    from matplotlib.figure import Figure

    picture = Figure(figsize=(11, 1.8 + 0.36 * len(shown)), layout="constrained")
    axes = picture.subplots()
    _bands(axes, shown)
    _dots(axes, shown)
    axes.axvline(1, color=OURS_COLOUR, linewidth=1.5, zorder=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(shown)), [f"{o.topic}: {o.name}" for o in shown], fontsize=8)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}×" if _is_marked(value) else "")
    axes.tick_params(axis="x", which="both", labelsize=8)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", which="major", color="#cccccc", linewidth=0.8, zorder=0)
    axes.grid(axis="x", which="minor", color="#e8e8e8", linewidth=0.5, zorder=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xlabel(f"as a multiple of {OURS}'s figure: right of the line {OURS} is better")
    picture.suptitle(title.splitlines()[0], fontsize=9, color="#444444")
    picture.legend(loc="outside lower center", ncols=7, frameon=False, fontsize=8)
    picture.savefig(path, dpi=130)
    return True


def _bands(axes: Any, outcomes: Sequence[Outcome]) -> None:
    """Shade every other row, and part the topics by a line."""
    for y, outcome in enumerate(outcomes):
        if y % 2:
            axes.axhspan(y - 0.5, y + 0.5, color="#f6f6f6", linewidth=0, zorder=-1)
        if y and outcome.topic != outcomes[y - 1].topic:
            axes.axhline(y - 0.5, color="#aaaaaa", linewidth=0.8, zorder=0)


def _dots(axes: Any, outcomes: Sequence[Outcome]) -> None:
    """Put the dots, one colour a contender, each a little higher or lower than the others."""
    names = dict.fromkeys(r.name for o in outcomes for r in o.results if r.kind == "peer")
    peers = [OURS, *(name for name in names if name != OURS)]
    for place, name in enumerate(peers):
        ours = name == OURS
        colour = OURS_COLOUR if ours else COLOURS[(place - 1) % len(COLOURS)]
        points = _points(outcomes, lambda r, name=name: r.kind == "peer" and r.name == name)
        if not points:
            continue
        shift = 0 if ours else 0.22 * ((place % 5) - 2) / 2
        y, x, low, high = zip(*points, strict=True)
        heights = [row + shift for row in y]
        axes.hlines(heights, low, high, color=colour, linewidth=1, alpha=0.5, zorder=2)
        axes.scatter(
            x, heights, s=70 if ours else 36, color=colour, marker="D" if ours else "o",
            label=name, zorder=4 if ours else 3, edgecolor="white", linewidth=0.5,
        )  # fmt: skip
    limits = _points(outcomes, lambda r: r.kind == "limit")
    if limits:
        y, x, _, _ = zip(*limits, strict=True)
        axes.scatter(x, y, s=24, color="#888888", marker="x", label="limits", zorder=2)


def _points(
    outcomes: Sequence[Outcome], wanted: Callable[[Result], bool]
) -> list[tuple[int, float, float, float]]:
    """Give row, median, best and worst round of some results, as multiples of ours."""
    found = []
    for y, outcome in enumerate(outcomes):
        ours = outcome.ours
        for result in outcome.results:
            if ours is not None and ours.median and result.is_measured and wanted(result):
                values = (result.median, min(result.values), max(result.values))
                median, low, high = (value / ours.median for value in values)
                if median:
                    found.append((y, median, low, high))
    return found


def _is_marked(value: float) -> bool:
    """Say whether a minor tick is a 2 or a 5 before or after a power of ten."""
    return f"{value:e}"[0] in "25"
