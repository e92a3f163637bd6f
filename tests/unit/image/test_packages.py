"""packages.json is read as written; paths below /usr/lib/atoll are defined in one module."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import atoll
from atoll.base.errors import Damaged
from atoll.image.packages import format_packages, parse_package_list
from tests.source import parse_source

ROWS = (("bash", "5.2-1", "amd64"), ("libc6", "2.41-1", "i386"), ("tzdata", "2026a-1", "all"))
OUTSIDE = {"recipe/language/check_paths.py": "what recipes may not write, with a reason each"}


def test_it_is_read_as_it_was_written() -> None:
    text = format_packages(ROWS)
    assert text.startswith('[\n ["bash", "5.2-1", "amd64"],\n')
    found = parse_package_list(text.encode(), native="amd64", where="x")
    assert found == {"bash": "5.2-1", "libc6:i386": "2.41-1", "tzdata": "2026a-1"}


@pytest.mark.parametrize("data", [b"{}", b'[["bash", "1"]]', b'[["bash", 1, "amd64"]]', b"[null]"])
def test_other_documents_are_refused(data: bytes) -> None:
    with pytest.raises(Damaged, match="x is not a list of packages"):
        parse_package_list(data, native="amd64", where="x")


def test_paths_of_a_tree_are_written_once() -> None:
    """With a second definition of a path its writer and its reader could drift apart."""
    top = Path(atoll.__file__).parent
    written = {
        str(path.relative_to(top))
        for path in top.rglob("*.py")
        if "usr/lib/atoll" in (source := path.read_text())
        for node in ast.walk(parse_source(source))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str | bytes)
        and (text := node.value if isinstance(node.value, str) else node.value.decode("latin-1"))
        and text.lstrip("/").startswith("usr/lib/atoll")
    }
    assert written - OUTSIDE.keys() == {"image/paths.py"}
