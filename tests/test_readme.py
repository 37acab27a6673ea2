"""The README's examples run as they stand, one after the other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_python_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python block runs in a folder of its own, and the results agree with each other."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) >= 3
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    u, s, v, y = (names[name] for name in "usvy")
    assert u.shape == (600, 20)
    assert s.shape == (20,)
    assert v.shape == (20, 200)
    assert abs((u * s) @ v - y.compute()).max() < abs(y.compute()).max()
