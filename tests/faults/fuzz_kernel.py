"""Damaged chunks and shards, read by the compiled kernel and by Python; run by ci/fuzz.

A case is made from its seed alone: an array of some layout and codecs, stored once, of which one
value is damaged, and a selection. The seed is written down before the case is tried, so that a
crash of the process can be repeated.
"""

from __future__ import annotations

import argparse
import base64
import importlib.util
import json
import random
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

GOLDEN = Path(__file__).parents[1] / "data"
INTERESTING = (0, 1, 2, 4, 15, 16, 17, 255, 256, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
SHAPE = (37, 23)


def load_kernel(path: str) -> None:
    """Put a kernel in the place where chunkstore looks for it; to be called before it does."""
    spec = importlib.util.spec_from_file_location("chunkstore._kernel", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["chunkstore._kernel"] = module
    spec.loader.exec_module(module)


# --- the corpus ----------------------------------------------------------------------------------


def golden_stores() -> list[dict[str, bytes]]:
    """Give the small stores that other programs wrote."""
    found = []
    for file in sorted(GOLDEN.glob("codecs/*.json")):
        for case in json.loads(file.read_text()).values():
            store = {key: base64.b64decode(value) for key, value in case.get("store", {}).items()}
            if "zarr.json" in store or ".zarray" in store:
                found.append(store)
    return found


def own_stores(folder: Path) -> list[dict[str, bytes]]:
    """Write arrays of every layout and codec that the kernel serves."""
    import chunkstore as cs

    blosc = [
        {"name": "blosc", "configuration": {"cname": c, "clevel": 5, "shuffle": s, "blocksize": b}}
        for c, s, b in [
            ("lz4", "shuffle", 0),
            ("zstd", "bitshuffle", 0),
            ("zlib", "noshuffle", 64),
            ("blosclz", "shuffle", 128),
            ("lz4", "bitshuffle", 32),
        ]
    ]
    crc = {"name": "crc32c"}
    zstd = {"name": "zstd", "configuration": {"level": 1, "checksum": True}}
    codecs: list[Any] = [None, [crc], *([b] for b in blosc), [blosc[0], crc], [zstd], [zstd, crc]]
    codecs += [[{"name": "gzip", "configuration": {"level": 5}}]]
    codecs += [[{"name": "numcodecs.zlib"}], [{"name": "numcodecs.lz4"}]]
    plain = {"codecs": [{"name": "bytes", "configuration": {"endian": "little"}}]}
    layouts: list[dict[str, Any]] = [
        {"chunks": (8, 5)},
        {"chunks": (16, 23), "order": "F"},
        {"chunks": (4, 5), "shards": (16, 10)},
        {"chunks": (8, 23), "shards": {"shape": (40, 23), "index_location": "start"}},
        {"chunks": (2, 5), "shards": {"shape": (8, 10), "index_codecs": plain["codecs"]}},
    ]
    values = np.random.default_rng(0).integers(0, 90, SHAPE)
    values[8:16] = 0
    found = []
    for number, (codec, layout) in enumerate((c, w) for c in codecs for w in layouts):
        dtype = ("i4", "i1", "f8", "c16")[number % 4]
        shutil.rmtree(folder, ignore_errors=True)
        try:
            cs.create_array(folder, data=values.astype(dtype), compressors=codec, **layout)
        except cs.errors.ChunkStoreError:
            continue  # This way to say it is not known here.
        files = (path for path in folder.rglob("*") if path.is_file())
        found.append({str(path.relative_to(folder)): path.read_bytes() for path in files})
    return found


# --- damage --------------------------------------------------------------------------------------


def flip(value: bytearray, rng: random.Random) -> None:
    """Change a few bits."""
    for _ in range(rng.choice((1, 1, 2, 8))):
        value[rng.randrange(len(value))] ^= 1 << rng.randrange(8)


def overwrite(value: bytearray, rng: random.Random) -> None:
    """Put an interesting number somewhere; near the start and the end are headers and indexes."""
    width = rng.choice((1, 2, 4, 8))
    number = rng.choice(INTERESTING) + rng.choice((-1, 0, 0, 0, 1)) + rng.choice((0, len(value)))
    at = rng.choice((rng.randrange(len(value)), rng.randrange(min(32, len(value)))))
    if rng.random() < 0.3:
        at = max(0, len(value) - rng.randrange(1, 300))
    value[at : at + width] = (number % 2 ** (8 * width)).to_bytes(width, "little")


def cut(value: bytearray, rng: random.Random) -> None:
    """Leave the end, the start or a part in between out."""
    a, b = sorted((rng.randrange(len(value) + 1), rng.randrange(len(value) + 1)))
    del value[rng.choice((slice(a, b), slice(a, None), slice(None, a)))]


def extend(value: bytearray, rng: random.Random) -> None:
    """Add bytes of its own, or any."""
    at = rng.randrange(len(value) + 1)
    value[at:at] = value[:at] if rng.random() < 0.5 else rng.randbytes(rng.randrange(1, 64))


def foreign(value: bytearray, rng: random.Random) -> None:
    """Put any bytes in its place."""
    value[:] = rng.randbytes(rng.randrange(0, 400))


DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip, flip, overwrite, overwrite, overwrite, cut, extend, foreign,
)  # fmt: skip


def with_checksum(value: bytearray, at: int) -> None:
    """Make the last four bytes of what ends at `at` right, so that more is believed."""
    if at >= 4:
        value[at - 4 : at] = google_crc32c.value(bytes(value[: at - 4])).to_bytes(4, "little")


def damaged(value: bytes, rng: random.Random) -> bytes:
    """Damage a value, and often mend the checksum that would give it away."""
    changed = bytearray(value)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if changed:
            rng.choice(DAMAGES)(changed, rng)
    if rng.random() < 0.4:
        with_checksum(changed, len(changed))
    for n_entries in (8, 5, 2, 16):
        n_index = 16 * n_entries + 4
        if rng.random() < 0.2 and len(changed) >= n_index:
            index = bytearray(changed[-n_index:])
            if rng.random() < 0.5:
                entry = rng.randrange(2 * n_entries) * 8
                number = rng.choice((*INTERESTING, len(changed), 2**63, 2**64 - 1, 2**64 - 16))
                index[entry : entry + 8] = (number % 2**64).to_bytes(8, "little")
            with_checksum(index, n_index)
            changed[-n_index:] = index
    return bytes(changed)


# --- one case ------------------------------------------------------------------------------------


def selection_of(shape: tuple[int, ...], rng: random.Random) -> Any:
    """Give everything, or a slice of each axis."""
    if rng.random() < 0.4:
        return (slice(None),) * len(shape)
    edges = (sorted((rng.randrange(n + 1), rng.randrange(n + 1))) for n in shape)
    return tuple(slice(a, b, rng.choice((1, 1, 2, 7))) for a, b in edges)


def outcome(stored: Any, selection: Any) -> tuple[str, bytes]:
    """Read a selection into the middle of guarded memory; give its bytes, or that it failed."""
    from chunkstore.errors import ChunkStoreError

    shape = np.empty(stored.shape, np.int8)[selection].shape
    guarded = np.full(
        [n + 2 for n in shape], b"Z" * stored.dtype.itemsize, f"V{stored.dtype.itemsize}"
    )
    inner = (slice(1, -1),) * len(shape)
    out = guarded.view(stored.dtype)[inner]
    try:
        stored.read(selection, out=out)
        result = "values", out.tobytes()
    except ChunkStoreError:
        result = "error", b""
    guarded[inner] = b"Z" * stored.dtype.itemsize
    if guarded.tobytes().strip(b"Z"):
        raise AssertionError("something was written beside the array")
    return result


def try_case(seed: int, corpus: list[dict[str, bytes]], folder: Path) -> str:
    """Make and read one case; gives what came out."""
    rng = random.Random(seed)
    number = rng.randrange(len(corpus))
    stored_in, store = folder / str(number), corpus[number]
    if not stored_in.exists():
        for name, value in store.items():
            (stored_in / name).parent.mkdir(parents=True, exist_ok=True)
            (stored_in / name).write_bytes(value)
    chunks = [key for key in sorted(store) if not key.endswith((".zarray", ".zattrs", "zarr.json"))]
    key = rng.choice(chunks or ["none"])
    (stored_in / key).write_bytes(damaged(store.get(key, b""), rng))
    came_out = compare(stored_in, rng)
    (stored_in / key).write_bytes(store.get(key, b""))
    return came_out


def compare(folder: Path, rng: random.Random) -> str:
    """Read a part of an array by the kernel, from files and from memory, and by Python."""
    import chunkstore as cs
    from chunkstore import engine

    options = cs.Options(n_threads=rng.choice((1, 1, 2)))
    stored = cs.open_array(folder, mode="r", options=options)
    if stored.dtype.hasobject:
        return "objects"
    selection = selection_of(stored.shape, rng)
    by_kernel = outcome(stored, selection)
    memory = cs.MemoryStore()
    for key in stored.store.list_prefix():
        memory.set(key, stored.store.get(key) or b"")
    from_memory = outcome(cs.open_array(memory, mode="r"), selection)
    kernel_for = engine.kernel_for
    engine.kernel_for = lambda *_, **__: None  # type: ignore[assignment]
    try:
        by_python = outcome(stored.with_options(), selection)
    finally:
        engine.kernel_for = kernel_for
    # Of a blosc value only the blocks that are selected are decoded, or found damaged.
    parts = "blosc" in repr(stored.metadata.codecs) and by_python[0] == "error"
    for read in (by_kernel, from_memory):
        if read != by_python and not parts:
            raise AssertionError(f"kernel: {read}, Python: {by_python}")
    return by_kernel[0]


def main() -> int:
    """Try cases until the time is over."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", default="")
    arguments = parser.parse_args()
    load_kernel(arguments.kernel)
    corpus = [*golden_stores(), *own_stores(arguments.folder / "own")]
    seed = int(arguments.seed or random.randrange(2**48))
    print(f"{len(corpus)} arrays; the first seed is {seed}", flush=True)
    counts: dict[str, int] = {}
    end = time.monotonic() + arguments.seconds
    while time.monotonic() < end:
        (arguments.folder / "seed").write_text(str(seed))
        try:
            came_out = try_case(seed, corpus, arguments.folder)
        except BaseException:
            print(f"seed {seed}; the arrays are in {arguments.folder}", file=sys.stderr)
            raise
        counts[came_out] = counts.get(came_out, 0) + 1
        seed += 1
    print(f"{sum(counts.values())} cases: {counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
