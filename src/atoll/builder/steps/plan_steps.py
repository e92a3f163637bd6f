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

from typing import TYPE_CHECKING

from atoll.builder.steps.accounts import MakeAccounts
from atoll.builder.steps.files import WriteFiles
from atoll.builder.steps.kernel import SetKernel
from atoll.builder.steps.modules import BuildModules
from atoll.builder.steps.policy import WritePolicy
from atoll.builder.steps.remap_ids import Renumber
from atoll.builder.steps.scripts import RunScript
from atoll.builder.steps.system import SetSystem
from atoll.builder.steps.units import SetUnits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.builder.cache import Cache
    from atoll.builder.steps.ids import AccountIds
    from atoll.builder.steps.step import Step
    from atoll.recipe.model import Recipe


def plan_settings(
    recipe: Recipe,
    cache: Cache,
    *,
    ids: AccountIds,
    epoch: int,
    offline: bool = False,
    derived: bool = False,
) -> Iterator[Step]:
    """The steps for a root in which the packages are installed, in their order.

    ``ids`` are those that accounts keep; ``epoch`` is in seconds; ``offline``: no file of the web
    is fetched. ``derived``: what the recipe does not say stays as its base has it.
    """
    yield BuildModules(epoch=epoch, logs=cache.logs)
    yield Renumber(recipe=recipe, locked=ids)
    yield SetSystem(system=recipe.system, derived=derived)
    if recipe.groups or recipe.users:
        yield MakeAccounts(recipe=recipe, locked=ids)
    if recipe.kernel.modules or recipe.kernel.blacklist or recipe.kernel.initrd_modules:
        yield SetKernel(kernel=recipe.kernel)
    if recipe.files:
        yield WriteFiles(recipe=recipe, downloads=cache.downloads, offline=offline)
    for script in recipe.scripts:
        yield RunScript(script=script, recipe=recipe, epoch=epoch, logs=cache.logs)
    yield SetUnits(units=recipe.units)
    yield WritePolicy(recipe=recipe)
