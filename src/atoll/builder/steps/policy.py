"""What an image says to the machines that run it: its policy, and its health checks.

``/usr/lib/atoll/policy.json`` has every table of the recipe that is obeyed after the build, in one
document of a fixed order; docs/reference/policy.md describes it. Machines take ``keep`` and ``etc``
as what holds where the machine file says nothing.
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
_PATIENCE = 60
"""Seconds that a unit may still be starting when the checks begin."""


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
    """All of it, also what the recipe does not say: a reader needs no defaults of its own."""
    return format_policy_document(list_policy(recipe))


def read_policy(root: Path) -> PolicyDocument | None:
    """What the base of a derived recipe says; None where there is none."""
    text = read_text(root, POLICY, missing="")
    if not text:
        return None
    policy: PolicyDocument = parse_json_object(text, where=f"/{POLICY} of the base")
    return policy


def merge_policy(base: PolicyDocument | None, own: PolicyDocument) -> PolicyDocument:
    """What a derived recipe says, over what its base does: lists are joined, the recipe's first.

    Where an image is published, and what its machines follow, is never its base's.
    """
    if base is None:
        return own
    said = own["update"] != list_update(Update())
    return own | {
        "keep": base["keep"] if own["keep"] is None else own["keep"],
        "etc": _join(own["etc"], base["etc"], key=0),
        "update": own["update"] if said else base["update"] | {"follow": None},
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
    names = [each if key is None else each[key] for each in own]
    return [*own, *(each for each in base if (each if key is None else each[key]) not in names)]


def list_update(update: Update) -> PolicyDocument:
    return {
        "follow": update.follow,
        "auto": update.auto,
        "window": update.window,
        "delay": update.delay,
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
    """A health check: each unit is active, or becomes so while it is still starting."""
    return f"""#!/bin/sh
# Made from [health] units of the recipe.
status=0
for unit in {shlex.join(units)}; do
    left={_PATIENCE}
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
