"""The program's source, for tests that look at it."""

from __future__ import annotations

import ast
import gc


def parse_source(text: str) -> ast.Module:
    """As ``ast.parse``, without the garbage collector, which takes most of its time."""
    gc.disable()
    try:
        return ast.parse(text)
    finally:
        gc.enable()
