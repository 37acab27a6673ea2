"""Pictures of components: every sample is drawn, every group can be told from the others."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from chunkstore.errors import MissingExtraError, StoreError
from dask_integration import plot
from dask_integration.plot import scree_and_scatter

pytest.importorskip("matplotlib", reason="needs matplotlib")
from matplotlib.figure import Figure

SCORES = np.random.default_rng(0).standard_normal((40, 3)) * (30, 8, 1)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Collect the figures that are drawn."""
    drawn: list[Figure] = []

    def make(**options: object) -> Figure:
        drawn.append(Figure(**options))
        return drawn[-1]

    monkeypatch.setattr(plot, "figure_class", lambda: make)
    return drawn


def legend(figure: Figure) -> list[str]:
    box = figure.axes[1].get_legend()
    return [] if box is None else [text.get_text() for text in box.get_texts()]


def test_every_sample_is_drawn_once(tmp_path: Path, figures: list[Figure]) -> None:
    """The points in the picture are the first two columns of the scores."""
    labels = ["b", None, "a", "c"] * 10
    scree_and_scatter(tmp_path / "x.png", SCORES, explained=[0.5, 0.25], labels=labels)
    axes = figures[0].axes[1]
    points = np.concatenate([group.get_offsets() for group in axes.collections])
    assert sorted(map(tuple, points)) == sorted(map(tuple, SCORES[:, :2]))


def test_the_axes_say_what_they_are(tmp_path: Path, figures: list[Figure]) -> None:
    """Component and share of variance stand at each axis, and both have one scale."""
    scree_and_scatter(tmp_path / "x.png", SCORES, explained=[0.5, 0.0213], title="forty")
    axes = figures[0].axes[1]
    assert axes.get_xlabel() == "PC1 (50.0% of variance)"
    assert axes.get_ylabel() == "PC2 (2.1% of variance)"
    assert figures[0].get_suptitle() == "forty"
    assert axes.get_aspect() == 1
    assert legend(figures[0]) == []


def test_the_scree_shows_every_share(tmp_path: Path, figures: list[Figure]) -> None:
    """One point a component, in per cent, numbered from 1."""
    scree_and_scatter(tmp_path / "x.png", SCORES, explained=[0.5, 0.25, 0.125])
    (line,) = figures[0].axes[0].get_lines()
    np.testing.assert_allclose(line.get_xydata(), [[1, 50], [2, 25], [3, 12.5]])


def test_the_legend_names_each_group_once(tmp_path: Path, figures: list[Figure]) -> None:
    """In order of names, with counts; samples without a label come first."""
    labels = ["b", "_a", None, "b"] * 10
    scree_and_scatter(tmp_path / "x.png", SCORES, explained=[0.5, 0.2], labels=labels)
    assert legend(figures[0]) == ["no label (10)", "a (10)", "b (20)"]


def test_many_groups_all_look_different(tmp_path: Path, figures: list[Figure]) -> None:
    """Forty groups have forty pairs of colour and marker."""
    labels = [f"{n:02d}" for n in range(40)]
    scree_and_scatter(tmp_path / "x.png", SCORES, explained=[0.5, 0.2], labels=labels)
    looks = {
        (tuple(group.get_facecolor()[0]), group.get_paths()[0].vertices.tobytes())
        for group in figures[0].axes[1].collections
    }
    assert len(looks) == 40


@pytest.mark.parametrize(
    ("suffix", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")]
)
def test_the_ending_chooses_the_format(tmp_path: Path, suffix: str, start: bytes) -> None:
    """PNG, PDF and SVG are written as such."""
    path = tmp_path / f"x.{suffix}"
    scree_and_scatter(path, SCORES, explained=[0.5, 0.2])
    assert path.read_bytes().startswith(start)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_picture_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """The path is in the message, and an older picture is still there."""
    with pytest.raises(StoreError, match=r"cannot write .*x\.png"):
        scree_and_scatter(tmp_path / "no" / "x.png", SCORES, explained=[0.5, 0.2])


def test_without_matplotlib_the_pip_command_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be asked for before any work is done."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"chunkstore\[cli\]"):
        plot.require_plotting()
