"""Client for a container registry (OCI distribution specification): manifests and blobs over HTTP.

::

    GET /v2/NAME/manifests/TAG-or-DIGEST        a manifest, or an index of manifests
    GET /v2/NAME/blobs/DIGEST                   a blob; a Range header resumes a download
    401 + WWW-Authenticate: Bearer realm=…      fetch a token from the realm, repeat the request

Every manifest is compared with its digest here; the caller does the same for blobs. Nothing else
that the registry sends is trusted.

Credentials and tokens go only to the registry and to the token service that the registry names. A
401 from any other server, such as the target of a redirect, is never answered with credentials.
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
"""Bytes. The specification recommends support for manifests of at least 4 MB."""

MAX_TOKEN = 64 << 10
"""Bytes of a token service's response."""

MAX_LOGINS = 20
"""How often a token may expire during the download of one blob."""

_ACCEPT = ", ".join(
    (
        MANIFEST,
        INDEX,
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
_SCHEME = re.compile(r"(?:^|,)\s*(Bearer|Basic)(?=\s|$)", re.IGNORECASE)
# Possessive quantifiers, anchored at the start of a word: a registry controls this header, and
# backtracking over a long one would take quadratic time.
_PARAMETER = re.compile(r'(?<!\w)(\w++)\s*+=\s*+(?:"([^"]*+)"|([^\s,"]++))')
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What a registry asks for: a bearer token for ``service`` from ``realm``, or a password.

    ``kind`` is the authentication scheme in lower case: ``bearer`` or ``basic``.
    """

    kind: str
    realm: str = ""
    service: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedManifest:
    """A manifest or index as received; ``digest`` was computed from ``data``."""

    digest: BlobDigest
    data: bytes


class RegistryClient:
    """One repository at one registry. Safe to use from several threads.

    ``find_login`` is called at most once, when the registry first requires authentication.
    """

    def __init__(
        self, endpoint: Endpoint, http: HttpClient, find_login: Callable[[], Credentials | None]
    ) -> None:
        self._endpoint = endpoint
        self._http = http
        self._find_login = find_login
        self._login: Credentials | None = None
        self._has_login_result = False
        self._authorization: str | None = None
        self._lock = threading.Lock()
        self._base: httpx.URL | None = None

    @property
    def name(self) -> str:
        return f"{self._endpoint.host}/{self._endpoint.repository}"

    def manifest(self, reference: str) -> ReceivedManifest:
        """Fetch the manifest of a tag or digest and check its digest.

        Raises NotFound, Damaged, MissingPrivilege or NetworkError.
        """
        response = self._get(f"manifests/{reference}", limit=MAX_MANIFEST)
        digest = BlobDigest("sha256:" + sha256(response.body).hexdigest())
        declared = response.headers.get("docker-content-digest", digest)
        expected = reference if ":" in reference else declared
        if digest != expected or (declared.startswith("sha256:") and declared != digest):
            raise Damaged(
                f"{self.name}: the manifest of {reference} has the digest {digest}, not "
                f"{(expected if digest != expected else declared)[:80]!r}",
                hint="the registry, or a proxy in front of it, changes images",
            )
        return ReceivedManifest(digest=digest, data=response.body)

    def document(self, descriptor: Descriptor) -> bytes:
        """Fetch a small blob; the caller compares it with its digest."""
        pieces = self.blob(descriptor, ByteRange(end=descriptor.size))
        return b"".join(pieces)

    def blob(self, descriptor: Descriptor, span: ByteRange) -> Iterator[bytes]:
        """Yield the bytes ``span`` of a blob, not checked; logs in again when a token expires.

        Raises NotFound, MissingPrivilege or NetworkError.
        """
        url = f"{self._repository_url()}/blobs/{descriptor.digest}"
        fresh, logins = False, 0
        while span.start < span.end:
            sent = self._authorization
            headers = {"Authorization": sent} if sent else {}
            try:
                for chunk in self._http.download(url, headers=headers, span=span):
                    span = replace(span, start=span.start + len(chunk))
                    fresh = False
                    yield chunk
            except NetworkError as error:
                if error.status in (None, 200):
                    raise
                what = f"blob {descriptor.digest}"
                self._check_origin(error.url, error.status, what)
                if error.status == 401 and not fresh and logins < MAX_LOGINS:
                    self._log_in(sent, error.headers)
                    fresh, logins = True, logins + 1
                    continue
                raise self._status_error(error.status, what) from error

    def _get(self, path: str, *, limit: int) -> Response:
        url = f"{self._repository_url()}/{path}"
        for fresh in (False, True):
            sent = self._authorization
            headers = {"Accept": _ACCEPT, **({"Authorization": sent} if sent else {})}
            response = self._http.get(url, headers=headers, limit=limit)
            if response.status == 200:
                return response
            what = path.replace("/", " ", 1)
            self._check_origin(response.url, response.status, what)
            if response.status != 401 or fresh:
                break
            self._log_in(sent, response.headers)
        raise self._status_error(response.status, what)

    def _check_origin(self, url: str, status: int, what: str) -> None:
        """Raise NetworkError if another server sent ``status``: Atoll never logs in there."""
        target = parse_address(url)
        if self._base is not None and origin_of(target) != origin_of(self._base):
            raise NetworkError(
                f"{self.name}: {what}: the registry redirects to {show_address(target)}, which"
                " answers"
                f" with status {status}",
                hint="Atoll sends no credentials there: report it to the administrator of the"
                " registry",
            )

    def _status_error(self, status: int, what: str) -> AtollError:
        """The error that an HTTP status means for the request of ``what``."""
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
                problem = "rejects your credentials" if self._login else "requires a login"
                host = self._endpoint.host
                return MissingPrivilege(
                    f"{self.name}: the registry {problem} for {what}", hint=f"podman login {host}"
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
        """The base URL: https, or http where that is allowed and the host does not speak TLS."""
        secure = f"https://{self._endpoint.address}"
        if self._endpoint.allows_http and not self._http.speaks_tls(f"{secure}/v2/"):
            return f"http://{self._endpoint.address}"
        return secure

    def _log_in(self, sent: str | None, headers: Mapping[str, str]) -> None:
        """Answer the challenge in ``headers``; ``sent`` is the Authorization that was refused.

        Does nothing if another thread has already replaced that Authorization.
        """
        challenge = parse_challenge(headers.get("www-authenticate", ""))
        with self._lock:
            if self._authorization != sent:
                return
            if challenge is None:
                raise NetworkError(
                    f"{self.name}: the registry requires an unsupported kind of authentication"
                )
            if not self._has_login_result:
                self._login, self._has_login_result = self._find_login(), True
            if challenge.kind == "bearer":
                self._authorization = f"Bearer {self._fetch_token(challenge)}"
            elif self._login is not None:
                self._authorization = self._login.basic

    def _fetch_token(self, challenge: Challenge) -> str:
        realm = self._parse_realm(challenge.realm)
        parameters = {
            "service": challenge.service,
            "scope": f"repository:{self._endpoint.repository}:pull",
        }
        query = urlencode({key: value for key, value in parameters.items() if value})
        separator = "&" if realm.query else "?"
        headers = {"Authorization": self._login.basic} if self._login else {}
        url = f"{str(realm).rstrip('?&')}{separator}{query}"
        response = self._http.get(url, headers=headers, limit=MAX_TOKEN)
        if response.status != 200:
            raise self._status_error(response.status, "a token")
        token = parse_token(response.body)
        if token is None:
            raise NetworkError(f"{self.name}: the login at {show_address(realm)} returns no token")
        return token

    def _parse_realm(self, text: str) -> httpx.URL:
        """Parse the URL of the token service: https, or the registry's own host if it has no https.

        Raises NetworkError for any other URL: it would receive the password.
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
    """Parse a ``WWW-Authenticate`` header (RFC 9110); bearer wins over basic."""
    found = {}
    schemes = list(_SCHEME.finditer(text))
    for number, match in enumerate(schemes):
        end = schemes[number + 1].start() if number + 1 < len(schemes) else len(text)
        parameters = {
            key.lower(): quoted or bare
            for key, quoted, bare in _PARAMETER.findall(text[match.end() : end])
        }
        kind = match[1].lower()
        found[kind] = Challenge(
            kind=kind, realm=parameters.get("realm", ""), service=parameters.get("service", "")
        )
    return found.get("bearer") or found.get("basic")


def parse_token(body: bytes) -> str | None:
    """The token in a token service's response; None if it has no valid one."""
    try:
        fields = parse_json_object(body, where="token")
    except Damaged:
        return None
    token = fields.get("token") or fields.get("access_token")
    return token if isinstance(token, str) and _TOKEN.fullmatch(token) else None
