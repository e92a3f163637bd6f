"""The image's policy for its machines: ``/usr/lib/atoll/policy.json``, as far as it applies where
the machine file is silent. docs/reference/policy.md describes all of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from atoll.base.errors import Damaged, NotFound, UsageError
from atoll.base.fields import parse_json_fields
from atoll.image.paths import POLICY
from atoll.image.read_file import read_content
from atoll.store.tree_images import read_below
from atoll.tree.etc_rules import Rules, parse_rule
from atoll.tree.model import Regular

if TYPE_CHECKING:
    from atoll.base.ids import TreeId
    from atoll.store.layout import Store

FORMAT = 1
PolicyDocument: TypeAlias = dict[str, Any]
"""All of it as ``json`` has it; builds write it, and merge it with that of a base."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """``keep`` is how many deployments stay, None where the image does not say."""

    keep: int | None = None
    rules: Rules = ()


def read_policy(store: Store, tree: TreeId) -> Policy:
    """The policy of a tree in ``store``; an old image has none. Raises Damaged."""
    node = read_below(store, tree, POLICY)
    if node is None:
        return Policy()
    if not isinstance(node, Regular):
        raise Damaged(f"/{POLICY} in the tree is not a file")
    return parse_policy(read_content(store, node, POLICY))


def find_policy(store: Store, tree: TreeId) -> Policy:
    """The policy of the running tree; a damaged policy must not block an upgrade."""
    try:
        return read_policy(store, tree)
    except (Damaged, NotFound):
        return Policy()


def parse_policy(data: bytes) -> Policy:
    """Raises Damaged; keys other than ``keep`` and ``etc`` are read elsewhere."""
    fields = parse_json_fields(data, file=f"/{POLICY}")
    if fields.integer("format") != FORMAT:
        raise Damaged(f"/{POLICY} is not of format {FORMAT}", hint="use a newer version of Atoll")
    keep = fields.table.get("keep")
    if keep is not None and type(keep) is not int:
        raise Damaged(f"/{POLICY}: keep is not a number")
    return Policy(keep=keep, rules=_parse_rules(fields.table.get("etc")))


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
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
