"""``/etc/atoll/machine.toml``: the machine file, a recipe for one machine.

It is in the language of recipes (docs/reference/recipe.md). What it says of the tree, such as
packages and units, is built on the machine on top of the image that the machine follows
(``atoll.layering``). This module reads what concerns the machine alone::

    schema = 1

    [keep]
    deployments = 3            # how many deployments stay, at least 2

    [etc]                      # whose version of a path wins when the image changes
    "ssh/**" = "local"         # "image", "local" or "merge"

    [update]                   # how the machine updates itself
    auto = "stage"

What it does not set comes from the policy of the image: ``keep``, and rules after its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import NotFound, RecipeError
from atoll.machine.deployments.retention import DEFAULT_KEEP
from atoll.tree.etc_rules import Rules, parse_rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atoll.image.policy import Policy
    from atoll.machine.etc.etc_tree import Node
    from atoll.recipe.language.includes import Load
    from atoll.recipe.model import Update

PLACE = "atoll/machine.toml"
"""Below ``/etc``."""
FILE = f"/etc/{PLACE}"
"""How messages name it."""
LOCK_PLACE = "atoll/machine.lock"
"""The lock of what the machine file adds to the tree; Atoll writes it."""
LEAST = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFile:
    """``keep`` is None where neither the owner nor the image sets it, ``update`` where the owner
    does not set it. ``makes_tree``: the machine's tree is built from the image and this file."""

    keep: int | None = None
    rules: Rules = ()
    update: Update | None = None
    makes_tree: bool = False

    @property
    def deployments(self) -> int:
        """How many deployments stay."""
        return DEFAULT_KEEP if self.keep is None else self.keep


def read_machine_file(etc: Node, policy: Policy) -> MachineFile:
    """The machine file in a live ``/etc``, with the image's ``policy`` for what it does not set.
    Raises RecipeError."""
    text = read_machine_text(etc)
    if text is None:
        return _with_policy(MachineFile(), policy)
    own = parse_machine_file(text, file=FILE, load=_loader(etc))
    return _with_policy(own, policy)


def read_machine_text(etc: Node) -> bytes | None:
    """The content of the machine file in a live ``/etc``. Raises RecipeError where it is no
    file."""
    from atoll.machine.etc.etc_tree import is_file, node_at

    node = node_at(etc, PLACE)
    if node is None:
        return None
    if not is_file(node):
        raise RecipeError("is not a regular file", file=FILE)
    return node.entry.read()


def has_layers(etc: Node) -> bool:
    """Whether the machine file in a live ``/etc`` changes the tree. Raises RecipeError."""
    text = read_machine_text(etc)
    return text is not None and parse_machine_file(text, file=FILE, load=_loader(etc)).makes_tree


def _loader(etc: Node) -> Load:
    """Reads files that the machine file includes, from the same ``/etc``."""
    from atoll.machine.etc.etc_tree import is_file, node_at

    def load(name: str) -> str:
        node = node_at(etc, f"atoll/{name}")
        if node is None or not is_file(node):
            raise NotFound(
                f"{name} is not a file", hint=f"Atoll looked for it at: /etc/atoll/{name}"
            )
        return node.entry.read().decode(errors="replace")

    return load


def _with_policy(own: MachineFile, policy: Policy) -> MachineFile:
    """The owner's number wins, and the owner's rules come first."""
    keep = own.keep if own.keep is not None else policy.keep
    return MachineFile(
        keep=None if keep is None else max(keep, LEAST),
        rules=(*own.rules, *policy.rules),
        update=own.update,
        makes_tree=own.makes_tree,
    )


def parse_machine_file(
    data: bytes,
    *,
    file: str,
    load: Load | None = None,
    update: Mapping[str, str | int | bool] | None = None,
) -> MachineFile:
    """``update`` are the image's values for keys of ``[update]`` that the file does not set. Raises
    RecipeError that names file, line and key."""
    from atoll.recipe.language.parse import parse_machine_recipe

    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RecipeError("is not UTF-8 text", file=file, line=line) from None
    parsed = parse_machine_recipe(text, file=file, load=load, update=update)
    recipe = parsed.recipe
    return MachineFile(
        keep=recipe.keep,
        rules=tuple(parse_rule(pattern, winner) for pattern, winner in recipe.etc),
        update=recipe.update if "update" in parsed.tables else None,
        makes_tree=parsed.makes_tree,
    )
