"""The merge base of a staged ``/etc``: the state of every path of the live ``/etc`` at that time.

It is kept beside the upper directory until the deployment's first boot, which merges again the
paths that have changed since::

    {"format": 1, "source": 3, "rules": [["ssh/**", "local"]],
     "entries": {"": ["directory", 493, 0, 0, "", {}],
                 "passwd": ["file", 420, 0, 0, "<fs-verity digest>", {"security.x": "<base64>"}],
                 "mtab": ["symlink", 511, 0, 0, "../proc/self/mounts", {}]}}

``source`` is the deployment whose ``/etc`` it was, ``rules`` are the machine's own at that time.
Mode, owner and group are numbers. Names that are not UTF-8 have surrogates (``os.fsdecode``).
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atoll.base.errors import Damaged, UsageError
from atoll.base.json import parse_json
from atoll.machine.etc.etc_tree import Entry, Kind, Node, is_directory, walk
from atoll.tree.etc_rules import Rules, parse_rule

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
MERGE_BASE_LIMIT = 64 << 20
"""Bytes: some hundred for each path in /etc."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeBase:
    source: int
    live: Node
    """After ``parse_merge_base`` without the contents of its files."""
    rules: Rules = ()


def format_merge_base(record: MergeBase) -> bytes:
    document = {
        "format": FORMAT,
        "source": record.source,
        "rules": [[rule.pattern, rule.winner.value] for rule in record.rules],
        "entries": {path: _format_entry(entry) for path, entry in walk(record.live)},
    }
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def parse_merge_base(data: bytes, *, where: str) -> MergeBase:
    """Raises Damaged."""
    try:
        document: Any = parse_json(data, where=where, limit=MERGE_BASE_LIMIT, file_names=True)
        if document["format"] != FORMAT:
            raise Damaged(f"{where} is of format {document['format']!r}, not {FORMAT}")
        entries = {path: _parse_entry(words) for path, words in document["entries"].items()}
        rules = tuple(parse_rule(pattern, winner) for pattern, winner in document["rules"])
        source = document["source"]
        if type(source) is not int:
            raise TypeError("a deployment has a number")
        return MergeBase(source=source, live=_parse_nodes(entries), rules=rules)
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        UsageError,
    ) as error:
        raise Damaged(f"{where} is not a record of an /etc") from error


def _format_entry(entry: Entry) -> list[object]:
    xattrs = {name: base64.b64encode(value).decode() for name, value in entry.xattrs}
    return [entry.kind.value, entry.mode, entry.uid, entry.gid, entry.content, xattrs]


def _parse_entry(words: list[object]) -> Entry:
    kind, mode, uid, gid, content, xattrs = words
    if not all(type(number) is int for number in (mode, uid, gid)):
        raise ValueError("mode, owner and group are numbers")
    if not isinstance(xattrs, dict):
        raise TypeError("extended attributes have names")
    return Entry(
        kind=Kind(str(kind)),
        mode=int(str(mode)),
        uid=int(str(uid)),
        gid=int(str(gid)),
        content=str(content),
        xattrs=tuple((name, base64.b64decode(value)) for name, value in sorted(xattrs.items())),
    )


def _parse_nodes(entries: Mapping[str, Entry]) -> Node:
    children: dict[str, dict[str, Node]] = {path: {} for path in entries}
    # Deepest first: a node is made when all below it are.
    for path in sorted(entries, key=lambda each: (-each.count("/"), each)):
        if path:
            parent, _, name = path.rpartition("/")
            children[parent][name] = Node(entries[path], children[path])
    root = Node(entries[""], children[""])
    if not is_directory(root):
        raise ValueError("an /etc is a directory")
    return root
