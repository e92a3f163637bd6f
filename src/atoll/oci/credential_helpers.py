"""Programs that keep passwords: ``docker-credential-NAME get``, as docker and podman run them.

The program reads the registry's name from stdin and answers on stdout, within bounds of time and
size::

    {"ServerURL": "HOST", "Username": "USER", "Secret": "PASSWORD"}

What it answers is in no log and no message.
"""

from __future__ import annotations

import re

from atoll.base.errors import Damaged, MissingPrivilege, MissingProgram
from atoll.base.json import parse_json_object
from atoll.host.run import ask
from atoll.oci.login import Credentials

PREFIX = "docker-credential-"
SECONDS = 60.0
"""A helper may ask the person for a password of its own."""

LIMIT = 64 << 10
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_UNKNOWN = b"credentials not found in native keychain"


def ask_helper(name: str, host: str, *, seconds: float = SECONDS) -> Credentials | None:
    """What the helper ``name`` knows of ``host``; None when it knows nothing.

    Raises MissingProgram, or MissingPrivilege when it fails or answers something else.
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
    """None for what is no answer, or an identity token, which Atoll does not use."""
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
