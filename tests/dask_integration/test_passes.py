"""Records of passes: estimates and words for a person who waits."""

from __future__ import annotations

import json

import pytest

from dask_integration.passes import Pass


def after(number: int, worst: float) -> Pass:
    return Pass("krylov", number, 10**9, 2.0, "float32", (3.0, 2.0), (worst / 2, worst))


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (after(1, 1e-1), after(2, 1e-2), 2),
        (after(1, 1e-1), after(3, 1e-3), 1),
        (after(1, 1e-1), after(3, 1e-2), 4),
        (after(1, 1e-1), after(2, 1e-5), 0),
        (after(1, 1e-3), after(2, 1e-2), None),
        (None, after(1, 1e-2), None),
    ],
)
def test_passes_to_go_follow_the_fall_of_residuals(
    before: Pass | None, now: Pass, expected: int | None
) -> None:
    """The trend goes on; where residuals do not fall there is no estimate."""
    assert now.to_go(before, tol=1e-4) == expected


def test_a_record_survives_json() -> None:
    """What a checkpoint keeps of a pass is all of it."""
    for record in (after(3, 1e-3), Pass("statistics", 1, 5, 0.0, "float32")):
        assert Pass.from_json(json.loads(json.dumps(record.to_json()))) == record
    assert after(1, 0.5).bytes_per_s == 5e8


def test_words_say_what_is_known() -> None:
    """Residual and estimate, or nothing after a pass that found neither."""
    assert after(1, 0.01).describe(None) == "residual 1.0e-02"
    assert after(1, 0.01).describe(1) == "residual 1.0e-02, about 1 more"
    assert after(1, 0.01).describe(0) == "residual 1.0e-02"
    assert Pass("statistics", 1, 5, 0.0, "float32").describe(None) == ""
