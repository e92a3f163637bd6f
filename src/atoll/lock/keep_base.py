"""A derived recipe removes packages of its base only where it says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.errors import PackageError

if TYPE_CHECKING:
    from atoll.debian.resolve import Installed, PackageRequirements, Resolution


def require_base_stays(
    found: Resolution, base: Installed, requirements: PackageRequirements
) -> None:
    """Raises PackageError when packages of ``base`` would go that the recipe does not remove."""
    names = {stanza.name for stanza in base.stanzas}
    asked = {name.partition(":")[0] for name in requirements.remove}
    lost = sorted(names.intersection(name for name, _ in found.removed) - asked)
    if lost:
        raise PackageError(
            f"this does not go together with packages of the base: {', '.join(lost)}",
            hint=f"to go without them, add to packages.remove: {' '.join(lost)}",
        )
