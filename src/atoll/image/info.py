"""What a tree says of itself in ``/usr/lib/atoll/image.json``, for machines and derived recipes.

::

    {"name": "hello", "version": "1", "kernel": "6.12.48-amd64", "args": ["quiet"],
     "title": null, "timeout": null, "suite": "trixie", "components": ["main"],
     "architecture": "amd64", "architectures": [], "epoch": 1788000000, "homes": [],
     "var": {"tree": [], "state": [], "drop": []}, "initrd": "<32 hex>",
     "base": {"name": "debian-server", "version": "3", "tree": "<64 hex>"}}

``initrd`` covers everything that the initrd was made from (initrd.py); ``homes`` are those below
/var; ``var`` are the rules that recipes added; ``title`` and ``timeout`` are of the boot menu;
``base`` is there in derived trees only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atoll.base.errors import Refused
from atoll.base.fields import parse_json_fields
from atoll.base.ids import TreeId, is_hex_digest
from atoll.base.json import parse_json_object
from atoll.image.paths import IMAGE_INFO

if TYPE_CHECKING:
    from atoll.base.fields import Fields


@dataclass(frozen=True, slots=True, kw_only=True)
class VarRules:
    """What becomes of paths below /var, beside Atoll's own rules (builder/finish/var_rules.py)."""

    tree: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


NO_RULES = VarRules()


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseInfo:
    """What a derived tree says of its base."""

    name: str
    version: str
    tree: TreeId


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """``epoch`` is in seconds, ``architectures`` are the foreign ones."""

    name: str
    version: str
    kernel: str
    args: tuple[str, ...]
    suite: str
    components: tuple[str, ...]
    architecture: str
    architectures: tuple[str, ...] = ()
    title: str | None = None
    timeout: int | None = None
    epoch: int
    homes: tuple[str, ...] = ()
    var: VarRules = NO_RULES
    initrd: str = ""
    base: BaseInfo | None = field(default=None)


def format_image_info(info: ImageInfo) -> str:
    fields: dict[str, object] = {
        "name": info.name,
        "version": info.version,
        "kernel": info.kernel,
        "args": info.args,
        "title": info.title,
        "timeout": info.timeout,
        "suite": info.suite,
        "components": info.components,
        "architecture": info.architecture,
        "architectures": info.architectures,
        "epoch": info.epoch,
        "homes": info.homes,
        "var": {"tree": info.var.tree, "state": info.var.state, "drop": info.var.drop},
        "initrd": info.initrd,
    }
    if info.base:
        fields["base"] = {
            "name": info.base.name,
            "version": info.base.version,
            "tree": info.base.tree,
        }
    return json.dumps(fields, indent=1) + "\n"


def parse_image_info(text: bytes | None, *, where: str) -> ImageInfo:
    """Raises Refused when there is no image.json, and Damaged when it is not valid."""
    if text is None:
        raise Refused(
            f"{where} has no /{IMAGE_INFO}, so Atoll did not build it",
            hint="a recipe can only be derived from an image that Atoll built",
        )
    fields = parse_json_fields(text, file=f"{where}: /{IMAGE_INFO}")
    return ImageInfo(
        name=fields.line("name"),
        version=fields.line("version"),
        kernel=fields.line("kernel"),
        args=fields.strings("args"),
        suite=fields.line("suite"),
        components=fields.strings("components") or ("main",),
        architecture=fields.line("architecture"),
        architectures=fields.strings("architectures"),
        title=fields.line("title") if fields.table.get("title") is not None else None,
        timeout=fields.number("timeout") if fields.table.get("timeout") is not None else None,
        epoch=fields.number("epoch"),
        homes=fields.strings("homes"),
        var=_parse_var(fields.within("var")) if fields.has("var") else NO_RULES,
        initrd=fields.string("initrd", ""),
        base=_parse_base(fields.within("base")) if fields.table.get("base") is not None else None,
    )


def parse_info_fields(data: bytes, *, where: str) -> dict[str, object]:
    """All that image.json says, for readers that compare or show it. Raises Damaged."""
    return parse_json_object(data, where=f"{where}: /{IMAGE_INFO}")


def _parse_var(fields: Fields) -> VarRules:
    return VarRules(**{kind: fields.strings(kind) for kind in ("tree", "state", "drop")})


def _parse_base(fields: Fields) -> BaseInfo:
    tree = fields.string("tree")
    if not is_hex_digest(tree):
        fields.flaw("tree", "is not a tree digest")
    return BaseInfo(name=fields.line("name"), version=fields.line("version"), tree=TreeId(tree))
