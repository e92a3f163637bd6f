"""``atoll lock``: what it does; ``cli/lock.py`` has its arguments."""

from __future__ import annotations

import json
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from atoll.base.errors import NothingToDo, UsageError
from atoll.base.text import one_line
from atoll.builder.lock_command import audit, follow_recipe, update
from atoll.cli.arguments import format_option
from atoll.cli.output.progress import format_amount
from atoll.cli.output.upgrade import MOST
from atoll.recipe.language.parse import read_recipe
from atoll.store.layout import default_store_root, open_store

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from atoll.base.report import Reporter
    from atoll.builder.lock_command import LockResult, OutdatedPin
    from atoll.debian.pin import Pin


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    if arguments.audit and arguments.update is not None:
        raise UsageError("--audit and --update cannot be used together")
    recipe = read_recipe(Path(arguments.recipe), arguments.variant)
    root = Path(arguments.store) if arguments.store else default_store_root()
    store = open_store(root.absolute(), create=True)
    if arguments.audit:
        return _print_audit(audit(recipe, store, reporter), as_json=arguments.json)
    if arguments.update is None:
        done = follow_recipe(recipe, store, reporter)
    else:
        done = update(recipe, store, arguments.update, reporter)
    if arguments.json:
        print(json.dumps(_as_json(done), indent=2))
    elif done.written:
        print("\n".join(_lines(done, most=None if arguments.long else MOST)))
    if not done.written:
        raise NothingToDo(f"{done.path} is up to date")
    variant = format_option("--variant", arguments.variant)
    store_option = format_option("--store", arguments.store)
    reporter.notice(f"next: atoll build {quote(arguments.recipe)}{variant}{store_option}")
    return 0


def _lines(done: LockResult, *, most: int | None) -> Iterator[str]:
    """The changes of the lock, at most ``most`` packages of each kind; of a new lock only the
    number of packages."""
    found, packages = done.difference, done.lock.packages
    kinds = (
        [f"+ {_name(pin)} {pin.version}, {_bytes(pin.size)}" for pin in found.added],
        [f"- {_name(pin)} {pin.version}" for pin in found.removed],
        [_change(one.before, one.after) for one in found.changed],
    )
    new = len(found.added) == len(packages)
    for rows in () if new and most is not None else kinds:
        yield from map(one_line, rows[:most])
        if most is not None and len(rows) > most:
            yield f"  … and {len(rows) - most} more"
    words = zip(kinds, ("added", "removed", "changed"), strict=True)
    counts = (f"{len(rows)} {word}" for rows, word in words if rows)
    what = "new" if new else ", ".join(counts) or "the same packages"
    total = _bytes(sum(pin.size for pin in packages))
    yield f"{done.path}: {what}; {len(packages)} packages, {total}"


def _change(before: Pin, after: Pin) -> str:
    sizes = f"{_bytes(before.size)} → {_bytes(after.size)}"
    return f"  {_name(after)} {before.version} → {after.version}, {sizes}"


def _print_audit(found: tuple[OutdatedPin, ...], *, as_json: bool) -> int:
    if as_json:
        rows = [
            {
                "name": one.pin.name,
                "architecture": one.pin.architecture,
                "version": one.pin.version,
                "newer": one.newer.version,
                "archive": one.newer.archive,
                "security": one.security,
            }
            for one in found
        ]
        print(json.dumps({"outdated": rows}, indent=2))
    else:
        for one in found:
            kind = "security" if one.security else "update"
            print(one_line(f"{kind:<9} {_name(one.pin)} {one.pin.version} → {one.newer.version}"))
    if not found:
        raise NothingToDo("no newer packages are available")
    return 0


def _name(pin: Pin) -> str:
    return f"{pin.name}:{pin.architecture}"


def _bytes(amount: int) -> str:
    return format_amount(amount, "B")


def _as_json(done: LockResult) -> dict[str, object]:
    difference = done.difference
    return {
        "lock": str(done.path),
        "packages": len(done.lock.packages),
        "size": sum(pin.size for pin in done.lock.packages),
        "added": [_pin_as_json(pin) for pin in difference.added],
        "removed": [_pin_as_json(pin) for pin in difference.removed],
        "changed": [
            {
                "name": one.after.name,
                "architecture": one.after.architecture,
                "from": one.before.version,
                "to": one.after.version,
                "size_from": one.before.size,
                "size_to": one.after.size,
            }
            for one in difference.changed
        ],
    }


def _pin_as_json(pin: Pin) -> dict[str, object]:
    return {
        "name": pin.name,
        "architecture": pin.architecture,
        "version": pin.version,
        "size": pin.size,
    }
