"""What a write task does: check a block, store it, try again, read it back, and tell.

Floor 3. It runs where dask runs tasks and knows nothing of graphs. A task may run more than once,
as after the loss of a worker: it then writes the same values to the same place.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np

import chunkstore as cs
from chunkstore.errors import ChunkError, InvalidArgumentError
from dask_integration.attempts import attempt
from dask_integration.chunks import Block
from dask_integration.layers import phases
from dask_integration.ledger import Ledger
from dask_integration.memory import PeakMeter
from dask_integration.receipts import Receipt, checksum

__all__ = ["BlockWriter", "memory_meter", "write_block"]


@dataclass(frozen=True)
class BlockWriter:
    """What every write task of an array carries.

    Parameters
    ----------
    array : chunkstore.Array
        The target; a handle of some hundred bytes.
    starts : tuple of int
        Where in the array the first block begins.
    ledger : Ledger
        Where finished blocks are noted.
    numblocks : tuple of int
        Blocks along each axis, to number them.
    retries : int
        How often a block is written again after the store failed.
    verify : bool
        Read each block back.
    measure : bool
        Tell how much memory the process has taken.
    is_lazy : bool
        Whether the job is a Delayed, whose tasks may run again when it has ended.
    """

    array: cs.Array
    starts: tuple[int, ...]
    ledger: Ledger
    numblocks: tuple[int, ...]
    retries: int
    verify: bool
    measure: bool
    is_lazy: bool


def write_block(writer: BlockWriter, block: Block, values: Any) -> Receipt:
    """Write the values of one block and give the receipt."""
    meter = memory_meter(writer.ledger.token) if writer.measure else None
    values = _checked(values, block)
    region = block.at(writer.starts)
    started_s, start = time.time(), time.perf_counter()

    def write() -> None:
        with phases("write", "encode", ends=True):
            writer.ledger.require_current(may_have_ended=writer.is_lazy)
            writer.array.write(region, values)
        if writer.verify:
            _verify(writer.array, region, values)

    attempt(write, retries=writer.retries)
    write_s = time.perf_counter() - start
    peak_bytes = 0 if meter is None else meter.peak_bytes()
    receipt = Receipt(block.id, values.nbytes, checksum(values), started_s, write_s, peak_bytes)
    number = int(np.ravel_multi_index(block.id, writer.numblocks)) if block.id else 0
    # Only now: what the ledger says is finished will not be written again.
    attempt(partial(writer.ledger.record, number, receipt), retries=writer.retries)
    return receipt


@lru_cache(maxsize=8)
def memory_meter(token: str) -> PeakMeter:
    """Give what measures this process's memory for a job, from the first call on."""
    return PeakMeter()


def _verify(array: cs.Array, region: tuple[slice, ...], values: np.ndarray[Any, Any]) -> None:
    found = np.asarray(array.read(region))
    # As the array holds them: the cast is meant, and shows in nothing else.
    expected = values if array.dtype.kind in "OT" else values.astype(array.dtype, copy=False)
    if checksum(found) != checksum(expected):
        raise ChunkError(
            f"what was read back from {array!r} is not what was written. The store is damaged, "
            f"another job writes there too, or a codec of the array loses precision; with such a "
            f"codec leave out verify=True",
            store=array.store,
            path=array.path,
        )


def _checked(values: Any, block: Block) -> np.ndarray[Any, Any]:
    """Give the values of a block as a numpy array; refuse what would be stored wrong."""
    if isinstance(values, np.ma.MaskedArray):
        raise InvalidArgumentError(
            f"cannot write block {block.id}: its values are masked, and a store holds no masks. "
            f"Fill them first, with dask.array.ma.filled(x, fill_value)"
        )
    array: np.ndarray[Any, Any] = np.asarray(values)
    if array.shape != block.shape:
        raise InvalidArgumentError(
            f"cannot write block {block.id}: expected values of shape {block.shape}, as the dask "
            f"array declares, got {array.shape}. Its `chunks` are wrong: check the function that "
            f"made it"
        )
    return array
