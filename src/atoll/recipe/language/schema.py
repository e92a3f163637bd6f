"""The recipe language, schema 1, as data: all tables and keys.

``TOP`` is a whole file. ``FRAGMENT`` is what a variant or a condition may contain: all tables, but
not ``from``, ``include`` or further variants and conditions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.recipe.language import check_policy as policy
from atoll.recipe.language import schema_boot as boot
from atoll.recipe.language import schema_packages as packages
from atoll.recipe.language import schema_policy as later
from atoll.recipe.language import schema_system as system
from atoll.recipe.language.schema_model import KeyRule, TableRule, ValueKind
from atoll.recipe.model import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator

_TABLES = (
    packages.IMAGE,
    packages.DEBIAN,
    packages.REPOSITORY,
    packages.PACKAGES,
    boot.KERNEL,
    boot.BOOT,
    system.SYSTEM,
    system.USER,
    system.GROUP,
    system.FILE,
    system.SCRIPT,
    system.UNITS,
    later.VAR,
    later.UPDATE,
    later.HEALTH,
    later.KEEP,
    later.PUBLISH,
    later.FLATPAK,
    later.BOX,
)

FRAGMENT = TableRule(name="", doc="", keys=(later.ETC,), tables=_TABLES)

TOP = TableRule(
    name="",
    doc="A whole recipe.",
    keys=(
        KeyRule(
            name="schema",
            kind=ValueKind.NUMBER,
            doc=f"The version of this language; {SCHEMA} is the only one. Each file says it.",
            example=str(SCHEMA),
            required=True,
            least=SCHEMA,
            most=SCHEMA,
        ),
        KeyRule(
            name="from",
            doc='What the tree is made from: "debian:SUITE", "empty", an image (docker://, oci:,'
            " oci-archive:, store:), or the path of another recipe, with #VARIANT for one of its.",
            example='"debian:trixie"',
            required=True,
            check=policy.check_from,
            local=policy.is_local_base,
        ),
        KeyRule(
            name="include",
            kind=ValueKind.TEXTS,
            doc="Files in this language that are read before this one; paths are relative to it.",
            example='["./common.toml"]',
            check=policy.check_include,
            local=bool,
        ),
        later.ETC,
    ),
    tables=_TABLES,
)

FRAGMENTS = {
    "variant": "Another image from the same recipe: [variant.NAME.TABLE] adds to "
    "it or replaces parts of it; --variant NAME chooses it.",
    "when": "What applies only under a condition: "
    '[when."architecture=arm64".TABLE], also suite= and variant=; '
    "several, joined by a comma, must all be true.",
}
"""Tables of fragments that a file may have besides ``TOP``, by name or condition."""

FRAGMENT_CHECKS = {"variant": policy.check_variant, "when": policy.check_condition}


def each_key(table: TableRule = TOP, path: tuple[str, ...] = ()) -> Iterator[tuple[str, KeyRule]]:
    """Yield every key with its dotted path, such as ``units.user.enable``, in schema order."""
    for key in table.keys:
        yield ".".join((*path, key.name)), key
    for inner in table.tables:
        yield from each_key(inner, (*path, inner.name))


def each_table(
    table: TableRule = TOP, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, TableRule]]:
    """Yield every table with its dotted path, in schema order."""
    for inner in table.tables:
        yield ".".join((*path, inner.name)), inner
        yield from each_table(inner, (*path, inner.name))


def format_heading(path: str, table: TableRule) -> str:
    """The heading of a table in TOML: ``[image]``, ``[[user]]``."""
    return f"[[{path}]]" if table.row else f"[{path}]"
