"""A small quick service that speaks as much of S3 as reading and writing arrays takes.

Run as ``python -m tests.object_server PORT LATENCY_S`` in a process of its own. Where moto's server
computes for milliseconds over each request, this one only holds bytes, so that a benchmark
measures the client; and it can let each request wait, as one to a far service does. Listings are
empty, signatures are not looked at, there are no conditions: the tests use moto.
"""

from __future__ import annotations

import http.server
import itertools
import re
import sys
import time
from email.utils import formatdate
from urllib.parse import parse_qs, urlsplit

EMPTY_LISTING = (
    b'<?xml version="1.0" encoding="UTF-8"?>'
    b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name>'
    b"<KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>"
    b"</ListBucketResult>"
)
ABSENT = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>"

values: dict[str, tuple[bytes, str]] = {}
"""Path -> value and ETag."""
serial = itertools.count()


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection, which is kept open from request to request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    latency_s = 0.0

    def log_message(self, *args: object) -> None:
        pass

    def parse_request(self) -> bool:
        is_understood = super().parse_request()
        time.sleep(self.latency_s)
        return is_understood

    def answer(self, status: int, content: bytes | memoryview = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if "list-type" in parse_qs(parts.query):
            self.answer(200, EMPTY_LISTING)
            return
        if parts.path not in values:
            self.answer(404, ABSENT)
            return
        value, etag = values[parts.path]
        facts = {"ETag": etag, "Last_Modified": formatdate(1e9, usegmt=True)}
        span = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if span is None:
            self.answer(200, value, **facts)
            return
        start = int(span[1]) if span[1] else max(0, len(value) - int(span[2]))
        stop = min(len(value), int(span[2]) + 1) if span[1] and span[2] else len(value)
        facts["Content_Range"] = f"bytes {start}-{stop - 1}/{len(value)}"
        self.answer(206, memoryview(value)[start:stop], **facts)

    do_HEAD = do_GET  # noqa: N815  (the base class says so)

    def do_PUT(self) -> None:
        value = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        etag = f'"{next(serial)}"'
        values[urlsplit(self.path).path] = value, etag
        self.answer(200, ETag=etag)

    def do_DELETE(self) -> None:
        values.pop(urlsplit(self.path).path, None)
        self.answer(204)


def main() -> None:
    """Serve until the process is ended."""
    port, Handler.latency_s = int(sys.argv[1]), float(sys.argv[2])
    http.server.ThreadingHTTPServer.request_queue_size = 128
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main()
