"""Servers that are slow, never end or redirect to invalid addresses are refused in bounded time."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import NetworkError
from atoll.host.address import join_address, origin_of, parse_address, show_address
from atoll.host.http import ByteRange, HttpClient, RetryPolicy
from tests.fake_registry import Reply, fake_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HASTY = RetryPolicy(
    attempts=2, first_pause=0.0, timeout=0.5, answer=0.2, whole=0.3, window=0.1, least=1 << 20
)
GREETING = b"HTTP/1.1 200 OK\r\n"


def drip(start: bytes, piece: bytes) -> Callable[[socket.socket], None]:
    """Send ``start``, then ``piece`` repeatedly and slowly until the client disconnects."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(start)
        gone = threading.Event()
        while not gone.wait(0.01):
            connection.sendall(piece)

    return talk


def flood(start: bytes, piece: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(piece * 99)

    return talk


def say(start: bytes) -> Callable[[socket.socket], None]:
    """Send ``start``, then nothing until the client disconnects."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(start)
        connection.recv(1)

    return talk


@contextmanager
def talking(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """The address of a server that answers each connection with ``talk``, until the block ends."""
    open_ones: set[socket.socket] = set()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                connection.recv(1 << 16)
                talk(connection)
            open_ones.discard(connection)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                open_ones.add(connection)
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/x"
        listening.shutdown(socket.SHUT_RDWR)
        for connection in open_ones.copy():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


SLOW = {
    "a header line now and then": drip(GREETING, b"X-A: b\r\n"),
    "a letter now and then": drip(b"", b"H"),
    "103 now and then": drip(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "103 without end": flood(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
    "100 without end": flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "headers without end": flood(GREETING, b"X-A: b\r\n"),
    "one header without end": flood(GREETING + b"X: ", b"y" * 99),
    "a body byte now and then": drip(GREETING + b"Content-Length: 99999\r\n\r\n", b"x"),
    "chunks of a byte": drip(GREETING + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "a chunk whose length never ends": drip(
        GREETING + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x"
    ),
    "trailers without end": flood(
        GREETING + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", b"X-A: b\r\n"
    ),
    "a length of 5,000 digits": say(GREETING + b"Content-Length: " + b"9" * 5000 + b"\r\n"),
}


@pytest.mark.parametrize("name", SLOW)
def test_a_server_that_never_finishes_is_given_up(name: str) -> None:
    with talking(SLOW[name]) as url, HttpClient(retry=HASTY) as web:
        with pytest.raises(NetworkError, match=r"127\.0\.0\.1"):
            web.get(url, limit=1 << 20)
        with pytest.raises(NetworkError, match=r"127\.0\.0\.1"):
            for _ in web.download(url, span=ByteRange(end=99999)):
                pass


NOWHERE = (
    "http://" + "a" * 64 + "/",
    "http://" + "a." * 200 + "b/",
    "http://xn--/",
    "http://xn--a-\x80/",
    "http://a..b/",
    "http://\u2488com/",
    "http://[::1/",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:" + "9" * 5000 + "/",
    "http:///x",
    "http://a b/",
    "http://[fe80::1%25\x7f]/",
    "gopher://127.0.0.1/",
    "file:///etc/shadow",
    "javascript:0",
    "http://me:word@127.0.0.1/",
    "x" * 70_000,
)


@pytest.mark.parametrize("target", NOWHERE)
def test_a_redirect_to_what_is_no_address_is_refused(target: str, tmp_path: Path) -> None:
    with fake_registry(tmp_path) as server, HttpClient(retry=HASTY) as web:
        server.bend = lambda *_: Reply(
            status=302, headers={"Location": target.encode().decode("latin-1")}
        )
        with pytest.raises(NetworkError) as caught:
            web.get(f"http://{server.address}/x", limit=9)
        assert "word" not in caught.value.message
        assert caught.value.message.isprintable()


@given(st.text(max_size=60) | st.text(alphabet=":/@[]\\#?.%a1-é\t\n", max_size=40))
def test_any_redirect_leads_to_an_address_or_is_refused(target: str) -> None:
    start = parse_address("https://registry.example:5000/v2/")
    try:
        there = join_address(start, target)
    except NetworkError as error:
        assert error.message.isprintable()
        return
    assert there.scheme == "https"
    assert origin_of(there).host
    assert parse_address(str(there)).raw_host == there.raw_host
    assert show_address(there).isascii()


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        parse_address(text)
    except NetworkError as error:
        assert error.message.isprintable()


@pytest.fixture(scope="module")
def hasty() -> Iterator[HttpClient]:
    """One client for all examples: loading the certificates takes longer than an example."""
    with HttpClient(retry=RetryPolicy(attempts=1, answer=2.0)) as web:
        yield web


@given(data=st.binary(max_size=300))
def test_any_bytes_are_an_answer_or_an_error(hasty: HttpClient, data: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(data)

    with talking(talk) as url:
        try:
            hasty.get(url, limit=9)
        except NetworkError as error:
            assert "127.0.0.1" in error.message


@given(
    lines=st.lists(
        st.sampled_from(
            [
                b"HTTP/1.1 200 OK",
                b"HTTP/1.1 103 X",
                b"HTTP/1.0 401 \x9b",
                b"Content-Length: 3",
                b"Content-Length: -1",
                b"Content-Length: 3, 3",
                b"Transfer-Encoding: chunked",
                b"",
                b"Transfer-Encoding: gzip, chunked",
                b"Location: /y",
                b"Location: \xff\xfe",
                b"abc",
                b"Content-Range: bytes 0-",
                b"Content-Encoding: br",
                b"Retry-After: 1e9",
                b" fold",
                b'WWW-Authenticate: Bearer realm="\xff"',
                b"X\0: y",
                b"3",
                b"ffffffffffffffffffff",
            ]
        ),
        max_size=12,
    )
)
def test_any_headers_are_an_answer_or_an_error(hasty: HttpClient, lines: list[bytes]) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"\r\n".join([GREETING[:-2], *lines]))

    with talking(talk) as url:
        try:
            hasty.get(url, limit=9)
        except NetworkError as error:
            assert "127.0.0.1" in error.message
