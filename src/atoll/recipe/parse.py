"""TOML to ``Recipe``: the one place that knows how a recipe is written.

All problems of a text are found in one pass. The language is in docs/reference/recipe.md.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from atoll.base.errors import NotFound, RecipeError
from atoll.base.fields import Fields, Flaw, Key
from atoll.recipe import check_paths, check_values
from atoll.recipe.lines import find_lines
from atoll.recipe.model import (
    SCHEMA,
    Debian,
    File,
    Image,
    Kernel,
    Packages,
    Recipe,
    System,
    Units,
    User,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

FILE_NAME = "atoll.toml"
_LARGEST = 16 * 1024 * 1024
_FIRST_UID, _LAST_UID = 1000, 59999
_LONGEST_ARGUMENTS = 1500
"""The kernel takes 2047 characters on amd64; Atoll's own need some."""
_TABLES = (
    "schema", "from", "image", "debian", "packages", "kernel", "system", "user", "file", "units",
)  # fmt: skip
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_AT_LINE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def parse_recipe(text: str, *, file: str) -> Recipe:
    """Raises RecipeError for the first problem in ``text``; ``file`` is what it is called."""
    recipe, problems = parse_problems(text, file=file)
    if recipe is None:
        raise problems[0]
    return recipe


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file, or in the ``atoll.toml`` of a directory; its local files are there."""
    recipe, problems = read_problems(path)
    if recipe is None:
        raise problems[0]
    return recipe


def read_problems(path: Path) -> tuple[Recipe | None, tuple[RecipeError, ...]]:
    """The recipe, or else every problem with it. Raises NotFound when there is none."""
    file = path / FILE_NAME if path.is_dir() else path
    content = _read(file)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return None, (RecipeError("is not UTF-8 text", file=file, line=line),)
    recipe, problems = parse_problems(text, file=str(file))
    if recipe is not None:
        problems = _missing_files(recipe)
    return (None if problems else recipe), problems


def parse_problems(text: str, *, file: str) -> tuple[Recipe | None, tuple[RecipeError, ...]]:
    """The recipe, or else every problem with it, in the order of the text."""
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        return None, (_syntax_problem(error, text, file),)
    found: list[tuple[Key, Flaw]] = []
    fields = Fields(table, lambda key, flaw: found.append((key, flaw)))
    recipe = _recipe(fields, text, file) if _check_schema(fields) else None
    if not found:
        return recipe, ()
    return None, _located(found, text, file)


def _recipe(top: Fields, text: str, file: str) -> Recipe:
    top.only(*_TABLES)
    return Recipe(
        file=file,
        text=text,
        image=_image(top.within("image")),
        debian=_debian(top),
        packages=_packages(top.within("packages")),
        kernel=_kernel(top.within("kernel")),
        system=_system(top.within("system")),
        users=_users(top),
        files=_files(top),
        units=_units(top.within("units")),
    )


def _check_schema(top: Fields) -> bool:
    """Whether the rest of the text is in the language that this module knows."""
    if not top.has("schema"):
        top.flaw("schema", "is missing", f"write as the first line: schema = {SCHEMA}")
        return True
    number = top.integer("schema")
    if number == SCHEMA or number is not top.table["schema"]:
        return True
    top.flaw("schema", f"this Atoll reads schema {SCHEMA}, not {number}", "use a newer Atoll")
    return False


def _image(fields: Fields) -> Image:
    fields.only("name", "version")
    return Image(
        name=fields.string("name", check=check_values.check_image_name),
        version=fields.string("version", check=check_values.check_image_version),
    )


def _debian(top: Fields) -> Debian:
    base = top.string("from", check=check_values.check_from)
    fields = top.within("debian")
    fields.only("mirror", "components")
    components = fields.strings("components", check=check_values.check_component)
    _refuse_repeats(fields, "components", components)
    if fields.has("components") and not fields.table["components"]:
        fields.flaw("components", "names no component", 'such as: components = ["main"]')
    return Debian(
        suite=check_values.parse_from(base)[0],
        mirror=fields.string("mirror", None, check=check_values.check_mirror),
        components=components or ("main",),
    )


def _packages(fields: Fields) -> Packages:
    fields.only("install", "remove")
    wanted = fields.strings("install", check=check_values.check_package)
    remove = fields.strings("remove", check=check_values.check_removed_package)
    if fields.table.get("install", []) == []:
        hint = 'a system needs an init and a kernel: ["systemd-sysv", "linux-image-amd64"]'
        fields.flaw("install", "names no package", hint)
    local = tuple(filter(check_values.is_local_package, wanted))
    install = tuple(word for word in wanted if word not in local)
    names = tuple(check_values.package_name(word) for word in install)
    _refuse_repeats(fields, "install", (*names, *local))
    _refuse_repeats(fields, "remove", remove)
    for name in sorted(set(names) & set(remove)):
        fields.flaw("remove", f"{name} is to be installed and removed")
    return Packages(install=install, local=local, remove=remove)


def _kernel(fields: Fields) -> Kernel:
    fields.only("args")
    args = fields.strings("args", check=check_values.check_kernel_argument)
    if sum(len(arg) + 1 for arg in args) > _LONGEST_ARGUMENTS:
        fields.flaw("args", f"are longer than {_LONGEST_ARGUMENTS} characters together")
    return Kernel(args=args)


def _system(fields: Fields) -> System:
    fields.only("hostname", "locale", "timezone")
    return System(
        hostname=fields.string("hostname", None, check=check_values.check_hostname),
        locale=fields.string("locale", None, check=check_values.check_locale),
        timezone=fields.string("timezone", None, check=check_values.check_timezone),
    )


def _users(top: Fields) -> tuple[User, ...]:
    users = []
    names: set[str] = set()
    uids: set[int] = set()
    for fields in _tables(top, "user"):
        user = _user(fields)
        if user.name in names:
            fields.flaw("name", f"{user.name} is a user already")
        if user.uid in uids:
            fields.flaw("uid", f"{user.uid} is another user's already")
        names |= {user.name} if user.name else set()
        uids |= {user.uid} if user.uid is not None else set()
        users.append(user)
    return tuple(users)


def _user(fields: Fields) -> User:
    fields.only("name", "uid", "gecos", "shell", "groups", "ssh_keys", "password", "home")
    name = fields.string("name", check=check_values.check_user)
    uid = fields.integer("uid", None)
    if name == "root" and (uid is not None or fields.has("home")):
        fields.flaw("uid" if fields.has("uid") else "home", "root's cannot be chosen")
    elif uid is not None and not _FIRST_UID <= uid <= _LAST_UID:
        hint = f"Debian's users have {_FIRST_UID} to {_LAST_UID}; without uid one is chosen"
        fields.flaw("uid", f"{uid} is no user's", hint)
    groups = fields.strings("groups", check=check_values.check_account)
    _refuse_repeats(fields, "groups", groups)
    home = "/root" if name == "root" else f"/home/{name}"
    return User(
        name=name,
        home=fields.string("home", home, check=check_paths.check_home),
        uid=uid,
        gecos=fields.string("gecos", "", check=check_values.check_gecos),
        shell=fields.string("shell", "/bin/bash", check=check_paths.check_absolute),
        groups=groups,
        ssh_keys=fields.strings("ssh_keys", check=check_values.check_ssh_key),
        password_hash=fields.string("password", None, check=check_values.check_password),
    )


def _files(top: Fields) -> tuple[File, ...]:
    files = []
    paths: set[str] = set()
    for fields in _tables(top, "file"):
        file = _file(fields)
        if file.path in paths:
            fields.flaw("path", f"{file.path} is written twice")
        paths |= {file.path} if file.path else set()
        files.append((fields, file))
    for fields, file in files:
        for parent in PurePosixPath(file.path).parents:
            if str(parent) in paths:
                fields.flaw("path", f"{parent} is a file, so nothing can be below it")
    return tuple(file for _, file in files)


def _file(fields: Fields) -> File:
    fields.only("path", "text", "source", "mode", "owner", "group")
    path = fields.string("path", check=check_paths.check_file_path)
    if fields.has("text") and fields.has("source"):
        fields.flaw("source", "text is there too", "a file has one of them: take the other out")
    if not fields.has("text") and not fields.has("source"):
        fields.flaw("path", "has no content", 'write: text = "…", or: source = "a local file"')
    mode = fields.string("mode", "0644", check=check_values.check_mode)
    return File(
        path=path,
        text=fields.string("text", None, check=check_values.check_text),
        source=fields.string("source", None, check=check_values.check_source),
        mode=0 if check_values.check_mode(mode) else int(mode, 8),
        owner=fields.string("owner", "root", check=check_values.check_account),
        group=fields.string("group", "root", check=check_values.check_account),
    )


def _units(fields: Fields) -> Units:
    lists = {}
    fields.only("enable", "disable", "mask")
    seen: dict[str, str] = {}
    for name in ("enable", "disable", "mask"):
        lists[name] = fields.strings(name, check=check_values.check_unit)
        _refuse_repeats(fields, name, lists[name])
        for unit in lists[name]:
            if seen.setdefault(unit, name) != name:
                fields.flaw(name, f"{unit} is in {seen[unit]} too")
    return Units(**lists)


def _tables(top: Fields, name: str) -> tuple[Fields, ...]:
    if isinstance(top.table.get(name), dict):
        top.flaw(name, "is a list of tables", f"with two brackets: [[{name}]]")
        return ()
    return top.each(name)


def _refuse_repeats(fields: Fields, name: str, items: Iterable[str]) -> None:
    seen = set()
    for item in items:
        if item in seen:
            fields.flaw(name, f"{item} is in it twice")
        seen.add(item)


def _missing_files(recipe: Recipe) -> tuple[RecipeError, ...]:
    found: list[tuple[Key, Flaw]] = []
    install = tomllib.loads(recipe.text)["packages"]["install"]
    wanted: list[tuple[Key, str | None]] = [
        *((("file", number, "source"), file.source) for number, file in enumerate(recipe.files)),
        *((("packages", "install", install.index(name)), name) for name in recipe.packages.local),
    ]
    for key, name in wanted:
        if name is not None and not recipe.resolve(name).is_file():
            flaw = Flaw(f"{name} is no file", f"it was looked for here: {recipe.resolve(name)}")
            found.append((key, flaw))
    return _located(found, recipe.text, recipe.file)


def _located(found: Iterable[tuple[Key, Flaw]], text: str, file: str) -> tuple[RecipeError, ...]:
    lines = find_lines(text)
    problems = [
        RecipeError(flaw.message, file=file, line=line, key=_shown(key), hint=flaw.hint)
        for key, flaw in found
        for line in [_line_of(key, lines)]
    ]
    return tuple(sorted(problems, key=lambda problem: problem.line or 0))


def _line_of(key: Key, lines: dict[Key, int]) -> int | None:
    """The line of ``key``; of what it would be in, when it is missing."""
    while key and key not in lines:
        key = key[:-1]
    return lines.get(key)


def _shown(key: Key) -> str:
    """A key as a person writes it; the line says which table or item of several it is."""
    names = (part for part in key if isinstance(part, str))
    return ".".join(name if _BARE_KEY.fullmatch(name) else repr(name) for name in names)


def _syntax_problem(error: Exception, text: str, file: str) -> RecipeError:
    if isinstance(error, RecursionError):
        return RecipeError("is nested too deep", file=file)
    message = str(error)
    place = _AT_LINE.search(message)
    line = None
    if place:
        message = message[: place.start()]
        line = int(place[1]) if place[1] else text.count("\n") + 1
    hint = "see https://toml.io for the form"
    if message == "Invalid value":
        hint = 'a text needs quotes: key = "text"'
    return RecipeError(f"is not TOML: {message}", file=file, line=line, hint=hint)


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            content = stream.read(_LARGEST + 1)
    except FileNotFoundError:
        raise NotFound(
            f"there is no recipe {file}", hint="a recipe's usual name is atoll.toml"
        ) from None
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", file=file) from error
    if len(content) > _LARGEST:
        raise RecipeError("is too large for a recipe", file=file)
    return content
