"""The floors: imports go down only, effects have one door each, modules stay small."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "atoll"
FLOORS: list[set[str]] = [
    {"cli"},
    {"machine", "user", "recipe"},
    {"registry", "debian"},
    {"store"},
    {"tree", "host"},
    {"base"},
]
PURE = ("base", "tree")
EFFECTS = {"os", "subprocess", "socket", "tempfile", "shutil", "ctypes", "fcntl", "pathlib"}
MAY_NAME_PATHS = {"base.errors"}
MODULE_LINES, FUNCTION_LINES, PARAMETERS = 400, 40, 6
LONGER: dict[str, str] = {
    # module or function: why it may be longer
}

JSON_DOORS = {
    "base.json": "the one way in",
    "store.layers": "its own lines with a checksum, hundreds of thousands of them",
}
"""Modules that may call json.loads, and why."""

MODULES = sorted(SOURCE.rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts)


def floor_of(package: str) -> int:
    for number, floor in enumerate(FLOORS):
        if package in floor:
            return number
    raise AssertionError(f"{package} is on no floor: every package of atoll has a place")


def imports(path: Path) -> list[tuple[str, int]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down_only(path: Path) -> None:
    parts = path.relative_to(SOURCE).parts
    if len(parts) == 1:
        return
    here = parts[0]
    for name, line in imports(path):
        words = name.split(".")
        if words[0] != "atoll" or len(words) < 3:
            continue
        there = words[1]
        if there == "__version__":
            continue
        assert there == here or floor_of(here) < floor_of(there), (
            f"{path}:{line}: {here} imports {there}, which is not below it"
        )


@pytest.mark.parametrize(
    "path", [m for m in MODULES if name_of(m).split(".")[0] in PURE], ids=name_of
)
def test_pure_packages_have_no_effects(path: Path) -> None:
    if name_of(path) in MAY_NAME_PATHS:
        return
    for name, line in imports(path):
        assert name.split(".")[0] not in EFFECTS, f"{path}:{line}: {name} in a pure package"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    name = name_of(path)
    if name not in LONGER:
        assert len(text.splitlines()) <= MODULE_LINES, f"{path} has more than {MODULE_LINES} lines"
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef):
            continue
        if f"{name}.{node.name}" in LONGER:
            continue
        first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
        length = (node.end_lineno or first.lineno) - first.lineno + 1
        assert length <= FUNCTION_LINES, f"{path}:{node.lineno}: {node.name} has {length} lines"
        count = len(node.args.args) + len(node.args.kwonlyargs) + len(node.args.posonlyargs)
        dataclass_like = node.name == "__init__"
        assert dataclass_like or count <= PARAMETERS, f"{path}:{node.lineno}: {count} parameters"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_json_from_outside_comes_in_by_one_door(path: Path) -> None:
    """``parse_json`` bounds size, depth and numbers; ``json.loads`` bounds nothing."""
    if name_of(path) in JSON_DOORS:
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr in ("load", "loads", "JSONDecoder"):
            door = isinstance(node.value, ast.Name) and node.value.id == "json"
            assert not door, f"{path}:{node.lineno}: json.{node.attr}; take base.json.parse_json"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_toml_comes_in_by_one_door(path: Path) -> None:
    """``parse_toml`` takes no longer than its text is long; ``tomllib`` does."""
    if name_of(path) != "base.toml":
        assert all(not name.startswith("tomllib") for name, _ in imports(path)), path
