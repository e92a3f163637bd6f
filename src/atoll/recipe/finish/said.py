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

from atoll.base.errors import Damaged, Refused
from atoll.base.ids import TreeId, parse_tree_id
from atoll.recipe.model import Var

if TYPE_CHECKING:
    from collections.abc import Mapping

PLACE = "usr/lib/atoll/image.json"
NO_RULES = Var()


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseName:
    """What a derived tree says of its base."""

    name: str
    version: str
    tree: TreeId


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
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
    var: Var = NO_RULES
    initrd: str = ""
    base: BaseName | None = field(default=None)


def format_said(said: Said) -> str:
    fields: dict[str, object] = {
        "name": said.name,
        "version": said.version,
        "kernel": said.kernel,
        "args": said.args,
        "title": said.title,
        "timeout": said.timeout,
        "suite": said.suite,
        "components": said.components,
        "architecture": said.architecture,
        "architectures": said.architectures,
        "epoch": said.epoch,
        "homes": said.homes,
        "var": {"tree": said.var.tree, "state": said.var.state, "drop": said.var.drop},
        "initrd": said.initrd,
    }
    if said.base:
        fields["base"] = {
            "name": said.base.name,
            "version": said.base.version,
            "tree": said.base.tree,
        }
    return json.dumps(fields, indent=1) + "\n"


def parse_said(text: bytes | None, *, where: str) -> Said:
    """Raises Refused when nothing is said, Damaged when it is something else."""
    if text is None:
        raise Refused(
            f"{where} has no /{PLACE}, so no Atoll has made it",
            hint="a recipe is derived from images that Atoll built",
        )
    try:
        fields = json.loads(text)
        return Said(
            name=_text(fields, "name"),
            version=_text(fields, "version"),
            kernel=_text(fields, "kernel"),
            args=_texts(fields, "args"),
            suite=_text(fields, "suite"),
            components=_texts(fields, "components") or ("main",),
            architecture=_text(fields, "architecture"),
            architectures=_texts(fields, "architectures"),
            title=_text(fields, "title") if fields.get("title") is not None else None,
            timeout=int(fields["timeout"]) if fields.get("timeout") is not None else None,
            epoch=int(fields["epoch"]),
            homes=_texts(fields, "homes"),
            var=_var(fields.get("var", {})),
            initrd=str(fields.get("initrd", "")),
            base=_base(fields.get("base")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(f"{where}: /{PLACE} cannot be read: {error}",
                      hint="build or pull the image again") from error  # fmt: skip


def _var(fields: object) -> Var:
    if not isinstance(fields, dict):
        raise TypeError("var is no table")
    return Var(**{kind: _texts(fields, kind) for kind in ("tree", "state", "drop")})


def _base(fields: Mapping[str, object] | None) -> BaseName | None:
    if fields is None:
        return None
    return BaseName(
        name=_text(fields, "name"),
        version=_text(fields, "version"),
        tree=parse_tree_id(_text(fields, "tree")),
    )


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is no text")
    return value


def _texts(fields: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = fields.get(name, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise TypeError(f"{name} is no list of texts")
    return tuple(value)
