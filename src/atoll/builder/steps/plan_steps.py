"""The steps after the packages are installed, in order.

A changed step makes all later ones run again, so what people change most often comes last::

    modules      kernel modules from source (depends on the packages only)
    ids          the ids of all accounts
    system       host name, time zone, locales, keyboard
    accounts     [[group]] and [[user]]
    kernel       modules to load or to block
    files        [[file]]: may be owned by the accounts
    scripts      [[script]], one step each: see everything above
    units        [units]: may be enabled units from files or scripts
    policy       settings that machines follow

Steps without work are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.builder.steps.accounts import MakeAccounts
from atoll.builder.steps.files import WriteFiles
from atoll.builder.steps.kernel import SetKernel
from atoll.builder.steps.modules import BuildModules
from atoll.builder.steps.policy import WritePolicy
from atoll.builder.steps.remap_ids import RemapIds
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
    """The steps for a root with the packages installed, in order.

    ``ids`` are the ids that accounts keep; ``epoch`` is in seconds; ``offline``: nothing is
    downloaded. ``derived``: settings that the recipe does not have stay as in its base.
    """
    yield BuildModules(epoch=epoch, logs=cache.logs)
    yield RemapIds(recipe=recipe, locked=ids)
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
