"""The picture of a run: for each row a line of dots, one a contender, on a logarithmic scale."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.harness import OURS, Outcome

__all__ = ["draw"]

COLOURS = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#8c564b", "#7f7f7f", "#bcbd22",
    "#9467bd", "#17becf",
)  # fmt: skip
"""Colours that most people tell apart (Okabe and Ito's first)."""


def draw(outcomes: Sequence[Outcome], title: str, path: Path) -> bool:
    """Draw each contender's figure as times ours, right is worse; says whether it was drawn.

    A line beside a dot joins its best and worst round. The vertical line is ours.
    """
    shown = [o for o in outcomes if o.ours is not None]
    if importlib.util.find_spec("matplotlib") is None or not shown:
        return False
    from matplotlib.figure import Figure

    picture = Figure(figsize=(11, 1.8 + 0.42 * len(shown)), layout="constrained")
    axes = picture.subplots()
    _dots(axes, shown)
    axes.axvline(1, color="#d55e00", linewidth=2, zorder=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(shown)), [_label(outcome) for outcome in shown], fontsize=8)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}×")
    axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}×" if _is_marked(value) else "")
    axes.tick_params(axis="x", which="both", labelsize=8)
    axes.grid(axis="x", which="both", color="#dddddd", linewidth=0.6, zorder=0)
    axes.grid(axis="y", color="#eeeeee", linewidth=0.6, zorder=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xlabel(f"as a multiple of {OURS}'s figure: right of the line {OURS} is better")
    axes.set_title(title.splitlines()[0], fontsize=8, loc="left", color="#444444")
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1.01 + 0.35 / len(shown)), ncols=6, frameon=False,
        fontsize=8,
    )  # fmt: skip
    picture.savefig(path, dpi=130)
    return True


def _dots(axes: Any, outcomes: Sequence[Outcome]) -> None:
    """Put the dots, one colour a contender; limits are small crosses in grey."""
    peers = list(dict.fromkeys(r.name for o in outcomes for r in o.results if r.kind == "peer"))
    peers = [OURS, *(name for name in peers if name != OURS)]
    for name in peers:
        ours = name == OURS
        colour = "#d55e00" if ours else COLOURS[(peers.index(name) - 1) % len(COLOURS)]
        points = _points(outcomes, name)
        if points:
            y, x = zip(*points, strict=True)
            axes.scatter(
                x, y, s=90 if ours else 42, color=colour, marker="D" if ours else "o", label=name,
                zorder=4 if ours else 3, edgecolor="white", linewidth=0.6,
            )  # fmt: skip
    crosses = [
        (y, ratio)
        for y, outcome in enumerate(outcomes)
        for result in outcome.results
        if result.kind == "limit" and (ratio := outcome.ratio(result)) is not None
    ]
    if crosses:
        y, x = zip(*crosses, strict=True)
        axes.scatter(x, y, s=28, color="#999999", marker="x", label="limits", zorder=2)


def _points(outcomes: Sequence[Outcome], name: str) -> list[tuple[int, float]]:
    return [
        (y, ratio)
        for y, outcome in enumerate(outcomes)
        for result in outcome.results
        if result.name == name and (ratio := outcome.ratio(result)) is not None
    ]


def _label(outcome: Outcome) -> str:
    return f"{outcome.topic}: {outcome.name}"


def _is_marked(value: float) -> bool:
    """Say whether a minor tick is a 2 or a 5 before or after a power of ten."""
    return f"{value:e}"[0] in "25"
