"""The list of all lints, and running them over a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import RecipeError, UsageError
from atoll.lint import accounts, boot, files, hardware, machine, packages, units
from atoll.recipe.language.locations import find_value_location

if TYPE_CHECKING:
    from collections.abc import Collection

    from atoll.lint.model import FactKind, Finding, Lint, LintSubject
    from atoll.recipe.model import Recipe

LINTS: tuple[Lint, ...] = (
    *packages.LINTS,
    *hardware.LINTS,
    *boot.LINTS,
    *units.LINTS,
    *accounts.LINTS,
    *files.LINTS,
    *machine.LINTS,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LintResult:
    """A finding of one lint, as an error with its location in the recipe."""

    lint: Lint
    problem: RecipeError


@dataclass(frozen=True, slots=True, kw_only=True)
class LintReport:
    """All findings. ``skipped`` maps the names of lints that did not run, or had incomplete facts,
    to the facts that they lack."""

    found: tuple[LintResult, ...]
    skipped: dict[str, FactKind]


def find_lint(name: str) -> Lint | None:
    """The lint of this name; None if there is none."""
    return next((lint for lint in LINTS if lint.name == name), None)


def require_lints(names: Collection[str]) -> frozenset[str]:
    """``names`` as a set; raises UsageError if one of them is not a lint."""
    for name in names:
        if find_lint(name) is None:
            from atoll.base.fields import suggest

            hint = suggest(name, tuple(lint.name for lint in LINTS))
            raise UsageError(f"there is no lint {name}", hint=hint)
    return frozenset(names)


def run_lints(subject: LintSubject, skip: Collection[str] = ()) -> LintReport:
    """Run all lints except ``skip``; findings are in the order of the recipe's lines."""
    found: list[LintResult] = []
    skipped: dict[str, FactKind] = {}
    for lint in LINTS:
        if lint.name in skip:
            continue
        lacking = [need for need in lint.needs if need in subject.facts.missing]
        if lacking:
            skipped[lint.name] = lacking[0]
        if not all(subject.facts.has(need) for need in lint.needs):
            continue
        found += [
            LintResult(lint=lint, problem=find_location(finding, subject.recipe))
            for finding in lint.check(subject)
        ]
    found.sort(key=lambda each: (str(each.problem.file), each.problem.line or 0, each.lint.name))
    return LintReport(found=tuple(found), skipped=skipped)


def find_location(finding: Finding, recipe: Recipe) -> RecipeError:
    """The finding as an error with its file, line and key."""
    file, line = recipe.file, None
    if finding.key is not None:
        # Source names are relative to the recipe's directory; show paths from the current one.
        named = [(str(recipe.resolve(name)), text) for name, text in recipe.sources]
        sources = named or [(recipe.file, recipe.text)]
        location = find_value_location(sources, finding.key, finding.value)
        file, line = location or (recipe.file, None)
    return RecipeError(finding.message, file=file, line=line, key=finding.key, hint=finding.hint)
