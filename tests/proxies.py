"""Small servers of our own for tests: a web server, a proxy that makes faults, a gateway."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import socket
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

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
        headers = {k: v for k, v in handler.headers.items() if k.lower() != "connection"}
        status, answers, content = self.ask(handler.command, handler.path, headers, body)
        if fault == "lost":
            self._reset(handler)
            return
        handler.send_response(status)
        n_bytes = answers.pop("content-length", None)
        for name, value in answers.items():
            if name not in ("connection", "transfer-encoding"):
                handler.send_header(name, value)
        is_head = handler.command == "HEAD"
        handler.send_header("Content-Length", str((is_head and n_bytes) or len(content)))
        handler.end_headers()
        if fault == "truncate":
            handler.wfile.write(content[: len(content) // 2])
            handler.wfile.flush()
            self._reset(handler)
            return
        handler.wfile.write(content)

    def ask(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Ask the service; gives status, headers by their names in small letters, content."""
        upstream = http.client.HTTPConnection(self._upstream, timeout=30)
        try:
            upstream.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                upstream.putheader(name, value)
            upstream.endheaders(body)
            answer = upstream.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            upstream.close()

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


class GcsGateway(Proxy):
    """Lets obstore talk to an emulator of Google Cloud Storage that lacks a part of what it speaks.

    obstore uses the service's XML interface, of which fake-gcs-server has all but the writing of
    objects. That is put here in the words of the JSON interface, conditions included: what is the
    header ``x-goog-if-generation-match`` there is the parameter ``ifGenerationMatch`` here.
    """

    def ask(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Ask the service in words that it understands."""
        # It tells its two interfaces apart by the host that is asked for.
        headers = {**headers, "host": "storage.googleapis.com"}
        headers = {k.lower(): v for k, v in headers.items()}
        if method != "PUT":
            return super().ask(method, path, headers, body)
        _, bucket, key = path.split("/", 2)
        name = json.dumps({"name": unquote(key)}).encode()
        # Of the ways to write an object, this is the one whose conditions it heeds.
        parts = b"--cut\r\nContent-Type: application/json\r\n\r\n%b\r\n"
        parts += b"--cut\r\nContent-Type: application/octet-stream\r\n\r\n%b\r\n--cut--\r\n"
        whole = parts % (name, body)
        condition = headers.pop("x-goog-if-generation-match", None)
        query = "" if condition is None else f"&ifGenerationMatch={condition}"
        status, answers, content = super().ask(
            "POST",
            f"/upload/storage/v1/b/{bucket}/o?uploadType=multipart{query}",
            {
                "host": headers["host"],
                "content-type": "multipart/related; boundary=cut",
                "content-length": str(len(whole)),
            },
            whole,
        )
        if status == 200:
            made = json.loads(content)
            return status, {"etag": made["etag"], "x-goog-generation": made["generation"]}, b""
        return status, answers, content


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
