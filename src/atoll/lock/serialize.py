"""Read and write locks: TOML with one line for each package, in a fixed order.

::

    schema = 1
    architecture = "amd64"
    epoch = 1763942400
    wishes = "<64 hex>"
    asked = ["install curl", …]            one item per line
    archives = [{ name = …, uri = …, suite = …, components = […], release = … }, …]
    packages = [{ name = …, architecture = …, version = …, … }, …]
    tool_packages = […]
    [tools] [inputs] [users] [groups]      name = value
    variant, base and tree if set

Values that are the default are omitted. The epoch is the only time, and nothing depends on the
machine, so that equal locks give equal text.
"""

from __future__ import annotations

import json
import re
from dataclasses import fields
from typing import TYPE_CHECKING, NoReturn

from atoll.base.errors import NotFound, RecipeError
from atoll.base.fields import Fields, Flaw, format_key
from atoll.base.ids import TreeId, is_hex_digest
from atoll.base.toml import parse_toml
from atoll.debian.pin import Pin, PinnedArchive
from atoll.host.fs import read_regular, replace_file
from atoll.lock.model import SCHEMA, Lock, LockedBase
from atoll.recipe.language.line_numbers import find_lines

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from atoll.base.fields import Key

_HEAD = """\
# Which bits the recipe means. atoll lock makes and changes this file; keep it beside the recipe.
"""
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN = ("variant", "architecture", "epoch", "wishes", "tree")
_LISTS = ("asked", "archives", "packages", "tool_packages")
_TABLES = ("tools", "inputs", "users", "groups")
_PIN = (
    "name",
    "architecture",
    "version",
    "size",
    "sha256",
    "archive",
    "path",
    "stage",
    "automatic",
)
_ARCHIVE = tuple(one.name for one in fields(PinnedArchive))
_BASE = tuple(one.name for one in fields(LockedBase))
_LARGEST = (1 << 63) - 1
TEXT_LIMIT = 64 << 20
"""Bytes of a lock, which has a line of some hundred bytes for each package."""


def format_lock(lock: Lock) -> str:
    """The text of a lock; the inverse of ``parse_lock``."""
    lines = [_HEAD, f"schema = {SCHEMA}"]
    for name in _PLAIN:
        value = getattr(lock, name)
        if value is not None:
            lines.append(f"{name} = {_format(value)}")
    if lock.base is not None:
        lines.append(f"base = {_format_table(lock.base, _BASE)}")
    lines += _format_list("asked", [_format(line) for line in lock.asked])
    archives = [_format_table(one, _ARCHIVE) for one in lock.archives]
    lines += _format_list("archives", archives)
    lines += _format_list("packages", [_format_pin(pin) for pin in lock.packages])
    lines += _format_list("tool_packages", [_format_pin(pin) for pin in lock.tool_pins])
    for table, pairs in _tables(lock):
        if pairs:
            lines += ["", f"[{table}]"]
            lines += [f"{_format_name(name)} = {_format(value)}" for name, value in pairs]
    return "".join(f"{line}\n" for line in lines)


def _tables(lock: Lock) -> list[tuple[str, tuple[tuple[str, object], ...]]]:
    return [(name, getattr(lock, name)) for name in _TABLES]


def _format_list(name: str, items: list[str]) -> list[str]:
    return [f"{name} = [", *(f"    {item}," for item in items), "]"] if items else []


def _format_pin(pin: Pin) -> str:
    left_out = {"stage": pin.stage == 1, "automatic": not pin.automatic, "archive": not pin.archive}
    return _format_table(pin, tuple(name for name in _PIN if not left_out.get(name)))


def _format_table(value: object, names: Iterable[str]) -> str:
    return "{ " + ", ".join(f"{name} = {_format(getattr(value, name))}" for name in names) + " }"


def _format(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(_format(item) for item in value) + "]"
    if isinstance(value, int):
        return str(value)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _format_name(name: str) -> str:
    return name if _BARE.fullmatch(name) else _format(name)


def read_lock(path: Path) -> Lock:
    """Read the lock in ``path``. Raises NotFound, or RecipeError with file and line."""
    try:
        content = read_regular(path, limit=TEXT_LIMIT, follow=True)
    except FileNotFoundError as error:
        raise NotFound(
            f"there is no lock file {path}", hint="create it with: atoll lock"
        ) from error
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise RecipeError("is not UTF-8 text", file=path, hint=_HINT) from error
    return parse_lock(text, file=str(path))


def write_lock(path: Path, lock: Lock) -> None:
    """Replace the file at ``path`` by the lock."""
    replace_file(path, format_lock(lock).encode())


_HINT = "restore it from version control, or make it anew: atoll lock --update"


def parse_lock(text: str, *, file: str) -> Lock:
    """Parse a lock. Raises RecipeError with the line of the first problem."""

    def complain(key: Key, flaw: Flaw) -> NoReturn:
        raise RecipeError(
            flaw.message,
            file=file,
            line=_line_of(text, key),
            key=format_key(key),
            hint=flaw.hint or _HINT,
        )

    try:
        table = parse_toml(text)
    except ValueError as error:
        raise RecipeError(f"is not valid TOML: {error}", file=file, hint=_HINT) from error
    top = Fields(table, complain)
    if top.integer("schema") != SCHEMA:
        top.flaw("schema", f"this Atoll reads locks of schema {SCHEMA}", "use a newer Atoll")
    top.only("schema", *_PLAIN, "base", *_LISTS, *_TABLES)
    archives = tuple(_parse_archive(one) for one in top.each("archives"))
    return Lock(
        variant=top.string("variant", None),
        architecture=top.string("architecture"),
        epoch=_whole_number(top, "epoch"),
        wishes=_digest(top, "wishes"),
        asked=top.strings("asked"),
        base=_parse_base(top.within("base")) if top.has("base") else None,
        archives=archives,
        packages=_parse_pins(top, "packages", archives),
        tool_pins=_parse_pins(top, "tool_packages", archives),
        tools=_texts(top, "tools"),
        inputs=tuple(
            (name, _digest(top.within("inputs"), name)) for name, _ in _texts(top, "inputs")
        ),
        users=_numbers(top, "users"),
        groups=_numbers(top, "groups"),
        tree=TreeId(_digest(top, "tree")) if top.has("tree") else None,
    )


def _line_of(text: str, key: Key) -> int | None:
    """The line of ``key``, or of its table if it is missing."""
    lines = find_lines(text)
    while key and key not in lines:
        key = key[:-1]
    return lines.get(key)


def _parse_base(table: Fields) -> LockedBase:
    table.only(*_BASE)
    manifest = table.string("manifest", "")
    return LockedBase(
        reference=table.string("reference"), manifest=manifest, tree=TreeId(_digest(table, "tree"))
    )


def _parse_archive(table: Fields) -> PinnedArchive:
    table.only(*_ARCHIVE)
    return PinnedArchive(
        name=table.string("name"),
        uri=table.string("uri"),
        suite=table.string("suite"),
        components=table.strings("components"),
        release=_digest(table, "release"),
    )


def _parse_pins(top: Fields, name: str, archives: tuple[PinnedArchive, ...]) -> tuple[Pin, ...]:
    known = {one.name for one in archives}
    found: dict[tuple[str, str], Pin] = {}
    for table in top.each(name):
        pin = _parse_pin(table)
        if pin.archive and pin.archive not in known:
            table.flaw("archive", f"no archive of that name: {pin.archive}")
        if (pin.name, pin.architecture) in found:
            table.flaw("name", f"{pin.name} for {pin.architecture} is there twice")
        found[pin.name, pin.architecture] = pin
    return tuple(found.values())


def _parse_pin(table: Fields) -> Pin:
    table.only(*_PIN)
    stage = table.integer("stage", 1)
    if not 1 <= stage <= _LARGEST:
        table.flaw("stage", "must be 1 or more")
    return Pin(
        name=table.string("name", check=_word),
        architecture=table.string("architecture", check=_word),
        version=table.string("version", check=_word),
        size=_whole_number(table, "size"),
        sha256=_digest(table, "sha256"),
        archive=table.string("archive", ""),
        path=table.string("path"),
        stage=stage,
        automatic=table.boolean("automatic", False),
    )


def _texts(top: Fields, name: str) -> tuple[tuple[str, str], ...]:
    table = top.within(name)
    return tuple((one, table.string(one)) for one in table.table)


def _numbers(top: Fields, name: str) -> tuple[tuple[str, int], ...]:
    table = top.within(name)
    return tuple((one, _whole_number(table, one)) for one in table.table)


def _whole_number(table: Fields, name: str) -> int:
    value = table.integer(name)
    if not 0 <= value <= _LARGEST:
        table.flaw(name, "must be a whole number that is not negative")
    return value


def _digest(table: Fields, name: str) -> str:
    return table.string(name, check=_hex)


def _hex(text: str) -> Flaw | None:
    return None if is_hex_digest(text) else Flaw("must be 64 hex digits")


def _word(text: str) -> Flaw | None:
    """Check a word: no white space, and no leading ``-``, which would make it an option."""
    if text and not text.startswith("-") and text.isprintable() and " " not in text:
        return None
    return Flaw(f"{text!r} cannot be in a lock")
