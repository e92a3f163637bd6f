"""``/etc/atoll/machine.toml``: the settings of a machine's owner.

::

    schema = 1

    [keep]
    deployments = 3            # how many deployments stay, at least 2

    [etc]                      # whose version of a path wins when the image changes
    "ssh/**" = "local"         # "image", "local" or "merge"

What it does not set comes from the policy of the image: ``keep``, and rules after its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from atoll.base.errors import RecipeError, UsageError
from atoll.base.fields import Fields, Flaw, Key, format_key
from atoll.base.toml import parse_toml
from atoll.machine.deployments.retention import DEFAULT_KEEP
from atoll.tree.etc_rules import Rules, parse_rule

if TYPE_CHECKING:
    from atoll.image.policy import Policy
    from atoll.machine.etc.etc_tree import Node

PLACE = "atoll/machine.toml"
LEAST = 2
SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFile:
    """``keep`` is None where neither the owner nor the image sets it."""

    keep: int | None = None
    rules: Rules = ()

    @property
    def deployments(self) -> int:
        """How many deployments stay."""
        return DEFAULT_KEEP if self.keep is None else self.keep


def read_machine_file(etc: Node, policy: Policy) -> MachineFile:
    """The machine file in a live ``/etc``, with the image's ``policy`` for what it does not set.
    Raises RecipeError."""
    from atoll.machine.etc.etc_tree import is_file, node_at

    node = node_at(etc, PLACE)
    if node is None:
        return _with_policy(MachineFile(), policy)
    if not is_file(node):
        raise RecipeError("is not a regular file", file=f"/etc/{PLACE}")
    return _with_policy(parse_machine_file(node.entry.read(), file=f"/etc/{PLACE}"), policy)


def _with_policy(own: MachineFile, policy: Policy) -> MachineFile:
    """The owner's number wins, and the owner's rules come first."""
    keep = own.keep if own.keep is not None else policy.keep
    return MachineFile(
        keep=None if keep is None else max(keep, LEAST), rules=(*own.rules, *policy.rules)
    )


def parse_machine_file(data: bytes, *, file: str) -> MachineFile:
    """Raises RecipeError that names file and key."""

    def complain(key: Key, flaw: Flaw) -> NoReturn:
        raise RecipeError(flaw.message, file=file, key=format_key(key), hint=flaw.hint)

    try:
        table = parse_toml(data.decode())
    except ValueError as error:
        raise RecipeError(
            f"is not TOML: {error}", file=file, hint="correct or remove it"
        ) from error
    fields = Fields(table, complain)
    fields.only("schema", "keep", "etc")
    if fields.integer("schema") != SCHEMA:
        fields.flaw("schema", f"must be {SCHEMA}", "this version of Atoll supports no other")
    keep = None
    if fields.has("keep"):
        kept = fields.within("keep")
        kept.only("deployments")
        keep = kept.integer("deployments", DEFAULT_KEEP)
        if keep < LEAST:
            kept.flaw(
                "deployments", f"must be at least {LEAST}", "one to run, and one to fall back to"
            )
    rules = []
    if fields.has("etc"):
        table_of_rules = fields.within("etc")
        for pattern in table_of_rules.table:
            winner = table_of_rules.string(pattern)
            try:
                rules.append(parse_rule(pattern, winner))
            except UsageError as error:
                table_of_rules.flaw(pattern, error.message, error.hint)
    return MachineFile(keep=keep, rules=tuple(rules))
