"""The answers of an unattended install: a TOML file, checked to the last key before anything else.

The file holds no secret: a password is there as a hash, a passphrase in a file of its own. So an
answers file can be kept and shown, and nothing has to be taken out of it later.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from atoll.base.errors import NotFound, RecipeError
from atoll.base.fields import Flaw, suggest
from atoll.base.toml import parse_toml
from atoll.host.fs import OWN_LIMIT, find_near_path, read_regular
from atoll.installer.answers.checks import check_passphrase, check_wifi_passphrase
from atoll.installer.answers.schema import FOREIGN, SCHEMA, TOP
from atoll.installer.plan.partitioning import TargetKind
from atoll.installer.settings.settings import (
    AddressSettings,
    Settings,
    UserSettings,
    WifiSettings,
)
from atoll.machine.keyboard import KeyboardLayout
from atoll.recipe.language.diagnostics import Diagnostics, Location, RecipeText
from atoll.recipe.language.includes import syntax_problem
from atoll.recipe.language.parse_tables import check_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from atoll.base.fields import Check, Complain, Key
    from atoll.recipe.language.schema_model import TableRule

_SECRET_LIMIT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetAnswer:
    """``kind`` is disk, partition or free_space; ``esp`` and ``home`` are empty where not given."""

    kind: str
    device: str
    esp: str = ""
    home: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionAnswer:
    passphrase_file: str
    recovery_key: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """``image`` and ``follow`` are empty where not given, ``target`` is None where the command line
    has to say it. Secrets are still in their files:
    ``wifi_passphrase_file`` is that of ``settings.wifi``."""

    settings: Settings
    target: TargetAnswer | None = None
    image: str = ""
    follow: str = ""
    encryption: EncryptionAnswer | None = None
    wifi_passphrase_file: str = ""


def read_answers(path: Path) -> Answers:
    """The answers in a file; the passphrase of the Wi-Fi is read as well.

    Raises NotFound, and RecipeError with the first problem, its line, and how many more there are.
    """
    try:
        data = read_regular(path, limit=OWN_LIMIT, follow=True)
    except FileNotFoundError:
        near = find_near_path(path)
        hint = f"did you mean: {near}" if near else "docs/reference/answers.md shows one"
        raise NotFound(f"there is no answers file {path}", hint=hint) from None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise RecipeError("is not UTF-8 text", file=path) from None
    answers, problems = parse_answers(text, file=str(path))
    if answers is None:
        raise _first(problems)
    if not answers.wifi_passphrase_file:
        return answers
    wifi = answers.settings.wifi
    assert wifi is not None, "the file belongs to it"
    secret = read_secret(path, answers.wifi_passphrase_file, check_wifi_passphrase)
    settings = replace(answers.settings, wifi=replace(wifi, passphrase=secret))
    return replace(answers, settings=settings)


def read_passphrase(path: Path, answers: Answers) -> str | None:
    """The passphrase that the answers file ``path`` names; None where nothing is encrypted."""
    if answers.encryption is None:
        return None
    return read_secret(path, answers.encryption.passphrase_file, check_passphrase)


def read_secret(answers_file: Path, name: str, check: Check) -> str:
    """The first line of the file ``name``, which is relative to the answers file.

    A pipe and an open descriptor (/dev/fd/N) can be read as well. Raises RecipeError, which never
    shows what is in it.
    """
    place = answers_file.parent / name
    try:
        with place.open("rb") as file:
            data = file.read(_SECRET_LIMIT + 1)
    except OSError as error:
        hint = f"Atoll looked for it at: {place}"
        why = f"cannot be read: {os.strerror(error.errno or 0)}"
        raise RecipeError(why, file=name, hint=hint) from None
    line = data.partition(b"\n")[0].removesuffix(b"\r")
    if len(line) > _SECRET_LIMIT:
        raise RecipeError(f"its first line has over {_SECRET_LIMIT} bytes", file=place)
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise RecipeError("its first line is not UTF-8 text", file=place) from None
    flaw = check(text)
    if flaw:
        raise RecipeError(flaw.message, file=place, hint=flaw.hint)
    return text


def parse_answers(text: str, *, file: str) -> tuple[Answers | None, tuple[RecipeError, ...]]:
    """The answers, or else every problem with them, in the order of the text."""
    source = RecipeText(file, file, text)
    problems = Diagnostics()

    def complain(key: Key, flaw: Flaw) -> None:
        problems.add(Location(source, key), flaw)

    try:
        table = parse_toml(text)
    except ValueError as error:
        return None, (syntax_problem(error, source),)
    number = table.get("schema")
    if isinstance(number, int) and number != SCHEMA:
        flaw = Flaw(f"this Atoll reads schema {SCHEMA}, not {number}", "use a newer Atoll")
        complain(("schema",), flaw)
        return None, problems.in_order()
    checked = check_table(TOP, table, complain, _hint)
    _require(TOP, table, (), complain)
    _check_target(checked.get("target"), complain)
    _check_keyboard(checked.get("keyboard"), complain)
    found = problems.in_order()
    return (None, found) if found else (_fill(checked), ())


def _hint(name: str, known: tuple[str, ...]) -> str:
    hint = suggest(name, known)
    if hint.startswith("did you mean"):
        return hint
    word = name.lower().replace("-", "_")
    if word in known:
        return f"did you mean: {word}"
    if word in FOREIGN:
        return f"did you mean: {FOREIGN[word]}"
    tables = [f"[{each.name}] {word}" for each in TOP.tables if each.find_key(word)]
    return f"did you mean: {tables[0]}" if tables else hint


def _require(rule: TableRule, table: Mapping[str, object], key: Key, complain: Complain) -> None:
    """Complain about keys that are missing, of tables that are there or must be."""
    for each in rule.keys:
        if each.required and each.name not in table:
            hint = f"such as: {each.name} = {each.example}"
            complain((*key, each.name), Flaw("is missing", hint))
    for inner in rule.tables:
        below = table.get(inner.name)
        if isinstance(below, dict):
            _require(inner, below, (*key, inner.name), complain)
        elif below is None and inner.name == "user":
            complain((*key, inner.name), Flaw("is missing", f"begin a table: [{inner.name}]"))


def _check_target(table: object, complain: Complain) -> None:
    if not isinstance(table, dict):
        return
    given = [kind for kind in TargetKind if kind in table]
    if len(given) != 1:
        what = f"has {' and '.join(given)}" if given else "names no disk"
        hint = "exactly one of: disk, partition, free_space"
        complain(("target",), Flaw(what, hint))
        return
    kind = given[0]
    erases = kind is not TargetKind.FREE_SPACE
    if erases and table.get("erase") is not True:
        message = f"is missing: everything on {table[kind]} is erased"
        flaw = Flaw(message, "write erase = true when that is what you want")
        complain(("target", "erase"), flaw)
    if not erases and table.get("erase"):
        complain(("target", "erase"), Flaw("nothing is erased with free_space", "leave it out"))
    if kind == "disk" and "esp" in table:
        complain(("target", "esp"), Flaw("a whole disk gets an ESP of its own", "leave it out"))


def _check_keyboard(table: object, complain: Complain) -> None:
    """Variants are told apart by their place in the list."""
    if not isinstance(table, dict):
        return
    layout, variant = table.get("layout"), table.get("variant")
    if isinstance(layout, str) and isinstance(variant, str) and variant:
        layouts, variants = layout.count(",") + 1, variant.count(",") + 1
        if variants > layouts:
            flaw = Flaw(f"has {variants} variants of {layouts} layouts", "one for each layout")
            complain(("keyboard", "variant"), flaw)


def _fill(top: Mapping[str, Any]) -> Answers:
    target = top.get("target")
    encryption = top.get("encryption")
    system = top.get("system", {})
    keyboard = top.get("keyboard")
    network = top.get("network", {})
    wifi, address = network.get("wifi"), network.get("address")
    settings = Settings(
        user=_user(top["user"]),
        hostname=system.get("hostname"),
        locale=system.get("locale"),
        timezone=system.get("timezone"),
        keyboard=KeyboardLayout(**keyboard) if keyboard else None,
        wifi=WifiSettings(ssid=wifi["ssid"]) if wifi else None,
        address=AddressSettings(**{**address, "dns": tuple(address.get("dns", ()))})
        if address
        else None,
    )
    return Answers(
        target=_target(target) if target else None,
        settings=settings,
        image=top.get("image", ""),
        follow=top.get("follow", ""),
        encryption=EncryptionAnswer(**encryption) if encryption else None,
        wifi_passphrase_file=wifi.get("passphrase_file", "") if wifi else "",
    )


def _target(table: Mapping[str, Any]) -> TargetAnswer:
    kind = next(each for each in TargetKind if each in table)
    return TargetAnswer(
        kind=kind, device=table[kind], esp=table.get("esp", ""), home=table.get("home", "")
    )


def _user(table: Mapping[str, Any]) -> UserSettings:
    groups = table.get("groups")
    return UserSettings(
        **{
            **table,
            "groups": None if groups is None else tuple(groups),
            "ssh_keys": tuple(table.get("ssh_keys", ())),
        }
    )


def _first(problems: tuple[RecipeError, ...]) -> RecipeError:
    error = problems[0]
    if len(problems) > 1:
        others = "\n".join(f"    {each}" for each in problems[1:])
        hint = f"{error.hint}\n" if error.hint else ""
        error.hint = f"{hint}also wrong:\n{others}"
    return error
