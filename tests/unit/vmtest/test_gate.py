"""A test cuts a transfer where it means to: the server waits for it half way."""

from __future__ import annotations

import functools
import http.client
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from vmtest.gate import Gate, gate_before

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = b"half and half" * 1000


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    (tmp_path / "blobs").mkdir()
    for name in ("blobs/one", "manifest"):
        (tmp_path / name).write_bytes(CONTENT)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with gate_before(f"127.0.0.1:{server.server_address[1]}", part="/blobs/") as gate:
            yield gate
        server.shutdown()


def get(gate: Gate, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(gate.address, timeout=30)
    connection.request("GET", path)
    return connection.getresponse()


def test_an_open_gate_changes_nothing(gate: Gate) -> None:
    answer = get(gate, "/blobs/one")
    assert (answer.status, answer.read()) == (200, CONTENT)
    assert get(gate, "/nothing").status == 404
    assert not gate.holds(seconds=0)


def test_a_shut_gate_holds_half_of_a_blob_back_until_it_opens(gate: Gate) -> None:
    gate.shut()
    assert get(gate, "/manifest").read() == CONTENT
    answer = get(gate, "/blobs/one")
    assert answer.read(len(CONTENT) // 2) == CONTENT[: len(CONTENT) // 2]
    assert gate.holds(seconds=30)
    gate.open()
    assert answer.read() == CONTENT[len(CONTENT) // 2 :]
