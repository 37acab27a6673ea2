"""Throughput over local S3 services: chunkstore beside zarr-python over obstore and over s3fs.

64 MiB in chunks of 1 MiB, plain bytes. Three services: moto's, in Python, which computes longer
over a request than the clients do, so that none can be much faster than another; a quick one, which
only holds bytes, so that what the clients cost shows; and the same with 20 ms before each answer,
as a service far away has, where the number of requests under way decides.
"""

from __future__ import annotations

import contextlib
import sys
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.data import equals
from tests.benchmarks.harness import OURS, Contender, Row, Scale
from tests.services import free_port, running

OPTIONS = {"access_key_id": "tester", "secret_access_key": "secret", "region": "us-east-1"}
CHUNKS = (1, 1024, 256)
ROOT = Path(__file__).resolve().parents[2]

Opener = Callable[[Scale, dict[str, Any] | None], Any]
"""Makes an array of a layout, or opens the one made with None."""


def rows(scale: Scale) -> list[Row]:
    """Give the rows of this topic."""
    values = np.random.default_rng(0).random((scale.part(64), 1024, 256), "f4")
    what = f"{values.nbytes >> 20} MiB in chunks of 1 MiB, no codec"
    layout = {"shape": values.shape, "chunks": CHUNKS, "dtype": "f4", "compressors": None}

    def prepare_write(open_it: Opener) -> Callable[[], Any]:
        def run() -> None:
            open_it(scale, layout)[...] = values

        return run

    def prepare_read(open_it: Opener) -> Callable[[], Any]:
        open_it(scale, layout)[...] = values
        array = open_it(scale, None)
        return lambda: array[...]

    def check_written(open_it: Opener, _: Any) -> None:
        equals(values, open_it(scale, None)[...])

    def rows_on(where: str) -> list[Row]:
        around = partial(service, scale, where)
        return [
            Row(
                f"write all, {where}", what,
                [
                    Contender(
                        name, partial(prepare_write, open_it), needs=needs,
                        check=partial(check_written, open_it),
                    )
                    for name, (open_it, needs) in OPENERS.items()
                ],
                around=around,
                goal=1.0,
            ),
            Row(
                f"read all, {where}", what,
                [
                    Contender(name, partial(prepare_read, open_it), needs=needs)
                    for name, (open_it, needs) in OPENERS.items()
                ],
                check=lambda result: equals(values, result),
                around=around,
                goal=1.0,
            ),
        ]  # fmt: skip

    return [row for where in SERVICES for row in rows_on(where)]


SERVICES: dict[str, tuple[list[str], list[str]]] = {
    "moto": (["moto.server", "-H", "127.0.0.1", "-p"], []),
    "quick service": (["tests.object_server"], ["0"]),
    "far service": (["tests.object_server"], ["0.02"]),
}
"""What comes before and after the port in the command that runs a service."""


@contextlib.contextmanager
def service(scale: Scale, where: str) -> Iterator[None]:
    """Run an S3 service with an empty bucket, and leave its address where workers find it."""
    port = free_port()
    before, after = SERVICES[where]
    command = [sys.executable, "-m", *before, str(port), *after]
    with running(command, port, scale.folder / "service.log", cwd=ROOT):
        endpoint = f"http://127.0.0.1:{port}"
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/bucket", method="PUT")).close()
        (scale.folder / "endpoint").write_text(endpoint)
        yield


def endpoint_of(scale: Scale) -> str:
    """Give the address of the service."""
    return (scale.folder / "endpoint").read_text()


def ours(scale: Scale, layout: dict[str, Any] | None) -> Any:
    """Ours over obstore."""
    import chunkstore

    options = {**OPTIONS, "endpoint": endpoint_of(scale)}
    url = "s3://bucket/ours"
    if layout is None:
        return chunkstore.open_array(url, mode="r", storage_options=options)
    return chunkstore.create_array(url, overwrite=True, storage_options=options, **layout)


def zarr_over_obstore(scale: Scale, layout: dict[str, Any] | None) -> Any:
    """zarr-python's ObjectStore."""
    import obstore.store
    import zarr
    from zarr.storage import ObjectStore

    raw = obstore.store.from_url(
        "s3://bucket/obstore", client_options={"allow_http": True}, endpoint=endpoint_of(scale),
        **OPTIONS,
    )  # fmt: skip
    return zarr_on(zarr, ObjectStore(raw), layout)


def zarr_over_s3fs(scale: Scale, layout: dict[str, Any] | None) -> Any:
    """zarr-python's FsspecStore."""
    import zarr
    from zarr.storage import FsspecStore

    options = {
        "key": "tester", "secret": "secret", "endpoint_url": endpoint_of(scale),
        "client_kwargs": {"region_name": "us-east-1"},
    }  # fmt: skip
    return zarr_on(zarr, FsspecStore.from_url("s3://bucket/s3fs", storage_options=options), layout)


def zarr_on(zarr: Any, store: Any, layout: dict[str, Any] | None) -> Any:
    """Make or open an array with zarr-python."""
    if layout is None:
        return zarr.open_array(store, mode="r")
    return zarr.create_array(store, overwrite=True, **layout)


OPENERS: dict[str, tuple[Opener, tuple[str, ...]]] = {
    OURS: (ours, ("obstore",)),
    "zarr over obstore": (zarr_over_obstore, ("zarr", "obstore")),
    "zarr over s3fs": (zarr_over_s3fs, ("zarr", "s3fs")),
}
