"""Throughput over a local S3 service: chunkstore beside zarr-python over obstore and over s3fs.

Run by ``ci/bench``, or as a script: ``python tests/benchmarks/bench_remote.py``. Reads and writes
64 MiB in chunks of 1 MiB. The contenders take turns, so that what else the machine does hits all
alike; the figure of each is its median, and the ratios are ours over theirs in the same run.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import chunkstore as cs

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.services import free_port, running  # noqa: E402

SHAPE, CHUNKS = (64, 1024, 256), (1, 1024, 256)
MIB = 64
OPTIONS = {"access_key_id": "tester", "secret_access_key": "secret", "region": "us-east-1"}


def contenders(endpoint: str, key: str) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """Map each contender to how it makes an array and how it opens one; plain bytes, no codec."""
    import obstore.store
    import zarr
    from zarr.storage import FsspecStore, ObjectStore

    options = {**OPTIONS, "endpoint": endpoint}
    layout: dict[str, Any] = {"shape": SHAPE, "chunks": CHUNKS, "dtype": "f4", "compressors": None}

    def over_obstore() -> Any:
        return ObjectStore(
            obstore.store.from_url(
                f"s3://bucket/{key}/o", client_options={"allow_http": True}, **options
            )
        )

    def over_s3fs() -> Any:
        return FsspecStore.from_url(
            f"s3://bucket/{key}/f",
            storage_options={
                "key": "tester", "secret": "secret", "endpoint_url": endpoint,
                "client_kwargs": {"region_name": "us-east-1"},
            },
        )  # fmt: skip

    url = f"s3://bucket/{key}/c"
    return {
        "chunkstore": (
            lambda: cs.create_array(url, overwrite=True, storage_options=options, **layout),
            lambda: cs.open_array(url, mode="r", storage_options=options),
        ),
        "zarr over obstore": (
            lambda: zarr.create_array(over_obstore(), overwrite=True, **layout),
            lambda: zarr.open_array(over_obstore(), mode="r"),
        ),
        "zarr over s3fs": (
            lambda: zarr.create_array(over_s3fs(), overwrite=True, **layout),
            lambda: zarr.open_array(over_s3fs(), mode="r"),
        ),
    }


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Give the seconds that some work takes, and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def main(n_rounds: int = 5) -> None:
    """Run the comparison and print a table."""
    values = np.random.default_rng(0).random(SHAPE, "f4")
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    times: dict[str, dict[str, list[float]]] = {"write": {}, "read": {}}
    with tempfile.TemporaryDirectory() as folder, running(command, port, Path(folder) / "log"):
        endpoint = f"http://127.0.0.1:{port}"
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/bucket", method="PUT")).close()
        all_contenders = contenders(endpoint, uuid.uuid4().hex)
        for turn in range(n_rounds + 1):
            for name, (make, reopen) in all_contenders.items():
                array = make()
                write_s, _ = timed(lambda array=array: array.__setitem__(..., values))
                array = reopen()
                read_s, result = timed(lambda array=array: array[...])
                assert np.array_equal(result, values)
                if turn:  # The first round makes connections and pools.
                    times["write"].setdefault(name, []).append(write_s)
                    times["read"].setdefault(name, []).append(read_s)
    for what, by_name in times.items():
        ours = statistics.median(by_name["chunkstore"])
        for name, seconds in by_name.items():
            median = statistics.median(seconds)
            print(
                f"{what:6}{name:20}{MIB / median:8.1f} MiB/s  "
                f"chunkstore is {median / ours:5.2f} times as fast"
            )


if __name__ == "__main__":
    try:
        main()
    except subprocess.SubprocessError as error:
        sys.exit(str(error))
