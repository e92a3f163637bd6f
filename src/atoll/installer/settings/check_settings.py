"""Checking that an image supports a person's settings: every problem is found before a disk is
touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.errors import RecipeError
from atoll.base.fields import find_near

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.installer.settings.image_contents import ImageContents
    from atoll.installer.settings.settings import Settings, UserSettings
    from atoll.machine.keyboard import KeyboardLayout

DEFAULT_GROUPS = (
    "sudo",
    "audio",
    "bluetooth",
    "cdrom",
    "debian-tor",
    "dip",
    "floppy",
    "lpadmin",
    "netdev",
    "plugdev",
    "scanner",
    "video",
)
"""sudo, and those of Debian's installer (passwd/user-default-groups)."""


def choose_groups(user: UserSettings, image: ImageContents) -> tuple[str, ...]:
    """The further groups of the account."""
    if user.groups is not None:
        return user.groups
    return tuple(group for group in DEFAULT_GROUPS if group in image.groups)


def require_possible(settings: Settings, image: ImageContents) -> None:
    """Raises RecipeError with the first problem and, in its hint, all others."""
    problems = tuple(find_impossible(settings, image))
    if not problems:
        return
    first, *others = problems
    if others:
        lines = "".join(f"\n    {each}" for each in others)
        first.hint = f"{first.hint}\nalso:{lines}"
    raise first


def find_impossible(settings: Settings, image: ImageContents) -> Iterator[RecipeError]:
    yield from _check_user(settings.user, image)
    zone = settings.timezone
    if zone is not None and zone not in image.timezones:
        yield _problem(
            f"the image has no time zone {zone}",
            "system.timezone",
            find_near(zone, image.timezones) or "its recipe can add the package tzdata",
        )
    locale = settings.locale
    if locale is not None and not image.has_locale(locale):
        known = ", ".join(image.locales[:6]) or "none"
        yield _problem(
            f"the image has no locale {locale}",
            "system.locale",
            f"it has: {known}; its recipe adds more: [system] locales",
        )
    if settings.keyboard is not None:
        yield from _check_keyboard(settings.keyboard, image)
    if settings.wifi is not None and not image.has_network_manager:
        yield _problem(
            "the image has no NetworkManager, so it cannot use a Wi-Fi network",
            "network.wifi",
            "its recipe can add the package network-manager",
        )
    can_address = image.has_network_manager or image.has_networkd
    if settings.address is not None and not can_address:
        yield _problem(
            "the image has neither NetworkManager nor an enabled systemd-networkd",
            "network.address",
            "its recipe can enable the unit systemd-networkd.service",
        )


def find_notes(settings: Settings, image: ImageContents) -> tuple[str, ...]:
    """What a person should know of the accounts, before it is done."""
    notes = []
    others = sorted(_people_with_password(image))
    if others:
        notes.append(f"the image brings an account with a password of its own: {', '.join(others)}")
    if "sudo" not in choose_groups(settings.user, image) or not image.has("usr/bin/sudo"):
        notes.append(
            f"{settings.user.name} cannot become root: sudo is not in the image, or its group not"
            " among the account's"
        )
    return tuple(notes)


def _check_user(user: UserSettings, image: ImageContents) -> Iterator[RecipeError]:
    if not image.has("etc/shadow"):
        yield _problem(
            "the image has no /etc/shadow, so no account of it can have a password",
            "user.password",
            "its recipe can add the package passwd",
        )
    if user.name in image.users:
        yield _problem(
            f"the image has an account {user.name} already", "user.name", "choose another name"
        )
    elif user.name in image.groups:
        yield _problem(
            f"the image has a group {user.name} already", "user.name", "choose another name"
        )
    for group in choose_groups(user, image):
        if group not in image.groups:
            yield _problem(
                f"the image has no group {group}",
                "user.groups",
                find_near(group, image.groups) or "leave it out",
            )
    if user.shell and not image.has(user.shell):
        yield _problem(
            f"the image has no shell {user.shell}", "user.shell", "its recipe can add its package"
        )
    taken = {line.split(":")[2]: line.split(":")[0] for line in _lines(image, "etc/passwd", 3)}
    if user.uid is not None and str(user.uid) in taken:
        yield _problem(
            f"the id {user.uid} belongs to {taken[str(user.uid)]} in the image",
            "user.uid",
            "choose another one, or leave it out",
        )


def _check_keyboard(keyboard: KeyboardLayout, image: ImageContents) -> Iterator[RecipeError]:
    if not image.layouts:
        yield _problem(
            "the image has no keyboard layouts",
            "keyboard.layout",
            "its recipe can add keyboard-configuration, and console-setup for the console",
        )
        return
    layouts = keyboard.layout.split(",")
    variants = keyboard.variant.split(",") if keyboard.variant else []
    for number, layout in enumerate(layouts):
        if layout not in image.layouts:
            yield _problem(
                f"the image has no keyboard layout {layout}",
                "keyboard.layout",
                find_near(layout, image.layouts) or "such as: us, de, fr",
            )
            continue
        variant = variants[number] if number < len(variants) else ""
        known = sorted(image.layouts[layout])
        if variant and variant not in known:
            yield _problem(
                f"the keyboard layout {layout} has no variant {variant}",
                "keyboard.variant",
                find_near(variant, known) or f"it has: {', '.join(known) or 'none'}",
            )


def _people_with_password(image: ImageContents) -> Iterator[str]:
    for line in _lines(image, "etc/shadow", 2):
        name, password = line.split(":")[:2]
        if password.startswith("$") or password == "":
            yield name


def _lines(image: ImageContents, path: str, fields: int) -> Iterator[str]:
    for line in image.read(path).decode(errors="replace").splitlines():
        if line.count(":") >= fields - 1:
            yield line


def _problem(message: str, key: str, hint: str) -> RecipeError:
    return RecipeError(message, key=key, hint=hint)
