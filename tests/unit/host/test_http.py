"""The HTTP client: retries, resumed downloads, and where credentials are never sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import NetworkError
from atoll.host.address import join_address, parse_address
from atoll.host.http import ByteRange, HttpClient, RetryPolicy
from tests.fake_registry import Asked, FakeRegistry, Reply, fake_registry, ranged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUICK = RetryPolicy(attempts=3, first_pause=0.001, longest_pause=0.002, timeout=2.0)
BODY = bytes(range(256)) * 5000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeRegistry]:
    with fake_registry(tmp_path) as found:
        found.bend = lambda asked, _: ranged(asked, BODY)
        yield found


@pytest.fixture
def web() -> Iterator[HttpClient]:
    with HttpClient(retry=QUICK) as opened:
        yield opened


def url(server: FakeRegistry, path: str = "/x") -> str:
    return f"http://{server.address}{path}"


def fetched(web: HttpClient, server: FakeRegistry, offset: int = 0) -> bytes:
    return b"".join(web.download(url(server), span=ByteRange(start=offset, end=len(BODY))))


def test_a_download_is_whole(web: HttpClient, server: FakeRegistry) -> None:
    assert fetched(web, server) == BODY


def test_a_download_resumes_where_it_broke(web: HttpClient, server: FakeRegistry) -> None:
    def breaking(asked: Asked, _: Reply) -> Reply:
        reply = ranged(asked, BODY)
        if len(server.asked) < 3:
            reply.claimed = len(reply.body)
            reply.body = reply.body[:70_000]
        return reply

    server.bend = breaking
    assert fetched(web, server) == BODY
    starts = [each.headers.get("range") for each in server.asked]
    assert starts == [None, "bytes=70000-", "bytes=140000-"]


def test_a_download_begins_where_an_earlier_run_stopped(
    web: HttpClient, server: FakeRegistry
) -> None:
    assert fetched(web, server, 1000) == BODY[1000:]


def test_a_server_without_ranges_is_skipped_through(web: HttpClient, server: FakeRegistry) -> None:
    server.bend = lambda *_: Reply(body=BODY)
    assert fetched(web, server, 1000) == BODY[1000:]


def test_another_range_is_refused(web: HttpClient, server: FakeRegistry) -> None:
    headers = {"Content-Range": f"bytes 0-{len(BODY) - 1}/{len(BODY)}"}
    server.bend = lambda *_: Reply(status=206, body=BODY, headers=headers)
    with pytest.raises(NetworkError, match="another range"):
        fetched(web, server, 1000)


def test_breaks_without_progress_end(web: HttpClient, server: FakeRegistry) -> None:
    server.bend = lambda *_: Reply(body=b"", claimed=len(BODY))
    with pytest.raises(NetworkError, match="tried 3 times"):
        fetched(web, server)
    assert len(server.asked) == 3


def test_progress_earns_new_attempts(web: HttpClient, server: FakeRegistry) -> None:
    def breaking(asked: Asked, _: Reply) -> Reply:
        reply = ranged(asked, BODY * 8)
        piece = reply.body[: (1 << 20) + 1]
        return Reply(
            status=reply.status, headers=reply.headers, body=piece, claimed=len(reply.body)
        )

    server.bend = breaking
    assert b"".join(web.download(url(server), span=ByteRange(end=len(BODY) * 8))) == BODY * 8
    assert len(server.asked) > QUICK.attempts


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(web: HttpClient, server: FakeRegistry, status: int) -> None:
    server.bend = lambda *_: Reply(status=status) if len(server.asked) < 3 else Reply(body=b"ok")
    assert web.get(url(server), limit=9).body == b"ok"


@pytest.mark.parametrize("status", [400, 404, 410, 418, 501])
def test_what_stays_is_not(web: HttpClient, server: FakeRegistry, status: int) -> None:
    server.bend = lambda *_: Reply(status=status)
    assert web.get(url(server), limit=9).status == status
    with pytest.raises(NetworkError, match=str(status)) as caught:
        fetched(web, server)
    assert caught.value.status == status
    assert len(server.asked) == 2


def test_nobody_there(web: HttpClient) -> None:
    with pytest.raises(NetworkError, match=r"http://127.0.0.1:1/x: .*tried 3 times") as caught:
        web.get("http://127.0.0.1:1/x", limit=9)
    assert caught.value.hint


@pytest.mark.parametrize("bad", ["ftp://127.0.0.1/x", "http://[::1/x", "http://"])
def test_an_address_that_is_none(web: HttpClient, bad: str) -> None:
    with pytest.raises(NetworkError):
        web.get(bad, limit=9)


@pytest.mark.parametrize("target", ["http://[::1/x", "http://127.0.0.1:99999/", "//", "data:,x"])
def test_a_redirect_that_leads_nowhere(web: HttpClient, server: FakeRegistry, target: str) -> None:
    server.bend = lambda *_: Reply(status=302, headers={"Location": target})
    with pytest.raises(NetworkError):
        web.get(url(server), limit=9)


def test_credentials_stay_with_their_server(
    web: HttpClient, server: FakeRegistry, tmp_path: Path
) -> None:
    with fake_registry(tmp_path) as other:
        other.bend = lambda *_: Reply(body=b"there")
        server.bend = lambda *_: Reply(status=307, headers={"Location": url(other, "/y?secret=1")})
        answer = web.get(url(server), headers={"Authorization": "Basic eA=="}, limit=9)
    assert answer.body == b"there"
    assert server.asked[0].headers["authorization"] == "Basic eA=="
    assert "authorization" not in other.asked[0].headers


def test_credentials_follow_on_the_same_server(web: HttpClient, server: FakeRegistry) -> None:
    server.bend = lambda asked, _: (
        Reply(body=b"ok") if asked.path == "/y" else Reply(status=301, headers={"Location": "y"})
    )
    web.get(url(server), headers={"Authorization": "Basic eA=="}, limit=9)
    assert server.asked[1].headers["authorization"] == "Basic eA=="


def test_secrets_in_an_address_are_not_told(web: HttpClient, server: FakeRegistry) -> None:
    server.bend = lambda *_: Reply(status=503)
    with pytest.raises(NetworkError) as caught:
        web.get(f"http://me:word@{server.address}/x?token=word", limit=9)
    assert "word" not in caught.value.message


def test_nothing_is_sent_from_the_address(web: HttpClient, server: FakeRegistry) -> None:
    web.get(f"http://me:word@{server.address}/x", limit=len(BODY))
    assert "authorization" not in server.asked[0].headers


def test_a_stalling_server_is_given_up(server: FakeRegistry) -> None:
    server.bend = lambda *_: Reply(body=BODY)
    with (
        HttpClient(
            retry=RetryPolicy(attempts=2, first_pause=0.0, window=-1.0, least=1 << 30)
        ) as web,
        pytest.raises(NetworkError, match="the transfer stalled"),
    ):
        fetched(web, server)


def test_redirects_to_http_are_refused() -> None:
    start = parse_address("https://a.example/x")
    with pytest.raises(NetworkError, match="not safe"):
        join_address(start, "http://a.example/x")
    assert str(join_address(start, "//b.example/y")) == "https://b.example/y"


def test_the_size_of_what_is_there(web: HttpClient, server: FakeRegistry) -> None:
    assert web.size(url(server)) == len(BODY)
    server.bend = lambda *_: Reply(status=404)
    with pytest.raises(NetworkError, match="status 404"):
        web.size(url(server))
