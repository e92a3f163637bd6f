"""Hashes of passwords by crypt(3), in the way that this Debian's ``passwd`` chooses.

Python has no function for it since 3.13. libcrypt is essential in Debian: login needs it. Unlike a
program, it shows the password to no list of processes.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from atoll.base.errors import MissingProgram

if TYPE_CHECKING:
    from typing import Any

_NAME = "libcrypt.so.1"
_OUTPUT = 384
"""CRYPT_OUTPUT_SIZE: bytes of a hash with its zero."""
_DATA = 32768
"""sizeof(struct crypt_data)."""
_PREFIX = b"$y$"
"""yescrypt, Debian's own choice since 11."""


def hash_password(password: str) -> str:
    """A new hash each time. Raises MissingProgram where there is no libcrypt with yescrypt."""
    setting = ctypes.create_string_buffer(_OUTPUT)
    made = _library().crypt_gensalt_rn(_PREFIX, 0, None, 0, setting, _OUTPUT)
    if not made:
        raise MissingProgram(f"{_NAME} cannot make hashes of the kind yescrypt", hint=_HINT)
    return crypt_password(password, setting.value.decode())


def crypt_password(password: str, setting: str) -> str:
    """The hash with the salt and cost of ``setting``, which may be a whole hash: it is the same
    again when the password is right."""
    data = ctypes.create_string_buffer(_DATA)
    found = _library().crypt_rn(password.encode(), setting.encode(), data, _DATA)
    if not found:
        raise MissingProgram(f"{_NAME} cannot hash a password", hint=_HINT)
    made = bytes(found).decode()
    ctypes.memset(data, 0, _DATA)
    return made


_HINT = "apt install libcrypt1"


def _library() -> Any:  # noqa: ANN401
    try:
        library = ctypes.CDLL(_NAME, use_errno=True)
        library.crypt_gensalt_rn.restype = ctypes.c_char_p
        library.crypt_rn.restype = ctypes.c_char_p
    except (OSError, AttributeError) as error:
        raise MissingProgram(f"{_NAME} is missing", hint=_HINT) from error
    return library
