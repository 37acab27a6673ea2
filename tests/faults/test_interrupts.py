"""Ctrl-C in the middle of a write ends it soon, with whole chunks and nothing half made."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.errors import NodeNotFoundError
from tests.faults.victims import files, running

WRITE = """
array = cs.create_array(
    folder, name="x", shape=(1 << 22,), dtype="f8", chunks=1 << 14, compressors=None,
    options=cs.Options(n_threads=4),
)
array[...] = 1
ready()
try:
    i = 1
    while True:
        i += 1
        array[...] = i
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(130)
"""


def interrupt(code: str, folder: Path, *, after_s: float) -> tuple[int, str, str]:
    """Run code, press Ctrl-C some time after it is ready; gives the exit code and the output."""
    with running(code, folder) as process:
        time.sleep(after_s)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        return process.returncode, out, err


@pytest.mark.parametrize("after_s", [0.0, 0.06])
def test_threaded_write(after_s: float, tmp_path: Path) -> None:
    """Each chunk is wholly old or new, the caller is told, and the rest can be swept up."""
    code, out, err = interrupt(WRITE, tmp_path, after_s=after_s)
    assert (code, out, err) == (130, "interrupted\n", "")
    cs.clean(tmp_path, dry_run=False)
    assert not [name for name in files(tmp_path) if "__" in name]
    array = cs.open_array(tmp_path, path="x", mode="r+")
    chunks = array[...].reshape(-1, 1 << 14)
    assert (chunks == chunks[:, :1]).all()
    assert chunks.min() >= chunks.max() - 1
    array[...] = 0


CREATE = """
data = np.arange(1 << 22, dtype="f8")
ready()
cs.create_array(
    folder, name="x", data=data, chunks=1 << 12, compressors=None,
    options=cs.Options(n_threads=4),
)
"""


def test_array_with_data(tmp_path: Path) -> None:
    """An array whose data was being written does not open as if it were complete."""
    code, _, err = interrupt(CREATE, tmp_path, after_s=0.02)
    assert code != 0
    assert "KeyboardInterrupt" in err
    with pytest.raises(NodeNotFoundError):
        cs.open_array(tmp_path, path="x", mode="r")
    cs.clean(tmp_path, dry_run=False)
    assert not [name for name in files(tmp_path) if "__chunkstore" in name]
    cs.create_array(tmp_path, name="x", data=np.arange(3), overwrite=True)
    assert cs.open_array(tmp_path, path="x")[...].tolist() == [0, 1, 2]


READ = """
array = cs.create_array(
    folder, name="x", data=np.ones(1 << 22), chunks=1 << 12, options=cs.Options(n_threads=4)
)
ready()
while True:
    array[...]
"""


def test_threaded_read(tmp_path: Path) -> None:
    """A read that is interrupted ends the process soon, and harms nothing."""
    begun = time.monotonic()
    code, _, err = interrupt(READ, tmp_path, after_s=0.05)
    assert code != 0
    assert "KeyboardInterrupt" in err
    assert time.monotonic() - begun < 20
    assert (cs.open_array(tmp_path, path="x")[...] == 1).all()
