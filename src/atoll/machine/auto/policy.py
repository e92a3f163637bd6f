"""Which policy for automatic updates holds on the running machine: its own or the image's."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atoll.base.errors import Damaged
from atoll.host.fs import read_if_there
from atoll.image.paths import POLICY
from atoll.image.policy import parse_policy
from atoll.machine.machine_file import PLACE, parse_machine_file
from atoll.recipe.language.parse import loader
from atoll.recipe.model import Update

if TYPE_CHECKING:
    from collections.abc import Mapping

IMAGE_POLICY = Path("/", POLICY)
MACHINE_FILE = Path("/etc", PLACE)
STEPS = ("none", "check", "download", "stage", "reboot")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatePolicy:
    """The policy that holds; ``source`` is the file that sets it, or the machine file if that sets
    a part of it."""

    update: Update
    source: Path


def read_update_policy(image: Path = IMAGE_POLICY, machine: Path = MACHINE_FILE) -> UpdatePolicy:
    """Raises RecipeError for the machine file, Damaged or OSError."""
    data = read_if_there(image)
    shipped = make_update({} if data is None else parse_policy(data).update)
    text = read_if_there(machine)
    if text is not None:
        keys = {name: value for name, value in asdict(shipped).items() if value is not None}
        own = parse_machine_file(text, file=str(machine), load=loader(machine), update=keys)
        if own.update is not None:
            return UpdatePolicy(update=own.update, source=machine)
    return UpdatePolicy(update=shipped, source=image)


def make_update(table: Mapping[str, object]) -> Update:
    """The values of ``[update]`` in an image's policy. Keys that this version does not know are
    ignored: the image may be newer. Raises Damaged."""
    plain = Update()
    values: dict[str, Any] = {}
    for each in fields(Update):
        default = getattr(plain, each.name)
        value = table.get(each.name, default)
        wanted = type(default) if default is not None else str
        if value is not None and type(value) is not wanted:
            raise Damaged(f"/{POLICY}: update.{each.name} is {value!r}")
        values[each.name] = default if value is None else value
    update = Update(**values)
    if update.auto not in STEPS:
        raise Damaged(f"/{POLICY}: update.auto is {update.auto!r}")
    return update
