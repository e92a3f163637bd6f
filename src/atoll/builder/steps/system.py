"""``[system]``: host name, time zone, locales and keyboard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import RecipeError
from atoll.base.fields import find_near
from atoll.builder.steps.in_root import FileToWrite, LinkToWrite, run_inside, write_files
from atoll.host.in_root import exists_in_root, in_root, read_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from atoll.recipe.model import System

_BUILT_IN = ("C", "C.UTF-8", "POSIX")
"""Locales that are built into the C library."""

_LAYOUTS = "usr/share/X11/xkb/rules/base.lst"
_MODEL = "pc105"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSystem:
    """``derived``: without a host name in the recipe, that of the base stays."""

    system: System
    derived: bool = False
    title: str = "Setting up the system"

    def parts(self) -> tuple[str, ...]:
        return ("system 3", repr(self.system), repr(self.derived))

    def execute(self, root: Path, workspace: Path) -> None:
        if self.system.hostname is not None or not self.derived:
            set_hostname(root, self.system.hostname, workspace)
        if self.system.timezone is not None:
            set_timezone(root, self.system.timezone, workspace)
        set_locales(root, self.system, workspace)
        if self.system.keymap is not None:
            set_keymap(root, self.system.keymap, workspace)


def set_hostname(root: Path, name: str | None, workspace: Path) -> None:
    """Write the host name; without one, remove it from the tree, so that each machine has its
    own."""
    if name is None:
        in_root(root, "etc/hostname", follow=False).unlink(missing_ok=True)
        return
    old = read_text(root, "etc/hosts", missing="127.0.0.1\tlocalhost\n")
    kept = [line for line in old.splitlines() if not line.startswith("127.0.1.1")]
    lines = "\n".join([*kept, f"127.0.1.1\t{name}"])
    _write(
        root,
        workspace,
        "system.hostname",
        {"/etc/hostname": f"{name}\n", "/etc/hosts": f"{lines}\n"},
    )


def set_timezone(root: Path, name: str, workspace: Path) -> None:
    if not in_root(root, f"usr/share/zoneinfo/{name}").is_file():
        raise RecipeError(
            f"the time zone {name} is not installed",
            key="system.timezone",
            hint="names are as in Europe/Berlin; the package tzdata has them",
        )
    link = LinkToWrite(path="/etc/localtime", target=f"/usr/share/zoneinfo/{name}")
    write_files(root, [link], workspace=workspace, key="system.timezone")
    if exists_in_root(root, "etc/timezone"):
        _write(root, workspace, "system.timezone", {"/etc/timezone": f"{name}\n"})


def set_locales(root: Path, system: System, workspace: Path) -> None:
    """Generate the locales that the recipe names, and make ``system.locale`` the default."""
    wanted = sorted({*system.locales, *([system.locale] if system.locale else [])} - {*_BUILT_IN})
    if wanted:
        text = read_text(root, "usr/share/i18n/SUPPORTED", missing="")
        _write(root, workspace, "system.locales", {"/etc/locale.gen": plan_locales(wanted, text)})
        run_inside(root, ["locale-gen"], key="system.locales", what="locale-gen failed")
    if system.locale is not None:
        _write(root, workspace, "system.locale", {"/etc/locale.conf": f"LANG={system.locale}\n"})
        link = LinkToWrite(path="/etc/default/locale", target="../locale.conf")
        write_files(root, [link], workspace=workspace, key="system.locale")


def plan_locales(wanted: list[str], supported: str) -> str:
    """The text of ``/etc/locale.gen`` for these locales. ``supported`` is the content of
    /usr/share/i18n/SUPPORTED, which lists all locales that can be generated. Raises RecipeError."""
    lines = {line.split()[0]: line for line in reversed(supported.splitlines()) if line.strip()}
    for name in wanted:
        if name not in lines:
            why = "knows no locale" if lines else "can make no locale"
            raise RecipeError(
                f"the root {why} {name}",
                key="system.locale",
                hint=find_near(name, lines) if lines else "install the package locales",
            )
    return "".join(f"{lines[name]}\n" for name in wanted)


def set_keymap(root: Path, keymap: str, workspace: Path) -> None:
    """Set the keyboard for the console, Xorg and systemd-localed in one file: Debian's tools read
    ``/etc/default/keyboard``, and ``/etc/vconsole.conf`` is a link to it. Raises RecipeError."""
    known = in_root(root, _LAYOUTS)
    if not known.is_file():
        raise RecipeError(
            "no keyboard layouts are installed",
            key="system.keymap",
            hint="install the package keyboard-configuration, and console-setup for the console",
        )
    layout, variant = find_layout(keymap, parse_layouts(known.read_text()))
    _write(
        root,
        workspace,
        "system.keymap",
        {"/etc/default/keyboard": format_keyboard(layout, variant)},
    )
    link = LinkToWrite(path="/etc/vconsole.conf", target="default/keyboard")
    write_files(root, [link], workspace=workspace, key="system.keymap")
    if exists_in_root(root, "usr/bin/setupcon"):
        run_inside(
            root,
            ["setupcon", "--force", "--save-only"],
            key="system.keymap",
            what="setupcon failed",
        )


def parse_layouts(text: str) -> dict[str, frozenset[str]]:
    """Maps layouts to their variants, from the text of xkb's ``base.lst``."""
    layouts: dict[str, set[str]] = {}
    section = ""
    for line in text.splitlines():
        words = line.split()
        if line.startswith("!"):
            section = line[1:].strip()
        elif section == "layout" and words:
            layouts.setdefault(words[0], set())
        elif section == "variant" and len(words) > 1 and words[1].endswith(":"):
            layouts.setdefault(words[1][:-1], set()).add(words[0])
    return {name: frozenset(variants) for name, variants in layouts.items()}


def find_layout(
    keymap: str, layouts: Mapping[str, frozenset[str]], *, where: str = "the root"
) -> tuple[str, str]:
    """The layout and the variant (or ``""``) of ``LAYOUT`` or ``LAYOUT-VARIANT``. Raises
    RecipeError.

    ``where`` names in messages what has these ``layouts``.
    """
    layout, _, variant = keymap.partition("-")
    if layout not in layouts:
        raise RecipeError(
            f"{where} has no keyboard layout {layout}",
            key="system.keymap",
            hint=find_near(layout, layouts) or "such as: us, de, fr",
        )
    if variant and variant not in layouts[layout]:
        known = sorted(layouts[layout])
        raise RecipeError(
            f"the keyboard layout {layout} has no variant {variant}",
            key="system.keymap",
            hint=find_near(variant, known) or f"it has: {', '.join(known) or 'none'}",
        )
    return layout, variant


def format_keyboard(layout: str, variant: str) -> str:
    """The text of /etc/default/keyboard, keyboard(5)."""
    return (
        f'XKBMODEL="{_MODEL}"\nXKBLAYOUT="{layout}"\nXKBVARIANT="{variant}"\nXKBOPTIONS=""\n'
        'BACKSPACE="guess"\n'
    )


def _write(root: Path, workspace: Path, key: str, texts: Mapping[str, str]) -> None:
    files = [FileToWrite(path=path, content=text.encode()) for path, text in texts.items()]
    write_files(root, files, workspace=workspace, key=key)
