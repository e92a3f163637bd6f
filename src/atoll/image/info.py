"""Metadata of a tree in ``/usr/lib/atoll/image.json``, for machines and derived recipes.

::

    {"name": "hello", "version": "1", "kernel": "6.12.48-amd64", "args": ["quiet"],
     "title": null, "timeout": null, "suite": "trixie", "components": ["main"],
     "architecture": "amd64", "architectures": [], "epoch": 1788000000, "homes": [],
     "var": {"tree": [], "state": [], "drop": []}, "initrd": "<32 hex>",
     "base": {"name": "debian-server", "version": "3", "tree": "<64 hex>"}}

``initrd`` is a digest of everything that the initrd was made from (builder/finish/initrd.py).
``homes`` are home directories below /var. ``var`` are the rules for /var that recipes added.
``title`` and ``timeout`` (seconds) are of the boot menu. ``epoch`` is in seconds since 1970. Only
derived trees have ``base``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atoll.base.errors import Refused
from atoll.base.fields import Flaw, parse_json_fields
from atoll.base.ids import TreeId, is_hex_digest
from atoll.base.json import parse_json_object
from atoll.image.paths import IMAGE_INFO

if TYPE_CHECKING:
    from atoll.base.fields import Fields

LABEL_LIMIT = 200
"""Characters of a name, version or title. They must fit into a boot entry of 512 bytes, the menu
and refs."""
_KERNEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9+.~_-]{0,199}")


@dataclass(frozen=True, slots=True, kw_only=True)
class VarRules:
    """Rules of recipes for paths below /var: which belong to the tree, stay state, or are dropped.

    Atoll's own rules are in builder/finish/var_rules.py.
    """

    tree: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


NO_RULES = VarRules()


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseInfo:
    """The base of a derived tree."""

    name: str
    version: str
    tree: TreeId


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """The content of ``image.json``. ``epoch`` is in seconds since 1970, ``architectures`` are the
    foreign ones."""

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
    """The text of ``image.json``."""
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


def parse_image_info(text: bytes | None, *, where: str = "") -> ImageInfo:
    """Parse ``image.json``; ``where`` names the tree in errors. The only strict reader of the file.

    Raises Damaged, or Refused if there is no file (``text`` is None).
    """
    if text is None:
        raise Refused(
            f"{where} has no /{IMAGE_INFO}, so Atoll did not build it",
            hint="a recipe can only be derived from an image that Atoll built",
        )
    fields = parse_json_fields(text, file=f"{where}: /{IMAGE_INFO}" if where else f"/{IMAGE_INFO}")
    return ImageInfo(
        name=fields.line("name", most=LABEL_LIMIT),
        version=fields.line("version", most=LABEL_LIMIT),
        kernel=fields.string("kernel", check=_check_kernel),
        args=fields.strings("args"),
        suite=fields.line("suite"),
        components=fields.strings("components") or ("main",),
        architecture=fields.line("architecture"),
        architectures=fields.strings("architectures"),
        title=_parse_title(fields),
        timeout=fields.number("timeout") if fields.table.get("timeout") is not None else None,
        epoch=fields.number("epoch"),
        homes=fields.strings("homes"),
        var=_parse_var(fields.within("var")) if fields.has("var") else NO_RULES,
        initrd=fields.string("initrd", ""),
        base=_parse_base(fields.within("base")) if fields.table.get("base") is not None else None,
    )


def parse_info_fields(data: bytes, *, where: str) -> dict[str, object]:
    """All fields of ``image.json``, for callers that compare or show them. Raises Damaged."""
    return parse_json_object(data, where=f"{where}: /{IMAGE_INFO}")


def _parse_title(fields: Fields) -> str | None:
    """The title; None for one that a menu cannot show: that must not block an upgrade."""
    if fields.table.get("title") is None:
        return None
    title = fields.string("title")
    return title if title.isprintable() and len(title) <= LABEL_LIMIT else None


def _check_kernel(version: str) -> Flaw | None:
    """The version becomes part of a path in the tree."""
    return None if _KERNEL.fullmatch(version) else Flaw("is no version of a kernel")


def _parse_var(fields: Fields) -> VarRules:
    return VarRules(**{kind: fields.strings(kind) for kind in ("tree", "state", "drop")})


def _parse_base(fields: Fields) -> BaseInfo:
    tree = fields.string("tree")
    if not is_hex_digest(tree):
        fields.flaw("tree", "is not a tree digest")
    return BaseInfo(name=fields.line("name"), version=fields.line("version"), tree=TreeId(tree))
