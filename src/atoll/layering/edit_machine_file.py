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
from atoll.machine.machine_file import FILE
from atoll.recipe.language.check_packages import package_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tomlkit import TOMLDocument

NEW = """\
# What this machine has beyond its image. To apply changes: atoll apply
schema = 1
"""
"""A machine file to begin with."""
_LINE = 80
"""Columns; a longer list gets a line for each item."""


def add_packages(text: str, words: Iterable[str], *, back: Iterable[str] = ()) -> str:
    """``text`` with ``words``, as apt takes them, in packages.install. A word for a package that is
    there in another form replaces it. The packages ``back`` are in the image, and are no longer
    removed from it."""
    document = parse_document(text)
    words = tuple(words)
    names = {*back, *(package_name(word) for word in words)}
    drop_words(document, ("packages", "remove"), lambda item: item in names)
    for word in words:
        put_word(document, ("packages", "install"), word, key=package_name)
    return tomlkit.dumps(document)


def remove_packages(text: str, names: Iterable[str], *, base: Iterable[str] = ()) -> str:
    """``text`` without the packages ``names`` in packages.install; those of ``base`` are in the
    image, and get into packages.remove."""
    document = parse_document(text)
    gone = set(names)
    drop_words(document, ("packages", "install"), lambda item: package_name(item) in gone)
    for name in base:
        put_word(document, ("packages", "remove"), name, key=str)
    return tomlkit.dumps(document)


def add_arguments(text: str, arguments: Iterable[str]) -> str:
    """``text`` with kernel arguments."""
    document = parse_document(text)
    arguments = tuple(arguments)
    drop_words(document, ("kernel", "remove_args"), lambda item: item in arguments)
    for argument in arguments:
        put_word(document, ("kernel", "args"), argument, key=str)
    return tomlkit.dumps(document)


def remove_arguments(text: str, arguments: Iterable[str], *, base: Iterable[str] = ()) -> str:
    """``text`` without kernel arguments of its own; those of ``base`` get into
    kernel.remove_args."""
    document = parse_document(text)
    gone = set(arguments)
    drop_words(document, ("kernel", "args"), lambda item: item in gone)
    for argument in base:
        put_word(document, ("kernel", "remove_args"), argument, key=str)
    return tomlkit.dumps(document)


def parse_document(text: str) -> TOMLDocument:
    """Raises RecipeError."""
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise RecipeError(
            f"is not TOML: {error}", file=FILE, hint="correct it: atoll edit"
        ) from error


def put_word(
    document: TOMLDocument, path: tuple[str, ...], word: str, *, key: Callable[[str], str]
) -> None:
    """Put ``word`` into the list at ``path``, in place of one with the same key."""
    words = _list(document, path)
    for number, each in enumerate(words):
        if isinstance(each, str) and key(str(each)) == key(word):
            if str(each) != word:
                words[number] = word
            return
    words.append(word)
    if len(words.as_string()) > _LINE and "\n" not in words.as_string():
        words.multiline(multiline=True)


def drop_words(document: TOMLDocument, path: tuple[str, ...], gone: Callable[[str], bool]) -> None:
    """Remove words of the list at ``path``; an empty list goes, and each table that is empty
    then."""
    tables: list[MutableMapping[str, object]] = [document]
    for name in path[:-1]:
        table = tables[-1].get(name)
        if not isinstance(table, MutableMapping):
            return
        tables.append(table)
    words = tables[-1].get(path[-1])
    if not isinstance(words, Array):
        return
    for number in reversed(range(len(words))):
        if gone(str(words[number])):
            del words[number]
    if not words:
        del tables[-1][path[-1]]
    for name, above, table in reversed(list(zip(path, tables, tables[1:], strict=False))):
        if not table:
            del above[name]


def _list(document: TOMLDocument, path: tuple[str, ...]) -> Array:
    """The list at ``path``, made where it is not there. Raises RecipeError for another value."""
    table: MutableMapping[str, object] = document
    for number, name in enumerate(path[:-1]):
        if table.get(name) is None:
            if table is document and not document.as_string().endswith("\n\n"):
                document.add(tomlkit.nl())
            table[name] = tomlkit.table(is_super_table=number < len(path) - 2)
        below = table[name]
        if not isinstance(below, MutableMapping):
            raise _wrong(".".join(path[: number + 1]), "a table")
        table = below
    words = table.get(path[-1])
    if words is None:
        table[path[-1]] = tomlkit.array()
        words = table[path[-1]]
    if not isinstance(words, Array):
        raise _wrong(".".join(path), "a list")
    return words


def _wrong(key: str, what: str) -> RecipeError:
    return RecipeError(f"is not {what}", file=FILE, key=key, hint="correct it: atoll edit")
