"""Find in a report which system it is about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.base.fields import Flaw, parse_json_fields
from atoll.base.ids import TreeId, is_hex_digest

if TYPE_CHECKING:
    from atoll.base.fields import Fields

FORMAT = 1
MARK = "atoll_report"
"""The key by which a JSON object in a report is recognized; its value is the format."""
REPORT_LIMIT = 8 << 20
"""Bytes of a report that is read."""
_BLOCK = re.compile(r"^```json\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedImage:
    """``layered``: the machine had a machine file, which may add to the image. ``base`` is the tree
    that ``tree`` is derived from, if it is derived."""

    image: str
    tree: TreeId
    name: str
    version: str
    layered: bool = False
    base: TreeId | None = None


def parse_report(data: bytes, *, where: str) -> ReportedImage:
    """The system of a report, as JSON or as Markdown. Raises Damaged."""
    text = data.decode(errors="replace").replace("\r\n", "\n")
    blocks = [text] if text.lstrip().startswith("{") else _BLOCK.findall(text)
    for block in reversed(blocks):
        if f'"{MARK}"' in block:
            return _parse(parse_json_fields(block.encode(), file=where))
    raise Damaged(
        f"{where} is no report of atoll report",
        hint="it ends with a block that begins with ```json; copy the report as a whole",
    )


def _parse(fields: Fields) -> ReportedImage:
    if fields.integer(MARK) != FORMAT:
        fields.flaw(MARK, f"must be {FORMAT}", "another version of Atoll wrote it")
    tree = fields.string("tree", check=_check_tree)
    base = None
    if fields.table.get("base_tree") is not None:
        base = TreeId(fields.string("base_tree", check=_check_tree))
    return ReportedImage(
        image=fields.string("image"),
        tree=TreeId(tree),
        name=fields.string("name"),
        version=fields.string("version"),
        layered=fields.boolean("layered"),
        base=base,
    )


def _check_tree(text: str) -> Flaw | None:
    if is_hex_digest(text):
        return None
    return Flaw("is not a tree digest", "run atoll report with sudo on the machine")
