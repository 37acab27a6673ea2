"""Counts of tasks, wherever they run, and what is shown of them."""

from __future__ import annotations

import re
import sys
from typing import Any

import dask.array as da
import pytest

from chunkstore.errors import MissingExtraError
from dask_integration.clusters import connect
from dask_integration.progress import counting, progress


def work(n_blocks: int) -> da.Array:
    """Give an array whose computation is a task a block, and one that puts them together."""
    return da.ones(n_blocks, chunks=1).map_blocks(lambda block: block + 1)


@pytest.mark.parametrize("where", ["none", "local"])
def test_every_task_is_counted_once(where: str) -> None:
    """When a computation is over, all of its tasks were announced and have ended."""
    with connect(where, n_workers=2) as client, counting(client) as count:
        first: Any = work(30)
        first.compute()
        n_total, n_done = before = count()
        assert n_total == n_done
        assert n_total in (30, 31)
        work(5).compute()
        n_total, n_done = count().since(before)
        assert n_total == n_done
        assert n_total in (5, 6)


def test_only_tasks_within_the_block_are_counted() -> None:
    """Counting ends with the block."""
    with connect("none"):
        with counting(None) as count:
            pass
        work(3).compute()
        assert count() == (0, 0)


def test_tasks_of_other_clients_are_not_counted() -> None:
    """On a shared cluster everyone sees their own."""
    with (
        connect("local", n_workers=1) as owner,
        connect(owner.scheduler.address) as guest,
        counting(guest) as count,
    ):
        owner.gather(owner.map(abs, range(10), pure=False))
        assert count() == (0, 0)
        guest.gather(guest.map(abs, range(3), pure=False))
        assert count() == (3, 3)


@pytest.mark.parametrize("where", ["none", "local"])
def test_a_failed_task_leaves_a_count_that_can_go_on(where: str) -> None:
    """An error comes out as it is; the next computation is counted as if nothing had been."""

    def fail(block: Any) -> Any:
        raise ValueError("on purpose")

    with connect(where, n_workers=1) as client, counting(client) as count:
        with pytest.raises(ValueError, match="on purpose"):
            da.ones(4, chunks=2).map_blocks(fail, dtype=float, meta=da.ones(0)._meta).compute()
        before = count()
        assert before.n_done < before.n_total
        work(5).compute()
        assert count().since(before).n_done in (5, 6)


def test_a_log_gets_one_line_a_phase(capsys: pytest.CaptureFixture[str]) -> None:
    """Where standard error is no terminal there is no bar, and standard output stays empty."""
    with connect("none"), progress(None) as phase:
        with phase("first"):
            work(4).compute()
        with phase("second", n_bytes=10**12) as tell:
            work(4).compute()
            tell("residual 0.1")
    captured = capsys.readouterr()
    assert captured.out == ""
    first, second = captured.err.splitlines()
    assert first.startswith("first: 5 tasks in ")
    assert first.endswith(" s")
    assert re.fullmatch(r"second: 5 tasks in \S+ s, [\d,]+ MB/s, residual 0.1", second)


def test_a_terminal_gets_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The finished bar stays, with the number of tasks, the rate and what came out."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with (
        connect("none"),
        progress(None) as phase,
        phase("standardise", n_bytes=10**12) as tell,
    ):
        work(4).compute()
        tell("residual 0.1")
    err = capsys.readouterr().err
    for text in ("standardise", "5/5", "MB/s", "residual 0.1"):
        assert text in err


def test_quiet_shows_nothing_and_needs_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without rich, only a quiet job runs; a loud one says what to install."""
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with connect("none"), progress(None, quiet=True) as phase, phase("x"):
        work(2).compute()
    assert capsys.readouterr() == ("", "")
    with pytest.raises(MissingExtraError, match=r"chunkstore\[cli\]"), progress(None):
        pass
