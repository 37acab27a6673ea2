"""Schedulers that tests of dask's arrays run under."""

from __future__ import annotations

from collections.abc import Iterator

import dask
import pytest
from distributed import Client, LocalCluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
        local_directory=tmp_path_factory.mktemp("cluster"),
    ) as started:
        yield started


@pytest.fixture(params=["synchronous", "threads", "cluster"])
def scheduler(request: pytest.FixtureRequest, cluster: LocalCluster) -> Iterator[str]:
    """Run the test under each of the schedulers."""
    if request.param == "cluster":
        with Client(cluster):
            yield request.param
    else:
        with dask.config.set(scheduler=request.param):
            yield request.param
