"""vmtest stands alone and stays small."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import vmtest

MODULES = sorted(Path(vmtest.__file__).parent.glob("*.py"))
MAY_IMPORT = {"vmtest", "pytest", *sys.stdlib_module_names}
OF_ATOLL = {"qemu": {"atoll.vm.qemu", "atoll.base.errors"}, "saved": {"atoll.vm.qemu"}}
"""What judges Atoll must not be Atoll: vmtest takes from it only how QEMU is started."""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_it_imports_only_itself_pytest_and_the_standard_library(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "."]
        for name in names:
            allowed = name.split(".")[0] in MAY_IMPORT or name in OF_ATOLL.get(path.stem, ())
            assert allowed, f"{path}: {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400, path
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 50, f"{path}:{node.lineno}: {node.name} has {length} lines"
