"""A registry, as the OCI distribution specification has it: manifests and blobs over HTTP.

::

    GET /v2/NAME/manifests/TAG-or-DIGEST        a manifest, or an index of manifests
    GET /v2/NAME/blobs/DIGEST                   a blob; Range resumes it
    401 + WWW-Authenticate: Bearer realm=…      a token is fetched there, then the request repeated

What arrives is compared with its digest here (manifests) or by the caller (blobs). Nothing else
that the registry says is believed.

Credentials and tokens are shown to the registry and to the token service that it names itself. A
401 of another server, where the registry redirects to, is never answered.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from atoll.base.errors import AtollError, Damaged, MissingPrivilege, NetworkError, NotFound
from atoll.base.ids import BlobDigest
from atoll.base.json import parse_json_object
from atoll.host.address import origin_of, parse_address, show_address
from atoll.host.http import ByteRange
from atoll.oci.manifest import INDEX, MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import httpx

    from atoll.host.http import HttpClient, Response
    from atoll.oci.endpoints import Endpoint
    from atoll.oci.login import Credentials
    from atoll.oci.manifest import Descriptor

MAX_MANIFEST = 4 << 20
"""Bytes of a manifest, as the specification recommends."""

MAX_TOKEN = 64 << 10
MAX_LOGINS = 20
"""How often a token may run out while one blob comes."""

_ACCEPT = ", ".join(
    (
        MANIFEST,
        INDEX,
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
_SCHEME = re.compile(r"(?:^|,)\s*(Bearer|Basic)(?=\s|$)", re.IGNORECASE)
# Possessive, and from the begin of a word: what a registry sends may be as long as a header can be.
_PARAMETER = re.compile(r'(?<!\w)(\w++)\s*+=\s*+(?:"([^"]*+)"|([^\s,"]++))')
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What a registry wants to see: a token for ``service`` from ``realm``, or a password."""

    kind: str
    realm: str = ""
    service: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedManifest:
    """A manifest or index as it came; ``digest`` was computed from ``data``."""

    digest: BlobDigest
    data: bytes


class RegistryClient:
    """One image name at one registry. Safe to use from several threads.

    ``find_login`` is asked once, when the registry wants to know who comes.
    """

    def __init__(
        self, endpoint: Endpoint, web: HttpClient, find_login: Callable[[], Credentials | None]
    ) -> None:
        self._endpoint = endpoint
        self._web = web
        self._find_login = find_login
        self._login: Credentials | None = None
        self._has_looked = False
        self._authorization: str | None = None
        self._lock = threading.Lock()
        self._base: httpx.URL | None = None

    @property
    def name(self) -> str:
        return f"{self._endpoint.host}/{self._endpoint.repository}"

    def manifest(self, reference: str) -> ReceivedManifest:
        """The manifest of a tag or digest; raises NotFound, Damaged, NetworkError."""
        answer = self._ask(f"manifests/{reference}", limit=MAX_MANIFEST)
        digest = BlobDigest("sha256:" + sha256(answer.body).hexdigest())
        told = answer.headers.get("docker-content-digest", digest)
        wanted = reference if ":" in reference else told
        if digest != wanted or (told.startswith("sha256:") and told != digest):
            raise Damaged(
                f"{self.name}: the manifest of {reference} has the digest {digest}, not "
                f"{(wanted if digest != wanted else told)[:80]!r}",
                hint="the registry, or a proxy in front of it, changes images",
            )
        return ReceivedManifest(digest=digest, data=answer.body)

    def document(self, descriptor: Descriptor) -> bytes:
        """A small blob; the caller compares it with its digest."""
        pieces = self.blob(descriptor, ByteRange(end=descriptor.size))
        return b"".join(pieces)

    def blob(self, descriptor: Descriptor, span: ByteRange) -> Iterator[bytes]:
        """Bytes of a blob; a token may run out."""
        url = f"{self._repository_url()}/blobs/{descriptor.digest}"
        fresh, logins = False, 0
        while span.start < span.end:
            shown = self._authorization
            headers = {"Authorization": shown} if shown else {}
            try:
                for chunk in self._web.download(url, headers=headers, span=span):
                    span = replace(span, start=span.start + len(chunk))
                    fresh = False
                    yield chunk
            except NetworkError as error:
                if error.status in (None, 200):
                    raise
                what = f"blob {descriptor.digest}"
                self._check_own(error.url, error.status, what)
                if error.status == 401 and not fresh and logins < MAX_LOGINS:
                    self._log_in(shown, error.headers)
                    fresh, logins = True, logins + 1
                    continue
                raise self._explained(error.status, what) from error

    def _ask(self, path: str, *, limit: int) -> Response:
        url = f"{self._repository_url()}/{path}"
        for fresh in (False, True):
            shown = self._authorization
            headers = {"Accept": _ACCEPT, **({"Authorization": shown} if shown else {})}
            answer = self._web.get(url, headers=headers, limit=limit)
            if answer.status == 200:
                return answer
            what = path.replace("/", " ", 1)
            self._check_own(answer.url, answer.status, what)
            if answer.status != 401 or fresh:
                break
            self._log_in(shown, answer.headers)
        raise self._explained(answer.status, what)

    def _check_own(self, url: str, status: int, what: str) -> None:
        """Raises NetworkError when it was another server that refused: it is no place to log in."""
        there = parse_address(url)
        if self._base is not None and origin_of(there) != origin_of(self._base):
            raise NetworkError(
                f"{self.name}: {what}: the registry redirects to {show_address(there)}, which"
                " answers"
                f" with status {status}",
                hint="Atoll sends no credentials there: report it to the administrator of the"
                " registry",
            )

    def _explained(self, status: int, what: str) -> AtollError:
        """What a status means for ``what`` of this image."""
        match status:
            case 404 if "sha256:" in what:
                return NotFound(
                    f"{self.name}: the registry has no {what}",
                    hint="the image may have been replaced during the pull: try again",
                )
            case 404:
                return NotFound(
                    f"{self.name}: the registry has no {what}", hint="check the name and tag"
                )
            case 401 | 403:
                known = "rejects your credentials" if self._login else "requires a login"
                host = self._endpoint.host
                return MissingPrivilege(
                    f"{self.name}: the registry {known} for {what}", hint=f"podman login {host}"
                )
        return NetworkError(
            f"{self.name}: {what}: the registry answers with status {status}",
            hint="report it to the administrator of the registry",
        )

    def _repository_url(self) -> str:
        with self._lock:
            if self._base is None:
                self._base = parse_address(self._find_base())
            return f"{self._base.scheme}://{self._endpoint.address}/v2/{self._endpoint.repository}"

    def _find_base(self) -> str:
        """https always; http only where it may be and nobody speaks https."""
        secure = f"https://{self._endpoint.address}"
        if self._endpoint.may_be_plain and not self._web.speaks_tls(f"{secure}/v2/"):
            return f"http://{self._endpoint.address}"
        return secure

    def _log_in(self, shown: str | None, headers: Mapping[str, str]) -> None:
        """Answer a challenge, unless another thread has done so since ``shown`` was refused."""
        challenge = parse_challenge(headers.get("www-authenticate", ""))
        with self._lock:
            if self._authorization != shown:
                return
            if challenge is None:
                raise NetworkError(
                    f"{self.name}: the registry requires an unsupported kind of authentication"
                )
            if not self._has_looked:
                self._login, self._has_looked = self._find_login(), True
            if challenge.kind == "bearer":
                self._authorization = f"Bearer {self._fetch_token(challenge)}"
            elif self._login is not None:
                self._authorization = self._login.basic

    def _fetch_token(self, challenge: Challenge) -> str:
        realm = self._checked_realm(challenge.realm)
        words = {
            "service": challenge.service,
            "scope": f"repository:{self._endpoint.repository}:pull",
        }
        query = urlencode({key: value for key, value in words.items() if value})
        mark = "&" if realm.query else "?"
        headers = {"Authorization": self._login.basic} if self._login else {}
        url = f"{str(realm).rstrip('?&')}{mark}{query}"
        answer = self._web.get(url, headers=headers, limit=MAX_TOKEN)
        if answer.status != 200:
            raise self._explained(answer.status, "a token")
        token = parse_token(answer.body)
        if token is None:
            raise NetworkError(f"{self.name}: the login at {show_address(realm)} returns no token")
        return token

    def _checked_realm(self, text: str) -> httpx.URL:
        """Where the registry sends for a token: https, or this registry itself if it has none.

        Raises NetworkError for another place.
        """
        try:
            realm = parse_address(text).copy_with(fragment=None)
        except NetworkError as error:
            raise NetworkError(
                f"{self.name}: the registry has an unsafe login address: {error.message}"
            ) from error
        assert self._base is not None
        same_host = origin_of(realm).host == origin_of(self._base).host
        if realm.userinfo or (
            realm.scheme != "https" and not (same_host and self._base.scheme == "http")
        ):
            raise NetworkError(
                f"{self.name}: the registry uses {show_address(realm)} for logins,"
                " which is not safe",
                hint="report it to the administrator of the registry",
            )
        return realm


def parse_challenge(text: str) -> Challenge | None:
    """What a ``WWW-Authenticate`` header asks for; a token when there is a choice."""
    found = {}
    schemes = list(_SCHEME.finditer(text))
    for number, match in enumerate(schemes):
        end = schemes[number + 1].start() if number + 1 < len(schemes) else len(text)
        words = {
            key.lower(): quoted or bare
            for key, quoted, bare in _PARAMETER.findall(text[match.end() : end])
        }
        kind = match[1].lower()
        found[kind] = Challenge(
            kind=kind, realm=words.get("realm", ""), service=words.get("service", "")
        )
    return found.get("bearer") or found.get("basic")


def parse_token(body: bytes) -> str | None:
    """The token in the answer of a login; None when there is no proper one."""
    try:
        fields = parse_json_object(body, where="token")
    except Damaged:
        return None
    token = fields.get("token") or fields.get("access_token")
    return token if isinstance(token, str) and _TOKEN.fullmatch(token) else None
