"""Kernel command line: splitting, valid arguments, reserved names.

The kernel splits at white space outside of double quotes. A quote may open anywhere in an argument;
one that is never closed extends to the end. Other programs split at every space. So an argument is
valid only if both agree on it, and reserved names are refused even inside quotes.
"""

from __future__ import annotations

import re

LONGEST = 1500
"""The most characters of all arguments of an image; x86 allows 2048 for the whole command line."""

RESERVED = frozenset(
    (
        "composefs",
        "root",
        "rootfstype",
        "rootflags",
        "ro",
        "rw",
        "init",
        "rdinit",
        "initrd",
        "panic",
    )
)
"""Names that only Atoll sets, besides all that begin with ``atoll.``: they select what boots."""

_WORD = re.compile(r'(?:[^\s"]|"[^"]*(?:"|$))+')
_ARGUMENT = re.compile(r'(?:[!#-~]|"[ !#-~]*")+')


def split_arguments(text: str) -> tuple[str, ...]:
    """Split a command line as the kernel does; quotes are kept."""
    return tuple(_WORD.findall(text))


def is_argument(text: str) -> bool:
    """Whether ``text`` is one argument: printable ASCII, quotes closed, no space outside them."""
    return _ARGUMENT.fullmatch(text) is not None


def find_reserved(text: str) -> str | None:
    """The first reserved name in ``text``, with either way of splitting; None if there is none."""
    for argument in (text, *split_arguments(text), *re.split(r'[\s"]+', text)):
        name = argument.lstrip('"').partition("=")[0]
        if name in RESERVED or name.startswith("atoll."):
            return name
    return None


def value_of(arguments: tuple[str, ...], key: str) -> str | None:
    """The value of the first ``key=value``: Atoll's own arguments come before the image's."""
    return next((each[len(key) + 1 :] for each in arguments if each.startswith(f"{key}=")), None)
