"""Credentials and tokens go only to their registry and the token service that it names.

Three servers on loopback answer as a random table says: what is asked for is there, elsewhere, or
wants a login. An independent judge reads all that each server received.
"""

from __future__ import annotations

import base64
import json
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from atoll.base.errors import AtollError
from atoll.base.ids import BlobDigest
from atoll.host.http import ByteRange, HttpClient, RetryPolicy
from atoll.oci.certificates import trust_for
from atoll.oci.client import RegistryClient
from atoll.oci.endpoints import Endpoint
from atoll.oci.login import Credentials
from atoll.oci.manifest import Descriptor
from tests.fake_registry import QuietServer, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator

QUICK = RetryPolicy(attempts=1, first_pause=0.0, longest_pause=0.0, timeout=5.0)
ME = Credentials(user="me", password="pass:word")
BASIC = base64.b64encode(b"me:pass:word").decode()
BODY = b"{}" * 400
HOSTS = ("127.0.0.1", "127.0.0.1", "127.0.0.2")
"""The registry, another port of the same host, another host."""


@dataclass(frozen=True)
class Action:
    """``kind``: serve, go (a redirect), basic, bearer; ``form`` is how the address is written."""

    kind: str
    to: int = 0
    form: str = "{scheme}://{place}"


@dataclass
class Server:
    number: int
    port: int = 0
    received: list[tuple[str, dict[str, str]]] = field(default_factory=list)


class Servers:
    """The servers, their behaviour, and what they have announced."""

    def __init__(self) -> None:
        self.servers = [Server(number) for number in range(len(HOSTS))]
        self.table: dict[tuple[int, str], Action] = {}
        self.realms: set[int] = set()
        self.tokens: set[str] = set()

    def start(self, table: dict[tuple[int, str], Action]) -> None:
        self.table, self.realms, self.tokens = table, set(), set()
        for server in self.servers:
            server.received.clear()

    def host_port(self, number: int) -> str:
        return f"{HOSTS[number]}:{self.servers[number].port}"

    def address(self, action: Action, path: str) -> str:
        host_port = self.host_port(action.to)
        values = {"scheme": "http", "place": host_port, "first": self.host_port(0)}
        values["shout"] = host_port.replace("127.0.0.1", "LOCALHOST")
        return action.form.format(**values) + path

    def answer(self, number: int, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str]]:
        self.servers[number].received.append((path, headers))
        kind = kind_of(path)
        action = self.table.get((number, kind), Action("serve"))
        if action.kind == "go":
            return 307, {"Location": self.address(action, path)}
        shown = headers.get("authorization", "")
        if action.kind == "basic" and not shown.startswith("Basic "):
            return 401, {"WWW-Authenticate": 'Basic realm="here"'}
        if action.kind == "bearer" and not shown.startswith("Bearer "):
            if number == 0 and kind != "token":
                self.realms.add(action.to)
            realm = self.address(action, "/token")
            return 401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="x"'}
        return 200, {}

    def body(self, path: str) -> bytes:
        if kind_of(path) != "token":
            return BODY
        token = f"secret-token-{len(self.tokens)}"
        self.tokens.add(token)
        return json.dumps({"token": token}).encode()


def kind_of(path: str) -> str:
    return next((kind for kind in ("manifests", "blobs", "token") if kind in path), "other")


@contextmanager
def start_servers() -> Iterator[Servers]:
    servers = Servers()
    with ExitStack() as stack:
        for server in servers.servers:
            handler = type("Handler", (_Handler,), {"servers": servers, "number": server.number})
            listening = stack.enter_context(QuietServer((HOSTS[server.number], 0), handler))
            server.port = listening.server_address[1]
            thread = threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(listening.shutdown)
        yield servers


class _Handler(BaseHTTPRequestHandler):
    servers: Servers
    number: int
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        headers = {key.lower(): value for key, value in self.headers.items()}
        status, more = self.servers.answer(self.number, self.path, headers)
        body = self.servers.body(self.path) if status == 200 else b""
        self.send_response(status)
        self.send_header("Set-Cookie", f"seen=by-{self.number}; Path=/")
        for key, value in more.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # type: ignore[explicit-override]
        pass


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with start_servers() as opened:
        yield opened


def request_all(servers: Servers) -> None:
    """Ask the first server for a manifest, a blob, and a part of it; errors are ignored."""
    host_port = servers.host_port(0)
    with HttpClient(retry=QUICK, trust_of=trust_for(host_port, insecure=True)) as web:
        endpoint = Endpoint(host=host_port, repository="team/hello", insecure=True)
        client = RegistryClient(endpoint, web, lambda: ME)
        blob = Descriptor(media_type="", digest=BlobDigest(digest_of(BODY)), size=len(BODY))
        for work in (
            lambda: client.manifest("one"),
            lambda: client.document(blob),
            lambda: b"".join(client.blob(blob, ByteRange(start=2, end=9, is_part=True))),
        ):
            try:
                work()
            except AtollError as error:
                message = f"{error.message} {error.hint}"
                assert BASIC not in message
                assert "pass:word" not in message
                assert not any(token in message for token in servers.tokens)


def check_leaks(servers: Servers) -> None:
    """Which server may see which credentials, decided independently of Atoll's code."""
    for server in servers.servers:
        for path, headers in server.received:
            received = json.dumps(headers) + path
            assert "cookie" not in headers
            assert "stranger" not in received, "a password out of a redirect"
            if BASIC in received:
                named = server.number in servers.realms and kind_of(path) == "token"
                assert named or server.number == 0, f"{server.number} saw the password for {path}"
                assert HOSTS[server.number] == HOSTS[0], "a password in plain text to another host"
            if any(token in received for token in servers.tokens):
                assert server.number == 0, f"{server.number} saw a token for {path}"


FORMS = (
    "{scheme}://{place}",
    "//{place}",
    "HTTP://{place}",
    "{scheme}://{shout}",
    "{scheme}://me:stranger@{place}",
    "{scheme}://{first}@{place}",
    "{scheme}://{first}\\@{place}",
    "{scheme}://{first}#@{place}",
    "{scheme}:{place}",
    "\\\\{place}",
    "https://{place}",
    "{scheme}://{place}/../x",
)
ACTIONS = st.builds(
    Action,
    st.sampled_from(("serve", "go", "go", "basic", "bearer")),
    st.sampled_from((0, 1, 2)),
    st.sampled_from(FORMS),
)
TABLES = st.dictionaries(
    st.tuples(st.sampled_from((0, 1, 2)), st.sampled_from(("manifests", "blobs", "token"))),
    ACTIONS,
    max_size=9,
)


@given(TABLES)
@example({(0, "blobs"): Action("go", 2), (2, "blobs"): Action("bearer", 2)})
@example({(0, "manifests"): Action("go", 1), (1, "manifests"): Action("bearer", 1)})
@example({(0, "blobs"): Action("go", 1), (1, "blobs"): Action("basic")})
@example({(0, "manifests"): Action("bearer", 2)})
@example({(0, "manifests"): Action("bearer", 1), (1, "token"): Action("go", 2)})
@example({(0, "blobs"): Action("bearer", 1), (1, "token"): Action("basic")})
@example({(0, "manifests"): Action("basic"), (0, "blobs"): Action("go", 1)})
@example({(0, "blobs"): Action("go", 1), (1, "blobs"): Action("go", 0)})
def test_no_chain_of_redirects_and_challenges_leaks(
    servers: Servers, table: dict[tuple[int, str], Action]
) -> None:
    servers.start(table)
    request_all(servers)
    check_leaks(servers)


def test_the_registry_and_its_token_service_do_see_them(servers: Servers) -> None:
    """Check that credentials are sent at all: otherwise nothing could leak."""
    servers.start({(0, "manifests"): Action("bearer", 1), (0, "blobs"): Action("bearer", 1)})
    request_all(servers)
    assert any(BASIC in str(headers) for _, headers in servers.servers[1].received)
    assert any("secret-token" in str(headers) for _, headers in servers.servers[0].received)
    servers.start({(0, "manifests"): Action("basic")})
    request_all(servers)
    assert any(BASIC in str(headers) for _, headers in servers.servers[0].received)


def test_a_login_elsewhere_is_refused_by_name(servers: Servers) -> None:
    servers.start({(0, "blobs"): Action("go", 2), (2, "blobs"): Action("basic")})
    host_port = servers.host_port(0)
    with HttpClient(retry=QUICK, trust_of=trust_for(host_port, insecure=True)) as web:
        client = RegistryClient(
            Endpoint(host=host_port, repository="x", insecure=True), web, lambda: ME
        )
        blob = Descriptor(media_type="", digest=BlobDigest(digest_of(BODY)), size=len(BODY))
        with pytest.raises(
            AtollError, match=f"redirects to http://{servers.host_port(2)}/.*status 401"
        ):
            client.document(blob)
