"""Everything that happens to a root after its packages are in, as a sequence of steps.

The order is this, so that what people change most comes last and repeats least::

    modules      kernel modules that packages bring as source (the packages alone decide)
    ids          every account's id
    system       host name, time zone, locales, keyboard
    accounts     [[group]] and [[user]]
    kernel       modules that are loaded or not
    files        [[file]]: they may belong to the accounts
    scripts      [[script]], one step each: they see all of the above
    units        [units]: they may be in files, or come from scripts
    policy       what the image says to machines

A step that has nothing to do is not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.build.steps.accounts import MakeAccounts
from atoll.build.steps.files import WriteFiles
from atoll.build.steps.kernel import SetKernel
from atoll.build.steps.modules import BuildModules
from atoll.build.steps.policy import WritePolicy
from atoll.build.steps.remap_ids import Renumber
from atoll.build.steps.scripts import RunScript
from atoll.build.steps.system import SetSystem
from atoll.build.steps.units import SetUnits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from atoll.base.report import Reporter
    from atoll.build.steps.ids import AccountIds
    from atoll.build.steps.step import Step
    from atoll.recipe.model import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What steps work with beside the recipe.

    ``locked`` are ids of accounts that stay what they are; ``epoch`` is in seconds; ``logs`` gets
    what programs say; ``downloads`` keeps files of the web by their SHA-256; ``offline``: none is
    fetched. ``derived``: what the recipe does not say stays as its base has it.
    """

    locked: AccountIds
    epoch: int
    logs: Path
    downloads: Path
    offline: bool = False
    derived: bool = False


def plan_settings(recipe: Recipe, means: Means) -> tuple[Step, ...]:
    """The steps for a root in which the packages are installed, in their order."""
    return tuple(_steps(recipe, means))


def _steps(recipe: Recipe, means: Means) -> Iterator[Step]:
    yield BuildModules(epoch=means.epoch, logs=means.logs)
    yield Renumber(recipe=recipe, locked=means.locked)
    yield SetSystem(system=recipe.system, derived=means.derived)
    if recipe.groups or recipe.users:
        yield MakeAccounts(recipe=recipe, locked=means.locked)
    if recipe.kernel.modules or recipe.kernel.blacklist or recipe.kernel.initrd_modules:
        yield SetKernel(kernel=recipe.kernel)
    if recipe.files:
        yield WriteFiles(recipe=recipe, downloads=means.downloads, offline=means.offline)
    for script in recipe.scripts:
        yield RunScript(script=script, recipe=recipe, epoch=means.epoch, logs=means.logs)
    yield SetUnits(units=recipe.units)
    yield WritePolicy(recipe=recipe)


def run_steps(steps: tuple[Step, ...], root: Path, workspace: Path, reporter: Reporter) -> None:
    """All of them, one after the other, with nothing kept."""
    for step in steps:
        with reporter.step(step.title):
            step.execute(root, workspace)
