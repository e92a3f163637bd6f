"""Arguments of the kernel, as the kernel reads its command line.

It cuts at white space outside of double quotes; a quote may open anywhere in a word, and one that
is never closed takes all that follows. Other programs cut at every space. So an argument is taken
only when it means the same to both: what is Atoll's to say may not even stand between quotes.
"""

from __future__ import annotations

import re

LONGEST = 1500
"""Characters of all arguments of an image together; x86 has 2048 for the whole command line."""

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
"""Names that only Atoll sets, with all that begin with ``atoll.``: they say what boots."""

_WORD = re.compile(r'(?:[^\s"]|"[^"]*(?:"|$))+')
_ARGUMENT = re.compile(r'(?:[!#-~]|"[ !#-~]*")+')


def split_arguments(text: str) -> tuple[str, ...]:
    """The words that the kernel sees, with their quotes."""
    return tuple(_WORD.findall(text))


def is_argument(text: str) -> bool:
    """Whether ``text`` is one argument: printable ASCII, its quotes closed, no space outside."""
    return _ARGUMENT.fullmatch(text) is not None


def find_reserved(text: str) -> str | None:
    """The first name in ``text`` that is Atoll's to set, however a program cuts it into words."""
    for word in (text, *split_arguments(text), *re.split(r'[\s"]+', text)):
        name = word.lstrip('"').partition("=")[0]
        if name in RESERVED or name.startswith("atoll."):
            return name
    return None


def value_of(words: tuple[str, ...], key: str) -> str | None:
    """The value of the first ``key=value``: Atoll's own arguments come before an image's."""
    return next((word[len(key) + 1 :] for word in words if word.startswith(f"{key}=")), None)
