"""Whether files have changed, told from what the file system notes of them.

Floor 2. A stamp is a digest of the names, sizes, inodes and times of all files in a folder. Writing
to a file sets the time of its last change (``ctime``), which no program can set back, so a file
that was written to has another stamp, with two exceptions that are ruled out here:

- The clock of a file system ticks, every 1 to 10 ms on Linux. A file that changed within the
  running tick could change again unseen, so the tick is waited for.
- A network file system may show what it noted some seconds ago. Only file systems that are known
  to be of this machine are believed, and only one at a time.

Source: ``git``'s documentation of the same trouble, "racy-git"; mountinfo in proc(5).
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from chunkstore.keys import RESERVED_PREFIX

if TYPE_CHECKING:
    import hashlib

__all__ = ["files_stamp"]

_LOCAL_SYSTEMS = frozenset(
    ("bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs")
)
"""File systems that show every change at once, and note times in nanoseconds."""

_MOUNTS = Path("/proc/self/mountinfo")

_TICK_S = 0.05


def files_stamp(folder: str) -> str | None:
    """Give a text that differs whenever a file below a folder has changed; None if unknown.

    Names that start with ``__`` are left out: no node has them.

    Notes
    -----
    About 3 us a file. Waits up to 50 ms where a file has just been written, and gives None if it
    is still being written to after that.
    """
    import hashlib  # Loads a library for cryptography, which a mere reader does without.

    if _file_system(os.path.realpath(folder)) not in _LOCAL_SYSTEMS:
        return None
    for _ in range(2):
        # Taken before the files are looked at: what changes meanwhile counts as new.
        now_ns = time.time_ns()
        digest, devices = hashlib.blake2b(digest_size=16), set[int]()
        newest_ns = _digest_files(folder, digest, devices)
        if len(devices) > 1:
            return None
        if now_ns - newest_ns > _TICK_S * 1e9:
            return digest.hexdigest()
        time.sleep(_TICK_S)
    return None


def _digest_files(folder: str, digest: hashlib.blake2b, devices: set[int]) -> int:
    """Digest what is noted of all files below a folder; gives the newest time, in ns."""
    newest_ns = 0
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return newest_ns
    for entry in found:
        if entry.name.startswith(RESERVED_PREFIX):
            continue
        if entry.is_dir():
            digest.update(os.fsencode(f"{entry.name}/"))
            newest_ns = max(newest_ns, _digest_files(entry.path, digest, devices))
            digest.update(b"/")
            continue
        facts = entry.stat()
        devices.add(facts.st_dev)
        times = facts.st_mtime_ns, facts.st_ctime_ns
        newest_ns = max(newest_ns, *times)
        size = f"/{facts.st_size} {facts.st_dev} {facts.st_ino} {times}/"
        digest.update(os.fsencode(entry.name + size))
    return newest_ns


def _file_system(path: str) -> str | None:
    """Name the type of the file system that a path lies in; None where that cannot be told."""
    best, kind = "", None
    try:
        lines = _MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    for line in lines:
        mount, _, rest = line.partition(" - ")
        # Spaces and the like are spelled as octal numbers.
        point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), mount.split()[4])
        # Of two on one point the later covers the earlier.
        if f"{path}/".startswith(point.rstrip("/") + "/") and len(point) >= len(best):
            best, kind = point, rest.split()[0]
    return kind
