"""Pictures of a principal component analysis.

Floor 6. It draws to files, never to a screen, and leaves the settings of other figures alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_integration.pictures import figure_class
from dask_integration.staging import staged_file

__all__ = ["require_plotting", "scree_and_scatter"]

# The colours of Okabe and Ito (2008, "Color Universal Design") without black and with their yellow
# darkened to stand out on white: they stay apart for readers with any common colour blindness.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#B8A700")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_UNLABELLED = "#9A9A9A"
_INK = "#333333"
_GRID = "#E6E6E6"
_DOTS_PER_INCH = 200
_LEGEND_ROWS = 22
_LAYERS = 8


def require_plotting() -> None:
    """Raise `MissingExtraError` if matplotlib is not installed; for a check before the work."""
    figure_class()


def scree_and_scatter(
    path: Path,
    scores: NDArray[np.floating[Any]],
    *,
    explained: Sequence[float],
    labels: Sequence[str | None] | None = None,
    title: str = "",
) -> None:
    """Draw shares of variance, and the samples in the plane of the first two components.

    Parameters
    ----------
    path : Path
        The file; its ending chooses the format: PNG, PDF or SVG. An older file is replaced as a
        whole.
    scores : numpy.ndarray, shape (n_samples, k), k >= 2
        Coordinates of the samples.
    explained : sequence of float
        Share of variance of each component, from 0 to 1.
    labels : sequence of str or None, length n_samples, optional
        Population of each sample: one colour and marker each. None is drawn in grey.
    title : str
        Stands above the picture.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    StoreError
        If the file cannot be written.

    Notes
    -----
    Both axes of the plane have the same scale, so that distances in the picture are distances in
    the plane.
    Signs of components are arbitrary: a mirrored picture shows the same result.
    """
    # A Figure made without pyplot draws with Agg and is in no list of open figures.
    figure = figure_class()(figsize=(11.2, 6.2), dpi=_DOTS_PER_INCH, layout="constrained")
    grid = figure.add_gridspec(1, 2, width_ratios=(1, 2.6))
    _draw_scree(figure.add_subplot(grid[0]), explained)
    axes = figure.add_subplot(grid[1])
    plane = np.asarray(scores)[:, :2]
    groups = _groups(labels, len(plane))
    n_labelled = len(groups) - (None in groups)
    for name, members, style in _styled(groups):
        label = _legend_text(name, members, n_labelled)
        # In layers, so that where groups overlap none of them hides the others.
        for layer in range(min(_LAYERS, len(members))):
            axes.scatter(*plane[members[layer::_LAYERS]].T, **style, label=label, zorder=3 + layer)
            label = ""
    _dress_plane(axes, explained)
    if title:
        figure.suptitle(title, color=_INK, fontsize=12, x=0.01, ha="left")
    if n_labelled:
        axes.legend(
            loc="center left",
            bbox_to_anchor=(1.01, 0.5),
            ncols=-(-len(groups) // _LEGEND_ROWS),
            frameon=False,
            labelcolor=_INK,
            fontsize=10,
            handletextpad=0.2,
            markerscale=1.4,
        )
    with staged_file(path) as file:
        figure.savefig(file)


def _locator(*, integer: bool = False) -> Any:
    """Give round tick positions, the same distance apart on two axes of like extent."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=6, steps=[1, 2, 5, 10], integer=integer)


def _groups(labels: Sequence[str | None] | None, n: int) -> dict[str | None, NDArray[np.intp]]:
    """Give the sample numbers of each label, unlabelled ones first, then by name."""
    labels = labels or [None] * n
    members: dict[str | None, list[int]] = {}
    for sample, label in enumerate(labels):
        members.setdefault(label, []).append(sample)
    order = sorted(members, key=lambda name: (name is not None, name or ""))
    return {name: np.array(members[name], np.intp) for name in order}


def _styled(
    groups: dict[str | None, NDArray[np.intp]],
) -> list[tuple[str | None, NDArray[np.intp], dict[str, Any]]]:
    """Give each group its looks: neighbours in the list differ in both colour and marker."""
    styled = []
    number = 0
    for name, members in groups.items():
        colour, marker = _UNLABELLED if len(groups) > 1 else _COLOURS[0], "o"
        if name is not None:
            # The step through the markers shifts by one with each round of the colours, so that
            # the first 49 groups all differ.
            colour = _COLOURS[number % len(_COLOURS)]
            marker = _MARKERS[(number + number // len(_COLOURS)) % len(_MARKERS)]
            number += 1
        style = {
            "color": colour,
            "marker": marker,
            "s": 24,
            "alpha": 0.75,
            "linewidths": 0.4,
            "edgecolors": "white",
        }
        styled.append((name, members, style))
    return styled


def _legend_text(name: str | None, members: NDArray[np.intp], n_labelled: int) -> str:
    if name is None and not n_labelled:
        return ""
    # matplotlib leaves texts that begin with "_" out of the legend.
    shown = "no label" if name is None else name.lstrip("_") or name.replace("_", "-")
    return f"{shown} ({len(members)})"


def _draw_scree(axes: Any, explained: Sequence[float]) -> None:
    """Draw the share of variance of each component: where it levels off, structure ends."""
    numbers, shares = range(1, len(explained) + 1), [100 * share for share in explained]
    axes.plot(
        numbers, shares, color=_COLOURS[0], linewidth=1.2, marker="o", markersize=4.5, zorder=3
    )
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(_locator(integer=True))
    axes.set_xlabel("component", color=_INK, fontsize=11)
    axes.set_ylabel("share of variance (%)", color=_INK, fontsize=11)
    _dress(axes)


def _dress_plane(axes: Any, explained: Sequence[float]) -> None:
    """Label the axes of the plane, and give both the same scale."""
    axes.set_aspect("equal", adjustable="datalim")
    for number, (axis, share) in enumerate(
        zip((axes.xaxis, axes.yaxis), explained, strict=False), start=1
    ):
        axis.set_major_locator(_locator())
        axis.set_label_text(f"PC{number} ({share:.1%} of variance)", color=_INK, fontsize=11)
    _dress(axes)


def _dress(axes: Any) -> None:
    """Take away what carries no information."""
    axes.grid(True, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK, labelsize=9, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
