"""Credential helpers: programs ``docker-credential-NAME``, run as docker and podman run them.

``docker-credential-NAME get`` reads the registry's host from stdin and answers on stdout; time and
size are limited::

    {"ServerURL": "HOST", "Username": "USER", "Secret": "PASSWORD"}

The output appears in no log and no message.
"""

from __future__ import annotations

import re

from atoll.base.errors import Damaged, MissingPrivilege, MissingProgram
from atoll.base.json import parse_json_object
from atoll.host.run import ask
from atoll.oci.login import Credentials

PREFIX = "docker-credential-"
SECONDS = 60.0
"""Time limit. It is long because a helper may ask the user for a passphrase."""

LIMIT = 64 << 10
"""Bytes of output."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_UNKNOWN = b"credentials not found in native keychain"


def ask_helper(name: str, host: str, *, seconds: float = SECONDS) -> Credentials | None:
    """Ask the helper ``name`` for credentials of ``host``; None if it has none.

    Raises Damaged for an invalid ``name``, MissingProgram, or MissingPrivilege when the helper
    fails or its output is not valid.
    """
    if not _NAME.fullmatch(name):
        raise Damaged(
            f"{name!r} cannot be the name of a credential helper",
            hint=f"it must be a program {PREFIX}NAME in PATH",
        )
    program = PREFIX + name
    try:
        status, answer = ask([program, "get"], host.encode(), seconds=seconds, limit=LIMIT)
    except MissingProgram:
        raise MissingProgram(
            f"the credential helper {program} is not installed",
            hint=f"install it, or remove it from the file that names it; then: podman login {host}",
        ) from None
    except (TimeoutError, ValueError, PermissionError) as error:
        raise _failed(program, host, str(error)) from None
    if status:
        if _UNKNOWN in answer:
            return None
        raise _failed(program, host, f"it exited with status {status}")
    found = parse_answer(answer)
    if found is None:
        raise _failed(program, host, "its output has no user name and secret")
    return found if found.user or found.password else None


def parse_answer(answer: bytes) -> Credentials | None:
    """Parse a helper's output; None if it is not valid or an identity token, which is unsupported.

    A helper marks an identity token by the user name ``<token>``.
    """
    try:
        fields = parse_json_object(answer, where="answer")
    except Damaged:
        return None
    user, secret = fields.get("Username"), fields.get("Secret")
    if not isinstance(user, str) or not isinstance(secret, str) or user == "<token>":
        return None
    return Credentials(user=user, password=secret)


def _failed(program: str, host: str, why: str) -> MissingPrivilege:
    return MissingPrivilege(
        f"the credential helper {program} failed for {host}: {why}",
        hint=f"to test it: echo {host} | {program} get",
    )
