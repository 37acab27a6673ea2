"""Doing again what a store failed to do, where waiting may help.

Floor 0: no dask. The retries of a scheduler run a whole task again, with all that it computed;
these repeat the one request. Only whole values are read and replaced, so that doing it again is
safe.
"""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["attempt"]

R = TypeVar("R")

_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 10.0

_PERMANENT = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG}
)
"""Failures of a store that waiting does not mend."""


def attempt(func: Callable[[], R], *, retries: int) -> R:
    """Call a function, again if a store failed in it.

    Parameters
    ----------
    func : callable
        Called without arguments; may be called up to ``retries + 1`` times.
    retries : int
        How often it is called again. Only failures that may pass count (not a full disk or a
        missing permission); the waits between double, from 0.1 s to 10 s.

    Returns
    -------
    object
        What `func` returned.

    Raises
    ------
    OSError
        The last failure.

    Examples
    --------
    >>> attempt(lambda: 7, retries=3)
    7
    """
    n_failed = 0
    while True:
        try:
            return func()
        except OSError as error:
            if n_failed >= retries or _is_permanent(error):
                raise
        # Apart by chance, so that tasks that failed together do not come back together.
        wait_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**n_failed)
        time.sleep(wait_s * random.uniform(0.5, 1.0))
        n_failed += 1


def _is_permanent(error: OSError) -> bool:
    code = vars(error).get("errno", error.errno)
    return code in _PERMANENT or isinstance(
        error, FileNotFoundError | FileExistsError | PermissionError
    )
