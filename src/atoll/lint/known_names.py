"""Debian's locales and keyboard layouts, to check names before a build.

``data/locales`` has one name per line, ``data/keyboards`` one layout with its variants per line
(``de: dvorak neo``). Both list the union of Debian 12 and 13. To regenerate them from roots with
the packages locales and xkb-data::

    python -m atoll.lint.known_names ROOT…
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from atoll.builder.steps.system import parse_layouts

if TYPE_CHECKING:
    from collections.abc import Mapping

SUITES = frozenset({"bookworm", "trixie", "oldstable", "stable"})
"""The suites that the lists are for; later suites may have more names."""
_LOCALES, _KEYBOARDS = "locales", "keyboards"


def read_locales() -> tuple[str, ...]:
    """The names of Debian's locales."""
    return tuple(_read(_LOCALES).splitlines())


def read_layouts() -> dict[str, frozenset[str]]:
    """The variants of each layout."""
    found = {}
    for line in _read(_KEYBOARDS).splitlines():
        name, _, variants = line.partition(":")
        found[name] = frozenset(variants.split())
    return found


def format_locales(supported: str) -> str:
    """The content of ``data/locales``, from the text of /usr/share/i18n/SUPPORTED files."""
    names = {line.split()[0] for line in supported.splitlines() if line.strip()}
    return "".join(f"{name}\n" for name in sorted(names))


def format_layouts(layouts: Mapping[str, frozenset[str]]) -> str:
    """The content of ``data/keyboards``."""
    lines = (f"{name}: {' '.join(sorted(layouts[name]))}".rstrip() for name in sorted(layouts))
    return "".join(f"{line}\n" for line in lines)


def _read(name: str) -> str:
    return files("atoll.lint").joinpath("data", name).read_text()


if __name__ == "__main__":
    import sys
    from pathlib import Path

    data = Path(__file__).with_name("data")
    shares = [Path(root, "usr/share") for root in sys.argv[1:]]
    texts = [(share / "i18n/SUPPORTED").read_text() for share in shares]
    (data / _LOCALES).write_text(format_locales("\n".join(texts)))
    rules = [(share / "X11/xkb/rules/base.lst").read_text() for share in shares]
    (data / _KEYBOARDS).write_text(format_layouts(parse_layouts("\n".join(rules))))
