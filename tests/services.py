"""Real services on loopback for tests, and a proxy that counts requests and makes faults.

Fixtures to import into a test module. Each starts once a session, and skips with the reason where
the service cannot be had. Name them as arguments of a test, so that they start before it.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import pytest

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
def running(command: list[str], port: int, log: Path) -> Iterator[None]:
    """Run a server until the end of the context; it is up when its port answers."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=log.parent)
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


# --- a plain web server --------------------------------------------------------------------------


class WebServer:
    """A web server on a folder, with ranges; a context manager."""

    def __init__(self, root: Path, *, has_etags: bool = True, has_ranges: bool = True) -> None:
        self.requests: list[tuple[str, str, str | None]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                outer._answer(self, root, has_etags=has_etags, has_ranges=has_ranges)

            do_HEAD = do_GET  # noqa: N815  (the base class says so)

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _answer(
        self, handler: http.server.BaseHTTPRequestHandler, root: Path, *, has_etags: bool,
        has_ranges: bool,
    ) -> None:  # fmt: skip
        wanted = handler.headers.get("Range")
        self.requests.append((handler.command, handler.path, wanted))
        path = root / unquote(urlsplit(handler.path).path).strip("/")
        if not path.is_file():
            handler.send_error(404)
            return
        data = path.read_bytes()
        etag = f'"{path.stat().st_mtime_ns}-{len(data)}"'
        if handler.headers.get("If-Match", etag) != etag:
            handler.send_error(412)
            return
        status, start, stop = 200, 0, len(data)
        if wanted is not None and has_ranges:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start = int(first) if first else max(0, len(data) - int(last))
            stop = min(len(data), int(last) + 1) if first and last else len(data)
            status = 206
            if start >= len(data):
                handler.send_error(416)
                return
        handler.send_response(status)
        handler.send_header("Content-Length", str(stop - start))
        handler.send_header("Last-Modified", formatdate(path.stat().st_mtime, usegmt=True))
        if has_etags:
            handler.send_header("ETag", etag)
        if status == 206:
            handler.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(data[start:stop])

    def __enter__(self) -> WebServer:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


# --- a proxy that makes faults -------------------------------------------------------------------


class Asked(NamedTuple):
    """One request as the proxy saw it."""

    method: str
    path: str
    range: str | None


class Proxy:
    """Passes requests on to a service, counts them, and spoils those that `fault` says.

    `fault` is called with each request and gives None, or ``"503"`` (or another status),
    ``"reset"`` (the connection ends before an answer), ``"lost"`` (the same, but the service has
    done what was asked), ``"truncate"`` (the answer ends in its middle), ``"slow"`` (0.3 s).
    """

    def __init__(self, endpoint: str) -> None:
        self.requests: list[Asked] = []
        self.fault: Callable[[Asked], str | None] = lambda asked: None
        parts = urlsplit(endpoint)
        outer, self._upstream = self, parts.netloc

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                outer._pass_on(self)

            do_PUT = do_HEAD = do_DELETE = do_POST = do_GET  # noqa: N815

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *args: None  # type: ignore[method-assign]
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}{parts.path}"

    def _pass_on(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        asked = Asked(handler.command, handler.path, handler.headers.get("Range"))
        self.requests.append(asked)
        fault = self.fault(asked)
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if fault == "reset":
            self._reset(handler)
            return
        if fault == "slow":
            time.sleep(0.3)
        if fault is not None and fault.isdigit():
            handler.send_response(int(fault))
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        upstream = http.client.HTTPConnection(self._upstream, timeout=30)
        try:
            upstream.putrequest(
                handler.command, handler.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in handler.headers.items():
                if name.lower() != "connection":
                    upstream.putheader(name, value)
            upstream.endheaders(body)
            answer = upstream.getresponse()
            content = answer.read()
        finally:
            upstream.close()
        if fault == "lost":
            self._reset(handler)
            return
        handler.send_response(answer.status)
        n_bytes = answer.getheader("Content-Length") if handler.command == "HEAD" else len(content)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(n_bytes or 0))
        handler.end_headers()
        if fault == "truncate":
            handler.wfile.write(content[: len(content) // 2])
            handler.wfile.flush()
            self._reset(handler)
            return
        handler.wfile.write(content)

    def _reset(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        # No linger: the client sees a reset, not an orderly end.
        handler.close_connection = True
        with contextlib.suppress(OSError):
            handler.connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
            )
            handler.connection.close()

    def forget(self) -> None:
        """Begin a new record."""
        self.requests.clear()

    def __enter__(self) -> Proxy:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Once:
    """A fault that happens to the first n requests that match."""

    def __init__(
        self, kind: str, matches: Callable[[Asked], bool] = lambda asked: True, n: int = 1
    ) -> None:
        self._kind, self._matches, self._left = kind, matches, n
        self._lock = threading.Lock()

    def __call__(self, asked: Asked) -> str | None:
        with self._lock:
            if self._left and self._matches(asked):
                self._left -= 1
                return self._kind
        return None
