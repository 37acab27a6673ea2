"""The harness measures what it says, and tells a wrong result from a slow one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks import __main__ as command
from tests.benchmarks import report
from tests.benchmarks.harness import (
    OURS,
    CannotError,
    Outcome,
    Result,
    Row,
    Scale,
    matches,
    measure,
    rows_of,
    topics,
)

SAMPLE = "tests.benchmarks.sample_topic"
ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20


def sample(name: str, scale: Scale) -> Outcome:
    row = next(row for row in rows_of(SAMPLE, scale) if row.name == name)
    return measure(SAMPLE, row, scale)


@pytest.fixture
def scale(tmp_path: Path) -> Scale:
    return Scale(tmp_path, n_bytes=1 << 18, rounds=2, row_s=0.0)


@pytest.fixture
def outcome() -> Outcome:
    """Ours is steady at 2; one peer better in the median, another at best; a limit below all."""
    return Outcome(
        "local", "read", "64 MiB", "s", goal=1.2, at_most=1.0, memory_at_most=10,
        results=[
            Result(OURS, values=[2.0, 2.0, 2.0], cpu_s=[3.0, 3.0, 3.0], memory_bytes=20),
            Result("a", values=[9.0, 1.0, 8.0], cpu_s=[1.0, 1.0, 1.0], memory_bytes=5),
            Result("b", values=[3.0, 1.5, 4.0], cpu_s=[1.0, 1.0, 1.0], memory_bytes=5),
            Result("memcpy", "limit", values=[0.5, 0.5, 0.5], cpu_s=[0.5, 0.5, 0.5]),
            Result("c", state="not installed", note="c"),
        ],
        noise=[0.1, 0.2],
    )  # fmt: skip


def test_states(scale: Scale) -> None:
    """Each contender ends in its own state, and only a wrong or broken one is a failure."""
    outcome = sample("every state", scale)
    states = {r.name: (r.state, r.note) for r in outcome.results}
    assert states == {
        "chunkstore": ("measured", ""),
        "right": ("measured", ""),
        "wrong": ("wrong", "ValueError: 1 of 1 elements differ"),
        "missing": ("not installed", "no_such_module"),
        "cannot": ("cannot", "it has no sums"),
        "fails": ("failed", "OSError: the disk is full"),
        "dies": ("failed", "the process ended: last words"),
        "unchecked limit": ("measured", ""),
    }
    assert [len(r.values) for r in outcome.results] == [2, 2, 0, 0, 0, 0, 0, 2]
    assert [failure.split(": ")[2] for failure in outcome.failures()] == ["wrong", "fails", "dies"]
    # Before and after each of the first, the timed rounds.
    assert (scale.folder / "cleared").read_text() == "x" * 6


def test_memory(scale: Scale) -> None:
    """The peak of memory counts what a run lets go again, and nothing held before it."""
    (result,) = sample("memory", scale).results
    assert result.values == [7.0, 7.0]
    assert result.memory_bytes is not None
    # The kernel counts pages by the dozen.
    assert 63 * MIB <= result.memory_bytes < 72 * MIB


def test_data_are_made_by_another_process(scale: Scale) -> None:
    """What a row reads is made before its contenders start, in a process of its own."""
    (result,) = sample("data", scale).results
    assert result.is_measured, result.note


def test_data_that_cannot_be_made(scale: Scale) -> None:
    """Where the data of a row cannot be made, the row fails and the run goes on."""
    outcome = sample("no data", scale)
    run = report.Run.begun("full", scale.folder)
    run.add(outcome)
    assert run.noise_line() == "Noise: nothing was measured"
    (failure,) = outcome.failures()
    assert failure.endswith("no data: make: failed: OSError: the disk is full")
    assert outcome.shortfalls() == ["ours was not measured"]


def test_ratios(outcome: Outcome) -> None:
    """The best peer is the one with the lowest median; limits and the missing are none."""
    best = outcome.best_peer
    assert best is not None
    assert best.name == "b"
    assert outcome.ratio(best) == 1.5
    assert outcome.ratio(best, min) == 0.75
    assert outcome.ratio_range(best) == (0.75, 2.0)
    assert outcome.cpu_ratio(best) == 1 / 3
    assert outcome.ratio(outcome.results[-1]) is None


def test_shortfalls(outcome: Outcome) -> None:
    """Each figure that is not reached is named with both numbers."""
    assert outcome.shortfalls() == ["2 s > 1", "memory 0 MiB > 0"]
    outcome.goal = 2.0
    assert outcome.shortfalls()[0] == "ratio 1.50 < 2"
    outcome.results.pop(0)
    assert outcome.shortfalls() == ["ours was not measured"]


def test_report(outcome: Outcome, tmp_path: Path) -> None:
    """A run leaves every value in JSON, every contender in Markdown, and a picture."""
    pytest.importorskip("matplotlib")
    run = report.Run.begun("full", tmp_path)
    run.add(outcome)
    for path in run.write(tmp_path / "out"):
        assert path.stat().st_size > 0
    stored = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert stored["outcomes"][0]["results"][1]["values"] == [9.0, 1.0, 8.0]
    text = (tmp_path / "out" / "bench.md").read_text()
    assert "| b | 3 s | 1.5 s – 4 s | 1.50× | 0.75× | 0.75 – 2.00 | 1 s | 5 B |" in text
    assert "not installed: c" in text
    assert "local: read" in text
    assert (tmp_path / "out" / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_plain_table_is_aligned(outcome: Outcome) -> None:
    """In plain text the columns stand below each other, and limits come last."""
    lines = report.details(outcome).plain().splitlines()[1:]
    column = lines[0].index("median") + len("median")
    assert [line[:column].split()[0] for line in lines[1:]] == [
        "chunkstore",
        "b",
        "a",
        "c",
        "limit:",
    ]
    assert lines[1][:column].endswith("2 s")


def run_command(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", *arguments, "--out", str(folder / "out")],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_command(tmp_path: Path) -> None:
    """The command measures the rows asked for beside every peer, on the folder asked for."""
    done = run_command(
        "local", "--scale", "tiny", "--only", "read*uncompressed", "--data", str(tmp_path / "data"),
        folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in ("chunkstore", "zarr", "tensorstore", "h5py", "limit: memcpy", "Noise:"):
        assert name in done.stdout
    assert (tmp_path / "data" / "tiny" / "plain.zarr").is_dir()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["local", "--only", "nothing"], "no row contains 'nothing'"), (["locl"], "no topic locl")],
)
def test_command_without_a_row(arguments: list[str], message: str, tmp_path: Path) -> None:
    """Asked for what there is not, the command says so and measures nothing."""
    done = run_command(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_command_fails_for_a_wrong_result(tmp_path: Path) -> None:
    """A wrong result ends the command with status 1 and names the contender."""
    done = run_command(SAMPLE, "--scale", "tiny", "--only", "every state", folder=tmp_path)
    assert done.returncode == 1
    assert "FAILED" in done.stderr
    assert "every state: wrong: wrong: ValueError" in done.stderr


def test_interrupted(outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted run leaves what was measured until then."""
    outcomes = iter([outcome])

    def measured(*_: object) -> Outcome:
        for one in outcomes:
            return one
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "measure", measured)
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["bench", SAMPLE, "--out", str(tmp_path / "out")])
    with pytest.raises(KeyboardInterrupt):
        command.main()
    stored = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert [one["name"] for one in stored["outcomes"]] == ["read"]


def test_patterns() -> None:
    """A pattern is part of topic and name, in any case, with * for anything."""
    row = Row("read all, 64 KiB chunks", "", [])
    assert matches("", "local", row)
    assert matches("LOCAL: read", "local", row)
    assert matches("read*kib", "local", row)
    assert not matches("write", "local", row)


@pytest.mark.parametrize("topic", topics())
def test_topics(topic: str, tmp_path: Path) -> None:
    """Every row of every topic has a name of its own and a result of ours that is right."""
    scale = Scale(tmp_path, n_bytes=1 << 18, rounds=1, row_s=0.0)
    rows = rows_of(topic, scale)
    names = [row.name for row in rows]
    assert names
    assert len(set(names)) == len(names)
    for row in rows:
        contenders = [c.name for c in row.contenders]
        assert len(set(contenders)) == len(contenders)
        assert OURS in contenders
        if row.around is None:
            check_ours(row)


def check_ours(row: Row) -> None:
    if row.make is not None:
        row.make()
    ours = next(c for c in row.contenders if c.name == OURS)
    try:
        run = ours.prepare()
    except CannotError as reason:
        pytest.skip(str(reason))
    if ours.clear is not None:
        ours.clear()
    result = run()
    check = ours.check or row.check
    if check is not None:
        check(getattr(result, "result", result))
