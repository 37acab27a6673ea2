"""Run settings of one handle: a frozen value passed from the door down.

Floor 0. The only file that reads the environment. Nothing here is stored in an array, and no
setting changes what the stored bytes mean.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Literal

from chunkstore.cache import ChunkCache
from chunkstore.errors import InvalidArgumentError

__all__ = ["Options"]

_MAX_DEFAULT_THREADS = 32
"""Beyond this a machine's memory bus is the bound, not its cores."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a handle runs: threads and the treatment of empty and missing chunks.

    Parameters
    ----------
    n_threads : int, optional
        Threads that one read or write may use, the calling one included. None takes the
        environment variable ``CHUNKSTORE_THREADS``, or the processors this process may run on;
        for stores whose requests mostly wait, as those over a network do, as many more as the
        store says (`Store.concurrency`).
    write_empty_chunks : bool
        Store chunks whose elements all equal the fill value. The default leaves them out,
        and deletes them where they are stored, so that sparse arrays stay small.
    missing_chunks : {"fill", "error"}
        What reading a chunk that is not stored means: the fill value, as the formats say, or a
        `MissingChunkError` for arrays that are known to be written in full.
    codecs : tuple of type
        Codec classes of your own, each known by its ``name``, beside those of chunkstore and of
        installed packages. Creating an array with an object of such a class adds the class.
    allow_pickle : bool
        Read and write version 2 arrays of objects that are stored as pickles. Reading one runs
        whatever code it names, so this is for data whose writer is trusted.
    max_decoded_bytes : int
        Most bytes, 1 GiB by default, that a stored value may decompress to where the array's
        metadata does not say how many there are: text, bytes and objects, and what a codec of
        your own makes. Reading more is refused before memory is taken for it, so that a small
        value cannot fill the memory, and so is writing it. Elements take memory beside their
        bytes: text about 16 bytes each, objects up to some 70 for each of their bytes.
    cache : ChunkCache, optional
        Keep decoded chunks in memory, for reading the same ones again; see `ChunkCache`. Several
        handles may share one. With a cache chunks are decoded one by one, not in batches.

    Examples
    --------
    >>> Options(n_threads=2).threads
    2
    """

    n_threads: int | None = None
    write_empty_chunks: bool = False
    missing_chunks: Literal["fill", "error"] = "fill"
    codecs: tuple[type[Any], ...] = ()
    allow_pickle: bool = False
    max_decoded_bytes: int = 1 << 30
    cache: ChunkCache | None = None

    def __post_init__(self) -> None:
        n_threads: object = self.n_threads
        if n_threads is not None and (
            isinstance(n_threads, bool) or not isinstance(n_threads, int) or n_threads < 1
        ):
            raise InvalidArgumentError(
                f"n_threads must be a positive integer or None, got {self.n_threads!r}"
            )
        if self.missing_chunks not in ("fill", "error"):
            raise InvalidArgumentError(
                f'missing_chunks must be "fill" or "error", got {self.missing_chunks!r}'
            )

        codecs: object = self.codecs
        if not isinstance(codecs, tuple) or not all(
            isinstance(cls, type) and isinstance(getattr(cls, "name", None), str) for cls in codecs
        ):
            raise InvalidArgumentError(
                f"codecs must be a tuple of classes that have a name, got {self.codecs!r}"
            )
        allow_pickle: object = self.allow_pickle
        if not isinstance(allow_pickle, bool):
            # "no" would be taken for yes.
            raise InvalidArgumentError(f"allow_pickle must be True or False, got {allow_pickle!r}")
        most: object = self.max_decoded_bytes
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            raise InvalidArgumentError(
                f"max_decoded_bytes must be a positive integer, got {most!r}"
            )
        cache: object = self.cache
        if cache is not None and not isinstance(cache, ChunkCache):
            raise InvalidArgumentError(f"cache must be a ChunkCache or None, got {cache!r}")

    @property
    def threads(self) -> int:
        """Threads to use, as an integer of at least 1."""
        return self.threads_for(1)

    def threads_for(self, concurrency: int) -> int:
        """Give the threads to use on a store that wants so many requests under way at once.

        Examples
        --------
        >>> Options(n_threads=2).threads_for(16), Options().threads_for(100)
        (2, 100)
        """
        if self.n_threads is not None:
            return self.n_threads
        asked = os.environ.get("CHUNKSTORE_THREADS")
        if asked is not None:
            # str.isdigit alone also takes superscripts, which int refuses.
            if not (asked.isascii() and asked.isdigit()) or int(asked) < 1:
                raise InvalidArgumentError(
                    f"environment variable CHUNKSTORE_THREADS must be a positive integer, "
                    f"got {asked!r}"
                )
            return int(asked)
        return max(concurrency, min(available_processors(), _MAX_DEFAULT_THREADS))


def available_processors() -> int:
    """Count the processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1
