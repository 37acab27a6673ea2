"""Throughput over a local S3 service: chunkstore beside zarr-python over obstore and over s3fs.

64 MiB in chunks of 1 MiB, plain bytes. The service is moto's, in Python: it bounds all contenders
alike, so the ratios say which client costs less, and the figures nothing of a real network.
"""

from __future__ import annotations

import contextlib
import sys
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from tests.benchmarks.data import equals
from tests.benchmarks.harness import OURS, Contender, Row, Scale
from tests.services import free_port, running

OPTIONS = {"access_key_id": "tester", "secret_access_key": "secret", "region": "us-east-1"}
CHUNKS = (1, 1024, 256)

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

    around = partial(service, scale)
    return [
        Row(
            "write all", what,
            [
                Contender(
                    name, partial(prepare_write, open_it), needs=needs,
                    check=partial(check_written, open_it),
                )
                for name, (open_it, needs) in OPENERS.items()
            ],
            around=around,
        ),
        Row(
            "read all", what,
            [
                Contender(name, partial(prepare_read, open_it), needs=needs)
                for name, (open_it, needs) in OPENERS.items()
            ],
            check=lambda result: equals(values, result),
            around=around,
        ),
    ]  # fmt: skip


@contextlib.contextmanager
def service(scale: Scale) -> Iterator[None]:
    """Run an S3 service with an empty bucket, and leave its address where workers find it."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running(command, port, scale.folder / "service.log"):
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
