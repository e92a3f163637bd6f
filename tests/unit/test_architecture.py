"""The floors: imports go down only, effects have one door each, modules stay small."""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import TYPE_CHECKING

from tests.source import parse_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

SOURCE = Path(__file__).parents[2] / "src" / "atoll"
FLOORS: list[set[str]] = [
    {"cli"},
    {"cli.output"},
    {"machine.auto"},
    {"installer.beside"},
    {"installer", "installer.dialogue", "installer.apply"},
    {"installer.answers"},
    {"installer.plan", "installer.settings"},
    {"installer.devices"},
    {"machine.report"},
    {"layering"},
    {"inspect", "lint", "machine", "vm"},
    {"machine.drift", "machine.live"},
    {"machine.etc", "machine.health"},
    {"machine.deployments"},
    {"machine.boot"},
    {"machine.deployment"},
    {"builder"},
    {"builder.finish"},
    {"builder.steps"},
    {"builder.cache"},
    {"lock"},
    {"recipe"},
    {"recipe.language"},
    {"recipe.model"},
    {"debian", "oci"},
    {"image"},
    {"store"},
    {"tree", "host"},
    {"base"},
]
"""Packages and, where a package has floors inside, its parts: a module belongs to the longest name
that it begins with. Imports go to a lower floor, or stay in the same part."""
PURE = ("base", "tree")
EFFECTS = {"os", "subprocess", "socket", "tempfile", "shutil", "ctypes", "fcntl", "pathlib"}
MAY_NAME_PATHS = {"base.errors"}
MODULE_LINES, FUNCTION_LINES, PARAMETERS = 400, 40, 6
LONGER: dict[str, str] = {
    # module or function: why it may be longer
    "host.sandbox_init": "runs in a process of its own, and says why it keeps each capability",
}

JSON_DOORS = {"base.json": "the one way in"}
"""Modules that may call json.loads, and why."""

KERNEL_FILES = {
    "machine.auto.facts": 1,
    "machine.boot.mounts": 1,
    "machine.boot.nvram": 1,
    "machine.deployments.boot_history": 1,
    "machine.live.describe": 1,
    "machine.live.live": 1,
    "machine.deployments.machine_lock": 1,
    "machine.grow": 3,
    "machine.health.checks": 1,
    "machine.boot.luks": 1,
    "machine.boot.secure_boot": 1,
    "machine.protection": 1,
}
"""How often modules read a whole file that only the kernel can have made."""

MODULES = sorted(SOURCE.rglob("*.py"))


@functools.cache
def parsed(path: Path) -> ast.Module:
    return parse_source(path.read_text())


@functools.cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """All that a module consists of."""
    return tuple(ast.walk(parsed(path)))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts)


NAMES = {name_of(path) for path in MODULES}


def part_of(module: str) -> str:
    """The longest name in ``FLOORS`` that ``module`` begins with."""
    words = module.split(".")
    names = (".".join(words[:count]) for count in range(len(words), 0, -1))
    part = next((name for name in names if any(name in floor for floor in FLOORS)), None)
    assert part is not None, f"{module} is on no floor: every package of atoll has a place"
    return part


def floor_of(part: str) -> int:
    return next(number for number, floor in enumerate(FLOORS) if part in floor)


@functools.cache
def imports(path: Path) -> list[tuple[str, int]]:
    found = []
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return found


def imported_modules(path: Path) -> list[tuple[str, int]]:
    """Modules of Atoll that ``path`` imports, without the leading ``atoll.``, with the line."""
    found = []
    for name, line in imports(path):
        if not name.startswith("atoll.") or name == "atoll.__version__":
            continue
        inner = name.removeprefix("atoll.")
        found.append((inner if inner in NAMES else inner.rpartition(".")[0], line))
    return found


def breaches_of(rule: Callable[[Path], Iterator[str]], paths: Iterable[Path] = MODULES) -> str:
    """All breaches of a rule, in one test: thousands of tests take longer than what they check."""
    return "\n".join(breach for path in paths for breach in rule(path))


def test_imports_go_down_only() -> None:
    def breaches(path: Path) -> Iterator[str]:
        here = part_of(name_of(path))
        for name, line in imported_modules(path):
            there = part_of(name)
            if there != here and floor_of(here) >= floor_of(there):
                yield f"{path}:{line}: {here} imports {there}, which is not below it"

    assert not breaches_of(breaches, (path for path in MODULES if path.parent != SOURCE))


def test_every_floor_is_there() -> None:
    missing = {
        part
        for part in set().union(*FLOORS)
        if not (SOURCE / part.replace(".", "/")).is_dir() and part not in NAMES
    }
    assert not missing


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Imports that only the type checker reads count as well."""
    below = {name_of(path): {name for name, _ in imported_modules(path)} for path in MODULES}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " imports ".join((*above[above.index(name) :], name))
        if name not in done:
            for each in below.get(name, ()):
                visit(each, (*above, name))
            done.add(name)

    for name in below:
        visit(name, ())


def test_pure_packages_have_no_effects() -> None:
    def breaches(path: Path) -> Iterator[str]:
        for name, line in imports(path):
            if name.split(".")[0] in EFFECTS:
                yield f"{path}:{line}: {name} in a pure package"

    pure = (path for path in MODULES if name_of(path).split(".")[0] in PURE)
    assert not breaches_of(breaches, (path for path in pure if name_of(path) not in MAY_NAME_PATHS))


def test_modules_stay_small() -> None:
    def breaches(path: Path) -> Iterator[str]:
        lines = len(path.read_text().splitlines())
        if lines > MODULE_LINES and name_of(path) not in LONGER:
            yield f"{path} has {lines} lines, more than {MODULE_LINES}"

    assert not breaches_of(breaches)


def test_functions_stay_small() -> None:
    def breaches(path: Path) -> Iterator[str]:
        for node in nodes(path):
            if not isinstance(node, ast.FunctionDef):
                continue
            if f"{name_of(path)}.{node.name}" in LONGER:
                continue
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            length = (node.end_lineno or first.lineno) - first.lineno + 1
            if length > FUNCTION_LINES:
                yield f"{path}:{node.lineno}: {node.name} has {length} lines"
            count = len(node.args.args) + len(node.args.kwonlyargs) + len(node.args.posonlyargs)
            if count > PARAMETERS and node.name != "__init__":
                yield f"{path}:{node.lineno}: {node.name} has {count} parameters"

    assert not breaches_of(breaches)


def test_every_module_says_what_it_is() -> None:
    assert [path for path in MODULES if not ast.get_docstring(parsed(path))] == []


def test_json_from_outside_comes_in_by_one_door() -> None:
    """``parse_json`` bounds size, depth and numbers; ``json.loads`` bounds nothing."""

    def breaches(path: Path) -> Iterator[str]:
        for node in nodes(path):
            match node:
                case ast.Attribute(
                    value=ast.Name(id="json"), attr="load" | "loads" | "JSONDecoder" as name
                ):
                    yield f"{path}:{node.lineno}: json.{name}; take base.json.parse_json"

    assert not breaches_of(breaches, (path for path in MODULES if name_of(path) not in JSON_DOORS))


def test_toml_comes_in_by_one_door() -> None:
    """``parse_toml`` takes no longer than its text is long; ``tomllib`` does."""
    found = {
        name_of(path)
        for path in MODULES
        if any(name.startswith("tomllib") for name, _ in imports(path))
    }
    assert found == {"base.toml"}


def test_locks_are_taken_by_one_door() -> None:
    """``take_lock`` never waits without a limit."""
    found = {name_of(path) for path in MODULES if "fcntl.flock(" in path.read_text()}
    assert found == {"host.fs"}


def test_files_that_others_may_have_put_there_are_read_by_one_door() -> None:
    """``read_regular`` and its like never wait for a pipe and never read without end."""

    def breaches(path: Path) -> Iterator[str]:
        name = name_of(path)
        calls = [
            node.func.attr
            for node in nodes(path)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        ]
        found = sum(call in ("read_bytes", "read_text") for call in calls)
        if found != KERNEL_FILES.get(name, 0):
            yield f"{name}: read it by host/fs.py"

    packages = ("image", "machine", "oci", "store")
    outside = (path for path in MODULES if name_of(path).split(".")[0] in packages)
    assert not breaches_of(breaches, outside)


def test_no_two_public_classes_share_a_name() -> None:
    places: dict[str, list[str]] = {}
    for path in MODULES:
        for node in parsed(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(name_of(path))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}
