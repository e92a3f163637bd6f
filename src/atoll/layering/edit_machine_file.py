"""Edit the text of a machine file; the person's comments, order and style stay. Pure.

Lists of the recipe language are edited item by item (``packages.install``, ``kernel.args``).
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Array

from atoll.base.errors import RecipeError
from atoll.machine.machine_file import PLACE
from atoll.recipe.language.check_packages import package_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tomlkit import TOMLDocument

NEW = """\
# What this machine has beyond its image. To make changes real: atoll apply
schema = 1
"""
"""A machine file to begin with."""
_LINE = 80
"""Columns; a longer list gets a line for each item."""


def add_packages(text: str, words: Iterable[str]) -> str:
    """``text`` with ``words``, as apt takes them, in packages.install. A word for a package that is
    there in another form replaces it; one that was removed from the base comes back."""
    document = _parse(text)
    words = tuple(words)
    names = {package_name(word) for word in words}
    _drop(document, ("packages", "remove"), lambda item: item in names)
    for word in words:
        _put(document, ("packages", "install"), word, key=package_name)
    return tomlkit.dumps(document)


def remove_packages(text: str, names: Iterable[str], *, base: Iterable[str] = ()) -> str:
    """``text`` without the packages ``names`` in packages.install; those of ``base`` are in the
    image, and get into packages.remove."""
    document = _parse(text)
    gone = set(names)
    _drop(document, ("packages", "install"), lambda item: package_name(item) in gone)
    for name in base:
        _put(document, ("packages", "remove"), name, key=str)
    return tomlkit.dumps(document)


def add_arguments(text: str, arguments: Iterable[str]) -> str:
    """``text`` with kernel arguments."""
    document = _parse(text)
    arguments = tuple(arguments)
    _drop(document, ("kernel", "remove_args"), lambda item: item in arguments)
    for argument in arguments:
        _put(document, ("kernel", "args"), argument, key=str)
    return tomlkit.dumps(document)


def remove_arguments(text: str, arguments: Iterable[str], *, base: Iterable[str] = ()) -> str:
    """``text`` without kernel arguments of its own; those of ``base`` get into
    kernel.remove_args."""
    document = _parse(text)
    gone = set(arguments)
    _drop(document, ("kernel", "args"), lambda item: item in gone)
    for argument in base:
        _put(document, ("kernel", "remove_args"), argument, key=str)
    return tomlkit.dumps(document)


def _parse(text: str) -> TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise RecipeError(
            f"is not TOML: {error}", file=f"/etc/{PLACE}", hint="correct it: atoll edit"
        ) from error


def _put(
    document: TOMLDocument, path: tuple[str, str], item: str, *, key: Callable[[str], str]
) -> None:
    """Put ``item`` into the list at ``path``, in place of one with the same key."""
    items = _list(document, path)
    for number, each in enumerate(items):
        if isinstance(each, str) and key(str(each)) == key(item):
            if str(each) != item:
                items[number] = item
            return
    items.append(item)
    if len(items.as_string()) > _LINE and "\n" not in items.as_string():
        items.multiline(multiline=True)


def _drop(document: TOMLDocument, path: tuple[str, str], gone: Callable[[str], bool]) -> None:
    """Remove items of the list at ``path``; an empty list goes, and its table when that is
    empty."""
    table = document.get(path[0])
    items = table.get(path[1]) if isinstance(table, MutableMapping) else None
    if not isinstance(table, MutableMapping) or not isinstance(items, Array):
        return
    for number in reversed(range(len(items))):
        if gone(str(items[number])):
            del items[number]
    if not items:
        del table[path[1]]
    if not table:
        del document[path[0]]


def _list(document: TOMLDocument, path: tuple[str, str]) -> Array:
    """The list at ``path``, made where it is not there. Raises RecipeError for another value."""
    table = document.get(path[0])
    if table is None:
        table = tomlkit.table()
        if not document.as_string().endswith("\n\n"):
            document.add(tomlkit.nl())
        document.add(path[0], table)
        table = document[path[0]]
    if not isinstance(table, MutableMapping):
        raise _wrong(path[0], "a table")
    items = table.get(path[1])
    if items is None:
        table[path[1]] = tomlkit.array()
        items = table[path[1]]
    if not isinstance(items, Array):
        raise _wrong(".".join(path), "a list")
    return items


def _wrong(key: str, what: str) -> RecipeError:
    return RecipeError(
        f"is not {what}", file=f"/etc/{PLACE}", key=key, hint="correct it: atoll edit"
    )
