"""``atoll check``: all that is wrong with a recipe or would fail later, or that nothing is."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import RecipeError
from atoll.base.text import escape
from atoll.recipe.language.parse import read_problems
from atoll.recipe.lint.facts import Place, read_facts
from atoll.recipe.lint.model import Need, Severity, Subject
from atoll.recipe.lint.run import need_lints, run_lints
from atoll.recipe.locking.place import find_lock
from atoll.store.layout import default_store_root

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection

    from atoll.base.report import Reporter
    from atoll.recipe.model import Recipe

LANGUAGE = "recipe"
"""What problems are called that the parser finds."""


@dataclass(slots=True)
class _Report:
    """What was found, in the order of variants; what several variants share is there once."""

    rows: dict[tuple[object, ...], dict[str, object]] = field(default_factory=dict)
    skipped: dict[Need, tuple[str, set[str]]] = field(default_factory=dict)
    right: list[Recipe] = field(default_factory=list)

    def add(self, problem: RecipeError, lint: str, severity: Severity, variant: str | None) -> None:
        key = (str(problem), problem.hint, lint)
        row = self.rows.setdefault(key, _as_json(problem, lint, severity))
        variants = row["variants"]
        assert isinstance(variants, list)
        variants.append(variant)

    def skip(self, lint: str, need: Need, why: str) -> None:
        self.skipped.setdefault(need, (why, set()))[1].add(lint)

    def count(self, severity: Severity) -> int:
        return sum(row["severity"] == severity for row in self.rows.values())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", nargs="?", default=".", help="a recipe, or the folder it is in")
    parser.add_argument("--variant", metavar="NAME", help="this one only (default: all)")
    parser.add_argument("--offline", action="store_true", help="ask nothing of the network")
    parser.add_argument("--strict", action="store_true", help="a warning is a failure, too")
    parser.add_argument(
        "--skip", metavar="LINT", action="append", default=[], help="leave this lint out"
    )
    parser.add_argument("--store", metavar="DIR", type=Path, help="whose cache to look into")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    skip = need_lints(arguments.skip)
    root = (arguments.store or default_store_root()).absolute()
    place = Place(store=root, offline=arguments.offline, reporter=reporter)
    report = _Report()
    for variant in _variants(Path(arguments.recipe), arguments.variant):
        _check(report, Path(arguments.recipe), variant, place, skip)
    failed = report.count(Severity.FATAL) or (arguments.strict and report.rows)
    if arguments.json:
        print(json.dumps(_document(report), indent=2))
    else:
        for row in report.rows.values():
            print(_told(row), file=sys.stderr)
    _tell_skipped(report, reporter)
    if failed:
        return RecipeError.exit_code
    if not arguments.json:
        for recipe in report.right:
            print(_summary(recipe))
    reporter.notice(f"next: atoll build {arguments.recipe}")
    return 0


def _variants(path: Path, chosen: str | None) -> tuple[str | None, ...]:
    """The variants to check: the chosen one, or the recipe as it is and then each of its own."""
    if chosen is not None:
        return (chosen,)
    recipe, _ = read_problems(path)
    return (None, *(recipe.variants if recipe is not None else ()))


def _check(
    report: _Report, path: Path, variant: str | None, place: Place, skip: Collection[str]
) -> None:
    recipe, problems = read_problems(path, variant)
    for problem in problems:
        report.add(problem, LANGUAGE, Severity.FATAL, variant)
    if recipe is None:
        return
    try:
        lock = find_lock(recipe)
    except RecipeError as error:
        report.add(error, LANGUAGE, Severity.FATAL, variant)
        lock, skip = None, {*skip, "lock-missing"}
    facts = read_facts(recipe, lock, place)
    outcome = run_lints(Subject(recipe=recipe, lock=lock, facts=facts), skip)
    for found in outcome.found:
        report.add(found.problem, found.lint.name, found.lint.severity, variant)
    for name, need in outcome.skipped.items():
        report.skip(name, need, facts.missing.get(need, "nothing is known of it"))
    if not any(found.lint.severity is Severity.FATAL for found in outcome.found):
        report.right.append(recipe)


def _summary(recipe: Recipe) -> str:
    count = len(recipe.packages.install) + len(recipe.packages.local)
    things = [
        f"{number} {thing if number == 1 else things}"
        for number, thing, things in (
            (count, "package", "packages"),
            (len(recipe.users), "user", "users"),
            (len(recipe.files), "file", "files"),
        )
        if number
    ]
    image = f"{recipe.image.name} {recipe.image.version}"
    suite = (f"Debian {recipe.debian.suite}",) if recipe.debian.suite else ()
    return f"{recipe.file} is right: {', '.join((image, *suite, *things))}"


def _told(row: dict[str, object]) -> str:
    """A problem as a person reads it."""
    lint = "" if row["lint"] == LANGUAGE else f"  [{row['lint']}]"
    warning = "warning: " if row["severity"] == Severity.WARNING else ""
    hint = f"\n  {escape(str(row['hint']))}" if row["hint"] else ""
    return f"atoll: {warning}{escape(str(row['message']))}{lint}{hint}"


def _tell_skipped(report: _Report, reporter: Reporter) -> None:
    for need, (why, lints) in report.skipped.items():
        reporter.notice(f"not all checked, without {need}: {', '.join(sorted(lints))} ({why})")


def _document(report: _Report) -> dict[str, object]:
    return {
        "problems": list(report.rows.values()),
        "not_checked": [
            {"lint": lint, "without": need, "why": why}
            for need, (why, lints) in report.skipped.items()
            for lint in sorted(lints)
        ],
    }


def _as_json(problem: RecipeError, lint: str, severity: Severity) -> dict[str, object]:
    return {
        "lint": lint,
        "severity": severity.value,
        "message": problem.message,
        "hint": problem.hint,
        "file": None if problem.file is None else str(problem.file),
        "line": problem.line,
        "key": problem.key,
        "variants": [],
    }
