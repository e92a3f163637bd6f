"""``atoll check``: what it does; ``cli/check.py`` has its arguments."""

from __future__ import annotations

import json
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from atoll.base.errors import RecipeError, Unchecked
from atoll.cli.arguments import format_option
from atoll.cli.output.terminal import print_marked
from atoll.lint.context import FactSources, read_facts
from atoll.lint.model import FactKind, LintSubject, Severity
from atoll.lint.run import require_lints, run_lints
from atoll.lock.path import find_lock
from atoll.recipe.language.parse import read_problems
from atoll.store.layout import default_store_root

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection

    from atoll.base.report import Reporter
    from atoll.recipe.model import Recipe

LANGUAGE = "recipe"
"""The lint name of problems that the parser finds."""


RIGHT = "is right"
"""The verdict on a recipe when every lint ran and found no error or warning."""


@dataclass(slots=True)
class _Report:
    """All findings, in the order of variants. A finding that several variants have is listed
    once."""

    rows: dict[tuple[object, ...], dict[str, object]] = field(default_factory=dict)
    skipped: dict[FactKind, tuple[str, set[str]]] = field(default_factory=dict)
    right: list[Recipe] = field(default_factory=list)
    failed: bool = False
    """Whether an error, such as of the network, prevented a check."""

    def add(self, problem: RecipeError, lint: str, severity: Severity, variant: str | None) -> None:
        key = (str(problem), problem.hint, lint)
        row = self.rows.setdefault(key, _as_json(problem, lint, severity))
        variants = row["variants"]
        assert isinstance(variants, list)
        variants.append(variant)

    def skip(self, lint: str, need: FactKind, why: str) -> None:
        self.skipped.setdefault(need, (why, set()))[1].add(lint)

    def count(self, severity: Severity) -> int:
        return sum(row["severity"] == severity for row in self.rows.values())


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    skip = require_lints(arguments.skip)
    root = (arguments.store or default_store_root()).absolute()
    sources = FactSources(store=root, offline=arguments.offline, reporter=reporter)
    report = _Report()
    for variant in _variants(Path(arguments.recipe), arguments.variant):
        _check(report, Path(arguments.recipe), variant, sources, skip)
    if arguments.json:
        print(json.dumps(_document(report), indent=2))
    else:
        _print_report(report, skip)
    if report.count(Severity.FATAL) or (arguments.strict and report.rows):
        return RecipeError.exit_code
    if report.failed:
        raise Unchecked(
            "no errors found, but some checks could not run",
            hint="fix that and try again, or skip these checks with --offline",
        )
    variant = format_option("--variant", arguments.variant)
    store = format_option("--store", arguments.store)
    reporter.notice(f"next: atoll build {quote(arguments.recipe)}{variant}{store}")
    return 0


def _variants(path: Path, chosen: str | None) -> tuple[str | None, ...]:
    """The variants to check: the chosen one, or the recipe without a variant and then all
    variants."""
    if chosen is not None:
        return (chosen,)
    recipe, _ = read_problems(path)
    return (None, *(recipe.variants if recipe is not None else ()))


def _check(
    report: _Report, path: Path, variant: str | None, sources: FactSources, skip: Collection[str]
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
    facts = read_facts(recipe, lock, sources)
    outcome = run_lints(LintSubject(recipe=recipe, lock=lock, facts=facts), skip)
    for found in outcome.found:
        report.add(found.problem, found.lint.name, found.lint.severity, variant)
    report.failed = report.failed or bool(facts.failed & {*outcome.skipped.values()})
    for name, need in outcome.skipped.items():
        report.skip(name, need, facts.missing.get(need, "the reason is unknown"))
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
    return ", ".join((image, *suite, *things))


def _print_report(report: _Report, left_out: Collection[str]) -> None:
    """Print each problem, what was not checked, and the verdict."""
    for row in report.rows.values():
        mark = "warning" if row["severity"] == Severity.WARNING else "error"
        print_marked(mark, _problem_text(row), sys.stderr)
    for need, (why, lints) in report.skipped.items():
        names = textwrap.fill(
            ", ".join(sorted(lints)),
            78,
            initial_indent="  ",
            subsequent_indent="  ",
            break_on_hyphens=False,
        )
        print_marked("not checked", f"{need} not available: {why}\n{names}", sys.stderr)
    verdict = _verdict(report, left_out)
    if report.count(Severity.FATAL):
        print(f"atoll: {verdict}", file=sys.stderr)
        return
    for recipe in report.right:
        image = f"{recipe.image.name} {recipe.image.version}"
        print(f"{recipe.file} {verdict}: {_summary(recipe) if verdict == RIGHT else image}")


def _problem_text(row: dict[str, object]) -> str:
    lint = "" if row["lint"] == LANGUAGE else f"  [{row['lint']}]"
    hint = f"\n  {row['hint']}" if row["hint"] else ""
    return f"{row['message']}{lint}{hint}"


def _verdict(report: _Report, left_out: Collection[str]) -> str:
    """``is right`` if everything was checked and nothing found; otherwise the numbers of errors,
    warnings and lints that did not run."""
    errors, warnings = report.count(Severity.FATAL), report.count(Severity.WARNING)
    unchecked = {lint for _, lints in report.skipped.values() for lint in lints} | {*left_out}
    if not (errors or warnings or unchecked):
        return RIGHT
    parts = [_count(errors, "error") if errors else "no errors"]
    parts += [_count(warnings, "warning")] if warnings else []
    parts += [f"{_count(len(unchecked), 'lint')} not checked"] if unchecked else []
    return ("" if errors else "has ") + ", ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


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
