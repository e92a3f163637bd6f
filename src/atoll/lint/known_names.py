"""Names of locales and keyboard layouts that Debian has, for a check before anything is built.

``data/locales`` has one name per line, ``data/keyboards`` one layout with its variants per line
(``de: dvorak neo``). Both list what Debian 12 or 13 has. To write them again from roots that have
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
"""Suites whose names these are; later ones may have more."""
_LOCALES, _KEYBOARDS = "locales", "keyboards"


def read_locales() -> tuple[str, ...]:
    return tuple(_read(_LOCALES).splitlines())


def read_layouts() -> dict[str, frozenset[str]]:
    """Layouts with their variants."""
    found = {}
    for line in _read(_KEYBOARDS).splitlines():
        name, _, variants = line.partition(":")
        found[name] = frozenset(variants.split())
    return found


def format_locales(supported: str) -> str:
    """``supported`` is what files /usr/share/i18n/SUPPORTED say."""
    names = {line.split()[0] for line in supported.splitlines() if line.strip()}
    return "".join(f"{name}\n" for name in sorted(names))


def format_layouts(layouts: Mapping[str, frozenset[str]]) -> str:
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
