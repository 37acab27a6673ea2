"""Names for what is not finished yet, which say who is at work, so that leftovers can be told.

Floor 2. A file or folder of such a name is a value half written or a prefix half deleted. The name
holds the machine and the process: where that process is known to be gone, nobody will finish.
"""

from __future__ import annotations

import contextlib
import os
import re
from functools import cache
from pathlib import Path
from typing import Literal

from chunkstore.keys import TEMPORARY

__all__ = ["LOCK", "digest", "temporary_name", "temporary_prefix", "writer_of"]

LOCK = f"{TEMPORARY}lock-"
"""Start of the names of files that are locked."""

_WRITER = re.compile(rf"{TEMPORARY}(?P<machine>[0-9a-f]{{8}})-(?P<pid>[0-9a-f]+)-[0-9a-f]{{12}}")


def temporary_name() -> str:
    """Make a name that nobody else makes, and that no key has."""
    return f"{temporary_prefix()}{os.urandom(6).hex()}"


def temporary_prefix() -> str:
    """Give what the names of this process start with; 12 hexadecimal digits follow."""
    return f"{TEMPORARY}{_machine()}-{os.getpid():x}-"


def writer_of(name: str) -> Literal["running", "gone", "elsewhere"] | None:
    """Say what has become of the process that made a name; None if it was made by other means.

    Examples
    --------
    >>> writer_of(temporary_name()), writer_of("__chunkstore-partial-3fa9-out.zarr")
    ('running', None)
    """
    writer = _WRITER.fullmatch(name)
    if writer is None:
        return None
    if writer["machine"] != _machine():
        return "elsewhere"
    # Where the number is in use again, a leftover stays until that process ends too.
    return "running" if _is_running(int(writer["pid"], 16)) else "gone"


@cache
def _machine() -> str:
    """Name the place in which process numbers mean something: a boot of a machine or container."""
    facts = [os.uname().nodename]
    for file in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with contextlib.suppress(OSError):
            facts.append(os.readlink(file) if "ns" in file else Path(file).read_text())
    return digest("|".join(facts), 4)


def digest(text: str, n_bytes: int) -> str:
    """Give a short name for a text of any length."""
    import hashlib  # Loads a library for cryptography, which a mere reader does without.

    return hashlib.blake2b(text.encode(), digest_size=n_bytes).hexdigest()


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
