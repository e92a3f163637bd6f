"""The image's policy for its machines: ``/usr/lib/atoll/policy.json``.

A policy applies where the machine file sets nothing. docs/reference/policy.md describes it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from atoll.base.errors import Damaged, NotFound, UsageError
from atoll.base.fields import parse_json_fields
from atoll.image.paths import POLICY
from atoll.image.read_file import read_content
from atoll.store.tree_images import read_below
from atoll.tree.etc_rules import Rules, parse_rule
from atoll.tree.model import Regular

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atoll.base.ids import TreeId
    from atoll.store.layout import Store

FORMAT = 1
PolicyDocument: TypeAlias = dict[str, Any]
"""The whole document as parsed JSON. Builds write it, and merge it with that of the base."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The parts of a policy that machines use.

    ``keep`` is the number of deployments to keep, None if the image does not set it. ``rules`` are
    for the merge of ``/etc``. ``update`` has the keys of ``[update]`` with their values.
    """

    keep: int | None = None
    rules: Rules = ()
    update: Mapping[str, object] = field(default_factory=dict)


def read_policy(store: Store, tree: TreeId) -> Policy:
    """The policy of a tree in ``store``; empty for old images without one.

    Raises NotFound or Damaged.
    """
    node = read_below(store, tree, POLICY)
    if node is None:
        return Policy()
    if not isinstance(node, Regular):
        raise Damaged(f"/{POLICY} in the tree is not a file")
    return parse_policy(read_content(store, node, POLICY))


def find_policy(store: Store, tree: TreeId) -> Policy:
    """Like ``read_policy``, but empty if missing or damaged: that must not block an upgrade."""
    try:
        return read_policy(store, tree)
    except (Damaged, NotFound):
        return Policy()


def parse_policy(data: bytes) -> Policy:
    """Parse ``keep``, ``etc`` and ``update``; other keys are read elsewhere. Raises Damaged."""
    fields = parse_json_fields(data, file=f"/{POLICY}")
    if fields.integer("format") != FORMAT:
        raise Damaged(f"/{POLICY} is not of format {FORMAT}", hint="use a newer version of Atoll")
    keep = fields.table.get("keep")
    if keep is not None and type(keep) is not int:
        raise Damaged(f"/{POLICY}: keep is not a number")
    return Policy(
        keep=keep,
        rules=_parse_rules(fields.table.get("etc")),
        update=fields.within("update").table,
    )


def _parse_rules(value: object) -> Rules:
    if not isinstance(value, list):
        raise Damaged(f"/{POLICY}: etc is not a list")
    rules = []
    for pair in value:
        match pair:
            case [str(pattern), str(winner)]:
                try:
                    rules.append(parse_rule(pattern, winner))
                except UsageError as error:
                    raise Damaged(f"/{POLICY}: etc: {error.message}") from error
            case _:
                raise Damaged(f"/{POLICY}: etc holds {pair!r}, which is not a rule")
    return tuple(rules)


def format_policy_document(document: PolicyDocument) -> str:
    """The text of ``policy.json``."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
