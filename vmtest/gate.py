"""A door before an HTTP server of this machine: what a client fetches can be held back half way.

So a test acts in the middle of a transfer, instead of hoping to look at the right moment.
"""

from __future__ import annotations

import http.client
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding"})
UPSTREAM_SECONDS = 60


class Gate:
    """Shut, it lets half of each answer through whose path has ``part`` in it, and then waits."""

    def __init__(self, upstream: str, part: str) -> None:
        self.upstream = upstream
        self.part = part
        self.address = ""
        self._open = threading.Event()
        self._held = threading.Event()
        self._open.set()

    def shut(self) -> None:
        self._held.clear()
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def holds(self, *, seconds: float) -> bool:
        """Whether an answer is held back; waits so long for one."""
        return self._held.wait(seconds)

    def pass_through(self, path: str) -> None:
        """Called in the middle of each answer; returns when the rest may go."""
        if self.part in path and not self._open.is_set():
            self._held.set()
            self._open.wait()


@contextmanager
def gate_before(upstream: str, *, part: str) -> Iterator[Gate]:
    """A gate before the server at ``upstream`` (host:port), on a port of the loopback interface."""
    gate = Gate(upstream, part)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(gate))
    server.daemon_threads = True
    gate.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield gate
    finally:
        gate.open()
        server.shutdown()
        server.server_close()


def _handler(gate: Gate) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._forward()

        def do_HEAD(self) -> None:
            self._forward()

        def _forward(self) -> None:
            connection = http.client.HTTPConnection(gate.upstream, timeout=UPSTREAM_SECONDS)
            try:
                connection.request(self.command, self.path, headers=dict(self.headers.items()))
                answer = connection.getresponse()
                body = answer.read()
            finally:
                connection.close()
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in HOP_BY_HOP | {"content-length"}:
                    self.send_header(name, value)
            length = answer.getheader("content-length") if self.command == "HEAD" else len(body)
            self.send_header("Content-Length", str(length or 0))
            self.end_headers()
            try:
                self.wfile.write(body[: len(body) // 2])
                gate.pass_through(self.path)
                self.wfile.write(body[len(body) // 2 :])
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the machine lost its power

        def log_message(self, *_: object) -> None:  # type: ignore[explicit-override]
            """Nothing: the server behind has a log."""

    return Handler
