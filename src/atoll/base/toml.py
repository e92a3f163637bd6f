"""TOML that somebody else wrote, read in a time that grows with its length only.

The standard reader walks all parts of a dotted key for each of them: 40 kB of such a key take five
seconds, and a megabyte would take an hour. Nesting without end stops it with another exception than
a wrong text does.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

KEY_PARTS = 64
"""A dotted key has fewer parts."""

_PART = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+"""
_ENDLESS_KEY = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_PART}){{{KEY_PARTS}}}")


def parse_toml(text: str) -> dict[str, Any]:
    """The table of a TOML text. Raises ValueError with what is wrong and on which line."""
    endless = _ENDLESS_KEY.search(text)
    if endless:
        line = text.count("\n", 0, endless.start()) + 1
        column = endless.start() - text.rfind("\n", 0, endless.start())
        raise ValueError(f"More than {KEY_PARTS} dots in a row (at line {line}, column {column})")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("Lists or tables are nested too deeply") from None
