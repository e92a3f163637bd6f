"""TOML parsing for untrusted input, in linear time.

``tomllib`` takes quadratic time for a dotted key: one of 40 kB takes five seconds, one of a
megabyte would take an hour. And on deep nesting it raises RecursionError instead of its usual error
for invalid text.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

KEY_PARTS = 64
"""The most parts that a dotted key may have."""

_PART = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+"""
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_PART}){{{KEY_PARTS}}}")


def parse_toml(text: str) -> dict[str, Any]:
    """Parse a TOML text. Raises ValueError that says what is wrong, and on which line."""
    long_key = _LONG_KEY.search(text)
    if long_key:
        line = text.count("\n", 0, long_key.start()) + 1
        column = long_key.start() - text.rfind("\n", 0, long_key.start())
        raise ValueError(
            f"More than {KEY_PARTS} parts in a dotted key (at line {line}, column {column})"
        )
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("Lists or tables are nested too deeply") from None
