"""The policy of an image, which machines follow, and its health checks.

``/usr/lib/atoll/policy.json`` has the tables of the recipe that matter after the build, in a fixed
order (docs/reference/policy.md). ``keep`` and ``etc`` are defaults: the machine file wins.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atoll.base.json import parse_json_object
from atoll.builder.steps.in_root import FileToWrite, write_files
from atoll.builder.steps.local_files import digest_named, require_input
from atoll.host.in_root import read_text
from atoll.image.paths import HEALTH_CHECKS, POLICY
from atoll.image.policy import FORMAT, PolicyDocument, format_policy_document
from atoll.recipe.model import Update

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.recipe.model import HealthCheck, Recipe

UNITS_CHECK = "10-units"
_START_SECONDS = 60
"""How long a health check waits for a unit that is still starting, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WritePolicy:
    recipe: Recipe
    title: str = "Writing the policy"

    def parts(self) -> tuple[str, ...]:
        checks = [
            repr(
                (
                    check.name,
                    check.text,
                    check.source and digest_named(self.recipe, check.source, "health.check.source"),
                )
            )
            for check in self.recipe.health.checks
        ]
        return ("policy 1", format_policy(self.recipe), *checks)

    def execute(self, root: Path, workspace: Path) -> None:
        recipe = self.recipe
        before = read_policy(root)
        policy = merge_policy(before, list_policy(recipe))
        files = []
        if policy != before:
            files.append(
                FileToWrite(path=f"/{POLICY}", content=format_policy_document(policy).encode())
            )
        if recipe.health.units:
            text = format_units_check(tuple(policy["health"]["units"]))
            files.append(
                FileToWrite(
                    path=f"/{HEALTH_CHECKS}/{UNITS_CHECK}", content=text.encode(), mode=0o755
                )
            )
        for check in recipe.health.checks:
            files.append(
                FileToWrite(
                    path=f"/{HEALTH_CHECKS}/{check.name}",
                    content=_program(recipe, check),
                    mode=0o755,
                )
            )
        if files:
            write_files(root, files, workspace=workspace, key="health")


def format_policy(recipe: Recipe) -> str:
    """The policy of a recipe as JSON, with defaults filled in, so that readers need no defaults."""
    return format_policy_document(list_policy(recipe))


def read_policy(root: Path) -> PolicyDocument | None:
    """The policy of the base; None if ``root`` has none. Raises Damaged."""
    text = read_text(root, POLICY, missing="")
    if not text:
        return None
    policy: PolicyDocument = parse_json_object(text, where=f"/{POLICY} of the base")
    return policy


def merge_policy(base: PolicyDocument | None, own: PolicyDocument) -> PolicyDocument:
    """The policy of a derived recipe over that of its base. Lists are joined, the recipe's entries
    first. ``publish`` and the image that machines follow never come from the base.
    """
    if base is None:
        return own
    is_set = own["update"] != list_update(Update())
    return own | {
        "keep": base["keep"] if own["keep"] is None else own["keep"],
        "etc": _join(own["etc"], base["etc"], key=0),
        "update": own["update"] if is_set else base["update"] | {"follow": None},
        "health": {
            name: _join(own["health"][name], base["health"][name]) for name in ("units", "checks")
        },
        "flatpak": {
            "remotes": _join(own["flatpak"]["remotes"], base["flatpak"]["remotes"], key=0),
            "install": _join(own["flatpak"]["install"], base["flatpak"]["install"]),
        },
        "boxes": _join(own["boxes"], base["boxes"], key="name"),
    }


def _join(own: list[Any], base: list[Any], *, key: int | str | None = None) -> list[Any]:
    """``own``, then the entries of ``base`` that it does not have; ``key`` is where entries have
    their name."""
    names = [each if key is None else each[key] for each in own]
    return [*own, *(each for each in base if (each if key is None else each[key]) not in names)]


def list_update(update: Update) -> PolicyDocument:
    """Keys that are newer than the format are left out where they have their default: images
    without them stay the same, bit for bit."""
    unset, newer = Update(), ("layers", "reboot_window", "metered", "battery", "reserve")
    return {
        "follow": update.follow,
        "auto": update.auto,
        "window": update.window,
        "delay": update.delay,
        **{
            name: getattr(update, name)
            for name in newer
            if getattr(update, name) != getattr(unset, name)
        },
    }


def list_policy(recipe: Recipe) -> PolicyDocument:
    boxes = recipe.boxes
    return {
        "format": FORMAT,
        "keep": recipe.keep,
        "etc": [[pattern, winner] for pattern, winner in recipe.etc],
        "update": list_update(recipe.update),
        "health": {
            "units": list(recipe.health.units),
            "checks": [check.name for check in recipe.health.checks],
        },
        "publish": {"to": recipe.publish.to, "tags": list(recipe.publish.tags)},
        "flatpak": {
            "remotes": [list(pair) for pair in recipe.flatpak.remotes],
            "install": list(recipe.flatpak.install),
        },
        "boxes": [
            {"name": box.name, "image": box.image, "packages": list(box.packages), "home": box.home}
            for box in boxes
        ],
    }


def format_units_check(units: tuple[str, ...]) -> str:
    """A health check that passes if all units are active; it waits for units that are starting."""
    return f"""#!/bin/sh
# Made from [health] units of the recipe.
status=0
for unit in {shlex.join(units)}; do
    left={_START_SECONDS}
    while state=$(systemctl is-active -- "$unit"); [ "$state" = activating ] && [ $left -gt 0 ]; do
        sleep 1
        left=$((left - 1))
    done
    [ "$state" = active ] || {{ echo "$unit is $state" >&2; status=1; }}
done
exit $status
"""


def _program(recipe: Recipe, check: HealthCheck) -> bytes | Path:
    if check.text is None:
        return require_input(recipe, check.source or "", "health.check.source")
    text = check.text if check.text.startswith("#!") else f"#!/bin/sh\n{check.text}"
    return text.encode()
