"""Proxies: which proxy a server is reached through, and the messages when that fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import NetworkError
from atoll.host.http import HttpClient, RetryPolicy
from atoll.host.proxy import find_proxy
from tests.fake_registry import Reply, fake_registry

if TYPE_CHECKING:
    from pathlib import Path

QUICK = RetryPolicy(attempts=1, timeout=2.0)
NAMES = [f"{word}_proxy" for word in ("http", "https", "all", "no")]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("scheme", "host", "environment", "proxy"),
    [
        ("https", "a.example", {}, None),
        ("https", "a.example", {"https_proxy": "http://p:1"}, "http://p:1"),
        ("https", "a.example", {"HTTPS_PROXY": "p:1"}, "http://p:1"),
        ("https", "a.example", {"http_proxy": "http://p:1"}, None),
        ("http", "a.example", {"http_proxy": "http://p:1"}, "http://p:1"),
        ("http", "a.example", {"HTTP_PROXY": "http://p:1"}, None),
        ("http", "a.example", {"all_proxy": "http://p:1"}, "http://p:1"),
        ("http", "a.example", {"all_proxy": "socks5://s", "http_proxy": "http://p"}, "http://p"),
        ("http", "a.example", {"http_proxy": ""}, None),
        ("http", "localhost", {"http_proxy": "http://p:1"}, None),
        ("https", "127.0.0.1", {"https_proxy": "http://p:1"}, None),
        ("https", "127.9.9.9", {"all_proxy": "socks://p:1"}, None),
        ("https", "::1", {"https_proxy": "http://p:1"}, None),
    ],
)
def test_which_proxy(
    scheme: str, host: str, environment: dict[str, str], proxy: str | None
) -> None:
    assert find_proxy(scheme, host, 443, environment) == proxy


@pytest.mark.parametrize(
    ("host", "port", "no_proxy", "direct"),
    [
        ("a.example", 443, "*", True),
        ("a.example", 443, "example", True),
        ("a.example", 443, ".example", True),
        ("a.example", 443, "*.example", True),
        ("a.example", 443, "b.example, a.example", True),
        ("a.example", 443, "b.example a.example", True),
        ("A.example".lower(), 443, "A.EXAMPLE", True),
        ("a.example.", 443, "a.example", True),
        ("ba.example", 443, "a.example", False),
        ("a.example", 5000, "a.example:5000", True),
        ("a.example", 443, "a.example:5000", False),
        ("10.1.2.3", 80, "10.0.0.0/8", True),
        ("10.1.2.3", 80, "10.1.2.3", True),
        ("11.1.2.3", 80, "10.0.0.0/8", False),
        ("fd00::1", 80, "fd00::/8", True),
        ("fd00::1", 80, "[fd00::1]:80", True),
        ("a.example", 443, "", False),
    ],
)
def test_what_no_proxy_excepts(host: str, port: int, no_proxy: str, direct: bool) -> None:
    environment = {"https_proxy": "http://p:1", "no_proxy": no_proxy}
    assert (find_proxy("https", host, port, environment) is None) is direct


@pytest.mark.parametrize(
    "value",
    [
        "socks://h:1",
        "socks5h://h:1",
        "ftp://h",
        "http://",
        "http://h:x",
        "http://h:99999",
        "http://a\x1bb/",
        "://",
    ],
)
def test_a_proxy_that_cannot_be_spoken_to_is_named(value: str) -> None:
    with pytest.raises(NetworkError, match="all_proxy") as caught:
        find_proxy("https", "a.example", None, {"all_proxy": value})
    assert caught.value.message.isprintable()


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_any_environment_has_a_proxy_or_none(host: str, proxy: str, no_proxy: str) -> None:
    try:
        find_proxy("https", host, 443, {"https_proxy": proxy, "no_proxy": no_proxy})
    except NetworkError as error:
        assert "https_proxy" in error.message


def test_a_proxy_is_used_and_loopback_is_not_sent_through_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_registry(tmp_path) as proxy, fake_registry(tmp_path) as server:
        proxy.bend = lambda *_: Reply(body=b"proxy")
        server.bend = lambda *_: Reply(body=b"server")
        monkeypatch.setenv("http_proxy", f"http://me:word@{proxy.address}")
        with HttpClient(retry=QUICK) as web:
            assert web.get("http://images.invalid/x", limit=9).body == b"proxy"
            assert web.get(f"http://{server.address}/x", limit=9).body == b"server"
    assert "proxy-authorization" in proxy.asked[0].headers
    assert len(proxy.asked) == 1


def test_an_error_names_the_proxy_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://me:word@127.0.0.1:1")
    with HttpClient(retry=QUICK) as web, pytest.raises(NetworkError) as caught:
        web.get("http://images.invalid/x", limit=9)
    assert "through the proxy http://127.0.0.1:1" in caught.value.message
    assert "word" not in caught.value.message


def test_a_socks_proxy_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks://127.0.0.1:1080")
    with HttpClient(retry=QUICK) as web, pytest.raises(NetworkError, match="socks://") as caught:
        web.get("https://images.invalid/x", limit=9)
    assert "https_proxy" in (caught.value.hint or "")
