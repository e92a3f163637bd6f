"""A registry on the loopback interface that serves an OCI layout, and misbehaves as it is told."""

from __future__ import annotations

import json
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from atoll.oci.manifest import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass(slots=True, kw_only=True)
class Reply:
    """``claimed`` is a Content-Length that is not that of ``body``; ``endless`` never ends."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    claimed: int | None = None
    endless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]

    @property
    def blob(self) -> str | None:
        return self.path.rpartition("/blobs/")[2] if "/blobs/" in self.path else None

    @property
    def manifest(self) -> str | None:
        return self.path.rpartition("/manifests/")[2] if "/manifests/" in self.path else None


class FakeRegistry:
    """``bend(asked, reply)`` may change any reply or give another; ``asked`` is all there was."""

    def __init__(self, layout: Path, address: str) -> None:
        self.address = address
        self.asked: list[Asked] = []
        self.bend: Callable[[Asked, Reply], Reply] = lambda _, reply: reply
        self._layout = layout

    def reference(self, tag: str = "one") -> str:
        return f"docker://{self.address}/team/hello:{tag}"

    @property
    def blobs_asked(self) -> list[str]:
        return [each.blob for each in self.asked if each.blob]

    def reply(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        return self.bend(asked, self._honest(asked))

    def _honest(self, asked: Asked) -> Reply:
        if asked.path == "/v2/":
            return Reply(body=b"{}")
        name = asked.blob or asked.manifest or ""
        if asked.manifest and not name.startswith("sha256:"):
            name = self._tags().get(name, "")
        path = self._layout / "blobs" / "sha256" / (name.removeprefix("sha256:") or "-")
        if not asked.path.startswith("/v2/team/hello/") or not path.is_file():
            return Reply(status=404, body=b'{"errors":[{"code":"UNKNOWN"}]}')
        body = path.read_bytes()
        if asked.manifest:
            headers = {"Docker-Content-Digest": name, "Content-Type": MANIFEST}
            return Reply(body=body, headers=headers)
        return ranged(asked, body)

    def _tags(self) -> dict[str, str]:
        index = json.loads((self._layout / "index.json").read_bytes())
        return {
            each["annotations"]["org.opencontainers.image.ref.name"]: each["digest"]
            for each in index["manifests"]
        }


def ranged(asked: Asked, body: bytes) -> Reply:
    """A part of ``body`` when one was asked for."""
    wanted = asked.headers.get("range", "")
    if not wanted:
        return Reply(body=body)
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    start, end = int(first), min(int(last or len(body)) + 1, len(body))
    if start >= len(body):
        return Reply(status=416)
    span = f"bytes {start}-{end - 1}/{len(body)}"
    return Reply(status=206, body=body[start:end], headers={"Content-Range": span})


def digest_of(data: bytes) -> str:
    return "sha256:" + sha256(data).hexdigest()


@contextmanager
def fake_registry(layout: Path) -> Iterator[FakeRegistry]:
    server = QuietServer(("127.0.0.1", 0), _Handler)
    registry = FakeRegistry(layout, f"127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass = type("Handler", (_Handler,), {"registry": registry})
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class QuietServer(ThreadingHTTPServer):
    """Says nothing of clients that go away: they ask for https first, and break off on purpose."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:  # type: ignore[explicit-override]
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    registry: FakeRegistry
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        headers = {key.lower(): value for key, value in self.headers.items()}
        self._answer(
            self.registry.reply(
                Asked(path=parts.path, query=parse_qs(parts.query), headers=headers)
            )
        )

    def _answer(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for key, value in reply.headers.items():
            self.send_header(key, value)
        if reply.endless:
            self.send_header("Connection", "close")
            self.end_headers()
            self._send_for_ever()
            return
        length = len(reply.body) if reply.claimed is None else reply.claimed
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(reply.body)
        if length != len(reply.body):
            self.close_connection = True

    def _send_for_ever(self) -> None:
        self.close_connection = True
        try:
            while True:
                self.wfile.write(bytes(1 << 16))
        except OSError:
            return

    def log_message(self, format: str, *arguments: object) -> None:  # type: ignore[explicit-override]
        pass
